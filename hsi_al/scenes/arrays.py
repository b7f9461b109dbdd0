"""Parts shared by the readers of scene files: windows of an array, the choice of a key, failures as a SceneError."""

import errno
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError, system_error
from hsi_al.memory import free_memory
from hsi_al.scenes.georeference import Georeference

SMALL_BYTES = 2**26  # are read without asking for the free memory
MOST_OBJECTS = 10_000  # of a file that are looked through
# Errors of the system that don't say that the file is unreadable for now: damaged files cause them, too.
OF_THE_FILE = (errno.EINVAL, errno.EOVERFLOW)
LOCKED = (errno.EAGAIN, errno.EDEADLK)
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
FORBIDDEN = (errno.EACCES, errno.EPERM)
ANY = ("*",)  # suffixes of a format that is told by its content alone


class Variable(NamedTuple):
    """Description of an array in a file.

    Attributes:
        key: Name of the array in the file.
        shape: Axis sizes in the order of the software that wrote the file (MATLAB's order for .mat files).
        kind: Name of the value type.
        numeric: Whether the values are real numbers.
    """

    key: str
    shape: tuple[int, ...]
    kind: str
    numeric: bool

    @property
    def is_picture(self) -> bool:
        """Whether the array is numeric and has two or more dimensions longer than 1."""
        # MATLAB stores vectors as 1 x N arrays, which count as one-dimensional here.
        return self.numeric and sum(size > 1 for size in self.shape) >= 2

    def __str__(self) -> str:
        return f"{self.key} {self.shape} {self.kind}"


