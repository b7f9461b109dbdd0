"""HDF5 files, and MATLAB files of version 7.3, which are HDF5 with reversed axes; keys may lie in groups ("a/b").

A file may come from anybody: links and datasets that lead to other files are refused, and sizes are compared with what
is there before memory is taken for them.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import MOST_OBJECTS, Format, Rows, Variable, chosen, require_memory, whole
from hsi_al.scenes.formats.matlab import MATLAB_NUMBERS

SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4")
MATLAB_HEADER = b"MATLAB 7.3 MAT-file"
# A strip of rows may end inside a row of chunks; a cache that holds such a row unpacks every chunk only once.
CHUNK_CACHE = {"rdcc_nbytes": 2**28, "rdcc_nslots": 100_003}
NO_DATA = ("_FillValue", "missing_value", "NoData")
# A dataset that claims more than this, and more than so many times what is stored, was never written.
LARGE_BYTES, MOST_PACKED = 2**34, 5000
CELL = re.compile(r"(.+?)[{(](\d{1,9})[})]")
MOST_NAMES, MOST_NAME, MOST_TEXT = 2**16, 1000, 2**24  # classes, bytes of a name, and of all
MOST_CELLS = 100  # of a cell array that are listed
HEAP, MOST_SCANNED = b"GCOL\x01\0\0\0", 2**30


def has_matlab_header(path: Path) -> bool:
    """Return whether a file begins as MATLAB writes files of version 7.3."""
    with path.open("rb") as file:
        return file.read(len(MATLAB_HEADER)) == MATLAB_HEADER


def is_hdf5(path: Path) -> bool:
    """Return whether a file is one of HDF5, or of MATLAB 7.3 even if it is damaged."""
    return has_matlab_header(path) or bool(h5py.is_hdf5(path))


def may_be_product(path: Path) -> bool:
    """Return whether a file may be that of a product: one of HDF5, but not of MATLAB."""
    return not has_matlab_header(path) and bool(h5py.is_hdf5(path))


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read the dataset with this key, or the only numeric one of two or more dimensions."""
    with h5py.File(path, "r") as file:
        dataset = chosen_dataset(file, path, key)
        array = values(path, dataset)
        return array.T if is_of_matlab(path, dataset) else array


def rows(path: Path, key: str | None) -> Rows:
    """Open the dataset that `read` reads, for reading in windows."""
    file = h5py.File(path, "r", **CHUNK_CACHE)
    try:
        stored = chosen_dataset(file, path, key)
        shape, source = stored.shape, lambda lines, cols: values(path, stored, {0: lines, 1: cols})
        if is_of_matlab(path, stored):
            shape, source = shape[::-1], lambda lines, cols: values(path, stored, {-1: lines, -2: cols}).T
        return Rows(
            path,
            shape,
            stored.dtype,
            source,
            file.close,
            no_data_in(stored),
            notices_of(path, stored),
            class_names=class_names(file, path, stored) if stored.ndim == 2 else None,
        )
    except BaseException:
        file.close()
        raise


def product(cube_of: Callable[[h5py.File, Path], Rows]) -> Callable[[Path, str | None], Rows]:
    """Return a function that opens a product's cube for reading in windows; with a key, an array of the file instead.

    Args:
        cube_of: Describes the cube in the open file of a path; after an error the file is closed.
    """

    def rows_of(path: Path, key: str | None) -> Rows:
        if key is not None:
            return rows(path, key)
        file = h5py.File(path, "r", **CHUNK_CACHE)
        try:
            return cube_of(file, path)
        except BaseException:
            file.close()
            raise

    return rows_of


def read_product(rows_of: Callable[[Path, str | None], Rows]) -> Callable[[Path, str | None], NDArray[Any]]:
    """Return a function that reads the cube that `rows_of` opens without a key; with one, an array of the file."""

    def read_either(path: Path, key: str | None) -> NDArray[Any]:
        return (whole(rows_of) if key is None else read)(path, key)

    return read_either


