"""Morphological profiles and their extractor."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods import grid_svm
from hsi_al.methods.emp_svm import EmpSvmConfig
from hsi_al.methods.emp_svm import extractor as emp
from hsi_al.methods.emp_svm.extractor import EmpExtractor, closing, opening, principal_components, profile
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.grid_svm import GridSvm
from tests.fakes import gaussian_cube

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
RADII = (1, 3, 5, 7, 9)
NOTHING = np.empty(0, np.int64)
BOTH = pytest.mark.parametrize("reconstruction", [False, True])


def noise(side: int = 24, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random((side, side + 3), dtype=np.float32)


def bright_square() -> Floats:
    image = np.zeros((30, 30), np.float32)
    image[12:17, 10:15] = 1.0
    return image


def fitted(cube: NDArray[np.generic], settings: EmpSvmConfig) -> EmpExtractor:
    extractor = EmpExtractor(cube, settings)
    extractor.fit(NOTHING, NOTHING, np.random.default_rng(0))
    return extractor


# Profiles


@BOTH
def test_openings_lie_below_and_shrink_and_closings_above_and_grow(reconstruction: bool) -> None:
    image = noise()
    stack = profile(image, RADII, reconstruction)
    assert stack.shape == (11, *image.shape) and stack.dtype == np.float32
    assert np.array_equal(stack[5], image)
    # Closings, largest first, the image, openings: every image is at most the one before.
    steps = np.diff(stack, axis=0)
    assert (steps <= 0).all()
    assert (
        (steps[1:-1] < 0).any(axis=(1, 2)).all()
    )  # from 15x15 on, reconstruction finds one value in such a small image


@BOTH
@pytest.mark.parametrize("filtered", [opening, closing])
@pytest.mark.parametrize("radius", RADII)
def test_idempotence(filtered: Callable[[Floats, int, bool], Floats], radius: int, reconstruction: bool) -> None:
    once = filtered(noise(), radius, reconstruction)
    assert np.array_equal(filtered(once, radius, reconstruction), once)


@BOTH
def test_a_bright_square_survives_only_smaller_openings(reconstruction: bool) -> None:
    image = bright_square()
    stack = profile(image, RADII, reconstruction)
    assert all(np.array_equal(image, kept) for kept in stack[:7])  # closings, image, 3x3
    assert not stack[7:].any()  # 7x7 and larger
    turned = profile(-image, RADII, reconstruction)
    assert all(np.array_equal(-image, kept) for kept in turned[4:])
    assert not turned[:4].any()


def test_the_square_has_the_side_of_twice_its_radius_and_one() -> None:
    image = bright_square()
    assert np.array_equal(opening(image, 2), image)  # 5x5
    image[12:17, 14] = 0  # 5x4
    assert not opening(image, 2).any()


@BOTH
def test_no_border_artefacts_and_images_smaller_than_the_square(reconstruction: bool) -> None:
    for image in (np.full((20, 17), 3.25, np.float32), np.full((4, 5), -7.5, np.float32)):
        assert (profile(image, RADII, reconstruction) == image).all()
    edge = np.zeros((12, 12), np.float32)
    edge[:, :2] = 1.0  # goes on outside
    assert np.array_equal(opening(edge, 1, reconstruction), edge)


def test_reconstruction_keeps_shapes() -> None:
    image = np.zeros((30, 30), np.float32)
    image[5:20, 5:12] = 1.0
    image[19:27, 11:13] = 1.0  # a thin limb that touches it at a corner
    image[2, 25] = 1.0  # and a speck
    expected = image.copy()
    expected[2, 25] = 0.0
    assert np.array_equal(opening(image, 3, True), expected)
    assert opening(image, 3, False).sum() == 15 * 7
    assert np.array_equal(closing(-image, 3, True), -expected)


def brute_force(image: Floats, radius: int) -> Floats:
    """Opening by reconstruction, pixel by pixel: the best of all paths' lowest values from the eroded image."""
    height, width = image.shape

    def window(values: Floats, place: tuple[int, ...], reach: int) -> Floats:
        row, column = place
        return values[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]

    places = list(np.ndindex(height, width))
    grown = np.array([window(image, place, radius).min() for place in places]).reshape(height, width)
    changed = True
    while changed:
        changed = False
        for place in places:
            value = min(window(grown, place, 1).max(), image[place])
            changed |= bool(value != grown[place])
            grown[place] = value
    return grown


@pytest.mark.parametrize("radius", [1, 2])
def test_reconstruction_equals_brute_force(radius: int) -> None:
    image = np.random.default_rng(5).integers(0, 9, (14, 17)).astype(np.float32)
    expected = brute_force(image, radius)
    assert np.array_equal(opening(image, radius, True), expected)
    assert np.array_equal(closing(-image, radius, True), -expected)
    assert not np.array_equal(opening(image, radius, True), opening(image, radius))


# Components


def test_components_are_centred_uncorrelated_and_not_whitened() -> None:
    cube, _ = gaussian_cube()
    components = principal_components(cube * 100 + 1000, 3)
    flat = components.reshape(3, -1).astype(np.float64)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-2)
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(cube.reshape(-1, 20).T.astype(np.float64) * 100)))[::-1]
    np.testing.assert_allclose(np.cov(flat), np.diag(spectrum[:3]), rtol=1e-3, atol=1e-2 * spectrum[2])


def test_a_share_of_the_variance() -> None:
    cube = np.zeros((10, 10, 4))
    cube[..., 0], cube[..., 2] = np.arange(10) * 10, np.arange(10)[:, None]  # 100 to 1
    assert len(principal_components(cube, 0.9)) == 1
    assert len(principal_components(cube, 0.999)) == 2
    assert fitted(cube, EmpSvmConfig(0.999)).features(np.arange(5)).shape == (5, 22)


