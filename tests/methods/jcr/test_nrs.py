"""NRS: its mathematics against closed forms and a plain solution, and the bounds that rule classes out."""

import ast
import inspect
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter
from scipy.spatial.distance import cdist

from hsi_al.methods.jcr import learner as jcr
from hsi_al.methods.jcr import nrs
from hsi_al.methods.jcr.nrs import (
    Doubles,
    Subspace,
    coefficients,
    nearest,
    residual_vectors,
    residuals,
    squared_distances,
)
from hsi_al.scenes.catalogue import load_catalogue_scene

PENALTIES = (1e-4, 0.1, 10.0)


def spectra(n: int, bands: int, seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).random((n, bands))


def plain_residual(dictionary: Doubles, query: Doubles, penalty: float) -> float:
    gamma = np.diag(np.linalg.norm(dictionary - query, axis=1))
    alpha = np.linalg.solve(dictionary @ dictionary.T + penalty * gamma @ gamma, dictionary @ query)
    return float(np.linalg.norm(query - alpha @ dictionary))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("n", "bands"), [(5, 12), (12, 12), (60, 12)])
def test_both_forms_agree_with_a_plain_solution(n: int, bands: int, penalty: float) -> None:
    dictionary, queries = spectra(n, bands), spectra(9, bands, 1)
    by_atoms = queries - coefficients(dictionary, queries, penalty) @ dictionary
    by_bands = residual_vectors(dictionary, queries, penalty)
    assert np.abs(by_atoms - by_bands).max() < 1e-10
    expected = [plain_residual(dictionary, query, penalty) for query in queries]
    np.testing.assert_allclose(residuals(dictionary, queries, penalty), expected, rtol=1e-8)


def test_the_cheaper_form_is_used_where_no_atom_equals_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    def spy(name: str) -> None:
        real = getattr(nrs, name)

        def counted(dictionary: Doubles, queries: Doubles, penalty: float) -> Doubles:
            seen[name] = len(queries)
            found: Doubles = real(dictionary, queries, penalty)
            return found

        monkeypatch.setattr(nrs, name, counted)

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
    np.testing.assert_array_equal(squared_distances(dictionary, dictionary) == 0, np.eye(n, dtype=bool))
    np.testing.assert_array_equal(coefficients(dictionary, dictionary, penalty), np.eye(n))
    assert residuals(dictionary, dictionary, penalty).max() < 1e-12


@pytest.mark.parametrize("n", [5, 60])
def test_it_represents_its_close_relatives_nearly_alone(n: int) -> None:
    dictionary = spectra(n, 12)
    near = dictionary + 1e-4 * spectra(n, 12, 1)
    assert np.abs(coefficients(dictionary, near, 0.1) - np.eye(n)).max() < 1e-3
    assert 0 < residuals(dictionary, near, 0.1).max() < 2e-4


def test_distances_are_never_negative() -> None:
    near = spectra(50, 200) * 1e-9 + 1
    distances = squared_distances(near, near + 1e-10)
    assert distances.min() == 0
    exact = cdist(spectra(5, 7), spectra(6, 7, 1), "sqeuclidean")
    assert np.allclose(squared_distances(spectra(6, 7, 1), spectra(5, 7)), exact)


def test_a_large_penalty_leaves_the_whole_pixel() -> None:
    queries = spectra(9, 12, 1)
    for n in (5, 60):
        assert np.allclose(residuals(spectra(n, 12), queries, 1e12), np.linalg.norm(queries, axis=1), rtol=1e-8)


def test_a_small_penalty_gives_the_least_squares_residual() -> None:
    dictionary, queries = spectra(5, 12), spectra(9, 12, 1)
    solution = np.linalg.lstsq(dictionary.T, queries.T, rcond=None)[0]
    expected = np.linalg.norm(queries.T - dictionary.T @ solution, axis=0)
    assert np.allclose(residuals(dictionary, queries, 1e-12), expected, rtol=1e-8)
    assert residuals(spectra(60, 12), queries, 1e-12).max() < 1e-8


@pytest.mark.parametrize("penalty", PENALTIES)
def test_one_atom_has_a_closed_form(penalty: float) -> None:
    atom, queries = spectra(1, 12), spectra(9, 12, 1)
    alpha = queries @ atom[0] / (atom[0] @ atom[0] + penalty * ((queries - atom) ** 2).sum(1))
    assert np.allclose(coefficients(atom, queries, penalty)[:, 0], alpha)
    assert np.allclose(residuals(atom, queries, penalty), np.linalg.norm(queries - alpha[:, None] * atom, axis=1))


