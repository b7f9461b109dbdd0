"""A cube that stays in its file, for scenes larger than memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows, blocks
from hsi_al.scenes.checks import (
    finite_cube,
    fitting_axes,
    require_cube,
    require_map,
    require_range,
)
from hsi_al.scenes.checksums import ValuesChecksum
from hsi_al.scenes.readers import opened_rows, readable_in_windows

BLOCK_BYTES = 2**26  # of a file held in memory at once while it is scanned


@dataclass(frozen=True, eq=False)
class StoredCube:
    """A cube (H, W, B) that stays in its file and is read in windows.

    Args:
        rows: The opened array of the cube.
        preparation: Function raw window (h, w, B) -> the values that learners see; None = they see raw ones.

    Raises:
        SceneError: The array is no cube of real numbers.
    """

    rows: Rows
    preparation: Callable[[NDArray[Any]], NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        require_cube(str(self.rows.path), self.rows.shape, self.rows.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the cube: (H, W, B)."""
        height, width, n_bands = self.rows.shape
        return height, width, n_bands

    def read(self, first: int, last: int, left: int = 0, right: int | None = None) -> NDArray[Any]:
        """Read rows `first` to `last` - 1 and columns `left` to `right` - 1, by default all columns; (h, w, B).

        Raises:
            SceneError: The file is damaged in this window, or the window holds NaN or infinite values.
        """
        window = self.rows.read(first, last, left, right)
        if self.preparation is not None:
            window = self.preparation(window)
        return finite_cube(f"{self.rows.path}, rows {first} to {last - 1}", window)

    @property
    def limits(self) -> tuple[float, float]:
        """Minimum and maximum over all pixels and bands.

        Raises:
            SceneError: The file is damaged, holds NaN or infinite values, or has the same value everywhere.
        """
        return self._scanned[:2]

    @property
    def checksum(self) -> str:
        """Checksum of the values, see `hsi_al.scenes.checksums`.

        Raises:
            SceneError: As for `limits`.
        """
        return self._scanned[2]

    @cached_property
    def _scanned(self) -> tuple[float, float, str]:
        """Minimum, maximum and checksum, found in one pass over the file."""
        lows, highs, checksum = [], [], ValuesChecksum(self.shape, self.read(0, 1).dtype)
        for first, last in self.rows.blocks(BLOCK_BYTES):
            part = self.read(first, last)
            lows.append(part.min())
            highs.append(part.max())
            checksum.add(part)
        low, high = min(lows), max(highs)
        require_range(str(self.rows.path), self.shape, low, high)
        return float(low), float(high), checksum.text

    def bands(self, chosen: list[int], thin: int = 1) -> NDArray[Any]:
        """Read the n chosen bands of the pixels in every `thin`-th row and column, (h, w, n)."""
        parts = []
        for first, last in self.rows.blocks(BLOCK_BYTES):
            parts.append(self.read(first, last)[-first % thin :: thin, ::thin][:, :, chosen])
        return np.concatenate(parts)


Cube = NDArray[Any] | StoredCube


def value_range(cube: Cube) -> tuple[float, float]:
    """Return the minimum and maximum over all pixels and bands, by which the cube is normalised."""
    return cube.limits if isinstance(cube, StoredCube) else (float(cube.min()), float(cube.max()))


