"""Joint collaborative representation (JCR) on the nearest regularised subspace (NRS): a compared method.

A pixel is represented by the labelled pixels of each class in turn, each weighed by its distance; the class with the
smallest residual wins. Neighbours take part: averaged into every pixel, or each with a residual of its own.

Sources: W. Li et al., "Nearest Regularized Subspace for Hyperspectral Classification", IEEE TGRS 2014; W. Li, Q. Du,
"Joint Within-Class Collaborative Representation for Hyperspectral Image Classification", IEEE JSTARS 2014, whose text
was not at hand: a public re-implementation is followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.learners.base import RefittedLearner
from hsi_al.learners.svm import stratified_folds
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Number = TypeVar("Number", int, float)

STACK_BYTES = 2**22  # of the systems solved at once: they stay in the cache, twice as fast or more
PIXELS = 2_048  # compared with all classes between two reports
EQUAL = 1e-13  # of the squared lengths: below it a squared distance is nothing but rounding
WORST_CONDITION = 1e9  # up to which the form in band space is exact enough


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


def squared_distances(dictionary: Tensor, queries: Tensor) -> Tensor:
    """Gamma squared: ||y - x_i||^2, exactly 0 where the two are equal but for rounding.

    Args:
        dictionary: Atoms x_i, (n, bands).
        queries: Pixels y, (N, bands).

    Returns:
        (N, n).
    """
    lengths = queries.square().sum(1, keepdim=True) + dictionary.square().sum(1)
    distances = lengths - 2 * queries @ dictionary.T
    return torch.where(distances > EQUAL * lengths, distances, 0.0)


def coefficients(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Weights alpha = argmin ||y - X alpha||^2 + lambda ||Gamma alpha||^2 = (X'X + lambda Gamma^2)^-1 X'y (NRS).

    Where an atom equals the pixel its weight is free, and alpha is this atom alone: the minimum, 0. Where rounding
    leaves a system without a Cholesky factor, least squares find the shortest alpha.

    Args:
        dictionary: Atoms, the columns of X, (n, bands).
        queries: Pixels y, (N, bands).
        penalty: lambda.

    Returns:
        (N, n).
    """
    n = len(dictionary)
    gram, products = dictionary @ dictionary.T, queries @ dictionary.T
    distances = squared_distances(dictionary, queries)
    equal = distances == 0
    found = torch.zeros_like(distances)
    for rows in _stacks((~equal.any(1)).nonzero()[:, 0], n * n):
        systems = gram.expand(len(rows), n, n).clone()
        systems.diagonal(dim1=1, dim2=2).add_(penalty * distances[rows])
        factors, failed = torch.linalg.cholesky_ex(systems)
        found[rows] = torch.cholesky_solve(products[rows, :, None], factors)[..., 0]
        if failed.any():
            rows = rows[failed > 0]
            found[rows] = _least_squares(dictionary, queries[rows], (penalty * distances[rows]).sqrt())
    rows, atoms = equal.any(1).nonzero()[:, 0], equal.int().argmax(1)
    found[rows, atoms[rows]] = 1.0
    return found


def _least_squares(dictionary: Tensor, queries: Tensor, weights: Tensor) -> Tensor:
    """The same minimum without X'X: (X; sqrt(lambda) Gamma) alpha = (y; 0), by singular values."""
    above = dictionary.T.expand(len(queries), *dictionary.T.shape)
    systems = torch.cat((above, torch.diag_embed(weights)), dim=1)
    targets = torch.cat((queries, torch.zeros_like(weights)), dim=1)[..., None]
    solved: Tensor = torch.linalg.lstsq(systems, targets, driver="gelsd").solution
    return solved[..., 0]


