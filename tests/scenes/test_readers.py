import errno
import fcntl
import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.__main__ import main as describe
from hsi_al.scenes.arrays import reading
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.readers import loaded_rows, opened_rows, read_array
from hsi_al.scenes.scene import is_scene_file, load_scene, save_scene
from hsi_al.scenes.stored import reordered
from tests.conftest import CommandLine, tiny_arrays
from tests.fakes import fake_cube, fake_ground_truth, fake_scene, real_file, write_hdf5, write_matlab5, write_matlab73

CUBE = fake_cube()
TRUTH = fake_ground_truth()
BOTH: dict[str, NDArray[Any]] = {"paviaU": CUBE, "paviaU_gt": TRUTH}
LISTING = "paviaU (6, 7, 5) uint16; paviaU_gt (6, 7) uint8"


def write_npy(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    np.save(path, next(iter(arrays.values())))
    return path


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def write_uncompressed(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    return write_matlab5(path, arrays, compressed=False)


Writer = Callable[[Path, dict[str, NDArray[Any]]], Path]
WRITERS: list[tuple[Writer, str]] = [
    (write_matlab5, "a.mat"),
    (write_uncompressed, "plain.mat"),
    (write_matlab73, "new.mat"),
    (write_hdf5, "a.h5"),
    (write_npz, "a.npz"),
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


@pytest.mark.parametrize(("write", "name"), WRITERS[:5])
def test_a_key_chooses_among_several(tmp_path: Path, write: Writer, name: str) -> None:
    path = write(tmp_path / name, BOTH)
    assert np.array_equal(read_array(path, "paviaU"), CUBE)
    assert np.array_equal(read_array(path, "paviaU_gt"), TRUTH)


@pytest.mark.parametrize(("write", "name"), WRITERS[:5])
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
    with opened_rows(headed) as rows:
        assert rows.notices == ()
    marked = write_hdf5(tmp_path / "marked.h5", {"cube": CUBE.T})
    with h5py.File(marked, "r+") as file:
        file["cube"].attrs["MATLAB_class"] = np.bytes_("uint16")
    assert np.array_equal(read_array(marked), CUBE)


def test_hdf5_named_mat_is_not_mirrored_and_doubts_are_said(tmp_path: Path) -> None:
    plain = write_hdf5(tmp_path / "plain.mat", {"cube": CUBE})
    added = write_matlab73(tmp_path / "added.mat", {"note": np.ones(3)})
    with h5py.File(added, "r+") as file:
        file["cube"] = CUBE.T
    for path, words in ((plain, "none of MATLAB's"), (added, "MATLAB may not have written 'cube'")):
        assert np.array_equal(read_array(path), CUBE)
        with opened_rows(path) as rows:
            assert np.array_equal(rows.read(1, 4, 2, 5), CUBE[1:4, 2:5])
            (notice,) = rows.notices
            assert notice.startswith(f"Warning: {path} is ") and words in notice and "dataset.axes" in notice


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
    with h5py.File(path, "r+") as file:
        file["note"].attrs["MATLAB_class"] = np.zeros(3)
    assert "note (2, 9) [0. 0. 0.]" in read_error(path, "note")


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
    assert "does not exist" in read_error(tmp_path / f"{'x' * 300}.mat")
    assert "is a directory" in read_error(tmp_path)
    (tmp_path / "empty.mat").touch()
    assert "is empty (0 bytes)" in read_error(tmp_path / "empty.mat")


def test_unknown_extension_lists_the_supported(tmp_path: Path) -> None:
    (tmp_path / "scene.words").write_bytes(b"words")
    message = read_error(tmp_path / "scene.words")
    assert "'.words'; supported are .asc, .bil, " in message


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


# Why a file can't be read


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "is in use by another program"),
        (OSError("Unable to open file (unable to lock file, errno = 11, error message = '...')"), "in use by another"),
        (PermissionError(errno.EACCES, "Permission denied"), r"may not be read \(Permission denied\); change its perm"),
        (OSError(errno.ENOLCK, "No locks available"), "HDF5_USE_FILE_LOCKING=FALSE"),
        (OSError(errno.EIO, "Input/output error"), r"at the moment \(Input/output error\).*try again"),
        (OSError("file read failed: errno = 116, error message = 'Stale file handle'"), "at the moment"),
        (OSError(errno.EMFILE, "Too many open files"), r"at the moment \(Too many open files\)"),
        (MemoryError("Unable to allocate"), "does not fit into the free memory"),
        (RecursionError("maximum recursion depth exceeded"), "too deeply nested"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "does not exist"),
        (EOFError("4 of 8 bytes"), "it is truncated; download or write it again"),
        (OSError("bad object header version number"), "it is damaged or not what its name says; download"),
        (OSError(errno.EINVAL, "Invalid argument"), "it is damaged"),
    ],
)
def test_every_cause_has_its_own_sentence(error: Exception, words: str) -> None:
    with pytest.raises(SceneError, match=rf"^/a/b\.h5 .*{words}.*\.$") as caught, reading(Path("/a/b.h5")):
        raise error
    assert ("download" in str(caught.value)) == ("download" in words or "damaged" in words or "exist" in words)