def windows(cube: Cube) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield first row and values, as the file has them, of blocks of rows of about `BLOCK_BYTES`."""
    if isinstance(cube, StoredCube):
        for first, last in cube.rows.blocks(BLOCK_BYTES):
            yield first, cube.rows.read(first, last)
    else:
        row_bytes = max(1, cube[:1].nbytes)
        for first, last in blocks(len(cube), max(1, BLOCK_BYTES // row_bytes)):
            yield first, cube[first:last]


def arranged(name: str, rows: Rows, axes: str, truth_shape: tuple[int, ...] | None) -> tuple[Rows, list[str]]:
    """Give a cube's array in the order rows, columns, bands.

    Args:
        name: Name of the scene, for errors.
        rows: The array as its file holds it: three axes, or two (H * W, B) where the ground truth says H and W.
        axes: Order of the axes in the file, one of `checks.AXES`.
        truth_shape: (H, W) of the ground truth; None = there is none.

    Returns:
        The array (H, W, B), and sentences about what could be meant otherwise.

    Raises:
        SceneError: The array has another number of axes, or doesn't fit the ground truth; or it has two, in a `.mat`
            file, which doesn't say how its pixels are numbered.
    """
    shape = rows.shape
    if rows.is_raster and axes != "HWB":
        raise SceneError(f"dataset.axes={axes}: {rows.path} says the order of its axes itself; leave dataset.axes out.")
    if truth_shape is None:
        require_cube(name, shape, rows.dtype)
        return reordered(rows, axes), []
    if len(shape) == len(truth_shape) == 2 and axes == "HWB" and shape[0] == math.prod(truth_shape):
        if rows.path.suffix.lower() == ".mat":  # of NumPy's order, or of MATLAB's
            raise SceneError(
                f"{rows.path}: the cube of shape {shape} has one spectrum a row, and the file doesn't say whether its "
                "pixels are numbered along rows or, as MATLAB's reshape does, down columns; save it as rows x columns "
                "x bands."
            )
        return unfolded(rows, *truth_shape), [
            f"The cube of shape {shape} is read as one spectrum a row, row by row of {truth_shape[0]} x "
            f"{truth_shape[1]} pixels."
        ]
    require_cube(name, shape, rows.dtype)
    if len(truth_shape) != 2:
        require_map(name, truth_shape, shape)
    fitting = ["HWB"] if rows.is_raster and shape[:2] == truth_shape else fitting_axes(shape, truth_shape)
    if axes not in fitting:
        require_map(name, truth_shape, tuple(shape[axes.index(axis)] for axis in "HWB"), fitting)
    others = [order for order in fitting if order.index("B") != axes.index("B")]
    doubt = f"Warning: the cube of shape {shape} is read with dataset.axes={axes}, but {' and '.join(others)} fit, too."
    return reordered(rows, axes), [doubt] if others else []


def reordered(rows: Rows, axes: str) -> Rows:
    """Give an array whose axes are in the order `axes` in the order HWB, with the wavelengths beside it in its file."""
    if rows.centres_beside is not None:
        centres, said = rows.centres_beside(rows.shape[axes.index("B")])
        rows = replace(rows, wavelengths=centres, notices=(*rows.notices, *said), centres_beside=None)
    if axes == "HWB":
        return rows
    order = [axes.index(axis) for axis in "HWB"]

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        first, second, third = ({"H": lines, "W": columns, "B": slice(None)}[axis] for axis in axes)
        return rows.source(first, second)[:, :, third].transpose(order)

    return replace(rows, shape=tuple(rows.shape[place] for place in order), source=window)


def unfolded(rows: Rows, height: int, width: int) -> Rows:
    """Give an array (H * W, B) as (H, W, B)."""

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        spectra = rows.source(slice(lines.start * width, lines.stop * width), slice(None))
        return spectra.reshape(-1, width, rows.shape[1])[:, columns]

    return replace(rows, shape=(height, width, rows.shape[1]), source=window)


def cube_rows(path: Path, key: str | None = None) -> Rows:
    """Open the array of a cube in a file that can be read in windows.

    Raises:
        SceneError: The file can only be read whole; else as `opened_rows`.
    """
    if not readable_in_windows(path):
        raise SceneError(
            f"{path} can't be read in parts, as dataset.in_memory=false requires; save the cube with MATLAB's -v7.3 "
            "or as .npy or HDF5 file, or set dataset.in_memory=true."
        )
    return opened_rows(path, key)


def stored_cube(path: Path, key: str | None = None) -> StoredCube:
    """Open the cube (H, W, B) in a file that can be read in windows.

    Raises:
        SceneError: The array is no cube; else as `cube_rows`.
    """
    return StoredCube(cube_rows(path, key))


def is_any_of(values: NDArray[Any], absent: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each value is one of these; floating ones up to the rounding of float32."""
    found = np.zeros(values.shape, bool)
    for value in absent:
        if math.isnan(value):
            found |= np.isnan(values) if values.dtype.kind == "f" else False
        elif math.isinf(value) or values.dtype.kind != "f":
            found |= values == value
        else:
            found |= np.isclose(values, value, rtol=2.0**-22, atol=0)
    return found