def residual_vectors(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Differences y - X alpha = (I + X Gamma^-2 X' / lambda)^-1 y (Woodbury): systems of bands, not atoms.

    Args:
        dictionary: Atoms, the columns of X, (n, bands).
        queries: Pixels y that equal no atom, (N, bands).
        penalty: lambda.

    Returns:
        (N, bands).
    """
    n, bands = dictionary.shape
    weights = 1 / (penalty * squared_distances(dictionary, queries))
    found = torch.empty_like(queries)
    for rows in _stacks(torch.arange(len(queries)), bands * (n + bands)):
        systems = (weights[rows, None] * dictionary.T) @ dictionary
        systems.diagonal(dim1=1, dim2=2).add_(1.0)
        found[rows] = torch.cholesky_solve(queries[rows, :, None], torch.linalg.cholesky(systems))[..., 0]
    return found


def residuals(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Lengths r = ||y - X alpha|| for one class, by the cheaper of both forms where Gamma allows the choice.

    Args:
        dictionary: Atoms of the class, (n, bands), float64.
        queries: Pixels, (N, bands), float64.
        penalty: lambda.

    Returns:
        (N,).
    """
    n, bands = dictionary.shape
    if 3 * bands**2 * n + bands**3 >= n**3:  # additions and multiplications, a matrix product's half as dear
        return _lengths(queries - coefficients(dictionary, queries, penalty) @ dictionary)
    weighed = dictionary.square().sum(1) / (penalty * squared_distances(dictionary, queries))
    in_bands = weighed.sum(1) < WORST_CONDITION  # a zero distance makes it infinite
    rest = queries[~in_bands]
    found = queries.new_empty(len(queries))
    found[in_bands] = _lengths(residual_vectors(dictionary, queries[in_bands], penalty))
    found[~in_bands] = _lengths(rest - coefficients(dictionary, rest, penalty) @ dictionary)
    return found


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1).sqrt()


def _stacks(rows: Tensor, values: int) -> tuple[Tensor, ...]:
    """Rows in stacks of `STACK_BYTES`, each row of so many float64 values."""
    return torch.split(rows, max(1, STACK_BYTES // (8 * values)))


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
        (found,) = self._errors(self.pixel_ids, self.labels, pixel_ids, [self.window], self.penalty, "representing")
        return Outputs(classes[found.argmin(1).numpy()])

    def _search(self, pixel_ids: Ids, labels: Ids, folds: list[tuple[Ids, Ids]]) -> tuple[int, float]:
        """The pair with most hits; of equal ones the smallest window, and there the middle penalty."""
        windows, penalties = self.settings.windows, self.settings.penalties
        hits = np.zeros((len(windows), len(penalties)), dtype=np.int64)
        classes = np.unique(labels)
        for fold, (train, test) in enumerate(folds):
            for column, penalty in enumerate(penalties):
                compared = self._errors(pixel_ids[train], labels[train], pixel_ids[test], windows, penalty)
                for row, found in enumerate(compared):
                    hits[row, column] += (classes[found.argmin(1).numpy()] == labels[test]).sum()
                    part = ((fold * len(penalties) + column) * len(windows) + row + 1) / (len(folds) * hits.size)
                    self.report(f"fold {fold + 1}/{len(folds)}, lambda {penalty:g}, window {windows[row]}", part)
        row = int(hits.max(1).argmax())
        return windows[row], middle([penalties[c] for c in np.flatnonzero(hits[row] == hits.max()).tolist()])

    def _errors(
        self, atoms: Ids, labels: Ids, queries: Ids, windows: Sequence[int], penalty: float, text: str = ""
    ) -> Iterator[Tensor]:
        """For each window, residuals (averaged) or their squared sums (joint), (N, classes with labels)."""
        if self.settings.variant == "averaged":
            for window in windows:
                yield self._residuals(atoms, labels, queries, window, penalty, text)
            return
        # The residual of a neighbour doesn't depend on whose neighbour it is: each is computed once.
        needed = np.zeros(self.height * self.width, dtype=bool)
        for ids in neighbours(queries, max(windows), self.height, self.width):
            needed[ids] = True
        found = self._residuals(atoms, labels, np.flatnonzero(needed), 1, penalty, text).square()
        squared = found.new_zeros(len(needed), found.shape[1])
        squared[torch.from_numpy(needed)] = found
        for window in windows:
            total = squared.new_zeros(len(queries), squared.shape[1])
            for ids in neighbours(queries, window, self.height, self.width):
                total += squared[torch.from_numpy(ids)]
            yield total

    def _residuals(self, atoms: Ids, labels: Ids, queries: Ids, window: int, penalty: float, text: str) -> Tensor:
        """Residuals (N, classes with labels) of pixels by the atoms of each class, in ascending order of classes."""
        dictionaries = [self._spectra(atoms[labels == c], window) for c in np.unique(labels)]
        parts = []
        for start in range(0, len(queries), PIXELS):
            pixels = self._spectra(queries[start : start + PIXELS], window)
            parts.append(torch.stack([residuals(dictionary, pixels, penalty) for dictionary in dictionaries], dim=1))
            if text:
                self.report(text, min(1.0, (start + PIXELS) / len(queries)))
        return torch.cat(parts)

    def _spectra(self, pixel_ids: Ids, window: int) -> Tensor:
        if window not in self.cubes:
            self.cubes[window] = window_means(self.cubes[1], window)
        rows, columns = np.divmod(pixel_ids, self.width)
        return torch.from_numpy(self.cubes[window][rows, columns].astype(np.float64))


def middle(values: Sequence[Number]) -> Number:
    """The middle one of a list, the upper of two."""
    return values[len(values) // 2]
