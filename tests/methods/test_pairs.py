"""Index pairs: counts, classes, distinctness, and the odd sets of labels."""

import numpy as np
import pytest

from hsi_al.methods.pairs import BalancedPairs, different_class_pairs, same_class_pairs

LABELS = np.array([2, 0, 2, 5, 0, 2, 0, 0])  # four of 0, three of 2, one of 5


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("n_classes", "total"), [(9, 401_400), (16, 780_800)])
def test_counts_of_the_source(n_classes: int, total: int) -> None:
    labels = np.repeat(np.arange(n_classes), 200)
    pairs, classes = same_class_pairs(labels)
    assert np.bincount(classes).tolist() == [39_800] * n_classes
    assert len(pairs) + len(different_class_pairs(labels, 3, rng())) == total


def test_same_class_pairs_are_all_ordered_ones() -> None:
    pairs, classes = same_class_pairs(LABELS)
    assert (LABELS[pairs] == classes[:, None]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs) == 4 * 3 + 3 * 2 + 1
    assert (pairs[:, 0] == pairs[:, 1]).sum() == 1
    assert pairs[classes == 5].tolist() == [[3, 3]]  # the only pixel of its class


def test_different_class_pairs_are_distinct_and_fewer_where_the_class_is_small() -> None:
    pairs = different_class_pairs(LABELS, 2, rng())
    first, second = LABELS[pairs].T
    assert (first != second).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    partners = {0: 2, 2: 2, 5: 1}
    for position, label in enumerate(LABELS):
        found = second[pairs[:, 0] == position]
        assert {c: int((found == c).sum()) for c in partners if c != label} == {
            c: k for c, k in partners.items() if c != label
        }


def test_partners_are_drawn_uniformly_from_the_generator_alone() -> None:
    labels = np.repeat([0, 1], [1000, 5])
    pairs = different_class_pairs(labels, 2, rng())
    drawn = np.bincount(pairs[pairs[:, 0] < 1000, 1] - 1000)
    assert drawn.sum() == 2000
    assert (np.abs(drawn - 400) < 60).all()
    assert np.array_equal(pairs, different_class_pairs(labels, 2, rng()))
    assert not np.array_equal(pairs, different_class_pairs(labels, 2, rng(1)))


def test_one_class_only() -> None:
    labels = np.array([3, 3, 3])
    assert len(same_class_pairs(labels)[0]) == 6
    assert different_class_pairs(labels, 3, rng()).shape == (0, 2)
    pairs, same = BalancedPairs(labels).draw(10, rng())
    assert same.all()
    assert len(pairs) == 10


def test_no_labels() -> None:
    nothing = np.empty(0, np.int64)
    assert same_class_pairs(nothing)[0].shape == different_class_pairs(nothing, 3, rng()).shape == (0, 2)


def test_balanced_draws() -> None:
    pairs, same = BalancedPairs(LABELS).draw(6000, rng())
    first, second = LABELS[pairs].T
    assert same.sum() == (~same).sum() == 6000
    assert np.array_equal(first == second, same)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    # Classes count the same, whatever their size: 0 and 2 among the same ones, six ordered pairs among the others.
    assert abs((first[same] == 0).mean() - 1 / 2) < 0.02
    others, counts = np.unique(np.stack([first, second])[:, ~same], axis=1, return_counts=True)
    assert others.shape == (2, 6)
    assert (np.abs(counts / 6000 - 1 / 6) < 0.02).all()
    # All pixels of a class, and all ordered pairs of them.
    chosen = pairs[same & (first == 2)]
    assert len(np.unique(chosen, axis=0)) == 6
    assert (np.abs(np.bincount(chosen[:, 0])[[0, 2, 5]] / len(chosen) - 1 / 3) < 0.03).all()


def test_balanced_draws_depend_on_the_generator_alone() -> None:
    drawn = [BalancedPairs(LABELS).draw(20, rng(seed))[0] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])


def test_balanced_draws_of_classes_with_one_pixel_each() -> None:
    pairs, same = BalancedPairs(np.array([0, 1])).draw(5, rng())
    assert not same.any()
    assert len(pairs) == 5
    pairs, same = BalancedPairs(np.array([4])).draw(5, rng())
    assert pairs.shape == (0, 2)
    assert same.shape == (0,)
