"""What the model of each query said about the candidates, kept so that a restart can compare the next one with it."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.files import replacing_hdf5

Ids = NDArray[np.int64]


def keep_predicted(folder: Path, number: int, values: Ids) -> None:
    """Keep what a model said before its query is kept; the one before stays, in case that never happens.

    Args:
        folder: The session's folder.
        number: Number of the model among those that have asked, from 1.
        values: Label value of each candidate, (N,).

    Raises:
        OSError: It can't be written.
    """
    with replacing_hdf5(name_of(folder, number)) as file:
        file.create_dataset("candidates", data=values.astype(np.uint8), compression="gzip")
    name_of(folder, number - 2).unlink(missing_ok=True)


def kept_predicted(folder: Path, number: int, n: int) -> Ids | None:
    """Return what a model said about n candidates, (n,); None if that isn't known, as in sessions of before.

    Args:
        folder: The session's folder.
        number: Number of the model among those that have asked, from 1.
        n: Number of the candidates.
    """
    try:
        with h5py.File(name_of(folder, number)) as file:
            values = np.asarray(file["candidates"][()], np.int64)
    except (OSError, KeyError):
        return None
    return values if values.shape == (n,) else None


def name_of(folder: Path, number: int) -> Path:
    """Return the file of a model."""
    return folder / f"predicted_{number}.h5"
