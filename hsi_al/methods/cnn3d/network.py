"""3-D CNNs, which convolve along the spectrum too: three candidates for the "3D-CNN" of the paper's tables."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hsi_al.methods.deep.backbones.base import Backbone, Plan
from hsi_al.methods.residual3d import check_size, reset3d, residual_network, residual_output_size


class Cnn3d(Backbone):
    """Base class: 3-D convolutions on patches, seen as volumes of one channel -> dropout -> one fully connected layer.

    Which 3D-CNN the paper compared with can't be recovered: it only cites one, by a number whose reference isn't
    available. The subclasses are candidates for it, so that column of the paper's tables can't be reproduced exactly.
    The loss prediction module can't be attached: `tap_channels` is empty.

    Args:
        convolutions: (B, 1, bands, P, P) -> (B, channels, D, S, S).
        feature_size: Length of the features before the classifier.
        n_classes: Number of logits.
        dropout: Probability of dropping a feature before the classifier.
    """

    def __init__(self, convolutions: nn.Module, feature_size: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(feature_size, n_classes, (), dropout)
        self.convolutions = convolutions

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return one volume (B, channels, D, S, S), which only `embed` uses."""
        return [self.convolutions(patches.unsqueeze(1))]

    def embed(self, taps: list[Tensor]) -> Tensor:
        """Return the features before the classifier, (B, feature_size)."""
        return taps[-1].flatten(1)

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator: Kaiming-normal convolutions and FC, biases 0."""
        for module in self.modules():
            reset3d(module)


class Hamida(Cnn3d):
    """Ben Hamida et al., IEEE TGRS 2018: four convolutions with ReLU, and two strided ones without as poolings.

    The source trains by SGD; here the network is trained by Adam, as all networks of the deep learner.

    Args:
        n_bands: Length of the spectra, at least 3.
        n_classes: Number of logits.
        patch_size: Side of the patches, at least 5 (the source's).
        dropout: Probability of dropping a feature before the classifier; the source has no dropout.

    Raises:
        ConfigurationError: Patches or spectra are too small.
    """

    def __init__(self, n_bands: int, n_classes: int, patch_size: int = 5, dropout: float = 0.0) -> None:
        check_size("hamida", n_bands, patch_size, smallest_bands=3, smallest_patch=5)
        convolutions = nn.Sequential(
            nn.Conv3d(1, 20, 3),
            nn.ReLU(),
            nn.Conv3d(20, 20, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
            nn.Conv3d(20, 35, 3, padding=(1, 0, 0)),
            nn.ReLU(),
            nn.Conv3d(35, 35, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
            nn.Conv3d(35, 35, (3, 1, 1), padding=(1, 0, 0)),
            nn.ReLU(),
            nn.Conv3d(35, 35, (2, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
            nn.ReLU(),
        )
        # The first convolution drops two bands, the next two strides halve rounding up; the last kernel is even.
        length = -(-(n_bands - 2) // 4) // 2 + 1
        super().__init__(convolutions, 35 * length * (patch_size - 4) ** 2, n_classes, dropout)
        self.reset_parameters()


class Li(Cnn3d):
    """Li, Zhang & Shen, Remote Sensing 2017: two convolutions and no pooling.

    The first convolution has 16 kernels as in the toolbox DeepHyperX; the source has 2.

    Args:
        n_bands: Length of the spectra, at least 5.
        n_classes: Number of logits.
        patch_size: Side of the patches, at least 5 (the source's).
        dropout: Probability of dropping a feature before the classifier; the source has no dropout.

    Raises:
        ConfigurationError: Patches or spectra are too small.
    """

    def __init__(self, n_bands: int, n_classes: int, patch_size: int = 5, dropout: float = 0.0) -> None:
        check_size("li", n_bands, patch_size, smallest_bands=5, smallest_patch=5)
        convolutions = nn.Sequential(
            nn.Conv3d(1, 16, (7, 3, 3), padding=(1, 0, 0)),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, padding=(1, 0, 0)),
            nn.ReLU(),
        )
        super().__init__(convolutions, 32 * (n_bands - 4) * (patch_size - 4) ** 2, n_classes, dropout)
        self.reset_parameters()


class Res3d(Cnn3d):
    """The residual 3-D CNN that the paper's first author released: 16, 32 and 64 kernels, then FC 128 and ReLU.

    Args:
        n_bands: Length of the spectra, at least 33.
        n_classes: Number of logits.
        patch_size: Side of the patches, at least 9 (the source's).
        dropout: Probability of dropping one of the 128 features before the classifier.

    Raises:
        ConfigurationError: Patches or spectra are too small.
    """

    def __init__(self, n_bands: int, n_classes: int, patch_size: int = 9, dropout: float = 0.0) -> None:
        check_size("res3d", n_bands, patch_size)
        super().__init__(residual_network((16, 32, 64)), 128, n_classes, dropout)
        length, side = residual_output_size(n_bands, patch_size)
        self.hidden = nn.Linear(64 * length * side**2, 128)
        self.reset_parameters()

    def embed(self, taps: list[Tensor]) -> Tensor:
        """Return the features before the classifier, (B, 128)."""
        return relu(self.hidden(taps[-1].flatten(1)))


NETWORKS: dict[str, type[Hamida | Li | Res3d]] = {"hamida": Hamida, "li": Li, "res3d": Res3d}


def build_network(plan: Plan) -> Cnn3d:
    """Build the network of `NETWORKS` that the plan names.

    Raises:
        ConfigurationError: Patches or spectra are too small.
    """
    return NETWORKS[plan.name](plan.n_bands, plan.n_classes, plan.patch_size, plan.dropout)
