"""MATLAB files of versions 4 to 7; files of version 7.3 are HDF5, see `hdf5.py`.

SciPy trusts the sizes that a file claims. Here they are read first and compared with the file and the free memory, and
SciPy only loads what can be there. Arrays inside of structs and cells are read here, by keys such as `hsi.Data`,
`s(2).Data` and `x{1}`, counted from 1 as in MATLAB.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

import numpy as np
import scipy.io
from numpy.typing import NDArray

from hsi_al.scenes.arrays import MOST_OBJECTS, Format, Variable, chosen, require_memory, require_real

MATLAB_NUMBERS = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
# Numbers in the files -> MATLAB's classes, and the types that values are stored in.
NAMES = "cell struct object char sparse double single int8 uint8 int16 uint16 int32 uint32 int64 uint64 function opaque"
CLASSES = dict(enumerate(NAMES.split(), start=1))
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
STORED_IN_4 = ("f8", "f4", "i4", "i2", "u2", "u1")
MATRIX, COMPRESSED, COMPLEX, LOGICAL = 14, 15, 0x0800, 0x0200
HEAD_BYTES = 4096  # of a variable, which hold its class, shape, name and the size of its values
MOST_INFLATED = 1100  # times its size at most is what zlib can compress
MOST_NESTED = 32
MOST_ENTRIES = 10**6  # of a struct or cell array
PIECE_BYTES = 2**20
Order = Literal["<", ">"]


class Readable(Protocol):
    """Something to read from."""

    def read(self, n: int, /) -> bytes:
        """Read n bytes, or what is left."""


class Stored(NamedTuple):
    """A variable as its file describes it.

    Attributes:
        variable: Name, shape and class.
        is_complex: Whether its numbers have an imaginary part.
        dtype: Type in which its values are stored; None = no type of numbers.
        n_bytes: Size of the values.
        packed: Size of the variable in the file.
    """

    variable: Variable
    is_complex: bool
    dtype: np.dtype[Any] | None
    n_bytes: int
    packed: int


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read the variable with this key, or the only numeric one of two or more dimensions."""
    found = variables(path)
    if key is None or key not in [stored.variable.key for stored in found]:
        found = variables(path, inside=True)
    name = chosen(path, [stored.variable for stored in found], key)
    stored = next(stored for stored in found if stored.variable.key == name)
    require_possible(path, stored)
    if any(mark in name for mark in ".{("):
        return inner_values(path, name)
    array = scipy.io.loadmat(str(path), variable_names=[name], appendmat=False)[name]
    if not isinstance(array, np.ndarray):  # for a damaged variable scipy returns the text of the error
        raise ValueError(array)
    return array


def require_possible(path: Path, stored: Stored) -> None:
    """Check that a variable's values are real numbers, as many as its shape says, and fit into file and memory.

    Raises:
        SceneError: They are complex numbers, or outgrow the free memory.
        ValueError: The variable is damaged.
    """
    (name, shape, kind, _), dtype = stored.variable, stored.dtype
    if stored.is_complex:
        require_real(path, name, np.dtype("c8" if kind == "single" else "c16"))
    if dtype is None or stored.n_bytes != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} of shape {shape} has {stored.n_bytes:,} bytes of values")
    if stored.n_bytes > MOST_INFLATED * stored.packed:
        raise ValueError(f"{name!r} has {stored.n_bytes:,} bytes of values in {stored.packed:,} bytes of the file")
    way_out = "save it with MATLAB's -v7.3 and set dataset.in_memory=false, or free memory"
    require_memory(path, shape, stored.n_bytes, way_out)


def variables(path: Path, inside: bool = False) -> list[Stored]:
    """List the variables of a file without loading them.

    Args:
        path: The file.
        inside: Whether to list the arrays in structs and cells, too.

    Raises:
        EOFError: The file is truncated.
        ValueError: The file is damaged, or no MATLAB file.
    """
    size, found = path.stat().st_size, []
    with path.open("rb") as file:
        of_version_4 = b"\0" in file.read(4)
        for stored in _version4(file, size) if of_version_4 else _version5(file, size, inside):
            found.append(stored)
            if len(found) > MOST_OBJECTS:
                raise ValueError(f"it holds more than {MOST_OBJECTS:,} variables")
    return found


def inner_values(path: Path, name: str) -> NDArray[Any]:
    """Read an array inside of a struct or cell, named as `variables` does."""
    top = re.split(r"[.{(]", name, maxsplit=1)[0]
    with path.open("rb") as file:
        for order, kind, length in _elements(file, path.stat().st_size):
            stream = Stream(file, order, kind == COMPRESSED, length)
            for stored in stream.arrays(top, name):
                if stored.variable.key == name and stored.dtype is not None:
                    numbers = np.frombuffer(stream.values(stored.n_bytes), stored.dtype.newbyteorder(order))
                    kept = {"double": "f8", "single": "f4", "logical": "u1"}.get(stored.variable.kind)
                    return numbers.astype(kept or stored.variable.kind).reshape(stored.variable.shape, order="F")
    raise ValueError(f"{name!r} is no longer there")