def test_a_file_in_use(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", {"cube": CUBE})
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert "is in use by another program" in read_error(path)
    finally:
        os.close(descriptor)
    assert np.array_equal(read_array(path), CUBE)


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "a.npy"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><head>", "is a web page"),
        (b"<html>", "is a web page"),
    ],
)
def test_what_took_the_place_of_a_file(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in read_error(tmp_path / name)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    assert "no regular file" in read_error(tmp_path / "a.npy")


# Compression


def write_with_filter(path: Path) -> Path:
    """A chunk behind filter 32099, which nobody has."""
    with h5py.File(path, "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((2, 3, 4))
        settings.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((2, 3, 4))
        stored = h5py.h5d.create(file.id, b"cube", h5py.h5t.NATIVE_INT16, space, settings)
        stored.write_direct_chunk((0, 0, 0), bytes(range(20)), 0)
    return path


def test_a_missing_filter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_with_filter(tmp_path / "a.h5")
    message = read_error(path)
    assert "'cube' is compressed with the HDF5 filter 32099" in message and "pip install hdf5plugin" in message
    with opened_rows(path) as rows, pytest.raises(SceneError, match="filter 32099"):
        rows.read(0, 1)
    imported: list[str] = []
    monkeypatch.setattr("hsi_al.scenes.formats.hdf5.import_module", imported.append)
    read_error(path)
    assert imported == ["hdf5plugin"]


# Sizes that can't be


def write_npy_header(path: Path, shape: str, kind: str = "<f8") -> Path:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(900))
    return path


def both_errors(path: Path, key: str | None = None) -> str:
    """The sentence, which is the same whether an array is read whole or in windows."""
    message = read_error(path, key)
    with pytest.raises(SceneError) as caught, opened_rows(path, key) as rows:
        rows.read(0, 1)
    assert str(caught.value) == message
    return message


@pytest.mark.parametrize("shape", ["(100000, 100000, 100000)", "(4294967296, 4294967296, 4294967296)", "(200,)"])
def test_npy_headers_that_claim_too_much(tmp_path: Path, shape: str) -> None:
    message = both_errors(write_npy_header(tmp_path / "a.npy", shape))
    assert f"of shape {shape}" in message and "900 are there" in message and "truncated" in message


def test_npy_arrays_that_are_none(tmp_path: Path) -> None:
    assert "impossible" in both_errors(write_npy_header(tmp_path / "a.npy", "(-1, 3)"))
    assert "type complex128" in both_errors(write_npy_header(tmp_path / "a.npy", "(2, 2)", "<c16"))
    assert "type <U4" in both_errors(write_npy_header(tmp_path / "a.npy", "(2, 2)", "<U4"))
    assert "pickled" in both_errors(write_npy_header(tmp_path / "a.npy", "(2, 2)", "|O"))
    assert read_array(write_npy_header(tmp_path / "a.npy", "()")).shape == ()
    assert read_array(write_npy_header(tmp_path / "a.npy", "(0, 3)")).shape == (0, 3)


def test_what_else_an_archive_of_numpy_holds(tmp_path: Path) -> None:
    others = {"names": np.array(["corn", "oats"]), "found": np.array([{}]), "wavelength": np.linspace(0.4, 0.8, 5)}
    path = write_npz(tmp_path / "a.npz", {"cube": CUBE, **others})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("read me.txt", "corn and oats")
    assert np.array_equal(read_array(path), CUBE)
    assert reordered(opened_rows(path), "HWB").wavelengths == pytest.approx((400, 500, 600, 700, 800))
    for key, words in (("found", "(1,) pickled objects"), ("names", "(2,) <U4")):
        message = read_error(path, key)
        assert f"no numeric array under the key '{key}'" in message and f"{key} {words}" in message
    with pytest.raises(SceneError, match=r"can't be read in parts.*as \.npy"):
        load_custom_scene("a", path, "cube", reading=Reading(in_memory=False))


def test_archives_of_numpy_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", cube=CUBE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(CUBE.tobytes()) + 20] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "Bad CRC" in read_error(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "a.npz", cube=CUBE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.rindex(b"PK\1\2") + 16] ^= 1  # the sum itself, which is compared at the end of the values
    (tmp_path / "a.npz").write_bytes(content)
    assert "Bad CRC" in read_error(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", write_npy_header(tmp_path / "x.npy", "(200,)").read_bytes())
        archive.writestr("y.txt", "")
    assert "of shape (200,)" in read_error(tmp_path / "b.npz") and "900 are there" in read_error(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        for name, array in (("good", CUBE), ("other", TRUTH)):
            np.save(tmp_path / "x.npy", array)
            archive.write(tmp_path / "x.npy", f"{name}.npy")
        archive.writestr("long.npy", b"\x93NUMPY\x02\x00" + (1_500_000_000).to_bytes(4, "little") + b" " * 900)
    assert np.array_equal(read_array(tmp_path / "b.npz", "good"), CUBE)  # although others are damaged
    assert "a header of 1,500,000,000 bytes is impossible" in read_error(tmp_path / "b.npz", "long")
    np.savez(tmp_path / "c.npz")
    assert "it holds nothing" in read_error(tmp_path / "c.npz")
    monkeypatch.setattr("hsi_al.scenes.formats.npy.MOST_OBJECTS", 1)
    np.savez(tmp_path / "d.npz", cube=CUBE, truth=TRUTH)
    assert "more than 1 arrays" in read_error(tmp_path / "d.npz")


def test_hdf5_arrays_that_were_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("empty", (10**5,) * 3, "f8", chunks=(64,) * 3)
        file.create_dataset("sparse", (10**5,) * 3, "f8", chunks=(4,) * 3)[0, 0, 0] = 1
        file.create_dataset("contiguous", (10**3, 4), "f8")
    for key in ("empty", "sparse", "contiguous"):
        message = both_errors(path, key)
        assert f"{key!r} has the shape" in message and "never written" in message


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.mat", "a.npz"])
def test_what_outgrows_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cube = fake_cube(200, 50, 40)
    write = {"a.h5": write_hdf5, "a.npy": write_npy, "a.mat": write_matlab5, "a.npz": write_npz}[name]
    path = write(tmp_path / name, {"cube": cube})
    monkeypatch.setattr("hsi_al.scenes.arrays.SMALL_BYTES", 0)
    monkeypatch.setattr("hsi_al.scenes.arrays.free_memory", lambda: 50_000)
    message = read_error(path, "cube")
    assert "shape (200, 50, 40) takes 800,000 bytes, but 50,000 bytes" in message
    assert "dataset.in_memory=false" in message
    if name in ("a.h5", "a.npy"):
        with opened_rows(path, "cube") as rows:
            assert np.array_equal(rows.read(3, 5), cube[3:5])
            with pytest.raises(SceneError, match=r"\(20, 50, 40\) takes 80,000"):
                rows.read(0, 20)


def test_hdf5_types_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = CUBE
        file["complex"] = CUBE * 1j
        file["text"] = ["a", "b"]
        file["compound"] = np.zeros((3, 3), [("a", "f4"), ("b", "i2")])
        file.create_dataset("null", dtype="f8", shape=None)
        file["point"] = 3.0
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2, 3)))
        h5py.h5d.create(
            file.id, b"arrays", h5py.h5t.array_create(h5py.h5t.NATIVE_INT8, (3,)), h5py.h5s.create_simple((2,))
        )
        file["type"] = np.dtype("f8")
    assert np.array_equal(read_array(path), CUBE)
    for key in ("complex", "text", "compound", "null", "time", "arrays", "type"):
        assert any(words in read_error(path, key) for words in ("no numeric array", "no array", "never written")), key
    assert read_array(path, "point").shape == ()


