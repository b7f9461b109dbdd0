"""Commands in processes of their own, forked from a server that has imported torch and Lightning once."""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hsi_al import interrupts
from hsi_al.training import ranks

# Imported late by most runs.
LATE = ("hsi_al.methods.grid_svm", "sklearn.calibration", "sklearn.cluster", "hsi_al.report.figures")
PRELOADED = (*ranks.PRELOADED, *LATE, "hsi_al.run", "wandb", "experiments.trust.processes")
multiprocessing.set_forkserver_preload(list(PRELOADED))
FORKED = multiprocessing.get_context("forkserver")
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forked:
    """A started process, as `subprocess.Popen` of it; its output lies in files.

    Args:
        work: What the process does; returns its exit code.
        arguments: Arguments of `work`.
        folder: Working directory.
        written: Folder for the files with its output; default: the working directory.
        env: Environment variables; default: those of this process.

    Attributes:
        ready: File that appears once the process hears signals.
        pid: Number of the process.
    """

    def __init__(
        self,
        work: Callable[..., int],
        arguments: Sequence[object],
        folder: Path,
        written: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        written = written or folder
        self.out, self.err = (written / f".{name}-{time.monotonic_ns()}" for name in ("stdout", "stderr"))
        self.ready = self.out.with_suffix(".ready")
        for path in (self.out, self.err):  # it may be killed before it opens them
            path.touch()
        variables = dict(os.environ if env is None else env)
        places = (folder, self.out, self.err, self.ready)
        self.process = FORKED.Process(target=begin, args=(work, arguments, variables, places))
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal's number if one killed it; None while it runs."""
        return self.process.exitcode

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end and return what it wrote to stdout and stderr.

        Raises:
            TimeoutError: It took longer; it is killed.
        """
        self.process.join(timeout)
        ended = self.returncode is not None
        if not ended:
            self.process.kill()
        out, err = (path.read_text(encoding="utf-8") for path in (self.out, self.err))
        if not ended:
            raise TimeoutError(f"still at work after {timeout} s; it wrote: {out}{err}")
        return out, err


def begin(
    work: Callable[..., int],
    arguments: Sequence[object],
    variables: dict[str, str],
    places: tuple[Path, Path, Path, Path],
) -> None:
    """In the forked process: be as a shell would have started it, work, and leave with the exit code."""
    folder, out, err, ready = places
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        with path.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), stream.fileno())
    for number in HEARD:  # ignored where the tests run in the background
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    ranks.START_METHOD = "fork"  # this process has imported torch, too
    noted = interrupts.listening.__wrapped__  # type: ignore[attr-defined]

    @contextmanager
    def listening() -> Iterator[None]:
        with contextmanager(noted)():
            ready.touch()
            yield

    interrupts.listening = listening
    try:
        code = work(*arguments)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for worker in multiprocessing.active_children():  # joblib's are idle, and would be waited for
        worker.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def command(*arguments: str) -> int:
    """`python -m hsi_al.run`."""
    from hsi_al.run import main

    sys.argv = ["run.py", *arguments]
    return main()


def wait_for(path: Path, process: Forked) -> None:
    """Wait until the process has written a file.

    Raises:
        RuntimeError: It ended without.
        TimeoutError: Two minutes were not enough.
    """
    deadline = time.monotonic() + 120
    while not path.exists():
        if process.poll() is not None and not path.exists():
            raise RuntimeError(f"{path} was never written: {process.communicate()}")
        if time.monotonic() > deadline:
            raise TimeoutError(str(path))
        time.sleep(0.01)
