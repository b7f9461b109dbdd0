"""Features by strips: the same for cubes in memory and in files, kept whole or not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al.methods import strips
from hsi_al.methods.strips import Strip, StripFeatures, strips_of
from hsi_al.scenes.stored import Cube, stored_cube

Floats = NDArray[np.float32]
ROW = 4 * 7 * 3  # bytes


@pytest.fixture
def cube() -> Floats:
    return np.random.default_rng(0).normal(100, 20, (23, 7, 3)).astype(np.float32)


def test_strips_depend_on_shape_and_halo_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert strips_of((145, 145, 200)) == [Strip(0, 145, 0, 145)]
    assert len(strips_of((610, 340, 103))) == 3  # of 239 rows, which are 32 MiB
    monkeypatch.setattr(strips, "STRIP_BYTES", 2 * ROW)
    assert strips_of((5, 7, 3)) == [Strip(0, 2, 0, 2), Strip(2, 4, 2, 4), Strip(4, 5, 4, 5)]
    assert strips_of((5, 7, 3), 1) == [Strip(0, 3, 0, 4), Strip(3, 5, 2, 5)]
    assert strips_of((11, 7, 3), 3) == [Strip(0, 9, 0, 11), Strip(9, 11, 6, 11)]
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)
    assert strips_of((2, 7, 3)) == [Strip(0, 1, 0, 1), Strip(1, 2, 1, 2)]


def means(window: Floats) -> Floats:
    found: Floats = uniform_filter(window, size=(5, 5, 1), mode="nearest")
    return found


def features_of(cube: Cube, memory_gb: float, compute: object = means) -> StripFeatures:
    assert callable(compute)
    return StripFeatures(cube, compute, 3, 2, memory_gb)


@pytest.mark.parametrize("rows", [1, 2, 5, 23, 100])
def test_features_are_those_of_the_whole_scene_wherever_the_cube_is(
    rows: int, cube: Floats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", rows * ROW)
    np.save(tmp_path / "cube.npy", cube)
    stored = stored_cube(tmp_path / "cube.npy")
    ids = np.random.default_rng(1).permutation(23 * 7)
    whole = means(cube).reshape(-1, 3)
    found = [features_of(place, memory).at(ids) for place in (cube, stored) for memory in (0.0, 1.0)]
    np.testing.assert_allclose(found[0], whole[ids], rtol=1e-6)
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert features_of(stored, 0.0).at(ids[:0]).shape == (0, 3)


def test_memory_is_granted_in_bytes_of_float32(cube: Floats) -> None:
    size = 4 * 23 * 7 * 3 / 1e9
    assert features_of(cube, 1.001 * size).fits and not features_of(cube, 0.999 * size).fits


def test_only_strips_with_a_pixel_are_computed_and_kept_pixels_never_again(
    cube: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 6 * ROW)
    computed: list[float] = []

    def counted(window: Floats) -> Floats:
        computed.append(float(window[0, 0, 0]))
        return means(window)

    tops = [float(cube[strip.top, 0, 0]) for strip in strips_of(cube.shape, 2)]
    ids, lonely = np.array([160, 1, 80, 2]), features_of(cube, 0.0, counted)
    whole = features_of(cube, 1.0)
    lonely.keep(ids)
    assert computed == [tops[0], tops[1], tops[3]]  # rows 0, 11 and 22 of strips of six
    lonely.keep(ids[::-1])
    lonely.keep(np.array([2, 3, 80]))
    assert computed[3:] == [tops[0]]
    assert np.array_equal(lonely.at(ids), whole.at(ids)) and len(computed) == 4
    every = np.arange(23 * 7)
    assert np.array_equal(lonely.at(every), whole.at(every))
    assert computed[4:] == tops[1:]  # the first strip was the latest, and is not computed again
    for part in np.array_split(every, 9):
        lonely.at(part)
    assert computed[7:] == tops


def test_progress_is_reported_by_strips(cube: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 12 * ROW)
    told: list[tuple[str, float]] = []
    features = features_of(cube, 1.0)
    features.progress = lambda text, part: told.append((text, part))
    features.at(np.array([0]))
    features.at(np.array([100]))
    assert told == [("features 1/2", 0.5), ("features 2/2", 1.0)]
