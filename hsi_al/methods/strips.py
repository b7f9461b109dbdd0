"""Features of pixels computed strip by strip, in the same way for cubes in memory and cubes that stay in their file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.errors import LearnerError
from hsi_al.outputs import Progress
from hsi_al.scenes.arrays import blocks
from hsi_al.scenes.stored import Cube, StoredCube

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
STRIP_BYTES = 2**25  # of a strip's values as float32, without the rows around it


class Rows(Protocol):
    """Values of a scene that are read by rows, as an array (H, W, bands) is."""

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102

    def __getitem__(self, rows: slice, /) -> NDArray[np.generic]: ...


@dataclass(frozen=True)
class Strip:
    """Whole rows of a scene, with the rows around them that their features depend on.

    Attributes:
        first: First row.
        last: Last row (exclusive).
        top: First row to read: `halo` rows before `first`, or the scene's first one.
        bottom: Last row to read (exclusive): `halo` rows after `last`, or the scene's last one.
    """

    first: int
    last: int
    top: int
    bottom: int

    def read(self, cube: "Cube | Rows") -> Floats:
        """Return the values of a cube (H, W, bands) in this strip and around it, (bottom - top, W, bands).

        Raises:
            SceneError: The cube's file is damaged, or holds NaN or infinite values.
        """
        window = cube.read(self.top, self.bottom) if isinstance(cube, StoredCube) else cube[self.top : self.bottom]
        return window.astype(np.float32)

    def inner(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the strip's own rows of values (bottom - top, ...) that were computed for all rows read."""
        return values[self.first - self.top : self.last - self.top]


