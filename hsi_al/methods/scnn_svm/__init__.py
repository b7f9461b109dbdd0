"""Features of a Siamese CNN (S-CNN, Liu et al. 2018) and a linear SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import EffortConfig
from hsi_al.methods.room import Method, Task, settings_in

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner

PATCH_SIZE = 9


@dataclass
class ScnnSvmConfig(EffortConfig):
    """Keys of the Siamese CNN with an SVM."""


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.grid_svm import GridSvm
    from hsi_al.methods.scnn_svm.extractor import EFFORTS, ScnnExtractor

    effort = settings_in(task.config, ScnnSvmConfig).effort
    extractor = ScnnExtractor(task.array, EFFORTS[effort], task.config.trainer.accelerator)
    return feature_learner(task, extractor, GridSvm("linear", 5))


METHOD = Method(
    "scnn_svm",
    "S-CNN+SVM",
    ScnnSvmConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=lambda config: PATCH_SIZE,
    band=3.0,
    caveat="the layers of the paper's S-CNN can't be recovered",
)
