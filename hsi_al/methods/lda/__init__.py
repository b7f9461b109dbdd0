"""Linear discriminant analysis on spectra of 5 x 5 pixels, with a shrunken covariance (Ledoit & Wolf 2004)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import WINDOWS, SpectraConfig
from hsi_al.methods.room import Method, Task, largest_window
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner


@dataclass
class LdaConfig(SpectraConfig):
    """Keys of linear discriminant analysis."""

    windows: list[int] = option([5], WINDOWS, low=1, most=10**4)


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.lda.classifier import ShrinkageLda
    from hsi_al.methods.spectra import extractor_of

    return feature_learner(task, extractor_of(task.config, task.cube), ShrinkageLda())


METHOD = Method(
    "lda",
    "LDA",
    LdaConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=largest_window,
    in_windows=True,
    keeps_network=True,
    state_suffix=".h5",
    compared=False,
)
