"""Patches against numpy's own padding and slicing."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError
from hsi_al.scenes.readers import opened_rows
from hsi_al.scenes.stored import StoredCube, value_range
from hsi_al.training.patches import SYMMETRIES, PatchGatherer, StripGatherer, transformed
from tests.fakes import fake_cube


def gathered(gatherer: PatchGatherer, *pixel_ids: int) -> NDArray[np.float32]:
    patches: NDArray[np.float32] = gatherer(torch.tensor(pixel_ids)).numpy()
    return patches


def normalised(cube: NDArray[Any]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = cube.astype(np.float64)
    scaled: NDArray[np.float64] = (values - values.min()) / (values.max() - values.min())
    return scaled


def sliced(cube: NDArray[Any], size: int, pixel_id: int) -> NDArray[np.float64]:
    """The patch (bands, P, P) of a pixel: [i - P//2, i - P//2 + P), outside of the scene mirrored with its edge."""
    before, after = size // 2, size - 1 - size // 2
    padded = np.pad(normalised(cube), ((before, after), (before, after), (0, 0)), mode="symmetric")
    row, column = divmod(pixel_id, cube.shape[1])
    return padded[row : row + size, column : column + size].transpose(2, 0, 1)


def test_the_window_starts_half_a_patch_before_the_pixel() -> None:
    cube = np.zeros((40, 44, 2), np.uint16)
    cube[20, 22, 1] = 500
    gatherer = PatchGatherer(cube, 32)
    patch = gathered(gatherer, 20 * 44 + 22)[0]
    assert patch.shape == (2, 32, 32)
    assert patch[1, 16, 16] == 1.0
    assert patch.sum() == 1.0
    # 16 pixels before the centre belong to the window, of those behind it 15.
    for row, column, found in ((35, 22, True), (36, 22, True), (37, 22, False), (5, 22, True), (4, 22, False)):
        patch = gathered(gatherer, row * 44 + column)[0]
        assert bool(patch.any()) == found, (row, column)
        if found:
            assert np.argwhere(patch[1]).tolist() == [[16 + 20 - row, 16]]
    assert np.argwhere(gathered(gatherer, 20 * 44 + 25)[0, 1]).tolist() == [[16, 13]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64, ">u2", ">f4"])
def test_centre_is_the_normalised_pixel_and_the_cube_stays_as_it_was(dtype: str) -> None:
    cube = (fake_cube(6, 7) // 40).astype(dtype)
    if np.dtype(dtype).kind != "u":
        cube -= np.array(100, dtype=dtype)
    for size in (1, 5, 8):
        before = cube.copy()
        centres = PatchGatherer(cube, size)(torch.arange(42))[:, :, size // 2, size // 2].numpy()
        assert centres.dtype == np.float32
        assert np.allclose(centres.reshape(6, 7, 5), normalised(before), atol=1e-6)
        assert np.array_equal(cube, before)
        assert cube.dtype == np.dtype(dtype)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 13])
def test_patches_at_corners_edges_and_inside(size: int) -> None:
    cube = fake_cube(6, 7)
    patches = PatchGatherer(cube, size)(torch.arange(42)).numpy()
    assert patches.shape == (42, 5, size, size)
    for pixel_id in range(42):
        assert np.allclose(patches[pixel_id], sliced(cube, size, pixel_id), atol=1e-6), pixel_id


def test_pixels_come_in_the_order_asked_for() -> None:
    cube = fake_cube(6, 7)
    patches = gathered(PatchGatherer(cube, 4), 41, 3, 3, 17)
    for patch, pixel_id in zip(patches, (41, 3, 3, 17), strict=True):
        assert np.allclose(patch, sliced(cube, 4, pixel_id), atol=1e-6)


def test_one_minimum_and_maximum_for_all_bands() -> None:
    cube = np.array([[[10, 20], [30, 40]], [[10, 50], [25, 30]]], np.int16)
    values = gathered(PatchGatherer(cube, 1), 0, 1, 2, 3)[:, :, 0, 0]
    assert np.allclose(values, [[0.0, 0.25], [0.5, 0.75], [0.0, 1.0], [0.375, 0.5]])
    assert value_range(cube) == (10.0, 50.0)
    assert PatchGatherer(cube, 1).limits == (10.0, 50.0)


def test_limits_of_another_cube() -> None:
    cube = np.array([[[10, 20], [30, 40]]], np.int16)
    gatherer = PatchGatherer(cube, 1, limits=(20.0, 30.0))
    assert np.allclose(gathered(gatherer, 0, 1)[:, :, 0, 0], [[-1, 0], [1, 2]])
    assert gatherer.limits == (20.0, 30.0)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_batches_are_channels_last_without_a_copy(size: int) -> None:
    patches = PatchGatherer(fake_cube(6, 7), size)(torch.arange(4))
    assert patches.is_contiguous(memory_format=torch.channels_last)
    assert not patches.is_contiguous()


@pytest.mark.parametrize(("height", "width"), [(6, 9), (9, 6)])
def test_patches_larger_than_the_mirror_are_refused(height: int, width: int) -> None:
    cube = fake_cube(height, width)
    assert np.allclose(gathered(PatchGatherer(cube, 13), 0)[0], sliced(cube, 13, 0), atol=1e-6)
    with pytest.raises(
        ConfigurationError, match=rf"patch_size=14 .* {height}x{width} scene allows: at most 13"
    ) as caught:
        PatchGatherer(cube, 14)
    assert "\n" not in str(caught.value)


