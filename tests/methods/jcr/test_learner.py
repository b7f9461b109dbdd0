"""JCR on a synthetic scene, against a plain loop."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.jcr import learner as jcr
from hsi_al.methods.jcr.learner import JcrLearner, JcrSettings, neighbours
from tests.methods.jcr.test_nrs import plain_residual

Ids = NDArray[np.int64]
SIDE, BANDS, CLASSES = 40, 20, 4
ALL = np.arange(SIDE * SIDE, dtype=np.int64)
SMALL: dict[str, Any] = {"windows": (1, 3), "penalties": (0.01, 0.1)}
PENALTIES = (1e-4, 0.1, 10.0)


def scene(noise: float = 0.1, seed: int = 0) -> tuple[NDArray[np.float32], Ids]:
    """Four Gaussian classes in quadrants; their labels."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((SIDE, SIDE), np.int64)
    truth[SIDE // 2 :] += 2
    truth[:, SIDE // 2 :] += 1
    cube = rng.random((CLASSES, BANDS))[truth] + noise * rng.standard_normal((SIDE, SIDE, BANDS))
    return cube.astype(np.float32), truth.ravel()


def draw(truth: Ids, per_class: int = 15, seed: int = 0) -> Ids:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(np.flatnonzero(truth == c), per_class, replace=False) for c in np.unique(truth)])


def fitted(cube: NDArray[Any], pixel_ids: Ids, labels: Ids, seed: int = 0, **settings: Any) -> JcrLearner:
    learner = JcrLearner(cube, CLASSES, JcrSettings(**(SMALL | settings)))
    learner.fit(pixel_ids, labels, 0, np.random.default_rng(seed))
    return learner


