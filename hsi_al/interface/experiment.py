"""An experiment in memory: the loop of the command line, round by round or whole, without files."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from hsi_al.acquisition.base import Acquisition, PoolView, Scores
from hsi_al.acquisition.ranking import Score, name_of
from hsi_al.active.parts import Own, assembled, check_budget, divided, initial_size, require_labels
from hsi_al.active.records import Records
from hsi_al.active.scene_maps import class_indices, label_map
from hsi_al.config.schema import OWN, Config
from hsi_al.errors import ConfigurationError, LearnerError, PoolError
from hsi_al.garbage import garbage
from hsi_al.interface.choices import LAMBDA, AcquisitionChoice, LearnerChoice, as_acquisition, as_learner
from hsi_al.interface.curve import Curve
from hsi_al.interface.scenes import load_scene
from hsi_al.interface.settings import configured, in_group, option_keys
from hsi_al.methods.own import Probabilistic
from hsi_al.methods.registry import check_method
from hsi_al.pool.splits import Split
from hsi_al.randomness import generator
from hsi_al.scenes.scene import Scene
from hsi_al.training.ranks import available_threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ids = NDArray[np.int64]
NAMELESS = (LAMBDA, "<lambda>", "partial")  # names by which functions can't be told from others


class Experiment:
    """Active learning on a scene: fit, predict, record, query, label, as `python -m hsi_al.run` plays it.

    The same settings and seed give the same labels and accuracies as there. Nothing is written but by `save`.

    Args:
        scene: A scene with labels, or the name of one in the catalogue.
        split: Name of a split, or one of `make_split`.
        learner: What `make_learner` takes or returns.
        acquisition: What `make_acquisition` takes or returns.
        protocol: Name of the protocol, whose numbers the next arguments change.
        rounds: Number of queries; one more training follows the last one.
        query_size: Labels per query.
        initial_size: Labels before the first query.
        initial: How they are drawn: `uniform`, `stratified`, `per_class`, `kmeans` or `typiclust`.
        seed: Seed of everything but the split.
        oracle: Function of pixel ids (n,), row * width + column, that returns their label values (n,), in place of the
            scene's ground truth, by which accuracies are computed all the same.
        threads: CPU threads; default: all of them, or OMP_NUM_THREADS.
        options: Other keys `protocol.<name>` of the command line, such as `initial_on`, `stop_at`, `epochs`; keys of
            other groups by their dotted names.

    Raises:
        HsiAlError: Bad input; the sentence is that of the command line.
    """

    def __init__(
        self,
        scene: Scene | str,
        split: str | Split = "holdout",
        learner: str | LearnerChoice | Probabilistic | type[Probabilistic] = "profile_trees",
        acquisition: str | AcquisitionChoice | Score | Callable[[PoolView], Scores] | Acquisition = "margin",
        *,
        protocol: str = "few",
        rounds: int | None = None,
        query_size: int | None = None,
        initial_size: int | None = None,
        initial: str | None = None,
        seed: int = 0,
        oracle: Callable[[Ids], ArrayLike] | None = None,
        threads: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self._began = time.monotonic()
        scene = load_scene(scene) if isinstance(scene, str) else scene
        require_labels(scene)
        (keys, method), asks = as_learner(learner).settled(), as_acquisition(acquisition)
        own_learner = as_learner(learner).own is not None
        numbers = {"rounds": rounds, "query_size": query_size, "initial_size": initial_size, "initial": initial}
        given = {name: value for name, value in {**numbers, **options}.items() if value is not None}
        kind = split.kind if isinstance(split, Split) else split
        config = configured(
            {
                "dataset.name": scene.name,
                **option_keys("protocol", protocol),
                **option_keys("split", kind),
                **keys,
                **asks.keys,
                "seed": seed,
                **({} if threads is None else {"trainer.threads": threads}),
                **in_group("protocol", given),
            },
            method,
        )
        _require_use({**keys, **asks.keys, **in_group("protocol", given)}, config, isinstance(split, Split))
        if not own_learner and asks.own is None and asks.whole is None:
            check_method(config)
        config.dataset = replace(scene.settings or config.dataset, name=scene.name)
        if isinstance(split, str):
            split = divided(config, scene, method)
        else:
            config.split = split.settings or config.split
            if split.kind == "given":
                tests = np.isin(np.arange(scene.height * scene.width), split.test)
                scene = replace(scene, test_pixels=tests.reshape(scene.height, scene.width))
        if config.protocol.labels_from is None:
            check_budget(config, scene, split, _initial_labels(config, scene, split))
        if oracle is not None:
            config.oracle.name, config.oracle.function = OWN, name_of(oracle)
        own = Own(method, asks.built(config), None if oracle is None else _ValueOracle(oracle, scene.label_values))
        self.config, self.scene, self.split = config, scene, split
        self._parts = assembled(config, scene, split, Records(scene.label_values), own=own)
        self._loop = self._parts.loop()
        self._next_round = 0
        self._finished = False
        self._lost = self._stale = False  # a round that failed has changed the learner
        self._own_learner, self._gives_probabilities = own_learner, "probabilities_NC" in method.provides

    def __repr__(self) -> str:
        return f"<Experiment {self._parts.title()}: {self._next_round} of {self._loop.rounds + 1} rounds played>"

    @property
    def finished(self) -> bool:
        """Whether the last round was played."""
        return self._finished

    @property
    def stopped(self) -> str | None:
        """Why a stopping rule has ended the experiment before its last round; else None."""
        return self._loop.stopped

    @property
    def curve(self) -> Curve:
        """The learning curve of the rounds so far."""
        return Curve(self._parts.records.rows)

    @property
    def labelled(self) -> dict[str, Ids]:
        """Columns `pixel_id`, `label` (label value) and `labelled_at` (round), of labelled pixels by ascending id."""
        pool = self._loop.pool
        return {
            "pixel_id": pool.labelled_ids,
            "label": self.scene.label_values[pool.labels],
            "labelled_at": pool.labelled_at[pool.is_labelled],
        }

    @property
    def class_map(self) -> NDArray[np.unsignedinteger[Any]]:
        """The map of the scene as label values, (H, W), by the learner of the latest round; 0 = no data.

        Raises:
            LearnerError: An interrupt has left a warm-started learner between two rounds.
        """
        self._require_learner()
        with limited_threads(self.config.trainer.threads):
            return label_map(self.scene, class_indices(self._parts, self._loop.predicted_class))

    @property
    def uncertainty_map(self) -> NDArray[np.float32]:
        """1 - (largest - second largest class probability) of every pixel, (H, W); NaN without data.

        Raises:
            LearnerError: The learner computes no probabilities, or none is asked for; or as for `class_map`.
        """
        self._require_learner()
        found = np.full(self.scene.height * self.scene.width, np.nan, np.float32)
        with limited_threads(self.config.trainer.threads):
            class_indices(self._parts, None, found)
        if np.isnan(found).all():
            raise LearnerError(self._no_probabilities())
        map_ = found.reshape(self.scene.height, self.scene.width)
        if self.scene.no_data is not None:
            map_[self.scene.no_data] = np.nan
        return map_

    def confusion(self, heldout: bool = True, round_: int = -1) -> Ids:
        """Return a confusion matrix, (C, C), rows = truth, classes by ascending label value.

        Args:
            heldout: Whether to count the pixels that test, else all labelled pixels of the scene.
            round_: Number of the round; -1 = the latest.
        """
        self._require_a_round()
        return self._parts.records.confusions[round_][int(heldout)].copy()

    def step(self) -> dict[str, float]:
        """Play the next round: fit, predict, evaluate and, unless it is the last, query and label.

        An exception or an interrupt leaves the experiment as it was before, and the next call repeats the round.

        Returns:
            The round's row of the curve.

        Raises:
            ConfigurationError: The last round was played.
            HsiAlError: As on the command line.
        """
        loop, records = self._loop, self._parts.records
        if self._finished:
            raise ConfigurationError(
                f"The experiment has played all its {len(records.rows)} rounds; make one with more protocol.rounds."
            )
        self._require_found()
        before = loop.pool.labelled_at.copy(), loop.pool.label.copy(), records.predicted, loop.predicted_class
        try:
            with limited_threads(self.config.trainer.threads):
                self._finished = loop.advance(self._next_round)
        except BaseException:
            loop.pool.labelled_at, loop.pool.label, records.predicted, loop.predicted_class = before
            del records.rows[self._next_round :], records.confusions[self._next_round :]
            loop.stopped = None
            self._lost, self._stale = loop.learner.warm, self._next_round > 0
            raise
        self._stale = False
        self._next_round += 1
        return records.rows[-1]

    def run(self, rounds: int | None = None) -> Curve:
        """Play the remaining rounds, or only so many of them, and return the curve.

        Raises:
            HsiAlError: As `step`.
        """
        with garbage.leaving_out_the_old():
            while not self._finished and rounds != 0:
                self.step()
                rounds = None if rounds is None else rounds - 1
        return self.curve

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Play the remaining rounds one by one, and yield the row of each."""
        while not self._finished:
            yield self.step()

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the rounds so far as a run directory, as the command line leaves a finished one.

        `load_run`, `python -m hsi_al.predict` and `python -m hsi_al.report` read it. Where the scene has a place, the
        map is there for geographic information systems, too. The experiment goes on as if it weren't saved.

        Args:
            folder: A folder that doesn't exist, or is empty.

        Returns:
            The folder.

        Raises:
            ConfigurationError: No round was played yet, or the acquisition function or the oracle has no name.
            LearnerError: The learner is one of the caller's own, which no file can name; or as for `class_map`.
            RunDirectoryError: The folder isn't empty.
            OSError: A file can't be written.
        """
        from hsi_al.active.saved import save

        self._require_a_round()
        if self._own_learner:
            raise LearnerError(
                f"{self.config.learner.name} is a learner of your own, which the files of a run can't hold; keep "
                "curve, labelled and class_map yourself."
            )
        functions = {"acquisition function": self.config.acquisition.name, "oracle": self.config.oracle.function}
        if nameless := [what for what, name in functions.items() if name in NAMELESS]:
            raise ConfigurationError(
                f"The {nameless[0]} is a lambda or a partial, by whose name nobody can tell this run from others; "
                "define it with def, under a name of its own."
            )
        self._require_learner()
        path, played = Path(folder), self._next_round
        stopped = self.stopped or (None if self._finished else f"saved after round {played - 1} of {self._loop.rounds}")
        with limited_threads(self.config.trainer.threads):
            save(self._parts, self._loop.predicted_class, stopped, self._began, path)
        return path

    def plot_curve(self, ax: "Axes | None" = None, column: str = "oa_heldout") -> "Axes":
        """Draw the learning curve."""
        return self.curve.plot(ax, column, self.config.acquisition.name)

    def plot_map(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the map of the scene."""
        from hsi_al.interface.plots import plot_map

        return plot_map(self.class_map, self.scene.class_names, ax)

    def plot_queries(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the labelled pixels on a dimmed picture of the scene."""
        from hsi_al.interface.plots import plot_queries

        labelled = self.labelled
        return plot_queries(labelled["pixel_id"], labelled["labelled_at"], self.scene.false_colour(), ax)

    def _require_a_round(self) -> None:
        if not self._next_round:
            raise ConfigurationError("No round was played yet; call step() or run().")

    def _require_found(self) -> None:
        if self._lost:
            raise LearnerError(
                "An interrupt has left the learner between two rounds, whose training goes on from one to the next "
                "(protocol.warm_start); make the experiment anew."
            )

    def _require_learner(self) -> None:
        """Require the learner of the latest round, and fit it again if a round that failed has changed it."""
        self._require_a_round()
        self._require_found()
        if self._stale:
            pool, latest = self._loop.pool, self._next_round - 1
            then = (pool.labelled_at >= 0) & (pool.labelled_at <= latest)
            with limited_threads(self.config.trainer.threads):
                rng = generator(self.config.seed, "learner", latest)
                self._loop.learner.fit(pool.candidates[then], pool.label[then], latest, rng)
            self._stale = False

    def _no_probabilities(self) -> str:
        name, asks = self.config.learner.name, self.config.acquisition
        if not self._gives_probabilities:
            return f"{name} computes no class probabilities; take another learner, such as profile_trees or lda."
        if asks.by is not None:
            return f"{name} gave no probabilities, since acquisition.by={asks.by} asks in its place; leave out by."
        return (
            f"{name} gave no probabilities, since acquisition={asks.name} reads none; take acquisition=margin, for "
            "example."
        )


class _ValueOracle:
    """An oracle of the caller's own, which answers with label values.

    Args:
        function: Function of pixel ids (n,) that returns their label values (n,).
        label_values: Label value of every class index, (C,).
    """

    def __init__(self, function: Callable[[Ids], ArrayLike], label_values: Ids) -> None:
        self.function, self.label_values = function, label_values

    def label(self, pixel_ids: Ids) -> Ids:
        """Return the class indices of pixels, (n,).

        Raises:
            PoolError: There isn't one label value of the scene for each pixel.
        """
        values = np.asarray(self.function(pixel_ids.copy()))
        if values.shape != pixel_ids.shape or not np.isin(values, self.label_values).all():
            raise PoolError(
                f"The oracle answered {len(pixel_ids)} pixels with {str(values.tolist())[:60]}; it must give one of "
                f"the label values {self.label_values.tolist()} for each."
            )
        return np.searchsorted(self.label_values, values).astype(np.int64)


def _require_use(given: Mapping[str, Any], config: Config, divided_already: bool) -> None:
    """Raise ConfigurationError for keys of scenes, and beside a `Split` for those by which scenes are divided."""
    if read := sorted(key for key in given if key.startswith("dataset.")):
        raise ConfigurationError(f"How a scene is read is for load_scene to say: give it {' and '.join(read)}.")
    if not divided_already:
        return
    if divides := sorted(key for key in given if key.startswith("split.")):
        raise ConfigurationError(f"How a scene is divided is for make_split to say: give it {' and '.join(divides)}.")
    if config.protocol.max_pixels is not None:
        raise ConfigurationError(
            f"protocol.max_pixels={config.protocol.max_pixels} thins the candidates while a scene is divided; name "
            "the split instead of giving one of make_split, or take another protocol."
        )


def _initial_labels(config: Any, scene: Scene, split: Split) -> int:  # noqa: ANN401
    return initial_size(config, scene.labels_of(split.initial))


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let the libraries compute with so many threads inside, by default as many as the command line takes."""
    threads = threads or available_threads()
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    with threadpool_limits(threads):
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)
