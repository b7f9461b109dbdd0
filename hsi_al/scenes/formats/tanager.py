"""Orthorectified products of Tanager (Planet, HDF-EOS5): surface reflectance or radiance, *_ortho_*.h5.

The cube has its axes bands, rows, columns, and the wavelengths of its bands in nm, those that are no use
(`good_wavelengths` 0) and the value of missing data as attributes. The text StructMetadata.0 gives the outer edges of
the grid. Layout: Planet's "Tanager Product Specification", as HyperCoast and others read it. Tried on files built to
the published layout only.
"""

import re
from pathlib import Path

import h5py
import numpy as np

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Format, Rows
from hsi_al.scenes.formats import hdf5
from hsi_al.scenes.formats.hdf5 import attribute, no_data_in, number, own_dataset, own_node
from hsi_al.scenes.formats.raster import wkt_of_epsg
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.wavelengths import in_nm

GRID, SWATH = "HDFEOS/GRIDS/HYP", "HDFEOS/SWATHS/HYP"
CUBES = ("surface_reflectance", "toa_radiance")
ABOUT = "HDFEOS INFORMATION/StructMetadata.0"
CORNERS = ("UpperLeftPointMtrs", "LowerRightMtrs")


def cube_in(file: h5py.File, path: Path) -> str | None:
    """Return the key of the cube of a Tanager product, on a grid or not; None for another file."""
    for place in (GRID, SWATH):
        for name in CUBES:
            key = f"{place}/Data Fields/{name}"
            try:
                own_dataset(file, path, key)
            except (KeyError, SceneError):
                continue
            return key
    return None


def is_product(path: Path) -> bool:
    """Return whether a file is a Tanager product."""
    if not hdf5.may_be_product(path):
        return False
    with h5py.File(path, "r") as file:
        return cube_in(file, path) is not None


def cube_of(file: h5py.File, path: Path) -> Rows:
    """Describe the cube for reading in windows.

    Raises:
        SceneError: It is a product in the geometry of the sensor, or something is missing or makes no sense.
    """
    cube = str(cube_in(file, path))
    if not cube.startswith(GRID):
        raise SceneError(
            f"{path} is a Tanager product in the geometry of the sensor; download the orthorectified one "
            f"(ortho_sr), or take its array as it is: 'dataset.cube_key=\"{cube}\"' dataset.axes=BHW."
        )
    dataset = own_dataset(file, path, cube)
    if dataset.ndim != 3 or dataset.dtype.kind not in "iuf":
        raise SceneError(f"{path}: {cube} has the shape {dataset.shape} where bands, rows, columns are needed.")
    n_bands, height, width = dataset.shape
    wavelengths, good = (of_bands(path, dataset, name) for name in ("wavelengths", "good_wavelengths"))
    notices = []
    if wavelengths is None:
        notices.append(f"Warning: {path} names no wavelengths, so bands can only be chosen by their numbers.")
    centres = None if wavelengths is None else in_nm(str(path), wavelengths, "nm", n_bands)

    where, said = georeference(file, path, height, width)
    return Rows(
        path,
        (height, width, n_bands),
        dataset.dtype,
        hdf5.bands_first(path, dataset),
        file.close,
        no_data=no_data_in(dataset),
        wavelengths=centres.values if centres else None,
        bad_bands=tuple(band for band, value in enumerate(good or ()) if not value),
        georeference=where,
        notices=(*notices, *(centres.notices if centres else ()), *said),
        is_raster=True,
    )


def of_bands(path: Path, dataset: h5py.Dataset, name: str) -> list[float] | None:
    """Return an attribute that holds a number for each band; None = there is none.

    Raises:
        SceneError: It holds anything else.
    """
    found = attribute(dataset, name)
    if found is None:
        return None
    try:
        numbers = np.asarray(found, np.float64).ravel().tolist()
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != dataset.shape[0]:
        raise SceneError(
            f"{path}: the attribute {name} has {len(numbers)} numbers for the {dataset.shape[0]} bands; download the "
            "product again."
        )
    return list(numbers)


def georeference(file: h5py.File, path: Path, height: int, width: int) -> tuple[Georeference | None, tuple[str, ...]]:
    """Return where the cube lies, by the outer edges of its grid; else None, and a notice why."""
    text = hdf5.own_text(file, path, ABOUT)
    edges = [re.search(rf"{name}=\(([^(),]+),([^(),]+)\)", text) for name in CORNERS]
    try:
        (left, top), (right, bottom) = (map(float, match.groups()) for match in edges if match)
        across, down = (right - left) / width, (top - bottom) / height
        if not 0 < across < np.inf or not 0 < down < np.inf:
            raise ValueError("no grid")
    except ValueError:
        return None, (
            f"Warning: {path}: StructMetadata.0 names no corners of a grid, so maps of the cube lie nowhere.",
        )
    code = number(attribute(own_node(file, path, GRID), "epsg_code"))
    crs = wkt_of_epsg(path, int(code)) if code is not None and 0 < code < 2**20 else None
    if crs is None:
        return None, (
            f"Warning: {path}: its system epsg_code is missing or unknown, or rasterio isn't installed; maps of it lie "
            "nowhere.",
        )
    return Georeference(crs, (across, 0.0, left, 0.0, -down, top)), ()


rows = hdf5.product(cube_of)
FORMATS = (Format((".h5", ".he5", ".hdf5"), hdf5.read_product(rows), rows, is_product, order=-1, title="Tanager"),)
