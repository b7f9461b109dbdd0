"""A small network on the spectrum of a single pixel: a baseline that is cheap enough for many millions of pixels."""

from torch import Tensor, nn

from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan, normalised_relu

WIDTH = 32


class Spectral(Backbone):
    """BN of every band - FC 32 - BN - ReLU - FC 32 - BN - ReLU - FC C on the spectrum of the patch's centre pixel.

    A multilayer perceptron in the form of 1x1 convolutions, with about 8,000 parameters for 200 bands. The first BN
    brings all bands to one scale, which normalisation by one minimum and maximum of the whole cube does not. The loss
    prediction module reads the two hidden layers. Neighbouring pixels are not used, so patches of one pixel are enough.

    Args:
        n_bands: Input channels.
        n_classes: Number of logits.
        dropout: Probability of dropping one of the 32 features before the classifier.
    """

    def __init__(self, n_bands: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(WIDTH, n_classes, (WIDTH, WIDTH), dropout)
        self.first = nn.Sequential(
            nn.BatchNorm2d(n_bands), nn.Conv2d(n_bands, WIDTH, 1, bias=False), normalised_relu(WIDTH)
        )
        self.second = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1, bias=False), normalised_relu(WIDTH))
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return the outputs of the two hidden layers at the centre pixel, (B, 32, 1, 1) each."""
        centre = patches.shape[-1] // 2
        first = self.first(patches[:, :, centre : centre + 1, centre : centre + 1])
        return [first, self.second(first)]


def build(plan: Plan) -> Spectral:
    """Build the network."""
    return Spectral(plan.n_bands, plan.n_classes, plan.dropout)


NETWORKS = {"spectral": Network(build, of_one_pixel=True)}
