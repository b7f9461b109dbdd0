from typing import Any

import numpy as np
import pytest

from hsi_al.errors import PoolError
from hsi_al.pool.label_pool import LabelPool


def pool_of(*ids: int) -> LabelPool:
    return LabelPool(list(ids))


def state(pool: LabelPool) -> tuple[Any, ...]:
    return pool.candidates.tolist(), pool.labelled_at.tolist(), pool.label.tolist()


def test_unsorted_candidates_become_ascending_and_start_unlabelled() -> None:
    pool = pool_of(9, 2, 40, 7)
    assert state(pool) == ([2, 7, 9, 40], [-1] * 4, [-1] * 4)
    assert pool.n_labelled == 0
    assert pool.labelled_ids.tolist() == pool.labels.tolist() == []
    assert pool.unlabelled_ids.tolist() == [2, 7, 9, 40]
    assert pool.candidates.dtype == pool.labelled_at.dtype == pool.label.dtype == np.int64


def test_the_callers_array_is_not_changed() -> None:
    ids = np.array([9, 2, 7])
    pool = LabelPool(ids)
    pool.add([2], [0], 0)
    assert ids.tolist() == [9, 2, 7]


def test_rounds_and_classes_are_recorded_in_any_order_of_asking() -> None:
    pool = pool_of(9, 2, 40, 7)
    pool.add([40, 2], [5, 0], 0)
    pool.add(np.array([7]), np.array([3]), 4)
    assert state(pool) == ([2, 7, 9, 40], [0, 4, -1, 0], [0, 3, -1, 5])
    assert pool.labelled_ids.tolist() == [2, 7, 40]
    assert pool.labels.tolist() == [0, 3, 5]
    assert pool.unlabelled_ids.tolist() == [9]
    assert pool.is_labelled.tolist() == [True, True, False, True]
    assert pool.n_labelled == 3


def test_labelled_and_unlabelled_always_partition_the_candidates() -> None:
    rng = np.random.default_rng(3)
    candidates = rng.choice(1000, 60, replace=False)
    pool, known = LabelPool(candidates), dict[int, int]()
    for round_, query in enumerate(np.array_split(rng.permutation(candidates), 7)):
        classes = rng.integers(4, size=len(query))
        pool.add(query, classes, round_)
        known |= dict(zip(query.tolist(), classes.tolist(), strict=True))
        assert dict(zip(pool.labelled_ids.tolist(), pool.labels.tolist(), strict=True)) == known
        assert set(pool.unlabelled_ids.tolist()) == set(candidates.tolist()) - set(known)
        assert pool.n_labelled == len(known)
        at = dict(zip(pool.candidates.tolist(), pool.labelled_at.tolist(), strict=True))
        assert all(at[pixel] == round_ for pixel in query.tolist())
    assert len(pool.unlabelled_ids) == 0


def test_positions_follow_the_order_asked() -> None:
    pool = pool_of(9, 2, 40, 7)
    assert pool.positions([40, 2, 9, 40]).tolist() == [3, 0, 2, 3]
    assert pool.positions([]).tolist() == []


@pytest.mark.parametrize(
    ("ids", "labels", "says"),
    [
        ([7, 7], [0, 0], "twice"),
        ([9, 2], [0, 0], "2 is labelled already"),
        ([7, 8], [0, 0], "8 is no candidate"),
        ([7, 1], [0, 0], "1 is no candidate"),
        ([7, 41], [0, 0], "41 is no candidate"),
        ([7, -1], [0, 0], "-1 is no candidate"),
        ([7, 9], [0, -1], "negative"),
        ([7, 9], [0], "2 pixels need as many"),
        ([7], [0, 1], "1 pixels need as many"),
        ([7, 9], [[0, 1]], "as many"),
        ([7], [], "as many"),
        ([], [0], "0 pixels need as many"),
    ],
)
def test_a_wrong_query_is_refused_and_changes_nothing(ids: list[int], labels: list[Any], says: str) -> None:
    pool = pool_of(2, 7, 9, 40)
    pool.add([2], [1], 0)
    before = state(pool)
    with pytest.raises(PoolError, match=says):
        pool.add(ids, labels, 1)
    assert state(pool) == before


def test_an_empty_query_changes_nothing() -> None:
    pool = pool_of(2, 7)
    pool.add([], [], 0)
    assert pool.n_labelled == 0


def test_no_candidates_and_a_candidate_twice_are_refused() -> None:
    with pytest.raises(PoolError, match="no candidates"):
        LabelPool([])
    with pytest.raises(PoolError, match="twice"):
        LabelPool([3, 1, 3])


def test_a_single_candidate() -> None:
    pool = pool_of(0)
    pool.add([0], [0], 0)
    assert state(pool) == ([0], [0], [0])
    assert pool.unlabelled_ids.tolist() == []
    with pytest.raises(PoolError, match="already"):
        pool.add([0], [0], 1)
