"""Support vector machines on features: grid search and calibrated probabilities."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from hsi_al import interrupts

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Folds = list[tuple[Ids, Ids]]

GRID = np.arange(-2, 9)  # exponents of two, for C and gamma (as in two papers of Wei Li's group)
LOWEST, HIGHEST = -6, 12  # limits to which the grid is extended while the best exponent lies on its edge


@dataclass
class GridSvm:
    """An SVM whose penalty C, and for `rbf` gamma, is chosen by stratified cross-validation.

    Features are scaled to [0, 1] by one minimum and maximum over the features of all labelled pixels, so that gamma
    keeps its meaning. If the best value lies on an edge of the grid, the grid is extended there by two powers of two,
    at most to 2^-6 and 2^12.

    Among parameters of equal accuracy the smallest C, then the smallest gamma is taken. But no fold tests the only
    pixel of a class, and with a small C such a class may never be predicted: of equal parameters, those come first that
    recognise most of these pixels when fitted to all.

    Attributes:
        kernel: `rbf` or `linear`.
        folds: Number of folds of the cross-validation; fewer if a class has fewer pixels.
    """

    kernel: str = "rbf"
    folds: int = 5

    def fit(self, features: Floats, labels: Ids, rng: np.random.Generator, calibrated: bool = False) -> None:
        """Choose the parameters, then fit the SVM to all labelled pixels.

        Args:
            features: Features of the labelled pixels, (n, D).
            labels: Class indices, (n,).
            rng: Source of the random folds.
            calibrated: Whether to fit probabilities, too (Platt's sigmoids on the folds).
        """
        self.limits = float(features.min()), float(features.max())
        self.classes = np.unique(labels)
        self.svm: SVC | None = None
        self.calibration: CalibratedClassifierCV | None = None
        if len(self.classes) == 1:  # nothing to separate
            return
        scaled, folds = self._scaled(features), stratified_folds(labels, self.folds, rng)
        penalty, gamma = self._search(scaled, labels, folds)
        self.svm = SVC(kernel=self.kernel, C=penalty, gamma=gamma, cache_size=1000).fit(scaled, labels)
        if calibrated and folds:
            plain = SVC(kernel=self.kernel, C=penalty, gamma=gamma, cache_size=1000)
            self.calibration = CalibratedClassifierCV(plain, method="sigmoid", cv=folds).fit(scaled, labels)

    def predict(self, features: Floats) -> Ids:
        """Return the predicted class indices, (n,), of features (n, D)."""
        if self.svm is None:
            return np.full(len(features), self.classes[0])
        predicted: Ids = self.svm.predict(self._scaled(features)).astype(np.int64)
        return predicted

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        """Return calibrated probabilities, (n, n_classes), of features (n, D); classes without a label get 0.

        The likeliest class may differ from that of `predict`. If `fit` had too few pixels to calibrate, or was not told
        to, the predicted class gets probability 1.
        """
        found = np.zeros((len(features), n_classes), dtype=np.float32)
        if self.calibration is None:
            found[np.arange(len(features)), self.predict(features)] = 1.0
        else:
            found[:, self.calibration.classes_] = self.calibration.predict_proba(self._scaled(features))
        return found

    def describe(self) -> str:
        """Return the name of the classifier."""
        return f"{self.kernel} SVM"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the number of fits of the grid search, on the grid and on the largest it can grow to, as text."""
        axes = 2 if self.kernel == "rbf" else 1
        on_grid, at_most = len(GRID) ** axes, (HIGHEST - LOWEST + 1) ** axes
        return (
            f"{on_grid} x {self.folds} SVM fits a round on up to {n_labelled:,} labels, or up to "
            f"{at_most} x {self.folds} if the best lies on an edge of the grid"
        )

    @property
    def parameters(self) -> str:
        """The chosen parameters as text."""
        if self.svm is None:
            return "one class"
        return f"C = {self.svm.C:g}" + (f", gamma = {self.svm.gamma:g}" if self.kernel == "rbf" else "")

    def _scaled(self, features: Floats) -> Floats:
        low, high = self.limits
        return (features - np.float32(low)) / np.float32(high - low or 1.0)

    def _search(self, scaled: Floats, labels: Ids, folds: Folds) -> tuple[float, float]:
        if not folds:  # no class has two pixels
            return 2.0**3, 1.0
        penalties, gammas = GRID, GRID if self.kernel == "rbf" else np.array([0])
        scores: dict[tuple[int, int], float] = {}
        parts = [(scaled[train], labels[train], scaled[test], labels[test]) for train, test in folds]
        while True:
            points = [point for point in itertools.product(penalties.tolist(), gammas.tolist()) if point not in scores]
            scores |= {point: self._score(point, parts) for point in points}
            highest = max(scores.values())
            equal = sorted(point for point, score in scores.items() if score == highest)
            best = self._recognising(equal, scaled, labels)
            wider = extended(penalties, best[0]), extended(gammas, best[1])
            if (len(wider[0]), len(wider[1])) == (len(penalties), len(gammas)):
                return 2.0 ** best[0], 2.0 ** best[1]
            penalties, gammas = wider

    def _recognising(self, points: Sequence[tuple[int, int]], scaled: Floats, labels: Ids) -> tuple[int, int]:
        """Return the first point whose SVM, fitted to all pixels, gets most of the classes with one pixel right."""
        classes, counts = np.unique(labels, return_counts=True)
        single = np.isin(labels, classes[counts == 1])
        if not single.any():
            return points[0]
        own = [(scaled, labels, scaled[single], labels[single])]
        best, most = points[0], -1.0
        for point in points:
            if (recall := self._score(point, own)) > most:
                best, most = point, recall
            if most == 1.0:
                break
        return best

    def _score(self, point: tuple[int, int], parts: Sequence[tuple[Floats, Ids, Floats, Ids]]) -> float:
        """Return the accuracy, averaged over the folds; a pending interrupt is raised here, between two fits."""
        rates = []
        # scikit-learn's checks of arguments take longer than small fits.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for train, train_labels, test, test_labels in parts:
                interrupts.check()
                svm = SVC(kernel=self.kernel, C=2.0 ** point[0], gamma=2.0 ** point[1], cache_size=1000)
                rates.append(np.mean(svm.fit(train, train_labels).predict(test) == test_labels))
        return float(np.mean(rates))


def extended(grid: Ids, best: int) -> Ids:
    """Return the exponents, with two more beyond an edge if `best` lies on it, within `LOWEST` and `HIGHEST`."""
    if len(grid) == 1:
        return grid
    low, high = int(grid[0]), int(grid[-1])
    low = max(LOWEST, low - 2) if best == low else low
    high = min(HIGHEST, high + 2) if best == high else high
    return np.arange(low, high + 1)


def stratified_folds(labels: Ids, folds: int, rng: np.random.Generator) -> Folds:
    """Split labels into stratified folds: positions (train, test) of each.

    The only pixel of a class is in every training part. The result is [] if every class has one pixel or if there is
    one class only.
    """
    classes, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[positions] > 1)
    if not len(several) or len(classes) < 2:
        return []
    folds = min(folds, int(counts[counts > 1].min()))
    single = np.flatnonzero(counts[positions] == 1)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    return [
        (np.sort(np.concatenate([several[train], single])), several[test])
        for train, test in splitter.split(several, labels[several])
    ]
