"""Accuracy by precision of training: the same fits, in a separate process for each precision.

For `ieee` the caller must set NVIDIA_TF32_OVERRIDE=0, since torch lets convolutions in float32 use TensorFloat-32.
"""

import time
from typing import Any

import numpy as np
import torch

from experiments.gpu.common import Sizes, indian_pines_learner, waited

PRECISIONS = ("ieee", "32-true", "tf32", "bf16-mixed")


def measure(sizes: Sizes, precision: str) -> tuple[list[dict[str, Any]], torch.device]:
    """Return a row per seed: overall accuracy over the pixels with ground truth, and seconds of the fit."""
    backbone, stem, _ = sizes.networks[0]
    scene, learner, ids = indian_pines_learner(
        sizes,
        sizes.accuracy_labels,
        backbone=backbone,
        stem=stem,
        precision="32-true" if precision == "ieee" else precision,
        epochs=sizes.accuracy_epochs,
        predict_precision="32-true",
        compile="on" if sizes.backend == "inductor" else "off",
    )
    pool, rows = scene.labelled_ids[: sizes.pool], []
    for seed in sizes.seeds:
        began = time.perf_counter()
        learner.fit(ids, scene.labels_of(ids), 0, np.random.default_rng(seed))
        waited(learner.device)
        seconds = time.perf_counter() - began
        accuracy = float(np.mean(learner.predict(pool).predicted_class == scene.labels_of(pool)))
        compiled = learner.module.compiled is not None
        rows.append({"seed": seed, "overall accuracy": accuracy, "fit s": seconds, "compiled": compiled})
    return rows, learner.device
