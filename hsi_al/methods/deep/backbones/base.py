"""The interface of all backbones: `backbone(patches) -> (logits, taps)`, and the embeddings before the classifier.

Taps are the intermediate feature maps that the loss prediction module reads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Plan:
    """The settings that a backbone is built from.

    Attributes:
        name: Value of `backbone=<name>`.
        n_bands: Input channels.
        n_classes: Number of logits.
        patch_size: Side P of the patches.
        stem_kind: First layers, see `stem`.
        dropout: Probability of dropping a pooled feature before the classifier.
        transition_pooling: Pooling between the blocks of DenseNets, `max` or `avg`.
        table1_widths: Whether DenseNet-169 and -201 take the third transition's width literally from Table I.
    """

    name: str
    n_bands: int
    n_classes: int
    patch_size: int = 32
    stem_kind: str = "s1"
    dropout: float = 0.0
    transition_pooling: str = "max"
    table1_widths: bool = False


@dataclass(frozen=True)
class Network:
    """The entry of a backbone in a `NETWORKS` table of this folder.

    Attributes:
        build: Function that builds the backbone.
        of_one_pixel: Whether it reads only the centre pixel of a patch, so that patches of one pixel are enough.
    """

    build: "Callable[[Plan], Backbone]"
    of_one_pixel: bool = False


class Backbone(nn.Module):
    """Base class of networks: last tap -> global average pooling -> dropout -> one fully connected layer.

    A subclass implements `taps`, and `embed` if its embedding is not the pooled last tap.

    Args:
        feature_size: Length of the features before the classifier.
        n_classes: Number of logits.
        tap_channels: Channels of each tap; empty if the loss prediction module can't be attached.
        dropout: Probability of dropping a pooled feature before the classifier.
    """

    def __init__(self, feature_size: int, n_classes: int, tap_channels: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.tap_channels = tuple(tap_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(feature_size, n_classes)

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return the feature maps of the blocks, (B, channels, height, width) each, from first to last."""
        raise NotImplementedError

    def embed(self, taps: list[Tensor]) -> Tensor:
        """Return the features before the classifier, (B, feature_size)."""
        return taps[-1].mean(dim=(2, 3))

    def forward(self, patches: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Patches (B, bands, P, P) -> logits (B, C) and taps."""
        taps = self.taps(patches)
        return self.classifier(self.dropout(self.embed(taps))), taps

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator: Kaiming-normal convolutions, BN 1/0, biases 0."""
        for module in self.modules():
            reset(module)


def reset(module: nn.Module) -> None:
    """Initialise one layer in place: Kaiming-normal (fan in) convolutions, BN weight 1 and bias 0, FC bias 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        module.reset_parameters()
        nn.init.zeros_(module.bias)


def stem(n_bands: int, kind: str) -> nn.Sequential:
    """Build the first layers: 3x3 convolution to 64 channels, BN, ReLU, and for `*_pool` a 3x3 max pooling of stride 2.

    The convolution has stride 1 for `s1*` and 2 for `s2*`. `s1` keeps the size, so that the blocks see maps of side 32,
    16, 8 and 4 for patches of 32 (Table I pools 4x4 at the end). The other kinds take a third to a thirteenth of its
    computing time.
    """
    stride = 2 if kind.startswith("s2") else 1
    layers: list[nn.Module] = [
        nn.Conv2d(n_bands, 64, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    if kind.endswith("_pool"):
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)


def stem_output_size(patch_size: int, kind: str) -> int:
    """Return the side of the feature map after the stem: each stride of 2 halves it, rounding up."""
    strides = (2 if kind.startswith("s2") else 1) * (2 if kind.endswith("_pool") else 1)
    return -(-patch_size // strides)


def normalised_relu(channels: int) -> nn.Sequential:
    """Build BN and ReLU; the ReLU may work in place, because BN returns a new tensor."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
