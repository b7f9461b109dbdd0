"""Whole runs of the product: several at once on one GPU, and the paper's protocol from the rounds of a short one."""

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments.gpu.common import Sizes

ROOT = Path(__file__).resolve().parents[2]


def concurrent(sizes: Sizes, outputs: Path) -> list[dict[str, Any]]:
    """A row per number of runs at once: steps per second of the fits, all together.

    Seeds differ and folders are fresh; a fit's seconds come from the run's own curve. The first run has filled torch's
    cache of compiled code.
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
        # The first round holds the compilation.
        rates = [steps(rounds[1]) / float(rounds[1]["seconds_fit"]) for rounds in curves]
        rows.append({"runs": count, "steps/s": sum(rates), "wall s": time.monotonic() - began})
        print(rows[-1], flush=True)
    return rows


def protocol(sizes: Sizes, folder: Path) -> list[dict[str, Any]]:
    """The paper's 33 rounds from the second of a run (160 + 10 labels): steps grow with the labels, scoring doesn't."""
    if start(sizes, folder, "seed=0").wait():  # one that is finished already only says so
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
    """A run as a user starts it."""
    command = [sys.executable, "-m", "hsi_al.run", *sizes.run, *overrides, f"hydra.run.dir='{folder.resolve()}'"]
    return subprocess.Popen(command, cwd=ROOT)


def curve(folder: Path) -> list[dict[str, str]]:
    """The rounds of a run."""
    with (folder / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def steps(row: dict[str, str]) -> float:
    """Training steps of a round of the paper's protocol; of a dry run a number without meaning."""
    return 200 * int(row["n_labelled"]) / 10
