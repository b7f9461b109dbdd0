import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_cohen_kappa, multiclass_confusion_matrix

from hsi_al.accuracy import average_accuracy, cohen_kappa, confusion_matrix, overall_accuracy, recalls
from hsi_al.active.curve import RoundRecord

Counts = NDArray[np.int64]


def matrix(*rows: list[int]) -> Counts:
    return np.array(rows, dtype=np.int64)


@pytest.mark.parametrize("seed", range(4))
def test_against_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth = rng.integers(5, size=300)
    predicted = np.where(rng.random(300) < 0.6, truth, rng.integers(5, size=300))
    confusion = confusion_matrix(truth, predicted, 5)
    assert confusion.dtype == np.int64
    assert confusion.tolist() == metrics.confusion_matrix(truth, predicted).tolist()
    assert overall_accuracy(confusion) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert recalls(confusion) == pytest.approx(metrics.recall_score(truth, predicted, average=None))
    assert average_accuracy(confusion) == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert cohen_kappa(confusion) == pytest.approx(metrics.cohen_kappa_score(truth, predicted))


def test_against_scikit_learn_with_classes_absent_from_truth_or_prediction() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, predicted = rng.choice([0, 2, 4], 200), rng.choice([0, 1, 2], 200)
    confusion = confusion_matrix(truth, predicted, 6)
    assert confusion.tolist() == metrics.confusion_matrix(truth, predicted, labels=range(6)).tolist()
    recall = metrics.recall_score(truth, predicted, labels=[0, 2, 4], average="macro", zero_division=0)
    assert average_accuracy(confusion) == pytest.approx(recall)
    assert cohen_kappa(confusion) == pytest.approx(metrics.cohen_kappa_score(truth, predicted))
    assert np.isnan(recalls(confusion)).tolist() == [False, True, False, True, False, True]


def test_rows_are_truth() -> None:
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 2]), 3)
    assert confusion.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]


def test_recall_is_not_precision() -> None:
    """Class 0: 8 of 10 found, but 12 pixels are called so; class 1: 6 of 10 found, 8 called so."""
    confusion = matrix([8, 2], [4, 6])
    assert recalls(confusion).tolist() == [0.8, 0.6]
    assert average_accuracy(confusion) == pytest.approx(0.7)  # mean precision would be 0.7083
    confusion = matrix([90, 10], [0, 10])
    assert average_accuracy(confusion) == pytest.approx(0.95)
    assert overall_accuracy(confusion) == pytest.approx(100 / 110)


def test_kappa_by_hand() -> None:
    """OA = 0.7, p_e = (10 x 12 + 10 x 8) / 400 = 0.5, kappa = 0.2 / 0.5."""
    assert cohen_kappa(matrix([8, 2], [4, 6])) == pytest.approx(0.4)
    assert cohen_kappa(matrix([5, 0], [0, 5])) == pytest.approx(1.0)
    assert cohen_kappa(matrix([0, 5], [5, 0])) == pytest.approx(-1.0)
    assert cohen_kappa(matrix([5, 5], [5, 5])) == pytest.approx(0.0)


def test_a_class_that_only_the_prediction_has_does_not_count_in_aa() -> None:
    confusion = matrix([3, 1, 0], [0, 0, 0], [0, 2, 2])
    assert average_accuracy(confusion) == pytest.approx((0.75 + 0.5) / 2)
    assert np.isnan(recalls(confusion)).tolist() == [False, True, False]


def test_a_class_never_predicted_counts_as_0() -> None:
    assert average_accuracy(matrix([4, 0], [4, 0])) == pytest.approx(0.5)


def test_one_class_everywhere_leaves_kappa_undefined() -> None:
    confusion = matrix([7, 0], [0, 0])
    assert overall_accuracy(confusion) == average_accuracy(confusion) == 1.0
    assert math.isnan(cohen_kappa(confusion))


def test_nothing_to_evaluate() -> None:
    empty = np.empty(0, dtype=np.int64)
    confusion = confusion_matrix(empty, empty, 3)
    assert confusion.tolist() == [[0] * 3] * 3
    for value in (overall_accuracy(confusion), average_accuracy(confusion), cohen_kappa(confusion)):
        assert math.isnan(value)
    assert np.isnan(recalls(confusion)).all()


def test_counts_of_a_large_scene_do_not_overflow() -> None:
    n = 10**9
    confusion = matrix([n, 0], [0, n])
    assert cohen_kappa(confusion) == pytest.approx(1.0)


def test_a_row_of_the_curve() -> None:
    everything, heldout = matrix([8, 2, 0], [4, 6, 0], [0, 0, 0]), matrix([1, 0, 0], [1, 0, 0], [0, 0, 0])
    record = RoundRecord(2, 20, everything, heldout, seconds_fit=1.5, seconds_predict=0.25, seconds_query=0.125)
    row = record.row(np.array([1, 3, 10]))
    assert list(row) == [
        *("round", "n_labelled", "oa_all", "aa_all", "kappa_all", "oa_heldout", "aa_heldout", "kappa_heldout"),
        *("seconds_fit", "seconds_predict", "seconds_query", "recall_1", "recall_3", "recall_10"),
    ]
    expected = [2, 20, 0.7, 0.7, 0.4, 0.5, 0.5, 0.0, 1.5, 0.25, 0.125, 0.8, 0.6, math.nan]
    assert list(row.values()) == pytest.approx(expected, nan_ok=True)
    with pytest.raises(ValueError, match="argument 2"):
        record.row(np.array([1, 3]))


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    theirs = multiclass_confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(truth), 5)
    ours = confusion_matrix(truth, predicted, 5)
    assert ours.dtype == np.int64
    assert np.array_equal(ours, theirs.numpy())
    kappa = multiclass_cohen_kappa(torch.from_numpy(predicted), torch.from_numpy(truth), 5)
    assert cohen_kappa(ours) == pytest.approx(float(kappa), abs=1e-6)
