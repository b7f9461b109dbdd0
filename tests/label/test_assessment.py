"""Accuracies and areas with intervals, against the worked example of Olofsson et al. 2014 and a simulation."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from hsi_al.errors import SessionError
from hsi_al.label.assessment import accuracy_of, allocated, drawn, report

# Table 8 of the paper: deforestation, forest gain, stable forest, stable non-forest; pixels of 30 m.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_worked_example_of_the_paper() -> None:
    found = accuracy_of(COUNTS, MAPPED)
    assert (round(found.overall.value, 2), round(1.96 * found.overall.error, 2)) == (0.95, 0.02)
    users = [(round(one.value, 2), round(1.96 * one.error, 2)) for one in found.users]
    assert users == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    # For forest gain it prints 0.23 where its equation (7), tested below, gives 0.25.
    assert [round(one.value, 2) for one in found.producers] == [0.75, 0.85, 0.93, 0.96]
    assert [round(1.96 * found.producers[number].error, 2) for number in (0, 2)] == [0.21, 0.03]
    area = found.shares[0].scaled(10_000_000)
    assert round(area.value) == 235_086
    hectares = area.scaled(0.09)
    assert (round(hectares.value), round(1.96 * hectares.error)) == (21_158, 6_158)


def test_the_variance_of_a_producers_accuracy_is_equation_7_as_printed() -> None:
    found = accuracy_of(COUNTS, MAPPED)
    n, pixels = COUNTS.astype(float), MAPPED.astype(float)
    for j in range(4):
        n_i = n.sum(axis=1)
        estimated = sum(pixels[i] / n_i[i] * n[i, j] for i in range(4))
        user, producer = n[j, j] / n_i[j], pixels[j] / n_i[j] * n[j, j] / estimated
        own = pixels[j] ** 2 * (1 - producer) ** 2 * user * (1 - user) / (n_i[j] - 1)
        others = sum(
            pixels[i] ** 2 * n[i, j] / n_i[i] * (1 - n[i, j] / n_i[i]) / (n_i[i] - 1) for i in range(4) if i != j
        )
        error = math.sqrt((own + producer**2 * others) / estimated**2)
        assert found.producers[j].value == pytest.approx(producer)
        assert found.producers[j].error == pytest.approx(error)


def test_the_interval_of_one_stratum_is_wilsons() -> None:
    for right, n in ((5, 5), (0, 4), (47, 50), (1, 1)):
        known = binomtest(right, n).proportion_ci(method="wilson")
        found = accuracy_of(np.array([[right, n - right], [0, 0]]), np.array([1000, 0]))
        for one in (found.overall, found.users[0], found.shares[0]):
            assert [one.low, one.high] == pytest.approx(list(known), abs=1e-4)
    assert accuracy_of(np.array([[5]]), np.array([9])).overall.low == pytest.approx(0.5655, abs=1e-4)


def test_the_sample_counts_for_no_more_pixels_than_it_has() -> None:
    """Two errors in a rare class tell more of the map than none, but don't make it surer than 200 pixels can."""
    found = accuracy_of(np.array([[174, 0], [2, 24]]), np.array([9900, 100])).overall
    p, z2 = found.value, 1.96**2 / 200
    assert p == pytest.approx(0.99 + 0.01 * 24 / 26)
    half = 1.96 * math.sqrt(p * (1 - p) / 200 + z2 / (4 * 200))
    assert found.low == pytest.approx((p + z2 / 2 - half) / (1 + z2))
    assert found.low < accuracy_of(np.array([[174, 0], [0, 26]]), np.array([9900, 100])).overall.low + 0.002


