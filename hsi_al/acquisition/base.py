"""What an acquisition function sees and what it must do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError, PoolExhaustedError
from hsi_al.outputs import Outputs

Positions = NDArray[np.int64]
Scores = NDArray[np.float64]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class PoolView:
    """Arrays over all N candidates.

    Attributes:
        outputs: The learner's outputs that the function needs.
        is_labelled: (N,).
        labels: Class indices, -1 = unlabelled, (N,).
        row: Row in the scene, (N,).
        column: Column in the scene, (N,).
        scores: What `scores_of` gave while predicting, (N,); the outputs then lack what they were made of.
    """

    outputs: Outputs
    is_labelled: NDArray[np.bool_]
    labels: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    scores: Scores | None = None


class Acquisition(Protocol):
    """An acquisition function declares what it needs before anything is built.

    Attributes:
        name: Its name in configuration.
        needs: Fields of `Outputs` that it reads.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def needs(self) -> frozenset[str]: ...  # noqa: D102

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Positions of n unlabelled candidates, most wanted first, (n,)."""
        ...


@dataclass(frozen=True)
class Query:
    """What a function picks from, one pixel after another.

    Attributes:
        view: The pool.
        free: Positions in the pool of the M unlabelled candidates that may be asked, (M,).
        labelled: Positions of the labelled ones, (L,).
        n: Pixels wanted.
        rng: Source of all draws.
        open_M: Which of `free` may be picked next; it changes between two picks, and one is open while any is wanted.
    """

    view: PoolView
    free: Positions
    labelled: Positions
    n: int
    rng: np.random.Generator
    open_M: NDArray[np.bool_]

    def of_free(self, name: str) -> NDArray[Any]:
        """A copy of a field of the outputs over the candidates that may be asked, (M, ...)."""
        field: NDArray[Any] = getattr(self.view.outputs, name)[self.free]
        return field

    def of_labelled(self, name: str) -> NDArray[Any]:
        """A copy of a field of the outputs over the labelled candidates, (L, ...)."""
        field: NDArray[Any] = getattr(self.view.outputs, name)[self.labelled]
        return field


# Yields indices into `Query.free`, each open at its time.
Picks = Iterator[int]


@dataclass(frozen=True)
class NoAcquisition:
    """Never asks: supervised training on the initial labels."""

    name: str = "none"
    needs: frozenset[str] = frozenset()

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Nothing can be selected.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("acquisition=none never queries; set protocol.rounds=0 or choose an acquisition.")


def unlabelled_positions(view: PoolView, n: int) -> Positions:
    """Positions of the unlabelled candidates, ascending.

    Raises:
        PoolExhaustedError: Fewer than n.
    """
    free = np.flatnonzero(~view.is_labelled)
    if n > len(free):
        raise PoolExhaustedError(f"A query of {n} is more than the {len(free)} unlabelled candidates left.")
    return free
