"""Joint collaborative representation (JCR) on the nearest regularised subspace (NRS): a compared method.

A pixel is represented by the labelled pixels of each class in turn, each weighed by its distance; the class with the
smallest residual wins (`nrs.py`). Neighbours take part: averaged into every pixel, or each with a residual of
its own.

Source: W. Li, Q. Du, "Joint Within-Class Collaborative Representation for Hyperspectral Image Classification", IEEE
JSTARS 2014, whose text was not at hand: a public re-implementation is followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.base import RefittedLearner
from hsi_al.methods.jcr.nrs import Doubles, Subspace, nearest, residuals
from hsi_al.methods.svm import stratified_folds
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Number = TypeVar("Number", int, float)

PIXELS = 1_024  # compared with all classes between two reports


@dataclass(frozen=True)
class JcrSettings:
    """Settings of JCR.

    Attributes:
        windows: Widths of the square neighbourhood to choose from, ascending and odd; 1 is plain NRS.
        penalties: Weights lambda of the regularisation to choose from, ascending.
        folds: Folds of the cross-validation that chooses; fewer where a class has fewer pixels.
        variant: `averaged` puts the mean of its window in the place of every pixel, labelled ones too; `joint` adds
            the squared residuals of all pixels of the window, each with its own distances.

    Raises:
        ConfigurationError: A value cannot be used.
    """

    windows: Sequence[int] = (3, 5, 7, 9, 11, 13)
    penalties: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 0.25, 1.0, 10.0)
    folds: int = 5
    variant: str = "averaged"

    def __post_init__(self) -> None:
        if not self.windows or any(window < 1 or window % 2 == 0 for window in self.windows):
            raise ConfigurationError(f"windows={list(self.windows)} must be odd numbers from 1 on, at least one.")
        if not self.penalties or not all(0 < penalty < np.inf for penalty in self.penalties):
            raise ConfigurationError(f"penalties={list(self.penalties)} must be numbers above 0, at least one.")
        if self.folds < 2:
            raise ConfigurationError(f"folds={self.folds} is too few; cross-validation needs 2.")
        if self.variant not in ("averaged", "joint"):
            raise ConfigurationError(f"variant={self.variant!r} is none of averaged, joint.")


def window_means(cube: Floats, window: int) -> Floats:
    """The mean of the square window around each pixel, band by band, edges repeated, (H, W, bands)."""
    means: Floats = uniform_filter(cube, size=(window, window, 1), mode="nearest")
    return means


def neighbours(pixel_ids: Ids, window: int, height: int, width: int) -> Iterator[Ids]:
    """The pixels (N,) at each place of the square window around N pixels, edges repeated."""
    rows, columns = np.divmod(pixel_ids, width)
    for down in range(-(window // 2), window // 2 + 1):
        for right in range(-(window // 2), window // 2 + 1):
            yield np.clip(rows + down, 0, height - 1) * width + np.clip(columns + right, 0, width - 1)


class JcrLearner(RefittedLearner):
    """The class whose labelled pixels represent a pixel and its neighbours best.

    Only classes with a label compete. The means of every window are kept, a cube of float32 each.

    Args:
        cube: (H, W, bands), any real type; scaled by its largest magnitude.
        n_classes: Number of classes.
        settings: Windows, penalties and the rest.
    """

    def __init__(self, cube: NDArray[np.generic], n_classes: int, settings: JcrSettings | None = None) -> None:
        self.settings, self.n_classes = settings or JcrSettings(), n_classes
        scaled = cube.astype(np.float32)
        scaled /= float(np.abs(scaled).max()) or 1.0
        self.height, self.width, _ = cube.shape
        self.cubes: dict[int, Floats] = {1: scaled}  # by window
        self.pixel_ids: Ids = np.empty(0, np.int64)
        self.labels: Ids = np.empty(0, np.int64)
        self.window, self.penalty = middle(self.settings.windows), middle(self.settings.penalties)

    def describe(self) -> str:
        """Variant, what the last fit chose, and what the source is."""
        chosen = f", window {self.window}, lambda {self.penalty:g}" if len(self.pixel_ids) else ""
        return (
            f"JCR on NRS, {self.settings.variant}{chosen}; "
            "the paper's text was not at hand, its public re-implementation is followed"
        )

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Pairs of the search, and pixels to represent."""
        pairs = len(self.settings.windows) * len(self.settings.penalties)
        return (
            f"{pairs} x {self.settings.folds} representations a round of up to {n_labelled:,} labels, "
            f"then {n_predicted:,} pixels by {self.n_classes} classes"
        )

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Choose window and penalty by cross-validation, then keep the labelled pixels as dictionaries.

        Without two pixels of any class, or with one class, the middle of both lists is taken.

        Raises:
            LearnerError: There are no labels.
        """
        if not len(pixel_ids):
            raise LearnerError("JCR needs a labelled pixel at least.")
        self.window, self.penalty = middle(self.settings.windows), middle(self.settings.penalties)
        if folds := stratified_folds(labels, self.settings.folds, rng):
            self.window, self.penalty = self._search(pixel_ids, labels, folds)
        self.pixel_ids, self.labels = pixel_ids, labels

    def predict(self, pixel_ids: Ids) -> Outputs:
        """The class of the smallest residual; residuals are no probabilities.

        Raises:
            LearnerError: Nothing was fitted.
        """
        if not len(self.pixel_ids):
            raise LearnerError("JCR has no dictionary yet; fit it first.")
        classes = np.unique(self.labels)
        if len(classes) == 1 or not len(pixel_ids):
            return Outputs(np.full(len(pixel_ids), classes[0]))
        ((_, _, found),) = self._choices(
            self.pixel_ids, self.labels, pixel_ids, [self.window], [self.penalty], "representing"
        )
        return Outputs(classes[found])

    def _search(self, pixel_ids: Ids, labels: Ids, folds: list[tuple[Ids, Ids]]) -> tuple[int, float]:
        """The pair with most hits; of equal ones the smallest window, and there the middle penalty."""
        windows, penalties = self.settings.windows, self.settings.penalties
        hits = np.zeros((len(windows), len(penalties)), dtype=np.int64)
        classes, done = np.unique(labels), 0
        for fold, (train, test) in enumerate(folds):
            choices = self._choices(pixel_ids[train], labels[train], pixel_ids[test], windows, penalties)
            for row, column, found in choices:
                hits[row, column] += (classes[found] == labels[test]).sum()
                done += 1
                text = f"fold {fold + 1}/{len(folds)}, window {windows[row]}, lambda {penalties[column]:g}"
                self.report(text, done / (len(folds) * hits.size))
        row = int(hits.max(1).argmax())
        return windows[row], middle([penalties[c] for c in np.flatnonzero(hits[row] == hits.max()).tolist()])

    def _choices(
        self,
        atoms: Ids,
        labels: Ids,
        queries: Ids,
        windows: Sequence[int],
        penalties: Sequence[float],
        text: str = "",
    ) -> Iterator[tuple[int, int, Ids]]:
        """For each window and penalty, by position, the position of the nearest of the classes with labels, (N,)."""
        if self.settings.variant == "averaged":
            for row, window in enumerate(windows):
                classes = [Subspace(dictionary) for dictionary in self._dictionaries(atoms, labels, window)]
                for column, penalty in enumerate(penalties):
                    parts = [nearest(classes, pixels, penalty) for pixels in self._parts(queries, window, text)]
                    yield row, column, np.concatenate(parts)
            return
        # The residual of a neighbour doesn't depend on whose neighbour it is: each is computed once.
        needed = np.zeros(self.height * self.width, dtype=bool)
        for ids in neighbours(queries, max(windows), self.height, self.width):
            needed[ids] = True
        dictionaries = self._dictionaries(atoms, labels, 1)
        for column, penalty in enumerate(penalties):
            squared = np.zeros((len(needed), len(dictionaries)))
            squared[needed] = np.concatenate(
                [
                    np.stack([np.square(residuals(dictionary, pixels, penalty)) for dictionary in dictionaries], axis=1)
                    for pixels in self._parts(np.flatnonzero(needed), 1, text)
                ]
            )
            for row, window in enumerate(windows):
                total = np.zeros((len(queries), len(dictionaries)))
                for ids in neighbours(queries, window, self.height, self.width):
                    total += squared[ids]
                yield row, column, total.argmin(1)

    def _dictionaries(self, atoms: Ids, labels: Ids, window: int) -> list[Doubles]:
        """Spectra (n, bands) of the atoms of each class, in ascending order of classes."""
        return [self._spectra(atoms[labels == c], window) for c in np.unique(labels)]

    def _parts(self, queries: Ids, window: int, text: str) -> Iterator[Doubles]:
        """Spectra of so many pixels at a time, (n, bands); what is done with them is reported if there is a text."""
        for start in range(0, len(queries), PIXELS):
            yield self._spectra(queries[start : start + PIXELS], window)
            if text:
                self.report(text, min(1.0, (start + PIXELS) / len(queries)))

    def _spectra(self, pixel_ids: Ids, window: int) -> Doubles:
        if window not in self.cubes:
            self.cubes[window] = window_means(self.cubes[1], window)
        rows, columns = np.divmod(pixel_ids, self.width)
        return self.cubes[window][rows, columns].astype(np.float64)


def middle(values: Sequence[Number]) -> Number:
    """The middle one of a list, the upper of two."""
    return values[len(values) // 2]