@dataclass(frozen=True)
class Rows:
    """An array of two or more dimensions in a file, read in windows; a context manager that closes the file.

    Attributes:
        path: The file.
        shape: Rows, columns, and any further axes.
        dtype: Number type of the array.
        source: Function (slice of rows, slice of columns) -> values of that window.
        close: Function that closes the file.
        no_data: Value that stands for missing data, as the file says; None = it says nothing.
        notices: What is suspicious about the array, one sentence each.
        wavelengths: Band centres in nm, as the file says; None = it says nothing.
        bad_bands: Bands (from 0) that the file marks as bad.
        rgb_bands: Bands (from 0) that the file shows as red, green and blue; None = it says nothing.
        georeference: Where the grid lies; None = the file doesn't say.
        is_raster: Whether the format itself orders the axes: rows, columns, bands (also with a single band).
        class_names: Names of the values of a classification, as the file says; None = it says nothing.
        class_colours: Red, green and blue (0 to 255) of the values of a classification; None = it says nothing.
        centres_beside: Function (number of bands) -> band centres that another array of the file holds, and notices.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    source: Callable[[slice, slice], NDArray[Any]]
    close: Callable[[], None] = lambda: None
    no_data: float | None = None
    notices: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] | None = None
    bad_bands: tuple[int, ...] = ()
    rgb_bands: tuple[int, int, int] | None = None
    georeference: Georeference | None = None
    is_raster: bool = False
    class_names: dict[int, str] | None = None
    class_colours: dict[int, tuple[int, int, int]] | None = None
    centres_beside: Callable[[int], tuple[tuple[float, ...] | None, tuple[str, ...]]] | None = None

    def read(self, first: int, last: int, left: int = 0, right: int | None = None) -> NDArray[Any]:
        """Read rows `first` to `last` - 1 and columns `left` to `right` - 1, by default all columns.

        Raises:
            SceneError: The file is damaged in this window.
        """
        with reading(self.path):
            return self.source(slice(first, last), slice(left, right))

    def blocks(self, n_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield first and last row (exclusive) of consecutive blocks of at most `n_bytes` bytes, or of one row."""
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        yield from blocks(self.shape[0], max(1, n_bytes // max(1, row_bytes)))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield first and last index (exclusive) of consecutive blocks of `size` out of n items."""
    for first in range(0, n, size):
        yield first, min(first + size, n)


@dataclass(frozen=True)
class Format:
    """A file format for scenes.

    Attributes:
        suffixes: File extensions, in lower case; `ANY` = the content alone decides.
        read: Function (path, key or None) -> the whole array, in the axis order of the software that writes the format.
        rows: Function (path, key or None) -> the same array as `Rows`; None if a file can only be read whole.
        matches: Function (path) -> whether a file with one of the extensions is of this format; the first format that
            matches reads the file.
        order: Formats with smaller numbers are tried first.
        folders: Whether the format is one of folders, too: `matches` is then asked about them.
        title: Name of the format, for people.
        variables: Function (path) -> what a file holds under its keys; None = a file holds one array.
        unit: Function (path, key) -> unit of the values of an array, as the file writes it; "" = it names none.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, str | None], NDArray[Any]]
    rows: Callable[[Path, str | None], Rows] | None = None
    matches: Callable[[Path], bool] = lambda path: True
    order: int = 0
    folders: bool = False
    title: str = ""
    variables: Callable[[Path], list[Variable]] | None = None
    unit: Callable[[Path, str], str] = lambda path, key: ""


def whole(rows: Callable[[Path, str | None], Rows]) -> Callable[[Path, str | None], NDArray[Any]]:
    """Return a function that reads all of the array that `rows` opens."""

    def read(path: Path, key: str | None) -> NDArray[Any]:
        with rows(path, key) as found:
            return found.source(slice(None), slice(None))

    return read


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any exception of a file reader inside this context into a SceneError, and silence the reader's warnings.

    Raises:
        SceneError: The file can't be read; the sentence names the cause and the way out.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SceneError:
        raise
    except Exception as error:  # the readers raise some ten types, from zlib.error to MemoryError
        raise SceneError(f"{path} {failure(error)}.") from error


def failure(error: Exception) -> str:
    """Return what an exception of a reader says about the file, and the way out; a file isn't blamed for the system."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if isinstance(error, MemoryError) or "memory allocation failed" in cause:
        return (
            f"does not fit into the free memory ({cause}); close other programs, or set dataset.in_memory=false for a "
            "cube in a raster, HDF5 or .npy file"
        )
    if isinstance(error, RecursionError):
        return "is too deeply nested to be read; write its array to a file of its own"
    if (number := system_error(error)) not in (None, *OF_THE_FILE):
        return of_the_system(number or 0)
    if isinstance(error, EOFError) or "truncated" in cause:
        return f"cannot be read ({cause}): it is truncated; download or write it again"
    return f"cannot be read ({cause}): it is damaged or not what its name says; download or write it again"


def of_the_system(number: int) -> str:
    """Return what an error of the system says about reading a file, and the way out."""
    if number in LOCKED:
        return "is in use by another program, which has locked it; close it there, or try again when that is done"
    if number in FORBIDDEN:
        return f"may not be read ({os.strerror(number)}); change its permissions, or those of its folder"
    if number in (errno.ENOLCK, errno.ENOSYS):
        return "lies on a file system that can't lock files; set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
    if number in ABSENT:
        return "does not exist; check the path or download the file"
    return (
        f"cannot be read at the moment ({os.strerror(number)}), which need not be the file's fault; check the disk or "
        "the network, and try again"
    )


def require_memory(path: Path, shape: Sequence[int], n_bytes: int, way_out: str) -> None:
    """Raise SceneError if the values of an array, or of a window of it, outgrow the free memory."""
    if n_bytes > SMALL_BYTES and n_bytes > (free := free_memory()):
        raise SceneError(
            f"{path}: an array of shape {tuple(shape)} takes {n_bytes:,} bytes, but {free:,} bytes of memory are free; "
            f"{way_out}."
        )


def require_real(path: Path, key: str | None, dtype: np.dtype[Any]) -> None:
    """Raise SceneError if values of this type are no real numbers of 64 bits at most."""
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise SceneError(
            f"{path} holds values of type {dtype}{f' under {key!r}' if key else ''}, real numbers of "
            "at most 64 bits are needed; convert them before loading."
        )


def chosen(path: Path, variables: list[Variable], key: str | None) -> str:
    """Choose the key to read: the given one, or that of the only numeric array of two or more dimensions.

    Raises:
        SceneError: No numeric array has the key, or no key is given and not exactly one such array exists.
    """
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
