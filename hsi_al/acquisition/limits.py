"""Limits on the next pick: a pixel is closed once it is picked, too near to a picked pixel, or its class is full."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass
class Limits:
    """Mask of the M candidates that may be picked next, updated after every pick.

    If no candidate is open at `min_distance`, the distance is halved for the rest of the query, as often as needed. The
    share of a class is never exceeded: `share` makes it large enough for n picks.

    Attributes:
        row: Row in the scene, (M,).
        column: Column in the scene, (M,).
        n: Number of pixels to pick, at most M.
        min_distance: Smallest Chebyshev distance of two picks, max(|rows|, |columns|), in pixels.
        classes: Predicted classes, to pick equally many pixels of each as far as possible, (M,); None = no balance.
        open_M: Whether each candidate may be picked next, (M,); updated in place.
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
        """Record the pick of an open candidate and close the candidates that it excludes."""
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
    """Return the smallest limit per class that allows n picks from `classes` (M,).

    It is ceil(n / number of classes), or more if some classes have fewer candidates.
    """
    counts = np.bincount(classes)
    counts = counts[counts > 0]
    fewest = -(-n // len(counts))
    return next(most for most in range(fewest, n + 1) if np.minimum(counts, most).sum() >= n)