def test_the_intervals_of_strata_are_those_of_the_equations() -> None:
    """Equations of the module's docstring, term by term, with a stratum that shows no error."""
    n, pixels = [[18, 2, 0], [0, 9, 0], [1, 0, 3]], [600, 300, 100]
    found = accuracy_of(np.array(n), np.array(pixels))
    right = (18 + 9 + 3 + 1) / (33 + 2)
    q = [[(n[i][j] + 4 * (right if i == j else (1 - right) / 2)) / (sum(n[i]) + 4) for j in range(3)] for i in range(3)]
    variance = [[(pixels[i] / 1000) ** 2 * q[i][j] * (1 - q[i][j]) / sum(n[i]) for j in range(3)] for i in range(3)]

    def wilson(p: float, size: float) -> tuple[float, float]:
        centre, z2 = p + 1.96**2 / (2 * size), 1.96**2 / size
        half = 1.96 * math.sqrt(p * (1 - p) / size + z2 / (4 * size))
        return (centre - half) / (1 + z2), (centre + half) / (1 + z2)

    share = sum(pixels[i] / 1000 * q[i][i] for i in range(3))
    size = share * (1 - share) / sum(variance[i][i] for i in range(3))
    assert size > 33  # as many were sampled
    assert [found.overall.low, found.overall.high] == pytest.approx(wilson(found.overall.value, 33))
    for j in range(3):
        others = [i for i in range(3) if i != j]
        missed = sum(pixels[i] / 1000 * n[i][j] / sum(n[i]) for i in others)
        missed_q = sum(pixels[i] / 1000 * q[i][j] for i in others)
        low, high = wilson(missed, missed_q * (1 - missed_q) / sum(variance[i][j] for i in others))
        user = n[j][j] / sum(n[j])
        least, most = wilson(user, sum(n[j]))
        assert [found.users[j].low, found.users[j].high] == pytest.approx([least, min(most, 1.0)])
        area = pixels[j] / 1000 * user + missed
        assert found.shares[j].value == pytest.approx(area)
        down = math.hypot(missed - max(low, 0), pixels[j] / 1000 * (user - least))
        up = math.hypot(high - missed, pixels[j] / 1000 * (min(most, 1.0) - user))
        assert [found.shares[j].low, found.shares[j].high] == pytest.approx([area - down, area + up])
        own, total = pixels[j] / 1000 * q[j][j], sum(pixels[i] / 1000 * q[i][j] for i in range(3))
        producer = own / total
        other = sum(variance[i][j] for i in others)
        v = ((1 - producer) ** 2 * variance[j][j] + producer**2 * other) / total**2
        ends = wilson(found.producers[j].value, producer * (1 - producer) / v)
        assert [found.producers[j].low, found.producers[j].high] == pytest.approx([ends[0], min(ends[1], 1.0)])


