"""The learner protocol: what the active learning loop needs from a method."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.errors import LearnerError
from hsi_al.outputs import Outputs, Progress

Ids = NDArray[np.int64]
ROUNDING = 1e-2  # of probabilities in half precision
PART = 2**20  # pixels per call of `predict`, which bounds the memory that their outputs take


@dataclass(frozen=True)
class Estimate:
    """The expected computing time of a run on this machine.

    Attributes:
        work: The computations of all rounds, in words and numbers, for the user.
        fit_seconds: Seconds of training, one value per round.
        predict_seconds: Seconds of prediction per round.
        map_seconds: Seconds for the pixels that are predicted only for the map of the whole scene.
        measured: Whether the seconds were measured; otherwise they are only costs relative to each other.
    """

    work: str
    fit_seconds: list[float]
    predict_seconds: float
    map_seconds: float = 0.0
    measured: bool = True

    @property
    def total_seconds(self) -> float:
        """Seconds of all rounds and the map together."""
        return sum(self.fit_seconds) + len(self.fit_seconds) * self.predict_seconds + self.map_seconds


class Learner(Protocol):
    """The attributes and methods that the active learning loop needs from a learner.

    Attributes:
        provides: Optional fields of `Outputs` that `predict` can fill in, besides `predicted_class`.
        warm: Whether a round starts from the state of the previous round, so that every round's state is saved.
        keeps_state: Whether `save` writes what `load` needs. If not, a run that was interrupted between its last round
            and the map of the scene fits the learner again when it continues.
        device: The device that it computes on; `str(device)` is shown to the user.
        progress: Called with the progress of a fit or a prediction, unless it is None.
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
        """Return the name of the method, its size, and how it deviates from its source."""
        ...

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Learn in a round from labelled pixel ids (n,) and their class indices (n,)."""
        ...

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Return the outputs for pixel ids (n,), in the order of the ids."""
        ...

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        """Estimate the computing time of the coming rounds from short measurements on some labelled pixels.

        Args:
            pixel_ids: Labelled pixels to measure on, (n,).
            labels: Their class indices, (n,).
            sizes: (round, number of labels) of every coming round.
            n_predicted: Number of pixels predicted in every round.
            n_mapped: Number of pixels predicted only for the map of the whole scene.
        """
        ...

    def profile_to(self, trace: Path) -> None:
        """Start to measure the seconds of each phase and, if it trains in steps, write a trace of some steps."""
        ...

    def phases(self) -> dict[str, float]:
        """Finish the trace and return the seconds per phase since `profile_to`; {} without phases."""
        ...

    def save(self, path: Path) -> None:
        """Write the state to a file, completely or not at all."""
        ...

    def load(self, path: Path) -> None:
        """Restore the state that `save` wrote."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A learner that may have features of pixels before it has seen a label."""

    def unlabelled_features(self, pixel_ids: Ids) -> NDArray[np.float32] | None:
        """Return the features of pixel ids (n,), (n, D); None if they depend on labels."""
        ...


@runtime_checkable
class HasDraws(Protocol):
    """A learner whose outputs depend on draws that a state saved by an earlier version lacks.

    Attributes:
        draws_are_lost: Whether the state that was loaded lacks the draws of its round.
    """

    draws_are_lost: bool


