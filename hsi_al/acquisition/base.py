"""Interface of acquisition functions, and the view of the pool and the query that they work on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError, PoolExhaustedError
from hsi_al.outputs import Outputs

Positions = NDArray[np.int64]
Scores = NDArray[np.float64]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class PoolView:
    """The label pool as an acquisition function sees it: arrays over all N candidates.

    Attributes:
        outputs: The learner's outputs, with the fields that the acquisition function needs.
        is_labelled: Whether each candidate is labelled, (N,).
        labels: Class indices, -1 = unlabelled, (N,).
        row: Row in the scene, (N,).
        column: Column in the scene, (N,).
        scores: Scores computed by `scores_of` during prediction, (N,); `outputs` then lacks the fields they were
            computed from. None = not computed yet.
    """

    outputs: Outputs
    is_labelled: NDArray[np.bool_]
    labels: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    scores: Scores | None = None


@runtime_checkable
class Acquisition(Protocol):
    """Interface of an acquisition function, which declares the outputs it needs before a learner is built.

    Attributes:
        name: Its name in the configuration.
        needs: Fields of `Outputs` that it reads.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def needs(self) -> frozenset[str]: ...  # noqa: D102

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Return the positions in the pool of n unlabelled candidates, most wanted first, (n,)."""
        ...


@dataclass(frozen=True)
class Query:
    """Input of a function that picks the pixels of a query one after another.

    Attributes:
        view: The pool.
        free: Positions in the pool of the M unlabelled candidates that this query may hold, (M,).
        labelled: Positions in the pool of the L labelled candidates, (L,).
        n: Number of pixels to pick.
        rng: Source of all draws.
        open_M: Whether each of `free` may be picked next, (M,). It changes after each pick; until n pixels are picked,
            at least one candidate is open.
    """

    view: PoolView
    free: Positions
    labelled: Positions
    n: int
    rng: np.random.Generator
    open_M: NDArray[np.bool_]

    def of_free(self, name: str) -> NDArray[Any]:
        """Copy a field of the outputs at the candidates in `free`, (M, ...)."""
        field: NDArray[Any] = getattr(self.view.outputs, name)[self.free]
        return field

    def of_labelled(self, name: str) -> NDArray[Any]:
        """Copy a field of the outputs at the labelled candidates, (L, ...)."""
        field: NDArray[Any] = getattr(self.view.outputs, name)[self.labelled]
        return field


# Yields indices into `Query.free`; each is open when it is yielded.
Picks = Iterator[int]


@dataclass(frozen=True)
class NoAcquisition:
    """The acquisition function `none`, which never queries: supervised training on the initial labels."""

    name: str = "none"
    needs: frozenset[str] = frozenset()

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Raise, because this function never queries.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("acquisition=none never queries; set protocol.rounds=0 or choose an acquisition.")


def unlabelled_positions(view: PoolView, n: int) -> Positions:
    """Return the positions of all unlabelled candidates, ascending.

    Raises:
        PoolExhaustedError: There are fewer than n unlabelled candidates.
    """
    free = np.flatnonzero(~view.is_labelled)
    if n > len(free):
        raise PoolExhaustedError(f"A query of {n} is more than the {len(free)} unlabelled candidates left.")
    return free
