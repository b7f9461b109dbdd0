"""What every acquisition function promises, over all names that there are."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hsi_al.acquisition import factory
from hsi_al.acquisition.base import Acquisition, PoolView
from hsi_al.acquisition.ranking import highest
from hsi_al.acquisition.registry import SCORES, acquisitions
from hsi_al.acquisition.selection import scores_of
from hsi_al.config.schema import AcquisitionConfig
from hsi_al.errors import AcquisitionError, ConfigurationError, PoolExhaustedError
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
N = 60
QUERYING = [name for name in acquisitions() if name != "none"]
SCORING = [name for name in SCORES if name != "variation_ratio"]  # whose scores are no small fractions
CERTAIN = [*SCORING, "core_set", "loss_prediction_diverse"]  # nothing is drawn where there are no ties
DRAWN = ["random", "badge"]
OPTIONAL = {field.name for field in fields(Outputs)} - {"predicted_class"}


def build_acquisition(name: str, options: AcquisitionConfig = factory.DEFAULTS) -> Acquisition:
    """With few members in a committee, which takes long to fit."""
    return factory.build_acquisition(name, replace(options, draws=2) if name == "committee" else options)


def every_output(seed: int = 0, n: int = N) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "probabilities_NC": rng.dirichlet(np.ones(5), n).astype(np.float32),
        "predicted_loss_N": rng.normal(size=n).astype(np.float32),
        "embeddings_ND": rng.normal(size=(n, 4)).astype(np.float32),
        "mc_probabilities_NKC": rng.dirichlet(np.ones(5), (n, 6)).astype(np.float32),
    }


def view_of(arrays: dict[str, NDArray[Any]], is_labelled: NDArray[np.bool_]) -> PoolView:
    n = len(is_labelled)
    position = np.arange(n)
    labels = np.where(is_labelled, position % 5, -1)
    view = PoolView(Outputs(np.zeros(n, np.int64), **arrays), is_labelled, labels, position // 8, position % 8)
    for array in (*arrays.values(), is_labelled, labels, view.row, view.column):
        array.flags.writeable = False  # a selection must not change what it sees
    return view


def half_labelled(seed: int = 7, n: int = N) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).permutation(np.arange(n) % 2 == 0)


def view_for(name: str, seed: int = 0) -> PoolView:
    """Only what the function declares is there."""
    needs = build_acquisition(name).needs
    return view_of({key: array for key, array in every_output(seed).items() if key in needs}, half_labelled())


def flat_view(is_labelled: NDArray[np.bool_]) -> PoolView:
    n = len(is_labelled)
    arrays: dict[str, NDArray[Any]] = {
        "probabilities_NC": np.full((n, 4), 0.25, np.float32),
        "predicted_loss_N": np.zeros(n, np.float32),
        "embeddings_ND": np.ones((n, 3), np.float32),
        "mc_probabilities_NKC": np.full((n, 3, 4), 0.25, np.float32),
    }
    return view_of(arrays, is_labelled)


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def expected_scores(name: str, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The published definitions, once more and by other means."""
    if name == "loss_prediction":
        return arrays["predicted_loss_N"].astype(np.float64)
    probabilities = np.sort(arrays["probabilities_NC"].astype(np.float64), axis=1)
    draws = arrays["mc_probabilities_NKC"].astype(np.float64)
    match name:
        case "entropy":
            return np.array([-sum(p * np.log(p) for p in row) for row in probabilities.tolist()])
        case "least_confidence":
            return 1 - probabilities[:, -1]
        case "margin" | "breaking_ties":
            return probabilities[:, -2] - probabilities[:, -1]
        case "modified_breaking_ties":
            return probabilities[:, -2]
        case "mean_entropy":
            return np.asarray(scipy.stats.entropy(draws.mean(axis=1), axis=1))
        case "bald":  # the mean divergence of the draws from their mean
            mean = np.broadcast_to(draws.mean(axis=1, keepdims=True), draws.shape)
            return np.asarray(scipy.stats.entropy(draws, mean, axis=2).mean(axis=1))
    raise AssertionError(f"add the definition of {name} here")


