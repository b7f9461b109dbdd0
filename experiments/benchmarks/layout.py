"""Speed of each stem in several memory layouts and precisions, from which the defaults of conf/trainer were chosen."""

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.measure import Row, learner_on, medians, step_of, synthetic_cube
from hsi_al.methods.deep.learner import DeepSettings

NEEDS = frozenset({"predicted_loss_N"})


def measure(
    backbone: str = "densenet121",
    stems: tuple[str, ...] = ("s1", "s2", "s1_pool", "s2_pool"),
    n_steps: int = 9,
    n_scored: int = 256,
    repeats: int = 3,
    n_bands: int = 200,
) -> list[Row]:
    """Measure training steps (batch 10) and scoring against channels first in float32."""
    cube = synthetic_cube(145, 145, n_bands)
    return [
        row
        for stem in stems
        for channels_last, precision in ((True, "32-true"), (False, "bf16-mixed"), (True, "bf16-mixed"))
        for row in compare(cube, backbone, stem, channels_last, precision, n_steps, n_scored, repeats)
    ]


def compare(
    cube: NDArray[np.uint16],
    backbone: str,
    stem: str,
    channels_last: bool,
    precision: str,
    n_steps: int,
    n_scored: int,
    repeats: int,
) -> list[Row]:
    """Measure one stem in one layout and precision: a row for training and one for scoring."""
    plain, other = (
        learner_on(
            cube,
            9,
            NEEDS,
            DeepSettings().having(
                backbone=backbone, stem=stem, accelerator="cpu", channels_last=last, precision=numbers
            ),
        )
        for last, numbers in ((False, "32-true"), (channels_last, precision))
    )
    many = np.arange(n_scored)
    name = f"{'channels last' if channels_last else 'channels first'}, {precision}, {backbone}, stem {stem}"
    step = medians(step_of(plain, plain.module.adam()), step_of(other, other.module.adam()), n_steps)
    scoring = medians(lambda: plain.predict(many), lambda: other.predict(many), repeats)
    return [
        Row(f"{what}, {name}", f"{1e3 * theirs / n:.1f} ms {unit}", f"{1e3 * mine / n:.1f} ms", theirs / mine)
        for what, (theirs, mine), n, unit in (
            ("step", step, 1, "a step"),
            ("scoring", scoring, n_scored, "a patch"),
        )
    ]
