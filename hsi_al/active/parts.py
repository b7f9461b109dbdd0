"""The parts of a run from its configuration: scene, split, pool, learner, acquisition function, run directory."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.run_directory import RunDirectory
from hsi_al.active.stopping import Stopping
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, PoolError, PoolExhaustedError
from hsi_al.methods.base import Learner
from hsi_al.methods.registry import build_learner, method_of
from hsi_al.methods.room import Task
from hsi_al.pool.initial import DRAWS, draw_initial, draw_per_class
from hsi_al.pool.label_pool import LabelPool
from hsi_al.pool.oracles import GroundTruthOracle, Oracle
from hsi_al.pool.splits import Split, divide_holdout, divide_paper, divide_spatially, with_missing
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import CATALOGUE, data_folder, load_catalogue_scene, load_custom_scene
from hsi_al.scenes.readers import opened_rows, readable_in_windows
from hsi_al.scenes.scene import Scene, is_scene_file
from hsi_al.training.ranks import ALONE, Ranks

Ids = NDArray[np.int64]


@dataclass
class Parts:
    """What a run consists of.

    Attributes:
        config: Checked configuration.
        scene: Cube and ground truth.
        split: Candidates and test pixels.
        acquisition: Selects the queries.
        learner: Fits and predicts.
        oracle: Answers.
        directory: Where rounds are committed.
        pool: The labels committed so far, or the initial ones.
        stopping: Rules that end a run before its last round.
        first_round: The round to run next.
        rounds: Number of the last round.
        stopped: Round and reason if a rule has ended the run.
        ranks: The processes that run it together.
    """

    config: Config
    scene: Scene
    split: Split
    acquisition: Acquisition
    learner: Learner
    oracle: Oracle
    directory: RunDirectory
    pool: LabelPool
    stopping: Stopping
    first_round: int
    rounds: int
    ranks: Ranks = ALONE
    stopped: dict[str, Any] | None = None

    def stop(self, reason: str) -> None:
        """The last committed round is the last one."""
        self.rounds = len(self.directory.rows) - 1
        self.stopped = {"round": self.rounds, "reason": reason}

    def missing(self) -> dict[str, list[int]]:
        """Label values that a side of the split lacks."""
        sides = {"candidates": self.split.missing_in_candidates, "test": self.split.missing_in_test}
        return {side: [int(self.scene.label_values[index]) for index in missing] for side, missing in sides.items()}

    @property
    def method(self) -> str:
        """The network's or the learner's name."""
        return self.config.learner.method.removeprefix("deep-")

    def title(self) -> str:
        """What tells this run from others."""
        config = self.config
        return (
            f"{config.dataset.name}, {self.method}, {config.acquisition.name}, "
            f"protocol {config.protocol.name}, split {config.split.kind}, seed {config.seed}"
        )

    def overlap(self) -> dict[str, Any]:
        """Held-out pixels that lie in a training patch, at first and now; `patch_size` None without patches."""
        patch_size = method_of(self.config).window(self.config)
        shape, pool = (self.scene.height, self.scene.width), self.pool
        found: dict[str, Any] = {"patch_size": patch_size}
        if patch_size is not None:
            for when, labelled in (("initial", pool.labelled_at == 0), ("last", pool.is_labelled)):
                inside, heldout = self.split.overlap(pool.candidates[labelled], shape, patch_size)
                found[when] = {"labels": int(labelled.sum()), "inside": inside, "heldout": heldout}
        return found


def build_parts(config: Config, path: Path, ranks: Ranks, tell: Callable[[Scene], None]) -> Parts:
    """Build a run, or take it up where its directory says.

    Args:
        config: Checked configuration.
        path: Run directory.
        ranks: The processes that run it together.
        tell: Called with the scene, before anything that takes long to import.

    Raises:
        HsiAlError: Bad input.
    """
    scene = build_scene(config)
    tell(scene)
    split = build_split(config, scene)
    acquisition = build_acquisition(config.acquisition.name, config.acquisition)
    cube = scene.source if method_of(config).in_windows else scene.cube
    learner = build_learner(Task(config, cube, scene.n_classes, split.candidates, acquisition.needs, ranks=ranks))
    directory, pool, protocol = RunDirectory(path, scene.label_values), LabelPool(split.candidates), config.protocol
    parts = Parts(
        config,
        scene,
        split,
        acquisition,
        learner,
        GroundTruthOracle(scene.labelled_ids, scene.labels_of(scene.labelled_ids)),
        directory,
        pool,
        Stopping(protocol.stop_at, protocol.stop_when_stable),
        directory.restore(pool),
        protocol.rounds,
        ranks,
    )
    if 0 < parts.first_round <= parts.rounds and (reason := parts.stopping.reason(directory.rows)):
        parts.stop(reason)
    if parts.first_round == 0:
        initial = draw(config, scene, split.candidates)
        pool.add(initial, parts.oracle.label(initial), 0)
    return parts


def build_scene(config: Config) -> Scene:
    """Load the scene: one's own if a cube file is given, else from the catalogue.

    Raises:
        SceneError: A file is missing or unusable.
        ConfigurationError: No file is named, and the catalogue has no such scene.
    """
    dataset = config.dataset
    if dataset.cube_file is not None:
        scene = load_custom_scene(
            dataset.name,
            Path(dataset.cube_file).expanduser(),
            dataset.cube_key,
            None if dataset.ground_truth_file is None else Path(dataset.ground_truth_file).expanduser(),
            dataset.ground_truth_key,
            dataset.classes,
            rgb_bands=dataset.rgb_bands,
            in_memory=fits_memory(config),
        )
        return scene if dataset.class_names is None else named(scene, dataset.class_names)
    if dataset.name not in CATALOGUE:
        raise ConfigurationError(
            f"The scene {dataset.name} needs dataset.cube_file=<file>, and dataset.ground_truth_file=<file> unless "
            f"both are in one; scenes known by name are {', '.join(CATALOGUE)}."
        )
    if dataset.in_memory is False:
        raise ConfigurationError(
            f"dataset.in_memory=false can't be had for {dataset.name} of the catalogue; take dataset=custom with "
            "dataset.cube_file."
        )
    own = ("cube_key", "ground_truth_file", "ground_truth_key", "class_names", "rgb_bands")
    if given := [f"dataset.{key}" for key in own if getattr(dataset, key)]:
        raise ConfigurationError(
            f"{' and '.join(given)} can't be changed for {dataset.name}, which the catalogue describes; take "
            "dataset=custom with dataset.cube_file."
        )
    return load_catalogue_scene(dataset.name, data_folder(config.data_dir), dataset.classes)


def fits_memory(config: Config) -> bool:
    """Whether the whole cube of a scene of one's own is read, as `dataset.in_memory` says; results are the same.

    Raises:
        SceneError: The file is missing or unusable.
    """
    dataset = config.dataset
    assert dataset.cube_file is not None
    if dataset.in_memory != "auto":
        return bool(dataset.in_memory)
    path = Path(dataset.cube_file).expanduser()
    if not method_of(config).in_windows or not readable_in_windows(path):
        return True
    key = "cube" if dataset.cube_key is None and is_scene_file(path) else dataset.cube_key
    with opened_rows(path, key) as rows:
        return 4 * math.prod(rows.shape) <= dataset.memory_gb * 1e9


def named(scene: Scene, names: list[str]) -> Scene:
    """The scene with these class names, in ascending order of its label values.

    Raises:
        ConfigurationError: Another number of names than classes.
    """
    if len(names) != scene.n_classes:
        raise ConfigurationError(
            f"dataset.class_names holds {len(names)} names, but {scene.name} has the {scene.n_classes} label values "
            f"{scene.label_values.tolist()}; give one for each, in this order."
        )
    return replace(scene, class_names=dict(zip(scene.label_values.tolist(), names, strict=True)))


def build_split(config: Config, scene: Scene) -> Split:
    """Candidates and test pixels; the same for every root seed.

    Raises:
        PoolError: The split leaves a side empty.
        PoolExhaustedError: The labels that the protocol asks for are more than the candidates.
    """
    settings, ids = config.split, scene.labelled_ids
    labels = scene.labels_of(ids)
    rng = generator(settings.seed, "split")
    if settings.kind == "paper":
        split = divide_paper(ids)
    elif settings.kind == "holdout":
        split = divide_holdout(ids, labels, rng, settings.fraction)
    else:
        shape = (scene.height, scene.width)
        split = divide_spatially(ids, labels, shape, settings.kind, rng, settings.block_size, config.patch_size)
    protocol = config.protocol
    if protocol.max_pixels is not None:
        split = split.thinned(protocol.max_pixels, generator(settings.seed, "thin"))
        split = with_missing(split.kind, ids, labels, np.isin(ids, split.candidates), np.isin(ids, split.test))
    if settings.kind != "paper" and not len(split.test):
        raise PoolError(f"split={settings.kind} leaves no test pixels of {scene.name}; lower split.fraction.")
    initial = initial_size(config, scene.labels_of(split.candidates))
    budget = initial + protocol.rounds * protocol.query_size
    if budget > len(split.candidates):
        raise PoolExhaustedError(
            f"The protocol asks for {initial} + {protocol.rounds} x {protocol.query_size} = {budget} "
            f"labels, but {scene.name} with split={settings.kind} has {len(split.candidates)} candidates; lower "
            f"{'protocol.per_class' if protocol.per_class else 'protocol.initial_size'}, protocol.rounds or "
            "protocol.query_size."
        )
    return split


def initial_size(config: Config, labels: Ids) -> int:
    """Labels before the first query, given those of all candidates (N,)."""
    protocol = config.protocol
    if protocol.per_class is None:
        return protocol.initial_size
    # A class with fewer is an error that the draw names.
    return int(np.minimum(np.unique(labels, return_counts=True)[1], protocol.per_class).sum())


def draw(config: Config, scene: Scene, candidates: Ids) -> Ids:
    """The initial labels' pixel ids.

    Raises:
        PoolError: A class has too few candidates for its share.
    """
    protocol, labels, rng = config.protocol, scene.labels_of(candidates), generator(config.seed, "initial")
    names = [scene.class_names[value] for value in scene.label_values.tolist()]
    if protocol.per_class is not None:
        return draw_per_class(candidates, labels, protocol.per_class, rng, protocol.take_existing, names)
    size, kind = protocol.initial_size, protocol.initial
    if kind in DRAWS:
        return draw_initial(candidates, labels, size, kind, rng, protocol.min_per_class, names)
    from hsi_al.pool.cold_start import draw_cold  # loads scikit-learn

    return draw_cold(candidates, scene.cube.reshape(-1, scene.n_bands)[candidates], size, kind, rng)
