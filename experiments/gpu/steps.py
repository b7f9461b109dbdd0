"""Milliseconds of a training step through Lightning, compiled and not, and whether both give the same classes."""

import time
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import counters

from experiments.gpu.common import Ids, Sizes, indian_pines_learner, waited
from hsi_al.methods.deep.learner import DeepLearner


def measure(sizes: Sizes) -> tuple[list[dict[str, Any]], torch.device]:
    """Return a row per network and precision."""
    rows = []
    for backbone, stem, precisions in sizes.networks:
        for precision in precisions:
            row, device = compare(sizes, backbone, stem, precision)
            print(row, flush=True)
            rows.append(row)
    return rows, device


def compare(sizes: Sizes, backbone: str, stem: str, precision: str) -> tuple[dict[str, Any], torch.device]:
    """Measure one network without ("written") and with compilation: a fit that warms up, then the faster of two.

    The row also says whether the later fits compiled any new graphs; they should not.
    """
    row: dict[str, Any] = {"network": f"{backbone} {stem}", "precision": precision}
    classes = []
    for mode in ("off", "on"):
        scene, learner, ids = indian_pines_learner(
            sizes, sizes.labels, backbone=backbone, stem=stem, precision=precision, epochs=sizes.epochs, compile=mode
        )
        labels = scene.labels_of(ids)
        began = time.perf_counter()
        fitted(learner, ids, labels, 0)
        first = time.perf_counter() - began
        graphs, skips = counters["stats"]["unique_graphs"], counters["inductor"]["cudagraph_skips"]
        seconds = [fitted(learner, ids, labels, round_) for round_ in (1, 2)]
        steps = learner.steps(len(ids), 1)
        name = "written" if mode == "off" else "compiled"
        row[f"{name} ms"] = 1e3 * min(seconds) / steps
        row[f"{name} start s"] = first - min(seconds)
        if mode == "on":
            row["compiled"] = learner.module.compiled is not None
            row["graphs made in later rounds"] = counters["stats"]["unique_graphs"] - graphs
            row["CUDA graphs skipped"] = counters["inductor"]["cudagraph_skips"] - skips
        classes.append(learner.predict(scene.labelled_ids[: sizes.pool]).predicted_class)
        if learner.device.type == "cuda":
            row[f"{name} peak MB"] = torch.cuda.max_memory_allocated(learner.device) / 2**20
            torch.cuda.reset_peak_memory_stats(learner.device)
    row["ratio"] = row["written ms"] / row["compiled ms"]
    row["same class"] = float(np.mean(classes[0] == classes[1]))
    return row, learner.device


def fitted(learner: DeepLearner, ids: Ids, labels: Ids, round_: int) -> float:
    """Return the seconds of a fit from fresh weights."""
    began = time.perf_counter()
    learner.fit(ids, labels, round_, np.random.default_rng(round_))
    waited(learner.device)
    return time.perf_counter() - began
