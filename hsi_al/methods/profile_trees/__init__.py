"""Extremely randomised trees (Geurts et al. 2006) on multi-scale profiles, for scenes with few labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import LearnerConfig
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner

TRUNCATE = 4.0  # standard deviations at which a Gaussian ends


@dataclass
class ProfileTreesConfig(LearnerConfig):
    """Keys of the profiles and the trees."""

    transform: str = option(
        "pca",
        "axes of the components: of the largest variance, or of the largest ratio of variance to noise (minimum noise "
        "fraction)",
        choices=("pca", "mnf"),
    )
    components: int = option(20, "number of components; fewer if fewer bands vary", low=1, most=10**4)
    sigmas: list[float] = option(
        [1, 2, 4, 8], "standard deviations of the Gaussians that smooth all components, pixels", above=0, most=1000
    )
    profile_components: int = option(
        8, "number of components, from the first, that are opened and closed", low=0, most=10**4
    )
    radii: list[int] = option(
        [1, 3, 5, 7, 9, 12],
        "half-widths r of the squares that open and close, whose side is 2r + 1",
        low=1,
        most=1000,
    )
    trees: int = option(150, "number of trees", low=1, most=10**5)


def halo_of(settings: ProfileTreesConfig) -> int:
    """Return the rows above and below a pixel that its features depend on."""
    gaussians = [int(TRUNCATE * sigma + 0.5) for sigma in settings.sigmas]
    # An opening is an erosion and a dilation, each of which reaches r pixels.
    squares = [2 * radius for radius in settings.radii] if settings.profile_components else []
    return max([0, *gaussians, *squares])


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from sklearn.ensemble import ExtraTreesClassifier

    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.forest import Forest
    from hsi_al.methods.profile_trees.extractor import ProfileExtractor
    from hsi_al.training.ranks import available_threads

    settings, config = settings_in(task.config, ProfileTreesConfig), task.config
    threads = config.trainer.threads or available_threads()
    extractor = ProfileExtractor(task.cube, settings, config.dataset.memory_gb, threads)
    return feature_learner(task, extractor, Forest(ExtraTreesClassifier, settings.trees, threads))


METHOD = Method(
    "profile_trees",
    "Profiles+trees",
    ProfileTreesConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=lambda config: 2 * halo_of(settings_in(config, ProfileTreesConfig)) + 1,
    in_windows=True,
    keeps_network=True,
    state_suffix=".h5",
    compared=False,
)
