"""Linear discriminant analysis for fewer labels than bands."""

import warnings
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from hsi_al.methods.posterior import PosteriorClassifier

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


class HasNoise(Protocol):
    """What knows the covariance of the noise of the features, (D, D), once it is fitted."""

    noise: Doubles


class NoiseLda(PosteriorClassifier):
    """Gaussian classes of one covariance: that of the labels around their class's mean, and the noise of the scene.

    The noise is known from all pixels, so that the covariance has an inverse however few labels there are, and is that
    of the ground without labels, too. The prior probabilities are the classes' shares of the labels.

    Args:
        source: Knows the noise of the features.
    """

    def __init__(self, source: HasNoise) -> None:
        super().__init__()
        self.source = source

    def describe(self) -> str:
        """Return the name of the classifier."""
        return "LDA with the scene's noise"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the computations of a round, as text."""
        return f"the covariance of up to {n_labelled:,} labels a round, then {n_predicted:,} pixels"

    def fitted(self, features: Floats, labels: Ids, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return the model."""
        estimator = PlusNoise(self.source.noise)
        model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=estimator)
        if len(labels) == len(self.classes):  # which scikit-learn refuses; each label twice is the same model
            features, labels = np.tile(features, (2, 1)), np.tile(labels, 2)
        return model.fit(features.astype(np.float64), labels)


class PlusNoise:
    """A covariance estimator of scikit-learn: maximum likelihood, with that of the noise (D, D) added."""

    def __init__(self, noise: Doubles) -> None:
        self.noise = self.covariance_ = noise

    def fit(self, features: Doubles) -> None:
        """Estimate the covariance of the labels (n, D) of one class."""
        away = features - features.mean(axis=0)
        self.covariance_ = away.T @ away / len(away) + self.noise


class ShrinkageLda(PosteriorClassifier):
    """Gaussian classes of one covariance, which is shrunk towards a multiple of the identity (Ledoit & Wolf 2004).

    Every class's covariance is shrunk by itself; they are averaged by the classes' numbers of labels, which are the
    prior probabilities, too. A class of one label adds a covariance of 0. If no class has two labels, there is nothing
    to estimate a covariance from, and the class of the nearest labelled spectrum gets probability 1.
    """

    def describe(self) -> str:
        """Return the name of the classifier."""
        return "LDA with shrinkage"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the computations of a round, as text."""
        return f"the covariance of up to {n_labelled:,} labels a round, then {n_predicted:,} pixels"

    def fitted(self, features: Floats, labels: Ids, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return the model."""
        if len(labels) == len(np.unique(labels)):
            return KNeighborsClassifier(1).fit(features, labels)
        with warnings.catch_warnings():  # of classes with one label
            warnings.filterwarnings("ignore", "Only one sample available", UserWarning)
            return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features.astype(np.float64), labels)
