"""The parts of a run from its configuration: scene, split, pool, learner, acquisition function, run directory."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.asking import STEP, Asker
from hsi_al.active.inherited import labels_of_run
from hsi_al.active.loop import ActiveLearningLoop
from hsi_al.active.records import Records
from hsi_al.active.run_directory import RunDirectory
from hsi_al.active.stopping import Stopping
from hsi_al.config.schema import Config, DatasetConfig
from hsi_al.errors import ConfigurationError, PoolError, PoolExhaustedError, SceneError, SessionError
from hsi_al.methods.base import HasFeatures, Learner
from hsi_al.methods.registry import asker_config, build_learner, method_of
from hsi_al.methods.room import Method, Task
from hsi_al.pool.answers import session_labels
from hsi_al.pool.initial import DRAWS, draw_initial, draw_per_class
from hsi_al.pool.label_pool import LabelPool
from hsi_al.pool.oracles import GroundTruthOracle, Oracle
from hsi_al.pool.splits import (
    Split,
    divide_given,
    divide_holdout,
    divide_paper,
    divide_spatially,
    with_missing,
    with_new_ground,
)
from hsi_al.randomness import generator
from hsi_al.report.run_files import meta_entries
from hsi_al.scenes.catalogue import CATALOGUE, data_folder, expanded, load_catalogue_scene
from hsi_al.scenes.checks import require_classes
from hsi_al.scenes.checksums import data_checksums
from hsi_al.scenes.custom import Reading, load_custom_scene, scaled
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.readers import opened_rows, readable_in_windows
from hsi_al.scenes.scene import Scene, is_scene_file
from hsi_al.training.ranks import ALONE, Ranks

Ids = NDArray[np.int64]
R = TypeVar("R", bound=Records)
# Keys that describe the user's own scene.
OWN = (
    *("cube_key", "axes", "no_data", "bands", "ground_truth_file", "ground_truth_key", "label_field", "test_file"),
    *("test_key", "test_field", "unlabelled", "ignore_labels", "class_names", "rgb_bands"),
)

# Those of them that say something about labels.
OF_LABELS = (
    *("ground_truth_file", "ground_truth_key", "label_field", "test_file", "test_key", "test_field", "unlabelled"),
    *("ignore_labels", "class_names"),
)


@dataclass(frozen=True)
class Own:
    """What takes the place of parts that the configuration names, for callers from Python; None = as configured.

    Attributes:
        method: Declaration of the learner.
        acquisition: Selects the queries.
        oracle: Gives the labels of queried pixels.
    """

    method: Method | None = None
    acquisition: Acquisition | None = None
    oracle: Oracle | None = None


@dataclass
class Parts(Generic[R]):
    """The objects that a run consists of.

    Attributes:
        config: Checked configuration.
        scene: Cube and ground truth.
        split: Candidates and test pixels.
        acquisition: Selects the queries.
        learner: Fits and predicts.
        oracle: Gives the labels of queried pixels.
        records: Where rounds are committed.
        pool: Candidates with the labels committed so far; the initial labels in a new run.
        stopping: Rules that end a run before its last round.
        first_round: The round to run next.
        rounds: Number of the last round.
        ranks: The processes that share the run.
        asker: The learner that asks in place of `learner`; None without `acquisition.by`.
        labels_from: The run that the initial labels come from (`Inherited.source`); None for a draw.
        stopped: Round and reason if a rule has ended the run.
    """

    config: Config
    scene: Scene
    split: Split
    acquisition: Acquisition
    learner: Learner
    oracle: Oracle
    records: R
    pool: LabelPool
    stopping: Stopping
    first_round: int
    rounds: int
    ranks: Ranks = ALONE
    asker: Asker | None = None
    labels_from: dict[str, Any] | None = None
    stopped: dict[str, Any] | None = None

    def stop(self, reason: str) -> None:
        """Make the last committed round the last one of the run, and record the reason."""
        self.rounds = len(self.records.rows) - 1
        self.stopped = {"round": self.rounds, "reason": reason}

    @property
    def unasked(self) -> bool:
        """Whether the next round lacks its query: the round before was the last one when it was played."""
        return 0 < self.first_round <= self.rounds and not (self.pool.labelled_at == self.first_round).any()

    def loop(self) -> ActiveLearningLoop:
        """Return the loop that plays the rounds of the run."""
        return ActiveLearningLoop(
            self.split,
            self.scene.labels_of(self.split.scored_ids),
            self.scene.n_classes,
            self.scene.width,
            self.pool,
            self.learner,
            self.acquisition,
            self.oracle,
            self.records,
            self.rounds,
            self.config.protocol.query_size,
            self.config.seed,
            stopping=self.stopping,
            ranks=self.ranks,
            asker=self.asker,
        )

    def missing(self) -> dict[str, list[int]]:
        """Return, for `candidates` and `test`, the label values without a pixel on that side of the split."""
        sides = {"candidates": self.split.missing_in_candidates, "test": self.split.missing_in_test}
        return {side: [int(self.scene.label_values[index]) for index in missing] for side, missing in sides.items()}

    @property
    def n_initial(self) -> int:
        """Number of initial labels."""
        return int((self.pool.labelled_at == 0).sum())

    @property
    def method(self) -> str:
        """Name of the method: the backbone for the deep learner, else `learner.method`."""
        return self.config.learner.method.removeprefix("deep-")

    def title(self) -> str:
        """Return the title of the run: scene, method, acquisition, protocol, split, fold unless it is 0, and seed."""
        config = self.config
        by = f" by {config.acquisition.by}" if config.acquisition.by else ""
        fold = f", fold {config.split.fold}" if config.split.fold else ""
        ground = f" new_ground={config.split.new_ground:g}" if config.split.new_ground else ""
        source = f" from labels of {self.labels_from['asked_by']}" if self.labels_from else ""
        return (
            f"{config.dataset.name}, {self.method}, {config.acquisition.name}{by}, "
            f"protocol {config.protocol.name}{source}, split {config.split.kind}{ground}{fold}, seed {config.seed}"
        )

    def overlap(self) -> dict[str, Any]:
        """Count the held-out pixels that lie in a training patch, with the initial and with all present labels.

        Returns:
            `patch_size`, None for a method without patches; with patches, `labels`, `inside` and `heldout` counts under
            `initial` and `last`.
        """
        patch_size = method_of(self.config).window(self.config)
        shape, pool = (self.scene.height, self.scene.width), self.pool
        found: dict[str, Any] = {"patch_size": patch_size}
        if patch_size is not None:
            for when, labelled in (("initial", pool.labelled_at == 0), ("last", pool.is_labelled)):
                inside, heldout = self.split.overlap(pool.candidates[labelled], shape, patch_size)
                found[when] = {"labels": int(labelled.sum()), "inside": inside, "heldout": heldout}
        return found


def build_parts(config: Config, path: Path, ranks: Ranks, tell: Callable[[Scene], None]) -> Parts[RunDirectory]:
    """Build the parts of a new run, or of the run that its directory holds so far.

    Args:
        config: Checked configuration.
        path: Run directory.
        ranks: The processes that share the run.
        tell: Called with the scene as soon as it is loaded, before slow imports.

    Raises:
        HsiAlError: Bad input.
    """
    scene = build_scene(config)
    tell(scene)
    require_labels(scene)
    directory = RunDirectory(path, scene.label_values, method_of(config).state_suffix)
    parts = assembled(config, scene, build_split(config, scene), directory, ranks)
    if parts.first_round and config.protocol.labels_from is not None:
        parts.labels_from = meta_entries(path).get("labels_from")
    return parts


def assembled(
    config: Config, scene: Scene, split: Split, records: R, ranks: Ranks = ALONE, own: Own = Own()
) -> Parts[R]:
    """Build the parts of a run around its scene, its split and the records of its rounds so far.

    Args:
        config: Checked configuration.
        scene: A scene with labels.
        split: The division of its labelled pixels.
        records: Where rounds are committed; what they hold already is put into the pool.
        ranks: The processes that share the run.
        own: What takes the place of parts that the configuration names.

    Raises:
        HsiAlError: Bad input.
    """
    acquisition = own.acquisition or build_acquisition(config.acquisition.name, config.acquisition)
    asking = asker_config(config)
    learner = learner_of(config, scene, split, frozenset() if asking else acquisition.needs, ranks, own.method)
    asker = None
    if asking:
        asker = Asker(learner_of(asking, scene, split, acquisition.needs), config.acquisition.by_step or STEP)
    pool, protocol = LabelPool(split.candidates), config.protocol
    parts = Parts(
        config,
        scene,
        split,
        acquisition,
        learner,
        own.oracle or GroundTruthOracle(scene.labelled_ids, scene.labels_of(scene.labelled_ids)),
        records,
        pool,
        Stopping(protocol.stop_at, protocol.stop_when_stable),
        records.restore(pool),
        protocol.rounds,
        ranks,
        asker,
    )
    if 0 < parts.first_round <= parts.rounds and (reason := parts.stopping.reason(records.rows)):
        parts.stop(reason)
    if parts.first_round == 0:
        if protocol.labels_from is None:
            initial = draw(config, scene, split.initial, asker.learner if asker else learner)
        else:
            inherited = labels_of_run(protocol.labels_from, protocol.labels_at, scene, split.candidates)
            initial, parts.labels_from = inherited.pixel_ids, inherited.source
        pool.add(initial, parts.oracle.label(initial), 0)
    if protocol.labels_from is not None:
        there = np.isin(split.asked, pool.candidates[pool.labelled_at == 0])
        check_budget(config, scene, split, parts.n_initial, int(there.sum()))
    return parts


def require_labels(scene: Scene) -> None:
    """Raise SceneError if a scene has no labels."""
    if not scene.n_classes:
        raise SceneError(
            f"{scene.name} has no labels; name them by dataset.ground_truth_file, or by dataset.ground_truth_key if "
            "they are in the cube's file. To label it yourself: python -m hsi_al.label FILE."
        )


def learner_of(
    config: Config,
    scene: Scene,
    split: Split,
    needs: frozenset[str],
    ranks: Ranks = ALONE,
    method: Method | None = None,
) -> Learner:
    """Build the learner that `config.learner` describes, which has to fill in the fields `needs` of `Outputs`.

    A `method` is taken in place of the one that `learner.name` selects.

    Raises:
        HsiAlError: Bad input.
    """
    method = method or method_of(config)
    cube = scene.source if method.in_windows else scene.cube
    return build_learner(Task(config, cube, scene.n_classes, split.candidates, needs, ranks=ranks), method)


def build_scene(config: Config) -> Scene:
    """Load the scene: from the user's own files if `dataset.cube_file` is given, else from the catalogue.

    Raises:
        SceneError: A file is missing or unusable.
        ConfigurationError: No file is given for a scene outside the catalogue, or a key is given that catalogue scenes
            don't take.
    """
    scene = published_or_own(config)
    return scene if config.dataset.labels is None else with_session(scene, expanded(config.dataset.labels))


def with_session(scene: Scene, folder: Path) -> Scene:
    """Return a scene with the labels of a labelling session in place of its ground truth.

    Raises:
        SceneError: The session labels another scene, or no pixel.
        SessionError: There is no session in the folder, or it is damaged.
    """
    given = session_labels(folder)
    if given.shape != (scene.height, scene.width):
        raise SceneError(
            f"dataset.labels={folder} labels a scene of {given.shape[0]} x {given.shape[1]} pixels, but {scene.name} "
            f"has {scene.height} x {scene.width}; name a session of this scene."
        )
    try:
        there = Georeference.from_json(given.georeference)
    except (LookupError, TypeError, ValueError):
        raise SessionError(f"{folder / 'session.json'} is damaged; restore it from a copy.") from None
    if there is not None and scene.georeference is not None and not scene.georeference.same_grid(there, given.shape):
        raise SceneError(
            f"dataset.labels={folder} labels another place than that of {scene.name}: {there}; here "
            f"{scene.georeference}. Name a session of this scene, or give its points: python -m hsi_al.label export "
            f"{folder} writes labels.gpkg, which dataset.ground_truth_file takes."
        )
    truth = np.zeros((scene.height, scene.width), np.min_scalar_type(max(given.class_names, default=0)))
    truth.ravel()[given.pixel_ids] = given.values
    require_classes(scene.name, truth)
    notices = list(scene.notices)
    if given.cube is not None and given.cube != data_checksums(scene)["cube"]:
        notices.append(
            f"Warning: {folder} labels other values than those of {scene.name} (another file, unit or choice of "
            "bands); its labels are taken pixel by pixel, so see that it is the same place."
        )
    return replace(scene, ground_truth=truth, class_names=given.class_names, test_pixels=None, notices=tuple(notices))


def reading_of(dataset: DatasetConfig, in_memory: bool) -> Reading:
    """Return how the keys of a scene of one's own say that it is read."""
    return Reading(
        in_memory,
        dataset.axes,
        dataset.no_data,
        dataset.scaling,
        dataset.unlabelled,
        dataset.ignore_labels or (),
        dataset.bands,
        dataset.label_field,
        None if dataset.test_file is None else expanded(dataset.test_file),
        dataset.test_key,
        dataset.test_field,
    )


