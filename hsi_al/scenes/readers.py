"""Reading of one array from a scene file of any known format; failures become a SceneError of one sentence.

`formats/` has a module for each file format.
"""

import math
import pkgutil
import re
import stat
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes import formats
from hsi_al.scenes.arrays import ANY, Format, Rows, reading, require_real
from hsi_al.scenes.wavelengths import in_nm

# Names of arrays, without case, spaces and signs, that hold the wavelengths of the bands.
CENTRES = re.compile(r"wavelengths?(nm|um)?|wvl|wl|lambda|(cent(er|re|ral)|band)wavelengths?|bandcent(er|re)s?")
MOST_COUNTED = 200  # whole numbers below it count bands: they are no nm, and micrometres have decimals


def all_formats() -> list[Format]:
    """Return the formats that the modules of `formats/` list in `FORMATS`, in the order in which they are tried."""
    files = [import_module(f"{formats.__name__}.{file.name}") for file in pkgutil.iter_modules(formats.__path__)]
    return sorted((form for file in files for form in file.FORMATS), key=lambda form: form.order)


def existing_file(path: Path) -> None:
    """Check that a path is a file, not empty, and not something that took the file's place; or a product's folder.

    Raises:
        SceneError: The path is missing, a directory that no format reads, no regular file or not readable, or the file
            is empty, a pointer of Git LFS or a web page.
    """
    with reading(path):
        if path.is_dir():
            if any(form.folders and form.matches(path) for form in all_formats()):
                return
            raise SceneError(f"{path} is a directory where a file is needed; name a file inside it.")
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SceneError(f"{path} is no regular file; copy its content to one.")
        if found.st_size == 0:
            raise SceneError(f"{path} is empty (0 bytes); download or write it again.")
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        raise SceneError(f"{path} is a pointer of Git LFS, not the file itself; fetch that with git lfs pull.")
    is_page = head.startswith(b"<?xml") and path.suffix.lower() not in (".xml", ".vrt", ".kml", ".kmz")
    if is_page or head.startswith((b"<!doctype html", b"<html")):
        raise SceneError(f"{path} is a web page, not a file of data; download the file that the page offers.")


def format_of(path: Path) -> Format:
    """Return the format that reads a file.

    Raises:
        SceneError: The file is missing, empty or of an unknown format.
    """
    existing_file(path)
    suffix, known = path.suffix.lower(), all_formats()
    with reading(path):
        for form in known:
            fits = form.folders if path.is_dir() else suffix in form.suffixes or form.suffixes == ANY
            if fits and form.matches(path):
                return form
    supported = {suffix for form in known for suffix in form.suffixes}.difference(ANY)
    raise SceneError(f"{path} has the unknown extension {suffix!r}; supported are {', '.join(sorted(supported))}.")


def read_array(path: Path, key: str | None = None) -> NDArray[Any]:
    """Read one array, in the axis order of the software that wrote the file (MATLAB's order for .mat files).

    Without a key, the only numeric array of two or more dimensions is read.

    Raises:
        SceneError: The file is missing, empty, damaged or of an unknown format; no numeric array has the key; or no
            key is given and there are several arrays or none.
    """
    path = Path(path)
    form = format_of(path)
    with reading(path):
        array = form.read(path, key)
    require_real(path, key, array.dtype)
    return array


def readable_in_windows(path: Path) -> bool:
    """Return whether `opened_rows` can read single windows of the file instead of all of it.

    Raises:
        SceneError: The file is missing, empty or of an unknown format.
    """
    return format_of(path).rows is not None


def opened_rows(path: Path, key: str | None = None) -> Rows:
    """Open the array that `read_array` reads, to read windows of it; unless `readable_in_windows`, it is loaded whole.

    Raises:
        SceneError: As `read_array`.
    """
    path = Path(path)
    form = format_of(path)
    if form.rows is None:
        return loaded_rows(path, key)
    with reading(path):
        rows = form.rows(path, key)
    try:
        return with_centres(rows, form)
    except BaseException:
        rows.close()
        raise


def loaded_rows(path: Path, key: str | None = None) -> Rows:
    """Read the array of `read_array`; windows of it come from memory, the rest of `Rows` is what the file says.

    Raises:
        SceneError: As for `read_array`.
    """
    array = read_array(path, key)
    held: dict[str, Any] = {"dtype": array.dtype, "source": lambda rows, columns: array[rows, columns]}
    if not readable_in_windows(path):
        return with_centres(Rows(Path(path), array.shape, **held), format_of(path))
    with opened_rows(path, key) as rows:
        return replace(rows, close=lambda: None, **held)


def with_centres(rows: Rows, form: Format) -> Rows:
    """Let a cube whose file names no wavelengths look for them in the other arrays of the file; see `centres_in`."""
    if rows.wavelengths is not None or len(rows.shape) != 3 or form.variables is None:
        return rows
    return replace(rows, centres_beside=lambda n_bands: centres_in(rows.path, form, n_bands))


def centres_in(path: Path, form: Format, n_bands: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return the band centres in nm of the one array that has the name and the size of wavelengths, and notices.

    Arrays that can't be wavelengths, such as the numbers of the bands, are passed over.
    """
    assert form.variables is not None
    with suppress(SceneError), reading(path):
        keys = [
            variable.key
            for variable in form.variables(path)
            if CENTRES.fullmatch(re.sub(r"[\W_]", "", re.split(r"[/.]", variable.key)[-1].lower()))
            and variable.numeric
            and max(variable.shape, default=0) == math.prod(variable.shape) == n_bands
        ]
        if len(keys) == 1:
            found = form.read(path, keys[0]).ravel()
            values, unit = found.tolist(), form.unit(path, keys[0])
            counted = not unit and np.equal(np.mod(found, 1), 0).all() and max(values) < MOST_COUNTED
            if found.dtype.kind != "b" and len(set(values)) == n_bands and not counted:
                return in_nm(f"{path}: the array {keys[0]!r}", values, unit, n_bands)
    return None, ()
