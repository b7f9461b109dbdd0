"""Forests of scikit-learn whose results don't depend on the number of threads."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from hsi_al import interrupts
from hsi_al.methods.posterior import PosteriorClassifier

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
NAMES = {ExtraTreesClassifier: "extremely randomised trees", RandomForestClassifier: "trees of a random forest"}
WORTH_THREADS = 2000  # labels from which several threads fit a forest faster than one
FITTED_AT_ONCE = 100_000  # labels times trees, a few seconds at most, between two looks for an interrupt


class Forest(PosteriorClassifier):
    """Trees, each split chosen among as many random features as the root of their number.

    A `RandomForestClassifier` (Breiman 2001) takes the best threshold of each feature and draws the labels of a tree
    with replacement; an `ExtraTreesClassifier` (Geurts, Ernst and Wehenkel 2006) draws thresholds at random and takes
    all labels. Probabilities are the means of the trees' shares of labels in a leaf.

    Args:
        kind: One of the two.
        trees: Number of trees.
        threads: Number of threads.
    """

    def __init__(self, kind: type[Any], trees: int, threads: int) -> None:
        super().__init__()
        self.kind, self.trees, self.threads = kind, trees, threads

    def describe(self) -> str:
        """Return the name of the classifier."""
        return f"{self.trees:,} {NAMES[self.kind]}"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the computations of a round, as text."""
        return f"{self.trees:,} trees a round on up to {n_labelled:,} labels, then {n_predicted:,} pixels"

    def fitted(self, features: Floats, labels: Ids, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return the model, whose trees are those of a single fit, though an interrupt is noticed between some of them.

        Raises:
            Interrupted: The process was asked to end.
        """
        threads = self.threads if len(features) >= WORTH_THREADS else 1
        forest = self.kind(n_jobs=threads, random_state=int(rng.integers(2**31)), warm_start=True)
        step = max(threads, FITTED_AT_ONCE // len(features))
        for first in range(0, self.trees, step):
            interrupts.check()
            forest.set_params(n_estimators=min(first + step, self.trees)).fit(features, labels)
        return forest.set_params(n_jobs=1)

    def shares(self, features: Floats) -> NDArray[np.floating]:
        """Return the probabilities, (n, classes with a label), of features (n, D).

        Threads divide the pixels: scikit-learn's own divide the trees, and add them in the order in which they end.
        Trees are asked one by one, since a forest's `predict_proba` is not meant to be called from several threads.
        """
        parts = [part for part in np.array_split(features, self.threads) if len(part)]
        with ThreadPoolExecutor(self.threads) as pool:
            return np.concatenate(list(pool.map(self._mean_shares, parts)))

    def _mean_shares(self, features: Floats) -> NDArray[np.floating]:
        values = np.ascontiguousarray(features, np.float32)
        total = np.zeros((len(values), len(self.classes)))
        for tree in self.model.estimators_:
            total += tree.predict_proba(values, check_input=False)
        return total / len(self.model.estimators_)
