"""The learner protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
# Told what is being done ("epoch 3/40") and which part of the current fit or prediction is done, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Estimate:
    """How long the rounds will take here.

    Attributes:
        work: What is to be done, in words and numbers.
        fit_seconds: Per round.
        predict_seconds: Per round.
        map_seconds: For the pixels that only the map of the whole scene needs.
    """

    work: str
    fit_seconds: list[float]
    predict_seconds: float
    map_seconds: float = 0.0

    @property
    def total_seconds(self) -> float:
        """All rounds and the map together."""
        return sum(self.fit_seconds) + len(self.fit_seconds) * self.predict_seconds + self.map_seconds


class Learner(Protocol):
    """What the loop asks of a learner.

    Attributes:
        provides: Fields of `Outputs` that it can give beside `predicted_class`.
        warm: Whether a round starts from the state of the one before, so that the state belongs to a commit.
        progress: Told how far a fit or prediction is.
    """

    progress: Progress | None

    @property
    def provides(self) -> frozenset[str]: ...  # noqa: D102

    @property
    def warm(self) -> bool: ...  # noqa: D102

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Learn from labelled pixels (n,) and their class indices (n,)."""
        ...

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Outputs over the pixels, in their order."""
        ...

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        """Measure a little on some labelled pixels, then foretell the work.

        Args:
            pixel_ids: Labelled pixels to measure on, (n,).
            labels: Their class indices, (n,).
            sizes: (round, labels) of every round to come.
            n_predicted: Pixels predicted per round.
            n_mapped: Pixels that only the map of the whole scene needs.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the state whole or not at all."""
        ...

    def load(self, path: Path) -> None:
        """Read the state back."""
        ...
