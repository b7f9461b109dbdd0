"""Time to deliver patches to the network: gathering whole batches against a Dataset that slices one patch per pixel."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.benchmarks.measure import Row, medians, synthetic_cube
from hsi_al.training.datamodule import HsiDataModule
from hsi_al.training.patches import PatchGatherer


class SlicingDataset(Dataset[tuple[Tensor, int]]):
    """The usual Dataset of the field: pads once, then slices, copies and transposes one patch per pixel.

    The DataLoader collates the patches to batches.
    """

    def __init__(self, cube: NDArray[np.uint16], patch_size: int) -> None:
        before, after = patch_size // 2, patch_size - patch_size // 2 - 1
        scaled = cube.astype(np.float32) / cube.max()
        self.padded = np.pad(scaled, ((before, after), (before, after), (0, 0)), mode="symmetric")
        self.width, self.n_pixels, self.patch_size = cube.shape[1], int(np.prod(cube.shape[:2])), patch_size

    def __len__(self) -> int:
        return self.n_pixels

    def __getitem__(self, pixel_id: int) -> tuple[Tensor, int]:
        row, column = divmod(pixel_id, self.width)
        patch = self.padded[row : row + self.patch_size, column : column + self.patch_size]
        return torch.from_numpy(np.copy(patch).transpose(2, 0, 1)), pixel_id


def ours(data: HsiDataModule) -> Iterator[Tensor]:
    """Yield the batches of patches as Lightning makes them from batches of pixel ids."""
    for batch in data.predict_dataloader():
        yield data.on_after_batch_transfer(batch, 0)[0]


def consume(batches: Iterator[object], n: int) -> None:
    """Iterate over n batches.

    Raises:
        RuntimeError: There are fewer.
    """
    if sum(1 for _ in islice(batches, n)) != n:
        raise RuntimeError("Too few batches.")


def measure(
    bands: tuple[int, ...] = (103, 204), batch_size: int = 256, n_batches: int = 4, repeats: int = 5
) -> list[Row]:
    """Measure the time per batch of 32 x 32 patches, in both memory layouts."""
    return [
        compare(n_bands, channels_last, batch_size, n_batches, repeats)
        for n_bands in bands
        for channels_last in (True, False)
    ]


def compare(n_bands: int, channels_last: bool, batch_size: int, n_batches: int, repeats: int) -> Row:
    """Measure one number of bands in one memory layout."""
    cube = synthetic_cube(145, 145, n_bands)
    loader = DataLoader(SlicingDataset(cube, 32), batch_size=batch_size)
    ids = np.arange(batch_size * n_batches)
    data = HsiDataModule(
        PatchGatherer(cube, 32), 145 * 145, ids, predict_batch_size=batch_size, channels_last=channels_last
    )
    data.predict_ids = ids
    if not torch.allclose(next(ours(data)), next(iter(loader))[0], atol=1e-3):
        raise RuntimeError("Both ways must deliver the same patches.")
    theirs, mine = medians(lambda: consume(iter(loader), n_batches), lambda: consume(ours(data), n_batches), repeats)
    return Row(
        f"patch delivery, 32x32x{n_bands}, {'channels last' if channels_last else 'channels first'}",
        f"per-pixel Dataset {1e3 * theirs / n_batches:.0f} ms a batch",
        f"{1e3 * mine / n_batches:.0f} ms",
        theirs / mine,
        ">= 5" if channels_last else "",  # channels first must transpose as the reference does
    )
