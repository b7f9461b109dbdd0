"""Commands in forked processes, and stand-ins for `subprocess` that start them so."""

import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.trust.processes import Forked, command, wait_for

__all__ = ["Forked", "ForkedPopen", "command", "forked_run", "start", "wait_for"]


def start(arguments: Sequence[str], directory: Path) -> Forked:
    """The command line at work in a directory."""
    return Forked(command, arguments, directory)


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
