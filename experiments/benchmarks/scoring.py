"""Time of scoring: the whole of `learner.predict` against the network's forward pass on patches already in memory."""

import numpy as np
import torch

from experiments.benchmarks.measure import Row, learner_on, medians, synthetic_cube
from hsi_al.methods.deep.learner import DeepSettings

TARGETS = {"s1": ">= 0.9", "s2": ">= 0.9", "s1_pool": "", "s2_pool": ">= 0.8"}
NEEDS = frozenset({"predicted_loss_N"})


def measure(
    backbone: str = "densenet121",
    batches: tuple[tuple[str, int], ...] = (("s1", 16), ("s2", 8), ("s2_pool", 6)),
    repeats: int = 3,
) -> list[Row]:
    """Measure milliseconds per patch on a scene of Indian Pines' size; `batches` are stems and numbers of batches."""
    return [compare(backbone, stem, n_batches, repeats) for stem, n_batches in batches]


def compare(backbone: str, stem: str, n_batches: int, repeats: int) -> Row:
    """Measure one stem; the reference has all patches in memory."""
    settings = DeepSettings().having(backbone=backbone, stem=stem, accelerator="cpu")
    learner = learner_on(synthetic_cube(145, 145, 200), 9, NEEDS, settings)
    size, module = learner.predict_batch_size, learner.module
    ids = np.arange(n_batches * size)
    ready = [learner.datamodule.gatherer(torch.arange(start, start + size)) for start in ids[::size].tolist()]

    def bare() -> None:
        module.eval()
        with torch.inference_mode():
            for patches in ready:
                module.predict_step((patches,), 0)

    theirs, mine = medians(bare, lambda: learner.predict(ids), repeats)
    return Row(
        f"scoring, {backbone}, stem {stem}",
        f"bare forward {1e3 * theirs / len(ids):.2f} ms a patch",
        f"{1e3 * mine / len(ids):.2f} ms",
        theirs / mine,
        TARGETS[stem] if backbone == "densenet121" else "",
    )