def published_or_own(config: Config) -> Scene:
    """Load the scene of `build_scene` with the ground truth of its files.

    Raises:
        SceneError: A file is missing or unusable.
        ConfigurationError: As for `build_scene`.
    """
    dataset = config.dataset
    about = [f"dataset.{key}" for key in OF_LABELS if getattr(dataset, key) != getattr(DatasetConfig, key)]
    if dataset.labels is not None and about:
        raise ConfigurationError(
            f"dataset.labels={dataset.labels} takes the place of the ground truth, with its classes; leave out "
            f"{' and '.join(about)}."
        )
    if dataset.cube_file is not None:
        return load_custom_scene(
            dataset.name,
            expanded(dataset.cube_file),
            dataset.cube_key,
            None if dataset.ground_truth_file is None else expanded(dataset.ground_truth_file),
            dataset.ground_truth_key,
            dataset.classes,
            dataset.class_names,
            dataset.rgb_bands,
            reading=reading_of(dataset, fits_memory(config)),
        )
    if dataset.name not in CATALOGUE:
        raise ConfigurationError(
            f"The scene {dataset.name} needs dataset.cube_file=<file>, and dataset.ground_truth_file=<file> unless "
            f"both are in one file; the catalogue has {', '.join(CATALOGUE)}."
        )
    if dataset.in_memory is False:
        raise ConfigurationError(
            f"dataset.in_memory=false is not possible for {dataset.name} of the catalogue; take dataset=custom with "
            "dataset.cube_file."
        )
    if given := [f"dataset.{key}" for key in OWN if getattr(dataset, key) != getattr(DatasetConfig, key)]:
        raise ConfigurationError(
            f"{' and '.join(given)} can't be changed for {dataset.name}, which the catalogue describes; take "
            "dataset=custom with dataset.cube_file."
        )
    scene = load_catalogue_scene(dataset.name, data_folder(config.data_dir), dataset.classes)
    return scaled(scene, Reading(scaling=dataset.scaling))


