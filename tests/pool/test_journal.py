"""The append-only file of events."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hsi_al.errors import SessionError
from hsi_al.pool.journal import Journal, read_line, sealed_line

EVENTS: list[dict[str, Any]] = [
    {"event": "label", "pixels": [0], "value": None},
    {"event": "class", "name": "Maïs, \u2028\r 1"},
    {},
]


def written(path: Path) -> bytes:
    kept = Journal(path)
    for event in EVENTS:
        kept.append(event)
    return path.read_bytes()


def test_events_come_back_in_their_order(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").events == []
    text = written(tmp_path / "j")
    assert text.count(b"\n") == len(EVENTS)
    again = Journal(tmp_path / "j")
    assert again.events == EVENTS and again.dropped == b""
    again.append({"event": "undo"})
    assert Journal(tmp_path / "j").events == [*EVENTS, {"event": "undo"}]


@pytest.mark.parametrize("event", EVENTS)
def test_any_changed_byte_of_a_line_is_noticed(event: dict[str, object]) -> None:
    line = sealed_line(event).rstrip(b"\n")
    assert read_line(line) == event
    for place in range(len(line)):
        for other in (b" ", b"0", b"\xff"):
            changed = line[:place] + other + line[place + 1 :]
            if changed != line:
                with pytest.raises(ValueError):
                    read_line(changed)


def test_a_last_line_cut_anywhere_is_left_out_and_written_over(tmp_path: Path) -> None:
    text = written(tmp_path / "j")
    begin = text.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(begin + 1, len(text)):
        (tmp_path / "j").write_bytes(text[:end])
        found = Journal(tmp_path / "j")
        assert found.events == EVENTS[:-1] and found.dropped == text[begin:end]
        for number in (1, 2):
            found.append({"event": "redo"})
            assert Journal(tmp_path / "j").events == [*EVENTS[:-1], *[{"event": "redo"}] * number]


def test_a_line_that_another_process_is_writing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(tmp_path / "j")
    monkeypatch.setattr(Journal, "_lines", lambda self: text[:-5].splitlines(keepends=True))  # it was whole a bit later
    found = Journal(tmp_path / "j")
    assert found.events == EVENTS[:-1] and found.dropped


def test_a_damaged_last_line_that_has_its_end_is_named(tmp_path: Path) -> None:
    text = written(tmp_path / "j")
    (tmp_path / "j").write_bytes(text[:-5] + b"#" + text[-4:])
    with pytest.raises(SessionError, match=r"^Line 3 of .* is damaged"):
        Journal(tmp_path / "j")
    assert (tmp_path / "j").stat().st_size == len(text)


@pytest.mark.parametrize("change", ["appended", "cut", "moved", "replaced"])
def test_a_file_that_somebody_else_has_changed_is_left_alone(tmp_path: Path, change: str) -> None:
    text = written(tmp_path / "j")
    kept = Journal(tmp_path / "j")
    if change in ("moved", "replaced"):
        (tmp_path / "j").rename(tmp_path / "away")
    if change != "moved":
        new = {"appended": text + sealed_line({"event": "undo"}), "cut": text[:-3], "replaced": b""}[change]
        (tmp_path / "j").write_bytes(new)
    for _ in range(2):
        with pytest.raises(SessionError, match="this was not kept"):
            kept.append({"event": "redo"})
    assert kept.events == EVENTS
    assert not (tmp_path / "j").exists() if change == "moved" else (tmp_path / "j").read_bytes() == new


def test_a_damaged_line_before_the_last_is_named(tmp_path: Path) -> None:
    text = written(tmp_path / "j")
    (tmp_path / "j").write_bytes(text[:5] + b"#" + text[6:])
    with pytest.raises(SessionError, match=r"^Line 1 of .* is damaged"):
        Journal(tmp_path / "j")


def test_a_full_disk_behind_an_unfinished_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(tmp_path / "j")
    (tmp_path / "j").write_bytes(text + b'{"event"')
    kept = Journal(tmp_path / "j")
    assert kept.dropped

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hsi_al.pool.journal.os.write", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                kept.append({"event": "undo"})
    assert (tmp_path / "j").read_bytes() == text
    kept.append({"event": "undo"})
    assert Journal(tmp_path / "j").events == [*EVENTS, {"event": "undo"}]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(tmp_path / "j")
    kept, write = Journal(tmp_path / "j"), os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 10:
            return write(descriptor, data[:10])  # a part still fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hsi_al.pool.journal.os.write", full)
    with pytest.raises(OSError, match="No space"):
        kept.append({"event": "label", "pixels": list(range(2))})
    assert (tmp_path / "j").read_bytes() == text and kept.events == EVENTS
    monkeypatch.undo()
    kept.append({"event": "undo"})
    assert Journal(tmp_path / "j").events == [*EVENTS, {"event": "undo"}]