def strips_of(shape: tuple[int, ...], halo: int = 0) -> list[Strip]:
    """Divide a scene into strips of `STRIP_BYTES`, which depend on shape and halo alone, not on where the cube lies.

    A strip has at least one row, and at least three times `halo`: with fewer, most of the work would be done on halos.

    Args:
        shape: (H, W, bands) of the cube.
        halo: Rows above and below a pixel that its features depend on.
    """
    height, width, n_bands = shape
    size = max(1, 3 * halo, STRIP_BYTES // (4 * width * n_bands))
    return [Strip(first, last, max(0, first - halo), min(height, last + halo)) for first, last in blocks(height, size)]


def spread(strips: Sequence[Strip], width: int, most: int) -> list[Strip]:
    """Return every k-th strip of a scene of this width, so that they hold about `most` pixels; at least one."""
    step = max(1, -(-(strips[-1].last - strips[0].first) * width // most))
    return list(strips[min(step, len(strips)) // 2 :: step])


class ByStrips:
    """Base class of extractors that learn once, without labels, and whose features are computed strip by strip.

    Attributes:
        strips: The features; None before `fit` or `restore`.
        progress: Called with the progress of `fit`, unless it is None.
    """

    once = True
    progress: Progress | None = None
    strips: "StripFeatures | None" = None

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, D).

        Raises:
            LearnerError: `fit` or `restore` has not been called.
            SceneError: The cube's file is damaged.
        """
        if self.strips is None:
            raise LearnerError("There are no features before the scene has been looked through: call fit first.")
        return self.strips.at(pixel_ids)


class StripFeatures:
    """Features of the pixels of a scene, which a function computes from one strip at a time.

    The features of the whole scene are kept if they fit the memory granted. If not, those of the pixels asked for are
    computed anew, by strips that hold such a pixel, of which the latest one is kept: ascending pixel ids compute each
    strip once. Either way a pixel's features are the same to the last bit.

    Args:
        cube: (H, W, bands); anything of which rows can be read.
        compute: Function that turns the values of consecutive rows (h, W, bands), float32, into their features
            (h, W, D), and may overwrite the values. Features of the outer `halo` rows are not used, unless they are the
            scene's first or last rows.
        n_features: D.
        halo: Rows above and below a pixel that its features depend on.
        memory_gb: Largest size of the features of the whole scene that are kept, 10^9 bytes of float32.

    Attributes:
        progress: Called after each strip while the features of the whole scene are computed, unless it is None.
    """

    def __init__(
        self,
        cube: Cube | Rows,
        compute: Callable[[Floats], NDArray[np.floating]],
        n_features: int,
        halo: int,
        memory_gb: float,
    ) -> None:
        self.cube, self.compute, self.n_features, self.halo = cube, compute, n_features, halo
        self.height, self.width, _ = cube.shape
        self.strips = strips_of(cube.shape, halo)
        self.fits = 4 * self.height * self.width * n_features <= memory_gb * 1e9
        self.progress: Progress | None = None
        self.held: tuple[int, Floats] | None = None  # number and features (pixels, D) of the latest strip
        self.kept_ids: Ids = np.empty(0, np.int64)  # ascending
        self.kept: Floats = np.empty((0, n_features), np.float32)

    def at(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), in their order, (n, D).

        Raises:
            SceneError: The cube's file is damaged.
        """
        if self.fits:
            return self.table[pixel_ids]
        found = np.empty((len(pixel_ids), self.n_features), np.float32)
        places = np.searchsorted(self.kept_ids, pixel_ids)
        known = np.append(self.kept_ids, -1)[places] == pixel_ids
        found[known] = self.kept[places[known]]
        unknown = np.flatnonzero(~known)
        pixels_of_a_strip = (self.strips[0].last - self.strips[0].first) * self.width
        numbers = pixel_ids[unknown] // pixels_of_a_strip
        for number in np.unique(numbers).tolist():
            chosen = unknown[numbers == number]
            found[chosen] = self.of_strip(number)[pixel_ids[chosen] - number * pixels_of_a_strip]
        return found

    def keep(self, pixel_ids: Ids) -> None:
        """Keep the features of pixels that are asked for often, such as labelled ones; costs nothing if all are kept.

        Raises:
            SceneError: The cube's file is damaged.
        """
        new = np.setdiff1d(pixel_ids, self.kept_ids)
        if self.fits or not len(new):
            return
        ids, features = np.concatenate([self.kept_ids, new]), np.concatenate([self.kept, self.at(new)])
        order = np.argsort(ids)
        self.kept_ids, self.kept = ids[order], features[order]

    @cached_property
    def table(self) -> Floats:
        """Features of all pixels, (H * W, D)."""
        table = np.empty((self.height * self.width, self.n_features), np.float32)
        for number, strip in enumerate(self.strips):
            self._compute(number, table[strip.first * self.width : strip.last * self.width])
            if self.progress is not None:
                self.progress(f"features {number + 1}/{len(self.strips)}", (number + 1) / len(self.strips))
        return table

    def some(self, most: int) -> Iterator[Floats]:
        """Yield the features of strips that are evenly spread over the scene and hold about `most` pixels, (h, W, D).

        Raises:
            SceneError: The cube's file is damaged.
        """
        for strip in spread(self.strips, self.width, most):
            rows = slice(strip.first * self.width, strip.last * self.width)
            features = self.table[rows] if self.fits else self.of_strip(self.strips.index(strip))
            yield features.reshape(-1, self.width, self.n_features)

    def of_strip(self, number: int) -> Floats:
        """Return the features of a strip's pixels, (pixels, D)."""
        if self.held is None or self.held[0] != number:
            self.held = None  # frees its memory first
            strip = self.strips[number]
            features = np.empty(((strip.last - strip.first) * self.width, self.n_features), np.float32)
            self._compute(number, features)
            self.held = number, features
        return self.held[1]

    def _compute(self, number: int, features: Floats) -> None:
        """Fill in the features (pixels, D) of a strip's pixels."""
        interrupts.check()
        strip = self.strips[number]
        rows = features.reshape(-1, self.width, self.n_features)
        rows[:] = strip.inner(self.compute(strip.read(self.cube)))
