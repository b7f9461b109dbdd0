import numpy as np
import pytest

from hsi_al.errors import PoolError
from hsi_al.pool.oracles import GroundTruthOracle


def oracle() -> GroundTruthOracle:
    return GroundTruthOracle(np.array([3, 8, 20]), np.array([2, 0, 1]))


def test_labels_follow_the_query() -> None:
    labels = oracle().label(np.array([20, 3, 8, 20]))
    assert labels.tolist() == [1, 2, 0, 1]
    assert labels.dtype == np.int64


def test_an_empty_query() -> None:
    labels = oracle().label(np.empty(0, np.int64))
    assert labels.shape == (0,)
    assert labels.dtype == np.int64


def test_a_pixel_without_a_label_is_named() -> None:
    with pytest.raises(PoolError, match="pixel 9"):
        oracle().label(np.array([3, 9]))


def test_pixels_and_labels_must_match() -> None:
    with pytest.raises(ValueError, match="labels has length 1, but there are 2 pixels"):
        GroundTruthOracle(np.array([3, 8]), np.array([2]))