def bands_first(path: Path, dataset: h5py.Dataset) -> Callable[[slice, slice], NDArray[Any]]:
    """Return the windows (rows, columns, bands) of a dataset whose axes are bands, rows, columns, as `Rows.source`."""

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        return np.ascontiguousarray(values(path, dataset, {1: lines, 2: columns}).transpose(1, 2, 0))

    return window


def class_names(file: h5py.File, path: Path, dataset: h5py.Dataset) -> dict[int, str] | None:
    """Return the names of the values of a map, as this package writes them: `label_values`, `class_names` beside it.

    Returns:
        The names; None where there are none, no such pair of lists, or two classes of one name.
    """
    keys = [f"{dataset.parent.name.strip('/')}/{name}".strip("/") for name in ("label_values", "class_names")]
    if not all(isinstance(file.get(key, getlink=True), h5py.HardLink) for key in keys):
        return None
    try:
        numbers, texts = (own_dataset(file, path, key) for key in keys)
        if not 0 < numbers.size == texts.size <= MOST_NAMES or numbers.dtype.kind not in "iu":
            return None
        require_sound_heaps(path)
        names, left = list[str](), MOST_TEXT
        for place in range(texts.size):  # one by one: many may be one long text in the file
            name = texts[place]
            left -= len(name)
            if left < 0:
                return None
            names.append(name[:MOST_NAME].decode("utf-8", "replace").replace("\0", ""))
        found = dict(zip(values(path, numbers).tolist(), names, strict=True))
        return found if len(set(names)) == len(found) == len(names) else None
    except (SceneError, LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError, MemoryError):
        return None


def is_of_matlab(path: Path, dataset: h5py.Dataset) -> bool:
    """Return whether MATLAB wrote a dataset, so that its axes are reversed; the file's name doesn't decide it."""
    return "MATLAB_class" in dataset.attrs or has_matlab_header(path)


def notices_of(path: Path, dataset: h5py.Dataset) -> tuple[str, ...]:
    """Say where the order of a dataset's axes is in doubt."""
    name = dataset.name.strip("/")
    remedy = "set dataset.axes" if dataset.ndim == 3 else "transpose it"
    if not is_of_matlab(path, dataset) and path.suffix.lower() == ".mat":
        return (
            f"Warning: {path} is an HDF5 file but none of MATLAB's, so the axes of {name!r} stay in the order of HDF5, "
            f"{dataset.shape}; {remedy} if that is wrong.",
        )
    if "MATLAB_class" not in dataset.attrs and has_matlab_header(path):
        return (
            f"Warning: {path} is a file of MATLAB, but MATLAB may not have written {name!r}; its axes are read in "
            f"MATLAB's order, {dataset.shape[::-1]}; {remedy} if that is wrong.",
        )
    return ()


def no_data_in(dataset: h5py.Dataset) -> float | None:
    """Return the value that stands for missing data in a dataset, or None.

    It is an attribute `_FillValue`, `missing_value` or `NoData`, else a fill value other than 0 that its writer chose.
    """
    for name in NO_DATA:
        if (found := number(attribute(dataset, name))) is not None:
            return found
    if dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
        return number(dataset.fillvalue) or None  # 0 is what HDF5 fills with anyway
    return None


def attribute(node: Any, name: str) -> Any:  # noqa: ANN401
    """Return an attribute of a file, group or dataset; None if there is none.

    Raises:
        ValueError: HDF5 would never come back from reading it.
    """
    if name not in node.attrs:
        return None
    if node.attrs.get_id(name).dtype.kind == "O":
        require_sound_heaps(Path(node.file.filename))
    return node.attrs[name]


