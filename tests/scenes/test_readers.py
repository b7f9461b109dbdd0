import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.readers import opened_rows, read_array
from tests.fakes import fake_cube, fake_ground_truth, real_file, write_hdf5, write_matlab5, write_matlab73

CUBE = fake_cube()
TRUTH = fake_ground_truth()
BOTH: dict[str, NDArray[Any]] = {"paviaU": CUBE, "paviaU_gt": TRUTH}
LISTING = "paviaU (6, 7, 5) uint16; paviaU_gt (6, 7) uint8"


def write_npy(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    np.save(path, next(iter(arrays.values())))
    return path


def write_uncompressed(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    return write_matlab5(path, arrays, compressed=False)


Writer = Callable[[Path, dict[str, NDArray[Any]]], Path]
WRITERS: list[tuple[Writer, str]] = [
    (write_matlab5, "a.mat"),
    (write_uncompressed, "plain.mat"),
    (write_matlab73, "new.mat"),
    (write_hdf5, "a.h5"),
    (write_npy, "a.npy"),
]


def read_error(path: Path, key: str | None = None) -> str:
    with pytest.raises(SceneError) as caught:
        read_array(path, key)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_the_only_array_needs_no_key(tmp_path: Path, write: Writer, name: str) -> None:
    array = read_array(write(tmp_path / name, {"cube": CUBE}))
    assert array.dtype == np.uint16
    assert np.array_equal(array, CUBE)


@pytest.mark.parametrize(("write", "name"), WRITERS[:4])
def test_a_key_chooses_among_several(tmp_path: Path, write: Writer, name: str) -> None:
    path = write(tmp_path / name, BOTH)
    assert np.array_equal(read_array(path, "paviaU"), CUBE)
    assert np.array_equal(read_array(path, "paviaU_gt"), TRUTH)


@pytest.mark.parametrize(("write", "name"), WRITERS[:4])
def test_a_missing_or_wrong_key_lists_keys_and_shapes(tmp_path: Path, write: Writer, name: str) -> None:
    path = write(tmp_path / name, BOTH)
    wrong = read_error(path, "paviau")
    assert "no array with the key 'paviau'" in wrong
    assert LISTING in wrong
    missing = read_error(path)
    assert "2 numeric arrays of two or more dimensions, so a key is needed" in missing
    assert LISTING in missing


def test_the_key_of_a_npy_file_is_ignored(tmp_path: Path) -> None:
    assert np.array_equal(read_array(write_npy(tmp_path / "a.npy", BOTH), "anything"), CUBE)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".he5", ".H5"])
def test_hdf5_keys_may_lie_in_groups(tmp_path: Path, suffix: str) -> None:
    path = write_hdf5(tmp_path / f"scene{suffix}", {"HDFEOS/swath/cube": CUBE, "lines": np.arange(4)})
    assert np.array_equal(read_array(path), CUBE)
    assert np.array_equal(read_array(path, "/HDFEOS/swath/cube"), CUBE)
    assert "no array with the key 'HDFEOS/swath'" in read_error(path, "HDFEOS/swath")


@pytest.mark.parametrize(("write", "name"), WRITERS[:2])
def test_matlab_vectors_and_scalars_do_not_compete_with_the_cube(tmp_path: Path, write: Writer, name: str) -> None:
    arrays = {"wavelengths": np.arange(5.0)[None], "scale": np.array([[2.0]]), "note": "text", "cube": CUBE}
    path = write(tmp_path / name, arrays)  # type: ignore[arg-type]
    assert np.array_equal(read_array(path), CUBE)
    assert read_array(path, "wavelengths").shape == (1, 5)


def test_matlab73_is_told_by_content_not_by_extension(tmp_path: Path) -> None:
    headed = write_matlab73(tmp_path / "renamed.h5", {"cube": CUBE})
    assert np.array_equal(read_array(headed), CUBE)
    headless = write_hdf5(tmp_path / "headless.mat", {"cube": CUBE.T})
    assert np.array_equal(read_array(headless), CUBE)


