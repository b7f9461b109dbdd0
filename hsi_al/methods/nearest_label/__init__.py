"""The null model: the class of the nearest labelled pixel in the image, whatever the spectra."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import LearnerConfig
from hsi_al.methods.room import Method, Task

if TYPE_CHECKING:
    from hsi_al.methods.nearest_label.learner import NearestLabelLearner


@dataclass
class NearestLabelConfig(LearnerConfig):
    """Keys of the null model."""


def build(task: Task) -> "NearestLabelLearner":
    """Build the learner."""
    from hsi_al.methods.nearest_label.learner import NearestLabelLearner

    return NearestLabelLearner(task.cube.shape[1], task.n_classes, task.needs)


METHOD = Method(
    "nearest_label",
    "Nearest label",
    NearestLabelConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    in_windows=True,
)