def require_sound_heaps(path: Path) -> None:
    """Check the heaps that hold strings of any length: of a free piece of 0 bytes, HDF5 looks for the end for ever.

    Files of more than `MOST_SCANNED` bytes are not looked through.

    Raises:
        ValueError: A heap is damaged.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        start = content.find(HEAP, 0, MOST_SCANNED)
        while start >= 0:
            (size,) = struct.unpack_from("<Q", content, start + 8)
            place, end = start + 16, min(start + size, len(content))
            while place + 16 <= end:
                index, _, _, length = struct.unpack_from("<HHIQ", content, place)
                if index == 0 and length < 16:
                    raise ValueError(f"the heap of strings at byte {start:,} is damaged")
                place += length if index == 0 else 16 + length + -length % 8
            start = content.find(HEAP, max(place, start + 8), MOST_SCANNED)


def number(value: Any) -> float | None:  # noqa: ANN401
    """Return an attribute of one number, or of its text, as a number; else None."""
    with suppress(TypeError, ValueError, OverflowError):
        return float(np.asarray(value).reshape(1)[0])
    return None


def chosen_dataset(file: h5py.File, path: Path, key: str | None) -> h5py.Dataset:
    """Return the dataset with a key, or the only numeric one of two or more dimensions.

    Raises:
        SceneError: There is none, there are several, or its values are elsewhere or were never written.
    """
    headed, name = has_matlab_header(path), (key or "").strip("/")
    for place in (name, dotted(name)):
        with suppress(KeyError):
            if name and _variable(file, path, place, found := own_dataset(file, path, place), headed).numeric:
                return found
    return own_dataset(file, path, chosen(path, listed(file, path, few=not name), name or None))


def dotted(key: str) -> str:
    """Return the path of a field of a struct, `a/b` for MATLAB's `a.b`."""
    return key.replace(".", "/")


def listed(file: h5py.File, path: Path, few: bool = True) -> list[Variable]:
    """List the arrays of a file.

    Raises:
        SceneError: There are more than `MOST_OBJECTS`, and there may only be `few`.
    """
    objects = list(islice(_objects(file), MOST_OBJECTS + 1))
    if len(objects) > MOST_OBJECTS and few:
        raise SceneError(f"{path} holds more than {MOST_OBJECTS:,} arrays and groups; name the key of the one to read.")
    headed, found = has_matlab_header(path), list[Variable]()
    for place, node in objects:
        if isinstance(node, str):
            found.append(Variable(place, (), f"link to {node}", False))
        elif isinstance(node, h5py.Dataset):
            found.append(_variable(file, path, place, node, headed))
            for number in range(1, 1 + min(MOST_CELLS, len(references(path, node)))):
                with suppress(KeyError):
                    cell = own_node(file, path, f"{place}{{{number}}}")
                    if isinstance(cell, h5py.Dataset):
                        found.append(_variable(file, path, f"{place}{{{number}}}", cell, headed))
    return found


def references(path: Path, dataset: h5py.Dataset) -> Sequence[h5py.Reference]:
    """Return what the entries of a cell array refer to, in MATLAB's order; nothing for another dataset.

    References name objects of the file itself; HDF5 has none to other files.
    """
    is_cell = (
        h5py.check_ref_dtype(dataset.id.dtype) is h5py.Reference
        if dataset.id.get_type().get_class() == h5py.h5t.REFERENCE
        else False
    )
    if (
        not is_cell
        or not dataset.shape
        or math.prod(dataset.shape) > MOST_OBJECTS
        or _elsewhere(dataset.file, path, dataset)
    ):
        return []
    return list(np.asarray(dataset[()]).ravel())  # the axes are reversed, so rows of HDF5 are MATLAB's columns


def variables(path: Path) -> list[Variable]:
    """List the arrays of a file."""
    with h5py.File(path, "r") as file:
        return listed(file, path)


def unit(path: Path, key: str) -> str:
    """Return the unit of an array by its attribute `units` or `unit`; "" without one."""
    with h5py.File(path, "r") as file:
        dataset = own_dataset(file, path, key)
        return next(filter(None, (text(attribute(dataset, name)) for name in ("units", "unit"))), "")


