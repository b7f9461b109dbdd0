"""One array out of a MATLAB, NumPy or HDF5 file; whatever is wrong with the file becomes one sentence."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from hsi_al.errors import SceneError

HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
# Strips may cut a row of chunks: while it fits in here, every chunk is unpacked once.
CHUNK_CACHE = {"rdcc_nbytes": 2**28, "rdcc_nslots": 100_003}
SUPPORTED_SUFFIXES = (".mat", ".npy", *HDF5_SUFFIXES)
MATLAB_NUMBERS = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


class _Variable(NamedTuple):
    key: str
    shape: tuple[int, ...]
    kind: str
    numeric: bool

    @property
    def is_picture(self) -> bool:
        # MATLAB has no vectors: a 1 x N array counts as one-dimensional here.
        return self.numeric and sum(size > 1 for size in self.shape) >= 2

    def __str__(self) -> str:
        return f"{self.key} {self.shape} {self.kind}"


@dataclass(frozen=True)
class Rows:
    """An array of two or more dimensions in a file, read in windows; close it, or leave it open as long as it is used.

    Attributes:
        path: The file.
        shape: Rows, columns, and what else there is.
        dtype: Its number type.
        source: (slice of rows, slice of columns) -> that window.
        close: Gives the file back.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    source: Callable[[slice, slice], NDArray[Any]]
    close: Callable[[], None] = lambda: None

    def read(self, first: int, last: int, left: int = 0, right: int | None = None) -> NDArray[Any]:
        """Rows from `first` to before `last`, columns from `left` to before `right`, by default all.

        Raises:
            SceneError: The file is damaged there.
        """
        with reading(self.path):
            return self.source(slice(first, last), slice(left, right))

    def blocks(self, n_bytes: int) -> Iterator[tuple[int, int]]:
        """First and last row (exclusive) of blocks of about so many bytes, of one row at least."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        yield from blocks(self.shape[0], max(1, n_bytes // max(1, row_bytes)))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) of n things, `size` at a time."""
    for first in range(0, n, size):
        yield first, min(first + size, n)


