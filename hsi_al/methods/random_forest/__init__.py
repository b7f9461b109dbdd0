"""A random forest (Breiman 2001) on spectra."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import SpectraConfig
from hsi_al.methods.room import Method, Task, largest_window, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner


@dataclass
class RandomForestConfig(SpectraConfig):
    """Keys of the random forest."""

    trees: int = option(300, "number of trees", low=1, most=10**5)


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from sklearn.ensemble import RandomForestClassifier

    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.forest import Forest
    from hsi_al.methods.spectra import extractor_of
    from hsi_al.training.ranks import available_threads

    trees, threads = settings_in(task.config, RandomForestConfig).trees, task.config.trainer.threads
    forest = Forest(RandomForestClassifier, trees, threads or available_threads())
    return feature_learner(task, extractor_of(task.config, task.cube), forest)


METHOD = Method(
    "random_forest",
    "Random forest",
    RandomForestConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=largest_window,
    in_windows=True,
    keeps_network=True,
    state_suffix=".h5",
    compared=False,
)
