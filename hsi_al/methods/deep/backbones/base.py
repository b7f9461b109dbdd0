"""What every backbone gives: `backbone(patches) -> (logits, taps)`, and the pooled embeddings behind the logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Plan:
    """What a backbone is built for.

    Attributes:
        name: `backbone=<name>`.
        n_bands: Input channels.
        n_classes: Number of logits.
        patch_size: Side P of the patches.
        stem_kind: See `stem`.
        dropout: On the pooled features.
        transition_pooling: `max` or `avg`, between the blocks of DenseNets.
        table1_widths: Transition widths of Table I for DenseNet-169 and 201.
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
    """What a file of this folder lists by name in its `NETWORKS`.

    Attributes:
        build: Makes the backbone.
        of_one_pixel: Whether it reads the centre of a patch alone, so that patches of one pixel are enough.
    """

    build: "Callable[[Plan], Backbone]"
    of_one_pixel: bool = False


class Backbone(nn.Module):
    """Taps -> global average pooling -> dropout -> one fully connected layer.

    A subclass sets `tap_channels`, the channels of the feature maps that `taps` returns, and `feature_size`.

    Args:
        feature_size: Length of the pooled features.
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
        """Feature maps of the four blocks, (B, channels, height, width) each, last block last."""
        raise NotImplementedError

    def embed(self, taps: list[Tensor]) -> Tensor:
        """Features before the classifier, (B, feature_size)."""
        return taps[-1].mean(dim=(2, 3))

    def forward(self, patches: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Patches (B, bands, P, P) -> logits (B, C) and taps."""
        taps = self.taps(patches)
        return self.classifier(self.dropout(self.embed(taps))), taps

    def reset_parameters(self) -> None:
        """Fresh weights in place, from torch's current generator: Kaiming-normal convolutions, BN 1/0, biases 0."""
        for module in self.modules():
            reset(module)


def reset(module: nn.Module) -> None:
    """Initialise one layer in place (Kaiming-normal, fan in, for convolutions; BN 1/0; FC bias 0)."""
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
    """3x3 convolution to 64 channels, BN, ReLU, and for `*_pool` a 3x3 max pooling of stride 2.

    `s1` keeps 32x32 (blocks at 32, 16, 8, 4: the 4x4 global pooling of Table I); the others cost a third to a
    thirteenth of it.
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
    """Side of the feature map behind the stem: each stride of 2 halves, rounding up."""
    strides = (2 if kind.startswith("s2") else 1) * (2 if kind.endswith("_pool") else 1)
    return -(-patch_size // strides)


def normalised_relu(channels: int) -> nn.Sequential:
    """BN and ReLU; in place is safe, because BN makes the copy."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def count_parameters(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
