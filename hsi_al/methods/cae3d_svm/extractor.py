"""Features of 3DCAE (Mei et al., TGRS 2019): an autoencoder trained once on the scene without labels."""

from dataclasses import dataclass

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.cae3d_svm import WINDOW
from hsi_al.methods.cae3d_svm.network import FEATURES, SLOTS, Autoencoder3d, band_slots
from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.outputs import Progress
from hsi_al.training.datamodule import PixelDataset, TrainingBatches
from hsi_al.training.patches import PatchGatherer
from hsi_al.training.trainer import build_trainer, seeded, train

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

SOURCE_EPOCHS = 200  # the source trains 200 to 400 epochs; a remark in the authors' script allows 1000
TRAINED_SHARE = 0.9  # fraction of all pixels
TESTED = 500  # number of other pixels that the reconstruction is measured on
CHUNK = 256  # patches encoded at once


@dataclass(frozen=True)
class Cae3dSettings:
    """Settings of the autoencoder's training by Adam.

    Attributes:
        epochs: Passes over the patches.
        batch_size: Patches per training step.
        lr: Learning rate of Adam.
        max_patches: Number of random patches to train on, at most 90 % of all pixels; None = 90 % of all pixels.
        weight_decay: Weight of the sum of the kernels' squares in the loss.
        start_at_data: Whether weight and bias of the last BN start at the patches' standard deviation and mean, not at
            the source's 1 and 0, from which Adam at 1e-3 would need about a thousand steps to get there.
    """

    epochs: int = SOURCE_EPOCHS
    batch_size: int = 32
    lr: float = 0.01
    max_patches: int | None = None
    weight_decay: float = 5e-4
    start_at_data: bool = False


# "paper" follows the released training script; "short" takes minutes on one CPU core.
EFFORTS = {
    "paper": Cae3dSettings(),
    "short": Cae3dSettings(epochs=6, batch_size=64, lr=1e-3, max_patches=20_000, start_at_data=True),
}