def text(value: Any) -> str:  # noqa: ANN401
    """Return an attribute of one text, also as an array; an empty one for anything else."""
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def own_dataset(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    """Return the dataset with a key, without following links; look for what unpacks it.

    Raises:
        SceneError: A link leads to it, its values are in another file, or it claims far more than are stored.
        KeyError: There is no such dataset.
    """
    dataset = own_node(file, path, key)
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f"object {key!r} is no array")
    if place := _elsewhere(file, path, dataset):
        raise SceneError(f"{path}: the values of {key!r} are not in it but in {place}; write them into the file.")
    claimed = math.prod(dataset.shape or ()) * dataset.id.get_type().get_size()
    stored = dataset.id.get_storage_size()
    if claimed and not dataset.is_virtual and (not stored or claimed > max(LARGE_BYTES, MOST_PACKED * stored)):
        raise SceneError(
            f"{path}: {key!r} has the shape {dataset.shape} of {claimed:,} bytes, but {stored:,} are stored: its "
            "values were never written, or only few of them; write the file again."
        )
    if missing_filter(dataset):
        with suppress(ImportError):
            import_module("hdf5plugin")  # registers the usual ones
    return dataset


def own_text(file: h5py.File, path: Path, key: str) -> str:
    """Return a text or whole number of the file; an empty one if it isn't there."""
    try:
        dataset = own_dataset(file, path, key)
    except (KeyError, SceneError):
        return ""
    if dataset.size != 1 or dataset.dtype.itemsize > MOST_TEXT:
        return ""
    if dataset.dtype.kind == "O":
        require_sound_heaps(path)
    found = values(path, dataset).ravel()[0]
    return (found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)).strip()


def own_group(file: h5py.File, path: Path, key: str) -> h5py.Group:
    """Return the group with a key, without following links.

    Raises:
        SceneError: A link leads to it.
        KeyError: There is no such group.
    """
    group = own_node(file, path, key)
    if not isinstance(group, h5py.Group):
        raise KeyError(f"object {key!r} is no group")
    return group


def refuse_classic(path: Path, key: str | None) -> NoReturn:
    """Refuse NetCDF of versions before 4, which is not HDF5.

    Raises:
        SceneError: Always.
    """
    raise SceneError(f"{path} is NetCDF of version 3, which is not read; convert it with nccopy -k nc4.")


def is_classic(path: Path) -> bool:
    """Return whether a file begins as NetCDF of versions before 4 does."""
    with path.open("rb") as file:
        return file.read(3) == b"CDF"


def own_node(file: h5py.File, path: Path, key: str) -> Any:  # noqa: ANN401
    """Return the array or group with a key, without following links, whatever it holds.

    Raises:
        SceneError: A link leads to it.
        KeyError: There is none.
    """
    node: Any = file
    for part in filter(None, key.split("/")):
        name, number = part, 0
        # A name may hold braces itself; only what isn't there is an entry of a cell.
        if isinstance(node, h5py.Group) and not node.id.links.exists(part.encode()) and (match := CELL.fullmatch(part)):
            name, number = match[1], int(match[2])
        if not isinstance(node, h5py.Group) or not node.id.links.exists(name.encode()):
            raise KeyError(f"object {key!r} doesn't exist")
        if target := _target(node, name):
            raise SceneError(
                f"{path}: {name!r} is a link to {target}, which is not followed; name an array of the file."
            )
        node = node[name]
        if number:
            entries = references(path, node) if isinstance(node, h5py.Dataset) else []
            if not number <= len(entries) or not entries[number - 1]:
                raise KeyError(f"object {part!r} doesn't exist")
            node = file[entries[number - 1]]
    return node


def _target(group: h5py.Group, name: str) -> str:
    """Return where a link leads; "" for the usual links, which hold their object."""
    kind = group.id.links.get_info(name.encode()).type
    if kind == h5py.h5l.TYPE_HARD:
        return ""
    if kind not in (h5py.h5l.TYPE_SOFT, h5py.h5l.TYPE_EXTERNAL):
        return "something unknown"
    value = group.id.links.get_val(name.encode())
    if kind == h5py.h5l.TYPE_SOFT:
        return repr(_text(value))
    return f"the file {_text(value[0])!r}"