# Files of strangers


def test_nothing_outside_of_a_file_is_read(tmp_path: Path) -> None:
    secret = write_hdf5(tmp_path / "secret.h5", {"cube": CUBE, "group/cube": CUBE})
    (tmp_path / "raw").write_bytes(CUBE.tobytes())
    path = tmp_path / "a.h5"
    virtual = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
    virtual[:] = h5py.VirtualSource(secret, "cube", CUBE.shape)
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(secret), "cube")
        file["group"] = h5py.ExternalLink(str(secret), "group")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("external", CUBE.shape, CUBE.dtype, external=[(str(tmp_path / "raw"), 0, CUBE.nbytes)])
        file.create_virtual_dataset("virtual", virtual)
        file["own"] = CUBE
        inner = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
        inner[:] = h5py.VirtualSource(file["own"])
        file.create_virtual_dataset("inner", inner)
        outer = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
        outer[:] = h5py.VirtualSource(file["external"])
        file.create_virtual_dataset("outer", outer)
    for key, place in (
        ("link", f"link to the file {str(secret)!r}"),
        ("group/cube", f"link to the file {str(secret)!r}"),
        ("soft", "link to '/link'"),
        ("external", str(tmp_path / "raw")),
        ("virtual", str(secret)),
        ("outer", "in '/external'"),
    ):
        assert place in both_errors(path, key)
    listed = read_error(path)
    assert "2 numeric arrays" in listed and listed.count(str(secret)) == 3
    assert np.array_equal(read_array(path, "inner"), CUBE)


