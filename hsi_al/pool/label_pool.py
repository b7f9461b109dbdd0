"""The label pool: the candidates, the label of each, and the round in which it was labelled."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.errors import PoolError

Ids = NDArray[np.int64]
UNLABELLED = -1


class LabelPool:
    """The candidates of a run, with the labels given so far and the round of each label.

    Attributes:
        candidates: Pixel ids, ascending, (N,).
        labelled_at: Round in which a candidate was labelled, 0 = initial draw, -1 = unlabelled, (N,).
        label: Class index from the oracle, -1 = unlabelled, (N,).

    Args:
        candidates: Pixel ids, in any order.

    Raises:
        PoolError: There are no candidates, or a pixel id occurs twice.
    """

    def __init__(self, candidates: ArrayLike) -> None:
        self.candidates: Ids = np.sort(np.asarray(candidates, dtype=np.int64))
        if len(self.candidates) == 0:
            raise PoolError("There are no candidates: the scene or the split leaves no pixel that may be labelled.")
        if (np.diff(self.candidates) == 0).any():
            raise PoolError("The candidates hold the same pixel id twice; give every id once.")
        self.labelled_at: Ids = np.full(len(self.candidates), UNLABELLED, dtype=np.int64)
        self.label: Ids = np.full(len(self.candidates), UNLABELLED, dtype=np.int64)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whether each candidate is labelled, (N,)."""
        return np.not_equal(self.labelled_at, UNLABELLED)

    @property
    def n_labelled(self) -> int:
        """Number of labelled candidates."""
        return int(self.is_labelled.sum())

    @property
    def labelled_ids(self) -> Ids:
        """Pixel ids of the labelled candidates, ascending."""
        return self.candidates[self.is_labelled]

    @property
    def labels(self) -> Ids:
        """Class indices of `labelled_ids`, in the same order."""
        return self.label[self.is_labelled]

    @property
    def unlabelled_ids(self) -> Ids:
        """Pixel ids of the unlabelled candidates, ascending."""
        return self.candidates[~self.is_labelled]

    def positions(self, pixel_ids: ArrayLike) -> Ids:
        """Return the position of each pixel id in `candidates`, in the order of `pixel_ids`.

        Raises:
            PoolError: A pixel is no candidate.
        """
        ids = np.asarray(pixel_ids, dtype=np.int64)
        found = np.searchsorted(self.candidates, ids)
        known = self.candidates[np.minimum(found, len(self.candidates) - 1)] == ids
        if not known.all():
            raise PoolError(f"Pixel {int(ids[~known][0])} is no candidate: it can't be labelled.")
        return found

    def add(self, pixel_ids: ArrayLike, labels: ArrayLike, round_: int) -> None:
        """Record the labels of pixels.

        Args:
            pixel_ids: Unlabelled candidates, each once, (n,).
            labels: Class indices of these pixels, (n,).
            round_: First round that trains on these labels.

        Raises:
            PoolError: A pixel occurs twice, is no candidate or is labelled already, or the labels are not n class
                indices from 0; the pool is then unchanged.
        """
        positions = self.positions(pixel_ids)
        classes = np.asarray(labels, dtype=np.int64)
        if len(np.unique(positions)) != len(positions):
            raise PoolError("A query holds the same pixel twice.")
        if self.is_labelled[positions].any():
            again = int(self.candidates[positions[self.is_labelled[positions]][0]])
            raise PoolError(f"Pixel {again} is labelled already.")
        if classes.shape != positions.shape or (classes < 0).any():
            raise PoolError(f"{len(positions)} pixels need as many class indices, none of them negative.")
        self.labelled_at[positions] = round_
        self.label[positions] = classes
