"""Picking by scores: the open pixel with the highest score, ties at random."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import signature

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Picks, PoolView, Positions, Query, Scores
from hsi_al.errors import AcquisitionError
from hsi_al.outputs import Outputs

# Function whose arguments are named as fields of `Outputs` -> scores (N,), higher = more wanted.
Score = Callable[..., Scores]


@dataclass(frozen=True)
class ByScore:
    """Function that picks the pixels with the highest scores.

    Attributes:
        score: Score function; the names of its arguments are the fields of `Outputs` that it reads (`read_by`).
    """

    score: Score

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of `Outputs` that the score reads."""
        return read_by(self.score)

    def of(self, outputs: Outputs) -> Scores:
        """Return the scores of the N pixels of the outputs, (N,).

        Raises:
            AcquisitionError: The score function does not return one number for every pixel, or writes to its arrays.
        """
        scores = scored(self.score, **{name: getattr(outputs, name) for name in self.fields})
        if scores.shape != outputs.predicted_class.shape:
            raise AcquisitionError(
                f"{name_of(self.score)} must return {len(outputs.predicted_class)} scores, one per pixel; it returned "
                f"an array of shape {scores.shape}."
            )
        return scores

    def __call__(self, query: Query) -> Picks:
        """Pick the highest score first, ties in random order.

        Raises:
            AcquisitionError: A score is NaN or infinite, or the number of scores is wrong.
        """
        view = query.view
        scores = self.of(view.outputs) if view.scores is None else view.scores
        yield from highest_first(scores, query, name_of(self.score))


@dataclass(frozen=True)
class ByView:
    """Function that picks the pixels with the highest scores, computed from the whole pool instead of pixel by pixel.

    Attributes:
        score: Function of a `PoolView` of N candidates that returns their scores, (N,), higher = more wanted.
    """

    score: Callable[[PoolView], Scores]

    def __call__(self, query: Query) -> Picks:
        """Pick the highest score first, ties in random order.

        Raises:
            AcquisitionError: A score is NaN or infinite, there isn't one number for every candidate, or the function
                writes to its arrays.
        """
        scores = scored(self.score, query.view)
        if scores.shape != query.view.is_labelled.shape:
            raise AcquisitionError(
                f"{name_of(self.score)} must return {len(query.view.is_labelled)} scores, one per candidate; it "
                f"returned an array of shape {scores.shape}."
            )
        yield from highest_first(scores, query, name_of(self.score))


def read_by(function: Callable[..., Scores]) -> tuple[str, ...]:
    """Return the arguments that a score function must be given; one with a default, such as a power, is its own."""
    outputs = {field.name for field in fields(Outputs)}
    arguments = signature(function).parameters.values()
    return tuple(
        argument.name for argument in arguments if argument.default is argument.empty or argument.name in outputs
    )


def scored(function: Callable[..., Scores], *arguments: object, **named: object) -> Scores:
    """Return what a function of the caller's own gives.

    Raises:
        AcquisitionError: It writes to the arrays that it gets.
    """
    try:
        return np.asarray(function(*arguments, **named), np.float64)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AcquisitionError(
            f"{name_of(function)} changes an array that it gets, which others read, too; let it change a .copy()."
        ) from error


def name_of(function: Callable[..., object]) -> str:
    """Return the name of a function, or of the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))


def highest_first(scores: Scores, query: Query, name: str) -> Picks:
    """Pick the highest of the scores of all candidates (N,) first, ties in random order; `name` is the function's.

    Raises:
        AcquisitionError: A score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise AcquisitionError(f"{name} returned NaN or infinite scores, which can't be ranked.")
    wanted, ties = scores[query.free], query.rng.permutation(len(query.free))
    top = highest(wanted, ties, query.n)  # enough unless distance or class balance closes some of them
    while (open_ := query.open_M[top]).any():
        yield int(top[open_.argmax()])
    yield from in_order(np.lexsort((ties, -wanted)), query)


def highest(scores: Scores, ties: Positions, n: int) -> Positions:
    """Return the positions of the n highest scores, highest first, equal scores by ascending `ties`, (n,).

    The result is the same as that of sorting all N, in less time.

    Args:
        scores: Scores, (N,); NaN comes last.
        ties: A different number for every position, (N,).
        n: Number of positions, 1 to N.
    """
    wanted = -scores
    least = np.partition(wanted, n - 1)[n - 1]
    close = np.flatnonzero(~(wanted > least))  # n or more: includes NaN and all ties of the n-th highest
    return close[np.lexsort((ties[close], wanted[close]))[:n]]


def ranked(scores_M: Scores, rng: np.random.Generator) -> Positions:
    """Return all indices by score, highest first, ties in random order, (M,)."""
    return np.lexsort((rng.permutation(len(scores_M)), -scores_M))


def in_order(order: Positions, query: Query) -> Picks:
    """Pick the first open index of `order`, repeatedly."""
    while True:
        yield int(order[query.open_M[order].argmax()])


def best(values: NDArray[np.floating], open_: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """Return the index of the highest open value, ties at random."""
    wanted = np.where(open_, values, -np.inf)
    highest = np.flatnonzero(wanted == wanted.max())
    return int(highest[0] if len(highest) == 1 else rng.choice(highest))
