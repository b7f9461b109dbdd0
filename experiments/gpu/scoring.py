"""Patches scored per second, by precision and batch size, including the size that the learner chooses."""

import time
from typing import Any

import numpy as np
import torch

from experiments.gpu.common import Ids, Sizes, indian_pines_learner, waited, with_precision
from hsi_al.methods.deep.learner import DeepLearner

PRECISIONS = ("32-true", "tf32", "bf16-mixed")


def measure(sizes: Sizes) -> tuple[list[dict[str, Any]], torch.device]:
    """Return a row per network, precision and batch size."""
    rows = []
    for backbone, stem, _ in sizes.networks:
        scene, learner, _ = indian_pines_learner(sizes, 20, backbone=backbone, stem=stem)
        ids = np.resize(scene.labelled_ids, max(sizes.pool, 2 * max(sizes.batches)))
        learner.predict(ids[: min(sizes.batches)])  # makes the learner choose its batch size
        chosen = learner.datamodule.predict_batch_size
        for precision in PRECISIONS:
            with_precision(learner, precision)
            for size in (chosen, *sizes.batches):
                learner.datamodule.predict_batch_size = size
                row = {"network": f"{backbone} {stem}", "precision": precision, "batch": size}
                rows.append(row | {"chosen": size == chosen, "patches/s": len(ids) / scored(learner, ids)})
                print(rows[-1], flush=True)
    return rows, learner.device


def scored(learner: DeepLearner, ids: Ids) -> float:
    """Return the seconds of a prediction after a first one that warms up."""
    for _ in range(2):
        began = time.perf_counter()
        learner.predict(ids)
        waited(learner.device)
    return time.perf_counter() - began
