"""EMIT L2A products (NetCDF-4): reflectances in the geometry of the sensor, and a table that places them on the ground.

Bands that `good_wavelengths` marks with 0 are bad. Layout: "EMIT L2A Algorithm and User Guide" (JPL, LP DAAC), as
EMIT-Data-Resources and EnMAP-Box read it. Tried on files built to the published layout only.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.formats.hdf5 import attribute, own_dataset, values
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.wavelengths import in_nm

CUBE, BANDS, LOCATION = "reflectance", "sensor_band_parameters", "location"
MOST_BANDS = 2**16


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Which pixel of the sensor lies in each cell of a grid on the ground (geometry lookup table, GLT).

    Attributes:
        rows: Row of the cube (downtrack) from 0 in each cell, (h, w); -1 = no pixel.
        columns: Column of the cube (crosstrack), likewise.
        georeference: Where the grid lies.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    georeference: Georeference

    def placed(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """Put the values of the sensor's pixels, (H, W) or (H, W, n), onto the grid, `fill` where there is no pixel."""
        result = np.full((*self.rows.shape, *values.shape[2:]), fill, values.dtype)
        there = self.rows >= 0
        result[there] = values[self.rows[there], self.columns[there]]
        return result


def is_product(path: Path) -> bool:
    """Return whether a file is an EMIT product of reflectances."""
    if not hdf5.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        # GLT and bands tell it from any other file with an array of this name.
        return CUBE in file and (BANDS in file or LOCATION in file)


def per_band(file: h5py.File, path: Path, names: tuple[str, ...], n_bands: int) -> list[float] | None:
    """Return a variable of the bands as numbers, by the first of its names that is there; None = none is."""
    for name in names:
        try:
            dataset = own_dataset(file, path, f"{BANDS}/{name}")
        except KeyError:
            continue
        if dataset.shape == (n_bands,) and dataset.dtype.kind in "buif":
            return [float(value) for value in values(path, dataset)]
        raise SceneError(
            f"{path}: {BANDS}/{name} has the shape {dataset.shape} for the {n_bands} bands of {CUBE!r}; "
            "download it again."
        )
    return None


def rows(path: Path, key: str | None) -> Rows:
    """Open the reflectances for reading in windows; with a key, an array of the file as in any HDF5 file.

    Raises:
        SceneError: The variables of cube and bands don't fit each other.
    """
    found = hdf5.rows(path, key or CUBE)
    if key is not None:
        return found
    try:
        if len(found.shape) != 3:
            raise SceneError(f"{path}: {CUBE!r} has the shape {found.shape} where rows, columns, bands are needed.")
        notices = [
            *found.notices,
            f"{path} is in the geometry of the sensor, so maps are, too, unless its lookup table (GLT) places them.",
        ]
        with h5py.File(path, "r") as file:
            centres = per_band(file, path, ("wavelengths",), found.shape[2])
            good = per_band(file, path, ("good_wavelengths",), found.shape[2])
        said = None
        if centres is None:
            notices.append(f"Warning: {path} has no {BANDS}/wavelengths, so bands can only be chosen by their numbers.")
        else:
            said = in_nm(str(path), centres, "nm", found.shape[2])
            notices += said.notices
        bad = tuple(band for band, value in enumerate(good or ()) if not value)
        return replace(
            found,
            notices=tuple(notices),
            wavelengths=said.values if said else None,
            bad_bands=bad,
            is_raster=True,
        )
    except BaseException:
        found.close()
        raise


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read all reflectances, (H, W, B); with a key, an array of the file."""
    return hdf5.read(path, key or CUBE)


def lookup_table(path: Path) -> LookupTable:
    """Read the table that places the pixels of an EMIT product on the ground.

    Raises:
        SceneError: It is missing, or names pixels that aren't there.
    """
    with h5py.File(path, "r") as file:
        height, width = own_dataset(file, path, CUBE).shape[:2]
        try:
            tables = [values(path, own_dataset(file, path, f"{LOCATION}/glt_{axis}")) for axis in "yx"]
            place = np.asarray(attribute(file, "geotransform"), np.float64).reshape(6).tolist()
        except (KeyError, TypeError, ValueError) as error:
            raise SceneError(
                f"{path} lacks {LOCATION}/glt_x, {LOCATION}/glt_y or the attribute geotransform; download it again."
            ) from error
        crs = attribute(file, "spatial_ref")
    if (
        tables[0].ndim != 2
        or tables[0].shape != tables[1].shape
        or any(table.dtype.kind not in "iu" for table in tables)
    ):
        raise SceneError(f"{path}: {LOCATION}/glt_x and glt_y are no two tables of one shape; download it again.")
    empty = (tables[0] == 0) | (tables[1] == 0)
    there = [np.where(empty, 0, table.astype(np.int64)) - 1 for table in tables]  # from 1 in the file
    for table, size in zip(there, (height, width), strict=True):
        if table.min(initial=-1) < -1 or table.max(initial=-1) >= size:
            raise SceneError(f"{path}: the lookup table names pixels beyond the {height} x {width} of the cube.")
    x, a, b, y, d, e = place  # GDAL's order
    if not all(map(math.isfinite, place)) or a * e == b * d:
        raise SceneError(f"{path}: the attribute geotransform is {place}, which has no area; download it again.")
    crs = crs.decode("utf-8", "replace") if isinstance(crs, bytes) else str(crs or "")
    grid = Georeference(crs, (a, b, x, d, e, y))
    return LookupTable(there[0].astype(np.int32), there[1].astype(np.int32), grid)


FORMATS = (Format((".nc", ".nc4", ".h5"), read, rows, is_product, order=-1, title="EMIT L2A"),)
