"""The scripts of experiments/trust at toy size, and that they find what is planted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.trust import command_lines, common, damage, kills, scarcity
from experiments.trust.common import Ended, Trial
from hsi_al.errors import HsiAlError

SENTENCE = "hsi_al: error: No.\n"


@pytest.mark.parametrize(
    ("code", "err", "outcome"),
    [
        (0, "", "exit 0"),
        (2, SENTENCE, "one sentence"),
        (2, f"hsi_al: warning: Odd.\n{SENTENCE}", "one sentence"),
        (2, "", "no sentence"),
        (2, f"Something else\n{SENTENCE}", "no sentence"),
        (2, f"Traceback (most recent call last):\n{SENTENCE}", "traceback or exit code"),
        (0, "Traceback (most recent call last):", "traceback or exit code"),
        (1, "", "traceback or exit code"),
        (-11, "", "traceback or exit code"),
        (None, "", "too slow"),
    ],
)
def test_ends(code: int | None, err: str, outcome: str) -> None:
    assert Ended(code, "", err, 1.0).outcome == outcome


def test_a_page_counts_and_lists_failures() -> None:
    trials = [Trial("a", "good", "", 0), Trial("a", "bad", "What.", 7), Trial("b", "odd", "", 2)]
    lines = common.table(trials, ("good", "bad")).splitlines()
    assert lines[0] == "|  | tried | good | bad | odd |"
    assert lines[2:] == ["| a | 2 | 1 | 1 | 0 |", "| b | 1 | 0 | 0 | 1 |", "| **all** | 3 | 1 | 1 | 1 |"]
    assert common.failures(trials, ["bad"], "python x") == ["- a, bad: What. Repeat: `python x --only 7`"]


def test_damage_differs_and_is_found_inside_the_values() -> None:
    cube, truth = common.tiny_scene()
    content = b"head" + cube.tobytes("F") + b"between" + truth.tobytes()
    ways = set()
    for seed in range(60):
        what, broken = damage.damaged(content, np.random.default_rng(seed))
        assert broken != content
        assert (len(broken) < len(content)) == what.startswith("cut")
        ways.add(what.split()[0] if what.startswith("cut") else what.split()[-1])
    assert len(ways) > 2
    assert damage.inside_values(content, content[:-1] + b"x")
    assert damage.inside_values(content, content[:4] + b"x" + content[5:])
    assert not damage.inside_values(content, b"x" + content[1:])
    assert not damage.inside_values(content, content[:-1])


def test_command_lines_are_those_of_their_number() -> None:
    drawn = [command_lines.line(3, number)[1] for number in range(300)]
    assert drawn == [command_lines.line(3, number)[1] for number in range(300)]
    words = [word for words in drawn for word in words]
    assert len(set(words)) > 300
    assert not [word for word in words if word.startswith("hydra.run.dir=/") and "/dev/null" not in word]


def test_announced_seconds() -> None:
    assert command_lines.announced("scene\nWork: 9 steps: about 3 min 20 s on cpu with 1 threads\n") == 200
    assert command_lines.announced("Work: 9 fits on cpu with 1 threads\n") == 0
    assert command_lines.is_long("Work: 9 fits on cpu with 1 threads\n", ["seed=1", "learner=scnn_svm"])
    assert not command_lines.is_long("Work: 9 fits on cpu with 1 threads\n", ["seed=1", "learner=emp_svm"])
    assert not command_lines.is_long("Work: 9 steps: about 1 s on cpu with 1 threads\n", ["learner=cnn3d"])


def test_what_is_left_behind(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "a" / "seed=0"
    run.mkdir(parents=True)
    (tmp_path / "tiny.mat").touch()
    assert command_lines.left_behind(tmp_path) == ["outputs", "outputs/a", "outputs/a/seed=0"]
    (run / "pool.h5").touch()
    assert command_lines.left_behind(tmp_path) == []


def test_ends_by_signals() -> None:
    assert not kills.fault_of_end("SIGTERM", Ended(143, "", f"{kills.SENTENCE}\n", 1))
    assert kills.fault_of_end("SIGTERM", Ended(143, "", f"{kills.SENTENCE}\n", 1e6))
    assert kills.fault_of_end("SIGTERM", Ended(130, "", f"{kills.SENTENCE}\n", 1))
    assert kills.fault_of_end("SIGHUP", Ended(-1, "", "", 1))
    assert kills.fault_of_end("STOP, CONT", Ended(1, "", "", 1))
    assert not kills.fault_of_end("kill -9", Ended(-9, "", "", 1))


def test_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "SHOTS", 1)
    trials = kills.measure(1, ways=["kill -9"])
    assert [(trial.kind, trial.outcome) for trial in trials] == [("kill -9, cold", kills.SAME)]


def changed_title(*arguments: str) -> int:
    """A continued run that gives another result without a word."""
    code = common.undrawn(*arguments)
    meta = Path(damage.RUN, "meta.json")
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"title": "another"}))
    return code


def out_of_order(*arguments: str) -> int:
    """A bug."""
    raise ZeroDivisionError


def refused(*arguments: str) -> int:
    from hsi_al.cli.console import guarded

    def work() -> None:
        raise HsiAlError("No.")

    return guarded(work)


def test_damage() -> None:
    """Of a file that nobody reads, before the real command and before ones that go wrong in each way."""
    form, outcomes = next(iter(damage.FORMATS)), []
    with common.place() as folder:
        stages = damage.Stages(folder, {})
        continued = damage.readings(form)[0]
        for work in (continued.work, refused, out_of_order, changed_title):
            reading = replace(continued, work=work)
            stages.results(form, continued)
            outcomes.append(damage.attempt(stages, form, reading, "cube.npy", np.random.default_rng(0))[0])
        assert damage.chosen(1, folder, np.random.default_rng(0))[1].kind == continued.kind
    assert outcomes == [damage.HARMLESS, damage.DETECTED, damage.BUG, damage.SILENT]


def test_command_lines() -> None:
    assert [trial.outcome in command_lines.OUTCOMES[:3] for trial in command_lines.measure(1, seed=1)] == [True]


def test_scarcity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scarcity, "SHORTAGES", {"limit of a file's size": scarcity.file_size})
    monkeypatch.setattr(scarcity, "LEARNERS", {"lenet": ["backbone=lenet"]})
    (trial,) = scarcity.measure(1, rounds=0)
    assert trial.outcome == scarcity.REFUSED, trial.what