def test_a_scene_file_of_a_stranger(tmp_path: Path) -> None:
    scene = tmp_path / "scene.h5"
    save_scene(fake_scene(), scene)
    write_hdf5(tmp_path / "secret.h5", {"cube": CUBE})
    for key in ("cube", "ground_truth", "class_names", "label_values"):
        copy = tmp_path / f"{key}.h5"
        copy.write_bytes(scene.read_bytes())
        with h5py.File(copy, "r+") as file:
            del file[key]
            file[key] = h5py.ExternalLink("secret.h5", "cube")
        with pytest.raises(SceneError, match=rf"{key}' is a link to the file 'secret.h5'"):
            load_scene(copy)
        with h5py.File(copy, "r+") as file:
            del file[key]
            file.create_dataset(key, (10**6,) * 3, "i2", chunks=(4,) * 3)[0, 0, 0] = 1
        with pytest.raises(SceneError, match=rf"'{key}' has the shape \(1000000, 1000000, 1000000\)"):
            load_scene(copy)


def test_a_damaged_heap_of_strings_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "scene.h5"
    save_scene(fake_scene(), path)
    content = path.read_bytes()
    place = content.index(b"GCOL") + 16
    path.write_bytes(content[:place] + bytes(200) + content[place + 200 :])
    for function in (load_scene, is_scene_file):
        with pytest.raises(SceneError, match=r"the heap of strings .* is damaged"):
            function(path)


def test_many_groups_and_deep_ones_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        group = file.id
        for _ in range(500):
            group = h5py.h5g.create(group, b"g")
        h5py.Group(group)["cube"] = CUBE
        file["g/again"] = file["g"]  # a circle
    assert np.array_equal(read_array(path), CUBE)
    assert np.array_equal(read_array(path, "g/" * 500 + "cube"), CUBE)


def test_too_many_objects_need_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.scenes.formats.hdf5.MOST_OBJECTS", 20)
    path = write_hdf5(tmp_path / "a.h5", {f"{index:02d}": np.zeros(1) for index in range(30)} | {"cube": CUBE})
    assert "more than 20 arrays and groups; name the key" in read_error(path)
    assert "and 9 more" in read_error(path, "nowhere")
    assert np.array_equal(read_array(path, "cube"), CUBE)


