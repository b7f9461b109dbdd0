"""How many patches are scored at once: by the memory that is free on a GPU, and fewer where that is not enough."""

from collections.abc import Callable
from typing import TypeVar

import torch

from hsi_al.training.datamodule import HsiDataModule

T = TypeVar("T")
PROBE = 64  # patches that tell what one needs
SHARE = 0.25  # of the free memory: other runs may share the GPU
SMALLEST, LARGEST = 16, 4096  # beyond, a larger batch is no faster


def fitting_size(free_bytes: float, bytes_per_patch: float) -> int:
    """The largest power of two between `SMALLEST` and `LARGEST` that takes at most `SHARE` of the free memory.

    Powers of two, since a run that continues should score as before though the free memory differs a little.
    """
    wanted = int(SHARE * free_bytes / max(1.0, bytes_per_patch))
    return min(LARGEST, max(SMALLEST, 1 << max(0, wanted.bit_length() - 1)))


def measured_size(score: Callable[[int], object], device: torch.device) -> int:
    """The batch size that fits this GPU, from the memory that `score(n)` needs at its peak for n patches."""
    score(1)  # loads the kernels
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    score(PROBE)
    needed = torch.cuda.max_memory_allocated(device) - before
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return fitting_size(torch.cuda.mem_get_info(device)[0] + cached, needed / PROBE)


def halving(score: Callable[[], T], data: HsiDataModule) -> T:
    """Score, and where the GPU's memory is not enough, again with half the batch; a line says so.

    Raises:
        torch.cuda.OutOfMemoryError: A single patch is too much.
    """
    while True:
        try:
            return score()
        except torch.cuda.OutOfMemoryError:
            if data.predict_batch_size == 1:
                raise
        size = data.predict_batch_size // 2  # behind the handler: the error holds what the GPU has to free
        print(f"{data.predict_batch_size} patches scored at once outgrow the free memory; now {size}.", flush=True)
        data.predict_batch_size = size
        data.buffer = torch.empty(0)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
