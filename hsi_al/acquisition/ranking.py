"""Picking by scores: the best open pixel, ties at random."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Picks, Positions, Query, Scores
from hsi_al.errors import AcquisitionError
from hsi_al.outputs import Outputs

# Arguments named as fields of `Outputs` -> scores (N,), higher = more wanted.
Score = Callable[..., Scores]


@dataclass(frozen=True)
class ByScore:
    """Picks the highest scores.

    Attributes:
        score: Its arguments' names are the fields of `Outputs` that it reads.
    """

    score: Score

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of `Outputs` that the score reads."""
        return tuple(signature(self.score).parameters)

    def of(self, outputs: Outputs) -> Scores:
        """Scores of some pixels, (N,).

        Raises:
            AcquisitionError: They aren't one number for every pixel.
        """
        scores = np.asarray(self.score(**{name: getattr(outputs, name) for name in self.fields}), np.float64)
        if scores.shape != outputs.predicted_class.shape:
            raise AcquisitionError(
                f"{self.score.__name__} must give {len(outputs.predicted_class)} scores, one for every pixel; it gave "
                f"an array of shape {scores.shape}."
            )
        return scores

    def __call__(self, query: Query) -> Picks:
        """Highest score first, ties in random order.

        Raises:
            AcquisitionError: A score is NaN or infinite, or there isn't one for every candidate.
        """
        view = query.view
        scores = self.of(view.outputs) if view.scores is None else view.scores
        if not np.isfinite(scores).all():
            raise AcquisitionError(f"{self.score.__name__} gave scores that are NaN or infinite; they can't be ranked.")
        wanted, ties = scores[query.free], query.rng.permutation(len(query.free))
        top = highest(wanted, ties, query.n)  # these are enough where nothing but picks closes candidates
        while (open_ := query.open_M[top]).any():
            yield int(top[open_.argmax()])
        yield from in_order(np.lexsort((ties, -wanted)), query)


def highest(scores: Scores, ties: Positions, n: int) -> Positions:
    """Positions of the n highest scores, highest first, equal ones by ascending ties; as if all N were sorted.

    Args:
        scores: (N,); NaN comes last.
        ties: A different number for every position, (N,).
        n: At most N.
    """
    wanted = -scores
    least = np.partition(wanted, n - 1)[n - 1]
    close = np.flatnonzero(~(wanted > least))  # n or more, ties of the last one and NaN included
    return close[np.lexsort((ties[close], wanted[close]))[:n]]


def ranked(scores_M: Scores, rng: np.random.Generator) -> Positions:
    """Indices by score, highest first, ties in random order, (M,)."""
    return np.lexsort((rng.permutation(len(scores_M)), -scores_M))


def in_order(order: Positions, query: Query) -> Picks:
    """The first open one of an order, again and again."""
    while True:
        yield int(order[query.open_M[order].argmax()])


def best(values: NDArray[np.floating], open_: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """Index of the highest value that is open, ties at random."""
    wanted = np.where(open_, values, -np.inf)
    highest = np.flatnonzero(wanted == wanted.max())
    return int(highest[0] if len(highest) == 1 else rng.choice(highest))
