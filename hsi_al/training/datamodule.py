"""The LightningDataModule: its loaders give pixel ids, and the patches are gathered on the device that trains."""

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
    """A dataset indexed by a list of B positions, which returns the whole batch as a tuple of tensors (B,).

    The tuple is (pixel_ids,), (pixel_ids, labels) or (pixel_ids, labels, symmetries), as many as there are columns.
    """

    def __init__(self, *columns: NDArray[np.int64]) -> None:
        self.columns = [torch.from_numpy(np.ascontiguousarray(column, dtype=np.int64)) for column in columns]

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, ...]:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return tuple(column[chosen] for column in self.columns)


class TrainingBatches(Sampler[list[int]]):
    """Shuffled batches of positions; a short last batch is kept unless it holds a single pixel.

    Batch normalisation can't train on a single pixel.

    Args:
        n: Number of labelled pixels.
        batch_size: Pixels per batch.
        generator: Source of the shuffling.
        part: Number of this process, from 0, and number of processes; each gets one part of a batch (`part_of`).
        views: Number of views (symmetries) of a pixel; every epoch draws one view per pixel, and view v of pixel i
            has position v * n + i.
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
    """Return the part of a batch that one of several processes trains on; it may be empty.

    The ranking loss compares pixels i and B + 1 - i of a batch of B, without the last pixel if there is an odd one, so
    both go to the same process. The first process also takes that last pixel. If the pairs can't be shared out evenly,
    it gets one pair fewer.

    Args:
        batch: Positions of the whole batch, (B,).
        part: Number of the process, from 0.
        parts: Number of processes.
    """
    pairs = len(batch) // 2
    first, last = part * pairs // parts, (part + 1) * pairs // parts
    odd = batch[2 * pairs :] if part == 0 else []
    return batch[first:last] + batch[2 * pairs - last : 2 * pairs - first] + odd


def batches_per_epoch(n: int, batch_size: int) -> int:
    """Return the number of batches in an epoch over n pixels; a last batch of a single pixel is skipped."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1)


class HsiDataModule(L.LightningDataModule):
    """Loaders of the labelled pool for training, and of any pixels for prediction.

    Args:
        gatherer: Turns pixel ids into patches on its device.
        n_pixels: Number of pixels of the scene.
        candidates: Ids of the pixels that may be labelled, (N,).
        batch_size: Pixels per training batch; at most the size of the labelled pool.
        predict_batch_size: Pixels per batch of the prediction loader.
        channels_last: Whether patches stay in the memory order they are gathered in (bands innermost) or are made
            contiguous (bands outermost).
        part: Number of this process, from 0, and number of processes that share every training batch.
        augment: Whether training shows each patch in one of its eight `SYMMETRIES`, drawn anew in every epoch.
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
        """Set the labelled pool that `train_dataloader` serves, and restart its shuffling.

        Args:
            pixel_ids: Labelled pixels, at least two, (n,).
            labels: Class indices, (n,).
            seed: Seed of the shuffling.

        Raises:
            PoolError: Fewer than two pixels.
        """
        if len(pixel_ids) < 2:
            raise PoolError(f"{len(pixel_ids)} labelled pixel(s) can't train a network; label at least two.")
        self.gatherer.keep(pixel_ids)
        self.labelled_ids, self.labels = pixel_ids, labels
        self.shuffling.manual_seed(seed)

    @property
    def unlabelled_ids(self) -> Ids:
        """Ids of the candidates that are not labelled, ascending."""
        return np.setdiff1d(self.candidates, self.labelled_ids)

    @property
    def all_ids(self) -> Ids:
        """Ids of all pixels of the scene, background included, ascending."""
        return np.arange(self.n_pixels, dtype=np.int64)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return a loader of batches (pixel_ids, labels) of the labelled pool.

        `on_after_batch_transfer` replaces the ids by patches. With `augment` the dataset holds every pixel once per
        symmetry, and batches are (pixel_ids, labels, symmetries).
        """
        n, views = len(self.labelled_ids), SYMMETRIES if self.augment else 1
        columns = [np.tile(self.labelled_ids, views), np.tile(self.labels, views)]
        if self.augment:
            columns.append(np.repeat(np.arange(views), n))
        batches = TrainingBatches(n, min(self.batch_size, n), self.shuffling, self.part, views)
        return DataLoader(PixelDataset(*columns), sampler=batches, batch_size=None)

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return a loader of batches (pixel_ids,) of `predict_ids`, in their order.

        Set `predict_ids` first, for example to `unlabelled_ids` or `all_ids`.
        """
        n, size = len(self.predict_ids), self.predict_batch_size
        batches = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
        return DataLoader(PixelDataset(self.predict_ids), sampler=batches, batch_size=None)

    def on_after_batch_transfer(self, batch: tuple[Tensor, ...], dataloader_idx: int) -> tuple[Tensor, ...]:
        """Replace the pixel ids of a batch, already on the device, by their patches (B, bands, P, P).

        The next batch overwrites these patches: all batches use the same memory, since allocating fresh pages from
        the system takes longer than filling them (experiments/benchmarks).
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
        """Return memory for n patches, (n * P * P, bands): a part of the buffer that all batches share."""
        cube, n_pixels = self.gatherer.padded, n_patches * self.gatherer.patch_size**2
        if self.buffer.device != cube.device or len(self.buffer) < n_pixels:
            with torch.inference_mode(False):  # training could not write to a tensor made while scoring
                self.buffer = cube.new_empty(n_pixels, cube.shape[-1])
        return self.buffer[:n_pixels]
