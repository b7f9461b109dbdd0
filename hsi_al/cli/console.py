"""Exit codes and error messages of all commands.

0: success; 1: a bug (with its traceback); 2: bad input (one sentence on stderr); 128 + the signal's number: ended by a
signal (130 for Ctrl-C, 143 for SIGTERM).
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
    """Run a command and return its exit code; a signal ends it at the next safe point.

    Args:
        work: What the command does.
        caught: Types of the errors that a user can act on.
        explained: Turns such an error into the sentence to print.
        is_told: Says whether this process prints it: of several processes with the same error, one does.
        way_out: Advice printed after an interrupt.
    """
    with interrupts.listening():
        try:
            work()
            interrupts.check()
        except BrokenExecutor:
            return told(
                "A job's process was killed, often for lack of memory; run fewer jobs at once with "
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
    """Print an error message on stderr and return the exit code of bad input."""
    print(f"hsi_al: error: {sentence}", file=sys.stderr)
    return 2


def farewell(interrupt: interrupts.Interrupted, way_out: str) -> int:
    """Print on stderr that a signal came and what to do next, and return the signal's exit code."""
    print(f"hsi_al: interrupted; {way_out}.", file=sys.stderr)
    return interrupt.exit_code
