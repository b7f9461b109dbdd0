"""Classifiers that predict the likeliest class: what those of scikit-learn have in common."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class PosteriorClassifier:
    """Base class of classifiers whose prediction is the likeliest class, of equal ones the first.

    A subclass implements `fitted`, `describe` and `work`, and `shares` where `predict_proba` isn't enough.
    """

    def __init__(self) -> None:
        self.classes: Ids = np.empty(0, np.int64)
        self.model: Any = None  # None with a single class
        # Features and what was found for them, so that classes and probabilities cost one pass.
        self.latest: tuple[Floats, NDArray[np.floating]] | None = None

    def fitted(self, features: Floats, labels: Ids, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return a model with `predict_proba`, fitted to two or more classes."""
        raise NotImplementedError

    def shares(self, features: Floats) -> NDArray[np.floating]:
        """Return the probabilities, (n, classes with a label), of features (n, D)."""
        found: NDArray[np.floating] = self.model.predict_proba(features)
        return found

    def fit(self, features: Floats, labels: Ids, rng: np.random.Generator, calibrated: bool = False) -> None:
        """Fit the classifier to the features (n, D) of labelled pixels and their class indices (n,)."""
        self.classes, self.latest = np.unique(labels), None
        self.model = self.fitted(features, labels, rng) if len(self.classes) > 1 else None

    def predict(self, features: Floats) -> Ids:
        """Return the likeliest class indices, (n,), of features (n, D)."""
        chosen: Ids = self.classes[self._posterior(features).argmax(axis=1)]
        return chosen

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        """Return probabilities, (n, n_classes), of features (n, D); classes without a label get 0."""
        found = np.zeros((len(features), n_classes), np.float32)
        found[:, self.classes] = self._posterior(features)
        return found

    def _posterior(self, features: Floats) -> NDArray[np.floating]:
        if self.model is None:
            return np.ones((len(features), 1))
        if self.latest is None or self.latest[0] is not features:
            self.latest = features, self.shares(features)
        return self.latest[1]
