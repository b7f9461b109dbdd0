"""Shrinkage LDA against its formula, and with too few labels for it."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf

from hsi_al.methods.lda.classifier import NoiseLda, ShrinkageLda
from tests.methods.fakes import rng


def test_probabilities_are_those_of_gaussian_classes_with_a_shrunken_covariance() -> None:
    draw = rng()
    labels = np.repeat([0, 2, 3], [9, 6, 5])
    features = (draw.normal(size=(20, 30)) * np.linspace(1, 4, 30) + labels[:, None]).astype(np.float32)
    other = draw.normal(size=(50, 30)).astype(np.float32)
    lda = ShrinkageLda()
    lda.fit(features, labels, rng(), calibrated=True)
    covariance, means = np.zeros((30, 30)), []
    for value in (0, 2, 3):
        own = features[labels == value].astype(np.float64)
        scale = own.std(axis=0)
        covariance += len(own) / 20 * ledoit_wolf((own - own.mean(axis=0)) / scale)[0] * np.outer(scale, scale)
        means.append(own.mean(axis=0))
    weights = np.linalg.solve(covariance, np.array(means).T)  # (30, 3)
    scores = other @ weights - 0.5 * np.einsum("cd,dc->c", np.array(means), weights) + np.log([0.45, 0.3, 0.25])
    found = lda.probabilities(other, 5)
    np.testing.assert_allclose(found[:, [0, 2, 3]], softmax(scores, axis=1), atol=1e-5)
    assert (found[:, [1, 4]] == 0).all()
    assert lda.predict(other).tolist() == np.array([0, 2, 3])[scores.argmax(axis=1)].tolist()


@dataclass
class Known:
    noise: NDArray[np.float64]


def test_the_noise_is_added_to_the_covariance_of_the_labels() -> None:
    draw = rng()
    noise = np.diag(np.linspace(0.5, 2, 30)) + 0.1
    labels = np.repeat([0, 2, 3], [9, 10, 1])
    features = (draw.normal(size=(20, 30)) + labels[:, None]).astype(np.float32)
    other = draw.normal(size=(50, 30)).astype(np.float32)
    lda = NoiseLda(Known(noise))
    lda.fit(features, labels, rng(), calibrated=True)
    means = np.array([features[labels == value].mean(axis=0, dtype=np.float64) for value in (0, 2, 3)])
    away = features - means.repeat([9, 10, 1], axis=0)
    covariance = away.T @ away / 20 + noise
    distances = np.array(
        [np.einsum("nd,nd->n", other - mean, np.linalg.solve(covariance, (other - mean).T).T) for mean in means]
    )
    expected = softmax(np.log([0.45, 0.5, 0.05]) - 0.5 * distances.T, axis=1)
    found = lda.probabilities(other, 5)
    np.testing.assert_allclose(found[:, [0, 2, 3]], expected, atol=1e-5)
    assert (found[:, [1, 4]] == 0).all()


@pytest.mark.filterwarnings("error")
def test_with_noise_one_label_a_class_is_enough() -> None:
    features = np.array([[0, 0], [1, 1]], np.float32)
    lda = NoiseLda(Known(np.diag([1.0, 100.0])))
    lda.fit(features, np.array([4, 1]), rng())
    other = np.array([[0.1, 9], [0.9, -9]], np.float32)  # the second feature says little
    assert lda.predict(other).tolist() == [4, 1]
    lda.fit(features[:1], np.array([3]), rng())
    assert lda.predict(other).tolist() == [3, 3]


@pytest.mark.filterwarnings("error")
def test_classes_of_one_label_and_a_single_class() -> None:
    features = np.array([[0, 0], [1, 0], [0, 1], [5, 5], [9, 1]], np.float32)
    lda = ShrinkageLda()
    lda.fit(features, np.array([0, 0, 0, 1, 2]), rng())
    assert lda.predict(features).tolist() == [0, 0, 0, 1, 2]
    lda.fit(features[2:], np.array([1, 4, 2]), rng())  # no covariance: the nearest label
    near = features[[4, 2, 3]] + np.float32(0.4)
    assert lda.predict(near).tolist() == [2, 1, 4]
    assert lda.probabilities(near, 5).tolist() == np.eye(5)[[2, 1, 4]].tolist()
    for n in (1, 5):
        lda.fit(features[:n], np.full(n, 3), rng())
        assert lda.predict(features).tolist() == [3] * 5
        assert lda.probabilities(features, 4).tolist() == [[0, 0, 0, 1]] * 5
