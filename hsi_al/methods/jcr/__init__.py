"""Joint collaborative representation (JCR, Li & Du 2014) on the nearest regularised subspace."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import LearnerConfig
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.jcr.learner import JcrLearner


@dataclass
class JcrConfig(LearnerConfig):
    """Keys of joint collaborative representation."""

    variant: str = option(
        "averaged",
        "averaged: every pixel is replaced by the mean of its window; joint: the window's squared residuals are added",
        choices=("averaged", "joint"),
    )


def build(task: Task) -> "JcrLearner":
    """Build the learner."""
    from hsi_al.methods.jcr.learner import JcrLearner, JcrSettings

    variant = settings_in(task.config, JcrConfig).variant
    return JcrLearner(task.array, task.n_classes, JcrSettings(variant=variant))


METHOD = Method("jcr", "JCR", JcrConfig, build)