@pytest.mark.parametrize(("noise", "n", "least_paper"), [(0.3, 1000, 0.92), (0.015, 100, 0.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(noise: float, n: int, least_paper: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 30_000, p=[0.1, 0.3, 0.6])
    shown = np.where(rng.random(30_000) < 1 - noise, truth, rng.integers(0, 3, 30_000))
    overall, share = (truth == shown).mean(), (truth == 0).mean()
    producers, users = (shown[truth == 0] == 0).mean(), (truth[shown == 0] == 0).mean()
    hits, hits_of_paper = np.zeros(4), np.zeros(4)
    for _ in range(400):
        ids = drawn((shown + 1).astype(np.uint8), n, rng)
        counts = np.zeros((3, 3), np.int64)
        np.add.at(counts, (shown[ids], truth[ids]), 1)
        found = accuracy_of(counts, np.bincount(shown))
        pairs = [(found.overall, overall), (found.shares[0], share), (found.producers[0], producers)]
        pairs.append((found.users[0], users))
        hits += [one.low <= true <= one.high for one, true in pairs]
        hits_of_paper += [abs(one.value - true) <= 1.96 * one.error for one, true in pairs]
    assert (hits / 400 > 0.88).all() and hits.mean() / 400 > 0.93, hits  # counts are whole numbers: some p have less
    assert (hits_of_paper / 400 > least_paper).all()
    if least_paper:  # where errors are many, the two are alike
        assert (hits / 400 < 0.985).all()
    else:
        assert hits_of_paper.mean() / 400 < 0.7  # why the intervals aren't 1.96 standard errors to either side


def test_what_cannot_be_told_is_not_told() -> None:
    one = accuracy_of(np.array([[1, 0], [0, 5]]), np.array([10, 90]))
    assert one.overall.value == 1 and math.isnan(one.overall.error) and math.isnan(one.users[0].error)
    assert one.users[1].error == 0 and 0 < one.users[0].low < one.users[1].low < one.users[1].high == 1
    never_mapped = accuracy_of(np.array([[8, 2], [0, 0]]), np.array([100, 0]))
    assert never_mapped.overall.value == pytest.approx(0.8)
    certain = [(one.value, one.low, one.high) for one in never_mapped.producers]  # with one class mapped
    assert math.isnan(never_mapped.users[1].value) and certain == [(1, 1, 1), (0, 0, 0)]
    assert never_mapped.shares[1].value == pytest.approx(0.2)
    absent = accuracy_of(np.array([[5, 0], [0, 0]]), np.array([100, 0]))  # no reference pixel either
    assert absent.shares[1].value == 0 and math.isnan(absent.producers[1].value)
    unsampled = accuracy_of(np.array([[5, 0], [0, 0]]), np.array([100, 10]))
    assert math.isnan(unsampled.overall.value) and math.isnan(unsampled.overall.low)


def test_a_sample_is_shared_equally_at_first_then_in_proportion() -> None:
    assert allocated(np.array([0, 900, 90, 10]), 60).tolist() == [0, 37, 13, 10]
    assert allocated(np.array([0, 1000, 1]), 4).tolist() == [0, 3, 1]
    assert allocated(np.array([5, 5]), 100).tolist() == [5, 5]  # no more than there are
    shares = allocated(np.array([10**6, 10**5, 10**4, 300]), 500)
    assert shares.sum() == 500 and shares.min() >= 25 and (np.diff(shares) <= 0).all()
    with pytest.raises(SessionError, match="too small"):
        allocated(np.array([9, 9, 9]), 5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_drawn_sample_is_of_the_map_in_random_order(seed: int) -> None:
    classes = np.repeat([0, 1, 3], [50, 400, 60]).astype(np.uint8)
    ids = drawn(classes, 40, np.random.default_rng(seed))
    assert len(set(ids.tolist())) == 40 and (classes[ids] > 0).all()
    assert np.bincount(classes[ids], minlength=4).tolist() == allocated(np.array([0, 400, 0, 60]), 40).tolist()
    assert (np.diff(classes[ids].astype(int)) < 0).sum() > 3  # not class by class
    with pytest.raises(SessionError, match="no map"):
        drawn(np.zeros(9, np.uint8), 5, np.random.default_rng(0))


def test_every_pixel_of_a_class_is_drawn_equally_often_across_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are looked through part by part; 12 pixels of a class lie in several parts, values may be large."""
    monkeypatch.setattr("hsi_al.label.assessment.BLOCK", 7)
    classes = np.array([0, 9, 9, 70_000, 9, 0, 70_000, 9] * 3, np.uint32)
    rng, hits = np.random.default_rng(0), np.zeros(24)
    for _ in range(2000):
        ids = drawn(classes, 6, rng)
        assert len(set(ids.tolist())) == 6
        hits[ids] += 1
    shares = allocated(np.array([12, 6]), 6)  # draws of each class, in ascending order of the values
    assert not hits[classes == 0].any()
    for value, share, count in ((9, shares[0], 12), (70_000, shares[1], 6)):
        expected = 2000 * share / count
        assert np.abs(hits[classes == value] - expected).max() < 4.5 * math.sqrt(expected)
    assert sorted(drawn(classes, 18, rng).tolist()) == np.flatnonzero(classes).tolist()


@pytest.mark.parametrize("reference", [1, 2])
def test_an_interval_has_width_where_no_or_every_pixel_was_wrong(reference: int) -> None:
    names = {1: ("corn", "#111111"), 2: ("oats", "#222222")}
    sample = [*[(1, reference)] * 5, *[(2, 2)] * 3, (2, 1)]
    users = report({1: 60, 2: 40}, sample, 9, names)["classes"][0]["users"]
    ends = list(binomtest(5 if reference == 1 else 0, 5).proportion_ci(method="wilson"))
    assert users["interval"] == pytest.approx(ends, abs=1e-4) and users["standard_error"] == 0


def test_the_report_says_what_is_missing() -> None:
    names = {1: ("corn", "#111111"), 2: ("oats", "#222222"), 3: ("pond", "#333333")}
    sample = [(1, 1), (1, 2), (1, 1), (1, None), (2, 2), (2, 2)]
    found = report({1: 600, 2: 300, 3: 100}, sample, 10, names, hectares=0.5)
    assert (found["n"], found["answered"], found["skipped"]) == (10, 6, 1)
    assert found["overall"]["estimate"] == pytest.approx((2 / 3 * 600 + 300) / 900)
    corn, oats, pond = found["classes"]
    assert corn["n"] == 3 and corn["mapped_share"] == 0.6 and pond["users"] is None and pond["n"] == 0
    # Nobody has looked at what is mapped as pond: there may be any amount.
    assert pond["producers"] is pond["area"] is pond["hectares"] is None
    more = report({1: 600, 2: 300, 3: 100}, [*sample, (1, 3)], 10, names, hectares=0.5)["classes"][2]
    assert more["producers"] is more["area"] is more["hectares"] is None
    assert oats["area"]["estimate"] == pytest.approx((200 + 300) / 900)
    assert oats["hectares"]["estimate"] == pytest.approx(250)
    text = " ".join(found["notes"])
    for words in ("Only 6 of 10", "1 pixels that could not", "No pixel mapped as pond"):
        assert words in text
    swapped = report({1: 6, 2: 3}, [(1, 2), (2, 1)] * 5, 10, names)["notes"]
    assert any("are the numbers of the classes swapped?" in note for note in swapped)
    unsure = report({1: 6, 2: 3}, [(1, 2), *[(1, None)] * 12, *[(2, 2)] * 9], 30, names)["notes"]
    assert "swapped" not in text + " ".join(unsure)
    alone = report({1: 6, 2: 3}, [*[(1, 2)] * 10, (2, 2)], 11, names)["overall"]
    assert alone["standard_error"] is None and 0 < alone["interval"][0] < alone["estimate"] < alone["interval"][1]
    empty = report({1: 5, 2: 5}, [], 4, names)
    assert empty["overall"] is None and empty["classes"][0]["hectares"] is None
