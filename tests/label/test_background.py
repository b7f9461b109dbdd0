"""The thread that learns."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsi_al.errors import LearnerError
from hsi_al.label.assessment import drawn
from hsi_al.label.background import Background
from hsi_al.label.session import Refused, Session
from tests.label.fakes import TRUTH, answer_all, session_in, taught


@contextmanager
def learning(session: Session) -> Iterator[Background]:
    background = Background(session)
    background.start()
    try:
        yield background
    finally:
        assert background.close()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_queries_and_maps_come_by_themselves(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    with learning(session):
        for number in range(1, 4):
            wait_for(lambda: len(session.answers.queries) == number)  # noqa: B023
            answer_all(session)
        wait_for(lambda: session.map is not None and session.map.n_labelled == 16 and not session.due)
        session.answer(0, 1)  # by a click, within a query
        wait_for(lambda: session.map is not None and session.map.n_labelled == 17)
        assert not session.problem
        wait_for(lambda: session.doubts)


class Slow:
    """A learner that waits in its fit until it is let go."""

    def __init__(self, learner: Any) -> None:
        self.learner, self.go, self.began = learner, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)

    def fit(self, *arguments: Any) -> None:
        self.began.set()
        while not self.go.wait(0.01):
            if self.progress is not None:
                self.progress("waiting", 0.0)
        self.learner.fit(*arguments)


def slowed(session: Session) -> Slow:
    session.planner._provide(4)
    slow = Slow(session.planner.learner)
    session.planner.learner = slow
    return slow


def test_answers_never_wait_for_training(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    answer_all(session)
    session.learn()
    slow = slowed(session)
    with learning(session):
        answer_all(session)
        wait_for(slow.began.is_set)
        for _ in range(10):
            start, pixel = time.monotonic(), session.query
            assert pixel is not None and session.busy
            session.answer(pixel, int(TRUTH[pixel]))
            assert time.monotonic() - start < 5
        assert session.map is not None and session.map.n_labelled == 8
        slow.go.set()
        wait_for(lambda: session.map is not None and session.map.n_labelled == 22)


def test_answers_never_wait_for_the_choice_of_a_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    choosing, go, chosen = threading.Event(), threading.Event(), session._chosen

    def slow(*arguments: Any) -> list[int]:
        choosing.set()
        assert go.wait(20)
        return chosen(*arguments)

    monkeypatch.setattr(session, "_chosen", slow)
    with learning(session):
        answer_all(session)
        wait_for(choosing.is_set)
        start = time.monotonic()
        session.answer(0, 1)
        assert time.monotonic() - start < 5 and session.map is not None
        go.set()
        wait_for(lambda: len(session.answers.queries) == 2)


def test_answers_never_wait_for_the_sample_of_an_assessment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = taught(tmp_path / "s", 1)
    drawing, go = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        drawing.set()
        assert go.wait(20)
        return drawn(*arguments)

    monkeypatch.setattr("hsi_al.label.session.drawn", slow)
    assert session.map is not None
    shown = session.map.classes.copy()
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(session.start_assessment, n) for n in (20, 30)]
        assert drawing.wait(20)
        pixel, start = session.query or 0, time.monotonic()
        session.answer(pixel, 1)
        session.map.classes[:] = 4  # as the next model does in place, tile by tile
        assert time.monotonic() - start < 5 and session.answers.running is None
        go.set()
        refused = [one for one in begun if isinstance(one.exception(), Refused)]
    assert len(refused) == 1 and "is running" in str(refused[0].exception())
    (found,) = session.answers.assessments
    assert found.classes == tuple(shown[list(found.pixels)].tolist()) and session.answers.given[pixel].value == 1
    assert found.mapped == dict(enumerate(np.bincount(shown).tolist()[1:], 1))
    with h5py.File(session.folder / found.map_file) as file:
        assert np.array_equal(np.ravel(file["class_map"]), shown)


def test_a_complete_query_ends_a_fit_that_lacks_its_last_answers(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    slow = slowed(session)
    with learning(session):
        for pixel in session.open_pixels[:-1]:
            session.answer(pixel, int(TRUTH[pixel]))
        wait_for(slow.began.is_set)
        session.answer(session.open_pixels[0], 1)
        time.sleep(0.1)
        slow.go.set()
        wait_for(lambda: session.map is not None)
        assert session.map is not None and session.map.n_labelled == 8 and session.map.number == 1


def test_a_failure_is_told_and_the_next_answer_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    fails = [LearnerError("Too few labels; add some."), ValueError("bug")]
    fit = session.planner.learner.fit

    def failing(*arguments: Any) -> None:
        if fails:
            raise fails.pop(0)
        fit(*arguments)

    monkeypatch.setattr(session.planner.learner, "fit", failing)
    with learning(session):
        answer_all(session)
        wait_for(lambda: session.problem)
        assert session.problem == "No new map: Too few labels; add some." and not session.busy
        time.sleep(0.3)
        assert len(fails) == 1  # not tried again and again
        session.answer(0, 1)
        wait_for(lambda: session.problem == "No new map: ValueError: bug")
        session.answer(1, 1)
        wait_for(lambda: session.map is not None and session.problem is None)


def test_an_answer_during_a_fit_that_fails_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    fits, began, go = [session.planner.learner.fit], threading.Event(), threading.Event()

    def failing(*arguments: Any) -> None:
        if not began.is_set():
            began.set()
            go.wait(10)
            raise LearnerError("Too few labels; add some.")
        fits[0](*arguments)

    monkeypatch.setattr(session.planner.learner, "fit", failing)
    with learning(session):
        answer_all(session)
        wait_for(began.is_set)
        session.answer(0, 1)
        go.set()
        wait_for(lambda: session.map is not None and session.problem is None)


def test_closing_ends_a_fit(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    session.learn()
    slow = slowed(session)
    with learning(session):
        answer_all(session)
        wait_for(slow.began.is_set)
    assert session.map is None
