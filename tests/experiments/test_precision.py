"""Overlap of queries by hand, and the experiment at a tiny size."""

import numpy as np
import pytest

from experiments.precision.__main__ import compare, measure, overlap, table
from hsi_al.methods.deep.learner import DeepSettings
from hsi_al.outputs import Outputs
from hsi_al.scenes.catalogue import load_catalogue_scene


def outputs(losses: list[float]) -> Outputs:
    n = len(losses)
    return Outputs(
        np.arange(n) % 2,
        probabilities_NC=np.tile(np.array([0.5, 0.5]), (n, 1)),
        predicted_loss_N=np.array(losses, dtype=np.float32),
    )


def test_the_overlap_is_the_part_that_both_ask_for() -> None:
    one, other, labelled = outputs([9, 8, 7, 6, 5]), outputs([9, 1, 7, 8, 5]), np.array([True, *4 * [False]])
    assert overlap(one, other, labelled, "loss_prediction", 2) == 0.5  # 1 and 2 against 3 and 2
    assert overlap(one, other, labelled, "loss_prediction", 4) == 1
    found = compare(one, other, labelled, np.array([0, 1, 0, 1, 1]))
    assert (found["same class"], found["overall accuracy"]) == (1, 0.8)
    assert not any("10" in name for name in found)  # more than there are to ask


@pytest.mark.slow
def test_the_reference_agrees_with_itself() -> None:
    scene = load_catalogue_scene("indian_pines", None)
    settings = DeepSettings().having(backbone="resnet18", stem="s2_pool", epochs=1, accelerator="cpu")
    rows, device = measure(scene, settings, ["bf16-mixed"], 20, 60, 0)
    assert device.startswith("cpu")
    assert [row["precision"] for row in rows] == ["32-true", "bf16-mixed"]
    assert {rows[0][f"{name} {size}"] for name in ("entropy", "loss_prediction") for size in (10, 40)} == {1.0}
    assert table(rows).count("\n") >= 4
