"""A small network for small patches: a layer on spectra, then three 3x3 convolutions without any pooling between."""

from torch import Tensor, nn

from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan, normalised_relu

WIDTH = 64
CONVOLUTIONS = 3  # of 3x3: the centre of the last map depends on 7x7 pixels


class Small(Backbone):
    """BN of every band - conv1x1(64)-BN-ReLU - three times conv3x3(64)-BN-ReLU - global average pooling - FC C.

    About 125,000 parameters for 200 bands. All convolutions have stride 1 and zero padding that keeps the size, so that
    any patch will do, of one pixel too; there is no stem to choose. The first BN brings all bands to one scale, which
    normalisation by one minimum and maximum of the whole cube does not. The four taps, (B, 64, P, P) each, are the
    layer on spectra and the three convolutions. The network is no published one; it was made because networks with
    many poolings need large patches, which tell places rather than spectra.

    Args:
        n_bands: Input channels.
        n_classes: Number of logits.
        dropout: Probability of dropping one of the 64 pooled features before the classifier.
    """

    def __init__(self, n_bands: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(WIDTH, n_classes, (WIDTH,) * (1 + CONVOLUTIONS), dropout)
        spectra = nn.Sequential(
            nn.BatchNorm2d(n_bands), nn.Conv2d(n_bands, WIDTH, 1, bias=False), normalised_relu(WIDTH)
        )
        self.blocks = nn.ModuleList([spectra])
        for _ in range(CONVOLUTIONS):
            convolution = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
            self.blocks.append(nn.Sequential(convolution, normalised_relu(WIDTH)))
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return the outputs of the layer on spectra and of the three convolutions, (B, 64, P, P) each."""
        maps, taps = patches, []
        for block in self.blocks:
            maps = block(maps)
            taps.append(maps)
        return taps


def build(plan: Plan) -> Small:
    """Build the network."""
    return Small(plan.n_bands, plan.n_classes, plan.dropout)


NETWORKS = {"small": Network(build)}
