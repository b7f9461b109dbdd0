"""Whole runs by the command line: several at once on one GPU, and the paper's protocol estimated from a short run."""

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments.gpu.common import Sizes

ROOT = Path(__file__).resolve().parents[2]


def concurrent(sizes: Sizes, outputs: Path) -> list[dict[str, Any]]:
    """Return a row per number of runs at once: training steps per second, summed over the runs.

    The runs have different seeds and new folders; the seconds of a fit come from the run's curve.csv. The step
    `protocol`, which measure.sh does before, has filled torch's cache of compiled code.
    """
    rows = []
    for count in sizes.concurrent:
        began = time.monotonic()
        folders = [outputs / f"{count}-at-once" / f"run-{seed}" for seed in range(count)]
        processes = [start(sizes, folder, f"seed={seed}") for seed, folder in enumerate(folders)]
        failed = [process.args for process in processes if process.wait()]
        if failed:
            raise RuntimeError(f"These runs failed: {failed}")
        curves = [curve(folder) for folder in folders]
        # The second round, since the first includes the compilation.
        rates = [steps(rounds[1]) / float(rounds[1]["seconds_fit"]) for rounds in curves]
        rows.append({"runs": count, "steps/s": sum(rates), "wall s": time.monotonic() - began})
        print(rows[-1], flush=True)
    return rows


def protocol(sizes: Sizes, folder: Path) -> list[dict[str, Any]]:
    """Estimate the hours of the paper's 33 rounds from the second round of a run (160 + 10 labels).

    The number of training steps grows with the labels; the time of scoring stays the same.
    """
    if start(sizes, folder, "seed=0").wait():  # a finished run only says that it is finished
        raise RuntimeError(f"The run in {folder} failed.")
    first, second = curve(folder)[:2]
    per_step = float(second["seconds_fit"]) / steps(second)
    total = sum(200 * (160 + 10 * round_) // 10 for round_ in range(33))
    scoring = float(second["seconds_predict"])
    hours = (total * per_step + 33 * scoring) / 3600
    return [
        {
            "ms a step": 1e3 * per_step,
            "first round s": float(first["seconds_fit"]),
            "scoring s a round": scoring,
            "steps": total,
            "hours of the paper's protocol": hours,
        }
    ]


def start(sizes: Sizes, folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a run by its command line."""
    command = [sys.executable, "-m", "hsi_al.run", *sizes.run, *overrides, f"hydra.run.dir='{folder.resolve()}'"]
    return subprocess.Popen(command, cwd=ROOT)


def curve(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's curve.csv."""
    with (folder / "curve.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def steps(row: dict[str, str]) -> float:
    """Return the training steps of a round of the paper's protocol; meaningless for a dry run."""
    return 200 * int(row["n_labelled"]) / 10
