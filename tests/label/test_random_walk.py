"""A session in any order of answers, undos, assessments and restarts, against a plain model of what it holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.label.server import state_of
from hsi_al.label.session import Refused, Session
from tests.label.fakes import MASKED, SIDE, TRUTH, session_in

Book = dict[int, int | None]


class Model:
    """What a session holds, as lists and dictionaries: every step keeps the whole book as it was before."""

    def __init__(self) -> None:
        self.given: Book = {}
        self.sample: list[int] = []
        self.assessed: Book = {}
        self.checking = False  # an assessment was begun and not stopped
        self.done: list[tuple[str, Book, set[int]]] = []  # book, its content before, pixels to ask again when undone
        self.undone: list[tuple[str, Book, set[int]]] = []
        self.again: list[int] = []
        self.taken: Book = {}

    @property
    def running(self) -> bool:
        return self.checking and len(self.assessed) < len(self.sample)

    def book(self, name: str) -> Book:
        return self.given if name == "given" else self.assessed

    def label(self, pixels: list[int], value: int | None, asked: bool) -> None:
        self.put("assessed" if self.running and pixels[0] in self.sample else "given", pixels, value, asked)

    def put(self, name: str, pixels: list[int], value: int | None, asked: bool) -> None:
        book = self.book(name)
        self.done.append((name, dict(book), {pixel for pixel in pixels if asked}))
        self.undone = []
        book.update(dict.fromkeys(pixels, value))
        self.again = [pixel for pixel in self.again if pixel not in self.given]

    def take(self, file: Book) -> int:
        new = {pixel: value for pixel, value in file.items() if self.taken.get(pixel) != value}
        self.taken |= new
        changed = {pixel: value for pixel, value in new.items() if self.given.get(pixel) != value}
        for value in dict.fromkeys(changed.values()):
            self.put("given", [pixel for pixel in changed if changed[pixel] == value], value, False)
        return len(changed)

    def may(self, steps: list[tuple[str, Book, set[int]]]) -> bool:
        return bool(steps) and (not self.running or steps[-1][0] == "assessed")

    def move(self, back: bool) -> None:
        source, target = (self.done, self.undone) if back else (self.undone, self.done)
        name, other, pixels = source.pop()
        book = self.book(name)
        target.append((name, dict(book), pixels))
        book.clear()
        book.update(other)
        if name == "given":
            self.again = [pixel for pixel in self.again if pixel not in pixels and pixel not in self.given]
            if back:
                self.again += [pixel for pixel in sorted(pixels) if pixel not in self.given]

    def begin(self, sample: list[int]) -> None:
        self.sample, self.assessed, self.checking = sample, {}, True
        self.done, self.undone = [], []

    def stop(self) -> None:
        self.checking = False
        self.done, self.undone = [], []


def refused(action: Any, *arguments: Any) -> bool:
    try:
        action(*arguments)
    except Refused:
        return True
    return False


def compare(session: Session, model: Model) -> None:
    answers = session.answers
    assert {pixel: answer.value for pixel, answer in answers.given.items()} == model.given
    assert answers.counts() == {value: list(model.given.values()).count(value) for value in answers.classes}
    assert (answers.can_undo, answers.can_redo) == (model.may(model.done), model.may(model.undone))
    assert answers.again == model.again and bool(answers.running) == model.running
    state = state_of(session)
    assert state["n_labelled"] + state["n_skipped"] == len(model.given)
    query = session.query
    if model.running:
        assert query == next(pixel for pixel in model.sample if pixel not in model.assessed)
    elif model.again:
        assert query == model.again[-1]
    else:
        assert query is None or query not in model.given
    if not model.checking:
        assert refused(session.assessed)
    else:
        found = answers.assessment
        assert found is not None and {pixel: one.value for pixel, one in found.answers.items()} == model.assessed
        assert session.assessed()["answered"] == len(model.assessed)
    labelled = {pixel: value for pixel, value in model.given.items() if value is not None}
    if not session.due:
        assert (session.map is not None) == (len(set(labelled.values())) > 1)
        assert session.map is None or session.map.n_labelled == len(labelled)
    assert state["map_current"] == (session.map is not None and not session.due)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_session_is_what_a_plain_model_of_it_says(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    session, model, n_classes = session_in(tmp_path / "s", "corn", "oats"), Model(), 2
    acts = ["any", "correct", "polygon", "file", "learn", "restart", "class", "rename", "assess", "assess", "stop"]
    acts += ["asked"] * 10 + ["undo"] * 4 + ["redo"] * 3
    seen = set()
    for number in range(200):
        act = acts[int(rng.integers(len(acts)))]
        value = [None, *range(1, n_classes + 1)][int(rng.integers(n_classes + 1))]
        pixel = int(rng.choice(np.array([0, SIDE - 1, SIDE**2 - 1, rng.integers(SIDE**2)])))  # corners, too
        if act == "correct" and model.given:
            pixel = list(model.given)[int(rng.integers(len(model.given)))]
        if act == "asked" and session.query is not None:
            pixel = session.query
            value = min(n_classes, int(TRUTH[pixel])) if rng.random() < 0.8 else value
        running = model.running
        if act in ("asked", "any", "correct"):
            asked = pixel == session.query or pixel in session.open_pixels or pixel in session._spare
            if pixel == MASKED:
                assert refused(session.answer, pixel, value)
            else:
                session.answer(pixel, value)
                model.label([pixel], value, asked)
        elif act == "polygon":
            row, column, height, width = (int(one) for one in rng.integers([-3, -3, 1, 1], [SIDE, SIDE, 5, 5]))
            inside = [
                i * SIDE + j
                for i in range(max(0, row), min(SIDE, row + height))
                for j in range(max(0, column), min(SIDE, column + width))
                if i * SIDE + j != MASKED and not (running and i * SIDE + j in model.sample)
            ]
            corners = [(row, column), (row, column + width), (row + height, column + width), (row + height, column)]
            if refused(session.fill_polygon, corners, value or 1):
                assert not inside
            else:
                model.label(inside, value or 1, False)
        elif act in ("undo", "redo"):
            steps = model.done if act == "undo" else model.undone
            if model.may(steps):
                getattr(session, act)()
                model.move(act == "undo")
            else:
                assert refused(getattr(session, act))
        elif act == "file":
            file: Book = {int(place): 1 + int(place) % 2 for place in rng.integers(SIDE, SIDE**2, 4)}
            assert session.take(list(file.items())) == model.take(file)
            assert session.take(list(file.items())) == 0
        elif act == "assess":
            session.learn()
            began = not refused(session.start_assessment, 12)
            whole = session.map is not None
            assert began == (not running and whole)  # labels of one class make no map
            if began:
                assert session.answers.running is not None
                model.begin(list(session.answers.running.pixels))
        elif act == "stop" and (len(model.assessed) > 3 or not running):
            assert refused(session.stop_assessment) == (not running)
            model.stop() if running else None
        elif act == "class" and n_classes < 6:
            n_classes += 1
            assert session.add_class(f"class {number}").value == n_classes
        elif act == "rename":
            session.change_class(1 + number % n_classes, f"name {number}")
        elif act == "learn":
            session.learn()
        elif act == "restart":
            queries, classes = session.answers.queries, session.answers.classes
            session = session_in(tmp_path / "s")
            assert session.answers.queries == queries and session.answers.classes == classes
            assert list(session.answers.classes) == list(range(1, n_classes + 1))
        seen.add((act, running))
        compare(session, model)
    assert {act for act, _ in seen} == set(acts)
    assert {(act, True) for act in ("asked", "undo", "redo", "polygon", "file", "learn", "restart", "stop")} <= seen
