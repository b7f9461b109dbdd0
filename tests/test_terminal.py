"""What is shown on a terminal: no control characters, and no error for what its encoding lacks."""

import io
import sys

import pytest

from hsi_al.cli.console import told
from hsi_al.report.tables import PlainConsole, print_table
from hsi_al.terminal import printable, tolerate_encodings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Corn (till), 40 % é 日本 …", "Corn (till), 40 % é 日本 …"),
        ("no\u00a0break\u3000wide", "no\u00a0break\u3000wide"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\nlines\r\t\x00\x7f\x9b", r"two\nlines\r\t\x00\x7f\x9b"),
        ("\u202egnp.exe\u2028\udc80", r"\u202egnp.exe\u2028\udc80"),
    ],
)
def test_invisible_characters_become_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_names_reach_no_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("There is no \x1b[2Jname\n.") == 2
    PlainConsole().print("scene \x1b[31m", "[bold]not bold[/bold]")
    print_table([["class", "n"], ["\x1b]0;title\x07", "1"], ["日本", "2"]])
    captured = capsys.readouterr()
    assert captured.err == "hsi_al: error: There is no \\x1b[2Jname\\n.\n"
    assert "scene \\x1b[31m [bold]not bold[/bold]\n" in captured.out
    assert "\\x1b]0;title\\x07 " in captured.out and "日本" in captured.out
    assert "\x1b" not in captured.out + captured.err


def test_an_encoding_without_a_character_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    tolerate_encodings()
    PlainConsole().print("größer")
    sys.stdout.flush()
    assert written.getvalue() == b"gr\\xf6\\xdfer\n"


def test_a_closed_stderr_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sys.stderr.close()
    assert told("Nobody hears this.") == 2
