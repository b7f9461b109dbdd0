"""An RBF SVM on spectra (Melgani & Bruzzone 2004)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import SpectraConfig
from hsi_al.methods.room import Method, Task, largest_window

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner


@dataclass
class SvmConfig(SpectraConfig):
    """Keys of the SVM on spectra."""


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.grid_svm import GridSvm
    from hsi_al.methods.spectra import extractor_of

    return feature_learner(task, extractor_of(task.config, task.cube), GridSvm("rbf", 5))


METHOD = Method(
    "svm",
    "SVM",
    SvmConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=largest_window,
    in_windows=True,
    keeps_network=True,
    state_suffix=".h5",
    compared=False,
)
