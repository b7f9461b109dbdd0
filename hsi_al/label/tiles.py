"""Pictures of a scene and its maps in tiles, by the convention of deep zoom images.

Level `max_level` has the full resolution, every lower one half of it. Tile x_y of a level covers columns from
256 x and rows from 256 y of the picture at that level; the last ones are smaller. Lower levels show every n-th pixel.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.report.pages import png
from hsi_al.report.palette import rgb_of
from hsi_al.scenes.preparation import sampled
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.stored import StoredCube

Bytes = NDArray[np.uint8]
SIDE = 256
ROWS_AT_ONCE = 32  # of a cube in its file
SPARSE = 4  # step from which rows are read one by one
SAMPLED_ROWS = 64  # of a cube in its file of which no sample was taken
MOST_TILES = 2000  # rendered tiles of the scene that are kept, about 150 kB each at most
COMPONENTS = 3
# Anchors of cividis (Nunez, Anderton & Renslow 2018), which readers with colour vision deficiency see alike.
CIVIDIS = ((0, 32, 77), (60, 77, 110), (124, 123, 120), (188, 175, 111), (255, 233, 69))


@dataclass(frozen=True)
class Window:
    """The pixels that a tile shows.

    Attributes:
        first: First row.
        last: Last row (exclusive).
        left: First column.
        right: Last column (exclusive).
        step: Every so many rows and columns are shown.
    """

    first: int
    last: int
    left: int
    right: int
    step: int

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what the tile shows of an array (H, W, ...)."""
        return array[self.first : self.last : self.step, self.left : self.right : self.step]


def max_level(height: int, width: int) -> int:
    """Return the level of the full resolution; level 0 has a single pixel."""
    return math.ceil(math.log2(max(height, width, 1)))


def window_of(height: int, width: int, level: int, x: int, y: int) -> Window | None:
    """Return the pixels of a tile; None if there is no such tile."""
    if not 0 <= level <= max_level(height, width) or x < 0 or y < 0:
        return None
    step = 2 ** (max_level(height, width) - level)
    first, left = y * SIDE * step, x * SIDE * step
    if first >= height or left >= width:
        return None
    return Window(first, min(height, first + SIDE * step), left, min(width, left + SIDE * step), step)


class ScenePictures:
    """Tiles of a scene in three of its bands, or in its first three principal components.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.sample: NDArray[np.float64] = np.asarray(sample_of(scene), np.float64)
        self.lock = threading.Lock()
        self._tiles: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._axes: NDArray[np.float64] | None = None

    def tile(self, bands: Sequence[int] | None, contrast: float, window: Window) -> bytes:
        """Return a tile as PNG.

        Args:
            bands: Three bands; None = principal components.
            contrast: Percentage of the values that are cut off at either end.
            window: The pixels.
        """
        key = (None if bands is None else tuple(bands), contrast, window)
        with self.lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        pixels = self._stretched(self._read(window), bands, contrast)
        if self.scene.no_data is not None:
            pixels[window.of(self.scene.no_data)] = 0
        packed = png(pixels)
        with self.lock:
            self._tiles[key] = packed
            while len(self._tiles) > MOST_TILES:
                self._tiles.popitem(last=False)
        return packed

    def _read(self, window: Window) -> NDArray[Any]:
        """Return the values that a tile shows, (h, w, B); of a cube in its file single rows if few are shown."""
        source, step = self.scene.source, window.step
        if not isinstance(source, StoredCube):
            return window.of(source)
        rows = 1 if step >= SPARSE else ROWS_AT_ONCE
        parts = []
        for first in range(window.first, window.last, max(step, rows)):
            values = source.read(first, min(window.last, first + rows), window.left, window.right)
            parts.append(values[::step, ::step])
        return np.concatenate(parts)

    def _stretched(self, values: NDArray[np.generic], bands: Sequence[int] | None, contrast: float) -> Bytes:
        """Return values (h, w, B) as a picture (h, w, 3)."""
        chosen = list(bands) if bands is not None else None
        if chosen is not None:
            shown, sample = values[:, :, chosen].astype(np.float64), self.sample[:, chosen]
        else:
            mean, axes = self.sample.mean(axis=0), self.axes
            # Row by row, since a tile of all bands takes hundreds of megabytes as float64.
            shown = np.stack([(row.astype(np.float64) - mean) @ axes for row in values])
            sample = (self.sample - mean) @ axes
        low, high = np.percentile(sample, (contrast, 100 - contrast), axis=0)
        span = np.where(high > low, high - low, 1.0)
        stretched: Bytes = np.rint(255 * np.clip((shown - low) / span, 0, 1)).astype(np.uint8)
        return stretched

    @property
    def axes(self) -> NDArray[np.float64]:
        """The first three principal axes of the spectra, (B, 3); of fewer bands the last one is repeated."""
        if self._axes is None:
            centred = self.sample - self.sample.mean(axis=0)
            axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :COMPONENTS]
            axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
            self._axes = axes[:, np.minimum(np.arange(COMPONENTS), axes.shape[1] - 1)]
        return self._axes


def sample_of(scene: Scene) -> NDArray[Any]:
    """Return some spectra of a scene, spread evenly, (n, B)."""
    if scene.sample is not None:
        return scene.sample
    if not isinstance(scene.source, StoredCube):
        return sampled(scene.source)
    rows = np.unique(np.linspace(0, scene.height - 1, SAMPLED_ROWS).astype(int)).tolist()
    step = max(1, scene.width // SAMPLED_ROWS)
    return np.concatenate([scene.source.read(row, row + 1)[0, ::step] for row in rows])


def map_tile(classes: NDArray[np.uint8], colours: dict[int, str], window: Window) -> bytes | None:
    """Return a tile of a map (H, W) of label values as PNG, transparent where it is 0; None if it is 0 everywhere."""
    shown = window.of(classes)
    if not shown.any():
        return None
    table = np.zeros((256, 4), np.uint8)
    for value, colour in colours.items():
        table[value] = [*rgb_of(colour), 255]
    return png(table[shown])


def uncertainty_tile(uncertainty: NDArray[np.float32], classes: NDArray[np.uint8], window: Window) -> bytes | None:
    """Return a tile of uncertainties (H, W) from 0 to 1, transparent where the map (H, W) is 0; None if it is there."""
    shown, known = window.of(uncertainty), window.of(classes) > 0
    if not known.any():
        return None
    places, anchors = np.linspace(0, 255, len(CIVIDIS)), np.array(CIVIDIS, np.float64)
    table = np.stack([np.interp(np.arange(256), places, anchors[:, channel]) for channel in range(3)], axis=1)
    levels = np.rint(255 * np.clip(shown.astype(np.float64), 0, 1)).astype(np.uint8)
    colours = np.rint(table).astype(np.uint8)[levels]
    return png(np.dstack([colours, np.where(known, 255, 0).astype(np.uint8)]))