# MATLAB files that lie


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matlab5(
    shape: tuple[int, ...] = (2, 3), values: bytes = bytes(48), *, name: bytes = b"cube", claimed: int | None = None
) -> bytes:
    """A variable of class double."""
    head = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name)
    body = head + struct.pack("<II", 9, len(values) if claimed is None else claimed) + values
    return element(14, body)


def write_matlab_elements(path: Path, *elements: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements))
    return path


def packed(variable: bytes) -> bytes:
    content = zlib.compress(variable)
    return struct.pack("<II", 15, len(content)) + content


@pytest.mark.parametrize("wrap", [bytes, packed])
def test_matlab_files_that_claim_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.mat"
    assert read_array(write_matlab_elements(path, wrap(matlab5()))).shape == (2, 3)
    monkeypatch.setattr(scipy.io, "loadmat", lambda *_, **__: pytest.fail("SciPy trusts the file"))
    assert "truncated" in read_error(write_bytes(path, path.read_bytes()[:-1]))
    for variable in (
        matlab5((50_000, 50_000)),
        matlab5((2, 3), claimed=2**32 - 8),
        matlab5((2**16, 2**13 - 1), claimed=2**32 - 2**19),
        matlab5((-2, -3)),
        matlab5((2, 3), name=b"x" * 10_000),
        matlab5(tuple([1] * 2000)),
        b"".join([matlab5()[:8], bytes(100)]),
        element(3, bytes(20)),
    ):
        assert "cannot be read" in read_error(write_matlab_elements(path, wrap(variable)), "cube")


def test_a_matlab_file_that_unpacks_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.scenes.arrays.SMALL_BYTES", 2**19)
    monkeypatch.setattr("hsi_al.scenes.arrays.free_memory", lambda: 2**20)
    bomb = packed(matlab5((2**9, 2**9), bytes(2**21)))
    assert len(bomb) < 3000
    message = read_error(write_matlab_elements(tmp_path / "a.mat", bomb))
    assert "shape (512, 512) takes 2,097,152 bytes" in message


def test_matlab_4(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"image": CUBE[:, :, 0].astype(float), "other": np.ones((1, 4))}, format="4")
    assert np.array_equal(read_array(path), CUBE[:, :, 0])
    whole = path.read_bytes()
    assert "truncated" in read_error(write_bytes(path, whole[:-1]))
    # A size below zero would lead back to the same variable, again and again.
    for mopt, rows, columns, length in ((0, -1, 3, 4), (0, 3, 3, 0), (70, 2, 2, 4), (0, 2**30, 2**30, 4)):
        variable = struct.pack("<5i", mopt, rows, columns, 0, length) + b"abc\0"
        assert "cannot be read" in read_error(write_bytes(path, variable + bytes(100)))


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Missing data