@pytest.mark.parametrize("n", [8, 60])
def test_the_order_of_atoms_and_the_scale_do_not_matter(n: int) -> None:
    dictionary, queries = spectra(n, 12), spectra(9, 12, 1)
    order = np.random.default_rng(2).permutation(n)
    expected = residuals(dictionary, queries, 0.1)
    assert np.allclose(residuals(dictionary[order], queries, 0.1), expected)
    assert np.allclose(residuals(1000 * dictionary, 1000 * queries, 0.1), 1000 * expected)


def test_stacks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = spectra(9, 12, 1)
    expected = [residuals(spectra(n, 12), queries, 0.1) for n in (8, 60)]
    monkeypatch.setattr(nrs, "STACK_BYTES", 1)
    assert all(np.allclose(residuals(spectra(n, 12), queries, 0.1), e) for n, e in zip((8, 60), expected, strict=True))


@pytest.mark.parametrize("times", [3, 5])
@pytest.mark.parametrize("penalty", [1e-4, 1e-12, 1e-30])
def test_equal_atoms_are_no_obstacle(penalty: float, times: int) -> None:
    several = np.tile(spectra(4, 12), (times, 1))
    queries = np.concatenate((several[:1], several[:1] + 1e-6, spectra(5, 12, 1)))
    alpha = coefficients(several, queries, penalty)
    assert np.isfinite(alpha).all()
    found = residuals(several, queries, penalty)
    assert found[0] == 0
    assert np.allclose(found[2:], residuals(several[:4], queries[2:], penalty / times), rtol=1e-4)


