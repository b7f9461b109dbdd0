"""The simulation of intervals: its made-up maps have the accuracy they should, and it counts what holds."""

import numpy as np
import pytest

from experiments.intervals.__main__ import KINDS, MadeUp, held, made_up


@pytest.mark.parametrize("n_classes", [2, 9])
def test_a_made_up_map_has_its_accuracy(n_classes: int) -> None:
    map_ = made_up(n_classes, 0.94, np.random.default_rng(0))
    assert map_.within.sum(axis=1) == pytest.approx(np.ones(n_classes))
    assert map_.truth()["overall"][0] == pytest.approx(0.94, abs=0.002)
    assert map_.truth()["shares"].sum() == pytest.approx(1)


def test_intervals_of_a_perfect_map_hold_and_those_of_no_width_do_too() -> None:
    found = held(MadeUp(np.array([60, 40]), np.eye(2)), 20, 3, np.random.default_rng(0))
    for kind in KINDS:
        (own, own_width), (plain, plain_width) = found[kind]
        assert own == plain == 1 and own_width > plain_width == 0


def test_a_value_outside_is_counted() -> None:
    within = np.array([[0.999, 0.001], [0.001, 0.999]])  # 20 pixels of it hardly ever show an error
    found = held(MadeUp(np.array([60, 40]), within), 20, 50, np.random.default_rng(1))
    assert found["overall"][0, 0] > 0.9 > 0.2 > found["overall"][1, 0]
