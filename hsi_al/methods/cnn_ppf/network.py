"""The network of CNN-PPF, which classifies pairs of spectra.

W. Li, G. Wu, F. Zhang, Q. Du, "Hyperspectral image classification using deep pixel-pair features", IEEE TGRS 2017,
doi 10.1109/TGRS.2016.2616355.

Layer sizes and training follow the authors' public demo for the University of Pavia.
"""

from math import ceil, sqrt
from typing import Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsi_al.errors import ConfigurationError

Optimiser = Literal["sgd", "adam"]
DIFFERENT = 0  # output for pairs of two classes; output c + 1 is for pairs of class c
FIRST_KERNELS = (8, 9)  # the sources' for 103 bands, and for 200 and 204 bands
MANY_BANDS = 150  # from here on the second kernel; the sources give no rule between 103 and 200


def first_kernel(n_bands: int) -> int:
    """Return the kernel length of the first convolution."""
    return FIRST_KERNELS[n_bands >= MANY_BANDS]


def final_width(n_bands: int, padded: bool = False) -> int:
    """Return the spectral length before the convolution that spans all of it; below 1 if there are too few bands."""
    width = ceil((n_bands - first_kernel(n_bands) + 1) / 3)
    for _ in range(2):
        width = ceil((width - (0 if padded else 4)) / 2)
    return width


class PpfNetwork(nn.Module):
    """Seven convolutions along the bands, one across the pair and two 1x1, with ReLU between them; C + 1 outputs.

    Below 44 bands nothing would be left for the last convolutions. There, all convolutions of length 3 are padded and
    `padded` is True; the paper has no such case.

    Args:
        n_bands: Length of a spectrum.
        n_classes: Number C of classes.

    Raises:
        ConfigurationError: There are fewer bands than the first kernel is long.
    """

    def __init__(self, n_bands: int, n_classes: int) -> None:
        super().__init__()
        first = first_kernel(n_bands)
        if n_bands < first:
            raise ConfigurationError(
                f"CNN-PPF can't work on {n_bands} bands: its first convolution is {first} long; take another learner."
            )
        self.padded = final_width(n_bands) < 1
        side = int(self.padded)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 10, (1, first)),
            nn.ReLU(inplace=True),
            nn.Conv2d(10, 10, (2, 1)),  # the two pixels become one
            nn.ReLU(inplace=True),
            nn.Conv2d(10, 10, (1, 3), padding=(0, 1)),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((1, 3), ceil_mode=True),
            nn.Conv2d(10, 20, (1, 3), padding=(0, side)),
            nn.ReLU(inplace=True),
            nn.Conv2d(20, 20, (1, 3), padding=(0, side)),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((1, 2), ceil_mode=True),
            nn.Conv2d(20, 40, (1, 3), padding=(0, side)),
            nn.ReLU(inplace=True),
            nn.Conv2d(40, 40, (1, 3), padding=(0, side)),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((1, 2), ceil_mode=True),
            nn.Conv2d(40, 80, (1, final_width(n_bands, self.padded))),
            nn.ReLU(inplace=True),
            nn.Conv2d(80, 80, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(80, n_classes + 1, 1),
            nn.Flatten(),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
        self.reset_parameters()

    def forward(self, pairs: Tensor) -> Tensor:
        """Pairs of spectra (B, 2, bands) -> logits (B, C + 1)."""
        logits: Tensor = self.layers(pairs[:, None])
        return logits

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator, biases 0.

        The weights are truncated normal at two standard deviations, which are sqrt(1 / fan_in) in the first two
        convolutions and sqrt(2 / fan_in) in the others.
        """
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
        for index, layer in enumerate(convolutions):
            std = sqrt((1 if index < 2 else 2) / layer.weight[0].numel())
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PpfModule(L.LightningModule):
    """Trains the network on pairs of pixel ids; the spectra are gathered on the device that trains.

    `epochs_per_stage` is set before each fit: after so many epochs, each time, the learning rate is divided by ten.

    Args:
        network: (B, 2, bands) -> (B, C + 1).
        spectra: Scaled spectra of the whole scene, (H * W, bands).
        lr: Learning rate of the first stage.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of the weights; biases have none.
        optimiser: `sgd`, or `adam` for AdamW, which leaves the plateau at the start hundreds of times sooner.
    """

    spectra: Tensor

    def __init__(
        self,
        network: PpfNetwork,
        spectra: Tensor,
        lr: float,
        momentum: float,
        weight_decay: float,
        optimiser: Optimiser = "sgd",
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("spectra", spectra, persistent=False)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.optimiser = optimiser
        self.epochs_per_stage = 1

    def forward(self, pairs: Tensor) -> Tensor:
        """Pixel ids (B, 2) -> logits (B, C + 1)."""
        logits: Tensor = self.network(self.spectra[pairs])
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the cross-entropy of pairs of pixel ids (B, 2) for the true outputs (B,)."""
        pairs, outputs = batch
        return cross_entropy(self(pairs), outputs)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser, with a learning rate that is divided by ten after every stage."""
        parameters = list(self.network.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        optimiser: torch.optim.Optimizer
        if self.optimiser == "adam":
            optimiser = torch.optim.AdamW(groups, lr=self.lr)
        else:
            optimiser = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        stages = torch.optim.lr_scheduler.StepLR(optimiser, self.epochs_per_stage, gamma=0.1)
        return {"optimizer": optimiser, "lr_scheduler": stages}