def _text(name: Any) -> str:  # noqa: ANN401
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _elsewhere(file: h5py.File, path: Path, dataset: h5py.Dataset) -> str:
    """Return where a dataset has its values if that is another file, or a chain of virtual datasets; else ""."""
    if dataset.external:
        return f"the file {_text(dataset.external[0][0])!r}"
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if source.file_name != ".":
            return f"the file {source.file_name!r}"
        with suppress(KeyError, SceneError):
            inner = own_node(file, path, source.dset_name)
            if isinstance(inner, h5py.Dataset) and not inner.external and not inner.is_virtual:
                continue
        return repr(source.dset_name)
    return ""


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield path and object of all groups and datasets, or where a link leads, each object once and by name.

    HDF5's own visit follows no links either, but takes minutes for groups in one another.
    """
    waiting: list[tuple[h5py.Group, str, str]] = [(file, name, name) for name in sorted(file, reverse=True)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while waiting:
        group, name, place = waiting.pop()
        if place.startswith("#"):  # "#refs#" is internal to MATLAB
            continue
        if target := _target(group, name):
            yield place, target
            continue
        if (address := group.id.links.get_info(name.encode()).u) in seen:
            continue
        seen.add(address)
        node = group[name]
        yield place, node
        if isinstance(node, h5py.Group):
            waiting += [(node, inner, f"{place}/{inner}") for inner in sorted(node, reverse=True)]


def _variable(file: h5py.File, path: Path, name: str, node: h5py.Dataset, headed: bool) -> Variable:
    if place := _elsewhere(file, path, node):
        return Variable(name, (), f"in {place}", False)
    try:
        kind, numeric = str(node.dtype), node.dtype.kind in "buif"
    except TypeError:
        kind, numeric = "of a type that NumPy lacks", False
    if node.shape is None:  # an HDF5 null
        return Variable(name, (), "without values", False)
    if not headed and "MATLAB_class" not in node.attrs:
        return Variable(name, node.shape, kind, numeric)
    # HDF5 stores MATLAB's text and empty arrays as numbers; only these attributes reveal them.
    kind = _text(attribute(node, "MATLAB_class") if "MATLAB_class" in node.attrs else "double")
    numeric = numeric and kind in MATLAB_NUMBERS and "MATLAB_empty" not in node.attrs
    return Variable(name, node.shape[::-1], kind, numeric)


def missing_filter(dataset: h5py.Dataset) -> str:
    """Return the filter that HDF5 lacks for unpacking a dataset, or ""."""
    settings = dataset.id.get_create_plist()
    for code, _, _, name in (settings.get_filter(index) for index in range(settings.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            return f"{code} ({_text(name) or 'without a name'})"
    return ""


def values(path: Path, dataset: h5py.Dataset, window: Mapping[int, slice] | None = None) -> NDArray[Any]:
    """Read a dataset, or the slices of some of its axes.

    Raises:
        SceneError: It outgrows the free memory, or its filter is missing.
    """
    parts = [slice(None)] * dataset.ndim
    for axis, part in (window or {}).items():
        parts[axis] = part
    shape = [len(range(*part.indices(size))) for part, size in zip(parts, dataset.shape, strict=True)]
    n_values = max(math.prod(shape), math.prod(dataset.chunks or ()))  # a chunk is unpacked as a whole
    require_memory(path, shape, n_values * dataset.dtype.itemsize, "set dataset.in_memory=false, or free memory")
    try:
        return np.asarray(dataset[tuple(parts)])
    except OSError as error:
        if missing := missing_filter(dataset):
            raise SceneError(
                f"{path}: {dataset.name.strip('/')!r} is compressed with the HDF5 filter {missing}, which is not "
                "installed; pip install hdf5plugin, or write the file again with gzip (h5repack -f GZIP=4)."
            ) from error
        raise


FORMATS = (
    Format((".mat",), read, rows, is_hdf5, order=-1, title="MATLAB 7.3", variables=variables, unit=unit),
    Format((".nc", ".nc4"), refuse_classic, refuse_classic, is_classic, order=-1),
    Format(SUFFIXES, read, rows, title="HDF5", variables=variables, unit=unit),
)
