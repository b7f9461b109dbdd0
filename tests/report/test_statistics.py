import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from hsi_al.report.statistics import Paired, all_paired, aulc, holm, labels_to_reach, sign_flip, smallest_sign_flip


def paired(values: Sequence[float]) -> Paired:
    (found,) = all_paired([values])
    assert found is not None
    return found


def test_the_area_of_a_straight_line_is_its_middle() -> None:
    assert aulc([160, 200, 480], [60.0, 65.0, 100.0]) == pytest.approx(80.0)
    assert aulc([0, 10], [50.0, 50.0]) == 50.0
    assert aulc([10, 20, 40], [0.0, 60.0, 90.0]) == pytest.approx((10 * 30 + 20 * 75) / 30)
    assert math.isnan(aulc([160], [60.0]))
    assert math.isnan(aulc([], []))


def test_labels_to_a_level_lie_between_rounds() -> None:
    labels, values = [160, 200, 240, 280], [80.0, 90.0, 88.0, 96.0]
    assert labels_to_reach(labels, values, 85) == 180
    assert labels_to_reach(labels, values, 90) == 200  # the first time, though it falls again
    assert labels_to_reach(labels, values, 92) == 260
    assert labels_to_reach(labels, values, 80) == labels_to_reach(labels, values, 10) == 160
    assert labels_to_reach(labels, values, 96.01) == math.inf
    assert labels_to_reach([], [], 90) == math.inf
    assert labels_to_reach([10, 20, 30], [0.5, math.nan, 0.9], 0.7) == 20  # as if there had been no such round
    for percent in range(101):  # 100 * 0.57 is a little less than 57
        assert labels_to_reach([10], [100 * (percent / 100)], percent) == 10


def test_the_interval_is_students() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t of 2 degrees of freedom 4.303 (97.5 %)."""
    found = paired([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.wins, found.ties) == (3, 2.0, 3, 0)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-3)
    # F(t) of Student's t with 2 degrees of freedom is 1/2 + t / (2 sqrt(2 + t^2)), t = 2 sqrt(3)
    t = 2 * math.sqrt(3)
    assert found.p_t == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.p_sign == pytest.approx(0.25)
    two = paired([1.0, 3.0])
    assert (two.low, two.high) == pytest.approx((2 - 12.706, 2 + 12.706), abs=1e-3)


def test_what_cannot_be_judged() -> None:
    one = paired([2.0])
    assert (one.n, one.mean, one.wins) == (1, 2.0, 1)
    assert all(map(math.isnan, (one.low, one.high, one.p_t, one.p_sign)))
    tie = paired([0.0, 0.0, 0.0])
    assert (tie.mean, tie.wins, tie.ties, tie.p_t, tie.p_sign) == (0.0, 0, 3, 1.0, 1.0)
    equal = paired([0.1 + 0.2, 0.3, 0.3])  # all but rounding
    assert (equal.p_t, equal.p_sign) == (1.0, 0.25)
    assert math.isnan(equal.low)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flips_are_all_tried(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    sums = np.array([np.dot(signs, differences) for signs in product((-1, 1), repeat=n)])
    tail = min((sums >= differences.sum() - 1e-12).mean(), (sums <= differences.sum() + 1e-12).mean())
    assert sign_flip(differences) == pytest.approx(min(1.0, 2 * tail))
    assert sign_flip(np.arange(1.0, n + 1)) == pytest.approx(smallest_sign_flip(n)) == 2.0 / 2**n


def test_many_seeds_draw_the_flips() -> None:
    assert sign_flip(np.arange(1.0, 31)) == pytest.approx(smallest_sign_flip(30), rel=0.01)


def test_holm() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, each at least the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.01]).tolist() == pytest.approx([0.6, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    corrected = holm([0.03, math.nan, 0.02])
    assert corrected[[0, 2]].tolist() == pytest.approx([0.04, 0.04])
    assert math.isnan(corrected[1])
    assert holm([]).tolist() == []
