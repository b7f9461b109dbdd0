"""Part of the processor's peak FLOP/s that training steps and scoring reach, per backbone and stem.

"Before" means channels first, float32, torch's default Adam, and scoring in batches of 256; "now" means the defaults.
FLOPs are counted by torch (two per multiply-add, of convolutions and matrix products). The peak is that of a large
matrix product in float32, measured for every network.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from experiments.benchmarks.measure import Row, learner_on, medians, step_of, synthetic_cube
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings

NEEDS = frozenset({"predicted_loss_N"})
STEMS = ("s1", "s2", "s1_pool", "s2_pool")
CASES = (
    *(("densenet121", stem) for stem in STEMS),
    *(("resnet50", stem) for stem in STEMS),
    ("densenet169", "s2_pool"),
    ("resnet18", "s2_pool"),
    ("lenet", "s1"),
)


def measure(
    cases: tuple[tuple[str, str], ...] = CASES, n_steps: int = 9, n_scored: int = 256, repeats: int = 3
) -> list[Row]:
    """Return a row for training and one for scoring per network; the ratio is the part of the peak reached now."""
    cube = synthetic_cube(145, 145, 200)
    return [row for case in cases for row in compare(cube, *case, n_steps, n_scored, repeats)]


def compare(cube: NDArray[np.uint16], backbone: str, stem: str, n_steps: int, n_scored: int, repeats: int) -> list[Row]:
    """Measure one network with the settings of before and of now."""
    settings = DeepSettings().having(backbone=backbone, stem=stem, accelerator="cpu")
    needs = NEEDS if backbone != "lenet" else frozenset[str]()
    plain = settings.having(channels_last=False, predict_batch_size=256)
    before, now = (learner_on(cube, 9, needs, chosen) for chosen in (plain, settings))
    many = np.arange(n_scored)
    step_flops, patch_flops = flops(now)
    peak = peak_flops()
    plain_adam = torch.optim.Adam(before.module.parameters())
    steps = medians(step_of(before, plain_adam), step_of(now, now.module.adam()), n_steps)
    scoring = medians(lambda: before.predict(many), lambda: now.predict(many), repeats)
    return [
        Row(
            f"{what}, {backbone}, stem {stem}",
            f"before {1e3 * old / n:.2f} ms, {100 * n * each / old / peak:.0f} % of {peak / 1e9:.0f} GFLOP/s",
            f"{1e3 * new / n:.2f} ms, {100 * n * each / new / peak:.0f} %",
            n * each / new / peak,
        )
        for what, (old, new), n, each in (
            ("step", steps, 1, step_flops),
            ("scoring, a patch", scoring, n_scored, patch_flops),
        )
    ]


def flops(learner: DeepLearner) -> tuple[int, int]:
    """Return the FLOPs of a training step of a full batch, forward and backward, and of scoring one patch."""
    module, size = learner.module, learner.settings.protocol.batch_size
    patches = learner.datamodule.gatherer(torch.arange(size))
    module.train()
    with FlopCounterMode(display=False) as counter:
        module.training_step((patches, torch.arange(size) % learner.n_classes), 0).backward()  # type: ignore[no-untyped-call]
    module.zero_grad()
    step = counter.get_total_flops()
    module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.predict_step((patches[:1],), 0)
    return step, counter.get_total_flops()


def peak_flops(size: int = 1536, repeats: int = 3) -> float:
    """Return the FLOP/s of the fastest of several products of two square matrices, with the networks' threads."""
    left, right = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / min(seconds(lambda: torch.mm(left, right)) for _ in range(repeats + 1))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
