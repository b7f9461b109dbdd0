"""S-CNN features for a linear SVM; `network.py` lists what is known of the source and what is guessed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.methods.pairs import BalancedPairs
from hsi_al.methods.scnn_svm import PATCH_SIZE
from hsi_al.methods.scnn_svm.network import FEATURES, ScnnModule, ScnnNetwork
from hsi_al.outputs import Progress
from hsi_al.scenes.stored import value_range
from hsi_al.training.patches import PatchGatherer
from hsi_al.training.trainer import build_trainer, seeded, train

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ScnnSettings:
    """All settings of S-CNN that don't come from the scene; they are guesses, as the source gives no numbers.

    Attributes:
        epochs: Number of epochs, each of `steps` training steps.
        steps: Training steps of an epoch.
        pairs: Pairs within a class in every step, and as many between two classes.
        lr: Learning rate of Adam.
        margin: Distance from which pairs of two classes have no loss; features have length 1, so it is below 2.
        centred: Whether to subtract the scene's mean spectrum and divide by one standard deviation: with scaling to
            [0, 1] alone, spectra differ so little that learning is slow.
        predict_batch_size: Pixels whose features are computed at once.
    """

    epochs: int = 200
    steps: int = 20
    pairs: int = 128
    lr: float = 1e-3
    margin: float = 1.0
    centred: bool = True
    predict_batch_size: int = 256


EFFORTS: dict[str, ScnnSettings] = {"paper": ScnnSettings(), "short": ScnnSettings(epochs=50, pairs=64)}


class ScnnExtractor:
    """Features that bring pixels of one class together (S-CNN, Liu et al., IEEE TGRS 2018).

    The exact architecture of the source could not be recovered; this is a best guess (see `network.py`). With a single
    labelled pixel there are no pairs to train on, and the network keeps its random weights.

    Args:
        cube: (H, W, bands); scaled to [0, 1] by one minimum and maximum of the whole cube, then centred if
            `settings.centred`.
        settings: All settings that don't come from the scene.
        accelerator: Name of an accelerator of Lightning.

    Raises:
        ConfigurationError: The scene is too small for 9x9 patches, or there is no such accelerator.
    """

    once = False

    progress: Progress | None = None

    def __init__(self, cube: NDArray[np.generic], settings: ScnnSettings, accelerator: str = "auto") -> None:
        self.settings, self.accelerator = settings, accelerator
        low, high = value_range(cube)
        gatherer = PatchGatherer(cube, PATCH_SIZE, (low, high if high > low else low + 1.0))
        if settings.centred:
            centre(gatherer, cube.shape[0], cube.shape[1])
        self.module = ScnnModule(ScnnNetwork(cube.shape[2]), gatherer, settings.lr, settings.margin)
        self.device = build_trainer(accelerator, "32-true", 1).strategy.root_device

    def describe(self) -> str:
        """Return size and training, with the remark that both are guesses."""
        settings = self.settings
        return (
            f"S-CNN, {count_parameters(self.module.network):,} parameters, "
            f"{settings.epochs * settings.steps:,} steps of {settings.pairs} + {settings.pairs} pairs "
            "(the source's architecture and training aren't known: a guess)"
        )

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Train a fresh network on pairs of labelled pixel ids (n,) with class indices (n,).

        Raises:
            LearnerError: The training diverged.
        """
        weights_seed, pairs_seed = (int(seed) for seed in rng.integers(2**63, size=2))
        with seeded(weights_seed, self.device):
            self.module.cpu().network.reset_parameters()
            if len(pixel_ids) > 1:
                batches = PairBatches(pixel_ids, labels, self.settings, np.random.default_rng(pairs_seed))
                train(self.module, batches, self.settings.epochs, self.accelerator, self.progress)

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), vectors of length 1, (n, 128)."""
        self.module.to(self.device).eval()
        ids, size = torch.from_numpy(np.asarray(pixel_ids, np.int64)), self.settings.predict_batch_size
        parts = [np.empty((0, FEATURES), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(ids), size):
                parts.append(self.module(ids[start : start + size].to(self.device)).cpu().numpy())
        return np.concatenate(parts)


def centre(gatherer: PatchGatherer, height: int, width: int) -> None:
    """Subtract the scene's mean spectrum, then divide by the standard deviation of all values, in place."""
    before = gatherer.patch_size // 2
    scene = gatherer.padded[before : before + height, before : before + width]
    gatherer.padded.sub_(scene.mean(dim=(0, 1)))
    gatherer.padded.div_(float(scene.std()) or 1.0)  # the scene is a view, centred by now


class PairBatches:
    """The batches of an epoch, drawn anew each time: pairs of pixel ids (B, 2) and whether they share a class (B,).

    Args:
        pixel_ids: Labelled pixels, (n,).
        labels: Their class indices, (n,).
        settings: Number of steps, and of pairs per step.
        rng: Source of the draws.
    """

    def __init__(self, pixel_ids: Ids, labels: Ids, settings: ScnnSettings, rng: np.random.Generator) -> None:
        self.pixel_ids, self.settings, self.rng = pixel_ids, settings, rng
        self.drawer = BalancedPairs(labels)

    def __len__(self) -> int:
        return self.settings.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(len(self)):
            pairs, same = self.drawer.draw(self.settings.pairs, self.rng)
            yield torch.from_numpy(self.pixel_ids[pairs]), torch.from_numpy(same)
