"""Tiny scenes in the layout of the real files, and the way to the real ones where they are at hand."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from hsi_al.scenes.scene import Scene

FAKE_VALUES = (1, 3, 10)


def fake_cube(height: int = 6, width: int = 7, bands: int = 5, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(900, 9000, (height, width, bands)).astype(np.uint16)


def fake_ground_truth(height: int = 6, width: int = 7) -> NDArray[np.uint8]:
    """Three classes whose values are not 1..3, as in Salinas-A, in bands of rows with background between."""
    truth = np.zeros((height, width), np.uint8)
    for row in range(height):
        truth[row, 1:] = FAKE_VALUES[row * len(FAKE_VALUES) // height]
    return truth


def fake_scene(height: int = 6, width: int = 7, bands: int = 5, seed: int = 0) -> Scene:
    cube, truth = fake_cube(height, width, bands, seed), fake_ground_truth(height, width)
    return Scene("fake", cube, truth.astype(np.int64), {1: "Broccoli", 3: "Maïs", 10: "Lettuce"})


def gaussian_cube(side: int = 40, n_bands: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Four separated classes in quadrants, (side, side, n_bands), and the class of every pixel (side * side,)."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((side, side)) // (side // 2)
    classes = (2 * rows + columns).astype(np.int64)
    cube = rng.uniform(1, 5, (4, n_bands))[classes] + rng.normal(0, 0.3, (side, side, n_bands))
    return cube.astype(np.float32), classes.ravel()


def write_matlab5(path: Path, arrays: Mapping[str, Any], *, compressed: bool = True) -> Path:
    scipy.io.savemat(path, dict(arrays), do_compression=compressed)
    return path


def write_matlab73(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """HDF5 behind a 512-byte block that starts with MATLAB's text; arrays lie with their axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array.T, compression="gzip").attrs["MATLAB_class"] = np.bytes_(
                {"float64": "double", "bool": "logical"}.get(str(array.dtype), str(array.dtype))
            )
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)
    return path


def write_hdf5(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
    return path


def add_styles(path: Path) -> Path:
    """Add the table of styles that QGIS keeps in a GeoPackage of which it was told to save the style."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT(256), styleQML TEXT)")
        database.execute("INSERT INTO layer_styles VALUES (1, 'a', '<qgis/>')")
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"
        )
    return path


def real_file(relative: str) -> Path:
    """Give a file of the real scenes; the test is skipped without it."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("HSI_AL_TEST_DATA", beside)) / relative
    if not path.is_file():
        pytest.skip(f"{relative} is not at hand (set HSI_AL_TEST_DATA)")
    return path
