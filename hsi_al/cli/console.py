"""Exit codes and last words of every command.

0 done, 2 bad input (one sentence on stderr), 128 + the signal's number if one came (130 for Ctrl-C, 143 for SIGTERM), 1
a bug (with its traceback).
"""

import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor

from hsi_al import interrupts
from hsi_al.errors import HsiAlError

CONTINUES = "run the same command to continue"


def guarded(
    work: Callable[[], object],
    caught: tuple[type[BaseException], ...] = (HsiAlError, OSError),
    explained: Callable[[BaseException], str] = str,
    is_told: Callable[[BaseException], bool] = lambda error: True,
    way_out: str = CONTINUES,
) -> int:
    """Do a command's work and give its exit code; signals are noted meanwhile and end it at a safe place.

    Args:
        work: What the command does.
        caught: Errors that a user can act on.
        explained: Their sentence.
        is_told: Whether this process is the one to say it.
        way_out: What to do after an interrupt.
    """
    with interrupts.listening():
        try:
            work()
            interrupts.check()
        except BrokenExecutor:
            return told(
                "A job's process was killed, often for want of memory; take fewer jobs at once with "
                "hydra.launcher.n_jobs. The same command continues."
            )
        except caught as error:
            return told(explained(error)) if is_told(error) else 2
        except interrupts.Interrupted as interrupt:
            return farewell(interrupt, way_out)
        except KeyboardInterrupt:  # where signals can't be noted, such as in a thread
            return farewell(interrupts.Interrupted(2), way_out)
        except SystemExit as exit_:  # argparse and Hydra's --help
            return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    return 0


def told(sentence: str) -> int:
    """Say why, and give the code of bad input."""
    print(f"hsi_al: error: {sentence}", file=sys.stderr)
    return 2


def farewell(interrupt: interrupts.Interrupted, way_out: str) -> int:
    """Say how to go on, and give the code of the signal."""
    print(f"hsi_al: interrupted; {way_out}.", file=sys.stderr)
    return interrupt.exit_code
