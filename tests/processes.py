"""The command line in a process of its own, forked from a server that has imported torch and Lightning once."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsi_al import interrupts
from hsi_al.training import ranks

multiprocessing.set_forkserver_preload([*ranks.PRELOADED, "hsi_al.run", "wandb", "tests.processes"])
FORKED = multiprocessing.get_context("forkserver")


class Forked:
    """A started process, as `subprocess.Popen` of it; its output lies in files."""

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
        self.ready = self.out.with_suffix(".ready")  # written once signals are heard
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
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end and give what it wrote."""
        self.process.join(timeout)
        if self.returncode is None:
            self.process.kill()
            raise TimeoutError(
                f"still at work after {timeout} s; it wrote: {self.out.read_text()}{self.err.read_text()}"
            )
        return self.out.read_text(), self.err.read_text()


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
        with path.open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):  # ignored where the tests run in the background
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


def start(arguments: Sequence[str], directory: Path) -> Forked:
    """The command line at work in a directory."""
    return Forked(command, arguments, directory)


def wait_for(path: Path, process: Forked) -> None:
    """Until the process has written a file."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_module(module: str, arguments: list[str]) -> int:
    """`python -m module`."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


class ForkedPopen:
    """Stands in for `subprocess.Popen([sys.executable, "-m", module, ...])`; what it writes is shown at its end."""

    def __init__(self, command: Sequence[str]) -> None:
        assert list(command[:2]) == [sys.executable, "-m"]
        self.folder = tempfile.TemporaryDirectory()
        self.forked = Forked(run_module, [command[2], list(command[3:])], Path.cwd(), Path(self.folder.name))

    def wait(self) -> int:
        out, err = self.forked.communicate()
        self.folder.cleanup()
        sys.stdout.write(out)
        sys.stderr.write(err)
        assert self.forked.returncode is not None
        return self.forked.returncode


started = subprocess.run


def forked_run(
    command: Sequence[str], cwd: str | Path = ".", env: dict[str, str] | None = None, **others: Any
) -> subprocess.CompletedProcess[str]:
    """Stands in for `subprocess.run([sys.executable, "-m", module, ...], capture_output=True, text=True)`."""
    if list(command[:2]) != [sys.executable, "-m"]:
        return started(command, cwd=cwd, env=env, **others)
    with tempfile.TemporaryDirectory() as folder:
        forked = Forked(run_module, [command[2], list(command[3:])], Path(cwd), Path(folder), env)
        out, err = forked.communicate()
    assert forked.returncode is not None
    return subprocess.CompletedProcess(list(command), forked.returncode, out, err)
