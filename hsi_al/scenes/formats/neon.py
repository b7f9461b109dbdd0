"""Reflectance of the NEON Airborne Observation Platform (.h5): tiles (DP3.30006) and flight lines (DP1.30006).

The group that has the name of the site holds `Reflectance/Reflectance_Data`, whole numbers of `Scale_Factor` a unit of
reflectance. Bands in its `Band_Window_<n>_Nanometers`, where water vapour absorbs, are bad. Layout: the tutorials of
NEON-Data-Skills (revisions 001 and 002). Tried on files built to the published layout only.
"""

import math
import re
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows, require_memory
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.formats.hdf5 import attribute, number, own_dataset, own_group, values
from hsi_al.scenes.formats.raster import wkt_of_epsg
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.wavelengths import Centres, in_nm

CUBE, CENTRES, PLACE = "Reflectance_Data", "Metadata/Spectral_Data/Wavelength", "Metadata/Coordinate_System"
WINDOW = re.compile(r"Band_Window_\d+_Nanometers")
MOST_SITES = 8  # groups that are looked into
MOST_DIGITS = 10


def reflectance_in(file: h5py.File, path: Path) -> str | None:
    """Return the group of a NEON product that holds the cube, such as "SERC/Reflectance"; None for another file."""
    for site in islice(file, MOST_SITES):
        place = f"{site}/Reflectance"
        try:
            own_dataset(file, path, f"{place}/{CUBE}")
            own_group(file, path, f"{place}/Metadata")
        except (KeyError, SceneError):
            continue
        return place
    return None


def is_product(path: Path) -> bool:
    """Return whether a file is a NEON product of reflectances."""
    if not hdf5.may_be_product(path):
        return False
    with h5py.File(path, "r") as file:
        return reflectance_in(file, path) is not None


def cube_of(file: h5py.File, path: Path) -> Rows:
    """Describe the reflectances for reading in windows.

    Raises:
        SceneError: The cube or its scale makes no sense.
    """
    place = reflectance_in(file, path)
    dataset = own_dataset(file, path, f"{place}/{CUBE}")
    if dataset.ndim != 3 or dataset.dtype.kind not in "iuf":
        raise SceneError(f"{path}: {CUBE} has the shape {dataset.shape} where rows, columns, bands are needed.")
    scale, ignored = (number(attribute(dataset, name)) for name in ("Scale_Factor", "Data_Ignore_Value"))
    if scale is None or not 1e-9 < scale < math.inf:
        raise SceneError(
            f"{path}: the attribute Scale_Factor of {CUBE} is missing or no positive number; download it again, or "
            f"take the stored numbers: dataset.cube_key={place}/{CUBE}."
        )
    factor = np.float32(1 / scale)

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        shape = [len(range(*part.indices(size))) for part, size in zip((lines, columns), dataset.shape, strict=False)]
        shape.append(dataset.shape[2])
        n_bytes = math.prod(shape) * (dataset.dtype.itemsize + 5)  # stored numbers, result and mask
        require_memory(path, shape, n_bytes, "set dataset.in_memory=false, or free memory")
        stored = values(path, dataset, {0: lines, 1: columns})
        result: NDArray[np.float32] = np.multiply(stored, factor, dtype=np.float32, casting="same_kind")
        if ignored is not None:
            result[stored == ignored] = np.nan
        return result

    notices: list[str] = []
    centres = centres_of(file, path, f"{place}/{CENTRES}", dataset.shape[2])
    return Rows(
        path,
        dataset.shape,
        np.dtype(np.float32),
        window,
        file.close,
        no_data=math.nan,
        wavelengths=centres.values,
        bad_bands=absorbed(own_group(file, path, str(place)), centres.values or ()),
        georeference=georeference(file, path, f"{place}/{PLACE}", notices),
        notices=(*centres.notices, *notices),
        is_raster=True,
    )


def centres_of(file: h5py.File, path: Path, key: str, n_bands: int) -> Centres:
    """Return the centres of the bands."""
    try:
        dataset = own_dataset(file, path, key)
    except KeyError:
        return Centres(None, (f"Warning: {path} has no {key}, so bands can only be chosen by their numbers.",))
    if dataset.shape != (n_bands,) or dataset.dtype.kind not in "iuf":
        raise SceneError(
            f"{path}: {key} has the shape {dataset.shape} for the {n_bands} bands of {CUBE}; download it again."
        )
    return in_nm(str(path), [float(value) for value in values(path, dataset)], "nm", n_bands)


def absorbed(group: h5py.Group, centres: tuple[float, ...]) -> tuple[int, ...]:
    """Return the bands in the windows that the product names, both ends included."""
    bad: set[int] = set()
    for name in filter(WINDOW.fullmatch, group.attrs):
        try:
            low, high = np.asarray(attribute(group, name), np.float64).reshape(2).tolist()
        except (TypeError, ValueError):
            continue
        bad |= {band for band, centre in enumerate(centres) if low <= centre <= high}
    return tuple(sorted(bad))


def georeference(file: h5py.File, path: Path, place: str, notices: list[str]) -> Georeference | None:
    """Return where the cube lies, by a "map info" as in ENVI's headers; else None, and a notice why."""
    text, code = (hdf5.own_text(file, path, f"{place}/{name}") for name in ("Map_Info", "EPSG Code"))
    words = [word.strip() for word in text.split(",")]
    try:
        column, row, x, y, across, down = map(float, words[1:7])
        turned = any(float(word.partition("=")[2]) for word in words[7:] if word.lower().startswith("rotation"))
        if turned or not all(map(math.isfinite, (column, row, x, y))) or not 0 < across < math.inf > down > 0:
            raise ValueError("no upright grid")
    except ValueError:
        notices.append(
            f"Warning: {path}: {place}/Map_Info is no upright grid, so maps of it lie nowhere: {text[:200]!r}."
        )
        return None
    crs = wkt_of_epsg(path, int(code)) if code.isdecimal() and len(code) < MOST_DIGITS else None
    if crs is None:
        notices.append(
            f"Warning: {path}: the system EPSG:{code[:20]} is unknown, or rasterio isn't installed; maps of it lie "
            "nowhere."
        )
        return None
    # The tie point counts from 1 at the outer corner of the first pixel.
    return Georeference(crs, (across, 0.0, x - (column - 1) * across, 0.0, -down, y + (row - 1) * down))


rows = hdf5.product(cube_of)
FORMATS = (Format((".h5", ".hdf5"), hdf5.read_product(rows), rows, is_product, order=-1, title="NEON AOP reflectance"),)
