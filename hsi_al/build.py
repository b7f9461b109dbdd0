"""The parts of a run from its configuration."""

import math
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition
from hsi_al.acquisition.factory import ACQUISITIONS, Options, build_acquisition
from hsi_al.config import (
    CNN3D_BATCH_SIZE,
    NETWORKS,
    Cnn3dConfig,
    Config,
    DeepLearnerConfig,
    DfslSvmConfig,
    EffortConfig,
    EmpSvmConfig,
    JcrConfig,
)
from hsi_al.data.patches import Cube
from hsi_al.errors import ConfigurationError, LearnerError, PoolError, PoolExhaustedError
from hsi_al.learners.base import Learner
from hsi_al.learners.cae3d import EFFORTS as cae3d_efforts
from hsi_al.learners.cae3d import Cae3dExtractor
from hsi_al.learners.deep import EVERY_NETWORK_GIVES, DeepLearner, DeepSettings
from hsi_al.learners.dfsl import EFFORTS as dfsl_efforts
from hsi_al.learners.dfsl import DfslExtractor
from hsi_al.learners.emp import EmpExtractor, EmpSettings
from hsi_al.learners.jcr import JcrLearner, JcrSettings
from hsi_al.learners.ppf import EFFORTS as ppf_efforts
from hsi_al.learners.ppf import PpfLearner
from hsi_al.learners.ranks import ALONE, Ranks
from hsi_al.learners.scnn import EFFORTS as scnn_efforts
from hsi_al.learners.scnn import ScnnExtractor
from hsi_al.learners.svm import FeatureSvmLearner, GridSvm
from hsi_al.models.cae3d import WINDOW
from hsi_al.models.cnn3d import PATCH_SIZES
from hsi_al.models.factory import ONE_PIXEL
from hsi_al.models.scnn import PATCH_SIZE
from hsi_al.pool.cold_start import COLD_STARTS, draw_cold
from hsi_al.pool.initial import draw_initial, draw_per_class
from hsi_al.pool.splits import Split, divide_holdout, divide_paper, divide_spatially, with_missing
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import CATALOGUE, is_at_hand, load_catalogue_scene, load_custom_scene
from hsi_al.scenes.readers import opened_rows, readable_in_windows
from hsi_al.scenes.scene import Scene, is_scene_file, load_scene

Ids = NDArray[np.int64]
DATA_DIR_VARIABLE = "HSI_AL_DATA"
CNN3D_EPOCHS = {"paper": 200, "short": 50}


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
    return load_catalogue_scene(dataset.name, data_folder(config), dataset.classes)


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
    if config.learner.name not in NETWORKS or not readable_in_windows(path):
        return True
    key = "cube" if dataset.cube_key is None and is_scene_file(path) else dataset.cube_key
    with opened_rows(path, key) as rows:
        return 4 * math.prod(rows.shape) <= dataset.memory_gb * 1e9


def data_folder(config: Config) -> Path | None:
    """Where scene files are, None = the user's cache."""
    data_dir = config.data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return Path(data_dir).expanduser() if data_dir else None


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
    if kind in COLD_STARTS:
        return draw_cold(candidates, scene.cube.reshape(-1, scene.n_bands)[candidates], size, kind, rng)
    return draw_initial(candidates, labels, size, kind, rng, protocol.min_per_class, names)


def acquisition_of(config: Config) -> Acquisition:
    """Build the acquisition function.

    Raises:
        ConfigurationError: Unknown name, a score that can't be had, or an option that it doesn't take.
    """
    options = asdict(config.acquisition)
    return build_acquisition(options.pop("name"), Options(**options))


def build_learner(
    config: Config, scene: Scene, candidates: Ids, needs: frozenset[str] = frozenset(), ranks: Ranks = ALONE
) -> Learner:
    """Build the learner for a scene, a network also as one of several processes.

    Raises:
        LearnerError: It can't give what is needed, or lacks the scenes it learns from.
        ConfigurationError: Settings that don't fit the scene or the machine.
    """
    settings, n_classes = config.learner, scene.n_classes
    if isinstance(settings, DeepLearnerConfig | Cnn3dConfig):
        return build_deep_learner(config, scene.source, n_classes, candidates, needs, ranks=ranks)
    cube = scene.cube
    accelerator = config.trainer.accelerator
    once = int(generator(config.seed, "features").integers(2**63))
    learner: Learner
    if isinstance(settings, EmpSvmConfig):
        components = settings.components
        if components >= 1:
            if not components.is_integer():
                raise ConfigurationError(f"learner.components={components} must be whole, or a share below 1.")
            components = int(components)
        emp = EmpExtractor(cube, EmpSettings(components, tuple(settings.radii), settings.reconstruction))
        learner = FeatureSvmLearner(emp, n_classes, GridSvm("rbf", 5), needs, once)
    elif isinstance(settings, JcrConfig):
        learner = JcrLearner(cube, n_classes, JcrSettings(variant=settings.variant))
    elif isinstance(settings, DfslSvmConfig):
        dfsl = DfslExtractor(cube, source_scenes(config, settings), dfsl_efforts[settings.effort], accelerator)
        learner = FeatureSvmLearner(dfsl, n_classes, GridSvm("rbf", 4), needs, once)
    else:
        assert isinstance(settings, EffortConfig)
        if settings.name == "cnn_ppf":
            learner = PpfLearner(cube, n_classes, ppf_efforts[settings.effort], accelerator)
        elif settings.name == "cae3d_svm":
            cae3d = Cae3dExtractor(cube, cae3d_efforts[settings.effort], accelerator)
            learner = FeatureSvmLearner(cae3d, n_classes, GridSvm("rbf", 5), needs, once)
        else:
            scnn = ScnnExtractor(cube, scnn_efforts[settings.effort], accelerator)
            learner = FeatureSvmLearner(scnn, n_classes, GridSvm("linear", 5), needs)
    require_needs(config, needs, learner.provides)
    return learner


