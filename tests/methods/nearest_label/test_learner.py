"""The null model against all distances."""

import numpy as np
import pytest

from hsi_al.methods.nearest_label.learner import NearestLabelLearner


@pytest.mark.parametrize(("height", "width", "n"), [(1, 1, 1), (13, 17, 1), (13, 17, 2), (13, 17, 40), (30, 7, 210)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_nearest_label_decides_and_of_equal_ones_the_lowest_id(height: int, width: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labelled, every = rng.permutation(height * width)[:n], np.arange(height * width)
    labels = rng.integers(0, 9, n)
    learner = NearestLabelLearner(width, 9)
    learner.fit(labelled, labels, 0, rng)
    rows, columns = np.divmod(every, width)
    squares = (rows[:, None] - rows[labelled]) ** 2 + (columns[:, None] - columns[labelled]) ** 2
    expected = []
    for row in squares:
        equal = np.flatnonzero(row == row.min())
        expected.append(labels[equal[labelled[equal].argmin()]])
    order = rng.permutation(height * width)
    outputs = learner.predict(order)
    assert outputs.predicted_class.tolist() == np.array(expected)[order].tolist()
    assert outputs.embeddings_ND is not None
    assert outputs.embeddings_ND.tolist() == np.column_stack([rows, columns])[order].tolist()


def test_ties_are_broken_on_a_large_scene_too() -> None:
    """Four labels of classes 0 to 3 around a pixel, far away, and many that are farther."""
    width, centre = 100_003, 50_000
    around = np.array([[-4, 3], [-3, -4], [4, 3], [3, -4]]) * 2_000 + centre
    far = np.column_stack([np.arange(80_000), np.full(80_000, 99_999)])
    ids = np.concatenate([around, far]) @ [width, 1]
    learner = NearestLabelLearner(width, 9)
    labels = np.concatenate([np.arange(4), np.full(len(far), 4)])
    for chosen, expected in ((np.arange(len(ids)), 0), (np.arange(1, len(ids)), 1), (np.arange(2, len(ids)), 3)):
        learner.fit(ids[chosen], labels[chosen], 0, np.random.default_rng(0))
        assert learner.predict(np.array([centre * width + centre])).predicted_class.tolist() == [expected]


def test_nothing_asked() -> None:
    learner = NearestLabelLearner(5, 3)
    learner.fit(np.array([3]), np.array([2]), 0, np.random.default_rng(0))
    assert len(learner.predict(np.empty(0, np.int64)).predicted_class) == 0
    assert learner.provides == {"probabilities_NC", "embeddings_ND"} and not learner.keeps_state


def test_probabilities_fall_with_the_distance_to_each_class() -> None:
    learner = NearestLabelLearner(10, 4, frozenset({"probabilities_NC"}))
    learner.fit(np.array([0, 9, 5]), np.array([0, 2, 2]), 0, np.random.default_rng(0))
    found = learner.predict(np.array([1, 5, 40])).probabilities_NC
    assert found is not None and found.dtype == np.float32
    away = np.array([[1, 4], [5, 1e-9], [4, np.hypot(4, 5)]])
    expected = (1 / away) / (1 / away).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, [0, 2]], expected, rtol=1e-6, atol=1e-8)
    assert not found[:, [1, 3]].any()