def test_the_files_own_no_data_value(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, attributes, fill in (
            ("none", {}, None),
            ("zero", {}, 0),
            ("fill", {}, 65535),
            ("attribute", {"_FillValue": np.array([7], "u2")}, 65535),
            ("missing", {"missing_value": -1.5}, None),
            ("text", {"NoData": "-9999"}, None),
            ("words", {"NoData": "none", "missing_value": [1, 2]}, None),
            ("nan", {"_FillValue": np.float32("nan")}, None),
        ):
            file.create_dataset(name, data=CUBE, fillvalue=fill).attrs.update(attributes)
    expected = {
        "none": None,
        "zero": None,
        "fill": 65535,
        "attribute": 7,
        "missing": -1.5,
        "text": -9999,
        "words": None,
    }
    assert {name: loaded_rows(path, name).no_data for name in expected} == expected
    assert math.isnan(loaded_rows(path, "nan").no_data or 0)
    with pytest.raises(SceneError, match="no array with the key"):
        loaded_rows(path, "nowhere")
    with opened_rows(path, "fill") as rows:
        assert rows.no_data == 65535
    assert loaded_rows(write_npy(tmp_path / "a.npy", {"cube": CUBE})).no_data is None
    assert loaded_rows(write_matlab5(tmp_path / "a.mat", {"cube": CUBE})).no_data is None


# Wavelengths

NM = np.linspace(400, 2400, 5)


@pytest.mark.parametrize("write", [write_matlab5, write_matlab73, write_hdf5])
@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("wavelength", NM, (400, 900, 1400, 1900, 2400)),
        ("Wave_Lengths", NM / 1000, (400, 900, 1400, 1900, 2400)),
        ("WL", NM.astype(np.uint16), (400, 900, 1400, 1900, 2400)),
        ("bandCentres", NM[::-1].copy(), (2400, 1900, 1400, 900, 400)),
        ("wavelengths", NM[:4], None),  # as many as there are bands?
        ("wavelengths", np.arange(1, 6.0), None),  # numbers of the bands
        ("lambda", np.full(5, 0.5), None),
        ("lambda", NM > 1000, None),
        ("wavelengths_of_lamp", NM, None),
        ("spectrum", NM, None),
    ],
)
def test_wavelengths_beside_the_cube(
    tmp_path: Path, write: Any, key: str, values: np.ndarray, expected: tuple[float, ...] | None
) -> None:
    path = write(tmp_path / ("a.h5" if write is write_hdf5 else "a.mat"), {"cube": CUBE, key: values[None]})
    rows = reordered(loaded_rows(path, "cube"), "HWB")
    assert rows.wavelengths == (expected and pytest.approx(expected))
    with opened_rows(path, "cube") as opened:
        found = reordered(opened, "HWB")
        assert found.wavelengths == rows.wavelengths and found.notices == rows.notices
    assert len([notice for notice in rows.notices if f"the array {key!r} names no unit" in notice]) == bool(expected)
    scene = load_custom_scene("field", path, "cube", reading=Reading(bands=[[800, 2000]] if expected else None))
    assert scene.n_bands == (3 if expected else 5)


def test_wavelengths_of_several_arrays_or_of_another_axis_are_not_taken(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", {"cube": CUBE, "wavelength": NM, "group/wl": NM})
    assert reordered(loaded_rows(path, "cube"), "HWB").wavelengths is None
    path = write_hdf5(tmp_path / "a.h5", {"group/cube": CUBE, "group/wl": NM})
    assert load_custom_scene("field", path, "group/cube").wavelengths is not None
    assert load_custom_scene("field", path, "group/cube", reading=Reading(axes="BHW")).wavelengths is None
    path = write_hdf5(tmp_path / "a.h5", {"cube": CUBE.transpose(2, 0, 1), "wl": NM})
    scene = load_custom_scene("field", path, "cube", reading=Reading(axes="BHW"))
    assert scene.wavelengths is not None and scene.wavelengths.tolist() == NM.tolist()
    assert "wavelengths  400 to 2400 nm" not in told_of(path)
    scene = load_custom_scene("field", path, "cube")  # taken as rows, columns, bands
    assert scene.wavelengths is None and not any("'wl'" in notice for notice in scene.notices)
    path = write_hdf5(tmp_path / "a.h5", {"truth": np.ones((4, 5), int), "wl": NM})
    assert loaded_rows(path, "truth").wavelengths is None


def told_of(path: Path) -> str:
    """What `hsi_al.scenes` prints about a file."""
    with redirect_stdout(io.StringIO()) as said:
        assert describe([str(path)]) == 0
    return said.getvalue()


def test_the_description_of_a_cube_of_fewer_bands_than_rows(tmp_path: Path) -> None:
    cube = np.zeros((24, 26, 6), np.uint16)
    cube[:] = np.arange(1, 7)
    said = told_of(write_hdf5(tmp_path / "a.h5", {"cube": cube, "wavelength": 400.0 + np.arange(6)}))
    assert "wavelengths  400 to 405 nm" in said
    said = told_of(write_hdf5(tmp_path / "a.h5", {"cube": cube.transpose(2, 0, 1), "wavelength": 400.0 + np.arange(6)}))
    assert "wavelengths  unknown" in said
    assert "nm" not in told_of(write_hdf5(tmp_path / "a.h5", {"cube": cube, "wavelength": 400.0 + np.arange(24)}))


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("nm", NM / 1000, NM / 1000),
        (np.bytes_("Angstrom"), NM * 10, NM),
        (np.array(["um"], object), NM / 1000, NM),
        ("cm-1", 1e7 / NM, NM),
        ("", NM / 1000, NM),
        ("apples", NM, None),
    ],
)
def test_the_unit_of_wavelengths_beside_the_cube(
    tmp_path: Path, unit: object, values: np.ndarray, expected: np.ndarray | None
) -> None:
    path = write_hdf5(tmp_path / "a.h5", {"cube": CUBE, "wavelength": values})
    with h5py.File(path, "r+") as file:
        file["wavelength"].attrs["units"] = unit
    rows = reordered(loaded_rows(path, "cube"), "HWB")
    assert rows.wavelengths == (None if expected is None else pytest.approx(expected.tolist()))
    assert [notice[:7] == "Warning" for notice in rows.notices] == (
        [True] if expected is None else [False][bool(unit) :]
    )