def fits_memory(config: Config) -> bool:
    """Return whether to load the whole cube of the user's own scene (`dataset.in_memory`); results don't depend on it.

    Raises:
        SceneError: The file is missing or unusable.
    """
    dataset = config.dataset
    assert dataset.cube_file is not None
    if dataset.in_memory != "auto":
        return bool(dataset.in_memory)
    path, asking = expanded(dataset.cube_file), asker_config(config)
    methods = [method_of(config), *([method_of(asking)] if asking else [])]
    if not all(method.in_windows for method in methods) or not readable_in_windows(path):
        return True
    key = "cube" if dataset.cube_key is None and is_scene_file(path) else dataset.cube_key
    with opened_rows(path, key) as rows:
        return 4 * math.prod(rows.shape) <= dataset.memory_gb * 1e9


def build_split(config: Config, scene: Scene) -> Split:
    """Divide the labelled pixels as `divided` does, with enough candidates for the protocol.

    Raises:
        PoolError: The split leaves a side empty.
        PoolExhaustedError: The protocol needs more labels than there are candidates.
    """
    split = divided(config, scene)
    if config.protocol.labels_from is None:  # else known with these labels
        check_budget(config, scene, split, initial_size(config, scene.labels_of(split.initial)))
    return split


def divided(config: Config, scene: Scene, method: Method | None = None) -> Split:
    """Divide the labelled pixels into candidates and test pixels, in the same way for every root seed.

    Every `split.fold` is a draw of its own. The default guard is that of `method`, or of the configured learner.

    Raises:
        PoolError: The split leaves a side empty.
    """
    settings, ids = config.split, scene.labelled_ids
    labels = scene.labels_of(ids)
    rng = generator(settings.seed, "split", settings.fold)
    if settings.kind == "paper":
        split = divide_paper(ids)
    elif settings.kind == "given":
        if scene.test_pixels is None:
            raise ConfigurationError(
                "split=given takes the pixels of dataset.test_file as test pixels; name that file, or take another "
                "split."
            )
        split = divide_given(ids, labels, scene.test_pixels)
    elif settings.kind == "holdout":
        split = divide_holdout(ids, labels, rng, settings.fraction)
    else:
        shape = scene.height, scene.width
        split = divide_spatially(ids, labels, shape, settings.kind, rng, settings.block_size, guard_of(config, method))
    protocol = config.protocol
    if protocol.max_pixels is not None:
        split = split.thinned(protocol.max_pixels, generator(settings.seed, "thin", settings.fold))
        split = with_missing(split.kind, ids, labels, np.isin(ids, split.candidates), np.isin(ids, split.test))
    if settings.new_ground is not None:
        rng = generator(settings.seed, "new_ground", settings.fold)
        split = with_new_ground(split, scene.labels_of(split.scored_ids), rng, settings.new_ground)
    if settings.kind != "paper" and not len(split.test):
        key = "split.fraction" if settings.new_ground is None else "split.new_ground"
        raise PoolError(f"split={settings.kind} leaves no test pixels of {scene.name}; lower {key}.")
    return split


