"""The LightningDataModule: it serves pixel ids, and patches appear on the device that trains."""

from collections.abc import Iterator

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hsi_al.errors import PoolError
from hsi_al.training.patches import SYMMETRIES, PatchGatherer, transformed

Ids = NDArray[np.int64]


class PixelDataset(Dataset[tuple[Tensor, ...]]):
    """Whole batches by index list: (pixel_ids (B,),), (pixel_ids (B,), labels (B,)) or those and symmetries (B,)."""

    def __init__(self, *columns: NDArray[np.int64]) -> None:
        self.columns = [torch.from_numpy(np.ascontiguousarray(column, dtype=np.int64)) for column in columns]

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, ...]:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return tuple(column[chosen] for column in self.columns)


class TrainingBatches(Sampler[list[int]]):
    """Shuffled batches; the short last one is kept, unless it holds a single pixel (BN can't train on one).

    Args:
        n: Number of labelled pixels.
        batch_size: Pixels per batch.
        generator: Source of the shuffling.
        part: Which part of every batch (`part_of`), of how many.
        views: How many a pixel has; every epoch draws one of each, and view v of pixel i lies at v * n + i.
    """

    def __init__(
        self, n: int, batch_size: int, generator: torch.Generator, part: tuple[int, int] = (0, 1), views: int = 1
    ) -> None:
        self.n, self.batch_size, self.generator, self.part, self.views = n, batch_size, generator, part, views

    def __len__(self) -> int:
        return batches_per_epoch(self.n, self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        pixels = torch.randperm(self.n, generator=self.generator)
        if self.views > 1:
            pixels += self.n * torch.randint(self.views, (self.n,), generator=self.generator)
        order = pixels.tolist()
        for batch in range(len(self)):
            yield part_of(order[batch * self.batch_size : (batch + 1) * self.batch_size], *self.part)


def part_of(batch: list[int], part: int, parts: int) -> list[int]:
    """What one of several processes trains on, maybe nothing: pairs (i, B + 1 - i) of the ranking loss stay together.

    The first one takes the odd one out, and a pair fewer where they don't divide.
    """
    pairs = len(batch) // 2
    first, last = part * pairs // parts, (part + 1) * pairs // parts
    odd = batch[2 * pairs :] if part == 0 else []
    return batch[first:last] + batch[2 * pairs - last : 2 * pairs - first] + odd


def batches_per_epoch(n: int, batch_size: int) -> int:
    """Batches of an epoch over n pixels: a last batch of one pixel is skipped."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1)


class HsiDataModule(L.LightningDataModule):
    """Labelled pixels for training; unlabelled, all or chosen pixels for prediction.

    Args:
        gatherer: Turns pixel ids into patches on its device.
        n_pixels: Number of pixels of the scene.
        candidates: Pixel ids that may be labelled, (N,).
        batch_size: Training batch; clamped to the labelled pool.
        predict_batch_size: Batch of the prediction loaders.
        channels_last: Keep the gathered order (bands innermost) or make the patches contiguous.
        part: Which part of every training batch, of how many.
        augment: Whether training sees each patch as one of its eight `SYMMETRIES`, drawn anew in every epoch.
    """

    def __init__(
        self,
        gatherer: PatchGatherer,
        n_pixels: int,
        candidates: Ids,
        batch_size: int = 10,
        predict_batch_size: int = 256,
        channels_last: bool = True,
        part: tuple[int, int] = (0, 1),
        augment: bool = False,
    ) -> None:
        super().__init__()
        self.gatherer = gatherer
        self.n_pixels = n_pixels
        self.candidates = candidates
        self.batch_size = batch_size
        self.predict_batch_size = predict_batch_size
        self.channels_last = channels_last
        self.part = part
        self.augment = augment
        self.labelled_ids: Ids = np.empty(0, np.int64)
        self.labels: Ids = np.empty(0, np.int64)
        self.predict_ids: Ids = np.empty(0, np.int64)
        self.shuffling = torch.Generator()
        self.buffer = torch.empty(0)

    def set_labelled(self, pixel_ids: Ids, labels: NDArray[np.int64], seed: int) -> None:
        """Train on these pixels from now on, shuffled from `seed`.

        Args:
            pixel_ids: (n,), at least two.
            labels: Class indices, (n,).
            seed: Seed of the shuffling.

        Raises:
            PoolError: Fewer than two pixels.
        """
        if len(pixel_ids) < 2:
            raise PoolError(f"{len(pixel_ids)} labelled pixel(s) can't train a network: two at least.")
        self.gatherer.keep(pixel_ids)
        self.labelled_ids, self.labels = pixel_ids, labels
        self.shuffling.manual_seed(seed)

    @property
    def unlabelled_ids(self) -> Ids:
        """Candidates that are not labelled, ascending."""
        return np.setdiff1d(self.candidates, self.labelled_ids)

    @property
    def all_ids(self) -> Ids:
        """Every pixel of the scene, background included."""
        return np.arange(self.n_pixels, dtype=np.int64)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches (pixel_ids, labels) of the labelled pool; patches after the transfer.

        With `augment` the dataset holds every pixel in all its symmetries, (pixel_ids, labels, symmetries).
        """
        n, views = len(self.labelled_ids), SYMMETRIES if self.augment else 1
        columns = [np.tile(self.labelled_ids, views), np.tile(self.labels, views)]
        if self.augment:
            columns.append(np.repeat(np.arange(views), n))
        batches = TrainingBatches(n, min(self.batch_size, n), self.shuffling, self.part, views)
        return DataLoader(PixelDataset(*columns), sampler=batches, batch_size=None)

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches (pixel_ids,) of `predict_ids` in order; set it to `unlabelled_ids`, `all_ids` or a choice."""
        n, size = len(self.predict_ids), self.predict_batch_size
        batches = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
        return DataLoader(PixelDataset(self.predict_ids), sampler=batches, batch_size=None)

    def on_after_batch_transfer(self, batch: tuple[Tensor, ...], dataloader_idx: int) -> tuple[Tensor, ...]:
        """Replace the pixel ids, which are on the device now, by their patches (B, bands, P, P).

        The next batch overwrites the patches of this one: all use the same memory, since fetching fresh
        pages from the system takes longer than filling them (experiments/benchmarks).
        """
        pixel_ids, *rest = batch
        symmetries = rest.pop() if len(rest) == 2 else None
        if self.gatherer.padded.device != pixel_ids.device:
            self.gatherer.to(pixel_ids.device)
        patches = self.gatherer(pixel_ids, self.room_for(len(pixel_ids)))
        if symmetries is not None:
            patches = transformed(patches, symmetries)
        return (patches if self.channels_last else patches.contiguous(), *rest)

    def room_for(self, n_patches: int) -> Tensor:
        """The part of the kept memory that n patches need, (n * P * P, bands)."""
        cube, n_pixels = self.gatherer.padded, n_patches * self.gatherer.patch_size**2
        if self.buffer.device != cube.device or len(self.buffer) < n_pixels:
            with torch.inference_mode(False):  # training could not write to a tensor made while scoring
                self.buffer = cube.new_empty(n_pixels, cube.shape[-1])
        return self.buffer[:n_pixels]
