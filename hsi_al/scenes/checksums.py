"""Checksums of a scene's values, by which a run knows its data again wherever and however they are stored."""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.scenes.arrays import blocks

if TYPE_CHECKING:
    from hsi_al.scenes.scene import Scene

BLOCK_BYTES = 2**26  # of an array converted at once


class ValuesChecksum:
    """The SHA-256 checksum of an array's values, added block by block; independent of the file that they lie in.

    Args:
        shape: Shape of the whole array.
        dtype: Number type; its byte order doesn't matter.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype.newbyteorder("<")
        self._sum = hashlib.sha256(f"{shape} {self.dtype.str}".encode())

    def add(self, block: NDArray[Any]) -> None:
        """Add the next rows."""
        self._sum.update(np.ascontiguousarray(block, self.dtype).data)

    @property
    def text(self) -> str:
        """The checksum as hexadecimal text."""
        return self._sum.hexdigest()


def data_checksums(scene: "Scene") -> dict[str, str]:
    """Return the checksums of a scene's `cube`, `ground_truth` and, if it is given, `test_set`, as hexadecimal text.

    They are the SHA-256 of shape, number type and values: those of the cube as it is read, of the labels that the run
    uses, without the classes that it leaves out, and of the ids of the labelled pixels that only test.
    """
    source = scene.source
    cube = checksum(source) if isinstance(source, np.ndarray) else source.checksum
    found = {"cube": cube, "ground_truth": ground_truth_checksum(scene)}
    if scene.test_pixels is not None:
        found["test_set"] = checksum(np.flatnonzero(scene.test_pixels & (scene.ground_truth > 0)))
    return found


def ground_truth_checksum(scene: "Scene") -> str:
    """Return the checksum of a scene's labels, without the classes that the run leaves out."""
    return checksum(scene.ground_truth, np.dtype(np.int64))


def checksum(array: NDArray[Any], kind: np.dtype[Any] | None = None) -> str:
    """Return the checksum of an array in memory, as if it were of the number type `kind`."""
    found = ValuesChecksum(array.shape, kind or array.dtype)
    rows = max(1, BLOCK_BYTES // max(1, array[:1].size * found.dtype.itemsize))
    for first, last in blocks(len(array), rows):
        found.add(array[first:last])
    return found.text
