"""A cube that stays in its file, for scenes larger than memory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.checks import Labels, finite_cube, require_cube, require_map, require_range, whole_labels
from hsi_al.scenes.readers import opened_rows, readable_in_windows

BLOCK_BYTES = 2**26  # of a file held in memory at once while it is scanned


@dataclass(frozen=True, eq=False)
class StoredCube:
    """A cube (H, W, B) that stays in its file and is read in windows.

    Args:
        rows: The opened array of the cube.

    Raises:
        SceneError: The array is no cube of real numbers.
    """

    rows: Rows

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
        return finite_cube(f"{self.rows.path}, rows {first} to {last - 1}", self.rows.read(first, last, left, right))

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Minimum and maximum over all pixels and bands, found in one pass over the file.

        Raises:
            SceneError: The file is damaged, holds NaN or infinite values, or has the same value everywhere.
        """
        parts = (self.read(first, last) for first, last in self.rows.blocks(BLOCK_BYTES))
        lows, highs = zip(*((part.min(), part.max()) for part in parts), strict=True)
        low, high = min(lows), max(highs)
        require_range(str(self.rows.path), self.shape, low, high)
        return float(low), float(high)

    def bands(self, chosen: list[int]) -> NDArray[Any]:
        """Read the n chosen bands of every pixel, (H, W, n)."""
        picture = np.empty((*self.shape[:2], len(chosen)), self.rows.dtype.newbyteorder("="))
        for first, last in self.rows.blocks(BLOCK_BYTES):
            picture[first:last] = self.read(first, last)[:, :, chosen]
        return picture


def stored_cube(path: Path, key: str | None = None) -> StoredCube:
    """Open the cube in a file that can be read in windows.

    Raises:
        SceneError: The file can only be read whole, or the array is no cube; else as `opened_rows`.
    """
    if not readable_in_windows(path):
        raise SceneError(
            f"{path} can't be read in parts, as dataset.in_memory=false requires; save the cube with MATLAB's -v7.3 "
            "or as .npy or HDF5 file, or set dataset.in_memory=true."
        )
    return StoredCube(opened_rows(path, key))


def read_labels(name: str, path: Path, key: str | None, cube_shape: tuple[int, ...]) -> Labels:
    """Read a ground truth (H, W) block by block, in the smallest unsigned integer type.

    Args:
        name: Name of the scene, for errors.
        path: File of the ground truth.
        key: Key of the ground truth; None = the only array of two or more dimensions.
        cube_shape: Shape (H, W, B) of the cube.

    Raises:
        SceneError: The ground truth doesn't fit the cube or holds values other than whole numbers from 0; else as
            `opened_rows`.
    """
    with opened_rows(path, key) as rows:
        require_map(name, rows.shape, cube_shape)
        parts = [whole_labels(name, rows.read(*block)) for block in rows.blocks(BLOCK_BYTES)]
    return np.concatenate(parts)
