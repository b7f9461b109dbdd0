"""Patches by pixel id, gathered from one padded, normalised cube that is on the device whole or strip by strip."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError
from hsi_al.scenes.stored import Cube, StoredCube, value_range

SYMMETRIES = 8  # of a square
STRIP_BYTES = 2**28  # float32 bytes in memory at once of a cube that stays in its file


def mirrored(cube: Cube, rows: tuple[int, int], columns: tuple[int, int], limits: tuple[float, float]) -> Tensor:
    """Return a normalised window (h, w, bands) of the cube in float32, mirror-padded where it leaves the cube.

    The mirroring repeats the edge pixels (numpy `symmetric`).

    Args:
        cube: (H, W, bands).
        rows: First and last (exclusive) row of the window; both may lie outside the cube.
        columns: First and last (exclusive) column of the window; both may lie outside the cube.
        limits: Values that become 0 and 1.
    """
    (top, bottom), (left, right) = (
        (max(0, first), min(size, last)) for (first, last), size in zip((rows, columns), cube.shape, strict=False)
    )
    window = cube.read(top, bottom, left, right) if isinstance(cube, StoredCube) else cube[top:bottom, left:right]
    missing = ((top - rows[0], rows[1] - bottom), (left - columns[0], columns[1] - right), (0, 0))
    # Pad first in the original type, mostly a small integer, so that only one float copy exists.
    padded = np.pad(window, missing, mode="symmetric")
    scaled = torch.from_numpy(padded.astype(np.float32, copy=False))
    return scaled.sub_(limits[0]).div_(limits[1] - limits[0]).contiguous()


def transformed(patches: Tensor, symmetries: Tensor) -> Tensor:
    """Return the patches (N, bands, P, P), each turned and mirrored by its own symmetry of the square.

    Args:
        patches: (N, bands, P, P), in `channels_last` memory order; the result has the same order.
        symmetries: One number below `SYMMETRIES` per patch, (N,): s = 4 f + k turns by k quarters (`torch.rot90` over
            rows and columns), then mirrors the columns if f = 1.
    """
    size = patches.shape[2]
    places = torch.arange(size * size, device=patches.device).view(size, size)
    turned = [torch.rot90(places, k) for k in range(4)]
    views = torch.stack([view.flatten() for view in turned + [turn.flip(1) for turn in turned]])
    pixels = patches.permute(0, 2, 3, 1).flatten(1, 2)
    first = torch.arange(len(pixels), device=pixels.device)[:, None]
    seen: Tensor = pixels[first, views[symmetries]]
    return seen.view(-1, size, size, patches.shape[1]).permute(0, 3, 1, 2)


class PatchGatherer(nn.Module):
    """Module that turns pixel ids (N,) into patches (N, bands, P, P).

    The patch of a pixel spans rows and columns [i - P//2, i - P//2 + P) around it. Pixels at the border have patches,
    too: the cube is mirror-padded with its edge repeated (numpy `symmetric`). The values are scaled to [0, 1] by one
    global minimum and maximum. One copy of the cube is in memory, bands last, so that a gathered batch is
    `channels_last` without a copy.

    Args:
        cube: (H, W, bands), any real type.
        patch_size: P.
        limits: Minimum and maximum of the normalisation; default: those of this cube.
        n_rows: Number of rows, from the first, whose patches can be gathered; default: all.

    Raises:
        ConfigurationError: The patch is larger than mirror padding of this scene allows.
    """

    padded: Tensor
    window: Tensor

    def __init__(
        self,
        cube: Cube,
        patch_size: int = 32,
        limits: tuple[float, float] | None = None,
        n_rows: int | None = None,
    ) -> None:
        super().__init__()
        height, width, _ = cube.shape
        if patch_size // 2 > min(height, width):
            raise ConfigurationError(
                f"patch_size={patch_size} is larger than mirror padding of a {height}x{width} scene allows: "
                f"at most {2 * min(height, width) + 1}."
            )
        self.patch_size, self.width = patch_size, width
        self.limits = value_range(cube) if limits is None else limits
        self.register_buffer("padded", self.around(cube, (0, n_rows or height), (0, width)), persistent=False)
        self.register_buffer("window", torch.arange(patch_size), persistent=False)

    def around(self, cube: Cube, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """Return the normalised pixels of a window, given by first and last (exclusive) row and column.

        The window is enlarged by all pixels that lie in the patches of its pixels.
        """
        before, after = self.patch_size // 2, self.patch_size - self.patch_size // 2 - 1
        wider = [(first - before, last + after) for first, last in (rows, columns)]
        return mirrored(cube, wider[0], wider[1], self.limits)

    def keep(self, pixel_ids: NDArray[np.int64]) -> None:
        """Prepare to gather the patches of these pixels often and in any order; a cube in memory needs nothing."""

    def forward(self, pixel_ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Return patches (N, bands, P, P) in `channels_last` order, on the device of the cube.

        If `out` (N * P * P, bands) is given, the values are written to it, and the patches are a view of it.
        """
        rows = (pixel_ids // self.width)[:, None] + self.window
        columns = (pixel_ids % self.width)[:, None] + self.window
        flat = rows[:, :, None] * self.padded.shape[1] + columns[:, None, :]
        pixels = torch.index_select(self.padded.flatten(0, 1), 0, flat.flatten(), out=out)
        return pixels.view(*flat.shape, self.padded.shape[2]).permute(0, 3, 1, 2)


class StripGatherer(PatchGatherer):
    """A `PatchGatherer` for a cube that stays in its file; it gives the same patches.

    One strip of rows is in memory at a time, with the rows around it that its patches cover. For ascending pixel ids
    the file is read once, and only the strips that hold these pixels. Patches of labelled pixels, which training needs
    in any order, are kept in memory (`keep`).

    Args:
        cube: The cube in its file.
        patch_size: P.
        limits: Minimum and maximum of the normalisation; default: those of this cube.

    Raises:
        ConfigurationError: The patch is larger than mirror padding of this scene allows.
        SceneError: The file is damaged, or holds NaN or infinite values.
    """

    kept_ids: Tensor
    kept: Tensor

    def __init__(self, cube: StoredCube, patch_size: int = 32, limits: tuple[float, float] | None = None) -> None:
        height, width, n_bands = cube.shape
        n_rows = min(height, max(1, STRIP_BYTES // (4 * width * n_bands)))
        super().__init__(cube, patch_size, limits, n_rows)
        self.cube, self.n_rows = cube, n_rows
        self.strip = 0  # number of the strip in memory
        self.register_buffer("kept_ids", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("kept", torch.empty(0, patch_size**2 * n_bands), persistent=False)

    def forward(self, pixel_ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Return patches as `PatchGatherer.forward` does; strips that are not in memory are read from the file."""
        places = torch.searchsorted(self.kept_ids, pixel_ids).clamp(max=max(0, len(self.kept_ids) - 1))
        if len(self.kept_ids) and torch.equal(self.kept_ids[places], pixel_ids):
            out = out if out is None else out.view(len(pixel_ids), -1)
            return self.as_patches(torch.index_select(self.kept, 0, places, out=out))
        strips = pixel_ids // (self.n_rows * self.width)
        numbers = strips.unique().tolist()
        if len(numbers) == 1:
            return super().forward(self.inside(numbers[0], pixel_ids), out)
        whole = self.kept.new_empty(len(pixel_ids), self.kept.shape[1]) if out is None else out.view(len(pixel_ids), -1)
        for number in numbers:
            chosen = (strips == number).nonzero().flatten()
            patches = super().forward(self.inside(number, pixel_ids[chosen]))
            whole[chosen] = patches.permute(0, 2, 3, 1).flatten(1)
        return self.as_patches(whole)

    def as_patches(self, rows: Tensor) -> Tensor:
        """Reshape flat patches (N, P * P * bands) to (N, bands, P, P)."""
        return rows.view(len(rows), self.patch_size, self.patch_size, -1).permute(0, 3, 1, 2)

    def inside(self, strip: int, pixel_ids: Tensor) -> Tensor:
        """Read a strip unless it is already in memory; return the pixel ids counted from its first pixel, (N,)."""
        first = strip * self.n_rows
        if strip != self.strip:
            device = self.padded.device
            self.padded, self.strip = self.padded.new_empty(0), -1  # frees memory; no strip is valid if reading fails
            rows = first, min(first + self.n_rows, self.cube.shape[0])
            self.padded = self.around(self.cube, rows, (0, self.width)).to(device)
            self.strip = strip
        inside: Tensor = pixel_ids - first * self.width
        return inside

    def keep(self, pixel_ids: NDArray[np.int64]) -> None:
        """Read the patches of these pixels one at a time and keep them; patches already kept are not read again."""
        new = np.setdiff1d(pixel_ids, self.kept_ids.cpu().numpy())
        patches = [self.patch_of(*divmod(pixel_id, self.width)).to(self.kept) for pixel_id in new.tolist()]
        ids = torch.cat([self.kept_ids, torch.from_numpy(new).to(self.kept_ids)])
        self.kept_ids, order = ids.sort()
        self.kept = torch.cat([self.kept, *patches])[order]

    def patch_of(self, row: int, column: int) -> Tensor:
        """Read the patch of one pixel from the file, (1, P * P * bands)."""
        return self.around(self.cube, (row, row + 1), (column, column + 1)).reshape(1, -1)


def gatherer_of(cube: Cube, patch_size: int = 32, limits: tuple[float, float] | None = None) -> PatchGatherer:
    """Return a gatherer for a cube in memory or in its file; arguments and errors as for `PatchGatherer`."""
    if isinstance(cube, StoredCube):
        return StripGatherer(cube, patch_size, limits)
    return PatchGatherer(cube, patch_size, limits)
