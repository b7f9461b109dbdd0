"""Arrays inside of MATLAB's structs and cells, by dotted keys, in files of SciPy, of MATLAB and of version 7.3."""

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.formats.matlab import Stream, variables
from hsi_al.scenes.readers import opened_rows, read_array
from tests.fakes import fake_cube, fake_ground_truth

CUBE, TRUTH = fake_cube(), fake_ground_truth()
BIG = fake_cube(40, 50, 20)
# As in MUUFL Gulfport: the cube, a picture and more in a struct.
CONTENT: dict[str, Any] = {
    "before": np.arange(6.0)[None],
    "hsi": {
        "Data": CUBE,
        "info": {"wavelength": np.linspace(400, 1000, 5)[None], "note": "text", "deeper": {"cube": BIG}},
        "sceneLabels": {"labels": TRUTH.astype(np.int8)},
        "logical": TRUTH > 3,
        "small": np.uint8(7),
        "empty": np.zeros((0, 3)),
    },
    "x": np.array([[TRUTH, CUBE[:, :, 0]], ["text", CUBE.astype(np.float32)]], dtype=object),
    "s": np.array([[(CUBE,), (CUBE + 1,)]], dtype=[("Data", object)]),
    "after": CUBE[:, :, 1].astype(np.float64),
}
WITHIN: dict[str, NDArray[Any]] = {
    "hsi.Data": CUBE,
    "hsi.info.wavelength": CONTENT["hsi"]["info"]["wavelength"],
    "hsi.info.deeper.cube": BIG,
    "hsi.sceneLabels.labels": TRUTH.astype(np.int8),
    "hsi.logical": (TRUTH > 3).astype(np.uint8),
    "hsi.small": np.array([[7]], np.uint8),
    "hsi.empty": np.zeros((0, 3)),
    "x{1}": TRUTH,  # column by column, as MATLAB counts
    "x{3}": CUBE[:, :, 0],
    "x{4}": CUBE.astype(np.float32),
    "s(2).Data": CUBE + 1,
    "after": CONTENT["after"],
}


def write(path: Path, compressed: bool) -> Path:
    scipy.io.savemat(path, CONTENT, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("key", WITHIN)
def test_arrays_within_structs_and_cells(tmp_path: Path, key: str, compressed: bool) -> None:
    array = read_array(write(tmp_path / "a.mat", compressed), key)
    assert array.dtype == WITHIN[key].dtype and np.array_equal(array, WITHIN[key])


@pytest.mark.parametrize("compressed", [True, False])
def test_all_arrays_are_listed_once(tmp_path: Path, compressed: bool) -> None:
    path = write(tmp_path / "a.mat", compressed)
    found = [stored.variable for stored in variables(path, inside=True)]
    keys = [variable.key for variable in found]
    assert len(keys) == len(set(keys))
    assert {*WITHIN, "hsi", "hsi.info", "x", "x{2}", "s", "s(1).Data", "hsi.info.note"} <= set(keys)
    assert {variable.key for variable in found if variable.numeric} == {*WITHIN, "s(1).Data", "before"}
    with pytest.raises(SceneError, match=r"no array with the key 'hsi\.data'; it holds before \(1, 6\)"):
        read_array(path, "hsi.data")
    with pytest.raises(SceneError, match=r"no numeric array under the key 'hsi\.info'"):
        read_array(path, "hsi.info")
    with pytest.raises(SceneError, match=r"so a key is needed; it holds .*hsi\.Data \(6, 7, 5\) uint16"):
        read_array(path)


def test_the_only_array_of_a_struct_needs_no_key(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"hsi": {"Data": CUBE, "name": "Gulfport"}})
    assert np.array_equal(read_array(tmp_path / "a.mat"), CUBE)


def test_complex_numbers_within_a_struct_are_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"hsi": {"Data": CUBE * 1j}})
    with pytest.raises(SceneError, match=r"complex128 under 'hsi\.Data'"):
        read_array(tmp_path / "a.mat", "hsi.Data")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_struct_cut_anywhere_is_refused_or_read_right(tmp_path: Path, compressed: bool) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"h": {"a": TRUTH, "Data": CUBE}}, do_compression=compressed)
    whole = (tmp_path / "a.mat").read_bytes()
    for length in range(100, len(whole), 17):
        (tmp_path / "a.mat").write_bytes(whole[:length])
        with pytest.raises(SceneError):
            read_array(tmp_path / "a.mat", "h.Data")


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"h": {"a": TRUTH, "Data": CUBE}, "x": np.array([TRUTH, "t"], object)})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(128, len(whole) - 500)] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        for key in ("h.Data", "x{1}"):
            try:
                read_array(path, key)
            except SceneError:
                refused += 1
    assert refused > 100