def existing_file(path: Path) -> None:
    """Refuse what cannot be a data file before any reader sees it.

    Raises:
        SceneError: The path is missing, a directory or an empty file.
    """
    if path.is_dir():
        raise SceneError(f"{path} is a directory where a file is needed; name a file inside it.")
    if not path.exists():
        raise SceneError(f"{path} does not exist; check the path or download the file.")
    if path.stat().st_size == 0:
        raise SceneError(f"{path} is empty (0 bytes); download or write it again.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure of a reader into a SceneError, and keep its warnings quiet.

    Raises:
        SceneError: The file is truncated, damaged, of another kind than its name says, or may not be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SceneError:
        raise
    except Exception as error:  # the readers raise some ten types, from zlib.error to MemoryError
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SceneError(
            f"{path} cannot be read ({cause}): it is truncated, damaged or not what its name says; "
            "download or write it again."
        ) from error


def read_array(path: Path, key: str | None = None) -> NDArray[Any]:
    """Read one array in the axis order in which its own software shows it.

    MATLAB files may be of version 4 to 7.3 (the latter is HDF5 with reversed axes); keys of HDF5 files may lie in
    groups ("a/b"). Without a key the only array of two or more dimensions is taken. `.npy` files have no keys.

    Raises:
        SceneError: The file is missing, empty, damaged or of an unknown kind, or the key gives no numeric array.
    """
    path = Path(path)
    existing_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUPPORTED_SUFFIXES:
        raise SceneError(f"{path} has the unknown extension {suffix!r}; supported are {', '.join(SUPPORTED_SUFFIXES)}.")
    with reading(path):
        if suffix == ".npy":
            array = _read_npy(path)
        elif _is_matlab73(path):
            array = _read_hdf5(path, key, matlab=True)
        elif suffix == ".mat":
            array = _read_matlab5(path, key)
        else:
            array = _read_hdf5(path, key, matlab=False)
    if array.dtype.kind not in "buif":
        raise SceneError(
            f"{path} holds values of type {array.dtype}{f' under {key!r}' if key else ''}, real numbers are needed; "
            "convert them before loading."
        )
    return array


def _is_matlab73(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(19)
    return head == b"MATLAB 7.3 MAT-file" or (path.suffix.lower() == ".mat" and bool(h5py.is_hdf5(path)))


def _read_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:  # numpy.load would also take zip archives and pickles
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _read_matlab5(path: Path, key: str | None) -> NDArray[Any]:
    variables = [
        _Variable(name, tuple(shape), kind, kind in MATLAB_NUMBERS)
        for name, shape, kind in scipy.io.whosmat(str(path), appendmat=False)
    ]
    name = _chosen(path, variables, key)
    array = scipy.io.loadmat(str(path), variable_names=[name], appendmat=False)[name]
    if not isinstance(array, np.ndarray):  # scipy hands a damaged variable back as the text of its error
        raise ValueError(array)
    return array


def _read_hdf5(path: Path, key: str | None, *, matlab: bool) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        array = np.asarray(_hdf5_dataset(file, path, key, matlab)[()])
    return array.T if matlab else array


def _hdf5_dataset(file: h5py.File, path: Path, key: str | None, matlab: bool) -> h5py.Dataset:
    variables: list[_Variable] = []

    def note(name: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("#"):  # "#refs#" holds MATLAB's own matters
            variables.append(_hdf5_variable(name, node, matlab))

    file.visititems(note)
    return file[_chosen(path, variables, key and key.strip("/"))]


def readable_in_windows(path: Path) -> bool:
    """Whether `opened_rows` reads no more of the file than it is asked for: HDF5 (MATLAB 7.3 too) and `.npy` files.

    Raises:
        SceneError: The file is missing or empty.
    """
    existing_file(path)
    return path.suffix.lower() in (".npy", *HDF5_SUFFIXES) or _is_matlab73(path)


def opened_rows(path: Path, key: str | None = None) -> Rows:
    """An array of `read_array` that is read in windows: only what is asked for, where `readable_in_windows`.

    Raises:
        SceneError: As `read_array`.
    """
    path = Path(path)
    if not readable_in_windows(path):
        array = read_array(path, key)
        return Rows(path, array.shape, array.dtype, lambda rows, columns: array[rows, columns])
    with reading(path):
        if path.suffix.lower() == ".npy":
            mapped = np.lib.format.open_memmap(path, mode="r")
            return Rows(path, mapped.shape, mapped.dtype, lambda rows, columns: np.array(mapped[rows, columns]))
        return _opened_hdf5(path, key, _is_matlab73(path))


def _opened_hdf5(path: Path, key: str | None, matlab: bool) -> Rows:
    file = h5py.File(path, "r", **CHUNK_CACHE)
    try:
        stored = _hdf5_dataset(file, path, key, matlab)
    except BaseException:
        file.close()
        raise
    if matlab:
        return Rows(path, stored.shape[::-1], stored.dtype, lambda rows, cols: stored[..., cols, rows].T, file.close)
    return Rows(path, stored.shape, stored.dtype, lambda rows, cols: stored[rows, cols], file.close)


def _hdf5_variable(name: str, node: h5py.Dataset, matlab: bool) -> _Variable:
    shape = tuple(node.shape or ())  # an HDF5 null has no shape
    kind, numeric = str(node.dtype), node.dtype.kind in "buif"
    if matlab:
        # Text and empty arrays are numbers to HDF5; only these attributes tell them apart.
        matlab_class = node.attrs.get("MATLAB_class", b"double")
        kind = matlab_class.decode() if isinstance(matlab_class, bytes) else str(matlab_class)
        numeric = numeric and kind in MATLAB_NUMBERS and "MATLAB_empty" not in node.attrs
        shape = shape[::-1]
    return _Variable(name, shape, kind, numeric)


def _chosen(path: Path, variables: list[_Variable], key: str | None) -> str:
    """Give the key to read: the one asked for, or that of the only candidate."""
    numeric = [variable.key for variable in variables if variable.numeric]
    pictures = [variable.key for variable in variables if variable.is_picture]
    if key in numeric:
        return str(key)
    if key is None and len(pictures) == 1:
        return pictures[0]
    listed = "; ".join(str(variable) for variable in variables[:12]) or "nothing"
    more = f"; and {len(variables) - 12} more" if len(variables) > 12 else ""
    if key is None:
        problem = f"{len(pictures)} numeric arrays of two or more dimensions, so a key is needed"
    elif any(variable.key == key for variable in variables):
        problem = f"no numeric array under the key {key!r}"
    else:
        problem = f"no array with the key {key!r}"
    raise SceneError(f"{path} has {problem}; it holds {listed}{more}.")
