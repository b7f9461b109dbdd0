"""ResNet-18 to -152 for patches of many bands (He et al. 2016): basic and bottleneck blocks after the 3x3 stem."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan, stem

# blocks per layer, expansion (1 = basic block, 4 = bottleneck)
LAYERS = {
    "resnet18": ((2, 2, 2, 2), 1),
    "resnet34": ((3, 4, 6, 3), 1),
    "resnet50": ((3, 4, 6, 3), 4),
    "resnet101": ((3, 4, 23, 3), 4),
    "resnet152": ((3, 8, 36, 3), 4),
}
WIDTHS = (64, 128, 256, 512)


def convolution(channels: int, width: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Build a convolution, which keeps the size for stride 1, and BN."""
    return [nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(width)]


class ResidualBlock(nn.Module):
    """Basic block (expansion 1: 3x3, 3x3) or bottleneck (expansion 4: 1x1, 3x3 with the stride, 1x1)."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        out = width * expansion
        if expansion == 1:
            layers = [*convolution(channels, width, 3, stride), nn.ReLU(inplace=True), *convolution(width, width, 3)]
        else:
            layers = [
                *convolution(channels, width, 1),
                nn.ReLU(inplace=True),
                *convolution(width, width, 3, stride),
                nn.ReLU(inplace=True),
                *convolution(width, out, 1),
            ]
        self.layers = nn.Sequential(*layers)
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(channels, out, 1, stride))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, width * expansion, h / stride, w / stride), rounded up."""
        return relu(self.layers(maps) + self.shortcut(maps))


class ResNet(Backbone):
    """ResNet with the paper's 3x3 stem; the taps are the outputs of its four layers.

    Args:
        name: One of `LAYERS`.
        n_bands: Input channels.
        n_classes: Number of logits.
        stem_kind: First layers, see `stem`.
        dropout: Probability of dropping a pooled feature before the classifier.
    """

    def __init__(self, name: str, n_bands: int, n_classes: int, stem_kind: str = "s1", dropout: float = 0.0) -> None:
        depths, expansion = LAYERS[name]
        tap_channels = [width * expansion for width in WIDTHS]
        super().__init__(tap_channels[-1], n_classes, tap_channels, dropout)
        self.stem = stem(n_bands, stem_kind)
        self.blocks = nn.ModuleList()
        channels = 64
        for depth, width in zip(depths, WIDTHS, strict=True):
            layer = []
            for index in range(depth):
                stride = 2 if index == 0 and width != WIDTHS[0] else 1
                layer.append(ResidualBlock(channels, width, stride, expansion))
                channels = width * expansion
            self.blocks.append(nn.Sequential(*layer))
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return the outputs of the four layers."""
        maps = self.stem(patches)
        taps = []
        for block in self.blocks:
            maps = block(maps)
            taps.append(maps)
        return taps


def build(plan: Plan) -> ResNet:
    """Build a ResNet."""
    return ResNet(plan.name, plan.n_bands, plan.n_classes, plan.stem_kind, plan.dropout)


NETWORKS = dict.fromkeys(LAYERS, Network(build))
