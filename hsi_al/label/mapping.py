"""The map of a scene, made anew by every model: at once for small scenes, tile by tile for large ones."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition, Scores
from hsi_al.active.querying import kept_of
from hsi_al.label.features import keep
from hsi_al.label.tiles import SIDE, Window
from hsi_al.methods.base import Learner, in_parts, uncertainty_of
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
AT_ONCE = 2**18  # pixels of a scene that is predicted whole for every map, a second or two on two cores
MOST_CANDIDATES = 2**16  # of a larger scene, which are predicted for every query
OVERVIEW = 2**18  # pixels of the grid that stands for a large scene before its tiles are predicted
IN_VIEW = 24  # tiles of the page that a window shows at once, the latest requests
SECONDS = 2.0  # between two maps while tiles outside of the view come in


@dataclass(frozen=True)
class Map:
    """The map of a scene by one model; in a large scene some tiles are still those of the model before.

    Attributes:
        number: 1 for the first map since the process started, then 2, ...
        n_labelled: Labels that the model was fitted to.
        classes: Label value of every pixel (H * W,), 0 = no data or not mapped yet.
        uncertainty: `hsi_al.methods.base.uncertainty_of` every pixel, (H * W,); None = no probabilities.
        probability: Probability of the class shown, (H * W,); None = no probabilities.
        counts: Pixels of each label value, (256,).
        made: When it was made, by `time.monotonic`.
        complete: Whether all of it is this model's.
    """

    number: int
    n_labelled: int
    classes: NDArray[np.uint8]
    uncertainty: Floats | None
    probability: Floats | None
    counts: Ids
    made: float
    complete: bool = True

    def shares(self, values: Sequence[int]) -> dict[int, float]:
        """Return label value -> share of the pixels mapped, from 0 to 1."""
        total = max(1, int(self.counts[1:].sum()))
        return {value: float(self.counts[value] / total) for value in values}


class Mapper:
    """Predicts the candidates of a query and the map of a scene.

    Args:
        shape: Rows and columns of the scene.
        has_data: Whether each pixel has data, (H * W,); None = all have.
        candidates: Pixel ids that may be asked, ascending.
        acquisition: What chooses queries.
        probable: Whether the learner gives probabilities.
        at_once: Largest number of pixels of a scene that is predicted whole for every map.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        has_data: NDArray[np.bool_] | None,
        candidates: Ids,
        acquisition: Acquisition,
        probable: bool,
        at_once: int = AT_ONCE,
    ) -> None:
        self.shape, self.has_data, self.candidates, self.acquisition = shape, has_data, candidates, acquisition
        self.n_pixels = shape[0] * shape[1]
        self.probable, self.number = probable, 0
        self.tiled = self.n_pixels > at_once
        self.tiles_across, self.tiles_down = (-(-size // SIDE) for size in (shape[1], shape[0]))
        self._wanted: OrderedDict[Window, None] = OrderedDict()
        self._lock = threading.Lock()
        self._model: tuple[Learner, Ids, int] | None = None
        self._published = 0.0
        if self.tiled:
            self._classes = np.zeros(shape, np.uint8)
            self._uncertainty, self._probability = (np.zeros(shape, np.float32) if probable else None for _ in range(2))
            n_tiles = self.tiles_across * self.tiles_down
            self._step = np.zeros(n_tiles, np.int64)  # of the latest prediction by the present model; 0 = none
            self._counts = np.zeros((n_tiles, 256), np.int64)
            # Of every tile that was predicted before: its features are kept at this step.
            self.overview_step = 2 ** max(1, math.ceil(math.log2(math.sqrt(self.n_pixels / OVERVIEW))))
            self._known = np.zeros(n_tiles, bool)

    def forget(self) -> None:
        """Make no map until there is another model."""
        self._model = None

    def want(self, window: Window) -> None:
        """Note that a tile of the page is looked at."""
        with self._lock:
            self._wanted[window] = None
            self._wanted.move_to_end(window)
            while len(self._wanted) > IN_VIEW:
                self._wanted.popitem(last=False)

    def take(self, learner: Learner, classes: Ids, n_labelled: int) -> tuple[Outputs, Scores | None, Map | None]:
        """Take a newly fitted learner: predict the candidates and, unless the scene is large, the map.

        Args:
            learner: The learner.
            classes: Label value of every class index.
            n_labelled: Labels that it was fitted to.

        Returns:
            What a query needs of the outputs of the candidates, their scores, and the map; None for a large scene,
            whose map comes from `refine`.
        """
        if self.tiled:
            outputs, scores = self._asked(learner)
            self._model = learner, classes, n_labelled
            self._step[:] = 0
            return outputs, scores, None
        mapped = np.arange(self.n_pixels) if self.has_data is None else np.flatnonzero(self.has_data)
        values = np.zeros(self.n_pixels, np.uint8)
        uncertainty, probability = (np.zeros(self.n_pixels, np.float32) if self.probable else None for _ in range(2))
        kept, scored, first = [], [], 0
        for outputs in in_parts(learner, mapped):
            ids = mapped[first : first + len(outputs.predicted_class)]
            first += len(ids)
            values[ids] = classes[outputs.predicted_class]
            if uncertainty is not None and probability is not None and outputs.probabilities_NC is not None:
                uncertainty[ids], probability[ids] = sureness(outputs)
            part, scores = kept_of(
                self.acquisition, outputs.at(np.flatnonzero(np.isin(ids, self.candidates, assume_unique=True)))
            )
            kept.append(part)
            scored += [] if scores is None else [scores]
        self.number += 1
        counts = np.bincount(values, minlength=256)
        found = Map(self.number, n_labelled, values, uncertainty, probability, counts, time.monotonic())
        return Outputs.joined(kept), np.concatenate(scored) if scored else None, found

    def _asked(self, learner: Learner) -> tuple[Outputs, Scores | None]:
        kept, scored = [], []
        for outputs in in_parts(learner, self.candidates):
            part, scores = kept_of(self.acquisition, outputs)
            kept.append(part)
            scored += [] if scores is None else [scores]
        return Outputs.joined(kept), np.concatenate(scored) if scored else None

    @property
    def pending(self) -> bool:
        """Whether `refine` has something to do."""
        return self.tiled and self._model is not None and bool((self._step != 1).any())

    @property
    def behind(self) -> bool:
        """Whether a tile that is looked at closely was not predicted by the present model yet, not even coarsely."""
        with self._lock:
            wanted = list(self._wanted)[::-1]
        return self.pending and bool(wanted) and wanted[0].step < self.overview_step and bool(self._coarse(wanted))

    def refine(self) -> Map | None:
        """Predict the next part of a large scene's map: what is in view at first, the rest behind.

        In view are coarse pixels first, then all of them. When the whole scene is in view, the grid that was kept of
        tiles seen before comes first.

        Returns:
            The map, when there is something new to show; else None.
        """
        if not self.pending:
            return None
        with self._lock:
            wanted = list(self._wanted)[::-1]
        from_afar = not wanted or wanted[0].step >= self.overview_step
        coarse = [] if from_afar else self._coarse(wanted)
        overview = np.flatnonzero(self._known & (self._step == 0))
        if coarse:
            self._predict(*coarse[0])
            return self._map() if len(coarse) == 1 else self._map_after_a_while()
        if len(overview) and (from_afar or not self._unfinished(wanted)):
            self._predict_overview(overview.tolist())
            return self._map()
        unfinished = self._unfinished(wanted)
        if unfinished:
            self._predict(unfinished[0], 1)
            return self._map() if len(unfinished) == 1 else self._map_after_a_while()
        new = np.flatnonzero(~self._known & (self._step == 0))
        rest = new if len(new) else np.flatnonzero(self._step != 1)
        self._predict(int(rest[0]), 1)
        return self._map_after_a_while()

    def _map_after_a_while(self) -> Map | None:
        return self._map() if not self.pending or time.monotonic() - self._published > SECONDS else None

    def _map(self) -> Map:
        assert self._model is not None
        self.number, self._published = self.number + 1, time.monotonic()
        uncertainty, probability = self._uncertainty, self._probability
        return Map(
            self.number,
            self._model[2],
            self._classes.reshape(-1),
            None if uncertainty is None else uncertainty.reshape(-1),
            None if probability is None else probability.reshape(-1),
            self._counts.sum(axis=0),
            self._published,
            not self.pending,
        )

    def _tiles_of(self, window: Window) -> list[int]:
        rows = range(window.first // SIDE, -(-window.last // SIDE))
        columns = range(window.left // SIDE, -(-window.right // SIDE))
        return [row * self.tiles_across + column for row in rows for column in columns]

    def _coarse(self, wanted: Sequence[Window]) -> list[tuple[int, int]]:
        """Return tiles in view that the present model hasn't predicted, and the steps to predict them with at first."""
        found: dict[int, int] = {}
        for window in wanted:
            if window.step < self.overview_step:
                for tile in self._tiles_of(window):
                    if self._step[tile] == 0:
                        found[tile] = min(found.get(tile, self.overview_step), max(2, window.step))
        return list(found.items())

    def _unfinished(self, wanted: Sequence[Window]) -> list[int]:
        """Return tiles in view of which more is to be predicted than is shown."""
        found: dict[int, None] = {}
        for window in wanted:
            if window.step < self.overview_step:
                found |= dict.fromkeys(
                    tile for tile in self._tiles_of(window) if self._step[tile] == 0 or self._step[tile] > window.step
                )
        return list(found)

    def _bounds(self, tile: int) -> tuple[slice, slice]:
        row, column = divmod(tile, self.tiles_across)
        height, width = self.shape
        return (
            slice(row * SIDE, min(height, (row + 1) * SIDE)),
            slice(column * SIDE, min(width, (column + 1) * SIDE)),
        )

    def _grid(self, tile: int, step: int) -> tuple[Ids, tuple[int, int]]:
        """Return the ids of every `step`-th row and column of a tile, and the shape of this grid."""
        rows, columns = self._bounds(tile)
        down, across = np.arange(rows.start, rows.stop, step), np.arange(columns.start, columns.stop, step)
        return (down[:, None] * self.shape[1] + across).ravel(), (len(down), len(across))

    def _predict(self, tile: int, step: int) -> None:
        """Predict a tile; with a step every predicted pixel stands for a square of this side."""
        assert self._model is not None
        ids, shape = self._grid(tile, step)
        self._fill(tile, step, shape, self._model[0].predict(ids))
        if not self._known[tile]:
            keep(self._model[0], self._grid(tile, self.overview_step)[0])
            self._known[tile] = True

    def _predict_overview(self, tiles: Sequence[int]) -> None:
        assert self._model is not None
        grids = [self._grid(tile, self.overview_step) for tile in tiles]
        outputs = self._model[0].predict(np.concatenate([ids for ids, _ in grids]))
        first = 0
        for tile, (ids, shape) in zip(tiles, grids, strict=True):
            part = np.arange(first, first + len(ids))
            self._fill(tile, self.overview_step, shape, outputs.at(part))
            first += len(ids)

    def _fill(self, tile: int, step: int, shape: tuple[int, int], outputs: Outputs) -> None:
        assert self._model is not None
        place, values = self._bounds(tile), self._model[1][outputs.predicted_class].astype(np.uint8)
        size = tuple(part.stop - part.start for part in place)

        def spread(array: NDArray[Any]) -> NDArray[Any]:
            wide = array.reshape(shape).repeat(step, axis=0).repeat(step, axis=1)
            return wide[: size[0], : size[1]]

        filled = spread(values)
        if self.has_data is not None:
            filled = np.where(self.has_data.reshape(self.shape)[place], filled, 0)
        self._classes[place] = filled
        if self._uncertainty is not None and self._probability is not None and outputs.probabilities_NC is not None:
            uncertainty, probability = sureness(outputs)
            self._uncertainty[place], self._probability[place] = spread(uncertainty), spread(probability)
        self._counts[tile] = np.bincount(filled.ravel(), minlength=256)
        self._step[tile] = step


def sureness(outputs: Outputs) -> tuple[Floats, Floats]:
    """Return uncertainty and the probability of the predicted class, (n,) each."""
    assert outputs.probabilities_NC is not None
    likeliest = outputs.probabilities_NC[np.arange(len(outputs.predicted_class)), outputs.predicted_class]
    return uncertainty_of(outputs.probabilities_NC), np.asarray(likeliest, np.float32)


def some_candidates(
    shape: tuple[int, int], has_data: NDArray[np.bool_] | None, in_windows: bool, rng: np.random.Generator
) -> Ids:
    """Return the pixel ids of a large scene that may be asked, ascending: at most `MOST_CANDIDATES` at random.

    Args:
        shape: Rows and columns.
        has_data: Whether each pixel has data, (H * W,); None = all have.
        in_windows: Take them from windows of 64 x 64 pixels in tiles at random, whose features cost less than those of
            as many pixels anywhere.
        rng: Source of the draws.
    """
    height, width = shape
    if not in_windows:
        ids = np.arange(height * width) if has_data is None else np.flatnonzero(has_data)
        return np.sort(rng.choice(ids, min(len(ids), MOST_CANDIDATES), replace=False)).astype(np.int64)
    side, number = 64, 64
    across, down = -(-width // SIDE), -(-height // SIDE)
    found: list[Ids] = []
    for tile in rng.permutation(across * down).tolist():
        first, left = tile // across * SIDE, tile % across * SIDE
        last, right = min(height, first + SIDE), min(width, left + SIDE)
        row = int(rng.integers(first, max(first, last - side) + 1))
        column = int(rng.integers(left, max(left, right - side) + 1))
        rows, columns = np.arange(row, min(last, row + side)), np.arange(column, min(right, column + side))
        ids = (rows[:, None] * width + columns).ravel()
        ids = ids if has_data is None else ids[has_data[ids]]
        if len(ids):
            found.append(rng.choice(ids, min(len(ids), MOST_CANDIDATES // number), replace=False))
        if len(found) == number:
            break
    return np.sort(np.concatenate(found)).astype(np.int64) if found else np.empty(0, np.int64)
