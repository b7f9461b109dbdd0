"""NumPy's files: .npy holds one array, so that a key is ignored; .npz is a zip archive of such files by their keys."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import MOST_OBJECTS, Format, Rows, Variable, chosen, require_memory, require_real

MOST_HEADER = 2**16  # bytes


class Header(NamedTuple):
    """What a file says about its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_bytes: int


def header_in(file: IO[bytes], size: int) -> Header:
    """Read the header of an open file of this many bytes, and check that the array is as long as it says.

    Raises:
        EOFError: The file is shorter than the header says.
        ValueError: The header is damaged.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is unknown")
    if version != (1, 0):  # NumPy reads headers of gigabytes
        start = file.tell()
        if (length := int.from_bytes(file.read(4), "little")) > MOST_HEADER:
            raise ValueError(f"a header of {length:,} bytes is impossible")
        file.seek(start)
    # Version 3 has other letters in the names of fields, which arrays of numbers don't have.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    present = size - file.tell()
    n_bytes = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape):
        raise ValueError(f"the shape {shape} is impossible")
    if n_bytes > present and not dtype.hasobject:
        raise EOFError(f"its array of shape {shape} takes {n_bytes:,} bytes, but {present:,} are there")
    return Header(shape, dtype, n_bytes)


def header(path: Path) -> Header:
    """Read the header of a .npy file, and check that its array is one of real numbers.

    Raises:
        SceneError: The array holds objects or other things than real numbers.
        EOFError: The file is shorter than the header says.
        ValueError: The header is damaged.
    """
    with path.open("rb") as file:
        found = header_in(file, path.stat().st_size)
    if found.dtype.hasobject:
        raise SceneError(
            f"{path} holds pickled Python objects, which could run any program and are never loaded (allow_pickle); "
            "convert them to an array of numbers and save that."
        )
    require_real(path, None, found.dtype)
    return found


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


def variables(path: Path) -> list[Variable]:
    """List the arrays of an archive."""
    return [variable_of(name, found) for name, found in headers(path).items()]


def variable_of(name: str, found: Header) -> Variable:
    """Describe the array of a file of an archive."""
    numeric = found.dtype.kind in "buif" and found.dtype.itemsize <= 8
    kind = "pickled objects" if found.dtype.hasobject else str(found.dtype)
    return Variable(name.removesuffix(".npy"), found.shape, kind, numeric)


def headers(path: Path, key: str | None = None) -> dict[str, Header]:
    """Return the headers of the files of an archive by their names; other files than .npy are passed over.

    With a key that is there only of its file, so that others may be damaged.

    Raises:
        ValueError: The archive holds more files than `MOST_OBJECTS`, or a header is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        items = [item for item in archive.infolist() if item.filename.endswith(".npy")]
        items = [item for item in items if item.filename == f"{key}.npy"] or items
        if len(items) > MOST_OBJECTS:
            raise ValueError(f"it holds more than {MOST_OBJECTS:,} arrays")
        found = {}
        for item in items:
            with archive.open(item) as file:
                found[item.filename] = header_in(file, item.file_size)
        return found


def read_archive(path: Path, key: str | None) -> NDArray[Any]:
    """Read the array with this key, or the only numeric one of two or more dimensions."""
    found = headers(path, key)
    name = f"{chosen(path, [variable_of(name, one) for name, one in found.items()], key)}.npy"
    way_out = "save it as .npy and set dataset.in_memory=false, or free memory"
    require_memory(path, found[name].shape, found[name].n_bytes, way_out)
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


FORMATS = (
    Format((".npy",), read, rows, title="NumPy"),
    Format((".npz",), read_archive, title="NumPy archive", variables=variables),
)