def check_budget(config: Config, scene: Scene, split: Split, initial: int, there: int = 0) -> None:
    """Raise PoolExhaustedError if a protocol with so many initial labels needs more than there are candidates.

    `there` of them lie on new ground already, where another run has asked them.
    """
    protocol, ids = config.protocol, scene.labelled_ids
    asked = protocol.rounds * protocol.query_size
    budget = initial + asked
    left = len(split.asked) - there
    if split.new_ground is not None and (initial - there > len(split.initial) or asked > left):
        raise PoolExhaustedError(
            f"The protocol asks for {initial} initial labels and {protocol.rounds} x {protocol.query_size} = {asked} "
            f"on new ground, but {scene.name} with split={split.kind} has {len(split.initial)} candidates for the "
            f"first and {left} for the others; lower {initial_key(config)}, protocol.rounds or "
            "protocol.query_size, or raise split.new_ground."
        )
    if budget > len(split.candidates):
        limited = protocol.max_pixels is not None and protocol.max_pixels < len(ids)
        thinned = f" and protocol.max_pixels={protocol.max_pixels}" if limited else ""
        raise_it = "raise protocol.max_pixels, or " if limited else ""
        n = len(split.candidates)
        free = initial_key(config) == "protocol.initial_size" and split.new_ground is None
        all_at_once = f", or learn from all at once with protocol.initial_size={n} protocol.rounds=0" if free else ""
        fitting = max(0, n - initial) // protocol.query_size
        rounds = f"protocol.rounds (to {fitting} or fewer)" if fitting else "protocol.rounds"
        raise PoolExhaustedError(
            f"The protocol asks for {initial} + {protocol.rounds} x {protocol.query_size} = {budget} "
            f"labels, but {scene.name} with split={split.kind}{thinned} has {len(split.candidates)} candidates; "
            f"{raise_it}lower {rounds}, {initial_key(config)} or protocol.query_size{all_at_once}."
        )


