"""MATLAB files of versions 4 to 7; files of version 7.3 are HDF5, see `hdf5.py`."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from hsi_al.scenes.arrays import Format, Variable, chosen

MATLAB_NUMBERS = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


def read(path: Path, key: str | None) -> NDArray[Any]:
    """Read the variable with this key, or the only numeric one of two or more dimensions."""
    variables = [
        Variable(name, tuple(shape), kind, kind in MATLAB_NUMBERS)
        for name, shape, kind in scipy.io.whosmat(str(path), appendmat=False)
    ]
    name = chosen(path, variables, key)
    array = scipy.io.loadmat(str(path), variable_names=[name], appendmat=False)[name]
    if not isinstance(array, np.ndarray):  # for a damaged variable scipy returns the text of the error
        raise ValueError(array)
    return array


FORMATS = (Format((".mat",), read, order=1),)  # tried after MATLAB 7.3