@pytest.mark.parametrize("name", QUERYING)
@pytest.mark.parametrize("n", [1, 10, N // 2])
def test_n_different_unlabelled_positions(name: str, n: int) -> None:
    view = view_for(name)
    positions = build_acquisition(name).select(view, n, rng_of())
    assert positions.dtype == np.int64
    assert len(positions) == len(set(positions.tolist())) == n
    assert not view.is_labelled[positions].any()


@pytest.mark.parametrize("name", QUERYING)
def test_all_that_are_left_but_not_one_more(name: str) -> None:
    view, acquisition = view_for(name), build_acquisition(name)
    left = set(np.flatnonzero(~view.is_labelled).tolist())
    assert set(acquisition.select(view, N // 2, rng_of()).tolist()) == left
    with pytest.raises(PoolExhaustedError, match=r"query of 31 .* 30 unlabelled"):
        acquisition.select(view, N // 2 + 1, rng_of())


@pytest.mark.parametrize("name", QUERYING)
def test_a_wholly_labelled_pool_is_exhausted(name: str) -> None:
    with pytest.raises(PoolExhaustedError):
        build_acquisition(name).select(flat_view(np.ones(4, bool)), 1, rng_of())


@pytest.mark.parametrize("name", QUERYING)
def test_the_same_seed_asks_the_same(name: str) -> None:
    view = view_for(name)
    queries = [build_acquisition(name).select(view, 8, rng_of(seed)).tolist() for seed in (0, 0, 1)]
    assert queries[0] == queries[1]
    if name in CERTAIN:
        assert queries[0] == queries[2]
    if name in DRAWN:
        assert queries[0] != queries[2]


@pytest.mark.parametrize("name", QUERYING)
def test_it_reads_what_it_declares_and_nothing_else(name: str) -> None:
    read: set[str] = set()

    class Watched(Outputs):
        def __getattribute__(self, attribute: str) -> Any:
            read.add(attribute)
            return super().__getattribute__(attribute)

    arrays, is_labelled = every_output(), half_labelled()
    acquisition = build_acquisition(name)
    position = np.arange(N)
    watched = Watched(np.zeros(N, np.int64), **arrays)
    read.clear()
    acquisition.select(PoolView(watched, is_labelled, position % 5, position, position), 5, rng_of())
    assert read & OPTIONAL == acquisition.needs


@pytest.mark.parametrize("name", QUERYING)
def test_names_and_needs(name: str) -> None:
    acquisition = build_acquisition(name)
    assert acquisition.name == name
    assert acquisition.needs <= OPTIONAL
    assert bool(acquisition.needs) == (name != "random")


@pytest.mark.parametrize("name", SCORING)
def test_the_highest_scores_come_first(name: str) -> None:
    arrays, is_labelled = every_output(), half_labelled()
    scores = expected_scores(name, arrays)
    free = [position for position in range(N) if not is_labelled[position]]
    wanted = sorted(free, key=lambda position: -scores[position])[:9]
    assert build_acquisition(name).select(view_of(arrays, is_labelled), 9, rng_of()).tolist() == wanted


@pytest.mark.parametrize("name", QUERYING)
@pytest.mark.parametrize(
    "options", [AcquisitionConfig(), AcquisitionConfig(subset=20, min_distance=2, class_balance=True)]
)
def test_the_order_of_the_pool_does_not_matter(name: str, options: AcquisitionConfig) -> None:
    view, acquisition = view_for(name), build_acquisition(name, options)
    expected = acquisition.select(view, 9, rng_of()).tolist()
    for seed in range(3):
        order = rng_of(seed).permutation(N)
        shuffled = PoolView(
            view.outputs.at(order), view.is_labelled[order], view.labels[order], view.row[order], view.column[order]
        )
        query = acquisition.select(
            shuffled, 9, rng_of(seed if name in CERTAIN and options == AcquisitionConfig() else 0)
        )
        assert order[query].tolist() == expected


@pytest.mark.parametrize("name", QUERYING)
def test_the_number_of_threads_does_not_matter(name: str) -> None:
    needs = build_acquisition(name).needs
    arrays = {key: array for key, array in every_output(n=700).items() if key in needs}
    if "embeddings_ND" in needs:
        arrays["embeddings_ND"] = np.random.default_rng(1).normal(size=(700, 60)).astype(np.float32)
    view, queries = view_of(arrays, np.arange(700) % 10 == 0), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            queries.append(build_acquisition(name).select(view, 20, rng_of()).tolist())
    assert queries[0] == queries[1]


@pytest.mark.parametrize("name", [name for name in QUERYING if name != "random"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    acquisition, is_labelled = build_acquisition(name), half_labelled()
    for need in acquisition.needs:
        arrays = {key: array for key, array in every_output().items() if key in acquisition.needs}
        arrays[need].flat[-1] = value
        with pytest.raises(AcquisitionError, match=f"acquisition={name} can't choose: {need} holds NaN") as caught:
            acquisition.select(view_of(arrays, is_labelled), 3, rng_of())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", QUERYING)
def test_one_pixel_left_and_one_label(name: str) -> None:
    acquisition = build_acquisition(name)
    for is_labelled in (np.arange(5) != 3, np.arange(2) != 1):
        arrays = {key: array for key, array in every_output(n=len(is_labelled)).items() if key in acquisition.needs}
        left = np.flatnonzero(~is_labelled).tolist()
        assert acquisition.select(view_of(arrays, is_labelled), 1, rng_of()).tolist() == left


@pytest.mark.parametrize("name", QUERYING)
def test_one_class(name: str) -> None:
    """All pixels are surely of the first class, and all labels are, too."""
    arrays: dict[str, NDArray[Any]] = every_output(n=30)
    for key in ("probabilities_NC", "mc_probabilities_NKC"):
        arrays[key] = np.zeros_like(arrays[key])
        arrays[key][..., 0] = 1
    needs = build_acquisition(name).needs
    view = view_of({key: array for key, array in arrays.items() if key in needs}, np.arange(30) < 6)
    one = PoolView(view.outputs, view.is_labelled, np.where(view.is_labelled, 0, -1), view.row, view.column)
    for options in (AcquisitionConfig(), AcquisitionConfig(class_balance=True)):
        assert len(set(build_acquisition(name, options).select(one, 10, rng_of()).tolist())) == 10


@pytest.mark.parametrize("name", QUERYING)
def test_any_function_sees_a_random_subset_alone(name: str) -> None:
    view = view_for(name)
    for seed in range(3):
        drawn = rng_of(seed).permutation(np.flatnonzero(~view.is_labelled))[:12]
        query = build_acquisition(name, AcquisitionConfig(subset=12)).select(view, 12, rng_of(seed))
        assert set(query.tolist()) == set(drawn.tolist())
        assert set(build_acquisition(name, AcquisitionConfig(subset=12)).select(view, 5, rng_of(seed))) < set(
            drawn.tolist()
        )


@pytest.mark.parametrize("name", QUERYING)
@pytest.mark.parametrize("distance", [2, 3])
def test_any_function_keeps_a_distance_and_balances_classes(name: str, distance: int) -> None:
    arrays = {key: array for key, array in every_output(n=400).items() if key in build_acquisition(name).needs}
    position = np.arange(400)
    row, column, classes = position // 20, position % 20, (position // 20) // 8
    is_labelled = position % 7 == 0
    view = PoolView(Outputs(classes, **arrays), is_labelled, np.where(is_labelled, position % 5, -1), row, column)
    options = AcquisitionConfig(min_distance=distance, class_balance=True)
    query = build_acquisition(name, options).select(view, 12, rng_of())
    apart = np.maximum(abs(row[query][:, None] - row[query]), abs(column[query][:, None] - column[query]))
    assert apart[~np.eye(12, dtype=bool)].min() >= distance
    assert np.bincount(classes[query]).tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", QUERYING)
def test_ties_are_broken_by_the_seed_and_not_by_the_order(name: str) -> None:
    is_labelled = half_labelled(n=20)
    view, n_seeds = flat_view(is_labelled), 400 if name in SCORES else 40
    queries = [build_acquisition(name).select(view, 3, rng_of(seed)).tolist() for seed in range(n_seeds)]
    often = np.bincount(np.concatenate(queries), minlength=20)[~is_labelled]
    expected = 3 * n_seeds / 10
    assert ((often - expected) ** 2 / expected).sum() < scipy.stats.chi2.isf(1e-5, 9)


@pytest.mark.parametrize("name", SCORING)
def test_only_ties_are_left_to_chance(name: str) -> None:
    """Two pixels are uncertain, all others alike: the two are always asked, the third is any."""
    probabilities = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (20, 1))
    probabilities[[4, 11]] = 0.4, 0.3, 0.3
    loss = np.zeros(20, np.float32)
    loss[[4, 11]] = 1.0
    draws = np.tile(probabilities[:, None], (1, 2, 1))
    draws[[4, 11]] = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]
    outputs = {"probabilities_NC": probabilities, "predicted_loss_N": loss, "mc_probabilities_NKC": draws}
    view = view_of(outputs, np.zeros(20, bool))
    queries = [build_acquisition(name).select(view, 3, rng_of(seed)).tolist() for seed in range(30)]
    assert {frozenset(query[:2]) for query in queries} == {frozenset({4, 11})}
    assert len({query[2] for query in queries}) > 5


@pytest.mark.parametrize("name", SCORING)
def test_a_subset_leaves_most_pixels_unseen(name: str) -> None:
    arrays, is_labelled = every_output(), half_labelled()
    scores, view = expected_scores(name, arrays), view_of(arrays, is_labelled)
    free = np.flatnonzero(~is_labelled)
    ranked = free[np.argsort(-scores[free])].tolist()
    best, worst = ranked[0], ranked[-1]
    seen = [
        build_acquisition(name, AcquisitionConfig(subset=15)).select(view, 1, rng_of(seed)).item()
        for seed in range(200)
    ]
    assert 60 < seen.count(best) < 140  # half of the pixels are seen
    assert worst not in seen
    everything = [
        build_acquisition(name, AcquisitionConfig(subset=size)).select(view, 5, rng_of()).tolist()
        for size in (30, 1000)
    ]
    assert everything == [ranked[:5]] * 2


@pytest.mark.parametrize("name", QUERYING)
def test_a_subset_smaller_than_the_query_is_the_query(name: str) -> None:
    view = view_for(name)
    queries = [
        build_acquisition(name, AcquisitionConfig(subset=3)).select(view, 10, rng_of(seed)) for seed in range(15)
    ]
    for query in queries:
        assert len(set(query.tolist())) == 10
        assert not view.is_labelled[query].any()
    assert len(set(np.concatenate(queries).tolist())) > 25  # drawn from all of the unlabelled


def test_random_draws_uniformly() -> None:
    is_labelled = half_labelled(n=20)
    often = np.zeros(20, np.int64)
    for seed in range(600):
        often[build_acquisition("random").select(flat_view(is_labelled), 4, rng_of(seed))] += 1
    assert not often[is_labelled].any()
    assert ((often[~is_labelled] - 240) ** 2 / 240).sum() < scipy.stats.chi2.isf(1e-5, 9)


def test_none_never_queries() -> None:
    acquisition = build_acquisition("none")
    assert (acquisition.name, acquisition.needs) == ("none", frozenset())
    with pytest.raises(ConfigurationError, match="acquisition=none"):
        acquisition.select(flat_view(np.zeros(4, bool)), 1, rng_of())


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(ConfigurationError, match="'entropi'") as caught:
        build_acquisition("entropi")
    assert all(name in str(caught.value) for name in acquisitions())
    assert {"loss_prediction", "entropy", "least_confidence", "margin", "random", "none"} <= set(acquisitions())


@pytest.mark.parametrize("n", [1, 7, 40, 199, 200])
@pytest.mark.parametrize("kind", ["different", "few values", "all alike", "with nan"])
def test_the_highest_are_those_of_a_full_sort(n: int, kind: str) -> None:
    rng = rng_of(n)
    scores = (
        rng.normal(size=200)
        if kind == "different"
        else rng.integers(0, 1 if kind == "all alike" else 5, 200).astype(np.float64)
    )
    if kind == "with nan":
        scores[rng.random(200) < 0.5] = np.nan
    ties = rng.permutation(200)
    ordered = sorted(range(200), key=lambda i: (np.isnan(scores[i]), 0 if np.isnan(scores[i]) else -scores[i], ties[i]))
    assert highest(scores, ties, n).tolist() == ordered[:n]


def test_the_highest_of_a_stream_are_those_of_the_whole() -> None:
    rng = rng_of(0)
    scores, ties = rng.integers(0, 9, 1000).astype(np.float64), rng.permutation(1000)
    kept = np.empty(0, np.int64)
    for part in np.split(np.arange(1000), [1, 2, 30, 31, 600]):
        joined = np.concatenate([kept, part])
        kept = joined[highest(scores[joined], ties[joined], min(40, len(joined)))]
    assert kept.tolist() == highest(scores, ties, 40).tolist()


@pytest.mark.parametrize("name", QUERYING)
@pytest.mark.parametrize("subset", [None, 15])
def test_scores_made_while_predicting_ask_the_same(name: str, subset: int | None) -> None:
    arrays, is_labelled = every_output(), half_labelled()
    acquisition = build_acquisition(name, AcquisitionConfig(subset=subset))
    parts = [
        scores_of(acquisition, Outputs(np.zeros(len(part), np.int64), **{key: arrays[key][part] for key in arrays}))
        for part in np.split(np.arange(N), [1, 23])
    ]
    if name not in SCORES:
        assert parts == [None] * 3
        return
    scores = np.concatenate([part for part in parts if part is not None])
    position = np.arange(N)
    bare = PoolView(Outputs(np.zeros(N, np.int64)), is_labelled, position, position, position, scores)
    for seed in range(3):
        expected = acquisition.select(view_of(arrays, is_labelled), 9, rng_of(seed))
        assert acquisition.select(bare, 9, rng_of(seed)).tolist() == expected.tolist()