@runtime_checkable
class HasDoubts(Protocol):
    """A learner that may know which of its labels the others don't support."""

    def doubts(self, pixel_ids: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return how much each label is doubted, (n,), NaN where that can't be told; None if it can't tell any."""
        ...


def require_finite(values: NDArray[np.floating], what: str) -> None:
    """Refuse numbers that no class can be told from: NaN and infinite ones would win or lose every comparison.

    Args:
        values: Features or scores of a learner, of any shape.
        what: Their name, in the plural, at the start of a sentence.

    Raises:
        LearnerError: A value is NaN or infinite.
    """
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise LearnerError(
            f"{what} hold NaN or infinite values, from which no class can be told: the cube's values are too large or "
            "too small for this method; rescale the cube, or take another learner."
        )


def require_sound(outputs: Outputs, n_classes: int, name: str) -> None:
    """Refuse outputs from which no accuracy or query follows, such as a class that isn't there.

    Args:
        outputs: Predictions for N pixels.
        n_classes: Number of classes, C.
        name: Name of the learner.

    Raises:
        LearnerError: A class is no whole number from 0 to C - 1, or probabilities don't have the shape (N, C) and a
            sum of 1 for each pixel.
    """
    classes, probabilities = outputs.predicted_class, outputs.probabilities_NC
    if classes.dtype.kind not in "iu" or (classes.size and not 0 <= classes.min() <= classes.max() < n_classes):
        raise LearnerError(
            f"{name} predicted classes from {classes.min()} to {classes.max()} ({classes.dtype}); class indices are "
            f"whole numbers from 0 to {n_classes - 1}."
        )
    if probabilities is None:
        return
    if probabilities.shape != (len(classes), n_classes):
        raise LearnerError(
            f"{name} gave probabilities of shape {probabilities.shape} for {len(classes)} pixels and {n_classes} "
            "classes."
        )
    wrong = np.abs(probabilities.sum(axis=1) - 1) > ROUNDING
    if wrong.any():
        raise LearnerError(
            f"{name} gave probabilities that sum to {probabilities[wrong][0].sum():.3g} for {wrong.sum():,} of "
            f"{len(classes):,} pixels; over the classes they sum to 1."
        )


def as_float32(cube: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a copy of a cube as float32.

    Raises:
        LearnerError: A value is NaN, infinite or beyond float32.
    """
    with np.errstate(over="ignore"):
        values = cube.astype(np.float32)
    require_finite(values, "The cube's values in float32")
    return values


def in_parts(learner: Learner, pixel_ids: Ids) -> Iterator[Outputs]:
    """Yield the outputs for the pixels in their order, for at most `PART` pixels at a time."""
    for first in range(0, len(pixel_ids), PART):
        interrupts.check()
        part = pixel_ids[first : first + PART]
        with part_of(learner, first / len(pixel_ids), len(part) / len(pixel_ids)):
            yield learner.predict(part)


def predicted_map(
    learner: Learner,
    n_pixels: int,
    n_classes: int,
    known_ids: Ids,
    known_classes: Ids,
    uncertainty: NDArray[np.float32] | None = None,
) -> NDArray[np.unsignedinteger[Any]]:
    """Predict the class of every pixel of a scene, (n_pixels,), as the smallest unsigned integer type that suffices.

    Args:
        learner: A fitted learner.
        n_pixels: Number of pixels of the scene.
        n_classes: Number of classes.
        known_ids: Pixels whose predicted class is already known, (n,).
        known_classes: Their predicted classes, (n,).
        uncertainty: Filled with `uncertainty_of` every pixel, (n_pixels,), and left alone if the learner gives no
            probabilities; then known pixels are predicted, too.
    """
    unknown = n_classes
    classes = np.full(n_pixels, unknown, np.min_scalar_type(unknown))
    if uncertainty is None:
        classes[known_ids] = known_classes
    for first in range(0, n_pixels, PART):
        interrupts.check()
        rest = first + np.flatnonzero(classes[first : first + PART] == unknown)
        if len(rest):
            with part_of(learner, first / n_pixels, PART / n_pixels):
                outputs = learner.predict(rest)
            classes[rest] = outputs.predicted_class
            if uncertainty is not None and outputs.probabilities_NC is not None:
                uncertainty[rest] = uncertainty_of(outputs.probabilities_NC)
    return classes


def uncertainty_of(probabilities_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 - (largest - second largest class probability), (N,): 0 = one class is certain, 1 = two are equal."""
    two = np.partition(probabilities_NC, -2, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]), np.float32)


@contextmanager
def part_of(learner: Learner, done: float, share: float) -> Iterator[None]:
    """Report the learner's progress as that of a longer task: from `done` to `done + share`, both fractions of it."""
    progress = learner.progress
    if progress is not None:
        learner.progress = lambda text, part: progress(text, min(1.0, done + share * part))
    try:
        yield
    finally:
        learner.progress = progress


class RefittedLearner:
    """Base class of learners that train from scratch in every round and save no state.

    A subclass implements `fit`, `predict`, `describe` and `work`.
    """

    provides: frozenset[str] = frozenset()
    warm = False
    keeps_state = False
    progress: Progress | None = None
    device: object = "cpu"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Describe the computations of one round in words and numbers."""
        raise NotImplementedError

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        """Describe the computations of a round; nothing is measured, and all rounds count the same."""
        work = self.work(sizes[-1][1] if sizes else len(pixel_ids), n_predicted)
        return Estimate(work, [1.0] * len(sizes), predict_seconds=0.1, map_seconds=0.1, measured=False)

    def profile_to(self, trace: Path) -> None:
        """Do nothing: this learner has no phases."""

    def phases(self) -> dict[str, float]:
        """Return {}: this learner has no phases."""
        return {}

    def save(self, path: Path) -> None:
        """Write nothing: this learner has no state (`keeps_state`)."""

    def load(self, path: Path) -> None:
        """Read nothing: this learner has no state (`keeps_state`)."""

    def report(self, text: str, part: float) -> None:
        """Report the current activity and the fraction of it that is done, 0 to 1; a pending interrupt is raised here.

        Raises:
            Interrupted: The process was asked to end (`hsi_al.interrupts`).
        """
        interrupts.check()
        if self.progress is not None:
            self.progress(text, part)
