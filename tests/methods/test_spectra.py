"""Standardised spectra averaged over windows: against whole arrays, and wherever the cube is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.config.schema import SpectraConfig
from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods import noise, strips
from hsi_al.methods.spectra import SpectraExtractor, channels, statistics
from hsi_al.scenes.stored import Cube, stored_cube

EVERY = np.arange(11 * 8)


@pytest.fixture
def cube() -> NDArray[Any]:
    """The third band is constant."""
    values = np.random.default_rng(0).integers(100, 4000, (11, 8, 5)).astype(np.uint16)
    values[:, :, 2] = 977
    return values


def fitted(cube: Cube, settings: SpectraConfig | None = None, memory_gb: float = 1.0) -> SpectraExtractor:
    extractor = SpectraExtractor(cube, settings or SpectraConfig(), memory_gb)
    extractor.fit(np.array([3, 80, 41]), np.array([0, 1, 1]), np.random.default_rng(0))
    return extractor


def standardised(values: NDArray[Any]) -> NDArray[np.float64]:
    whole = values.reshape(-1, values.shape[-1]).astype(np.float64)
    found: NDArray[np.float64] = (whole - whole.mean(axis=0)) / whole.std(axis=0)
    return found


def test_bands_get_mean_0_and_deviation_1_and_constant_ones_go(cube: NDArray[Any]) -> None:
    extractor = fitted(cube)
    found = extractor.features(EVERY)
    assert found.dtype == np.float32 and extractor.n_features == 4
    np.testing.assert_allclose(found, standardised(cube[:, :, [0, 1, 3, 4]]), atol=1e-6)
    assert extractor.deviation[2] == 0 and extractor.mean[2] == 977
    assert extractor.describe() == "spectra of 5 bands, standardised"


@pytest.mark.parametrize("rows", [1, 2, 3, 11])
def test_statistics_lose_no_digits_where_deviations_are_small(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", rows * 4 * 8 * 5)
    offsets = np.array([0.0, 1.0, -1e3, 1e6, 1e7])
    values = (np.random.default_rng(1).integers(0, 3, (11, 8, 5)) + offsets).astype(np.float32)
    mean, deviation = statistics(values, SpectraConfig())
    whole = values.reshape(-1, 5).astype(np.float64)
    np.testing.assert_allclose(mean, whole.mean(axis=0), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(deviation, whole.std(axis=0), rtol=1e-9)


def test_spectra_of_length_1_and_their_differences() -> None:
    spectra = np.array([[3, 4, 0], [0, 0, 0], [1, 2, 2]], np.float32)
    expected = np.array([[0.6, 0.8, 0], [0, 0, 0], [1 / 3, 2 / 3, 2 / 3]])
    np.testing.assert_allclose(channels(spectra, SpectraConfig(unit_length=True)), expected, rtol=1e-15)
    both = channels(spectra, SpectraConfig(unit_length=True, derivatives=True))
    np.testing.assert_allclose(both[:, 3:], np.array([[0.2, -0.8], [0, 0], [1 / 3, 0]]), atol=1e-15)
    assert channels(spectra, SpectraConfig(derivatives=True))[0].tolist() == [3, 4, 0, 1, -4]
    assert channels(spectra[:, :1], SpectraConfig(derivatives=True)).shape == (3, 1)


def test_windows_are_means_with_the_edge_repeated(cube: NDArray[Any]) -> None:
    extractor = fitted(cube, SpectraConfig(windows=[1, 3, 5]))
    found = extractor.features(EVERY).reshape(11, 8, 3, 4)
    standard = standardised(cube[:, :, [0, 1, 3, 4]]).reshape(11, 8, 4)
    for place, side in enumerate((1, 3, 5)):
        half = side // 2
        padded = np.pad(standard, ((half, half), (half, half), (0, 0)), mode="edge")
        means = np.array(
            [
                [padded[row : row + side, column : column + side].mean(axis=(0, 1)) for column in range(8)]
                for row in range(11)
            ]
        )
        np.testing.assert_allclose(found[:, :, place], means, atol=1e-6)
    assert extractor.describe() == "spectra of 5 bands, standardised, averaged over 1 x 1, 3 x 3, 5 x 5 pixels"


@pytest.mark.parametrize("rows", [1, 3, 4])
@pytest.mark.parametrize(
    "settings", [SpectraConfig(), SpectraConfig(windows=[3, 7], unit_length=True, derivatives=True)]
)
def test_features_do_not_depend_on_where_the_cube_is(
    rows: int,
    settings: SpectraConfig,
    cube: NDArray[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fitted(cube, settings).features(EVERY)
    monkeypatch.setattr(strips, "STRIP_BYTES", rows * 4 * 8 * 5)
    np.save(tmp_path / "cube.npy", cube)
    found = [
        fitted(place, settings, memory).features(EVERY)
        for place in (cube, stored_cube(tmp_path / "cube.npy"))
        for memory in (0.0, 1.0)
    ]
    np.testing.assert_allclose(found[0], whole, atol=1e-6)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_another_cube_is_standardised_as_the_scene_was(cube: NDArray[Any]) -> None:
    first = fitted(cube, SpectraConfig(derivatives=True))
    tile = np.full((4, 3, 5), 1000, np.uint16)
    other = SpectraExtractor(tile, SpectraConfig(derivatives=True), 1.0)
    other.restore(first.state())
    assert other.n_features == first.n_features == 8
    whole = cube.reshape(-1, 5).astype(np.float64)
    expected = (1000 - whole[:, 0].mean()) / whole[:, 0].std()
    np.testing.assert_allclose(other.features(np.arange(12))[:, 0], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="9 and 9 channels where the cube has 5"):
        SpectraExtractor(tile, SpectraConfig(), 1.0).restore(first.state())
    for wrong in (np.nan, -1.0):
        with pytest.raises(ValueError, match="no such numbers"):
            other.restore(first.state() | {"deviation": np.full(9, wrong)})


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_noise_is_that_of_the_features_by_the_side_of_their_windows(
    memory_gb: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "NEARER", 1.0)
    draw = np.random.default_rng(0)
    scene = draw.normal(size=(80, 60, 2)) * [1, 3]
    extractor = SpectraExtractor(scene, SpectraConfig(windows=[1, 3]), memory_gb, with_noise=True)
    extractor.fit(np.array([3, 80]), np.array([0, 1]), draw)
    # White noise of variance 1; a mean of 9 has a ninth of it.
    np.testing.assert_allclose(extractor.noise.diagonal(), [1, 1, 1 / 9, 1 / 9], rtol=0.06)
    features = extractor.features(np.arange(4800)).reshape(80, 60, 4)
    pairs = np.concatenate([np.diff(features, axis=axis).reshape(-1, 4) for axis in (1, 0)]).astype(np.float64)
    expected = pairs.T @ pairs / len(pairs) / 2 * np.sqrt(np.outer([1, 1, 3, 3], [1, 1, 3, 3]))
    np.testing.assert_allclose(extractor.noise, expected, rtol=1e-4, atol=1e-5)
    other = SpectraExtractor(scene[:9, :9], SpectraConfig(windows=[1, 3]), 1.0, with_noise=True)
    other.restore(extractor.state())
    np.testing.assert_array_equal(other.noise, extractor.noise)
    for wrong in (np.eye(3), np.full((4, 4), np.nan)):
        with pytest.raises(ValueError, match="noise isn't that of 4 features"):
            other.restore(extractor.state() | {"noise": wrong})
    assert "noise" not in fitted(scene.astype(np.float32)[:11, :8]).state()


def test_noise_of_a_large_scene_comes_from_many_pairs_of_a_few_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)  # a row each
    monkeypatch.setattr("hsi_al.methods.spectra.MOST_NOISY", 10 * 60)
    monkeypatch.setattr(noise, "MOST_PAIRS", 2 * 10 * 60)
    pairs: list[int] = []

    def quantile(values: NDArray[Any], part: float) -> float:
        pairs.append(len(values))
        return float(np.sort(values)[int(part * len(values))])

    monkeypatch.setattr("numpy.quantile", quantile)
    scene = np.random.default_rng(0).normal(size=(80, 60, 2))
    extractor = SpectraExtractor(scene, SpectraConfig(), 1.0, with_noise=True)
    extractor.fit(np.array([3, 80]), np.array([0, 1]), np.random.default_rng(0))
    assert pairs == [10 * 59]  # every pair of ten rows, none of which touches another


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([], r"learner.windows=\[\] must be one or more odd"),
        ([3, 4], r"learner.windows=\[3, 4\] must be one or more odd"),
        ([9], "larger than the scene of 11 x 8 pixels; take 8 at most"),
    ],
)
def test_windows_that_can_not_be(windows: list[int], message: str, cube: NDArray[Any]) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SpectraExtractor(cube, SpectraConfig(windows=windows), 1.0)


def test_a_scene_in_which_no_channel_varies() -> None:
    one_colour = np.arange(1, 13).reshape(3, 4, 1) * np.array([1.0, 7.0, 3.0])
    with pytest.raises(LearnerError, match=r"No band of the cube varies with learner\.unit_length=true"):
        fitted(one_colour, SpectraConfig(unit_length=True))
    with pytest.raises(LearnerError, match="No band of the cube varies, so that"):
        fitted(np.full((3, 4, 2), 0.1))
    with pytest.raises(LearnerError, match="call fit first"):
        SpectraExtractor(one_colour, SpectraConfig(), 1.0).features(np.arange(3))
