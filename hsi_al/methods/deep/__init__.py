"""The paper's method: a backbone and the loss prediction module, trained with the combined loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import Config, LearnerConfig
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.deep.learner import DeepLearner

FUSIONS = ("sum", "concat")
NETWORKS_GIVE = frozenset({"probabilities_NC", "embeddings_ND", "mc_probabilities_NKC"})


@dataclass
class DeepLearnerConfig(LearnerConfig):
    """Keys of the combined loss: cross-entropy and ranking loss (eq. (5) of the paper)."""

    detach: float | None = option(
        0.6,
        "part of the epochs after which the ranking loss no longer reaches the backbone; null: never",
        low=0,
        high=1,
    )
    ranking_weight: float = option(1.0, "weight of the ranking loss in equation (5)", low=0, most=10**6)
    margin: float = option(1.0, "margin xi of the ranking loss", low=0, most=10**6)
    fuse: str = option("sum", "how the loss prediction module joins the features of the blocks", choices=FUSIONS)
    class_weights: str = option(
        "none",
        "class weights of the cross-entropy; balanced: inversely proportional to the labels of a class",
        choices=("none", "balanced"),
    )


def window(config: Config) -> int:
    """Return the side of the patches: `patch_size`, or 1 for a backbone that reads only the centre pixel."""
    from hsi_al.methods.deep.backbones.registry import network

    return 1 if network(config.backbone.name).of_one_pixel else config.patch_size


def build(task: Task) -> "DeepLearner":
    """Build the learner."""
    from hsi_al.methods.deep.learner import DeepLearner, DeepSettings

    config = task.config
    return DeepLearner(
        task.cube,
        task.n_classes,
        task.candidates,
        DeepSettings(
            config.protocol,
            config.backbone,
            settings_in(config, DeepLearnerConfig),
            config.trainer,
            patch_size=window(config),
            draws=config.acquisition.draws,
        ),
        task.needs,
        task.limits,
        task.ranks,
    )


METHOD = Method(
    "deep",
    "networks of this package",
    DeepLearnerConfig,
    build,
    provides=NETWORKS_GIVE | {"predicted_loss_N"},
    window=window,
    in_windows=True,
    batch_size=lambda config: config.protocol.batch_size,
    keeps_network=True,
    compared=False,
)