def stored(path: Path, cube: NDArray[Any], rows: int, monkeypatch: pytest.MonkeyPatch) -> StoredCube:
    """The cube in an HDF5 file of small chunks, of which so many rows are in memory at once."""
    with h5py.File(path / "cube.h5", "w") as file:
        file.create_dataset("cube", data=cube, chunks=(4, 3, 2))
    monkeypatch.setattr("hsi_al.training.patches.STRIP_BYTES", 4 * rows * int(np.prod(cube.shape[1:])))
    return StoredCube(opened_rows(path / "cube.h5"))


@pytest.mark.parametrize("size", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("rows", [1, 2, 7, 13, 20])
def test_strips_give_the_patches_of_the_whole(
    tmp_path: Path, size: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = fake_cube(13, 9)
    whole, everyone = PatchGatherer(cube, size), torch.arange(13 * 9)
    strips = StripGatherer(stored(tmp_path, cube, rows, monkeypatch), size)
    assert strips.limits == whole.limits
    parts = [strips(everyone[first : first + 5]) for first in range(0, len(everyone), 5)]  # across the ends of rows
    assert torch.equal(torch.cat(parts), whole(everyone))
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(len(everyone)))
    out = torch.empty(len(everyone) * size**2, 5)
    patches = strips(shuffled, out)
    assert torch.equal(patches, whole(shuffled))
    assert patches.data_ptr() == out.data_ptr()
    assert patches.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_kept_patches_need_no_strip(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = fake_cube(13, 9)
    strips = StripGatherer(stored(tmp_path, cube, 2, monkeypatch), size)
    ids = np.array([116, 0, 8, 60, 108])  # the corners and one inside
    strips.keep(ids)
    strips.keep(np.array([60, 3, 0]))
    monkeypatch.setattr(StripGatherer, "inside", None)
    out = torch.empty(6 * size**2, 5)
    again = torch.tensor([60, 3, 116, 116, 0, 8])
    assert torch.equal(strips(again, out), PatchGatherer(cube, size)(again))
    assert torch.equal(strips(torch.tensor([108])), PatchGatherer(cube, size)(torch.tensor([108])))
    with pytest.raises(TypeError):  # one of them isn't kept
        strips(torch.tensor([0, 1]))


def test_ascending_pixels_read_every_strip_once_and_only_those_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, read = stored(tmp_path, fake_cube(13, 9), 3, monkeypatch), []
    strips = StripGatherer(cube, 4)

    def watched(first: int, last: int, left: int, right: int) -> NDArray[Any]:
        read.append((first, last))
        return cube.rows.read(first, last, left, right)

    monkeypatch.setattr(StoredCube, "read", lambda self, *window: watched(*window))
    for first in range(0, 117, 4):
        strips(torch.arange(first, min(first + 4, 117)))
    assert read == [(1, 7), (4, 10), (7, 13), (10, 13)]  # two rows above and one below; the first strip was there
    read.clear()
    strips(torch.tensor([5, 6, 100]))
    assert read == [(0, 4), (7, 13)]


def test_limits_of_another_cube_for_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = fake_cube(6, 7)
    strips = StripGatherer(stored(tmp_path, cube, 2, monkeypatch), 3, (20.0, 7000.0))
    whole = PatchGatherer(cube, 3, (20.0, 7000.0))
    assert torch.equal(strips(torch.arange(42)), whole(torch.arange(42)))


def test_patches_larger_than_the_mirror_of_a_stored_cube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"patch_size=14 .* 9x6 scene allows: at most 13"):
        StripGatherer(stored(tmp_path, fake_cube(9, 6), 1, monkeypatch), 14)


def test_the_cube_does_not_belong_to_the_weights() -> None:
    gatherer = PatchGatherer(fake_cube(), 4)
    assert gatherer.state_dict() == {}
    assert list(gatherer.parameters()) == []


def test_32_pixels_by_default() -> None:
    assert gathered(PatchGatherer(fake_cube(20, 21)), 0).shape == (1, 5, 32, 32)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_symmetries_are_numpys_quarter_turns_and_mirrors(size: int) -> None:
    patches = torch.rand(11, 3, size, size).contiguous(memory_format=torch.channels_last)
    symmetries = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 5])
    seen = transformed(patches, symmetries)
    for patch, symmetry, view in zip(patches.numpy(), symmetries.tolist(), seen.numpy(), strict=True):
        expected = np.rot90(patch, symmetry % 4, axes=(1, 2))
        assert np.array_equal(view, expected[:, :, ::-1] if symmetry >= 4 else expected)
    assert seen.is_contiguous(memory_format=torch.channels_last)


def test_the_eight_symmetries_differ() -> None:
    one = torch.rand(1, 2, 3, 3).expand(SYMMETRIES, -1, -1, -1)
    assert len(np.unique(transformed(one, torch.arange(SYMMETRIES)).flatten(1).numpy(), axis=0)) == 8


def test_no_patch_has_no_symmetry() -> None:
    assert transformed(torch.rand(0, 2, 3, 3), torch.empty(0, dtype=torch.int64)).shape == (0, 2, 3, 3)
