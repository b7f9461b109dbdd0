"""Linear discriminant analysis on spectra of 5 x 5 pixels, with a covariance that few labels are enough for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import WINDOWS, SpectraConfig
from hsi_al.methods.room import Method, Task, largest_window, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner


@dataclass
class LdaConfig(SpectraConfig):
    """Keys of linear discriminant analysis."""

    windows: list[int] = option([5], WINDOWS, low=1, most=10**4)
    covariance: str = option(
        "noise",
        "covariance of the classes: that of the labels and, added, the scene's noise, which neighbouring pixels "
        "show; or that of the labels alone, shrunk (Ledoit & Wolf 2004)",
        choices=("noise", "shrunk"),
    )


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.lda.classifier import NoiseLda, ShrinkageLda
    from hsi_al.methods.spectra import extractor_of

    with_noise = settings_in(task.config, LdaConfig).covariance == "noise"
    extractor = extractor_of(task.config, task.cube, with_noise)
    return feature_learner(task, extractor, NoiseLda(extractor) if with_noise else ShrinkageLda())


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
