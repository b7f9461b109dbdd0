"""The acquisition functions by name: a decorator beside each function puts it here."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TypeVar

from hsi_al import acquisition
from hsi_al.acquisition.base import Picks
from hsi_al.acquisition.ranking import ByScore, Score

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Batch:
    """A function that picks a batch.

    Attributes:
        picks: The query, and its `options` by name -> picks.
        needs: Fields of `Outputs` that it reads.
    """

    picks: Callable[..., Picks]
    needs: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the options that `picks` gets."""
        return tuple(signature(self.picks).parameters)[1:]

    @property
    def options(self) -> set[str]:
        """Names of the options that make a difference."""
        by_score = {"score"} if isinstance(self.picks, ByScore) else set()
        by_draws = {"draws"} if "mc_probabilities_NKC" in self.needs else set()
        return by_score | by_draws | set(self.arguments)


SCORES: dict[str, Score] = {}
BATCHES: dict[str, Batch] = {}


def score(*names: str) -> Callable[[F], F]:
    """Under these names a run asks for the pixels with the highest values of the function.

    Its arguments' names are the fields of `Outputs` that it reads; it gives a number for each pixel, (N,).
    """

    def put(function: F) -> F:
        SCORES.update(dict.fromkeys(names, function))  # type: ignore[arg-type]
        return function

    return put


def batch(name: str, *needs: str) -> Callable[[F], F]:
    """Under this name a run asks for what the function picks, one pixel after another.

    Args:
        name: Of the acquisition function.
        needs: Fields of `Outputs` that it reads.
    """

    def put(function: F) -> F:
        BATCHES[name] = Batch(function, needs)  # type: ignore[arg-type]
        return function

    return put


def acquisitions() -> tuple[str, ...]:
    """All names in alphabetical order, `none` last; the modules of this folder are imported for it."""
    for module in pkgutil.iter_modules(acquisition.__path__):
        import_module(f"{acquisition.__name__}.{module.name}")
    return (*sorted({*SCORES, *BATCHES}), "none")
