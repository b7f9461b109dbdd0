"""Helpers of all benchmarks: timing, rows of the table, synthetic cubes, learners and the memory in use."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from hsi_al.methods.deep.learner import DeepLearner, DeepSettings

MEGABYTE = 2**20
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: What is measured.
        reference: Name and value of the reference.
        ours: Value of hsi_al.
        ratio: Ratio that the target bounds.
        target: `>= x` or `<= x`; empty = the ratio is only reported.
    """

    name: str
    reference: str
    ours: str
    ratio: float
    target: str = ""

    @property
    def verdict(self) -> str:
        """`yes` or `NO`: whether the target is met; empty without a target."""
        if not self.target:
            return ""
        sign, bound = self.target.split()
        return "yes" if (self.ratio >= float(bound) if sign == ">=" else self.ratio <= float(bound)) else "NO"


def medians(
    reference: Callable[[], object],
    ours: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] | None = None,
) -> tuple[float, float]:
    """Return the median seconds of the reference and of ours, called alternately after one warm-up call each.

    `clock` is by default the wall's; `time.process_time` counts the processor's seconds, without those of other jobs.
    """
    now = clock or time.perf_counter
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for work, kept in zip((reference, ours), seconds, strict=True):
            start = now()
            work()
            if repeat:
                kept.append(now() - start)
    return median(seconds[0]), median(seconds[1])


def synthetic_cube(height: int, width: int, n_bands: int) -> NDArray[np.uint16]:
    """Return a cube (height, width, n_bands) of noise, since time and memory don't depend on the values."""
    return np.random.default_rng(0).integers(0, 9000, (height, width, n_bands), dtype=np.uint16)


def learner_on(cube: NDArray[np.uint16], n_classes: int, needs: frozenset[str], settings: DeepSettings) -> DeepLearner:
    """Return a deep learner with fresh weights, with all pixels of a cube as candidates."""
    candidates = np.arange(cube.shape[0] * cube.shape[1])
    learner = DeepLearner(cube, n_classes, candidates, settings, needs)
    learner.module.reset_parameters()
    return learner


def step_of(learner: DeepLearner, optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    """Return a function that does one training step of a full batch on a CPU, without the set-up of a fit."""
    module, size = learner.module, learner.settings.protocol.batch_size
    ids = torch.arange(size)

    def step() -> None:
        module.train()
        patches, classes = learner.datamodule.on_after_batch_transfer((ids, ids % learner.n_classes), 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=learner.settings.trainer.precision == "bf16-mixed"):
            loss = module.training_step((patches, classes), 0)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def resident_memory() -> float:
    """Return the resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / MEGABYTE


def command(module: str, *arguments: str) -> str:
    """Run a module in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
