from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from hsi_al.errors import PoolError, PoolExhaustedError
from hsi_al.pool.initial import DRAWS, draw_initial, draw_per_class
from hsi_al.randomness import generator

Ids = NDArray[np.int64]
KINDS = tuple(DRAWS)


def candidates_of(*counts: int, seed: int = 0) -> tuple[Ids, Ids]:
    """Ids with gaps and labels in no order; class i has counts[i] pixels."""
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = np.arange(len(labels)) * 3 + 5
    return ids, np.random.default_rng(seed).permutation(labels)


def per_class(drawn: Ids, ids: Ids, labels: Ids) -> list[int]:
    lookup = dict(zip(ids.tolist(), labels.tolist(), strict=True))
    found = Counter(lookup[pixel] for pixel in drawn.tolist())
    return [found[value] for value in range(int(labels.max()) + 1)]


def test_the_three_kinds() -> None:
    assert set(KINDS) == {"uniform", "per_class", "stratified"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 9, 30])
def test_size_uniqueness_and_membership(kind: str, size: int) -> None:
    ids, labels = candidates_of(25, 13, 17)
    drawn = draw_initial(ids, labels, size, kind, generator(0, "initial"))
    assert drawn.dtype == np.int64
    assert len(drawn) == len(set(drawn.tolist())) == size
    assert set(drawn.tolist()) <= set(ids.tolist())
    assert drawn.tolist() == sorted(drawn.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_and_seed_0_is_a_seed(kind: str) -> None:
    ids, labels = candidates_of(40, 40, 40)
    draws = [draw_initial(ids, labels, 12, kind, generator(seed, "initial")).tolist() for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_pool_can_be_drawn_but_no_more(kind: str) -> None:
    ids, labels = candidates_of(4, 4, 4)
    assert draw_initial(ids, labels, 12, kind, generator(1, "initial")).tolist() == ids.tolist()
    with pytest.raises(PoolExhaustedError, match=r"13 .* 12 candidates"):
        draw_initial(ids, labels, 13, kind, generator(1, "initial"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_class(kind: str) -> None:
    ids, labels = candidates_of(9)
    assert len(draw_initial(ids, labels, 4, kind, generator(0, "initial"))) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_class_indices_may_have_gaps(kind: str) -> None:
    """A split can leave a class without candidates; the others keep their indices."""
    ids, labels = candidates_of(6, 6)
    drawn = draw_initial(ids, labels * 5 + 2, 6, kind, generator(0, "initial"))
    assert len(drawn) == 6
    if kind != "uniform":
        assert per_class(drawn, ids, labels) == [3, 3]


def test_per_class_gives_equal_shares_and_the_remainder_at_random() -> None:
    ids, labels = candidates_of(50, 20, 5, 9)
    assert per_class(draw_initial(ids, labels, 20, "per_class", generator(0, "initial")), ids, labels) == [5] * 4
    extras = set()
    for seed in range(40):
        shares = per_class(draw_initial(ids, labels, 14, "per_class", generator(seed, "initial")), ids, labels)
        assert sorted(shares) == [3, 3, 4, 4]
        extras.add(tuple(np.flatnonzero(np.array(shares) == 4).tolist()))
    assert extras == set(combinations(range(4), 2))


def test_per_class_names_the_class_that_has_too_few() -> None:
    ids, labels = candidates_of(50, 4, 50)
    with pytest.raises(PoolError, match=r"Oats has 4 candidates.*needs 5 of this class") as caught:
        draw_initial(ids, labels, 15, "per_class", generator(0, "initial"), class_names=["Corn", "Oats", "Hay"])
    assert "protocol.initial" in str(caught.value)
    with pytest.raises(PoolError, match="class 1 has 4"):
        draw_initial(ids, labels, 15, "per_class", generator(0, "initial"))


@pytest.mark.parametrize(
    ("counts", "size", "shares"),
    [
        ((50, 30, 20), 10, [5, 3, 2]),
        # 8 of 100: 4.08, 2.72, 1.2 -> floors 4, 2, 1, the one left goes to .72
        ((51, 34, 15), 8, [4, 3, 1]),
        # 10 of 100: 0.4, 3.3, 6.3 -> floors 0, 3, 6, the one left goes to .4
        ((4, 33, 63), 10, [1, 3, 6]),
        # 10 of 11: 9.09, 0.91
        ((10, 1), 10, [9, 1]),
        # 3 of 100: 2.91, 0.06, 0.03
        ((97, 2, 1), 3, [3, 0, 0]),
        ((5, 5), 10, [5, 5]),
    ],
)
def test_stratified_is_the_largest_remainder(counts: tuple[int, ...], size: int, shares: list[int]) -> None:
    ids, labels = candidates_of(*counts)
    for seed in range(5):
        drawn = draw_initial(ids, labels, size, "stratified", generator(seed, "initial"))
        assert per_class(drawn, ids, labels) == shares


def test_stratified_breaks_equal_remainders_at_random() -> None:
    """2 of (4, 1, 1): 4/3, 1/3, 1/3, so the second label goes to any of the three."""
    ids, labels = candidates_of(4, 1, 1)
    seen = Counter(
        tuple(per_class(draw_initial(ids, labels, 2, "stratified", generator(seed, "initial")), ids, labels))
        for seed in range(300)
    )
    assert set(seen) == {(2, 0, 0), (1, 1, 0), (1, 0, 1)}
    assert min(seen.values()) > 60


@pytest.mark.parametrize("kind", KINDS)
def test_min_per_class_comes_first(kind: str) -> None:
    ids, labels = candidates_of(300, 3, 5)
    for seed in range(20):
        drawn = draw_initial(ids, labels, 9, kind, generator(seed, "initial"), min_per_class=2)
        assert len(drawn) == 9
        assert min(per_class(drawn, ids, labels)) >= 2
    with pytest.raises(PoolError, match=r"min_per_class=4 for 3 classes exceeds the 11"):
        draw_initial(ids, labels, 11, kind, generator(0, "initial"), min_per_class=4)
    with pytest.raises(PoolError, match=r"Oats has 3 .* needs 4 of this class; lower protocol\.min_per_class"):
        draw_initial(
            ids, labels, 100, kind, generator(0, "initial"), min_per_class=4, class_names=["Corn", "Oats", "Hay"]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_min_per_class_may_be_all_there_is(kind: str) -> None:
    ids, labels = candidates_of(2, 2, 2)
    drawn = draw_initial(ids, labels, 6, kind, generator(0, "initial"), min_per_class=2)
    assert drawn.tolist() == ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_what_min_per_class_took_is_not_there_for_the_rest(kind: str) -> None:
    ids, labels = candidates_of(3, 3, 3)
    for seed in range(5):
        drawn = draw_initial(ids, labels, 9, kind, generator(seed, "initial"), min_per_class=2)
        assert drawn.tolist() == ids.tolist()


def test_uniform_draws_every_set_of_pixels_equally_often() -> None:
    """All 10 pairs of 5 pixels, whatever their classes: chi-square with 9 degrees of freedom, p = 1e-5 bound."""
    ids, labels = candidates_of(3, 2)
    n = 3000
    seen = Counter(tuple(draw_initial(ids, labels, 2, "uniform", generator(s, "initial")).tolist()) for s in range(n))
    assert set(seen) == set(combinations(ids.tolist(), 2))
    statistic = sum((count - n / 10) ** 2 / (n / 10) for count in seen.values())
    assert statistic < scipy.stats.chi2.isf(1e-5, 9)


def test_uniform_leaves_a_rare_class_out_as_often_as_chance_says() -> None:
    ids, labels = candidates_of(95, 5)
    without = sum(
        per_class(draw_initial(ids, labels, 20, "uniform", generator(seed, "initial")), ids, labels)[1] == 0
        for seed in range(1000)
    )
    expected = scipy.stats.hypergeom(100, 5, 20).pmf(0)
    assert abs(without / 1000 - expected) < 5 * np.sqrt(expected * (1 - expected) / 1000)


@pytest.mark.parametrize("kind", ["per_class", "stratified"])
def test_within_a_class_every_pixel_is_equally_likely(kind: str) -> None:
    ids, labels = candidates_of(12, 12)
    n = 1000
    seen = Counter(
        pixel for seed in range(n) for pixel in draw_initial(ids, labels, 6, kind, generator(seed, "initial")).tolist()
    )
    statistic = sum((seen[pixel] - n / 4) ** 2 / (n / 4) for pixel in ids.tolist())
    assert statistic < scipy.stats.chi2.isf(1e-5, 23)


NAMES = ["Corn", "Oats", "Woods", "Hay"]


def test_so_many_of_every_class_and_no_class_that_is_absent() -> None:
    ids, labels = candidates_of(25, 13, 17)
    drawn = draw_per_class(ids, labels + (labels == 2), 13, generator(0, "initial"), False, NAMES)
    assert per_class(drawn, ids, labels) == [13, 13, 13]
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    again = draw_per_class(ids, labels + (labels == 2), 13, generator(0, "initial"), False, NAMES)
    other = draw_per_class(ids, labels, 13, generator(1, "initial"), False, NAMES)
    assert drawn.tolist() == again.tolist() != other.tolist()


def test_a_class_with_fewer_is_named_or_taken_whole() -> None:
    ids, labels = candidates_of(25, 13, 17)
    with pytest.raises(PoolError, match=r"Oats has 13 candidates, but protocol.per_class=14"):
        draw_per_class(ids, labels, 14, generator(0, "initial"), False, NAMES)
    drawn = draw_per_class(ids, labels, 14, generator(0, "initial"), True, NAMES)
    assert per_class(drawn, ids, labels) == [14, 13, 14]