@pytest.mark.parametrize("n", [8, 60])
def test_without_a_cholesky_factor_least_squares_take_over(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary, queries = spectra(n, 12), spectra(9, 12, 1)
    expected = coefficients(dictionary, queries, 0.1)
    real = nrs._cholesky_solve

    def failing(systems: Doubles, targets: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
        systems[::2, n // 2, n // 2] = -1.0  # no longer positive definite
        found, failed = real(systems, targets)
        np.testing.assert_array_equal(failed, np.arange(len(targets)) % 2 == 0)
        found[failed] = np.nan
        return found, failed

    monkeypatch.setattr(nrs, "_cholesky_solve", failing)
    assert np.allclose(coefficients(dictionary, queries, 0.1), expected, atol=1e-9)
    with pytest.raises(np.linalg.LinAlgError):
        residual_vectors(spectra(60, n), spectra(9, n, 1), 0.1)


@pytest.mark.parametrize("n", [2, 16, 17])
def test_a_system_without_a_cholesky_factor_does_not_spoil_the_others(n: int) -> None:
    systems, targets = np.tile(np.eye(n) + 1, (4, 1, 1)), spectra(4, n)
    expected = np.linalg.solve(systems, targets[..., None])[..., 0]
    systems[1] = -systems[1]
    systems[2] = 0.0
    found, failed = nrs._cholesky_solve(systems, targets)
    assert failed.tolist() == [False, True, True, False]
    np.testing.assert_allclose(found[[0, 3]], expected[[0, 3]])


@pytest.mark.parametrize("module", [nrs, jcr])
def test_no_torch_is_needed(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "numpy" in imported and not any(name.split(".")[0] == "torch" for name in imported)
    assert not hasattr(module, "torch")


# The nearest class


def smooth(n: int, bands: int, seed: int, level: float = 1.0) -> Doubles:
    """Spectra of a class: few directions hold nearly everything."""
    rng = np.random.default_rng(seed)
    values = gaussian_filter1d(rng.standard_normal((n, bands)), 3, axis=1) * 0.2 + level + np.linspace(0, 1, bands)
    smoothed: Doubles = values + 1e-3 * rng.standard_normal((n, bands))
    return smoothed


@pytest.mark.parametrize("steps", [0, 1, 10])
@pytest.mark.parametrize("penalty", [1e-6, *PENALTIES, 1e6])
@pytest.mark.parametrize(("n", "bands"), [(1, 40), (33, 5), (33, 16), (33, 17), (60, 40), (200, 60)])
def test_bounds_enclose_the_residual(n: int, bands: int, penalty: float, steps: int) -> None:
    for make in (spectra, smooth):
        dictionary, queries = make(n, bands, 0), np.concatenate((make(9, bands, 1), 3 * make(3, bands, 2)))
        exact = residuals(dictionary, queries, penalty)
        lower, upper = Subspace(dictionary).bracket(queries, penalty, steps)
        assert (lower <= exact).all() and (exact <= upper).all()


def test_more_steps_narrow_the_bounds_to_the_residual() -> None:
    dictionary, queries = spectra(200, 60, 0), spectra(20, 60, 1)
    exact, subspace = residuals(dictionary, queries, 0.1), Subspace(dictionary)
    widths = []
    for steps in (0, 3, 40):
        lower, upper = subspace.bracket(queries, 0.1, steps)
        widths.append(float(np.median((upper - lower) / exact)))
    assert widths[0] > 3 * widths[1] > 9 * widths[2]
    np.testing.assert_allclose((lower + upper) / 2, exact, rtol=1e-7)


def test_the_leading_block_alone_is_exact_where_it_holds_all_bands() -> None:
    dictionary, queries = spectra(60, 16), spectra(9, 16, 1)
    lower, upper = Subspace(dictionary).bracket(queries, 0.1, 0)
    np.testing.assert_allclose((lower + upper) / 2, residuals(dictionary, queries, 0.1), rtol=1e-9)
    assert ((upper - lower) / upper).max() < 3 * nrs.ROUNDING


def test_a_pixel_that_is_an_atom_has_no_residual_and_one_beside_it_is_left_open() -> None:
    dictionary = smooth(60, 40, 0)
    lower, upper = Subspace(dictionary).bracket(np.stack((dictionary[3], dictionary[4] + 1e-5)), 0.1, 0)
    assert lower.tolist() == [0, 0] and upper.tolist() == [0, np.inf]


@pytest.mark.parametrize("penalty", [1e-6, *PENALTIES])
@pytest.mark.parametrize("apart", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("bands", [5, 40])
def test_the_nearest_class_is_that_of_the_smallest_residual(bands: int, apart: float, penalty: float) -> None:
    sizes = (60, 1, 40, 90)
    dictionaries = [smooth(n, bands, c, 1 + apart * c) for c, n in enumerate(sizes)]
    queries = np.concatenate([smooth(20, bands, 10 + c, 1 + apart * c) for c in range(4)])
    queries = np.concatenate((queries, dictionaries[2][:3], dictionaries[3][:2] + 1e-5))
    expected = np.stack([residuals(d, queries, penalty) for d in dictionaries], axis=1).argmin(1)
    found = nearest([Subspace(d) for d in dictionaries], queries, penalty)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64
    assert len(nearest([Subspace(d) for d in dictionaries], queries[:0], penalty)) == 0


def test_the_first_of_equal_classes_wins() -> None:
    same, other = smooth(60, 40, 0), smooth(60, 40, 1, 4.0)
    queries = np.concatenate((smooth(9, 40, 2), same[:2]))
    classes = [Subspace(other), Subspace(same), Subspace(same.copy())]
    assert nearest(classes, queries, 0.1).tolist() == [1] * 11
    assert nearest([Subspace(other)], queries, 0.1).tolist() == [0] * 11


@pytest.mark.parametrize("window", [1, 9])
def test_on_real_spectra_few_systems_are_solved_exactly(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = load_catalogue_scene("indian_pines", None)
    means = uniform_filter(scene.cube / scene.cube.max(), (window, window, 1), mode="nearest")
    spectra_of = means.reshape(-1, scene.n_bands)
    labels, rng = scene.labels_of(scene.labelled_ids), np.random.default_rng(0)
    order = rng.permutation(len(labels))
    chosen = [scene.labelled_ids[order[labels[order] == c][:100]] for c in range(scene.n_classes)]
    queries = spectra_of[rng.choice(scene.labelled_ids, 150, replace=False)]
    dictionaries = [spectra_of[ids] for ids in chosen]
    expected = np.stack([residuals(d, queries, 0.1) for d in dictionaries], axis=1).argmin(1)
    solved = 0
    real = residuals

    def counted(dictionary: Doubles, pixels: Doubles, penalty: float) -> Doubles:
        nonlocal solved
        solved += len(pixels)
        return real(dictionary, pixels, penalty)

    monkeypatch.setattr(nrs, "residuals", counted)
    np.testing.assert_array_equal(nearest([Subspace(d) for d in dictionaries], queries, 0.1), expected)
    assert solved < 0.05 * expected.size * scene.n_classes
