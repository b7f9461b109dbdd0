"""NumPy's .npy files, which hold one array; a key is ignored."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.scenes.arrays import Format, Rows


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read the array."""
    with path.open("rb") as file:  # numpy.load would also read zip archives and pickles
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def rows(path: Path, key: str | None) -> Rows:
    """Open the array for reading in windows."""
    mapped = np.lib.format.open_memmap(path, mode="r")
    return Rows(path, mapped.shape, mapped.dtype, lambda rows, columns: np.array(mapped[rows, columns]))


FORMATS = (Format((".npy",), read, rows),)
