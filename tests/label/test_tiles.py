"""Tiles: their geometry, their PNG files, and the same picture whether the cube is in memory or in its file."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hsi_al.label import tiles
from hsi_al.label.tiles import ScenePictures, map_tile, max_level, uncertainty_tile, window_of
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.stored import stored_cube


def decoded(packed: bytes | None) -> np.ndarray:
    assert packed is not None
    found: np.ndarray = np.rint(255 * imread(io.BytesIO(packed))).astype(np.uint8)
    return found


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (300, 700), (512, 217), (257, 256)])
def test_the_tiles_of_a_level_cover_the_scene_once(height: int, width: int) -> None:
    top = max_level(height, width)
    assert 2**top >= max(height, width) > 2 ** (top - 1)
    for level in range(top + 1):
        step, seen = 2 ** (top - level), np.zeros((height, width), int)
        down, across = (-(size // (-256 * step)) for size in (height, width))
        for y in range(down):
            for x in range(across):
                window = window_of(height, width, level, x, y)
                assert window is not None
                shown = window.of(seen)
                shown += 1
                assert 0 < shown.shape[0] <= 256 and 0 < shown.shape[1] <= 256
        assert (seen[::step, ::step] == 1).all() and seen.sum() == seen[::step, ::step].size
        assert window_of(height, width, level, across, 0) is None and window_of(height, width, level, 0, down) is None
    assert window_of(height, width, top + 1, 0, 0) is None and window_of(height, width, -1, 0, 0) is None


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[Scene, Scene]:
    """The same scene in memory and in its file."""
    cube = np.random.default_rng(0).integers(0, 4000, (150, 333, 5)).astype(np.uint16)
    np.save(tmp_path / "cube.npy", cube)
    no_data = np.zeros((150, 333), bool)
    no_data[2, 3] = True
    here = Scene("s", cube, np.zeros((150, 333), np.uint8), {}, no_data=no_data)
    sample = ScenePictures(here).sample
    return here, replace(here, source=stored_cube(tmp_path / "cube.npy"), sample=sample)


@pytest.mark.parametrize("bands", [[4, 0, 2], None])
def test_a_cube_in_its_file_looks_the_same(
    scenes: tuple[Scene, Scene], bands: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "ROWS_AT_ONCE", 8)
    here, there = (ScenePictures(scene) for scene in scenes)
    for level in range(max_level(150, 333) + 1):
        for x in range(2):
            window = window_of(150, 333, level, x, 0)
            if window is not None:
                one, other = (decoded(pictures.tile(bands, 2, window)) for pictures in (here, there))
                assert one.shape == (*window.of(np.empty((150, 333))).shape, 3) and (one == other).all()
    assert (decoded(here.tile(bands, 2, window_of(150, 333, 9, 0, 0)))[2, 3] == 0).all()  # type: ignore[arg-type]


def test_a_cube_in_its_file_without_a_sample_is_sampled(scenes: tuple[Scene, Scene]) -> None:
    sample = ScenePictures(replace(scenes[1], sample=None)).sample
    assert sample.shape[1] == 5 and 1000 < len(sample) < 2**14
    assert np.abs(sample.mean(axis=0) - scenes[0].cube.mean(axis=(0, 1))).max() < 100


def test_tiles_are_kept_up_to_a_number(scenes: tuple[Scene, Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MOST_TILES", 2)
    pictures = ScenePictures(scenes[0])
    for x in (0, 1, 0, 0):
        for level in (8, 9):
            window = window_of(150, 333, level, x, 0)
            if window is not None:
                pictures.tile([0, 1, 2], 2, window)
    assert len(pictures._tiles) == 2


def test_contrast_cuts_percentiles(scenes: tuple[Scene, Scene]) -> None:
    pictures, window = ScenePictures(scenes[0]), window_of(150, 333, 9, 0, 0)
    assert window is not None
    flat, strong = (decoded(pictures.tile([0, 1, 2], contrast, window)) for contrast in (0, 25))
    assert (flat == 255).mean() < 0.01 and abs((strong == 255).mean() - 0.25) < 0.02


def test_one_band_and_constant_bands_can_be_shown() -> None:
    cube = np.arange(12.0).reshape(3, 4, 1)
    pictures = ScenePictures(Scene("one", cube, np.zeros((3, 4), np.uint8), {}))
    window = window_of(3, 4, 2, 0, 0)
    assert window is not None
    shown = decoded(pictures.tile(None, 0, window))
    assert (shown[..., 0] == shown[..., 1]).all() and shown.max() == 255
    constant = np.dstack([cube[..., 0], np.full((3, 4), 7.0)])
    pictures = ScenePictures(Scene("two", constant, np.zeros((3, 4), np.uint8), {}))
    assert (decoded(pictures.tile([1, 1, 1], 2, window)) == 0).all()


def test_nothing_mapped_is_no_tile() -> None:
    window = window_of(4, 4, 2, 0, 0)
    assert window is not None
    empty = np.zeros((4, 4), np.uint8)
    assert map_tile(empty, {1: "#ffffff"}, window) is None
    assert uncertainty_tile(np.zeros((4, 4), np.float32), empty, window) is None
    one = empty.copy()
    one[1, 2] = 3
    shown = decoded(map_tile(one, {3: "#102030"}, window))
    assert shown[1, 2].tolist() == [16, 32, 48, 255] and shown.sum() == 16 + 32 + 48 + 255
    sure = decoded(uncertainty_tile(np.full((4, 4), 1.0, np.float32), one, window))
    assert sure[1, 2].tolist() == [255, 233, 69, 255] and sure[0, 0, 3] == 0
