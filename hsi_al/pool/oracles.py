"""Oracles, which give the labels of queried pixels."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import PoolError

Ids = NDArray[np.int64]


class Oracle(Protocol):
    """Interface of an oracle, which gives the labels of queried pixels."""

    def label(self, pixel_ids: Ids) -> Ids:
        """Return the class indices of pixels, (n,)."""
        ...


class GroundTruthOracle:
    """Oracle that takes the labels from the ground truth of the scene.

    Args:
        pixel_ids: The labelled pixels of the scene, ascending, (N,).
        labels: Class indices of these pixels, (N,).

    Raises:
        ValueError: `labels` and `pixel_ids` differ in length.
    """

    def __init__(self, pixel_ids: Ids, labels: Ids) -> None:
        if labels.shape != pixel_ids.shape:
            raise ValueError(f"labels has length {len(labels)}, but there are {len(pixel_ids)} pixels")
        self._pixel_ids, self._labels = pixel_ids, labels

    def label(self, pixel_ids: Ids) -> Ids:
        """Return the class indices of pixels, (n,).

        Raises:
            PoolError: The ground truth has no label at a pixel.
        """
        unknown = ~np.isin(pixel_ids, self._pixel_ids)
        if unknown.any():
            raise PoolError(f"The ground truth has no label at pixel {pixel_ids[unknown][0]}.")
        return self._labels[np.searchsorted(self._pixel_ids, pixel_ids)]
