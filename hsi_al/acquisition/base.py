"""What an acquisition function sees and what it must do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError, PoolExhaustedError
from hsi_al.outputs import Outputs

Positions = NDArray[np.int64]
Scores = NDArray[np.float64]


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
class ScoreAcquisition:
    """Takes the n unlabelled candidates with the highest scores.

    Attributes:
        name: Its name in configuration.
        needs: Fields of `Outputs` that it reads.
        score: Outputs -> scores (N,), higher = more wanted.
        subset: Score only so many randomly drawn unlabelled candidates, against near-duplicates (Yoo & Kweon 2019);
            None = all of them, as in the paper.
    """

    name: str
    needs: frozenset[str]
    score: Callable[[Outputs], Scores]
    subset: int | None = None

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Positions of n unlabelled candidates, highest score first, ties in random order (seeded).

        Raises:
            PoolExhaustedError: Fewer than n candidates are unlabelled.
        """
        free = unlabelled_positions(view, n)
        if self.subset is not None:
            free = rng.permutation(free)[: max(n, self.subset)]
        scores = (self.score(view.outputs) if view.scores is None else view.scores)[free]
        return free[highest(scores, rng.permutation(len(free)), n)]


@dataclass(frozen=True)
class RandomAcquisition:
    """Draws uniformly: the baseline beside every method."""

    name: str = "random"
    needs: frozenset[str] = frozenset()

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Positions of n unlabelled candidates.

        Raises:
            PoolExhaustedError: Fewer than n candidates are unlabelled.
        """
        return rng.choice(unlabelled_positions(view, n), n, replace=False)


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


def scores_of(acquisition: Acquisition, outputs: Outputs) -> Scores | None:
    """Scores of some pixels, (N,), where one number says all that the function wants to know of a pixel; else None.

    They are made as the pixels are predicted, so that nobody holds N x C probabilities of a large scene.
    """
    return acquisition.score(outputs) if isinstance(acquisition, ScoreAcquisition) else None


def highest(scores: Scores, ties: Positions, n: int) -> Positions:
    """Positions of the n highest scores, highest first, equal ones by ascending ties; as if all N were sorted.

    Args:
        scores: (N,); those that are no numbers come last.
        ties: A different number for every position, (N,).
        n: At most N.
    """
    wanted = -scores
    least = np.partition(wanted, n - 1)[n - 1]
    close = np.flatnonzero(~(wanted > least))  # n or more, ties of the last one and NaN included
    return close[np.lexsort((ties[close], wanted[close]))[:n]]


def unlabelled_positions(view: PoolView, n: int) -> Positions:
    """Positions of the unlabelled candidates, ascending.

    Raises:
        PoolExhaustedError: Fewer than n.
    """
    free = np.flatnonzero(~view.is_labelled)
    if n > len(free):
        raise PoolExhaustedError(f"A query of {n} is more than the {len(free)} unlabelled candidates left.")
    return free
