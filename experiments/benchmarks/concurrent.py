"""Runs per hour of a sweep: several runs at once (`hydra/launcher=concurrent`) against one after the other."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import ROOT, Row, synthetic_cube
from hsi_al.cli.sweeps import gpus_here, jobs_that_fit
from hsi_al.memory import free_memory
from hsi_al.training.ranks import cores_here


def measure(n_jobs: int | None = None, runs_each: int = 4, epochs: int = 40, n_bands: int = 100) -> list[Row]:
    """Measure runs of one thread each, on the GPUs if there are any; the time is that of the whole command.

    Args:
        n_jobs: Runs at once; None = as many as `hydra/launcher=concurrent` finds room for.
        runs_each: Runs of the sweep per run at once.
        epochs: Epochs of each fit.
        n_bands: Bands of the synthetic scene.
    """
    gpus = gpus_here()
    n_jobs = n_jobs or jobs_that_fit(gpus, cores_here(), free_memory())
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "cube.npy", synthetic_cube(60, 60, n_bands))
        np.save(Path(folder) / "truth.npy", np.arange(3600).reshape(60, 60) % 5 + 1)
        sweep = [
            *("dataset=custom", "dataset.cube_file=cube.npy", "dataset.ground_truth_file=truth.npy"),
            *("protocol=smoke", "backbone=lenet", "acquisition=entropy", "trainer.threads=1"),
            *(f"protocol.epochs={epochs}", f"protocol.warm_epochs={epochs}"),
            f"trainer.accelerator={'gpu' if gpus else 'cpu'}",
            f"seed={','.join(str(seed) for seed in range(n_jobs * runs_each))}",
        ]
        one, several = (
            n_jobs * runs_each * 3600 / seconds(folder, *sweep, *launcher)
            for launcher in (
                ["experiment.name=one"],
                ["experiment.name=several", "hydra/launcher=concurrent", f"hydra.launcher.n_jobs={n_jobs}"],
            )
        )
    return [
        Row(
            f"{n_jobs * runs_each} runs of {3 * epochs} epochs, lenet, on {len(gpus)} GPU(s)"
            if gpus
            else f"{n_jobs * runs_each} runs of {3 * epochs} epochs, lenet, on a CPU, a thread each",
            f"one after the other {one:.0f} runs an hour",
            f"{n_jobs} at once {several:.0f}",
            several / one,
        )
    ]


def seconds(folder: str, *arguments: str) -> float:
    """Return how many seconds the command of a sweep takes."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hsi_al.run", "-m", *arguments]
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return time.perf_counter() - start
