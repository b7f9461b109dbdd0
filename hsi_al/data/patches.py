"""One padded, normalised cube on the device; patches are gathered from it by pixel id."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError


def value_range(cube: NDArray[np.generic]) -> tuple[float, float]:
    """The one global minimum and maximum over all pixels and bands that normalisation uses."""
    return float(cube.min()), float(cube.max())


class PatchGatherer(nn.Module):
    """Pixel ids (N,) -> patches (N, bands, P, P), the window [i - P//2, i - P//2 + P) around each pixel.

    Every pixel has a patch, at the border too: the cube is mirror-padded with its edge repeated (numpy `symmetric`).
    The values are scaled to [0, 1] by one global minimum and maximum. The cube stays in memory once, band last, so
    that a gathered batch is `channels_last` without a copy.

    Args:
        cube: (H, W, bands), any real type.
        patch_size: P.
        limits: Minimum and maximum of the normalisation; default: those of this cube.
        halo: Rows above and below those that have ids: a strip of a larger scene comes with its neighbours.

    Raises:
        ConfigurationError: The patch is larger than mirror padding of this scene allows.
    """

    padded: Tensor
    window: Tensor

    def __init__(
        self,
        cube: NDArray[np.generic],
        patch_size: int = 32,
        limits: tuple[float, float] | None = None,
        halo: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        height, width, _ = cube.shape
        before, after = patch_size // 2, patch_size - patch_size // 2 - 1
        missing = before - halo[0], after - halo[1]
        if max(missing) > height or before > width:
            raise ConfigurationError(
                f"patch_size={patch_size} is larger than mirror padding of a {height}x{width} scene allows: "
                f"at most {2 * min(height, width) + 1}."
            )
        self.patch_size, self.width = patch_size, width
        self.limits = value_range(cube) if limits is None else limits
        # Pad first in the original type, mostly a small integer, so that only one float copy exists.
        padded = np.pad(cube, (missing, (before, after), (0, 0)), mode="symmetric")
        scaled = torch.from_numpy(padded.astype(np.float32, copy=False))
        scaled.sub_(self.limits[0]).div_(self.limits[1] - self.limits[0])
        self.register_buffer("padded", scaled.contiguous(), persistent=False)
        self.register_buffer("window", torch.arange(patch_size), persistent=False)

    def forward(self, pixel_ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Patches (N, bands, P, P) in `channels_last` order, on the device of the cube.

        `out` (N * P * P, bands), if given, receives the values, and the patches are a view of it.
        """
        rows = (pixel_ids // self.width)[:, None] + self.window
        columns = (pixel_ids % self.width)[:, None] + self.window
        flat = rows[:, :, None] * self.padded.shape[1] + columns[:, None, :]
        pixels = torch.index_select(self.padded.flatten(0, 1), 0, flat.flatten(), out=out)
        return pixels.view(*flat.shape, self.padded.shape[2]).permute(0, 3, 1, 2)
