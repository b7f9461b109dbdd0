"""Acquisition functions of a caller's own, given as functions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hsi_al
from hsi_al.acquisition.factory import build_acquisition, own_batch
from tests.acquisition.fakes import pool_of
from tests.conftest import tiny_arrays

Floats = NDArray[Any]
NUMBERS: dict[str, Any] = {"rounds": 2, "query_size": 4, "initial_size": 12, "threads": 1}


@pytest.fixture(scope="module")
def tiny() -> hsi_al.Scene:
    return hsi_al.load_scene(*tiny_arrays())


def smallest_gap(probabilities_NC: Floats) -> Floats:
    two = np.sort(probabilities_NC, axis=1)[:, -2:].astype(np.float64)
    gaps: Floats = two[:, 0] - two[:, 1]
    return gaps


def gap_of_view(view: hsi_al.PoolView) -> Floats:
    assert view.outputs.probabilities_NC is not None
    return smallest_gap(view.outputs.probabilities_NC)


@pytest.mark.parametrize("function", [smallest_gap, gap_of_view])
@pytest.mark.parametrize("around", [{}, {"min_distance": 3}, {"subset": 50}, {"class_balance": True}])
def test_margin_written_anew_asks_what_margin_asks(
    tiny: hsi_al.Scene, function: Callable[..., Floats], around: dict[str, Any]
) -> None:
    ours, own = (
        hsi_al.Experiment(tiny, learner="lda", acquisition=hsi_al.make_acquisition(given, **around), **NUMBERS)
        for given in ("margin", function)
    )
    ours.run(), own.run()
    assert ours.labelled["pixel_id"].tolist() == own.labelled["pixel_id"].tolist()
    assert function.__name__ in repr(own)


def test_arguments_with_a_default_are_the_functions_own() -> None:
    def power(probabilities_NC: Floats, exponent: float = 1) -> Floats:
        powers: Floats = -(probabilities_NC[:, 0].astype(np.float64) ** exponent)
        return powers

    def shifted(view: hsi_al.PoolView, column: int = 6) -> Floats:
        return -np.abs(view.column.astype(np.float64) - column)

    view = pool_of(0, probabilities_NC=np.array([[0.5, 0.5], [0.1, 0.9], [0.3, 0.7]], np.float32))
    for function, best in ((power, 1), (partial(power, exponent=-1), 0), (shifted, 2), (partial(shifted, column=0), 0)):
        acquisition = build_acquisition("mine", own=own_batch(function))
        assert acquisition.needs == frozenset({"probabilities_NC"})
        assert acquisition.select(view, 1, np.random.default_rng(0)).tolist() == [best]
    with pytest.raises(
        hsi_al.ConfigurationError, match="takes exponent, probabilities_NC; its arguments must be among"
    ):
        own_batch(lambda probabilities_NC, exponent: probabilities_NC[:, 0] ** exponent)


def test_a_view_shows_places_and_labels_of_all_candidates() -> None:
    def far_from_labels(view: hsi_al.PoolView) -> Floats:
        labelled = view.column[view.is_labelled]
        distances: Floats = np.abs(view.column[:, None] - labelled).min(axis=1)
        return distances

    acquisition = build_acquisition("far", own=own_batch(far_from_labels, ()))
    assert acquisition.needs == frozenset()
    view = pool_of(2, embeddings_ND=np.zeros((7, 1), np.float32))  # columns 0 to 6, of which 0 and 1 are labelled
    assert acquisition.select(view, 2, np.random.default_rng(0)).tolist() == [6, 5]


def test_needs_decide_what_a_learner_computes(tiny: hsi_al.Scene) -> None:
    def embedded(view: hsi_al.PoolView) -> Floats:
        assert view.outputs.embeddings_ND is not None and view.outputs.probabilities_NC is None
        return view.outputs.embeddings_ND[:, 0].astype(np.float64)

    choice = hsi_al.make_acquisition(embedded, needs=["embeddings_ND"])
    hsi_al.Experiment(tiny, learner="lda", acquisition=choice, **NUMBERS).run()
    with pytest.raises(hsi_al.LearnerError, match="learner=jcr can't give embeddings_ND"):
        hsi_al.Experiment(tiny, learner="jcr", acquisition=choice, **{**NUMBERS, "initial": "uniform"})
    with pytest.raises(hsi_al.ConfigurationError, match="There are no outputs logits; needs may hold predicted_class,"):
        hsi_al.make_acquisition(embedded, needs=["logits"])


WRONG: list[tuple[str, Callable[..., Any]]] = [
    (r"must return \d+ scores, one per candidate; .* shape \(3,\)", lambda view: np.zeros(3)),
    ("lambda> returned NaN or infinite scores", lambda view: view.row * np.nan),
    (r"must return \d+ scores, one per pixel", lambda predicted_class: 1.0),
]


@pytest.mark.parametrize(("says", "function"), WRONG)
def test_what_a_function_gives_is_checked(tiny: hsi_al.Scene, says: str, function: Callable[..., Any]) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", acquisition=function, **NUMBERS)
    with pytest.raises(hsi_al.AcquisitionError, match=says):
        experiment.step()


class First:
    name = "first"
    needs: frozenset[str] = frozenset()

    def select(self, view: hsi_al.PoolView, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.flatnonzero(~view.is_labelled)[:n]


def test_an_object_selects_by_itself(tiny: hsi_al.Scene) -> None:
    experiment = hsi_al.Experiment(tiny, "paper", "lda", First(), **NUMBERS)
    experiment.run()
    asked = experiment.labelled["pixel_id"][experiment.labelled["labelled_at"] > 0]
    initial = experiment.labelled["pixel_id"][experiment.labelled["labelled_at"] == 0]
    assert asked.tolist() == np.setdiff1d(tiny.labelled_ids, initial)[:8].tolist()
    with pytest.raises(hsi_al.ConfigurationError, match=r"first selects by itself; leave out acquisition.subset"):
        hsi_al.make_acquisition(First(), subset=3)


def test_nothing_of_the_pool_can_be_written_to(tiny: hsi_al.Scene) -> None:
    """A function that changes labels would change what the learner learns."""

    def cleverly(view: hsi_al.PoolView) -> NDArray[np.float64]:
        labels = view.labels
        labels[labels > 0] -= 1
        return np.zeros(len(labels))

    def classes(predicted_class: NDArray[np.int64]) -> NDArray[np.float64]:
        predicted_class[:] = 0
        return np.zeros(len(predicted_class))

    for function in (cleverly, classes):
        experiment = hsi_al.Experiment(tiny, learner="lda", acquisition=function, **NUMBERS)
        before = experiment.labelled
        with pytest.raises(hsi_al.AcquisitionError, match=r"changes an array that it gets.*\.copy\(\)"):
            experiment.step()
        assert (experiment.labelled["label"] == before["label"]).all()


class Picked:
    """Selects positions that are given."""

    name, needs = "picked", frozenset[str]()

    def __init__(self, positions: Any) -> None:
        self.positions = positions

    def select(self, view: hsi_al.PoolView, n: int, rng: np.random.Generator) -> Any:
        free = np.flatnonzero(~view.is_labelled)
        return self.positions(free, np.flatnonzero(view.is_labelled), n)


@pytest.mark.parametrize(
    "positions",
    [
        lambda free, labelled, n: free[: n + 1],
        lambda free, labelled, n: free[:0],
        lambda free, labelled, n: free[:n].astype(float),
        lambda free, labelled, n: free[:n].repeat(2)[:n],
        lambda free, labelled, n: np.append(free[: n - 1], labelled[0]),
        lambda free, labelled, n: np.append(free[: n - 1], 10_000),
        lambda free, labelled, n: np.append(free[: n - 1], -1),
        lambda free, labelled, n: None,
    ],
)
def test_what_an_object_selects_is_checked(tiny: hsi_al.Scene, positions: Any) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", acquisition=Picked(positions), **NUMBERS)
    with pytest.raises(hsi_al.AcquisitionError, match=r"picked selected .*it must give 4 different positions"):
        experiment.step()
    good = Picked(lambda free, labelled, n: free[:n].tolist())
    experiment = hsi_al.Experiment(tiny, learner="lda", acquisition=good, **NUMBERS)
    assert experiment.run()["n_labelled"][1] == experiment.run()["n_labelled"][0] + 4
