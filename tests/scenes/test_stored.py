from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.checks import whole_labels
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.readers import readable_in_windows
from hsi_al.scenes.scene import false_colour, save_scene
from hsi_al.scenes.stored import StoredCube, stored_cube
from hsi_al.scenes.truth import read_labels
from tests.fakes import fake_cube, fake_ground_truth, fake_scene, write_hdf5, write_matlab5, write_matlab73


def npy(folder: Path, cube: np.ndarray) -> Path:
    np.save(folder / "cube.npy", cube)
    return folder / "cube.npy"


@pytest.fixture(params=["npy", "h5", "mat73"])
def cube_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "npy":
        return npy(tmp_path, fake_cube().astype(">u2"))
    write = write_hdf5 if request.param == "h5" else write_matlab73
    return write(tmp_path / ("cube.h5" if request.param == "h5" else "cube.mat"), {"cube": fake_cube()})


def test_windows_limits_and_pictures_are_those_of_the_whole(cube_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 2 * 7 * 5 * 2)
    cube, stored = fake_cube(), stored_cube(cube_file)
    assert stored.shape == (6, 7, 5)
    assert stored.limits == (cube.min(), cube.max())
    assert np.array_equal(stored.read(0, 6), cube)
    window = stored.read(2, 5, 1, 4)
    assert np.array_equal(window, cube[2:5, 1:4])
    assert window.flags.c_contiguous and window.dtype.isnative
    assert np.array_equal(false_colour(stored, (4, 0, 2)), false_colour(cube, (4, 0, 2)))
    stored.rows.close()


def test_a_picture_of_a_huge_scene_is_stretched_by_a_part_of_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.scenes.scene.MOST_FOR_PERCENTILES", 11)
    cube = fake_cube()
    low, high = np.percentile(cube[::2, ::2, [3]].astype(float), (2, 98))
    expected = np.rint(255 * np.clip((cube[:, :, 3] - low) / (high - low), 0, 1))
    assert np.array_equal(false_colour(cube, (3, 3, 3))[:, :, 0], expected)


def test_what_is_no_cube_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for array, words in (
        (np.zeros((3, 4)), r"shape \(3, 4\)"),
        (np.zeros((3, 0, 4)), r"shape \(3, 0, 4\)"),
        (np.zeros((3, 4, 2), bool), "type bool"),
        (np.full((3, 4, 2), 5), "every value of the cube"),
    ):
        with pytest.raises(SceneError, match=words):
            _ = stored_cube(npy(tmp_path, array)).limits
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 1)
    cube = fake_cube().astype(np.float32)
    cube[4, 6, 0] = np.nan
    with pytest.raises(SceneError, match=r"cube.npy, rows 4 to 4.*1 NaN and 0 infinite"):
        _ = stored_cube(npy(tmp_path, cube)).limits
    path = write_matlab5(tmp_path / "old.mat", {"cube": fake_cube()})
    assert not readable_in_windows(path)
    with pytest.raises(SceneError, match=r"old.mat can't be read in parts.*-v7.3"):
        stored_cube(path)


def test_a_scene_in_its_file(tmp_path: Path) -> None:
    scene = fake_scene()
    save_scene(scene, tmp_path / "scene.h5")
    stored = load_custom_scene("field", tmp_path / "scene.h5", classes=[1, 10], reading=Reading(in_memory=False))
    assert isinstance(stored.source, StoredCube)
    assert (stored.height, stored.width, stored.n_bands) == (6, 7, 5)
    assert stored.class_names == {1: "Broccoli", 10: "Lettuce"}
    assert np.array_equal(stored.false_colour(), scene.false_colour())
    with pytest.raises(SceneError, match=r"'field' stays in .*scene.h5"):
        _ = stored.cube


def test_labels_come_block_by_block_in_the_smallest_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 2 * 7)
    truth = fake_ground_truth().astype(np.float64)
    truth[5, 6] = 300
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["truth"] = truth
    read = read_labels("field", tmp_path / "a.h5", None, (6, 7, 5)).labels
    assert read.dtype == np.uint16
    assert np.array_equal(read, truth)
    with pytest.raises(SceneError, match=r"dataset\.axes=WHB would fit"):
        read_labels("field", tmp_path / "a.h5", None, (7, 6, 5))


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([[True, False]]), np.uint8),
        (np.array([[0, 255]], ">i4"), np.uint8),
        (np.array([[0, 256]], np.uint64), np.uint16),
        (np.array([[0.0, 70000.0]]), np.uint32),
        (np.empty((0, 3), np.int16), np.uint8),
    ],
)
def test_labels_are_compact(labels: np.ndarray, dtype: type) -> None:
    compact = whole_labels("field", labels)
    assert compact.dtype == dtype and compact.dtype.isnative
    assert np.array_equal(compact, labels)


def test_labels_that_are_none() -> None:
    for wrong in (np.array([[-1]], np.int8), np.array([[2**63]], np.uint64), np.array([[np.nan]]), np.array([[1.5]])):
        with pytest.raises(SceneError, match="no whole numbers from 0"):
            whole_labels("field", wrong)
