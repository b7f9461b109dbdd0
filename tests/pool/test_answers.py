"""The state of a session as the replay of its events."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SessionError
from hsi_al.pool.answers import ANSWERS, Answers, session_labels
from hsi_al.pool.journal import Journal


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"time": "2026-01-02T03:04:05Z", "who": "ann", "event": kind, **fields}


def class_(value: int) -> dict[str, Any]:
    return event("class", value=value, name=f"c{value}", key=str(value), colour="#000000")


def label(*pixels: int, value: int | None, asked: bool = True) -> dict[str, Any]:
    return event("label", pixels=list(pixels), value=value, asked=asked)


START = [class_(1), class_(2)]


def values(answers: Answers) -> dict[int, int | None]:
    return {pixel: answer.value for pixel, answer in answers.given.items()}


def test_labels_skips_corrections_and_polygons() -> None:
    answers = Answers([*START, label(7, value=1), label(0, value=None), label(7, value=2), label(9, 3, 7, value=1)])
    assert values(answers) == {7: 1, 0: None, 9: 1, 3: 1}
    ids, labels = answers.labelled()
    assert ids.tolist() == [3, 7, 9] and labels.tolist() == [1, 1, 1] and ids.dtype == np.int64
    assert answers.counts() == {1: 3, 2: 0} and answers.version == 6
    nothing = Answers()
    assert nothing.labelled()[0].shape == nothing.labelled()[1].shape == (0,) and not nothing.can_undo


def test_every_number_of_undos_leads_back_to_the_state_at_that_time() -> None:
    rng = np.random.default_rng(0)
    events = list(START)
    for _ in range(40):
        pixels = rng.choice(6, int(rng.integers(1, 4)), replace=False).tolist()
        value = [None, 1, 2][int(rng.integers(3))]
        events.append(label(*pixels, value=value))
    states = [values(Answers(events[: 2 + n])) for n in range(41)]
    answers = Answers(events)
    for n in range(39, -1, -1):
        answers.apply(event("undo"))
        assert values(answers) == states[n]
        assert answers.counts() == {value: list(states[n].values()).count(value) for value in (1, 2)}
    assert not answers.can_undo
    for n in range(1, 41):
        answers.apply(event("redo"))
        assert values(answers) == states[n]
    assert not answers.can_redo
    assert values(Answers([*events, event("undo"), event("undo"), event("redo")])) == states[39]


def test_a_new_answer_ends_what_can_be_redone_and_undone_questions_come_again() -> None:
    answers = Answers([*START, label(4, value=1), label(5, value=2, asked=False), label(6, value=1)])
    answers.apply(event("undo"))
    assert answers.again == [6] and answers.can_redo
    answers.apply(event("undo"))
    assert answers.again == [6]  # nobody had asked for 5
    answers.apply(event("undo"))
    assert answers.again == [6, 4]
    answers.apply(event("redo"))
    assert answers.again == [6]
    answers.apply(label(6, value=2))
    assert answers.again == [] and not answers.can_redo and values(answers) == {4: 1, 6: 2}


def test_an_assessment_has_a_book_of_its_own() -> None:
    begin = event("assessment", pixels=[4, 8], classes=[1, 2], mapped={"1": 50, "2": 50}, map_file="m.h5")
    answers = Answers([*START, label(4, value=1), begin])
    assert not answers.can_undo  # what came before stays
    running = answers.running
    assert running is not None and running.open_pixels == [4, 8] and running.mapped == {1: 50, 2: 50}
    answers.apply(event("assessed", pixel=4, value=2))
    answers.apply(event("assessed", pixel=8, value=None))
    assert values(answers) == {4: 1} and running.done and answers.running is None and answers.assessment is running
    answers.apply(event("undo"))
    assert running.open_pixels == [8] and answers.again == []
    answers.apply(event("assessment_stopped"))
    assert answers.assessment is None and not answers.can_undo and len(answers.assessments) == 1


def test_while_an_assessment_runs_its_answers_alone_are_taken_back() -> None:
    begin = event("assessment", pixels=[4, 8], classes=[1, 2], mapped={"1": 50, "2": 50}, map_file="m.h5")
    answers = Answers([*START, begin, event("assessed", pixel=4, value=2)])
    assert answers.can_undo
    answers.apply(label(5, value=1, asked=False))  # of a program, or of a file after a restart
    assert not answers.can_undo
    answers.apply(event("assessed", pixel=8, value=1))
    assert answers.can_undo  # it is over
    answers.apply(event("undo"))
    assert not answers.can_undo and answers.can_redo and values(answers) == {5: 1}


@pytest.mark.parametrize(
    "wrong",
    [
        label(1, value=9),
        event("undo"),
        event("redo"),
        event("nothing"),
        {"time": "", "who": ""},
        event("assessed", pixel=1, value=1),
        event("label", pixels=None, value=1),
    ],
)
def test_what_is_no_event_is_named_by_its_line(wrong: dict[str, Any], tmp_path: Path) -> None:
    journal = Journal(tmp_path / ANSWERS)
    for one in [*START, wrong]:
        journal.append(one)
    with pytest.raises(SessionError, match=r"^Line 3 of "):
        session_labels(tmp_path)


def test_labels_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="holds no answers"):
        session_labels(tmp_path)
    journal = Journal(tmp_path / ANSWERS)
    for one in [*START, label(8, value=2), label(3, value=1), label(5, value=None)]:
        journal.append(one)
    (tmp_path / "session.json").write_text("{}")
    with pytest.raises(SessionError, match=r"session\.json is damaged"):
        session_labels(tmp_path)
    (tmp_path / "session.json").write_text(json.dumps({"shape": [2, 5, 7]}))
    found = session_labels(tmp_path)
    assert found.shape == (2, 5)
    assert found.pixel_ids.tolist() == [3, 8] and found.values.tolist() == [1, 2]
    assert found.class_names == {1: "c1", 2: "c2"}
