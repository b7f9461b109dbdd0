"""S-CNN: patches -> features in which pixels of one class are near each other and pixels of two classes are far apart.

After B. Liu et al., "Supervised deep feature extraction for hyperspectral image classification", IEEE TGRS 2018. Its
exact architecture could not be recovered: known are five layers, two branches that share their weights, a margin loss
on pairs and bands as input maps. Kernels, widths, patch size, form of the loss and training here are a best guess.
"""

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hsi_al.methods.deep.backbones.base import reset

FEATURES = 128


class ScnnNetwork(nn.Module):
    """conv3x3(64)-pool-conv3x3(128)-pool-FC 128; the features are scaled to length 1.

    Args:
        n_bands: Input channels.
    """

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_bands, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, FEATURES),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as patches are gathered
        self.reset_parameters()

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, bands, 9, 9) -> features of length 1, (B, 128)."""
        return normalize(self.layers(patches), dim=1)

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator."""
        for layer in self.layers:
            reset(layer)


def pair_loss(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """Return the mean of d^2 for pairs of one class and max(0, margin - d)^2 for pairs of two, with d the distance.

    This is equation (4) of R. Hadsell, S. Chopra, Y. LeCun, CVPR 2006, without the factor 1/2. max(0, margin - d^2)
    does not work: its gradient vanishes where two classes coincide, and on Indian Pines the features collapsed.

    Args:
        first: Features of the first pixel of each pair, (B, D).
        second: Features of the second pixel, (B, D).
        same: Whether the two share a class, (B,).
        margin: Distance from which pairs of two classes have no loss.
    """
    squared_B = (first - second).square().sum(dim=1)
    gap_B = margin - (squared_B + 1e-12).sqrt()  # the plain root has no finite gradient at 0
    return torch.where(same, squared_B, gap_B.clamp(min=0).square()).mean()


class ScnnModule(L.LightningModule):
    """Trains the network on pairs of pixel ids, both branches through the same network.

    Args:
        network: (B, bands, 9, 9) -> (B, D).
        gatherer: Pixel ids (B,) -> patches (B, bands, 9, 9), on the device that trains.
        lr: Learning rate of Adam.
        margin: Distance from which pairs of two classes have no loss.
    """

    def __init__(self, network: ScnnNetwork, gatherer: nn.Module, lr: float, margin: float) -> None:
        super().__init__()
        self.network, self.gatherer = network, gatherer
        self.lr, self.margin = lr, margin

    def forward(self, pixel_ids: Tensor) -> Tensor:
        """Pixel ids (B,) -> features (B, D)."""
        features: Tensor = self.network(self.gatherer(pixel_ids))
        return features

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of pairs of pixel ids (B, 2), given whether they share a class (B,)."""
        pairs, same = batch
        first, second = self(pairs.T.flatten()).chunk(2)
        return pair_loss(first, second, same, self.margin)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.lr)
