"""Orthorectified L2A reflectance of AVIRIS-3, AVIRIS-5 and AVIRIS-NG (*_RFL_ORT.nc, NetCDF-4).

The group `reflectance` holds the cube with its axes bands, northing, easting, and the `wavelength` of its bands in nm;
`northing` and `easting` beside the group are the centres of the pixels. Layout: the guides of ORNL DAAC, as HyperCoast
reads it; the earlier deliveries are ENVI files. Tried on files built to the published layout only.
"""

import itertools
from pathlib import Path

import h5py
import numpy as np

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.formats.hdf5 import attribute, no_data_in, own_dataset, own_node, text, values
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.wavelengths import in_nm

CUBE, CENTRES, AXES = "reflectance/reflectance", "reflectance/wavelength", ("northing", "easting")
CRS = ("spatial_ref", "crs_wkt")
UNEVEN = 0.01  # of a pixel, by which pixels may lie beside an even grid
MOST_MAPPINGS = 100  # variables that are looked through


def is_product(path: Path) -> bool:
    """Return whether a file is an orthorectified AVIRIS product of reflectances."""
    if not hdf5.may_be_product(path):
        return False
    with h5py.File(path, "r") as file:
        try:
            return [own_dataset(file, path, key).ndim for key in (CUBE, CENTRES, *AXES)] == [3, 1, 1, 1]
        except (KeyError, SceneError):
            return False


def cube_of(file: h5py.File, path: Path) -> Rows:
    """Describe the reflectances for reading in windows.

    Raises:
        SceneError: The wavelengths don't fit the cube.
    """
    dataset, wavelengths = (own_dataset(file, path, name) for name in (CUBE, CENTRES))
    n_bands, height, width = dataset.shape
    if wavelengths.shape != (n_bands,) or wavelengths.dtype.kind not in "iuf":
        raise SceneError(
            f"{path}: {CENTRES} has the shape {wavelengths.shape} for the {n_bands} bands of {CUBE}; download it again."
        )

    unit = text(attribute(wavelengths, "units")) or "nm"
    centres = in_nm(str(path), [float(value) for value in values(path, wavelengths)], unit, n_bands)
    where, said = georeference(file, path, height, width)
    return Rows(
        path,
        (height, width, n_bands),
        dataset.dtype,
        hdf5.bands_first(path, dataset),
        file.close,
        no_data=no_data_in(dataset),
        wavelengths=centres.values,
        georeference=where,
        notices=(*centres.notices, *said),
        is_raster=True,
    )


def georeference(file: h5py.File, path: Path, height: int, width: int) -> tuple[Georeference | None, tuple[str, ...]]:
    """Return where the cube lies, from the centres of its pixels; else None, and a notice why."""
    grid = []
    for name, size in zip(AXES, (height, width), strict=True):
        dataset = own_dataset(file, path, name)
        if dataset.shape != (size,) or dataset.dtype.kind not in "iuf" or size < 2:
            return None, (f"Warning: {path}: {name} doesn't place the {size} pixels of the cube, so maps lie nowhere.",)
        places = values(path, dataset).astype(np.float64)
        step = (places[-1] - places[0]) / (size - 1)
        even = places[0] + step * np.arange(size)
        if not step or not np.abs(places - even).max() <= UNEVEN * abs(step):
            return None, (f"Warning: {path}: {name} is no even grid, so maps of the cube lie nowhere.",)
        grid.append((places[0] - step / 2, step))
    (top, down), (left, across) = grid
    crs = crs_in(file, path)
    if not crs:
        return None, (f"Warning: {path} names no coordinate reference system, so maps of it lie nowhere.",)
    return Georeference(crs, (float(across), 0.0, float(left), 0.0, float(down), float(top))), ()


def crs_in(file: h5py.File, path: Path) -> str:
    """Return the coordinate reference system of the cube as WKT; an empty text if the file names none."""
    named = text(attribute(own_dataset(file, path, CUBE), "grid_mapping"))
    for name in (named, *filter(lambda name: isinstance(name, str), itertools.islice(file, MOST_MAPPINGS))):
        try:
            # The variable that has these attributes need not hold a value, as `own_dataset` asks for.
            found = [text(attribute(own_node(file, path, name), key)) for key in CRS] if name else []
        except (KeyError, SceneError):
            continue
        if any(found):
            return next(filter(None, found))
    return ""


rows = hdf5.product(cube_of)
FORMATS = (Format((".nc", ".nc4", ".h5"), hdf5.read_product(rows), rows, is_product, order=-2, title="AVIRIS L2A"),)
