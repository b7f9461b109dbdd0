"""Linear discriminant analysis for fewer labels than bands."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from hsi_al.methods.posterior import PosteriorClassifier

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


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
