"""Exit codes and error messages of all commands.

0: success; 1: a bug (with its traceback); 2: bad input (one sentence on stderr); 128 + the signal's number: ended by a
signal (130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal). A command whose output nobody reads any more, such
as in `python -m hsi_al.report summary outputs | head -1`, ends silently with 141, as one that SIGPIPE ended.
"""

import os
import select
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress

from hsi_al import interrupts
from hsi_al.errors import HsiAlError, sentence
from hsi_al.terminal import printable, tolerate_encodings

CONTINUES = "run the same command to continue"


def guarded(
    work: Callable[[], object],
    caught: tuple[type[BaseException], ...] = (HsiAlError, OSError),
    explained: Callable[[BaseException], str] = sentence,
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
    tolerate_encodings()
    with interrupts.listening():
        try:
            work()
            interrupts.check()
            sys.stdout.flush()
        except BrokenExecutor:
            return told(
                "A job's process was killed, often for lack of memory; run fewer jobs at once with "
                "hydra.launcher.n_jobs. The same command continues."
            )
        except caught as error:
            if isinstance(error, BrokenPipeError) and is_unread():
                return farewell(interrupts.Interrupted(interrupts.SIGPIPE), way_out)
            if (
                isinstance(error, OSError) and interrupts.noted() is not None
            ):  # nothing can be shown once its terminal is closed
                return farewell(interrupts.Interrupted(interrupts.noted() or 0), way_out)
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
    complain(f"hsi_al: error: {sentence}")
    return 2


def complain(line: str) -> None:
    """Print a line on stderr, with control characters as escapes; a closed stderr is no error."""
    with suppress(OSError, ValueError):
        print(printable(line), file=sys.stderr, flush=True)


def farewell(interrupt: interrupts.Interrupted, way_out: str) -> int:
    """Print on stderr that a signal came and what to do next, and return the signal's exit code."""
    if interrupt.signal_number != interrupts.SIGPIPE:
        complain(f"hsi_al: interrupted; {way_out}.")
    else:
        discard_output()
    return interrupt.exit_code


def is_unread() -> bool:
    """Whether the reader of stdout is gone; other pipes may break, too."""
    with suppress(OSError, ValueError, AttributeError):  # no file, or a system without `poll`
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watched.poll(0))
    return False


def discard_output() -> None:
    """Let stdout lead nowhere: Python would complain at its end about what it couldn't write."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
