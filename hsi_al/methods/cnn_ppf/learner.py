"""CNN-PPF as a learner: a network classifies pairs of a pixel and its neighbours, which vote for the pixel's class."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.base import RefittedLearner, as_float32, require_finite
from hsi_al.methods.cnn_ppf.network import DIFFERENT, Optimiser, PpfModule, PpfNetwork
from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.methods.pairs import different_class_pairs, same_class_pairs
from hsi_al.outputs import Outputs
from hsi_al.scenes.stored import value_range
from hsi_al.training.datamodule import PixelDataset
from hsi_al.training.trainer import build_trainer, seeded, train

Ids = NDArray[np.int64]
MOST_PAIRS = 2**26  # pairs within classes: 1 GiB of ids


@dataclass(frozen=True)
class PpfSettings:
    """All settings of CNN-PPF that don't come from the scene; the defaults are those of the authors' demo.

    Attributes:
        epochs_per_stage: Passes over all pairs in a stage; after each stage the learning rate is divided by ten.
        stages: Number of stages.
        least_steps: Minimum of training steps per stage; with few labels, hence few pairs, a stage gets more epochs.
        batch_size: Pairs per training step.
        optimiser: `sgd` or `adam` (AdamW).
        lr: Learning rate of the first stage.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of the weights; biases have none.
        partners: Number of pixels of each other class that a pixel is paired with.
        neighbourhood: Side of the window whose pixels vote, odd.
        predict_batch_size: Pixels predicted at once.
    """

    epochs_per_stage: int = 300
    stages: int = 3
    least_steps: int = 0
    batch_size: int = 256
    optimiser: Optimiser = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    partners: int = 3
    neighbourhood: int = 5
    predict_batch_size: int = 256


SOURCE = PpfSettings()
EFFORTS: dict[str, PpfSettings] = {
    "paper": SOURCE,
    "short": PpfSettings(epochs_per_stage=4, least_steps=1500, batch_size=512, optimiser="adam", lr=1e-3),
}


class PpfLearner(RefittedLearner):
    """CNN-PPF (Li et al., IEEE TGRS 2017): trained on pairs of labelled pixels, predicting by the neighbours' vote.

    Training takes all pairs of one class and some between classes. The learner predicts classes only: the 8 to 24 votes
    of pairs that share a pixel are no probabilities.

    Args:
        cube: (H, W, bands); scaled to [0, 1] by one minimum and maximum of the whole cube.
        n_classes: Number of classes.
        settings: All settings that don't come from the scene.
        accelerator: Name of an accelerator of Lightning.

    Raises:
        LearnerError: A value of the cube is NaN, infinite or beyond float32.
        ConfigurationError: The scene has too few bands or one pixel, the window is even or below 3, or there is no such
            accelerator.
    """

    device: torch.device

    def __init__(
        self, cube: NDArray[np.generic], n_classes: int, settings: PpfSettings, accelerator: str = "auto"
    ) -> None:
        self.height, self.width, n_bands = cube.shape
        if settings.neighbourhood < 3 or settings.neighbourhood % 2 == 0:
            raise ConfigurationError(f"neighbourhood={settings.neighbourhood} must be odd and at least 3.")
        if self.height * self.width < 2:
            raise ConfigurationError("CNN-PPF can't work on a scene of one pixel: it has no neighbours.")
        self.n_classes, self.settings, self.accelerator = n_classes, settings, accelerator
        low, high = value_range(cube)
        spectra = torch.from_numpy(as_float32(cube).reshape(-1, n_bands))
        self.module = PpfModule(
            PpfNetwork(n_bands, n_classes),
            spectra.sub_(low).div_(high - low or 1.0),
            settings.lr,
            settings.momentum,
            settings.weight_decay,
            settings.optimiser,
        )
        self.device = build_trainer(accelerator, "32-true", 1).strategy.root_device
        self.classes = np.arange(n_classes)

    def describe(self) -> str:
        """Return size, training, and the deviations from the authors' demo."""
        settings = self.settings
        text = (
            f"CNN-PPF, {count_parameters(self.module.network):,} parameters, "
            f"{settings.stages * settings.epochs_per_stage} epochs of batch {settings.batch_size} "
            f"with {settings.optimiser}"
        )
        if settings.least_steps:
            text += f" or {settings.stages * settings.least_steps:,} steps if these are more"
        if settings != SOURCE:
            text += (
                f" (source: {SOURCE.stages * SOURCE.epochs_per_stage} of {SOURCE.batch_size} with {SOURCE.optimiser})"
            )
        if self.module.network.padded:
            text += ", padded convolutions (source: none, but too few bands here)"
        return text

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the training steps of a round, for classes of equal size, and the pairs to score, as text."""
        settings, each = self.settings, n_labelled / self.n_classes
        n_pairs = round(n_labelled * (max(each - 1, 0) + min(settings.partners, each) * (self.n_classes - 1)))
        steps = ceil(n_pairs / settings.batch_size)
        total = settings.stages * self.epochs_per_stage(n_pairs) * steps
        n_scored = n_predicted * (settings.neighbourhood**2 - 1)
        return (
            f"about {total:,} training steps of {settings.batch_size} pairs a round on up to {n_labelled:,} labels, "
            f"{n_scored:,} pairs to score"
        )

    def epochs_per_stage(self, n_pairs: int) -> int:
        """Return the number of epochs of a stage over `n_pairs` pairs."""
        steps = max(1, ceil(n_pairs / self.settings.batch_size))
        return max(self.settings.epochs_per_stage, ceil(self.settings.least_steps / steps))

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Train a fresh network on pairs of the labelled pixel ids (n,) with class indices (n,).

        Raises:
            LearnerError: The training diverged, or there are too many pairs.
        """
        self.classes, counts = np.unique(labels, return_counts=True)
        if (n_pairs := int((counts * (counts - 1)).sum())) > MOST_PAIRS:
            raise LearnerError(
                f"CNN-PPF trains on all pairs of labels of a class: {len(labels):,} labels give {n_pairs:,}, and "
                f"{MOST_PAIRS:,} at most fit the memory; take fewer labels."
            )
        same, classes = same_class_pairs(labels)
        different = different_class_pairs(labels, self.settings.partners, rng)
        pairs = pixel_ids[np.concatenate([same, different])]
        outputs = np.concatenate([classes + 1, np.full(len(different), DIFFERENT)])
        weights_seed, shuffling_seed = (int(seed) for seed in rng.integers(2**63, size=2))
        dataset = PixelDataset(pairs, outputs)
        shuffled = RandomSampler(range(len(dataset)), generator=torch.Generator().manual_seed(shuffling_seed))
        batches = BatchSampler(shuffled, self.settings.batch_size, drop_last=False)
        self.module.epochs_per_stage = self.epochs_per_stage(len(pairs))
        epochs = self.settings.stages * self.module.epochs_per_stage
        with seeded(weights_seed, self.device):
            self.module.cpu().network.reset_parameters()
            loader = DataLoader(dataset, sampler=batches, batch_size=None)
            train(self.module, loader, epochs, self.accelerator, self.progress)

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict each pixel's class by majority of its pairs with all neighbours, labelled or not.

        Raises:
            LearnerError: An output of the network is NaN or infinite.
        """
        parts = [np.empty(0, np.int64), *self._predicted(pixel_ids)]
        return Outputs(np.concatenate(parts))

    def _predicted(self, pixel_ids: Ids) -> Iterator[Ids]:
        self.module.to(self.device).eval()
        size = self.settings.predict_batch_size
        for start in range(0, len(pixel_ids), size):
            chunk = pixel_ids[start : start + size]
            partners, inside = neighbours(chunk, self.height, self.width, self.settings.neighbourhood)
            pairs = np.stack([np.broadcast_to(chunk[:, None], partners.shape), partners], axis=2)
            votes = np.zeros(partners.shape, np.int64)
            votes[inside] = self._classes_of(pairs[inside])
            yield majority(votes, inside, self.n_classes)
            self.report("scoring", min(1.0, (start + size) / len(pixel_ids)))

    def _classes_of(self, pairs: Ids) -> Ids:
        """Return the likeliest labelled class of each pair (M, 2); the output for two classes is ignored."""
        with torch.inference_mode():
            logits = self.module(torch.from_numpy(pairs).to(self.device))
            require_finite(logits.cpu().numpy(), "The outputs of CNN-PPF")
            best = logits[:, torch.from_numpy(self.classes + 1).to(self.device)].argmax(dim=1)
        found: Ids = self.classes[best.cpu().numpy()]
        return found


def neighbours(pixel_ids: Ids, height: int, width: int, size: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Return the ids of the other pixels in the window around each pixel, and which of them lie inside the image.

    Args:
        pixel_ids: Centres of the windows, (n,).
        height: Rows of the image.
        width: Columns of the image.
        size: Side of the window, odd.

    Returns:
        Ids and whether they lie inside, (n, size^2 - 1) each; ids outside the image have no meaning.
    """
    steps = np.arange(size) - size // 2
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    offsets = offsets[offsets.any(axis=1)]
    rows = (pixel_ids // width)[:, None] + offsets[:, 0]
    columns = (pixel_ids % width)[:, None] + offsets[:, 1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return rows * width + columns, inside


def majority(votes: Ids, valid: NDArray[np.bool_], n_classes: int) -> Ids:
    """Return the class with most valid votes in each row; of equal ones the smallest class index.

    Args:
        votes: Class indices, (n, K).
        valid: Whether a vote counts, (n, K).
        n_classes: Number of classes.

    Returns:
        Class indices, (n,).
    """
    rows = np.nonzero(valid)[0]
    counts = np.bincount(rows * n_classes + votes[valid], minlength=len(votes) * n_classes)
    most: Ids = counts.reshape(len(votes), n_classes).argmax(axis=1)
    return most
