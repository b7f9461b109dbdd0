"""LeNet-5 with ReLU and max pooling: the paper names it, without layers, for max-entropy active learning."""

from torch import Tensor, nn

from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan

SMALLEST_PATCH = 16


class LeNet(Backbone):
    """LeNet-5: conv5x5(6)-pool-conv5x5(16)-pool-FC 120-FC 84-FC C.

    It lacks the four blocks that the loss prediction module reads, so `tap_channels` is empty.

    Args:
        n_bands: Input channels.
        n_classes: Number of logits.
        patch_size: Side of the patches, at least `SMALLEST_PATCH`; 32 gives the 400 inputs of LeNet-5's first FC.
        dropout: Probability of dropping one of the 84 features before the classifier.
    """

    def __init__(self, n_bands: int, n_classes: int, patch_size: int = 32, dropout: float = 0.0) -> None:
        super().__init__(84, n_classes, (), dropout)
        side = ((patch_size - 4) // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(n_bands, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Linear(16 * side**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        """Return one feature map (B, 16, h, w), which only `embed` uses."""
        return [self.features(patches)]

    def embed(self, taps: list[Tensor]) -> Tensor:
        """Return the features before the classifier, (B, 84)."""
        embedding: Tensor = self.head(taps[-1].flatten(1))
        return embedding


def build(plan: Plan) -> LeNet:
    """Build a LeNet.

    Raises:
        ConfigurationError: The patches are too small.
    """
    if plan.patch_size < SMALLEST_PATCH:
        raise ConfigurationError(
            f"patch_size={plan.patch_size} is too small for lenet: take patch_size={SMALLEST_PATCH} or more, or "
            "backbone=small."
        )
    return LeNet(plan.n_bands, plan.n_classes, plan.patch_size, plan.dropout)


NETWORKS = {"lenet": Network(build)}
