from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from hsi_al.active.curve import RoundRecord
from hsi_al.active.observers.progress import ProgressDisplay, duration
from hsi_al.methods.base import Estimate


def record(round_: int, n_labelled: int, right: int, wrong: int, heldout: bool = True) -> RoundRecord:
    """A round whose held-out accuracy is another one, 4 of 5, or that has no held-out pixel."""
    confusion = np.array([[right, wrong], [0, 0]])
    tested = np.array([[4, 1], [0, 0]]) * heldout
    return RoundRecord(round_, n_labelled, confusion, tested, 1.0, 1.0, 0.0)


def play(console: Console, estimate: Estimate, start: int, rounds: int) -> ProgressDisplay:
    """What the loop and a learner report in a run, the map of the whole scene at its end."""
    with ProgressDisplay(console, rounds, estimate, start, 160 + 10 * start, 10) as display:
        for round_ in range(start, rounds + 1):
            for epoch in range(1, 4):
                display.on_part(f"epoch {epoch}/3", epoch / 3)
            display.on_part("scoring", 0.5)
            display.on_part("scoring", 1.0)
            display.on_round(record(round_, 160 + 10 * round_, 3, 1))
        for part in (0.25, 1.0):
            display.on_part("scoring", part)
    return display


def estimate_of(start: int, rounds: int, seconds: float = 60.0) -> Estimate:
    n = rounds + 1 - start
    return Estimate("work", [seconds] * n, seconds / 10, map_seconds=seconds / 2)


def plain() -> Console:
    return Console(file=StringIO(), force_terminal=False, width=200)


def terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=200)


def written(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (4 * 3600 + 5 * 60 + 59, "4 h 05 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d 0 h"),
        (3 * 86400 + 4 * 3600 + 1800, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_every_round_is_a_line() -> None:
    console = plain()
    play(console, estimate_of(0, 2), 0, 2)
    lines = written(console).splitlines()
    assert len(lines) == 3
    for round_, line in enumerate(lines):
        assert line.startswith(f"round {round_}/2: {160 + 10 * round_} labels, OA 75.00 % (held-out 80.00 %), ")
        assert line.endswith(" left")


def test_a_resumed_run_starts_at_its_round() -> None:
    console = plain()
    play(console, estimate_of(5, 7), 5, 7)
    lines = written(console).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "round 5/7: 210 labels",
        "round 6/7: 220 labels",
        "round 7/7: 230 labels",
    ]


def test_the_time_left_follows_the_estimate_scaled_by_what_was_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of 10 + 2 and 20 + 2 s and a map of 6 s; the first took 24 s, twice the estimate, so 2 x 28 s are left."""
    now = 1000.0
    monkeypatch.setattr("hsi_al.active.observers.progress.time.monotonic", lambda: now)
    console = plain()
    with ProgressDisplay(console, 1, Estimate("work", [10.0, 20.0], 2.0, 6.0), 0, 8, 5) as display:
        now += 24.0
        display.on_round(record(0, 8, 1, 1))
        now += 44.0
        display.on_round(record(1, 13, 1, 0, heldout=False))
    assert written(console).splitlines() == [
        "round 0/1: 8 labels, OA 50.00 % (held-out 80.00 %), 24 s elapsed, about 56 s left",
        "round 1/1: 13 labels, OA 100.00 %, 1 min 08 s elapsed, about 12 s left",
    ]


@pytest.mark.parametrize("console", [plain(), terminal()])
@pytest.mark.parametrize(("start", "rounds"), [(0, 0), (0, 3), (2, 3), (3, 3), (4, 3)])
@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_no_start_and_no_estimate_breaks_it(console: Console, start: int, rounds: int, seconds: float) -> None:
    display = play(console, estimate_of(start, rounds, seconds), start, rounds)
    task = display.progress.tasks[0]
    assert task.total is not None
    assert 0 <= task.completed <= task.total * (1 + 1e-9)
    if seconds:
        assert task.completed == pytest.approx(task.total)


def test_progress_only_grows_and_tells_where_the_run_is() -> None:
    console = terminal()
    with ProgressDisplay(console, 1, estimate_of(0, 1), 0, 160, 10) as display:
        task = display.progress.tasks[0]
        seen = []
        for round_ in (0, 1):
            for text, part in (("epoch 1/2", 0.5), ("epoch 2/2", 1.0), ("scoring", 0.5), ("scoring", 1.0)):
                display.on_part(text, part)
                seen.append(task.completed)
                where = f"round {round_}/1 · {160 + 10 * round_} labels · {text}"
                assert task.description == where + (" · last OA 75.00 % (held-out 80.00 %)" if round_ else "")
            display.progress.refresh()
            display.on_round(record(round_, 160 + 10 * round_, 3, 1))
        assert seen == pytest.approx([30, 60, 63, 66, 96, 126, 129, 132])
        display.on_part("scoring", 1.0)
        assert task.completed == task.total == pytest.approx(162)
        assert task.description == "map of the scene · scoring · last OA 75.00 % (held-out 80.00 %)"
    assert "round 1/1" in written(console)


def test_the_display_ends_with_an_error_inside() -> None:
    console = terminal()
    with pytest.raises(KeyboardInterrupt), ProgressDisplay(console, 1, estimate_of(0, 1), 0, 160, 10) as display:
        raise KeyboardInterrupt
    assert not display.progress.live.is_started