def test_matlab73_text_empty_arrays_and_references_are_no_candidates(tmp_path: Path) -> None:
    path = write_matlab73(tmp_path / "a.mat", {"cube": CUBE, "note": np.ones((2, 9), np.uint16)})
    with h5py.File(path, "r+") as file:
        file["note"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_dataset("nothing", data=np.zeros((2, 2), np.uint64)).attrs["MATLAB_empty"] = 1
        file.create_dataset("#refs#/a", data=np.ones((3, 3)))
        file.create_dataset("null", dtype="f8", shape=None)
    assert np.array_equal(read_array(path), CUBE)
    assert "no numeric array under the key 'note'; it holds" in read_error(path, "note")
    assert "note (2, 9) char" in read_error(path, "note")


@pytest.mark.parametrize("value", ["text", {"cube": 1}, np.array([["a", "cell"]], dtype=object)])
def test_a_key_of_something_else_says_what_it_is(tmp_path: Path, value: Any) -> None:
    path = write_matlab5(tmp_path / "a.mat", {"thing": value})
    assert "no numeric array under the key 'thing'" in read_error(path, "thing")
    assert "0 numeric arrays" in read_error(path)


def test_complex_and_object_arrays_are_refused(tmp_path: Path) -> None:
    assert "complex128 under 'cube'" in read_error(write_matlab5(tmp_path / "a.mat", {"cube": CUBE * 1j}), "cube")
    assert "no numeric array under" in read_error(write_hdf5(tmp_path / "a.h5", {"cube": CUBE * 1j}), "cube")
    np.save(tmp_path / "a.npy", np.array([[None]]), allow_pickle=True)
    assert "allow_pickle" in read_error(tmp_path / "a.npy")


def test_missing_file_directory_and_empty_file(tmp_path: Path) -> None:
    assert "does not exist" in read_error(tmp_path / "PaviaU.mat")
    assert "is a directory" in read_error(tmp_path)
    (tmp_path / "empty.mat").touch()
    assert "is empty (0 bytes)" in read_error(tmp_path / "empty.mat")


def test_unknown_extension_lists_the_supported(tmp_path: Path) -> None:
    (tmp_path / "scene.tif").write_bytes(b"II*\0")
    message = read_error(tmp_path / "scene.tif")
    assert "'.tif'; supported are .h5, .hdf5, .he5, .mat, .npy" in message


@pytest.mark.parametrize("name", ["page.mat", "page.npy", "page.h5"])
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>" * 20, b"PK\x03\x04", b"\0" * 300])
def test_something_else_under_a_known_extension(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    read_error(tmp_path / name)


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_file_cut_anywhere_is_refused_or_read_right(tmp_path: Path, write: Writer, name: str) -> None:
    path = write(tmp_path / name, {"cube": CUBE})
    whole = path.read_bytes()
    refused = 0
    for length in [*range(1, len(whole), 13), *range(len(whole) - 12, len(whole))]:
        path.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert np.array_equal(read_array(path, "cube"), CUBE)
            except SceneError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused >= (len(whole) - 13) // 13


def test_a_cube_that_decompresses_only_partly_is_refused(tmp_path: Path) -> None:
    path = write_matlab5(tmp_path / "a.mat", {"cube": fake_cube(60, 60, 20)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    for key in ("cube", None):
        assert "cannot be read" in read_error(path, key)
        assert "download or write it again" in read_error(path, key)


def test_a_damaged_cube_is_refused(tmp_path: Path) -> None:
    path = write_matlab5(tmp_path / "a.mat", {"cube": fake_cube(60, 60, 20)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "cannot be read" in read_error(path, "cube")


def test_a_variable_that_scipy_gives_as_the_text_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_matlab5(tmp_path / "a.mat", {"cube": CUBE})
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: {"cube": "Read error: wrong type"})
    assert "cannot be read (ValueError: Read error: wrong type)" in read_error(path, "cube")


@pytest.mark.parametrize(
    ("file", "key", "shape", "kind"),
    [
        ("ground_truth/PaviaU_gt.mat", "paviaU_gt", (610, 340), "u"),
        ("ground_truth/Salinas_gt.mat", "salinas_gt", (512, 217), "iu"),
        ("salinas_a/SalinasA_corrected.mat", "salinasA_corrected", (83, 86, 204), "iu"),
    ],
)
def test_real_files(file: str, key: str, shape: tuple[int, ...], kind: str) -> None:
    path = real_file(file)
    array = read_array(path)
    assert array.shape == shape
    assert array.dtype.kind in kind
    assert np.array_equal(array, read_array(path, key))


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.9, 0.999999])
def test_a_real_file_cut_anywhere(tmp_path: Path, share: float) -> None:
    whole = real_file("salinas_a/SalinasA_corrected.mat").read_bytes()
    cut = tmp_path / "SalinasA_corrected.mat"
    cut.write_bytes(whole[: int(share * len(whole))])
    read_error(cut, "salinasA_corrected")


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_rows_are_those_of_the_whole_array(tmp_path: Path, write: Writer, name: str) -> None:
    path = write(tmp_path / name, {"cube": CUBE})
    with opened_rows(path) as rows:
        assert rows.shape == CUBE.shape
        assert np.array_equal(rows.read(0, len(CUBE)), CUBE)
        assert np.array_equal(rows.read(1, 3), CUBE[1:3])
        assert rows.read(2, 2).shape == (0, *CUBE.shape[1:])


def test_rows_of_a_file_that_ends_early_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "long.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=np.random.default_rng(0).random((64, 64, 8)), chunks=(8, 64, 8))
    path.write_bytes(path.read_bytes()[: -64 * 64 * 8])
    with pytest.raises(SceneError, match="truncated"), opened_rows(path) as rows:
        rows.read(0, 64)


def test_rows_need_a_known_file(tmp_path: Path) -> None:
    (tmp_path / "cube.txt").write_text("1 2 3")
    with pytest.raises(SceneError, match="unknown extension"), opened_rows(tmp_path / "cube.txt"):
        pass
    with pytest.raises(SceneError, match="does not exist"), opened_rows(tmp_path / "none.npy"):
        pass