def initial_key(config: Config) -> str:
    """Return the key that says how many initial labels there are."""
    if config.protocol.labels_from is not None:
        return "protocol.labels_at"
    return "protocol.per_class" if config.protocol.per_class else "protocol.initial_size"


def guard_of(config: Config, method: Method | None = None) -> int:
    """Return the side of the window around a candidate without test pixels; 1 = no guard.

    By default blocks and checkerboard keep test pixels out of every training patch, and fields only divide.
    A `method` is taken in place of the one that `learner.name` selects.
    """
    if config.split.guard is not None:
        return config.split.guard
    if config.split.kind == "fields":
        return 1
    return max(config.patch_size, (method or method_of(config)).window(config) or 0)


def initial_size(config: Config, labels: Ids) -> int:
    """Return the number of initial labels, given the class indices of all candidates (N,)."""
    protocol = config.protocol
    if protocol.per_class is None:
        return protocol.initial_size
    # Where a class with fewer candidates is not allowed, `draw` raises.
    return int(np.minimum(np.unique(labels, return_counts=True)[1], protocol.per_class).sum())


def draw(config: Config, scene: Scene, candidates: Ids, learner: Learner) -> Ids:
    """Draw the pixel ids of the initial labels.

    Raises:
        PoolError: A class has too few candidates for its share.
        ConfigurationError: The draw is to use features, but the learner has none without labels.
    """
    protocol, labels, rng = config.protocol, scene.labels_of(candidates), generator(config.seed, "initial")
    names = [scene.class_names[value] for value in scene.label_values.tolist()]
    if protocol.per_class is not None:
        return draw_per_class(candidates, labels, protocol.per_class, rng, protocol.take_existing, names)
    size, kind = protocol.initial_size, protocol.initial
    if kind in DRAWS:
        return draw_initial(candidates, labels, size, kind, rng, protocol.min_per_class, names)
    return draw_typical(config, scene, candidates, learner, size, rng)


def draw_typical(
    config: Config, scene: Scene, candidates: Ids, learner: Learner, size: int, rng: np.random.Generator
) -> Ids:
    """Draw pixels that are typical of clusters of the candidates' spectra or features (`protocol.initial_on`).

    Raises:
        ConfigurationError: The draw is to use features, but the learner has none without labels.
        SceneError: The draw is to use spectra, but the cube stays in its file.
    """
    from hsi_al.pool.cold_start import draw_cold  # loads scikit-learn

    protocol, kind = config.protocol, config.protocol.initial
    if protocol.initial_on == "spectra":
        return draw_cold(candidates, scene.cube.reshape(-1, scene.n_bands)[candidates], size, kind, rng)
    features = learner.unlabelled_features(candidates) if isinstance(learner, HasFeatures) else None
    if features is None:
        by = config.acquisition.by
        name = f"acquisition.by={by}" if by else f"learner={config.learner.name}"
        raise ConfigurationError(
            f"protocol.initial_on=features: {name} has no features before it has learnt from labels; take "
            "protocol.initial_on=spectra, or protocol.initial=uniform."
        )
    return draw_cold(candidates, features, size, kind, rng, features=True)