def test_a_struct_array_of_too_many_entries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"s": np.array([[(1,)]], dtype=[("f", object)])})
    content = path.read_bytes()
    shape = np.array([1, 1], "<i4").tobytes()
    assert content.count(shape) >= 1
    path.write_bytes(content.replace(shape, np.array([2**30, 2**30], "<i4").tobytes(), 1))
    with pytest.raises(SceneError, match="entries"):
        read_array(path)


def test_the_stream_unpacks_piece_by_piece(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, 3 * 2**20, dtype=np.uint8).tobytes()
    (tmp_path / "x").write_bytes(zlib.compress(values))
    with (tmp_path / "x").open("rb") as file:
        stream = Stream(file, "<", True, (tmp_path / "x").stat().st_size)
        assert stream.read(10) == values[:10]
        stream.skip_to(2**20 + 5)
        assert stream.values(2**20) == values[2**20 + 5 : 2**21 + 5]
        assert stream.read(2**22) == values[2**21 + 5 :] and stream.read(1) == b""
        with pytest.raises(EOFError):
            stream.skip_to(2**22)


def real(name: str) -> Path:
    """A file that MATLAB wrote, among SciPy's tests."""
    path = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data" / name
    if not path.is_file():
        pytest.skip("this SciPy comes without its tests")
    return path


@pytest.mark.parametrize("system", ["6.1_SOL2", "7.1_GLNX86", "7.4_GLNX86"])  # SOL2 is big endian
def test_structs_and_cells_that_matlab_wrote(system: str) -> None:
    nested = real(f"teststructnest_{system}.mat")
    assert read_array(nested, "teststructnest.one").tolist() == [[1]]
    with pytest.raises(SceneError, match=r"teststructnest\.two\.three \(1, 8\) char"):
        read_array(nested)
    cell = scipy.io.loadmat(real(f"testcell_{system}.mat"))["testcell"].ravel()
    keys = [stored.variable for stored in variables(real(f"testcell_{system}.mat"), inside=True)]
    for number, entry in enumerate(cell, start=1):
        if (found := next((v for v in keys if v.key == f"testcell{{{number}}}"), None)) and found.numeric:
            assert np.array_equal(read_array(real(f"testcell_{system}.mat"), f"testcell{{{number}}}"), entry)


def write_73(path: Path) -> Path:
    """As MATLAB lays out structs and cells in version 7.3: groups, and references to what is in #refs#."""
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(key: str, array: NDArray[Any], kind: str) -> None:
            file.create_dataset(key, data=array.T).attrs["MATLAB_class"] = np.bytes_(kind)

        put("hsi/Data", CUBE, "uint16")
        put("hsi/info/deeper/cube", BIG, "uint16")
        file["hsi"].attrs["MATLAB_class"] = np.bytes_("struct")
        put("#refs#/a", TRUTH, "uint8")
        put("#refs#/b", CUBE[:, :, 0], "uint16")
        put("#refs#/c", np.array([[116]], np.uint16), "char")
        put("#refs#/d/inner", CUBE[:, :, 1], "uint16")
        cells = file.create_dataset("x", (2, 2), h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        # MATLAB's x{2} is in row 2 of column 1, which HDF5 has as [0, 1]
        cells[0, 0], cells[0, 1] = file["#refs#/a"].ref, file["#refs#/c"].ref
        cells[1, 0], cells[1, 1] = file["#refs#/b"].ref, file["#refs#/d"].ref
        data = file.create_dataset("s/Data", (2, 1), h5py.ref_dtype)
        data[0, 0], data[1, 0] = file["#refs#/a"].ref, file["#refs#/b"].ref
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)
    return path


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("hsi.Data", CUBE),
        ("hsi/Data", CUBE),
        ("hsi.info.deeper.cube", BIG),
        ("x{1}", TRUTH),
        ("x{3}", CUBE[:, :, 0]),
        ("x{4}.inner", CUBE[:, :, 1]),
        ("s.Data{2}", CUBE[:, :, 0]),
    ],
)
def test_structs_and_cells_of_version_73(tmp_path: Path, key: str, expected: NDArray[Any]) -> None:
    path = write_73(tmp_path / "a.mat")
    assert np.array_equal(read_array(path, key), expected)
    with opened_rows(path, key) as rows:
        assert rows.shape == expected.shape and np.array_equal(rows.read(1, 3), expected[1:3])


def test_what_is_not_in_a_file_of_version_73(tmp_path: Path) -> None:
    path = write_73(tmp_path / "a.mat")
    with pytest.raises(SceneError) as caught:
        read_array(path, "x{5}")
    assert "no array with the key 'x{5}'" in str(caught.value) and "x{1} (6, 7) uint8" in str(caught.value)
    for key in ("x{0}", "x{2}", "x", "hsi", "hsi.data", "x{99999999999}", "x{1}{1}"):
        with pytest.raises(SceneError, match="array"):
            read_array(path, key)
