"""Where labels come from."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import PoolError

Ids = NDArray[np.int64]


class Oracle(Protocol):
    """Answers a query."""

    def label(self, pixel_ids: Ids) -> Ids:
        """Class indices of pixels, (n,)."""
        ...


class GroundTruthOracle:
    """Answers from the scene's ground truth.

    Args:
        pixel_ids: The labelled pixels of the scene, ascending, (N,).
        labels: Their class indices, (N,).

    Raises:
        ValueError: Another number of labels than pixels.
    """

    def __init__(self, pixel_ids: Ids, labels: Ids) -> None:
        if labels.shape != pixel_ids.shape:
            raise ValueError(f"argument 2 holds {len(labels)} labels for {len(pixel_ids)} pixels")
        self._pixel_ids, self._labels = pixel_ids, labels

    def label(self, pixel_ids: Ids) -> Ids:
        """Class indices of pixels, (n,).

        Raises:
            PoolError: The ground truth has no label there.
        """
        unknown = ~np.isin(pixel_ids, self._pixel_ids)
        if unknown.any():
            raise PoolError(f"The ground truth has no label at pixel {pixel_ids[unknown][0]}.")
        return self._labels[np.searchsorted(self._pixel_ids, pixel_ids)]
