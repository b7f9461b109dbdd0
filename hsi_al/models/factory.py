"""The backbones by name."""

from hsi_al.errors import ConfigurationError
from hsi_al.models.backbone import Backbone, stem_output_size
from hsi_al.models.cnn3d import Hamida, Li, Res3d
from hsi_al.models.densenet import BLOCKS, DenseNet
from hsi_al.models.lenet import SMALLEST_PATCH, LeNet
from hsi_al.models.resnet import LAYERS, ResNet
from hsi_al.models.spectral import Spectral

BACKBONES = (*BLOCKS, *LAYERS, "lenet", "spectral")
ONE_PIXEL = ("spectral",)  # backbones that read the centre of a patch alone
# Built only for the compared methods: `backbone=` doesn't offer them.
CLASSES_3D: dict[str, type[Hamida | Li | Res3d]] = {"hamida": Hamida, "li": Li, "res3d": Res3d}
NETWORKS_3D = tuple(CLASSES_3D)
# Three 2x2 poolings between four dense blocks.
SMALLEST_DENSENET_MAP = 8


def build_backbone(
    name: str,
    n_bands: int,
    n_classes: int,
    patch_size: int = 32,
    stem_kind: str = "s1",
    dropout: float = 0.0,
    transition_pooling: str = "max",
    table1_widths: bool = False,
) -> Backbone:
    """Build a backbone for patches (B, n_bands, patch_size, patch_size).

    Raises:
        ConfigurationError: Unknown name, or patches too small for the network.
    """
    if name in BLOCKS:
        if stem_output_size(patch_size, stem_kind) < SMALLEST_DENSENET_MAP:
            raise ConfigurationError(
                f"patch_size={patch_size} is too small for {name} with stem {stem_kind}: its three poolings need "
                f"{SMALLEST_DENSENET_MAP} pixels behind the stem; take backbone.stem=s1 or larger patches."
            )
        return DenseNet(name, n_bands, n_classes, stem_kind, dropout, transition_pooling, table1_widths)
    if name in LAYERS:
        return ResNet(name, n_bands, n_classes, stem_kind, dropout)
    if name == "lenet":
        if patch_size < SMALLEST_PATCH:
            raise ConfigurationError(f"patch_size={patch_size} is too small for lenet: {SMALLEST_PATCH} at least.")
        return LeNet(n_bands, n_classes, patch_size, dropout)
    if name == "spectral":
        return Spectral(n_bands, n_classes, dropout)
    if name in CLASSES_3D:
        return CLASSES_3D[name](n_bands, n_classes, patch_size, dropout)
    raise ConfigurationError(f"There is no backbone {name!r}; the backbones are {', '.join(BACKBONES)}.")