# Extractor


@BOTH
@pytest.mark.parametrize("n_components", [1, 3])
def test_features(n_components: int, reconstruction: bool) -> None:
    cube, _ = gaussian_cube(12, 5)
    extractor = fitted(cube, EmpSvmConfig(n_components, reconstruction=reconstruction))
    every = extractor.features(np.arange(144))
    assert every.shape == (144, 11 * n_components) and every.dtype == np.float32
    assert (every.min(), every.max()) == (0.0, 1.0)
    ids = np.array([143, 0, 17, 17])
    assert np.array_equal(extractor.features(ids), every[ids])
    # One scale for all: differences between the features of a pixel are those of the profiles.
    stack = np.concatenate(
        [profile(component, RADII, reconstruction) for component in principal_components(cube, n_components)]
    )
    expected = (stack - stack.min()) / (stack.max() - stack.min())
    np.testing.assert_allclose(every.reshape(12, 12, -1), expected.transpose(1, 2, 0), atol=1e-6)


def test_the_scene_is_computed_once_and_the_order_of_radii_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, labels = gaussian_cube(12, 5)
    calls: list[float] = []
    extractor = EmpExtractor(cube, EmpSvmConfig(2, radii=[3, 1]))
    extractor.progress = lambda text, part: calls.append(part)
    rng = np.random.default_rng(0)
    extractor.fit(np.arange(5), labels[:5], rng)
    first = extractor.features(np.arange(144))
    monkeypatch.setattr(emp, "profile", None)
    extractor.fit(np.arange(9), 1 - labels[:9], rng)
    assert np.array_equal(extractor.features(np.arange(144)), first)
    assert calls == [0.5, 1.0]
    assert rng.random() == np.random.default_rng(0).random()
    monkeypatch.undo()
    assert np.array_equal(fitted(cube, EmpSvmConfig(2, radii=[1, 3])).features(np.arange(144)), first)


def test_constant_bands_and_constant_cubes() -> None:
    cube, _ = gaussian_cube(12, 5)
    cube[..., [0, 3]] = 7.0
    assert np.isfinite(fitted(cube, EmpSvmConfig(5)).features(np.arange(144))).all()
    for n_components in (3, 0.99):
        constant = fitted(np.full((12, 12, 5), 1234, np.uint16), EmpSvmConfig(n_components)).features(np.arange(144))
        assert not constant.any()


def test_describe() -> None:
    cube, _ = gaussian_cube(12, 5)
    plain = EmpExtractor(cube, EmpSvmConfig()).describe()
    assert plain == "EMP of 3 components, squares of side 3, 7, 11, 15, 19, openings and closings plain"
    text = EmpExtractor(cube, EmpSvmConfig(0.99, radii=[2], reconstruction=True)).describe()
    assert "99.0% of the variance" in text and "side 5," in text and "by reconstruction" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (EmpSvmConfig(6), "learner.components=6 is too many for 5 bands"),
        (EmpSvmConfig(0), "learner.components=0 must be a number of components"),
        (EmpSvmConfig(1.5), "learner.components=1.5 must be a whole number"),
        (EmpSvmConfig(-0.5), "learner.components=-0.5 must be a number"),
        (EmpSvmConfig(radii=[]), "radii="),
        (EmpSvmConfig(radii=[1, 0]), "radii="),
    ],
)
def test_bad_settings(settings: EmpSvmConfig, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EmpExtractor(gaussian_cube(12, 5)[0], settings)


def test_the_learner_separates_classes_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_svm, "GRID", np.arange(1, 5))  # a smaller search
    cube, classes = gaussian_cube()
    labelled = np.random.default_rng(1).permutation(1600)[:60]
    predicted = []
    for _ in range(2):
        learner = FeatureLearner(EmpExtractor(cube, EmpSvmConfig()), 4, GridSvm("rbf", 5), frozenset())
        learner.fit(labelled, classes[labelled], 0, np.random.default_rng(2))
        predicted.append(learner.predict(np.arange(1600)).predicted_class)
    assert (predicted[0] == classes).mean() > 0.95
    assert np.array_equal(predicted[0], predicted[1])


@BOTH
def test_squares_larger_than_the_scene_are_cut_to_it_and_said(reconstruction: bool) -> None:
    cube, _ = gaussian_cube(12, 5)
    huge = EmpExtractor(cube, EmpSvmConfig(2, radii=[2, 13, 10**12], reconstruction=reconstruction))
    assert "squares of side 5, 27, 2000000000001 (above 25 as 25, which covers the scene)" in huge.describe()
    whole = fitted(cube, EmpSvmConfig(2, radii=[2, 30, 40], reconstruction=reconstruction))
    assert np.array_equal(huge.features(np.arange(144)), whole.features(np.arange(144)))


@pytest.mark.parametrize("exponent", [-100, 60, 120])
def test_the_unit_of_the_cube_does_not_matter_however_large(exponent: int) -> None:
    cube, _ = gaussian_cube(12, 5)
    other = np.ldexp(cube.astype(np.float64), exponent)
    mine, theirs = (fitted(scene, EmpSvmConfig(2)).features(np.arange(144)) for scene in (cube, other))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_values_beyond_float32_are_refused() -> None:
    cube, _ = gaussian_cube(12, 5)
    with pytest.raises(LearnerError, match="cube's values in float32 hold NaN or infinite"):
        fitted(cube.astype(np.float64) * 1e200, EmpSvmConfig(2))