# Names of classes


def test_names_beside_a_map_in_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = tiny_arrays()[1].astype(np.uint8)
    names = {2: "Wiese", 5: "Äcker", 9: "forêt"}

    def found(key: str, values: object, texts: object, group: str = "a/b") -> dict[int, str] | None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            place = file.require_group(group)
            place["map"], place["cube"] = truth, CUBE
            for name, content in (("label_values", values), ("class_names", texts)):
                if content is not None:
                    place[name] = content
        return loaded_rows(tmp_path / "a.h5", f"{group}/{key}".strip("/")).class_names

    good = [*names], [*names.values()]
    assert found("map", *good) == found("map", *good, group="/") == names
    assert found("map", np.array([2.0, 5, 9]), good[1]) is None
    assert found("map", good[0], np.array([*map(str.encode, good[1])], "S9")) == names
    assert found("map", good[0], np.array([b"a", b"\xff", b"c"])) == {2: "a", 5: "\ufffd", 9: "c"}
    assert found("cube", *good) is None
    assert found("map", good[0], np.array([b"a\0b", b"c", b"d"], "S3")) == {2: "ab", 5: "c", 9: "d"}
    assert found("map", good[0], ["corn", "corn", "oats"]) is None
    assert found("map", [2, 2, 9], good[1]) is None
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "MOST_TEXT", 17)  # "Wiese", "Äcker" and "forêt" take 17 bytes
        assert found("map", *good) == names
        patch.setattr(hdf5, "MOST_TEXT", 16)
        assert found("map", *good) is None
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["map"], file["label_values"], file["class_names/2"] = truth, good[0], "Wiese"
    assert loaded_rows(tmp_path / "a.h5", "map").class_names is None
    for values, texts in ((None, good[1]), (good[0], None), (good[0], good[1][:2]), (good[0], [1, 2, 3]), ([], [])):
        assert found("map", values, texts) is None
    for link in (h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/passwd", "/")):
        assert found("map", good[0], link) is None
    assert found("map", 2, "Wiese") is None
    assert found("map", *good) == names
    np.save(tmp_path / "cube.npy", tiny_arrays()[0])
    scene = load_custom_scene("field", tmp_path / "cube.npy", None, tmp_path / "a.h5", "a/b/map")
    assert scene.class_names == names


# What a user sees


def test_names_of_a_strangers_file_reach_no_terminal_raw(command_line: CommandLine, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", {"\x1b[31mred": CUBE, "two\nlines": CUBE})
    outcome = command_line("dataset=custom", "dataset.name=a", f"dataset.cube_file={path}", "protocol=smoke")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "\\x1b[31mred (6, 7, 5) uint16; two\\nlines" in outcome.err and "\x1b" not in outcome.err + outcome.out


def test_a_scene_says_that_its_axes_are_in_doubt(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.mat", {"cube": CUBE, "truth": TRUTH})
    scene = load_custom_scene("a", path, "cube", ground_truth_key="truth")
    assert scene.cube.shape == CUBE.shape
    cube, truth = (notice for notice in scene.notices if "none of MATLAB's" in notice)
    assert "'cube' stay in the order of HDF5, (6, 7, 5); set dataset.axes if" in cube
    assert "'truth' stay in the order of HDF5, (6, 7); transpose it if" in truth
