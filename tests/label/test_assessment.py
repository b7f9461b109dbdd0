"""Accuracies and areas with intervals, against the worked example of Olofsson et al. 2014 and a simulation."""

import math

import numpy as np
import pytest

from hsi_al.errors import SessionError
from hsi_al.label.assessment import accuracy_of, allocated, drawn, report

# Table 8 of the paper: deforestation, forest gain, stable forest, stable non-forest; pixels of 30 m.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_worked_example_of_the_paper() -> None:
    found = accuracy_of(COUNTS, MAPPED)
    assert (round(found.overall.value, 2), round(found.overall.half, 2)) == (0.95, 0.02)
    users = [(round(one.value, 2), round(one.half, 2)) for one in found.users]
    assert users == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    # For forest gain it prints 0.23 where its equation (7), tested below, gives 0.25.
    assert [round(one.value, 2) for one in found.producers] == [0.75, 0.85, 0.93, 0.96]
    assert [round(found.producers[number].half, 2) for number in (0, 2)] == [0.21, 0.03]
    area = found.shares[0].scaled(10_000_000)
    assert round(area.value) == 235_086
    hectares = area.scaled(0.09)
    assert (round(hectares.value), round(hectares.half)) == (21_158, 6_158)


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
        half = 1.96 * math.sqrt((own + producer**2 * others) / estimated**2)
        assert found.producers[j].value == pytest.approx(producer)
        assert found.producers[j].half == pytest.approx(half)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 30_000, p=[0.1, 0.3, 0.6])
    shown = np.where(rng.random(30_000) < 0.8, truth, rng.integers(0, 3, 30_000))
    overall, share = (truth == shown).mean(), (truth == 0).mean()
    producers = (shown[truth == 0] == 0).mean()
    hits = np.zeros(3)
    for _ in range(400):
        ids = drawn((shown + 1).astype(np.uint8), 1000, rng)
        counts = np.zeros((3, 3), np.int64)
        np.add.at(counts, (shown[ids], truth[ids]), 1)
        found = accuracy_of(counts, np.bincount(shown))
        pairs = (found.overall, overall), (found.shares[0], share), (found.producers[0], producers)
        hits += [abs(one.value - true) <= one.half for one, true in pairs]
    assert (hits / 400 > 0.92).all() and (hits / 400 < 0.985).all(), hits


def test_what_cannot_be_told_is_not_told() -> None:
    one = accuracy_of(np.array([[1, 0], [0, 5]]), np.array([10, 90]))
    assert one.overall.value == 1 and math.isnan(one.overall.half) and math.isnan(one.users[0].half)
    assert one.users[1].half == 0
    never_mapped = accuracy_of(np.array([[8, 2], [0, 0]]), np.array([100, 0]))
    assert never_mapped.overall.value == pytest.approx(0.8)
    assert math.isnan(never_mapped.users[1].value) and never_mapped.producers[1].value == 0
    assert never_mapped.shares[1].value == pytest.approx(0.2)
    absent = accuracy_of(np.array([[5, 0], [0, 0]]), np.array([100, 0]))  # no reference pixel either
    assert absent.shares[1].value == 0 and math.isnan(absent.producers[1].value)


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


@pytest.mark.parametrize(
    ("reference", "says"), [(1, "no sampled pixel was wrong"), (2, "every sampled pixel was wrong")]
)
def test_an_interval_without_width_is_explained(reference: int, says: str) -> None:
    names = {1: ("corn", "#111111"), 2: ("oats", "#222222")}
    sample = [*[(1, reference)] * 5, *[(2, 2)] * 3, (2, 1)]
    found = report({1: 60, 2: 40}, sample, 9, names)
    assert found["classes"][0]["users"]["interval"] == [reference == 1, reference == 1]
    notes = [note for note in found["notes"] if "no width" in note]
    assert len(notes) == 1 and f"{says} (corn)" in notes[0]


def test_the_report_says_what_is_missing() -> None:
    names = {1: ("corn", "#111111"), 2: ("oats", "#222222"), 3: ("pond", "#333333")}
    sample = [(1, 1), (1, 2), (1, 1), (1, None), (2, 2), (2, 2)]
    found = report({1: 600, 2: 300, 3: 100}, sample, 10, names, hectares=0.5)
    assert (found["n"], found["answered"], found["skipped"]) == (10, 6, 1)
    assert found["overall"]["estimate"] == pytest.approx((2 / 3 * 600 + 300) / 900)
    corn, oats, pond = found["classes"]
    assert corn["n"] == 3 and corn["mapped_share"] == 0.6 and pond["users"] is None and pond["n"] == 0
    assert oats["area"]["estimate"] == pytest.approx((200 + 300) / 900)
    assert oats["hectares"]["estimate"] == pytest.approx(250)
    text = " ".join(found["notes"])
    for words in ("Only 6 of 10", "1 pixels that could not", "No pixel mapped as pond", "(oats)", "too narrow"):
        assert words in text
    assert "only one has an answer" not in text
    alone = report({1: 6, 2: 3}, [*[(1, 2)] * 10, (2, 2)], 11, names)
    assert alone["overall"]["interval"] is None and "mapped as oats only one has an answer" in " ".join(alone["notes"])
    assert not any("too narrow" in note for note in alone["notes"])  # ten were wrong
    empty = report({1: 5, 2: 5}, [], 4, names)
    assert empty["overall"] is None and empty["classes"][0]["hectares"] is None
