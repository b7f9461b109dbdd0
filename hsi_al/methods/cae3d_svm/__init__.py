"""Features of a 3-D convolutional autoencoder (3DCAE, Mei et al. 2019) and an RBF SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import EffortConfig
from hsi_al.methods.room import Method, Task, settings_in

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner

WINDOW = 5  # side of the patches


@dataclass
class Cae3dSvmConfig(EffortConfig):
    """Keys of the 3-D convolutional autoencoder with an SVM."""


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.cae3d_svm.extractor import EFFORTS, Cae3dExtractor
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.grid_svm import GridSvm

    effort = settings_in(task.config, Cae3dSvmConfig).effort
    extractor = Cae3dExtractor(task.array, EFFORTS[effort], task.config.trainer.accelerator)
    return feature_learner(task, extractor, GridSvm("rbf", 5))


METHOD = Method(
    "cae3d_svm",
    "3DCAE",
    Cae3dSvmConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=lambda config: WINDOW,
    band=3.0,
)
