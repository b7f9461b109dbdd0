"""A 3-D CNN: three candidates for the "3D-CNN" of the paper's tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import BackboneConfig, Config, EffortConfig, ProtocolConfig
from hsi_al.methods.deep import NETWORKS_GIVE
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.deep.learner import DeepLearner

PATCH_SIZES = {"hamida": 5, "li": 5, "res3d": 9}
"""Side of the patches in each network's source."""
BATCH_SIZE = 100
EPOCHS = {"paper": 200, "short": 50}


@dataclass
class Cnn3dConfig(EffortConfig):
    """Keys of the 3-D CNNs."""

    architecture: str = option("hamida", "which 3-D CNN to train", choices=tuple(PATCH_SIZES))


def build(task: Task) -> "DeepLearner":
    """Build a deep learner with a 3-D CNN as its network, and its own batch size, epochs and patch size."""
    from dataclasses import replace

    from hsi_al.methods.cnn3d.network import build_network
    from hsi_al.methods.deep.learner import DeepLearner, DeepSettings

    settings, trainer = settings_in(task.config, Cnn3dConfig), task.config.trainer
    name = settings.architecture
    return DeepLearner(
        task.cube,
        task.n_classes,
        task.candidates,
        DeepSettings(
            ProtocolConfig(batch_size=BATCH_SIZE, epochs=EPOCHS[settings.effort]),
            BackboneConfig(name, dropout=task.config.backbone.dropout),
            trainer=replace(trainer, channels_last=False),  # a memory layout for 2-D convolutions only
            patch_size=PATCH_SIZES[name],
            draws=task.config.acquisition.draws,
            lr_is_free=False,
        ),
        task.needs,
        task.limits,
        task.ranks,
        build_network,
    )


def window(config: Config) -> int:
    """Return the side of the patches."""
    return PATCH_SIZES[settings_in(config, Cnn3dConfig).architecture]


METHOD = Method(
    "cnn3d",
    "3D-CNN",
    Cnn3dConfig,
    build,
    provides=NETWORKS_GIVE,
    window=window,
    in_windows=True,
    batch_size=lambda config: BATCH_SIZE,
    keeps_network=True,
    band=3.0,
    caveat="which 3-D CNN the paper compares with can't be recovered",
)
