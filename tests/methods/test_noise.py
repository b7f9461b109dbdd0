"""The covariance of the noise: of known noise, without borders and empty ground, and from a sample."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.methods import noise
from hsi_al.methods.noise import FLOOR, noise_covariance

Floats = NDArray[np.float32]


def fields(height: int = 120, width: int = 90) -> Floats:
    """White noise of a known covariance on four fields that are far apart, and ground without data."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(height, width, 3)) @ [[1, 0, 0], [2, 1, 0], [0, 0, 3]]
    values[height // 2 :] += 1000
    values[:, width // 2 :] -= 300
    values[:, :20] = -9999
    return values.astype(np.float32)


def test_it_is_half_the_mean_square_of_the_nearer_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "NEARER", 0.97)  # about 2 % of the pairs lie across borders
    found = noise_covariance([fields()], 120 * 90)
    true = np.array([[1, 0, 0], [2, 1, 0], [0, 0, 3]])
    np.testing.assert_allclose(found, true.T @ true, rtol=0.1, atol=0.25)


def test_pairs_are_those_beside_and_below_each_other() -> None:
    values = np.array([[[0.0], [1.0], [1.0]], [[0.0], [3.0], [1.5]]], np.float32)  # differ by 1, 3, 1.5 and 2, 0.5
    expected = (0.5**2 + 1 + 1.5**2) / 3 / 2
    assert noise_covariance([values], 6)[0, 0] == pytest.approx(expected * (1 + FLOOR), rel=1e-7)
    apart = noise_covariance([values[:1], values[1:]], 6)[0, 0]  # 1, 3 and 1.5
    assert apart == pytest.approx((1 + 1.5**2) / 2 / 2 * (1 + FLOOR), rel=1e-7)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4, 3), (5, 1, 3), (6, 6, 3)])
def test_without_pairs_that_differ_it_is_the_identity(shape: tuple[int, int, int]) -> None:
    np.testing.assert_array_equal(noise_covariance([np.full(shape, 7, np.float32)], 36), np.eye(3))


def test_a_band_without_noise_leaves_an_inverse() -> None:
    values = np.random.default_rng(0).normal(size=(9, 9, 2)).astype(np.float32)
    found = noise_covariance([np.concatenate([values, values[:, :, :1], np.ones((9, 9, 1), np.float32)], axis=2)], 81)
    assert np.linalg.eigvalsh(found).min() > 0


def test_large_scenes_are_sampled_over_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MOST_PAIRS", 160)
    values = np.random.default_rng(0).normal(size=(40, 20, 1)).astype(np.float32)
    values[:, 10:] *= 100  # a sample of one column would see one side
    step = 11  # 1,600 / 160 = 10, which divides the width
    every = [np.diff(values, axis=axis).reshape(-1)[::step] for axis in (1, 0)]
    squares = np.sort(np.concatenate(every).astype(np.float64) ** 2)
    nearer = squares[squares <= np.median(squares)]
    assert noise_covariance([values], 800)[0, 0] == pytest.approx(nearer.mean() / 2, rel=1e-5)
