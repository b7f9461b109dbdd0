"""Which labels the others doubt."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from hsi_al.errors import LearnerError
from hsi_al.methods.features import FOLDS, FeatureLearner, dealt
from hsi_al.methods.forest import Forest
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.methods.lda.classifier import ShrinkageLda
from hsi_al.methods.profile_trees import ProfileTreesConfig
from hsi_al.methods.profile_trees.extractor import ProfileExtractor
from hsi_al.scenes.catalogue import load_catalogue_scene
from tests.methods.fakes import Floats, Ids, blobs, rng
from tests.methods.test_features import Drawing, Table


class Remembering(Drawing):
    """A classifier that is sure of every label it has learnt, and otherwise says how many labels of a class it has."""

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        counts = np.bincount(self.labels, minlength=n_classes)
        found = np.tile((counts / counts.sum()).astype(np.float32), (len(features), 1))
        known = (features[:, None] == self.features).all(axis=2)
        for row, place in np.argwhere(known):
            found[row] = np.eye(n_classes)[self.labels[place]]
        return found


def doubts(features: Floats, labels: Ids, classifier: object = None, seed: int = 0) -> Floats:
    learner = FeatureLearner(Table(features, once=True), 4, classifier or ShrinkageLda(), seed=seed)  # type: ignore[arg-type]
    found = learner.doubts(np.arange(len(labels)), labels)
    assert found is not None and found.dtype == np.float32 and found.shape == labels.shape
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("n", [0, 1, 4, 23, 100])
def test_labels_are_dealt_evenly_and_class_by_class(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, n)
    parts = dealt(labels, FOLDS, generator)
    for chosen in (parts, *(parts[labels == value] for value in range(6))):
        assert np.ptp(np.bincount(chosen, minlength=FOLDS)) <= 1
    if n == 100:
        assert parts.tolist() != dealt(labels, FOLDS, generator).tolist()


def test_no_label_is_asked_about_itself() -> None:
    """Four of five parts of 10 labels of either class are known: 8 of 16, whatever the label itself says."""
    found = doubts(np.arange(40, dtype=np.float32).reshape(20, 2), np.repeat([0, 1], 10), Remembering())
    assert found.tolist() == [0.5] * 20


def test_the_only_label_of_a_class_is_not_doubted_but_doubts_others() -> None:
    features, labels = blobs(13)
    labels[-1] = 3
    found = doubts(features, labels)
    assert np.isnan(found).tolist() == [False] * 12 + [True]
    # The copy of a pixel has another class, of one label: in each part it takes half of the copy's probability away.
    features[-1] = features[0]
    assert doubts(features, labels, Forest(ExtraTreesClassifier, 30, 1))[0] > 0.9


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_labels(n: int) -> None:
    features = blobs(3)[0]
    assert np.isnan(doubts(features, np.arange(n))).all()  # one label of every class
    same = doubts(features, np.zeros(n, np.int64))  # one class: it has all probability
    assert same.tolist() == [0.0] * n if n > 1 else np.isnan(same).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("classifier", [ShrinkageLda(), GridSvm("linear", 2), Forest(ExtraTreesClassifier, 30, 1)])
def test_wrong_labels_of_clear_classes_are_doubted_most_and_the_learner_stays(classifier: object, seed: int) -> None:
    features, labels = blobs(45)
    learner = FeatureLearner(Table(features, once=True), 3, classifier, frozenset({"probabilities_NC"}), seed)  # type: ignore[arg-type]
    ids = np.random.default_rng(seed).permutation(45)
    learner.fit(ids[:30], labels[ids[:30]], 0, rng())
    before = learner.predict(ids).probabilities_NC
    given = labels[ids].copy()
    given[[3, 20]] = (given[[3, 20]] + 1) % 3
    found = learner.doubts(ids, given)
    assert found is not None and {3, 20} <= set(np.argsort(-found)[:3]) and found[[3, 20]].min() > 0.6
    assert learner.doubts(ids, given).tolist() == found.tolist()  # type: ignore[union-attr]
    after = learner.predict(ids).probabilities_NC
    assert before is not None and after is not None and after.tolist() == before.tolist()


def test_features_that_depend_on_labels_give_none_and_wrong_ones_are_refused() -> None:
    features, labels = blobs(12)
    assert FeatureLearner(Table(features), 3, ShrinkageLda()).doubts(np.arange(12), labels) is None
    features[5] = np.nan
    with pytest.raises(LearnerError, match="hold NaN or infinite"):
        doubts(features, labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_wrong_labels_of_160_on_indian_pines_are_among_the_most_doubted(seed: int) -> None:
    scene = load_catalogue_scene("indian_pines", Path("unused"), [2, 3, 5, 6, 8, 10, 11, 12, 14])
    generator = np.random.default_rng(seed)
    ids = generator.permutation(scene.labelled_ids)[:160]
    labels = scene.labels_of(ids).copy()
    wrong = generator.permutation(160)[:3]
    labels[wrong] = (labels[wrong] + generator.integers(1, 9, 3)) % 9
    profiles = ProfileExtractor(scene.cube, ProfileTreesConfig(), 1.0)
    found = FeatureLearner(profiles, 9, Forest(ExtraTreesClassifier, 150, 1), seed=seed).doubts(ids, labels)
    assert found is not None
    assert set(wrong) <= set(np.argsort(-found)[:8])