WRONG = [
    ("windows", ()),
    ("windows", (3, 4)),
    ("windows", (-1,)),
    ("penalties", ()),
    ("penalties", (0.0,)),
    ("penalties", (np.inf,)),
    ("folds", 1),
    ("variant", "x"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        JcrSettings(**{name: value})


@pytest.mark.parametrize("variant", ["averaged", "joint"])
def test_separated_classes_are_told_apart(variant: str) -> None:
    cube, truth = scene()
    chosen = draw(truth)
    learner = fitted(cube, chosen, truth[chosen], variant=variant)
    assert (learner.predict(ALL).predicted_class == truth).mean() > 0.95
    assert learner.provides == frozenset()
    assert f"{variant}, window {learner.window}, lambda {learner.penalty:g};" in learner.describe()
    assert learner.work(60, 1600).startswith("4 x 5 representations a round of up to 60 labels, then 1,600 pixels")


@pytest.mark.parametrize(("variant", "window"), [("averaged", 1), ("averaged", 5), ("joint", 1), ("joint", 5)])
def test_labels_equal_those_of_a_plain_loop(variant: str, window: int) -> None:
    cube, truth = scene(noise=1.5)
    chosen = draw(truth, 30)  # more atoms than bands
    learner = fitted(cube, chosen, truth[chosen], windows=(window,), penalties=(0.1,), variant=variant)
    sample = np.concatenate([ALL[:3], ALL[37:42], ALL[-1:], np.random.default_rng(1).choice(ALL, 20)])  # corners too
    size = window if variant == "averaged" else 1
    values = uniform_filter(cube.astype(np.float64), (size, size, 1), mode="nearest").reshape(-1, BANDS)
    expected = []
    for pixel in sample:
        row, column = divmod(int(pixel), SIDE)
        reach = range(-(window // 2), window // 2 + 1) if variant == "joint" else range(1)
        places = [(row + down, column + right) for down in reach for right in reach]
        around = [min(max(r, 0), SIDE - 1) * SIDE + min(max(c, 0), SIDE - 1) for r, c in places]
        expected.append(
            np.argmin(
                [
                    sum(plain_residual(values[chosen[truth[chosen] == c]], values[t], 0.1) ** 2 for t in around)
                    for c in range(CLASSES)
                ]
            )
        )
    found = learner.predict(sample).predicted_class
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64 and (found != truth[sample]).any()


@pytest.mark.parametrize("variant", ["averaged", "joint"])
def test_the_search_counts_hits_on_the_folds(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cube, truth = scene(noise=1.0)
    chosen = draw(truth, 12)
    order = np.random.default_rng(5).permutation(len(chosen))
    folds = [(order[k:], order[:k]) for k in (12, 20)]
    monkeypatch.setattr(jcr, "stratified_folds", lambda labels, n, rng: folds)
    windows, penalties = (1, 3, 5), (1e-3, 0.1, 1.0, 50.0)
    hits = np.zeros((3, 4), int)
    for train, test in folds:
        for row, window in enumerate(windows):
            for column, penalty in enumerate(penalties):
                alone = JcrLearner(cube, CLASSES, JcrSettings((window,), (penalty,), variant=variant))
                with monkeypatch.context() as without_folds:
                    without_folds.setattr(jcr, "stratified_folds", lambda labels, n, rng: [])
                    alone.fit(chosen[train], truth[chosen[train]], 0, np.random.default_rng(0))
                hits[row, column] += (alone.predict(chosen[test]).predicted_class == truth[chosen[test]]).sum()
    learner = fitted(cube, chosen, truth[chosen], windows=windows, penalties=penalties, variant=variant)
    best = np.flatnonzero(hits[windows.index(learner.window)] == hits.max())
    assert hits.min() < hits.max() and len(best)
    assert (hits[: windows.index(learner.window)] < hits.max()).all()
    assert learner.penalty == penalties[best[len(best) // 2]]


def test_neighbours_repeat_the_edges() -> None:
    found = np.stack(list(neighbours(np.array([0, 5]), 3, 2, 4)), axis=1)
    np.testing.assert_array_equal(found, [[0, 0, 1, 0, 0, 1, 4, 4, 5], [0, 1, 2, 4, 5, 6, 4, 5, 6]])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_means_are_those_of_the_neighbours(window: int) -> None:
    cube = scene(noise=1.0)[0][:7, :9]
    around = np.stack([cube.reshape(63, BANDS)[ids] for ids in neighbours(np.arange(63), window, 7, 9)])
    np.testing.assert_allclose(jcr.window_means(cube, window).reshape(63, BANDS), around.mean(0), atol=1e-5)


def test_a_class_with_one_pixel_competes_and_one_without_labels_does_not() -> None:
    cube, truth = scene()
    chosen = draw(truth)
    chosen = np.concatenate([chosen[truth[chosen] == 3], chosen[truth[chosen] == 0], chosen[truth[chosen] == 1][:1]])
    predicted = fitted(cube, chosen, truth[chosen]).predict(ALL).predicted_class
    assert set(predicted.tolist()) == {0, 1, 3}
    assert (predicted == truth)[truth != 2].mean() > 0.95


def test_without_folds_the_middle_values_are_taken() -> None:
    cube, truth = scene()
    chosen = draw(truth, 1)
    learner = JcrLearner(cube, CLASSES)
    assert "window" not in learner.describe()
    learner.window, learner.penalty = 3, 1.0  # an earlier round's
    learner.fit(chosen, truth[chosen], 0, np.random.default_rng(0))
    assert (learner.window, learner.penalty) == (9, 0.1)
    assert (learner.predict(ALL).predicted_class == truth).mean() > 0.9


def test_one_class_only_is_predicted() -> None:
    cube, truth = scene()
    chosen = draw(truth)[30:45]
    predicted = fitted(cube, chosen, truth[chosen]).predict(ALL).predicted_class
    np.testing.assert_array_equal(predicted, np.full(len(ALL), 2))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("window", [1, 3])
def test_training_pixels_are_always_right(window: int, penalty: float) -> None:
    cube, truth = scene(noise=3.0)
    chosen = draw(truth, 25)
    labels = np.random.default_rng(1).integers(0, CLASSES, len(chosen))
    learner = fitted(cube, chosen, labels, windows=(window,), penalties=(penalty,))
    np.testing.assert_array_equal(learner.predict(chosen).predicted_class, labels)


@pytest.mark.parametrize("variant", ["averaged", "joint"])
def test_equal_pixels_constant_bands_and_empty_scenes_do_no_harm(variant: str) -> None:
    cube, truth = scene()
    cube[:, :, 3] = 7.0
    chosen = draw(truth)
    for c in range(CLASSES):
        rows, columns = np.divmod(chosen[truth[chosen] == c], SIDE)
        cube[rows[:5], columns[:5]] = cube[rows[0], columns[0]]
    learner = fitted(cube, chosen, truth[chosen], variant=variant)
    assert (learner.predict(ALL).predicted_class == truth).mean() > 0.95
    black = fitted(np.zeros_like(cube), chosen, truth[chosen], variant=variant).predict(ALL[:9])
    np.testing.assert_array_equal(black.predicted_class, np.zeros(9))


def test_any_number_type_and_scale_gives_the_same_labels() -> None:
    cube, truth = scene(noise=0.4)
    chosen = draw(truth)
    whole = np.round(1000 * (cube - cube.min())).astype(np.uint16)
    found = [fitted(c, chosen, truth[chosen]).predict(ALL) for c in (whole, whole.astype(np.float64) / 7)]
    np.testing.assert_array_equal(found[0].predicted_class, found[1].predicted_class)


def test_the_same_generator_gives_the_same_and_predictions_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, truth = scene(noise=0.8)
    chosen = draw(truth)
    first, again = (fitted(cube, chosen, truth[chosen], seed=4) for _ in range(2))
    assert (first.window, first.penalty) == (again.window, again.penalty)
    expected = first.predict(ALL).predicted_class
    np.testing.assert_array_equal(again.predict(ALL).predicted_class, expected)
    monkeypatch.setattr(jcr, "PIXELS", 100)
    np.testing.assert_array_equal(again.predict(ALL[::-1]).predicted_class, expected[::-1])
    assert len(again.predict(ALL[:0]).predicted_class) == 0


@pytest.mark.parametrize("variant", ["averaged", "joint"])
def test_progress_grows_to_the_end(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jcr, "PIXELS", 100)
    cube, truth = scene()
    chosen = draw(truth)
    learner = JcrLearner(cube, CLASSES, JcrSettings(**(SMALL | {"variant": variant})))
    parts: list[float] = []
    learner.progress = lambda text, part: parts.append(part)
    learner.fit(chosen, truth[chosen], 0, np.random.default_rng(0))
    assert len(parts) == 5 * 2 * 2 and parts == sorted(parts) and parts[-1] == 1.0
    parts.clear()
    learner.predict(ALL)
    assert len(parts) == 16 and parts == sorted(parts) and parts[-1] == 1.0


def test_it_must_be_fitted_with_labels() -> None:
    learner = JcrLearner(scene()[0], CLASSES)
    with pytest.raises(LearnerError, match="fit it first"):
        learner.predict(ALL)
    with pytest.raises(LearnerError, match="needs at least one labelled pixel"):
        learner.fit(ALL[:0], ALL[:0], 0, np.random.default_rng(0))


@pytest.mark.parametrize("variant", ["averaged", "joint"])
def test_what_is_no_number_is_never_taken_for_a_class(variant: str) -> None:
    cube, truth = scene()
    with pytest.raises(LearnerError, match="cube's values in float32 hold NaN or infinite"):
        JcrLearner(cube.astype(np.float64) * 1e200, CLASSES)
    chosen = draw(truth)
    learner = fitted(cube, chosen, truth[chosen], variant=variant)
    learner.cubes[learner.window if variant == "averaged" else 1][SIDE // 2, SIDE // 2, 0] = np.nan
    with pytest.raises(LearnerError, match="residuals of JCR hold NaN or infinite"):
        learner.predict(ALL)
