import math

import numpy as np
import pytest
import scipy.stats

from hsi_al.acquisition.uncertainty import entropy_N, least_confidence_N, negative_margin_N

SCORES = (entropy_N, least_confidence_N, negative_margin_N)


@pytest.mark.parametrize("n_classes", [2, 3, 9, 16])
def test_uniform_is_the_most_and_one_hot_the_least_uncertain(n_classes: int) -> None:
    uniform = np.full((1, n_classes), 1 / n_classes)
    one_hot = np.eye(n_classes)
    assert entropy_N(uniform) == pytest.approx(math.log(n_classes))
    assert entropy_N(one_hot).tolist() == [0.0] * n_classes
    assert least_confidence_N(uniform) == pytest.approx(1 - 1 / n_classes)
    assert least_confidence_N(one_hot).tolist() == [0.0] * n_classes
    assert negative_margin_N(uniform) == pytest.approx(0.0)
    assert negative_margin_N(one_hot).tolist() == [-1.0] * n_classes


def test_values_by_hand() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.0, 0.5, 0.5]])
    assert entropy_N(probabilities) == pytest.approx([1.5 * math.log(2), 0.801818552543, math.log(2)])
    assert least_confidence_N(probabilities) == pytest.approx([0.5, 0.3, 0.5])
    assert negative_margin_N(probabilities) == pytest.approx([-0.25, -0.5, 0.0])


def test_two_classes() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
    assert entropy_N(probabilities) == pytest.approx([0.325082973391, 0.673011667009])
    assert least_confidence_N(probabilities) == pytest.approx([0.1, 0.4])
    assert negative_margin_N(probabilities) == pytest.approx([-0.8, -0.2])


def test_entropy_against_scipy() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    assert entropy_N(probabilities) == pytest.approx(scipy.stats.entropy(probabilities, axis=1))


@pytest.mark.parametrize("score", SCORES)
def test_float64_out_of_float32_and_nothing_else_changes(score: object) -> None:
    assert callable(score)
    probabilities = np.random.default_rng(1).dirichlet(np.ones(4), 20).astype(np.float32)
    before = probabilities.copy()
    scores = score(probabilities)
    assert scores.shape == (20,)
    assert scores.dtype == np.float64
    assert np.array_equal(probabilities, before)
    assert score(probabilities[:, ::-1]) == pytest.approx(scores)  # the order of the classes does not count


def test_nearly_certain_pixels_still_differ() -> None:
    """In float32, 1 - 1e-9 is 1 and the other class alone tells the pixels apart."""
    tiny = np.array([1e-9, 2e-9, 3e-9], dtype=np.float32)
    probabilities = np.column_stack([1 - tiny, tiny]).astype(np.float32)
    assert np.all(np.diff(entropy_N(probabilities)) > 0)
    assert np.all(np.diff(negative_margin_N(probabilities)) > 0)
    assert np.all(np.diff(least_confidence_N(probabilities)) > 0)


def test_only_equal_confidences_are_told_apart_by_the_others() -> None:
    """Neighbouring numbers of float32 keep their order, whatever is left over beside them."""
    for top in (0.999, 0.6, 0.3, 0.13):
        above = np.nextafter(np.float32(top), np.float32(1))
        less_sure = [np.float32(top)] + [np.float32(0)] * 15
        surer = [above] + [np.float32(min(0.12, 1 - top))] * 15
        assert np.diff(least_confidence_N(np.array([surer, less_sure])))[0] > 0
