"""Forests: those of scikit-learn, whatever the number of threads."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from hsi_al import interrupts
from hsi_al.methods import forest
from hsi_al.methods.forest import Forest
from tests.methods.fakes import Floats, Ids, blobs, rng


def undecided() -> tuple[Floats, Ids]:
    """Pixels of the same features and other classes: leaves hold shares that floating-point sums round."""
    features, labels = blobs(60, spread=1.5)
    return features.round(), np.array([0, 2, 3])[labels]


@pytest.mark.parametrize("kind", [ExtraTreesClassifier, RandomForestClassifier])
@pytest.mark.parametrize("threads", [1, 3, 7])
@pytest.mark.parametrize(("worth", "at_once"), [(1, 10**6), (2000, 10**6), (1, 1), (2000, 700)])
def test_results_depend_neither_on_the_number_of_threads_nor_on_the_trees_fitted_at_once(
    kind: type[Any], threads: int, worth: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forest, "WORTH_THREADS", worth)
    monkeypatch.setattr(forest, "FITTED_AT_ONCE", at_once)
    features, labels = undecided()
    found = Forest(kind, 25, threads)
    found.fit(features, labels, rng(), calibrated=True)
    twin = kind(25, random_state=int(rng().integers(2**31))).fit(features, labels)
    for some in (features, features[:2], features[:1]):
        probabilities = found.probabilities(some, 4)
        assert np.array_equal(probabilities[:, [0, 2, 3]], twin.predict_proba(some).astype(np.float32))
        assert not probabilities[:, 1].any() and found.predict(some).tolist() == twin.predict(some).tolist()


def test_an_interrupt_is_noticed_between_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = undecided()
    looks: list[int] = []

    def second_look() -> None:
        looks.append(0)
        if len(looks) == 2:
            raise interrupts.Interrupted(2)

    monkeypatch.setattr(interrupts, "check", second_look)
    monkeypatch.setattr(forest, "FITTED_AT_ONCE", 60 * 30)
    Forest(ExtraTreesClassifier, 30, 1).fit(features, labels, rng())
    assert len(looks) == 1
    looks.clear()
    with pytest.raises(interrupts.Interrupted):
        Forest(ExtraTreesClassifier, 31, 1).fit(features, labels, rng())


def test_the_generator_decides() -> None:
    features, labels = undecided()
    found = []
    for seed in (0, 0, 1):
        trees = Forest(RandomForestClassifier, 5, 1)
        trees.fit(features, labels, np.random.default_rng(seed))
        found.append(trees.probabilities(features, 4))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_one_label_and_features_asked_for_again() -> None:
    features, labels = undecided()
    trees = Forest(ExtraTreesClassifier, 5, 2)
    trees.fit(features[:1], labels[:1], rng())
    assert set(trees.predict(features).tolist()) == {labels[0]}
    assert (trees.probabilities(features, 4).argmax(axis=1) == labels[0]).all()
    trees.fit(features, labels, rng())
    before = trees.predict(features)
    trees.fit(features, labels[::-1], rng())  # the same array, another fit
    assert not np.array_equal(trees.predict(features), before)
