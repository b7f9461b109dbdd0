"""PRISMA L2D products (.he5): reflectances of both detectors, joined by wavelength.

Stored numbers n of 16 bits are the reflectances min + n (max - min) / 65535, with a range for each detector; pixels
that are 0 in all bands hold no data. Bands without wavelength (0) are left out, the others put in ascending order,
in which the detectors overlap. The corners in the file are centres of pixels. Layout: "PRISMA Products Specification
Document" (ASI), as EnMAP-Box and prismaread read it. Tried on files built to the published layout only.
"""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows, require_memory
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.formats.hdf5 import attribute, own_dataset, values
from hsi_al.scenes.formats.raster import wkt_of_epsg
from hsi_al.scenes.georeference import Georeference

SWATHS = "HDFEOS/SWATHS"
SWATH = re.compile(r"PRS_(L\w+?)_H[CR][OC]")
LEVEL, CUBES = "L2D", f"{SWATHS}/PRS_L2D_HCO/Data Fields"
STEPS = 65535


class Detector(NamedTuple):
    """One of the two cubes.

    Attributes:
        dataset: Its numbers, (rows, bands, columns).
        kept: Bands with a wavelength, as its dataset orders them.
        wavelengths: Their centres in nm.
        low: Reflectance of 0.
        high: Reflectance of 65535.
    """

    dataset: h5py.Dataset
    kept: list[int]
    wavelengths: list[float]
    low: float
    high: float


def level_of(path: Path) -> str:
    """Return the level of a PRISMA product such as "L2D", or "" for another file."""
    if not hdf5.may_be_product(path):
        return ""
    with h5py.File(path, "r") as file:
        try:
            swaths = hdf5.own_group(file, path, SWATHS)
        except (KeyError, SceneError):
            return ""
        found = [match[1] for name in swaths if (match := SWATH.fullmatch(name))]
    return LEVEL if LEVEL in found else next(iter(found), "")


def detector(file: h5py.File, path: Path, name: str) -> Detector:
    """Describe a cube of the file, "Vnir" or "Swir".

    Raises:
        SceneError: The cube or one of its attributes is missing or makes no sense.
    """
    key = f"{CUBES}/{name.upper()}_Cube"
    try:
        dataset = own_dataset(file, path, key)
    except KeyError:
        raise SceneError(
            f"{path} is a PRISMA product without {name.upper()}_Cube; download it again with both detectors, or name "
            "one of its arrays with dataset.cube_key."
        ) from None
    if dataset.ndim != 3 or dataset.dtype.kind not in "ui":
        raise SceneError(f"{path}: {key!r} has the shape {dataset.shape} where rows, bands, columns are needed.")
    centres = numbers(file, path, f"List_Cw_{name}")
    if len(centres) != dataset.shape[1]:
        raise SceneError(
            f"{path}: the attribute List_Cw_{name} has {len(centres)} wavelengths for the {dataset.shape[1]} bands of "
            f"{key!r}; download the product again."
        )
    kept = [band for band, centre in enumerate(centres) if centre > 0]
    low, high = (numbers(file, path, f"L2Scale{name}{end}")[0] for end in ("Min", "Max"))
    if not kept or not low < high:
        raise SceneError(f"{path}: List_Cw_{name} or L2Scale{name}Min and Max make no sense; download it again.")
    return Detector(dataset, kept, [centres[band] for band in kept], low, high)


def numbers(file: h5py.File, path: Path, name: str) -> list[float]:
    """Return an attribute of the file as numbers.

    Raises:
        SceneError: It is missing or holds anything else.
    """
    try:
        found = np.asarray(attribute(file, name), np.float64).ravel().tolist()
    except (TypeError, ValueError):
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise SceneError(
            f"{path}: the attribute {name} of this PRISMA product is missing or no number; download it again."
        )
    return list(found)


def cube_of(file: h5py.File, path: Path) -> Rows:
    """Describe the joined cube for reading in windows.

    Raises:
        SceneError: It is a product of another level, or something is missing or makes no sense.
    """
    if (level := level_of(path)) != LEVEL:
        raise SceneError(
            f"{path} is a PRISMA product of level {level}; download {LEVEL}, or name one of its arrays with "
            "dataset.cube_key."
        )
    detectors = [detector(file, path, name) for name in ("Vnir", "Swir")]
    (height, _, width), other = (cube.dataset.shape for cube in detectors)
    if (height, width) != (other[0], other[2]):
        raise SceneError(f"{path}: VNIR_Cube and SWIR_Cube have other rows or columns; download it again.")
    centres = [centre for cube in detectors for centre in cube.wavelengths]
    order = np.argsort(centres, kind="stable")
    place = np.argsort(order)  # of each band of the detectors, one after the other, in the result

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        parts = [range(*lines.indices(height)), range(*columns.indices(width))]
        shape = (len(parts[0]), len(parts[1]), len(centres))
        require_memory(path, shape, 6 * math.prod(shape), "set dataset.in_memory=false, or free memory")
        result, empty, first = np.empty(shape, np.float32), np.ones(shape[:2], bool), 0
        for cube in detectors:
            stored = values(path, cube.dataset, {0: lines, 2: columns})[:, cube.kept].transpose(0, 2, 1)
            empty &= ~stored.any(axis=2)
            bands = place[first : first + len(cube.kept)]
            result[:, :, bands] = stored * np.float32((cube.high - cube.low) / STEPS) + np.float32(cube.low)
            first += len(cube.kept)
        result[empty] = np.nan
        return result

    where, said = georeference(file, path, height, width)
    return Rows(
        path,
        (height, width, len(centres)),
        np.dtype(np.float32),
        window,
        file.close,
        no_data=math.nan,
        notices=said,
        wavelengths=tuple(centres[band] for band in order),
        georeference=where,
        is_raster=True,
    )


def georeference(file: h5py.File, path: Path, height: int, width: int) -> tuple[Georeference | None, tuple[str, ...]]:
    """Return where the cube lies, from its corners, which are the centres of the pixels there."""
    try:
        code = int(numbers(file, path, "Epsg_Code")[0])
        left, top = (numbers(file, path, f"Product_ULcorner_{axis}")[0] for axis in ("easting", "northing"))
        right, bottom = (numbers(file, path, f"Product_LRcorner_{axis}")[0] for axis in ("easting", "northing"))
    except SceneError:
        return None, (f"{path} doesn't say where it lies (Epsg_Code, Product_ULcorner_easting, ...).",)
    if min(height, width) < 2 or right <= left or top <= bottom:
        return None, (f"{path}: the corners of the product make no sense, so maps of it lie nowhere.",)
    across, down = (right - left) / (width - 1), (top - bottom) / (height - 1)
    crs = wkt_of_epsg(path, code)
    if crs is None:
        return None, (
            f"{path}: the system EPSG:{code} is unknown, or rasterio isn't installed; maps of it lie nowhere.",
        )
    return Georeference(crs, (across, 0.0, left - across / 2, 0.0, -down, top + down / 2)), ()


def is_product(path: Path) -> bool:
    """Return whether a file is a PRISMA product, of any level."""
    return bool(level_of(path))


rows = hdf5.product(cube_of)
FORMATS = (Format((".he5", ".h5", ".hdf5"), hdf5.read_product(rows), rows, is_product, order=-1, title="PRISMA L2D"),)
