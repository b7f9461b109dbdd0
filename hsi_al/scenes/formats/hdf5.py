"""HDF5 files, and MATLAB files of version 7.3, which are HDF5 with reversed axes; keys may lie in groups ("a/b")."""

from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.scenes.arrays import Format, Rows, Variable, chosen
from hsi_al.scenes.formats.matlab import MATLAB_NUMBERS

SUFFIXES = (".h5", ".hdf5", ".he5")
# A strip of rows may end inside a row of chunks; a cache that holds such a row unpacks every chunk only once.
CHUNK_CACHE = {"rdcc_nbytes": 2**28, "rdcc_nslots": 100_003}


def is_matlab73(path: Path) -> bool:
    """Return whether a file has the header of MATLAB 7.3, or is an HDF5 file with the extension .mat."""
    with path.open("rb") as file:
        head = file.read(19)
    return head == b"MATLAB 7.3 MAT-file" or (path.suffix.lower() == ".mat" and bool(h5py.is_hdf5(path)))


def read(path: Path, key: str | None, matlab: bool) -> NDArray[Any]:
    """Read the dataset with this key, or the only numeric one of two or more dimensions."""
    with h5py.File(path, "r") as file:
        array = np.asarray(_hdf5_dataset(file, path, key, matlab)[()])
    return array.T if matlab else array


def _hdf5_dataset(file: h5py.File, path: Path, key: str | None, matlab: bool) -> h5py.Dataset:
    variables: list[Variable] = []

    def note(name: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("#"):  # "#refs#" is internal to MATLAB
            variables.append(_hdf5_variable(name, node, matlab))

    file.visititems(note)
    return file[chosen(path, variables, key and key.strip("/"))]


def rows(path: Path, key: str | None, matlab: bool) -> Rows:
    """Open the dataset that `read` reads, for reading in windows."""
    file = h5py.File(path, "r", **CHUNK_CACHE)
    try:
        stored = _hdf5_dataset(file, path, key, matlab)
    except BaseException:
        file.close()
        raise
    if matlab:
        return Rows(path, stored.shape[::-1], stored.dtype, lambda lines, cols: stored[..., cols, lines].T, file.close)
    return Rows(path, stored.shape, stored.dtype, lambda lines, cols: stored[lines, cols], file.close)


def _hdf5_variable(name: str, node: h5py.Dataset, matlab: bool) -> Variable:
    shape = tuple(node.shape or ())  # an HDF5 null has no shape
    kind, numeric = str(node.dtype), node.dtype.kind in "buif"
    if matlab:
        # HDF5 stores MATLAB's text and empty arrays as numbers; only these attributes reveal them.
        matlab_class = node.attrs.get("MATLAB_class", b"double")
        kind = matlab_class.decode() if isinstance(matlab_class, bytes) else str(matlab_class)
        numeric = numeric and kind in MATLAB_NUMBERS and "MATLAB_empty" not in node.attrs
        shape = shape[::-1]
    return Variable(name, shape, kind, numeric)


FORMATS = (
    Format((".mat", *SUFFIXES), partial(read, matlab=True), partial(rows, matlab=True), is_matlab73, order=-1),
    Format(SUFFIXES, partial(read, matlab=False), partial(rows, matlab=False)),
)
