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
    """

    def __init__(self, pixel_ids: Ids, labels: Ids) -> None:
        self._labels = dict(zip(pixel_ids.tolist(), labels.tolist(), strict=True))

    def label(self, pixel_ids: Ids) -> Ids:
        """Class indices of pixels, (n,).

        Raises:
            PoolError: The ground truth has no label there.
        """
        try:
            return np.array([self._labels[pixel_id] for pixel_id in pixel_ids.tolist()], dtype=np.int64)
        except KeyError as missing:
            raise PoolError(f"The ground truth has no label at pixel {missing}.") from missing