def _elements(file: BinaryIO, size: int) -> Iterator[tuple[Order, int, int]]:
    """Yield byte order, kind and length of the elements of a file, and stand at the beginning of each."""
    file.seek(124)
    version = file.read(4)
    if version not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise ValueError(f"its version is {version!r}")
    order: Order = "<" if version.endswith(b"IM") else ">"
    position = 128
    while position < size:
        file.seek(position)
        kind, length = struct.unpack(f"{order}II", _exactly(file, 8))
        position += 8 + length
        if position > size:
            raise EOFError(f"{size:,} of at least {position:,} bytes are there")
        yield order, kind, length


def _version5(file: BinaryIO, size: int, inside: bool) -> Iterator[Stored]:
    for order, kind, length in _elements(file, size):
        begin = file.tell()
        head = file.read(min(length, HEAD_BYTES))
        if kind == COMPRESSED:
            head = zlib.decompressobj().decompress(head, HEAD_BYTES)
            inner, head = struct.unpack_from(f"{order}I", head)[0], head[8:]
        else:
            inner = kind
        if inner != MATRIX:
            raise ValueError(f"an element of type {inner} is no variable")
        stored = _described(BytesIO(head), order, length)
        yield stored
        if inside and stored.variable.kind in ("struct", "cell"):
            file.seek(begin)
            stream = Stream(file, order, kind == COMPRESSED, length)
            yield from (found for found in stream.arrays() if found.variable.key != stored.variable.key)


class Stream:
    """A variable of a file, read from its beginning to its end and unpacked on the way, in little memory.

    Args:
        file: The file, at the beginning of the element's content.
        order: Byte order.
        packed: Whether the element is compressed.
        length: Its length in the file.
    """

    def __init__(self, file: BinaryIO, order: Order, packed: bool, length: int) -> None:
        self.file, self.order, self.length = file, order, length
        self.left = length  # bytes of the element in the file that are unread
        self.unpacker = zlib.decompressobj() if packed else None
        self.position = 0  # in the unpacked element

    def read(self, n: int) -> bytes:
        """Read n bytes, or what is left."""
        if self.unpacker is None:
            found = self.file.read(min(n, self.left))
            self.left -= len(found)
        else:
            parts, missing = [], n
            while missing > 0 and not self.unpacker.eof:
                packed = self.unpacker.unconsumed_tail
                if not packed:
                    packed = self.file.read(min(PIECE_BYTES, self.left))
                    self.left -= len(packed)
                part = self.unpacker.decompress(packed, missing)
                if not part and not packed:
                    break
                parts.append(part)
                missing -= len(part)
            found = b"".join(parts)
        self.position += len(found)
        return found

    def skip_to(self, position: int) -> None:
        """Leave out what lies before a position.

        Raises:
            EOFError: The element ends before.
        """
        while self.position < position:
            if not self.read(min(PIECE_BYTES, position - self.position)):
                raise EOFError(f"{position - self.position:,} bytes of a variable are missing")

    def values(self, n: int) -> bytes:
        """Read n bytes of values.

        Raises:
            EOFError: There are fewer.
        """
        found = self.read(n)
        if len(found) < n:
            raise EOFError(f"{n - len(found):,} bytes of a variable's values are missing")
        return found

    def arrays(self, top: str | None = None, wanted: str = "") -> Iterator[Stored]:
        """Yield the variable and all arrays inside of it; the stream then stands at the values of the last one.

        Args:
            top: Name of the variable; nothing is yielded for another one; None = whatever it is.
            wanted: Name of the array that is looked for: others aren't entered; "" = all are.
        """
        end = None
        if self.unpacker is not None:
            kind, length = struct.unpack(f"{self.order}II", self.values(8))
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} is no variable")
            end = self.position + length
        yield from self._matrix(self.position + self.length if end is None else end, "", top, wanted, 0)

    def _matrix(self, end: int, name: str, top: str | None, wanted: str, depth: int) -> Iterator[Stored]:
        if depth > MOST_NESTED:
            raise RecursionError
        stored = _described(self, self.order, self.length)
        variable = stored.variable
        name = name or variable.key
        if top is not None and depth == 0 and name != top:
            return
        yield stored._replace(variable=variable._replace(key=name))
        n = math.prod(variable.shape) if variable.kind in ("struct", "cell") else 0
        if n > MOST_ENTRIES:
            raise ValueError(f"{name!r} has {n:,} entries")
        if variable.kind == "struct":
            fields = self._fields() if n else []
            for number in range(1, n + 1):
                for field in fields:
                    inner = f"{name}.{field}" if n == 1 else f"{name}({number}).{field}"
                    yield from self._inner(inner, end, wanted, depth)
        elif variable.kind == "cell":
            for number in range(1, n + 1):
                yield from self._inner(f"{name}{{{number}}}", end, wanted, depth)
        self.skip_to(end)

    def _inner(self, name: str, end: int, wanted: str, depth: int) -> Iterator[Stored]:
        """Yield an array inside of another one and what is in it, or skip it."""
        kind, length = struct.unpack(f"{self.order}II", self.values(8))
        inner_end = self.position + length
        if kind != MATRIX or inner_end > end:
            raise ValueError(f"{name!r} is no variable")
        is_on_the_way = not wanted or wanted == name or (wanted.startswith(name) and wanted[len(name)] in ".{(")
        if length and is_on_the_way:
            yield from self._matrix(inner_end, name, None, wanted, depth + 1)
        self.skip_to(inner_end)

    def _fields(self) -> list[str]:
        """Read the names of a struct's fields."""
        _, length, padding = _tag(self, self.order)
        (size,) = struct.unpack(f"{self.order}i", _exactly(self, length, padding))
        _, length, padding = _tag(self, self.order)
        if not 0 < size <= 128 or length > MOST_OBJECTS * size or padding < 0:
            raise ValueError("the fields of a struct are damaged")
        names = self.values(length)
        self.values(padding)
        return [names[place : place + size].partition(b"\0")[0].decode("latin1") for place in range(0, length, size)]


