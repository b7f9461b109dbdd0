"""The parts of a run from its configuration."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.config import Config, DeepLearnerConfig
from hsi_al.errors import ConfigurationError, PoolError, PoolExhaustedError
from hsi_al.learners.deep import DeepLearner, DeepSettings
from hsi_al.pool.initial import draw_initial
from hsi_al.pool.splits import Split, divide_holdout, divide_paper, divide_spatially, with_missing
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import CATALOGUE, load_catalogue_scene, load_custom_scene
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
DATA_DIR_VARIABLE = "HSI_AL_DATA"


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
        )
        return scene if dataset.class_names is None else named(scene, dataset.class_names)
    if dataset.name not in CATALOGUE:
        raise ConfigurationError(
            f"The scene {dataset.name} needs dataset.cube_file=<file>, and dataset.ground_truth_file=<file> unless "
            f"both are in one; scenes known by name are {', '.join(CATALOGUE)}."
        )
    own = ("cube_key", "ground_truth_file", "ground_truth_key", "class_names", "rgb_bands")
    if given := [f"dataset.{key}" for key in own if getattr(dataset, key)]:
        raise ConfigurationError(
            f"{' and '.join(given)} can't be changed for {dataset.name}, which the catalogue describes; take "
            "dataset=custom with dataset.cube_file."
        )
    data_dir = config.data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return load_catalogue_scene(dataset.name, Path(data_dir).expanduser() if data_dir else None, dataset.classes)


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
    budget = protocol.initial_size + protocol.rounds * protocol.query_size
    if budget > len(split.candidates):
        raise PoolExhaustedError(
            f"The protocol asks for {protocol.initial_size} + {protocol.rounds} x {protocol.query_size} = {budget} "
            f"labels, but {scene.name} with split={settings.kind} has {len(split.candidates)} candidates; lower "
            "protocol.initial_size, protocol.rounds or protocol.query_size."
        )
    return split


def draw(config: Config, scene: Scene, candidates: Ids) -> Ids:
    """The initial labels' pixel ids.

    Raises:
        PoolError: A class has too few candidates for its share.
    """
    protocol = config.protocol
    return draw_initial(
        candidates,
        scene.labels_of(candidates),
        protocol.initial_size,
        protocol.initial,
        generator(config.seed, "initial"),
        protocol.min_per_class,
        [scene.class_names[value] for value in scene.label_values.tolist()],
    )


def build_learner(
    config: Config,
    cube: NDArray[np.generic],
    n_classes: int,
    candidates: Ids,
    needs: frozenset[str] = frozenset(),
    limits: tuple[float, float] | None = None,
) -> DeepLearner:
    """Build the learner for a cube (H, W, bands).

    Raises:
        LearnerError: It can't give what is needed.
        ConfigurationError: Settings that don't fit the scene or the machine.
    """
    learner, backbone, protocol, trainer = config.learner, config.backbone, config.protocol, config.trainer
    if not isinstance(learner, DeepLearnerConfig):
        raise ConfigurationError(f"learner={learner.name} is unknown; choose one of deep.")
    settings = DeepSettings(
        backbone=backbone.name,
        stem=backbone.stem or protocol.stem,
        dropout=backbone.dropout,
        transition_pooling=backbone.transition_pooling,
        table1_widths=backbone.table1_widths,
        patch_size=config.patch_size,
        epochs=protocol.epochs,
        warm_epochs=protocol.warm_epochs,
        warm_start=protocol.warm_start,
        batch_size=protocol.batch_size,
        lr=protocol.lr,
        schedule=protocol.schedule,
        detach=learner.detach,
        ranking_weight=learner.ranking_weight,
        margin=learner.margin,
        fuse=learner.fuse,
        class_weights=learner.class_weights,
        accelerator=trainer.accelerator,
        precision=trainer.precision,
        channels_last=trainer.channels_last,
        predict_batch_size=trainer.predict_batch_size,
    )
    return DeepLearner(cube, n_classes, candidates, settings, needs, limits)
