"""What the readers of scene files share: windows of an array, the choice among several, damage as one sentence."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError


class Variable(NamedTuple):
    """An array in a file: key, shape as its own software shows it, type, and whether it holds real numbers."""

    key: str
    shape: tuple[int, ...]
    kind: str
    numeric: bool

    @property
    def is_picture(self) -> bool:
        """Whether it has two or more dimensions."""
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


@dataclass(frozen=True)
class Format:
    """A kind of scene file.

    Attributes:
        suffixes: Its extensions, in small letters.
        read: (path, key or None) -> the whole array, in the axis order in which its own software shows it.
        rows: (path, key or None) -> the same in windows; None where a file can only be read whole.
        matches: Whether a file with one of the extensions is of this kind; the first that says so reads it.
        order: Formats with smaller numbers are asked first.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, str | None], NDArray[Any]]
    rows: Callable[[Path, str | None], Rows] | None = None
    matches: Callable[[Path], bool] = lambda path: True
    order: int = 0


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


def chosen(path: Path, variables: list[Variable], key: str | None) -> str:
    """The key to read: the given one, or that of the only array of two or more dimensions."""
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
