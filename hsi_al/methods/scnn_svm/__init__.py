"""Features of a Siamese CNN (S-CNN, Liu et al. 2018) and a linear SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import EffortConfig
from hsi_al.methods.room import Method, Task, settings_in

if TYPE_CHECKING:
    from hsi_al.methods.svm import FeatureSvmLearner

PATCH_SIZE = 9


@dataclass
class ScnnSvmConfig(EffortConfig):
    """Keys of the Siamese CNN with an SVM."""


def build(task: Task) -> "FeatureSvmLearner":
    """Build the learner."""
    from hsi_al.methods.scnn_svm.extractor import EFFORTS, ScnnExtractor
    from hsi_al.methods.svm import GridSvm, feature_svm

    effort = settings_in(task.config, ScnnSvmConfig).effort
    extractor = ScnnExtractor(task.array, EFFORTS[effort], task.config.trainer.accelerator)
    return feature_svm(task, extractor, GridSvm("linear", 5))


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
