"""Joint collaborative representation (JCR) on the nearest regularised subspace (NRS): a compared method.

A pixel is approximated by the labelled pixels of each class in turn, which are penalised by their distance from it; the
class with the smallest residual is predicted (`nrs.py`). The neighbours of a pixel are either averaged into it, or each
has a residual of its own, and these are added.

Source: W. Li, Q. Du, "Joint Within-Class Collaborative Representation for Hyperspectral Image Classification", IEEE
JSTARS 2014. Its text was not available, so a public re-implementation is followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.base import RefittedLearner, as_float32, require_finite
from hsi_al.methods.grid_svm import stratified_folds
from hsi_al.methods.jcr.nrs import Doubles, Subspace, nearest, residuals
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Number = TypeVar("Number", int, float)

PIXELS = 1_024  # pixels compared with all classes between two progress reports


@dataclass(frozen=True)
class JcrSettings:
    """Settings of JCR.

    Attributes:
        windows: Sides of the square window to choose from, ascending and odd; 1 is plain NRS.
        penalties: Weights lambda of the regularisation to choose from, ascending.
        folds: Folds of the cross-validation that chooses window and lambda; fewer if a class has fewer pixels.
        variant: `averaged` replaces every pixel, labelled ones too, by the mean of its window; `joint` adds the squared
            residuals of all pixels of the window, each with its own distances.

    Raises:
        ConfigurationError: There is no window or an even one, no penalty or one that isn't positive and finite, fewer
            than two folds, or no such variant.
    """

    windows: Sequence[int] = (3, 5, 7, 9, 11, 13)
    penalties: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 0.25, 1.0, 10.0)
    folds: int = 5
    variant: str = "averaged"

    def __post_init__(self) -> None:
        if not self.windows or any(window < 1 or window % 2 == 0 for window in self.windows):
            raise ConfigurationError(f"windows={list(self.windows)} must be one or more odd numbers of at least 1.")
        if not self.penalties or not all(0 < penalty < np.inf for penalty in self.penalties):
            raise ConfigurationError(f"penalties={list(self.penalties)} must be one or more finite numbers above 0.")
        if self.folds < 2:
            raise ConfigurationError(f"folds={self.folds} must be 2 or more.")
        if self.variant not in ("averaged", "joint"):
            raise ConfigurationError(f"variant={self.variant!r} is unknown; choose one of averaged, joint.")


def window_means(cube: Floats, window: int) -> Floats:
    """Average the square window around each pixel of a cube, band by band, edges repeated, (H, W, bands)."""
    means: Floats = uniform_filter(cube, size=(window, window, 1), mode="nearest")
    return means


def neighbours(pixel_ids: Ids, window: int, height: int, width: int) -> Iterator[Ids]:
    """Yield, for each position in a square window, the ids of the pixels there around each of N pixels, (N,).

    Outside of the scene the edge is repeated.
    """
    rows, columns = np.divmod(pixel_ids, width)
    for down in range(-(window // 2), window // 2 + 1):
        for right in range(-(window // 2), window // 2 + 1):
            yield np.clip(rows + down, 0, height - 1) * width + np.clip(columns + right, 0, width - 1)


class JcrLearner(RefittedLearner):
    """Predicts the class whose labelled pixels represent a pixel and its neighbours best.

    Only classes with a label can be predicted. For every window that is used, a cube of means is kept in float32.

    Args:
        cube: (H, W, bands), any real type; divided by its largest magnitude.
        n_classes: Number of classes.
        settings: Settings of JCR; default: `JcrSettings()`.

    Raises:
        LearnerError: A value of the cube is NaN, infinite or beyond float32.
    """

    def __init__(self, cube: NDArray[np.generic], n_classes: int, settings: JcrSettings | None = None) -> None:
        self.settings, self.n_classes = settings or JcrSettings(), n_classes
        scaled = as_float32(cube)
        scaled /= float(np.abs(scaled).max()) or 1.0
        self.height, self.width, _ = cube.shape
        self.cubes: dict[int, Floats] = {1: scaled}  # side of the window -> averaged cube
        self.pixel_ids: Ids = np.empty(0, np.int64)
        self.labels: Ids = np.empty(0, np.int64)
        self.window, self.penalty = middle(self.settings.windows), middle(self.settings.penalties)

    def describe(self) -> str:
        """Return the variant, the window and lambda that the last fit chose, and the source."""
        chosen = f", window {self.window}, lambda {self.penalty:g}" if len(self.pixel_ids) else ""
        return (
            f"JCR on NRS, {self.settings.variant}{chosen}; "
            "the paper's text was not at hand, its public re-implementation is followed"
        )

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the number of parameter pairs to compare and of pixels to predict, as text."""
        pairs = len(self.settings.windows) * len(self.settings.penalties)
        return (
            f"{pairs} x {self.settings.folds} representations a round of up to {n_labelled:,} labels, "
            f"then {n_predicted:,} pixels by {self.n_classes} classes"
        )

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Choose window and penalty by cross-validation, then keep the labelled pixels as dictionaries.

        If no class has two pixels, or there is one class only, the middle values of both lists are taken.

        Raises:
            LearnerError: There are no labels, or a residual is NaN or infinite.
        """
        if not len(pixel_ids):
            raise LearnerError("JCR needs at least one labelled pixel.")
        self.window, self.penalty = middle(self.settings.windows), middle(self.settings.penalties)
        if folds := stratified_folds(labels, self.settings.folds, rng):
            self.window, self.penalty = self._search(pixel_ids, labels, folds)
        self.pixel_ids, self.labels = pixel_ids, labels

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict the class of the smallest residual; residuals are no probabilities.

        Raises:
            LearnerError: `fit` has not been called, or a residual is NaN or infinite.
        """
        if not len(self.pixel_ids):
            raise LearnerError("JCR has no labelled pixels yet; fit it first.")
        classes = np.unique(self.labels)
        if len(classes) == 1 or not len(pixel_ids):
            return Outputs(np.full(len(pixel_ids), classes[0]))
        ((_, _, found),) = self._choices(
            self.pixel_ids, self.labels, pixel_ids, [self.window], [self.penalty], "representing"
        )
        return Outputs(classes[found])

    def _search(self, pixel_ids: Ids, labels: Ids, folds: list[tuple[Ids, Ids]]) -> tuple[int, float]:
        """Return the window and penalty with most correct pixels; of equal ones the first window and middle penalty."""
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
        """Yield the nearest class of each query for all windows and penalties.

        Yields:
            Position in `windows`, position in `penalties`, and the nearest class of each query as a position among the
            sorted classes with labels, (N,).
        """
        if self.settings.variant == "averaged":
            for row, window in enumerate(windows):
                classes = [Subspace(dictionary) for dictionary in self._dictionaries(atoms, labels, window)]
                for column, penalty in enumerate(penalties):
                    parts = [nearest(classes, pixels, penalty) for pixels in self._parts(queries, window, text)]
                    yield row, column, np.concatenate(parts)
            return
        # The residual of a pixel is the same in every window that holds it, so it is computed once.
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
                require_finite(total, "The residuals of JCR")
                yield row, column, total.argmin(1)

    def _dictionaries(self, atoms: Ids, labels: Ids, window: int) -> list[Doubles]:
        """Return the spectra (n, bands) of the labelled pixels (atoms) of each class, in ascending order of classes."""
        return [self._spectra(atoms[labels == c], window) for c in np.unique(labels)]

    def _parts(self, queries: Ids, window: int, text: str) -> Iterator[Doubles]:
        """Yield the spectra of `PIXELS` pixels at a time, (n, bands); progress is reported if `text` is not empty."""
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
    """Return the middle element of a list, the upper one of two."""
    return values[len(values) // 2]
