"""The learner protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.outputs import Outputs, Progress

Ids = NDArray[np.int64]
PART = 2**20  # pixels predicted at once: what is said about them takes memory until it is reduced


@dataclass(frozen=True)
class Estimate:
    """How long the rounds will take here.

    Attributes:
        work: What is to be done, in words and numbers.
        fit_seconds: Per round.
        predict_seconds: Per round.
        map_seconds: For the pixels that only the map of the whole scene needs.
        measured: Whether the seconds were measured; else they only say how the rounds compare.
    """

    work: str
    fit_seconds: list[float]
    predict_seconds: float
    map_seconds: float = 0.0
    measured: bool = True

    @property
    def total_seconds(self) -> float:
        """All rounds and the map together."""
        return sum(self.fit_seconds) + len(self.fit_seconds) * self.predict_seconds + self.map_seconds


class Learner(Protocol):
    """What the loop asks of a learner.

    Attributes:
        provides: Fields of `Outputs` that it can give beside `predicted_class`.
        warm: Whether a round starts from the state of the one before, so that the state belongs to a commit.
        keeps_state: Whether `save` writes what `load` needs; else a learner that was interrupted before the maps of the
            last round is fitted once more.
        device: Where it computes; `str` names it.
        progress: Told how far a fit or prediction is.
    """

    progress: Progress | None

    @property
    def provides(self) -> frozenset[str]: ...  # noqa: D102

    @property
    def warm(self) -> bool: ...  # noqa: D102

    @property
    def keeps_state(self) -> bool: ...  # noqa: D102

    @property
    def device(self) -> object: ...  # noqa: D102

    def describe(self) -> str:
        """What it is, its size, and what deviates from its source."""
        ...

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

    def profile_to(self, trace: Path) -> None:
        """Measure phases from now on, and trace some steps into a file where that makes sense."""
        ...

    def phases(self) -> dict[str, float]:
        """Seconds by phase since `profile_to`, which ends with this; {} where none are told apart."""
        ...

    def save(self, path: Path) -> None:
        """Write the state whole or not at all."""
        ...

    def load(self, path: Path) -> None:
        """Read the state back."""
        ...


def in_parts(learner: Learner, pixel_ids: Ids) -> Iterator[Outputs]:
    """The outputs over the pixels, in their order, `PART` of them at a time."""
    for first in range(0, len(pixel_ids), PART):
        interrupts.check()
        part = pixel_ids[first : first + PART]
        with part_of(learner, first / len(pixel_ids), len(part) / len(pixel_ids)):
            yield learner.predict(part)


def predicted_map(
    learner: Learner, n_pixels: int, n_classes: int, known_ids: Ids, known_classes: Ids
) -> NDArray[np.unsignedinteger[Any]]:
    """The predicted class of every pixel of a scene, in the smallest type, (n_pixels,).

    Args:
        learner: It was fitted.
        n_pixels: Pixels of the scene.
        n_classes: Number of classes.
        known_ids: Pixels that were predicted already, (n,).
        known_classes: What was predicted there, (n,).
    """
    unknown = n_classes
    classes = np.full(n_pixels, unknown, np.min_scalar_type(unknown))
    classes[known_ids] = known_classes
    for first in range(0, n_pixels, PART):
        interrupts.check()
        rest = first + np.flatnonzero(classes[first : first + PART] == unknown)
        if len(rest):
            with part_of(learner, first / n_pixels, PART / n_pixels):
                classes[rest] = learner.predict(rest).predicted_class
    return classes


@contextmanager
def part_of(learner: Learner, done: float, share: float) -> Iterator[None]:
    """Let the learner's reports count as a share of something longer, of which a part is done."""
    progress = learner.progress
    if progress is not None:
        learner.progress = lambda text, part: progress(text, min(1.0, done + share * part))
    try:
        yield
    finally:
        learner.progress = progress


class RefittedLearner:
    """Base of learners that start anew in every round and keep nothing on disk.

    A subclass gives `fit`, `predict`, `describe` and `work`.
    """

    provides: frozenset[str] = frozenset()
    warm = False
    keeps_state = False
    progress: Progress | None = None
    device: object = "cpu"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """What one round is, in words and numbers."""
        raise NotImplementedError

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        """Say what the rounds are; nothing is measured, and all count the same."""
        work = self.work(sizes[-1][1] if sizes else len(pixel_ids), n_predicted)
        return Estimate(work, [1.0] * len(sizes), predict_seconds=0.1, map_seconds=0.1, measured=False)

    def profile_to(self, trace: Path) -> None:
        """Measure nothing: there are no phases."""

    def phases(self) -> dict[str, float]:
        """None are told apart."""
        return {}

    def save(self, path: Path) -> None:
        """Write nothing: see `keeps_state`."""

    def load(self, path: Path) -> None:
        """Read nothing: see `keeps_state`."""

    def report(self, text: str, part: float) -> None:
        """Tell whoever listens what is being done and which part of it is done, 0 to 1; a safe place to interrupt."""
        interrupts.check()
        if self.progress is not None:
            self.progress(text, part)
