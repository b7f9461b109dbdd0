"""JCR: its mathematics against closed forms and a plain loop, then the learner on a synthetic scene."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.learners import jcr
from hsi_al.learners.jcr import (
    JcrLearner,
    JcrSettings,
    coefficients,
    neighbours,
    residual_vectors,
    residuals,
    squared_distances,
)

Ids = NDArray[np.int64]
Doubles = NDArray[np.float64]
SIDE, BANDS, CLASSES = 40, 20, 4
ALL = np.arange(SIDE * SIDE, dtype=np.int64)
SMALL: dict[str, Any] = {"windows": (1, 3), "penalties": (0.01, 0.1)}
PENALTIES = (1e-4, 0.1, 10.0)


def spectra(n: int, bands: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, bands)))


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


def plain_residual(dictionary: Doubles, query: Doubles, penalty: float) -> float:
    gamma = np.diag(np.linalg.norm(dictionary - query, axis=1))
    alpha = np.linalg.solve(dictionary @ dictionary.T + penalty * gamma @ gamma, dictionary @ query)
    return float(np.linalg.norm(query - alpha @ dictionary))


# Mathematics


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("n", "bands"), [(5, 12), (12, 12), (60, 12)])
def test_both_forms_agree_with_a_plain_solution(n: int, bands: int, penalty: float) -> None:
    dictionary, queries = spectra(n, bands), spectra(9, bands, 1)
    by_atoms = queries - coefficients(dictionary, queries, penalty) @ dictionary
    by_bands = residual_vectors(dictionary, queries, penalty)
    assert (by_atoms - by_bands).abs().max() < 1e-10
    expected = [plain_residual(dictionary.numpy(), query, penalty) for query in queries.numpy()]
    np.testing.assert_allclose(residuals(dictionary, queries, penalty), expected, rtol=1e-8)


def test_the_cheaper_form_is_used_where_no_atom_equals_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    def spy(name: str) -> None:
        real = getattr(jcr, name)

        def counted(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
            seen[name] = len(queries)
            found: Tensor = real(dictionary, queries, penalty)
            return found

        monkeypatch.setattr(jcr, name, counted)

    spy("coefficients")
    spy("residual_vectors")
    many, queries = spectra(60, 6), spectra(9, 6, 1)
    queries[4] = many[7]
    queries[5] = many[8] + 1e-5
    found = residuals(many, queries, 0.1)
    assert seen == {"coefficients": 2, "residual_vectors": 7}
    assert found[4] == 0 < found[5] < 1e-4
    seen.clear()
    residuals(many[:6], queries, 0.1)
    assert seen == {"coefficients": 9}


@pytest.mark.parametrize("n", [5, 60])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_an_atom_represents_itself_alone(n: int, penalty: float) -> None:
    dictionary = spectra(n, 12)
    assert torch.equal(squared_distances(dictionary, dictionary) == 0, torch.eye(n, dtype=torch.bool))
    assert torch.equal(coefficients(dictionary, dictionary, penalty), torch.eye(n, dtype=torch.float64))
    assert residuals(dictionary, dictionary, penalty).max() < 1e-12


@pytest.mark.parametrize("n", [5, 60])
def test_it_represents_its_close_relatives_nearly_alone(n: int) -> None:
    dictionary = spectra(n, 12)
    near = dictionary + 1e-4 * spectra(n, 12, 1)
    assert (coefficients(dictionary, near, 0.1) - torch.eye(n)).abs().max() < 1e-3
    assert 0 < residuals(dictionary, near, 0.1).max() < 2e-4


def test_distances_are_never_negative() -> None:
    near = spectra(50, 200) * 1e-9 + 1
    distances = squared_distances(near, near + 1e-10)
    assert distances.min() == 0
    exact = torch.cdist(spectra(5, 7), spectra(6, 7, 1), compute_mode="donot_use_mm_for_euclid_dist").square()
    assert torch.allclose(squared_distances(spectra(6, 7, 1), spectra(5, 7)), exact)


def test_a_large_penalty_leaves_the_whole_pixel() -> None:
    queries = spectra(9, 12, 1)
    for n in (5, 60):
        assert torch.allclose(residuals(spectra(n, 12), queries, 1e12), queries.norm(dim=1), rtol=1e-8)


def test_a_small_penalty_gives_the_least_squares_residual() -> None:
    dictionary, queries = spectra(5, 12), spectra(9, 12, 1)
    solution = torch.linalg.lstsq(dictionary.T, queries.T).solution
    expected = (queries.T - dictionary.T @ solution).norm(dim=0)
    assert torch.allclose(residuals(dictionary, queries, 1e-12), expected, rtol=1e-8)
    assert residuals(spectra(60, 12), queries, 1e-12).max() < 1e-8


@pytest.mark.parametrize("penalty", PENALTIES)
def test_one_atom_has_a_closed_form(penalty: float) -> None:
    atom, queries = spectra(1, 12), spectra(9, 12, 1)
    alpha = queries @ atom[0] / (atom[0] @ atom[0] + penalty * (queries - atom).square().sum(1))
    assert torch.allclose(coefficients(atom, queries, penalty)[:, 0], alpha)
    assert torch.allclose(residuals(atom, queries, penalty), (queries - alpha[:, None] * atom).norm(dim=1))


@pytest.mark.parametrize("n", [8, 60])
def test_the_order_of_atoms_and_the_scale_do_not_matter(n: int) -> None:
    dictionary, queries = spectra(n, 12), spectra(9, 12, 1)
    order = torch.from_numpy(np.random.default_rng(2).permutation(n))
    expected = residuals(dictionary, queries, 0.1)
    assert torch.allclose(residuals(dictionary[order], queries, 0.1), expected)
    assert torch.allclose(residuals(1000 * dictionary, 1000 * queries, 0.1), 1000 * expected)


def test_stacks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = spectra(9, 12, 1)
    expected = [residuals(spectra(n, 12), queries, 0.1) for n in (8, 60)]
    monkeypatch.setattr(jcr, "STACK_BYTES", 1)
    assert all(
        torch.allclose(residuals(spectra(n, 12), queries, 0.1), e) for n, e in zip((8, 60), expected, strict=True)
    )


@pytest.mark.parametrize("penalty", [1e-4, 1e-12, 1e-30])
def test_equal_atoms_are_no_obstacle(penalty: float) -> None:
    several = spectra(4, 12).repeat(5, 1)
    queries = torch.cat((several[:1], several[:1] + 1e-6, spectra(5, 12, 1)))
    alpha = coefficients(several, queries, penalty)
    assert alpha.isfinite().all()
    found = residuals(several, queries, penalty)
    assert found[0] == 0
    assert torch.allclose(found[2:], residuals(several[:4], queries[2:], penalty / 5), rtol=1e-4)


def test_without_a_cholesky_factor_least_squares_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary, queries = spectra(60, 12), spectra(9, 12, 1)
    expected = coefficients(dictionary, queries, 0.1)
    real = torch.linalg.cholesky_ex

    def failing(systems: Tensor) -> tuple[Tensor, Tensor]:
        factors, failed = real(systems)
        factors[::2] = torch.nan
        failed[::2] = 1
        return factors, failed

    monkeypatch.setattr(torch.linalg, "cholesky_ex", failing)
    assert torch.allclose(coefficients(dictionary, queries, 0.1), expected, atol=1e-9)


# The learner


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
    with pytest.raises(LearnerError, match="needs a labelled pixel"):
        learner.fit(ALL[:0], ALL[:0], 0, np.random.default_rng(0))
