"""`python -m hsi_al` lists the commands."""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import hsi_al
from hsi_al.__main__ import main

PACKAGE = Path(hsi_al.__file__).parent


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_every_command_has_a_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    names = [line.split()[2] for line in out.splitlines() if line.startswith("  python -m ")]
    there = {f"hsi_al.{path.parent.name}" for path in PACKAGE.glob("*/__main__.py")}
    there |= {"hsi_al.run", "hsi_al.predict", "hsi_al.assess"}
    assert len(names) == len(set(names)) and set(names) == there and all(map(find_spec, names))
    assert "--help" in out and max(map(len, out.splitlines())) <= 110 and not err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "dataset=salinas"], "with a dot: python -m hsi_al.run."),
        (["runs"], "no command 'runs'"),
        (["--version"], "no command '--version'"),
        (["--help", "x"], "no command 'x'"),
        (["\x1b[31m"], "no command"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert says in err and err.count("\n") == 1 and "\x1b" not in err and not out


def test_python_runs_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["hsi_al"])
    monkeypatch.delitem(sys.modules, "hsi_al.__main__")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("hsi_al", run_name="__main__", alter_sys=False)
    assert end.value.code == 0 and "python -m hsi_al.label" in capsys.readouterr().out
