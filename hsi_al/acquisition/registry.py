"""The registry of acquisition functions by name, which the decorators `score` and `batch` fill."""

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
    """A registered function that picks the pixels of a query.

    Attributes:
        picks: Function (query, its options by name) -> picks.
        needs: Fields of `Outputs` that it reads.
    """

    picks: Callable[..., Picks]
    needs: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the options that `picks` takes as arguments."""
        return tuple(signature(self.picks).parameters)[1:]

    @property
    def options(self) -> set[str]:
        """Names of the options that affect this function."""
        by_score = {"score"} if isinstance(self.picks, ByScore) else set()
        by_draws = {"draws"} if "mc_probabilities_NKC" in self.needs else set()
        return by_score | by_draws | set(self.arguments)


SCORES: dict[str, Score] = {}
BATCHES: dict[str, Batch] = {}


def score(*names: str) -> Callable[[F], F]:
    """Register a score function under these names; a query holds the pixels with the highest scores.

    The names of the function's arguments are the fields of `Outputs` that it reads. It returns a score per pixel, (N,).
    """

    def put(function: F) -> F:
        SCORES.update(dict.fromkeys(names, function))  # type: ignore[arg-type]
        return function

    return put


def batch(name: str, *needs: str) -> Callable[[F], F]:
    """Register a function that picks the pixels of a query one after another.

    Args:
        name: Name of the acquisition function.
        needs: Fields of `Outputs` that it reads.
    """

    def put(function: F) -> F:
        BATCHES[name] = Batch(function, needs)  # type: ignore[arg-type]
        return function

    return put


def acquisitions() -> tuple[str, ...]:
    """Import all modules of this folder and return the registered names, in alphabetical order, `none` last."""
    for module in pkgutil.iter_modules(acquisition.__path__):
        import_module(f"{acquisition.__name__}.{module.name}")
    return (*sorted({*SCORES, *BATCHES}), "none")
