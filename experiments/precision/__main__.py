"""Overlap of queries when the same trained network scores its pool in different precisions.

    python -m experiments.precision OUT.json [--precisions bf16-mixed,tf32] [--backbone densenet121] [--stem s2_pool]
                                    [--epochs 12] [--labels 160] [--pool N] [--seed 0] [--accelerator auto]

The network is trained on Indian Pines in float32; then the pool is scored with the same weights in each precision.
The table is printed, and its unrounded numbers are written to OUT.json.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsi_al.acquisition.base import PoolView
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.experiment import use_threads
from hsi_al.active.meta import device_name
from hsi_al.files import replace_text
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.outputs import Outputs
from hsi_al.report.contest_tables import markdown
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
QUERY_SIZES = (10, 40)
ACQUISITIONS = ("entropy", "loss_prediction")
NEEDS = frozenset({"probabilities_NC", "predicted_loss_N"})


def overlap(one: Outputs, other: Outputs, labelled: NDArray[np.bool_], name: str, size: int) -> float:
    """Return the part of a query's pixels that are the same for two outputs of the pool (N,).

    Args:
        one: Outputs in one precision.
        other: Outputs in another precision.
        labelled: Whether each pixel is labelled, (N,).
        name: Acquisition function, one of `ACQUISITIONS`.
        size: Pixels per query.
    """
    positions = np.arange(len(labelled))
    queries = [
        build_acquisition(name).select(
            PoolView(outputs, labelled, np.full(len(labelled), -1), positions, positions),
            size,
            np.random.default_rng(0),
        )
        for outputs in (one, other)
    ]
    return len(np.intersect1d(queries[0], queries[1])) / size


def compare(reference: Outputs, other: Outputs, labelled: NDArray[np.bool_], truth: Ids) -> dict[str, float]:
    """Return the overlaps of queries, the part of equal predicted classes, and the OA of `other` on the pool (N,)."""
    overlaps = {
        f"{name} {size}": overlap(reference, other, labelled, name, size)
        for name in ACQUISITIONS
        for size in QUERY_SIZES
        if size <= (~labelled).sum()
    }
    return overlaps | {
        "same class": float(np.mean(reference.predicted_class == other.predicted_class)),
        "overall accuracy": float(np.mean(other.predicted_class == truth)),
    }


def scored(learner: DeepLearner, ids: Ids, precision: str) -> tuple[Outputs, float]:
    """Return the outputs in this precision, and milliseconds per patch, measured after a warm-up."""
    learner.settings = learner.settings.having(predict_precision=precision)
    learner.predict(ids[:64])
    began = time.perf_counter()
    outputs = learner.predict(ids)
    return outputs, 1e3 * (time.perf_counter() - began) / len(ids)


def measure(
    scene: Scene, settings: DeepSettings, precisions: list[str], n_labelled: int, n_pool: int | None, seed: int
) -> tuple[list[dict[str, Any]], str]:
    """Train once, then score in float32 and in every other precision; return a row for each, and the device's name."""
    rng = np.random.default_rng(seed)
    ids = scene.labelled_ids if n_pool is None else np.sort(rng.choice(scene.labelled_ids, n_pool, replace=False))
    learner = DeepLearner(scene.cube, scene.n_classes, ids, settings, NEEDS)
    chosen = np.sort(rng.choice(ids, n_labelled, replace=False))
    learner.fit(chosen, scene.labels_of(chosen), 0, rng)
    labelled, truth = np.isin(ids, chosen), scene.labels_of(ids)
    reference, milliseconds = scored(learner, ids, "32-true")
    rows = [{"precision": "32-true", "ms a patch": milliseconds} | compare(reference, reference, labelled, truth)]
    for precision in precisions:
        outputs, milliseconds = scored(learner, ids, precision)
        rows.append({"precision": precision, "ms a patch": milliseconds} | compare(reference, outputs, labelled, truth))
    return rows, device_name(learner.device)


def table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as a Markdown table, fractions in percent."""
    header = list(rows[0])
    body = [
        [row["precision"], f"{row['ms a patch']:.3g}", *(f"{100 * row[name]:.1f} %" for name in header[2:])]
        for row in rows
    ]
    return markdown([header, *body])


def main() -> None:
    """Measure, write the results and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.precision", description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file of the results")
    parser.add_argument("--precisions", default="bf16-mixed", help="precisions of scoring, separated by commas")
    parser.add_argument("--backbone", default="densenet121")
    parser.add_argument("--stem", default="s2_pool")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--labels", type=int, default=160, help="labelled pixels of the training")
    parser.add_argument("--pool", type=int, help="pixels of the pool (default: all with ground truth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args()
    use_threads(None)
    settings = DeepSettings().having(
        backbone=given.backbone,
        stem=given.stem,
        epochs=given.epochs,
        batch_size=20,
        schedule="one_cycle",
        accelerator=given.accelerator,
    )
    scene = load_catalogue_scene("indian_pines", None)
    rows, device = measure(scene, settings, given.precisions.split(","), given.labels, given.pool, given.seed)
    about = {"device": device, "torch": torch.__version__} | vars(given) | {"out": given.out.name}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(given.out, json.dumps({"about": about, "rows": rows}, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
