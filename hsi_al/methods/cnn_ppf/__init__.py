"""CNN with pixel-pair features (CNN-PPF, Li et al. 2017)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import EffortConfig
from hsi_al.methods.room import Method, Task, settings_in

if TYPE_CHECKING:
    from hsi_al.methods.cnn_ppf.learner import PpfLearner


@dataclass
class CnnPpfConfig(EffortConfig):
    """Keys of CNN-PPF."""


def build(task: Task) -> "PpfLearner":
    """Build the learner."""
    from hsi_al.methods.cnn_ppf.learner import EFFORTS, PpfLearner

    effort = settings_in(task.config, CnnPpfConfig).effort
    return PpfLearner(task.array, task.n_classes, EFFORTS[effort], task.config.trainer.accelerator)


METHOD = Method("cnn_ppf", "CNN-PPF", CnnPpfConfig, build, band=3.0)
