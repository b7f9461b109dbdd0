"""What closes pixels while a query grows: they were picked, lie too near, or their class has its share."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass
class Limits:
    """Keeps the mask of the M candidates that may be picked next.

    Where no candidate is left at the distance, the distance is halved for the rest of the query, as often as it takes;
    shares of classes always hold, because they are made to be reachable.

    Attributes:
        row: Rows in the scene, (M,).
        column: Columns, (M,).
        n: Pixels wanted, at most M.
        min_distance: Two picks differ by so many rows or so many columns at least (Chebyshev), pixels.
        classes: Predicted classes, of each of which equally many are picked where there are, (M,); None = any.
        open_M: The mask, (M,); always the same array.
        picks: Indices picked so far.
    """

    row: Ids
    column: Ids
    n: int
    min_distance: int = 1
    classes: Ids | None = None
    picks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open_M = np.ones(len(self.row), dtype=bool)
        self.left = None if self.classes is None else np.full(self.classes.max() + 1, share(self.classes, self.n))

    def take(self, index: int) -> None:
        """Pick an open candidate."""
        assert self.open_M[index]
        self.picks.append(index)
        if self.left is not None and self.classes is not None:
            self.left[self.classes[index]] -= 1
        self._close(index)
        while self.min_distance > 1 and len(self.picks) < self.n and not self.open_M.any():
            self.min_distance //= 2
            self.open_M[:] = True
            for earlier in self.picks:
                self._close(earlier)

    def _close(self, index: int) -> None:
        self.open_M[index] = False
        if self.min_distance > 1:
            apart = np.maximum(abs(self.row - self.row[index]), abs(self.column - self.column[index]))
            self.open_M[apart < self.min_distance] = False
        if self.left is not None and self.classes is not None and self.left[self.classes[index]] == 0:
            self.open_M[self.classes == self.classes[index]] = False


def share(classes: Ids, n: int) -> int:
    """The fewest pixels per class that make n possible: ceil(n / classes) unless some classes (M,) have fewer."""
    counts = np.bincount(classes)
    counts = counts[counts > 0]
    fewest = -(-n // len(counts))
    return next(most for most in range(fewest, n + 1) if np.minimum(counts, most).sum() >= n)
