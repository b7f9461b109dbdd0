"""Features of a large scene, tile by tile: a person looks at tiles, and a strip of a wide scene takes seconds."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.label.tiles import SIDE
from hsi_al.methods.base import Learner
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.strips import ByStrips, StripFeatures

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class TileFeatures(StripFeatures):
    """Features as `StripFeatures` computes them, up to rounding, from the rectangles that pixels are asked in.

    The latest tiles are held as far as the memory goes; single pixels that were kept stay.

    Args:
        strips: The features by strips.
        memory_gb: 10^9 bytes of tiles held.
    """

    def __init__(self, strips: StripFeatures, memory_gb: float) -> None:
        super().__init__(strips.cube, strips.compute, strips.n_features, strips.halo, 0.0)
        self.across = -(-self.width // SIDE)
        self.most = max(1, int(memory_gb * 1e9 / (4 * SIDE * SIDE * self.n_features)))
        self.tiles: OrderedDict[int, Floats] = OrderedDict()
        self.single: dict[int, tuple[Ids, Floats]] = {}  # tile -> pixel ids, ascending, and features

    def at(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), in their order, (n, D)."""
        found = np.empty((len(pixel_ids), self.n_features), np.float32)
        tiles = pixel_ids // self.width // SIDE * self.across + pixel_ids % self.width // SIDE
        for tile in np.unique(tiles).tolist():
            places = np.flatnonzero(tiles == tile)
            found[places] = self._in_tile(tile, pixel_ids[places])
        return found

    def keep(self, pixel_ids: Ids) -> None:
        """Keep the features of pixels that are asked for often."""
        tiles = pixel_ids // self.width // SIDE * self.across + pixel_ids % self.width // SIDE
        for tile in np.unique(tiles).tolist():
            ids, features = self.single.get(tile, (np.empty(0, np.int64), np.empty((0, self.n_features), np.float32)))
            new = np.setdiff1d(pixel_ids[tiles == tile], ids)
            if len(new):
                features = np.concatenate([features, self._in_tile(tile, new)])
                ids = np.concatenate([ids, new])
                order = np.argsort(ids)
                self.single[tile] = ids[order], features[order]

    def _in_tile(self, tile: int, pixel_ids: Ids) -> Floats:
        """Return the features of pixels of one tile."""
        found: Floats
        first, left = tile // self.across * SIDE, tile % self.across * SIDE
        last, right = min(self.height, first + SIDE), min(self.width, left + SIDE)
        rows, columns = np.divmod(pixel_ids, self.width)
        if tile in self.tiles:
            self.tiles.move_to_end(tile)
            found = self.tiles[tile][(rows - first) * (right - left) + columns - left]
            return found
        if tile in self.single:
            ids, features = self.single[tile]
            places = np.minimum(np.searchsorted(ids, pixel_ids), len(ids) - 1)
            if (ids[places] == pixel_ids).all():
                found = features[places]
                return found
        box = int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1
        if 2 * (box[1] - box[0]) * (box[3] - box[2]) < (last - first) * (right - left):
            found = self._of_box(*box)[rows - box[0], columns - box[2]]
            return found
        whole = self._of_box(first, last, left, right).reshape(-1, self.n_features)
        self.tiles[tile] = whole
        while len(self.tiles) > self.most:
            self.tiles.popitem(last=False)
        found = whole[(rows - first) * (right - left) + columns - left]
        return found

    def _of_box(self, first: int, last: int, left: int, right: int) -> Floats:
        """Return the features of a rectangle, (h, w, D)."""
        interrupts.check()
        top, bottom = max(0, first - self.halo), min(self.height, last + self.halo)
        start, end = max(0, left - self.halo), min(self.width, right + self.halo)
        stored = not isinstance(self.cube, np.ndarray)
        window = self.cube.read(top, bottom, start, end) if stored else self.cube[top:bottom, start:end]  # type: ignore[union-attr,index]
        features = self.compute(window.astype(np.float32))
        inner = features[first - top : last - top, left - start : right - start]
        return np.ascontiguousarray(inner, np.float32)


def by_tiles(learner: Learner, memory_gb: float) -> bool:
    """Let a learner compute the features of a large scene by tiles, where it computes them by strips.

    Returns:
        Whether it does now; False if all features are held, or the learner has other ones.
    """
    if not isinstance(learner, FeatureLearner) or not isinstance(learner.extractor, ByStrips):
        return False
    strips = learner.extractor.strips
    if isinstance(strips, StripFeatures) and not isinstance(strips, TileFeatures) and not strips.fits:
        learner.extractor.strips = TileFeatures(strips, memory_gb)
    return isinstance(learner.extractor.strips, TileFeatures)


def keep(learner: Learner, pixel_ids: Ids) -> None:
    """Keep the features of pixels that are asked for often, where a learner computes them by tiles."""
    if isinstance(learner, FeatureLearner) and isinstance(learner.extractor, ByStrips):
        strips = learner.extractor.strips
        if isinstance(strips, TileFeatures):
            strips.keep(pixel_ids)
