"""DenseNet-121, -169 and -201 with bottlenecks for patches of many bands (Huang et al. 2017; Table I of the paper)."""

import itertools

import torch
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan, normalised_relu, stem, stem_output_size

BLOCKS = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
SMALLEST_MAP = 8  # side of the map after the stem: three 2x2 poolings follow
GROWTH = 32
BOTTLENECK = 4 * GROWTH
# Table I prints half of the last block's output as the width of the third transition, where half of its input is
# meant; for DenseNet-121 both are 512.
TABLE1_THIRD_TRANSITION = {"densenet121": 512, "densenet169": 832, "densenet201": 960}


class DenseLayer(nn.Module):
    """BN-ReLU-conv1x1(128)-BN-ReLU-conv3x3(32), whose output is concatenated to the layer's input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            normalised_relu(channels),
            nn.Conv2d(channels, BOTTLENECK, 1, bias=False),
            normalised_relu(BOTTLENECK),
            nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, c + 32, h, w)."""
        return torch.cat([maps, self.layers(maps)], dim=1)


def transition(channels: int, width: int, pooling: str) -> nn.Sequential:
    """Build BN-ReLU-conv1x1-2x2 pooling: `max` as in Table I, or `avg` as in the original DenseNet."""
    pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
    return nn.Sequential(normalised_relu(channels), nn.Conv2d(channels, width, 1, bias=False), pool)


class DenseNet(Backbone):
    """DenseNet with the paper's 3x3 stem; the taps are the four dense blocks, the last one after BN and ReLU.

    Args:
        name: One of `BLOCKS`.
        n_bands: Input channels.
        n_classes: Number of logits.
        stem_kind: First layers, see `stem`.
        dropout: Probability of dropping a pooled feature before the classifier.
        transition_pooling: `max` (Table I) or `avg`.
        table1_widths: Take the third transition's width literally from Table I (832 for 169, 960 for 201).
    """

    def __init__(
        self,
        name: str,
        n_bands: int,
        n_classes: int,
        stem_kind: str = "s1",
        dropout: float = 0.0,
        transition_pooling: str = "max",
        table1_widths: bool = False,
    ) -> None:
        blocks: list[nn.Module] = []
        transitions: list[nn.Module] = []
        tap_channels: list[int] = []
        channels = 64
        for index, depth in enumerate(BLOCKS[name]):
            blocks.append(nn.Sequential(*(DenseLayer(channels + GROWTH * layer) for layer in range(depth))))
            channels += GROWTH * depth
            tap_channels.append(channels)
            if index < 3:
                width = TABLE1_THIRD_TRANSITION[name] if table1_widths and index == 2 else channels // 2
                transitions.append(transition(channels, width, transition_pooling))
                channels = width
        super().__init__(channels, n_classes, tap_channels, dropout)
        self.stem = stem(n_bands, stem_kind)
        self.blocks = nn.ModuleList(blocks)
        self.transitions = nn.ModuleList([*transitions, normalised_relu(channels)])
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return the outputs of blocks 1 to 3 before their transitions, and that of block 4 after BN and ReLU."""
        maps = self.stem(patches)
        taps = []
        for block, after in zip(self.blocks, self.transitions, strict=True):
            tap = block(maps)
            maps = after(tap)
            taps.append(tap)
        return [*taps[:3], maps]


def build(plan: Plan) -> DenseNet:
    """Build a DenseNet.

    Raises:
        ConfigurationError: The patches are too small for the poolings.
    """
    if stem_output_size(plan.patch_size, plan.stem_kind) < SMALLEST_MAP:
        sizes = itertools.count(plan.patch_size)
        smallest = next(size for size in sizes if stem_output_size(size, plan.stem_kind) >= SMALLEST_MAP)
        stem_s1 = "backbone.stem=s1, " if stem_output_size(plan.patch_size, "s1") >= SMALLEST_MAP else ""
        raise ConfigurationError(
            f"patch_size={plan.patch_size} is too small for {plan.name} with stem {plan.stem_kind}: its three poolings "
            f"need a map of side {SMALLEST_MAP} after the stem; take {stem_s1}patch_size={smallest} or more, or "
            "backbone=small."
        )
    return DenseNet(
        plan.name,
        plan.n_bands,
        plan.n_classes,
        plan.stem_kind,
        plan.dropout,
        plan.transition_pooling,
        plan.table1_widths,
    )


NETWORKS = dict.fromkeys(BLOCKS, Network(build))
