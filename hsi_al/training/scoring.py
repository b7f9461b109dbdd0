"""The batch size of scoring: chosen by the free memory of a GPU, and halved where the memory is not enough."""

from collections.abc import Callable
from typing import TypeVar

import torch

from hsi_al.training.datamodule import HsiDataModule

T = TypeVar("T")
PROBE = 64  # patches scored to measure the memory that one patch needs
SHARE = 0.25  # part of the free memory that is used: other runs may share the GPU
SMALLEST, LARGEST = 16, 4096  # batch sizes; above 4096 a larger batch is no faster


def fitting_size(free_bytes: float, bytes_per_patch: float) -> int:
    """Return the largest power of two whose patches need at most `SHARE` of the free memory.

    It lies between `SMALLEST` and `LARGEST`. Powers of two make it likely that a continued run scores in the same
    batches as before, although the free memory differs a little.
    """
    wanted = int(SHARE * free_bytes / max(1.0, bytes_per_patch))
    return min(LARGEST, max(SMALLEST, 1 << max(0, wanted.bit_length() - 1)))


def measured_size(score: Callable[[int], object], device: torch.device) -> int:
    """Return the batch size that fits this GPU, by the peak memory of `score(n)`, which scores n patches."""
    score(1)  # loads the kernels
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    score(PROBE)
    needed = torch.cuda.max_memory_allocated(device) - before
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return fitting_size(torch.cuda.mem_get_info(device)[0] + cached, needed / PROBE)


def halving(score: Callable[[], T], data: HsiDataModule) -> T:
    """Call `score`, and again with half the batch size as long as the GPU runs out of memory; print a line each time.

    Raises:
        torch.cuda.OutOfMemoryError: The memory is not enough for a single patch.
    """
    while True:
        try:
            return score()
        except torch.cuda.OutOfMemoryError:
            if data.predict_batch_size == 1:
                raise
        size = data.predict_batch_size // 2  # outside the handler, since the error keeps the GPU's tensors alive
        print(f"Scoring {data.predict_batch_size} patches at once needs too much memory; trying {size}.", flush=True)
        data.predict_batch_size = size
        data.buffer = torch.empty(0)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
