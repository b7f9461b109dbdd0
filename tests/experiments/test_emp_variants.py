"""The variants of EMP+SVM differ in what they say they differ in; here on a tiny scene."""

import numpy as np

from experiments.emp_variants import VARIANTS, accuracy, drawn, measure
from hsi_al.learners.svm import GridSvm
from hsi_al.scenes.scene import Scene
from tests.conftest import tiny_arrays


def tiny() -> Scene:
    cube, truth = tiny_arrays()
    return Scene("tiny", cube, truth, {2: "Corn", 5: "Rye", 9: "Oats"})


def test_every_variant_is_measured_on_the_same_draw() -> None:
    rows = measure(tiny(), 10)
    assert [row[0] for row in rows[1:]] == [*VARIANTS, "no profile: 3 components"]
    assert [int(row[1]) for row in rows[1:4]] == [33, 33, 11]
    assert [int(row[1]) for row in rows[5:]] == [27, 9, 3]
    assert all(float(row[2]) > 95 for row in rows[1:])


def test_accuracy_counts_drawn_pixels_for_all_but_not_for_heldout() -> None:
    draw = drawn(tiny(), 10)
    assert (len(draw.ids), len(draw.rest)) == (30, 110 + 110 + 220 - 30)
    assert not np.intersect1d(draw.ids, draw.rest).size
    features = np.zeros((24 * 26, 1), np.float32)
    features[draw.ids, 0] = draw.labels  # says nothing about the others, which look like class 0
    everything, heldout = accuracy(features, draw, GridSvm())
    share = (draw.truth == 0).mean()
    assert heldout == 100 * share
    assert everything == 100 * (30 + share * len(draw.rest)) / 440