def _described(head: Readable, order: str, packed: int) -> Stored:
    """Read class, shape, name and size of the values from the beginning of a variable."""
    kind_of_flags, length, flags, _ = struct.unpack(f"{order}4I", _exactly(head, 16))
    if (kind_of_flags, length) != (6, 8):
        raise ValueError("an element is no variable")
    kind = CLASSES.get(flags & 0xFF, "unknown")
    shape: tuple[int, ...] = ()
    if kind != "opaque":
        sizes = _exactly(head, *_tag(head, order)[1:])
        shape = tuple(np.frombuffer(sizes, f"{order}i4").tolist())
    name = _exactly(head, *_tag(head, order)[1:]).decode("latin1")
    numeric = kind in MATLAB_NUMBERS
    if kind in (*MATLAB_NUMBERS, "struct", "cell") and any(size < 0 for size in shape):
        raise ValueError(f"{name!r} has the impossible shape {shape}")
    stored, n_bytes, _ = _tag(head, order) if numeric else (0, 0, 0)
    dtype = np.dtype(STORED[stored]) if stored in STORED else None
    kind = "logical" if flags & LOGICAL else kind
    return Stored(Variable(name, shape, kind, numeric), bool(flags & COMPLEX), dtype, n_bytes, packed)


def _tag(head: Readable, order: str) -> tuple[int, int, int]:
    """Read type and size of an element, and the bytes that fill it up; up to 4 bytes lie in the tag itself."""
    (first,) = struct.unpack(f"{order}I", _exactly(head, 4))
    if first >> 16:
        return first & 0xFFFF, first >> 16, 4 - (first >> 16)
    (length,) = struct.unpack(f"{order}I", _exactly(head, 4))
    return first, length, -length % 8


def _exactly(file: Readable, n: int, padding: int = 0) -> bytes:
    """Read n bytes and those that fill them up.

    Raises:
        EOFError: There are fewer, or they don't lie within the head of a variable.
    """
    found = file.read(n) if 0 <= n <= HEAD_BYTES and 0 <= padding < 8 else b""
    if len(found) < n or padding < 0:
        raise EOFError(f"{n:,} bytes of a variable's description are missing")
    file.read(padding)
    return found


def _version4(file: BinaryIO, size: int) -> Iterator[Stored]:
    file.seek(0)
    order = "<" if 0 <= struct.unpack("<i", _exactly(file, 4))[0] <= 5000 else ">"
    position = 0
    while position < size:
        file.seek(position)
        mopt, rows, columns, imaginary, length = struct.unpack(f"{order}5i", _exactly(file, 20))
        stored, kind = mopt // 10 % 10, mopt % 10
        if not 0 <= mopt < 2000 or mopt // 100 % 10 or stored > 5 or kind > 2 or min(rows, columns, length - 1) < 0:
            raise ValueError("it is no MATLAB file, or damaged")
        name = _exactly(file, length).rstrip(b"\0").decode("latin1")
        dtype = np.dtype(STORED_IN_4[stored])
        n_bytes = rows * columns * dtype.itemsize
        position += 20 + length + n_bytes * (2 if imaginary else 1)
        if position > size:
            raise EOFError(f"{size:,} of at least {position:,} bytes are there")
        variable = Variable(name, (rows, columns), ("double", "char", "sparse")[kind], kind == 0)
        yield Stored(variable, bool(imaginary), dtype, n_bytes, n_bytes)


def listed(path: Path) -> list[Variable]:
    """List the arrays of a file."""
    return [stored.variable for stored in variables(path, inside=True)]


FORMATS = (Format((".mat",), read, order=1, title="MATLAB", variables=listed),)  # tried after MATLAB 7.3