def training_patch(config: Config) -> int | None:
    """Side of the window of the scene that a labelled pixel is learnt from; None where patches are not cut."""
    learner = config.learner
    if isinstance(learner, DeepLearnerConfig):
        return config.patch_size
    if isinstance(learner, Cnn3dConfig):
        return PATCH_SIZES[learner.architecture]
    if isinstance(learner, DfslSvmConfig):
        return dfsl_efforts[learner.effort].patch_size
    return {"scnn_svm": PATCH_SIZE, "cae3d_svm": WINDOW}.get(learner.name)


def require_needs(config: Config, needs: frozenset[str], provides: frozenset[str]) -> None:
    """Raise LearnerError, listing the acquisitions that work, where a learner can't give what this one needs."""
    if missing := needs - provides:
        works = [name for name in ACQUISITIONS if build_acquisition(name).needs <= provides]
        raise LearnerError(
            f"learner={config.learner.name} can't give {', '.join(sorted(missing))}, which acquisition="
            f"{config.acquisition.name} needs; with it work {', '.join(works)}."
        )


def source_scenes(config: Config, settings: DfslSvmConfig) -> list[Scene]:
    """The scenes that DFSL learns from: those named, or all others that need no download.

    Raises:
        SceneError: A named scene can't be had.
        LearnerError: None is named and none is at hand, or the target is among them.
    """
    folder, target = data_folder(config), config.dataset.name
    names = settings.source_scenes
    if names is None:
        at_hand = [name for name in CATALOGUE if whole_of(name) != whole_of(target) and is_at_hand(name, folder)]
        names = [name for name in at_hand if whole_of(name) == name or whole_of(name) not in at_hand]
        if not names:
            raise LearnerError(
                f"learner=dfsl_svm learns from other scenes than {target}, and none is at hand; name some "
                "with learner.source_scenes=[salinas,pavia_university], or set data_dir to a folder that holds some."
            )
    if same := [name for name in names if whole_of(name) == whole_of(target)]:
        raise LearnerError(f"learner.source_scenes holds {', '.join(same)}, which shares pixels with {target}.")
    return [
        load_catalogue_scene(name, folder) if name in CATALOGUE else load_scene(Path(name).expanduser())
        for name in names
    ]


def whole_of(name: str) -> str:
    """The scene of the catalogue that holds all pixels and classes of this one, maybe itself."""
    return {"indian_pines": "indian_pines_16", "salinas_a": "salinas"}.get(name, name)


def require_network(config: Config) -> None:
    """Raise ConfigurationError for learners whose state is not a network's weights."""
    if not isinstance(config.learner, DeepLearnerConfig | Cnn3dConfig):
        raise ConfigurationError(
            f"learner={config.learner.name} keeps no network that could be applied to another cube; deep and cnn3d do."
        )


def build_deep_learner(
    config: Config,
    cube: Cube,
    n_classes: int,
    candidates: Ids,
    needs: frozenset[str] = frozenset(),
    limits: tuple[float, float] | None = None,
    ranks: Ranks = ALONE,
) -> DeepLearner:
    """Build a network's learner for a cube (H, W, bands), in memory or in its file.

    Raises:
        LearnerError: It can't give what is needed.
        ConfigurationError: Settings that don't fit the scene or the machine, or a learner that is no network.
    """
    learner, backbone, protocol, trainer = config.learner, config.backbone, config.protocol, config.trainer
    require_network(config)
    settings = DeepSettings(
        accelerator=trainer.accelerator,
        precision=trainer.precision,
        channels_last=trainer.channels_last,
        predict_batch_size=trainer.predict_batch_size,
        draws=config.acquisition.draws,
        predict_precision=trainer.predict_precision,
        compile=trainer.compile,
    )
    if isinstance(learner, Cnn3dConfig):
        require_needs(config, needs, EVERY_NETWORK_GIVES)
        settings = replace(
            settings,
            backbone=learner.architecture,
            patch_size=PATCH_SIZES[learner.architecture],
            channels_last=False,  # a layout of 2-D convolutions
            batch_size=CNN3D_BATCH_SIZE,
            epochs=CNN3D_EPOCHS[learner.effort],
        )
    else:
        assert isinstance(learner, DeepLearnerConfig)
        settings = replace(
            settings,
            backbone=backbone.name,
            stem=backbone.stem or protocol.stem,
            dropout=backbone.dropout,
            transition_pooling=backbone.transition_pooling,
            table1_widths=backbone.table1_widths,
            patch_size=1 if backbone.name in ONE_PIXEL else config.patch_size,
            epochs=protocol.epochs,
            warm_epochs=protocol.warm_epochs,
            warm_start=protocol.warm_start,
            batch_size=protocol.batch_size,
            lr=protocol.lr,
            schedule=protocol.schedule,
            lr_warm_up=protocol.lr_warm_up,
            augment=protocol.augment,
            label_smoothing=protocol.label_smoothing,
            average_weights=protocol.average_weights,
            detach=learner.detach,
            ranking_weight=learner.ranking_weight,
            margin=learner.margin,
            fuse=learner.fuse,
            class_weights=learner.class_weights,
        )
    return DeepLearner(cube, n_classes, candidates, settings, needs, limits, ranks)
