"""What is worth asking: learner, map and acquisition function, without the person, files and threads around them.

A `hsi_al.label.session.Session` gives what is labelled, and keeps what comes of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Scores
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.parts import draw_typical
from hsi_al.active.querying import chosen
from hsi_al.active.stopping import agreement_of
from hsi_al.config.schema import Config
from hsi_al.label.features import by_tiles, keep
from hsi_al.label.mapping import AT_ONCE, Map, Mapper, some_candidates
from hsi_al.label.telling import untellable
from hsi_al.methods.base import HasDoubts, HasFeatures
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.registry import build_learner, method_of
from hsi_al.methods.room import Task
from hsi_al.methods.vote.learner import VoteLearner
from hsi_al.outputs import Outputs, Progress
from hsi_al.pool.cold_start import COLD_STARTS
from hsi_al.randomness import generator
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
WIDE = 2**22  # pixels of a scene from which candidates come in windows


@dataclass(frozen=True)
class Outlook:
    """How a model sees the candidates.

    Attributes:
        outputs: What a query needs of its outputs, of all N candidates.
        scores: How much the acquisition function wants each, (N,); None = it has no scores.
        classes: Label value of every class index, (C,).
    """

    outputs: Outputs
    scores: Scores | None
    classes: Ids

    @property
    def values(self) -> Ids:
        """Label value that is predicted for each candidate, (N,)."""
        found: Ids = self.classes[self.outputs.predicted_class]
        return found


class Planner:
    """Fits the learner, maps the scene, and chooses what is asked.

    Args:
        scene: The scene.
        config: Learner, acquisition function, sizes of queries and seed.
        candidates: Pixel ids that may be asked; None = all pixels with data, of a large scene some.
        n_classes: Number of classes at first.
        progress: Told how far a fit or prediction is; what it raises ends it.
        at_once: Pixels from which a scene is large: then its map is made tile by tile.

    Attributes:
        candidates: Pixel ids that may be asked, ascending, (N,).
        learner: The learner.
        mapper: Makes the map.

    Raises:
        HsiAlError: Learner or acquisition function don't fit each other or the scene.
    """

    def __init__(
        self,
        scene: Scene,
        config: Config,
        candidates: Ids | None,
        n_classes: int,
        progress: Progress,
        at_once: int = AT_ONCE,
    ) -> None:
        self.scene, self.config, self.progress = scene, config, progress
        shape, has_data = (scene.height, scene.width), None if scene.no_data is None else ~scene.no_data.ravel()
        if candidates is None:
            candidates = all_or_some(shape, has_data, at_once, config.seed)
        self.candidates: Ids = np.unique(candidates)
        self.acquisition = build_acquisition(config.acquisition.name, config.acquisition)
        self.needs = self.acquisition.needs | ({"probabilities_NC"} & method_of(config).provides)
        self._looked_through = False
        self._n_classes = max(2, n_classes)
        self.learner = self._built(self._n_classes)
        probable = "probabilities_NC" in self.needs
        self.mapper = Mapper(shape, has_data, self.candidates, self.acquisition, probable, at_once)

    def learn(self, ids: Ids, values: Ids, classes: Ids, rounds: int) -> tuple[Outlook, Map | None]:
        """Fit the learner.

        Args:
            ids: Labelled pixel ids, (n,).
            values: Their label values, (n,), of two or more classes.
            classes: All label values, ascending, (C,).
            rounds: Number of the fit, which its draws depend on.

        Returns:
            How it sees the candidates, and the map; None for a large scene, whose map comes from `refine`.

        Raises:
            HsiAlError: The learner fails.
        """
        self._provide(len(classes))
        self.learner.progress = self.progress
        self._look_through()
        self.learner.fit(ids, np.searchsorted(classes, values), rounds, generator(self.config.seed, "learner", rounds))
        outputs, scores, found = self.mapper.take(self.learner, classes, len(ids))
        return Outlook(outputs, scores, classes), found

    def refine(self) -> Map | None:
        """Predict the next part of the map of a large scene; return the map when there is something new to show.

        Raises:
            HsiAlError: The learner fails.
        """
        self.learner.progress = self.progress
        return self.mapper.refine()

    def doubts(self, ids: Ids, values: Ids, classes: Ids) -> dict[int, tuple[int, float]] | None:
        """Return label value and doubt about it by pixel id, see `HasDoubts`.

        Args:
            ids: As for `learn`.
            values: As for `learn`.
            classes: As for `learn`.

        Returns:
            The doubts, without those that can't be told; None if the learner has none, or there is one class alone.

        Raises:
            HsiAlError: The learner fails.
        """
        if not isinstance(self.learner, HasDoubts) or len(np.unique(values)) < 2:
            return None
        found = self.learner.doubts(ids, np.searchsorted(classes, values))
        if found is None:
            return None
        return {int(ids[n]): (int(values[n]), float(found[n])) for n in np.flatnonzero(np.isfinite(found)).tolist()}

    def chosen(
        self,
        outlook: Outlook,
        ids: Ids,
        values: Ids,
        untold: Ids,
        n: int,
        rng: np.random.Generator,
        also: Sequence[int] = (),
    ) -> list[int]:
        """Let the acquisition function choose up to n candidates without an answer, most wanted first.

        Args:
            outlook: How the model sees the candidates.
            ids: Pixel ids that have a label by now, ascending.
            values: Their label values.
            untold: Pixel ids of "can't tell".
            n: Number of pixels.
            rng: Source of the draws.
            also: Pixel ids that are not to be chosen either.
        """
        shown = ~np.isin(self.candidates, np.append(untold, np.array(also, np.int64)))
        places, label = np.searchsorted(self.candidates, ids), np.full(len(self.candidates), -1, np.int64)
        known = np.append(self.candidates, -1)[places] == ids
        label[places[known]] = np.searchsorted(outlook.classes, values[known])
        free = shown & (label < 0)
        n = min(n, int(free.sum()))
        if n == 0:
            return []
        hopeless = untellable(self.learner, self.candidates, free, outlook.scores, ids, untold, self.config.seed)
        if int((free & ~hopeless).sum()) >= n:
            shown &= ~hopeless
        outputs, scores, width = outlook.outputs, outlook.scores, self.scene.width
        found: list[int] = chosen(
            self.acquisition, self.candidates, label, shown, outputs, scores, width, n, rng
        ).tolist()
        return found

    def agreement(self, before: Ids | None, outlook: Outlook, labelled: Ids) -> float | None:
        """Return kappa between this model and the one asked about before, on candidates that have no label.

        Args:
            before: Label value of every candidate by the model before, (N,); None = there was none.
            outlook: How the model sees the candidates.
            labelled: Pixel ids with a label.

        Returns:
            Kappa; None if there was no model before, or it can't be told.
        """
        if before is None:
            return None
        open_ = ~np.isin(self.candidates, labelled)
        places = [np.searchsorted(outlook.classes, found[open_]) for found in (before, outlook.values)]
        kappa = agreement_of(places[0], places[1], len(outlook.classes))
        return kappa if np.isfinite(kappa) else None

    def typical(self, given: Ids, rng: np.random.Generator) -> list[int]:
        """Return pixels that are typical of clusters of the candidates without an answer, as many as a first query has.

        Args:
            given: Pixel ids with an answer.
            rng: Source of the draws.

        Raises:
            HsiAlError: The learner fails.
        """
        free = self.candidates[~np.isin(self.candidates, given)]
        size = min(self.config.protocol.initial_size, len(free))
        if size == 0:
            return []
        self.learner.progress = self.progress
        self._look_through()
        if self.config.protocol.initial in COLD_STARTS:
            pixels = draw_typical(self.config, self.scene, free, self.learner, size, rng)
        else:
            pixels = np.sort(rng.choice(free, size, replace=False))
        found: list[int] = pixels.tolist()
        return found

    def _built(self, n_classes: int) -> Any:  # noqa: ANN401
        cube = self.scene.source if method_of(self.config).in_windows else self.scene.cube
        return build_learner(Task(self.config, cube, n_classes, self.candidates, self.needs))

    def _look_through(self) -> None:
        """Let the learner learn what it learns without labels, and keep what a large scene is asked for often."""
        if not self.mapper.tiled or self._looked_through:
            return
        if isinstance(self.learner, HasFeatures):
            self.learner.unlabelled_features(self.candidates[:1])
        if by_tiles(self.learner, self.config.dataset.memory_gb / 2):
            keep(self.learner, self.candidates)
        self._looked_through = True

    def _provide(self, n_classes: int) -> None:
        """Let the learner tell so many classes: features stay, all else is built anew."""
        if isinstance(self.learner, (FeatureLearner, VoteLearner)):
            self.learner.n_classes = n_classes
        elif self._n_classes != n_classes:
            self.learner, self._looked_through = self._built(n_classes), False
        self._n_classes = n_classes


def all_or_some(shape: tuple[int, int], has_data: NDArray[np.bool_] | None, at_once: int, seed: int) -> Ids:
    """Return the pixel ids of a scene that may be asked: all with data, of a large scene some.

    Args:
        shape: Rows and columns.
        has_data: Whether each pixel has data, (H * W,); None = all have.
        at_once: Pixels from which a scene is large.
        seed: Root seed.
    """
    n_pixels = shape[0] * shape[1]
    if n_pixels > at_once:
        return some_candidates(shape, has_data, n_pixels > WIDE, generator(seed, "thin"))
    return np.arange(n_pixels) if has_data is None else np.flatnonzero(has_data)
