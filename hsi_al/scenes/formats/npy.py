"""NumPy's .npy files, which hold one array; a key is ignored."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows, require_memory, require_real


class Header(NamedTuple):
    """What a file says about its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_bytes: int


def header(path: Path) -> Header:
    """Read the header, and check that the array is one of real numbers and as long as it says.

    Raises:
        SceneError: The array holds objects or other things than real numbers.
        EOFError: The file is shorter than the header says.
        ValueError: The header is damaged.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version} of the format is unknown")
        # Version 3 has other letters in the names of fields, which arrays of numbers don't have.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        present = path.stat().st_size - file.tell()
    if dtype.hasobject:
        raise SceneError(
            f"{path} holds pickled Python objects, which could run any program and are never loaded (allow_pickle); "
            "convert them to an array of numbers and save that."
        )
    require_real(path, None, dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    if any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} is impossible")
    if n_bytes > present:
        raise EOFError(f"its array of shape {shape} takes {n_bytes:,} bytes, but {present:,} are there")
    return Header(shape, dtype, n_bytes)


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read the array."""
    shape, _, n_bytes = header(path)
    require_memory(path, shape, n_bytes, "set dataset.in_memory=false, or free memory")
    with path.open("rb") as file:  # numpy.load would also read zip archives and pickles
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def rows(path: Path, key: str | None) -> Rows:
    """Open the array for reading in windows."""
    header(path)
    mapped = np.lib.format.open_memmap(path, mode="r")

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        part = mapped[lines, columns]
        require_memory(path, part.shape, part.nbytes, "set dataset.in_memory=false, or free memory")
        return np.array(part)

    return Rows(path, mapped.shape, mapped.dtype, window)


FORMATS = (Format((".npy",), read, rows, title="NumPy"),)