class Reconstruction(L.LightningModule):
    """The LightningModule: the autoencoder and the scene that it learns to reconstruct.

    Args:
        cube: (H, W, bands).
        settings: Settings of the training.

    Raises:
        ConfigurationError: There are more bands than slots, or the scene is smaller than the mirrored border.
    """

    slots: Tensor

    def __init__(self, cube: NDArray[np.generic], settings: Cae3dSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("slots", band_slots(cube.shape[2]), persistent=False)
        # The source divides by the maximum; the lowest value is used only if a scene has no larger positive value.
        peak = max(float(cube.max()), -float(cube.min())) or 1.0
        self.gatherer = PatchGatherer(cube, WINDOW, (0.0, peak))
        self.autoencoder = Autoencoder3d()

    def patches(self, pixel_ids: Tensor) -> Tensor:
        """Pixel ids (B,) -> patches with every band in its slot and 0 elsewhere, (B, 1, 5, 5, 224)."""
        gathered = self.gatherer(pixel_ids).permute(0, 2, 3, 1)
        patches: Tensor = gathered.new_zeros(*gathered.shape[:3], SLOTS)
        patches[..., self.slots] = gathered
        return patches.unsqueeze(1)

    def training_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the mean squared error over all 224 slots plus the weighted sum of the kernels' squares."""
        patches = self.patches(batch[0])
        squares = torch.stack([kernel.square().sum() for kernel in self.autoencoder.kernels()]).sum()
        loss: Tensor = mse_loss(self.autoencoder(patches), patches) + self.settings.weight_decay * squares
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build Adam with a constant learning rate."""
        return torch.optim.Adam(self.autoencoder.parameters(), lr=self.settings.lr)

    @torch.no_grad()
    def start_at(self, pixel_ids: Tensor) -> None:
        """Set weight and bias of the last BN to the standard deviation and mean of these pixels' (B,) patches."""
        patches = self.patches(pixel_ids)
        last = self.autoencoder.decoder[-1]
        assert isinstance(last, nn.BatchNorm3d)
        last.weight.fill_(patches.std())
        last.bias.fill_(patches.mean())

    @torch.no_grad()
    def centre_errors(self, pixel_ids: Tensor) -> Tensor:
        """Return the squared error of each pixel's reconstructed spectrum, averaged over the scene's bands, (B,)."""
        patches = self.patches(pixel_ids)
        middle = WINDOW // 2
        differences: Tensor = (self.autoencoder(patches) - patches)[:, 0, middle, middle]
        return differences[:, self.slots].square().mean(dim=1)

    @torch.no_grad()
    def encode(self, pixel_ids: Tensor) -> Tensor:
        """Return the features (B, 432) of pixel ids (B,)."""
        return self.autoencoder.encode(self.patches(pixel_ids))


class Cae3dExtractor:
    """The 432 features of an autoencoder that the first `fit` trains on random patches of the scene, labelled or not.

    Deviations from the authors' code: one PReLU slope per channel; the mirrored border repeats its edge, as for all
    patches of this package; all 200 bands of Indian Pines are used (see `RUNS` in `network.py`); BN momentum and
    initial PReLU slope are PyTorch's. The authors' code has no classifier.

    Args:
        cube: (H, W, bands), any real type; divided by its maximum.
        settings: Settings of the training, such as those of `EFFORTS`.
        accelerator: Name of an accelerator of Lightning.

    Attributes:
        psnr: Peak signal-to-noise ratio in dB of the reconstructed centre spectra, with the cube's maximum as peak,
            over at most 500 pixels that no training patch was centred on (if there are any); None before training.

    Raises:
        ConfigurationError: There are more than 224 bands, the scene is smaller than 2x2, the settings can't train, or
            there is no such accelerator.
    """

    once = True

    def __init__(self, cube: NDArray[np.generic], settings: Cae3dSettings, accelerator: str = "auto") -> None:
        if (
            settings.epochs < 1
            or settings.batch_size < 2
            or (settings.max_patches is not None and settings.max_patches < 2)
        ):
            raise ConfigurationError(
                "3DCAE needs epochs >= 1, batch_size >= 2 and max_patches >= 2; these are "
                f"{settings.epochs}, {settings.batch_size} and {settings.max_patches}."
            )
        self.settings, self.accelerator = settings, accelerator
        self.n_pixels = cube.shape[0] * cube.shape[1]
        self.progress: Progress | None = None
        self.psnr: float | None = None
        self.device: torch.device = build_trainer(accelerator, "32-true", 1).strategy.root_device
        with seeded(0, torch.device("cpu")):  # `fit` draws the weights anew
            self.module = Reconstruction(cube, settings)

    def describe(self) -> str:
        """Return size, epochs compared with the source's, and after training the PSNR of the reconstruction."""
        settings = self.settings
        text = (
            f"3DCAE, {count_parameters(self.module):,} parameters, {FEATURES} features, {settings.epochs} epochs on "
            f"{self.n_trained:,} patches, batch {settings.batch_size}, lr {settings.lr:g}"
        )
        if settings != EFFORTS["paper"]:
            source = EFFORTS["paper"]
            text += f" (its source: {source.epochs} on 90 % of all pixels, batch {source.batch_size}, lr {source.lr:g})"
        if settings.start_at_data:
            text += ", output started at the data's mean and spread"
        text += ", drawn from the whole scene without labels"
        return text if self.psnr is None else f"{text}, PSNR {self.psnr:.1f} dB"

    @property
    def n_trained(self) -> int:
        """Number of patches to train on."""
        return max(2, min(int(TRAINED_SHARE * self.n_pixels), self.settings.max_patches or self.n_pixels))

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Train at the first call; the labelled pixels and labels are not used, and later calls change nothing.

        Raises:
            LearnerError: The training diverged.
        """
        if self.psnr is not None:
            return
        order = rng.permutation(self.n_pixels)
        trained, rest = order[: self.n_trained], order[self.n_trained :]
        batch_size = min(self.settings.batch_size, len(trained))
        shuffling = torch.Generator().manual_seed(int(rng.integers(2**63)))
        batches = DataLoader(
            PixelDataset(trained), sampler=TrainingBatches(len(trained), batch_size, shuffling), batch_size=None
        )
        with seeded(int(rng.integers(2**63)), self.device):
            self.module.autoencoder.reset_parameters()
            if self.settings.start_at_data:
                self.module.start_at(torch.from_numpy(trained[:CHUNK]))
            train(self.module, batches, self.settings.epochs, self.accelerator, self.progress)
        self.module.to(self.device)
        tested = rest[:TESTED] if len(rest) else trained
        chunks = [tested[start : start + CHUNK] for start in range(0, len(tested), CHUNK)]
        errors = [self.module.centre_errors(self._on_device(chunk)) for chunk in chunks]
        self.psnr = float(-10 * torch.cat(errors).mean().clamp_min(1e-12).log10())

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, 432).

        Raises:
            LearnerError: `fit` has not been called.
        """
        if self.psnr is None:
            raise LearnerError("3DCAE has no features before it is trained: call fit first.")
        found = np.empty((len(pixel_ids), FEATURES), dtype=np.float32)
        for start in range(0, len(pixel_ids), CHUNK):
            chunk = pixel_ids[start : start + CHUNK]
            found[start : start + CHUNK] = self.module.encode(self._on_device(chunk)).cpu().numpy()
        return found

    def _on_device(self, pixel_ids: Ids) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixel_ids, dtype=np.int64)).to(self.device)
