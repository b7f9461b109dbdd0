import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.acquisition.limits import Limits, share

Ids = NDArray[np.int64]


def line(n: int, distance: int, wanted: int = 3) -> Limits:
    return Limits(np.zeros(n, np.int64), np.arange(n), wanted, distance)


def open_of(limits: Limits) -> list[int]:
    return np.flatnonzero(limits.open_M).tolist()


def test_without_limits_only_the_picked_are_closed() -> None:
    limits = line(4, 1)
    limits.take(2)
    assert open_of(limits) == [0, 1, 3]
    limits.take(0)
    assert (open_of(limits), limits.picks) == ([1, 3], [2, 0])


def test_the_distance_counts_rows_or_columns() -> None:
    row, column = np.divmod(np.arange(49), 7)
    limits = Limits(row, column, 5, 3)
    limits.take(24)  # the middle
    near = (abs(row - 3) <= 2) & (abs(column - 3) <= 2)
    assert near.sum() == 25
    assert (limits.open_M == ~near).all()
    assert limits.open_M[3 * 7 + 0] and limits.open_M[0]  # 3 columns away; 3 rows and 3 columns away


def test_the_distance_is_halved_where_nothing_is_left() -> None:
    limits, mask = line(9, 8, wanted=9), None
    mask = limits.open_M
    limits.take(4)  # 8 closes all; so do 7 to 5; 4 leaves both ends
    assert (limits.min_distance, open_of(limits)) == (4, [0, 8])
    limits.take(0)
    assert open_of(limits) == [8]
    limits.take(8)
    assert (limits.min_distance, open_of(limits)) == (2, [2, 6])
    limits.take(2)
    limits.take(6)
    assert (limits.min_distance, open_of(limits)) == (1, [1, 3, 5, 7])
    for index in (1, 3, 5, 7):
        limits.take(index)
    assert len(set(limits.picks)) == 9
    assert limits.open_M is mask  # those who hold it see what happens


def test_the_last_pick_halves_nothing() -> None:
    limits = line(5, 8, wanted=1)
    limits.take(0)
    assert limits.min_distance == 8


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ([10, 10, 10], 9, 3),
        ([10, 10, 10], 10, 4),
        ([1, 10, 10], 9, 4),
        ([2, 2, 20], 12, 8),
        ([5], 5, 5),
        ([0, 3, 3], 2, 1),
    ],
)
def test_share(counts: list[int], n: int, expected: int) -> None:
    assert share(np.repeat(np.arange(len(counts)), counts), n) == expected


def test_a_class_closes_with_its_share() -> None:
    classes = np.array([0, 0, 0, 2, 2, 2, 2])
    limits = Limits(np.zeros(7, np.int64), np.arange(7), 4, classes=classes)
    limits.take(1)
    assert open_of(limits) == [0, 2, 3, 4, 5, 6]
    limits.take(0)
    assert open_of(limits) == [3, 4, 5, 6]


def test_shares_hold_where_the_distance_gives_way() -> None:
    classes = np.array([0, 0, 0, 1, 1, 1])
    limits = Limits(np.zeros(6, np.int64), np.arange(6), 4, 4, classes)
    limits.take(0)
    limits.take(4)
    assert (limits.min_distance, open_of(limits)) == (2, [2])  # 2 is two away from both
    limits.take(2)
    assert (limits.min_distance, open_of(limits)) == (1, [3, 5])
