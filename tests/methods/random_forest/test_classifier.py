"""The random forest: scikit-learn's, whatever the number of threads."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from hsi_al.methods.random_forest.classifier import RandomForest
from tests.methods.fakes import Floats, Ids, blobs, rng


def undecided() -> tuple[Floats, Ids]:
    """Pixels of the same features and other classes: leaves hold shares that floating-point sums round."""
    features, labels = blobs(60, spread=1.5)
    return features.round(), np.array([0, 2, 3])[labels]


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_results_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    features, labels = undecided()
    forest = RandomForest(25, threads)
    forest.fit(features, labels, rng(), calibrated=True)
    twin = RandomForestClassifier(25, random_state=int(rng().integers(2**31))).fit(features, labels)
    for some in (features, features[:2], features[:1]):
        found = forest.probabilities(some, 4)
        assert np.array_equal(found[:, [0, 2, 3]], twin.predict_proba(some).astype(np.float32))
        assert not found[:, 1].any() and forest.predict(some).tolist() == twin.predict(some).tolist()


def test_the_generator_decides() -> None:
    features, labels = undecided()
    found = []
    for seed in (0, 0, 1):
        forest = RandomForest(5, 1)
        forest.fit(features, labels, np.random.default_rng(seed))
        found.append(forest.probabilities(features, 4))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_one_label_and_features_asked_for_again() -> None:
    features, labels = undecided()
    forest = RandomForest(5, 2)
    forest.fit(features[:1], labels[:1], rng())
    assert set(forest.predict(features).tolist()) == {labels[0]}
    assert (forest.probabilities(features, 4).argmax(axis=1) == labels[0]).all()
    forest.fit(features, labels, rng())
    before = forest.predict(features)
    forest.fit(features, labels[::-1], rng())  # the same array, another fit
    assert not np.array_equal(forest.predict(features), before)
