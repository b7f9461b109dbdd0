"""The keys of the configuration with their types, defaults, meanings and allowed values.

The YAML files under conf/ set some of them. The keys of a learner are defined beside it, in `hsi_al/methods/<name>`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from hsi_al.options import option

AXES = ("HWB", "WHB", "BHW", "BWH", "HBW", "WBH")
SCALINGS = ("auto", "minmax", "robust", "standard")
SCHEDULES = ("constant", "cosine", "one_cycle")
STEMS = ("s1", "s2", "s1_pool", "s2_pool")
PRECISIONS = ("32-true", "tf32", "bf16-mixed", "16-mixed")
# Values beyond these are mistakes: they would only run out of memory or time.
MOST_SEED = 2**63 - 1
MOST_LABELS = 10**9
MOST_PIXELS = 10**12
MOST_ROUNDS = 10**6  # also epochs and folds
MOST_THREADS = 1024
MOST_SIDE = 10**6  # pixels, of a block or between two pixels
# Keys that wrap any acquisition function: with one of them, the function's name alone would stand for another method.
WRAPPERS = ("subset", "min_distance", "class_balance", "by")


@dataclass
class DatasetConfig:
    """The scene: one of the catalogue by its name, or the user's own files."""

    name: str = option(MISSING, "name of a scene in the catalogue; for your own scene any name, used as a folder")
    cube_file: str | None = option(None, "file with the cube of your own scene: (rows, columns, bands)")
    cube_key: str | None = option(None, "key of the cube in its file; default: the only array in the file")
    axes: str = option("HWB", "order of the cube's axes in its file: H rows, W columns, B bands", choices=AXES)
    no_data: list[float] | None = option(
        None,
        "values of missing data, such as [-9999,nan]: their pixels are left out; default: what the file says",
        finite=False,
    )
    scaling: str = option(
        "minmax",
        "of the values before learning; robust clips outliers; standard also gives every band mean 0 and deviation 1; "
        "auto: robust where outliers stretch the range",
        choices=SCALINGS,
    )
    bands: Any = option(
        None,
        "bands to use: numbers from 0, such as [0,1,5], or ranges in nm, such as [[400,1340],[1460,1790]]; default: "
        "all that the file doesn't call bad",
        low=0,
        most=10**6,
    )
    ground_truth_file: str | None = option(
        None,
        "file of the labels: (rows, columns), 0 = unlabelled, or points and polygons; default: cube_file if "
        "ground_truth_key is given",
    )
    ground_truth_key: str | None = option(None, "key of the ground truth in its file; the layer of points and polygons")
    labels: str | None = option(
        None, "folder of a labelling session (hsi_al.label), whose labels take the place of the ground truth"
    )
    label_field: str | None = option(None, "field of points and polygons with the class; default: the only one")
    test_file: str | None = option(None, "file of labels that only test the learner, for split=given")
    test_key: str | None = option(None, "key or layer of the labels in test_file")
    test_field: str | None = option(None, "field of points and polygons in test_file; default: label_field")
    unlabelled: int = option(
        0,
        "label value of unlabelled pixels in the file; unless it is 0, 0 is a class",
        low=-(2**31),
        most=2**31 - 1,
    )
    ignore_labels: list[int] | None = option(
        None, "label values whose pixels count as unlabelled, such as [255]", low=-(2**31), most=2**31 - 1
    )
    classes: list[int] | None = option(
        None, "label values to keep; default: the catalogue's choice, or all", low=0, most=2**31 - 1
    )
    class_names: Any = option(
        None,
        "names of the classes, in the order of dataset.classes, without it by ascending label value; or of some of "
        'them, such as "{3: wheat, 7: maize}"',
    )
    rgb_bands: list[int] | None = option(
        None, "three bands of the false-colour picture, zero-based, of those that are used", low=0, most=10**6
    )
    in_memory: Any = option(
        "auto",
        "false: the cube stays in its file; auto: it does if larger than memory_gb, where file and learner allow it",
        choices=("auto", True, False),
    )
    memory_gb: float = option(4.0, "largest cube that in_memory=auto loads, 10^9 bytes of float32", low=0, most=10**6)


# The question that the test pixels of each split ask, and of one with `split.new_ground`.
COMPLETE_MAP, NEW_GROUND, NEW_LABELS = (
    "complete this map",
    "map ground without labels",
    "map new ground with a handful of labels there",
)
GIVEN = "score given test labels"
QUESTIONS = {
    **{"paper": COMPLETE_MAP, "holdout": COMPLETE_MAP},
    **{"blocks": NEW_GROUND, "checkerboard": NEW_GROUND, "fields": NEW_GROUND},
    "given": GIVEN,
}


@dataclass
class SplitConfig:
    """The split of the labelled pixels into candidates and test pixels."""

    kind: str = option(MISSING, "kind of split", choices=tuple(QUESTIONS))
    seed: int = option(
        0, "seed of the split alone: runs with different root seeds share their test pixels", low=0, most=MOST_SEED
    )
    fraction: float = option(0.5, "holdout: fraction of every class that becomes candidates", above=0, below=1)
    block_size: int = option(48, "blocks, checkerboard: side of a block, pixels", low=1, most=MOST_SIDE)
    guard: int | None = option(
        None,
        "blocks, checkerboard, fields: side of the window around a candidate without test pixels; default: none for "
        "fields, else patch_size, or the learner's own window if larger",
        low=1,
        most=MOST_SIDE,
    )
    fold: int = option(
        0, "number of the division, another draw of the same split each; not with paper", low=0, most=MOST_ROUNDS
    )
    new_ground: float | None = option(
        None,
        "blocks, checkerboard, fields: queries ask on the test side alone, among this fraction of every class there; "
        "the rest tests, and initial labels come from the other side",
        above=0,
        below=1,
    )


KINDS_WITH = {"fraction": ("holdout",), "block_size": ("blocks", "checkerboard")}
"""Kinds of split that take a key."""


def name_with_variants(split: SplitConfig) -> str:
    """Return the kind of the split with guard, new ground and fold if set, such as `blocks-guard=16-fold=1`."""
    variants = {"guard": split.guard, "new_ground": split.new_ground, "fold": split.fold}
    return "-".join([split.kind, *(f"{key}={value}" for key, value in variants.items() if value)])


def question_of(kind: str, new_ground: bool) -> str:
    """Return the question that a split of this kind asks; empty for an unknown kind."""
    return NEW_LABELS if new_ground else QUESTIONS.get(kind, "")


OmegaConf.register_new_resolver("name_with_variants", name_with_variants, replace=True)  # as `name_with_wrappers`


@dataclass
class ProtocolConfig:
    """The budget of labels, the rounds and the training; the defaults are the paper's."""

    name: str = option(MISSING, "name of the protocol in folders and titles")
    initial_size: int = option(160, "labels before the first query", low=2, most=MOST_LABELS)
    initial: str = option(
        "uniform",
        "how the initial labels are drawn",
        choices=("uniform", "per_class", "stratified", "kmeans", "typiclust"),
    )
    initial_on: str = option(
        "spectra",
        "what kmeans and typiclust cluster: spectra, or the features of a learner that has some without labels",
        choices=("spectra", "features"),
    )
    min_per_class: int = option(0, "minimum number of initial labels per class", low=0, most=MOST_LABELS)
    per_class: int | None = option(
        None, "number of initial labels per class, instead of initial_size", low=1, most=MOST_LABELS
    )
    labels_from: str | None = option(
        None, "directory of another run of the same scene, whose labels become the initial ones in place of a draw"
    )
    labels_at: int | None = option(
        None, "take only the first so many of the labels of labels_from; default: all", low=1, most=MOST_LABELS
    )
    take_existing: bool = option(
        False, "of a class with fewer than per_class candidates, take all; else that is an error"
    )
    query_size: int = option(10, "labels requested per query", low=1, most=MOST_LABELS)
    rounds: int = option(32, "number of queries; one more training follows the last one", low=0, most=MOST_ROUNDS)
    epochs: int = option(200, "epochs of a round that starts from fresh weights", low=1, most=MOST_ROUNDS)
    warm_epochs: int = option(20, "epochs of every round after the first with warm_start", low=1, most=MOST_ROUNDS)
    warm_start: bool = option(False, "start every later round from the weights of the previous round")
    batch_size: int = option(10, "pixels per training step", low=2, most=10**6)
    lr: float = option(1e-3, "learning rate of Adam; with a schedule its peak", above=0, most=100)
    schedule: str = option("constant", "course of the learning rate within a round", choices=SCHEDULES)
    lr_warm_up: float = option(
        0.0, "fraction of a round's steps in which the learning rate rises to lr; not with one_cycle", low=0, high=1
    )
    augment: bool = option(False, "flip and rotate every patch anew in every epoch")
    label_smoothing: float = option(
        0.0, "label smoothing of the cross-entropy; the losses that the ranking loss compares have none", low=0, below=1
    )
    average_weights: float | None = option(
        None, "predict with an exponential moving average of the weights; this is its decay per step", low=0, below=1
    )
    stem: str = option("s1", "first layers of the networks: stride 1 or 2, with or without pooling", choices=STEMS)
    max_pixels: int | None = option(
        None, "use only this many of the scene's labelled pixels, drawn at random", low=1, most=MOST_PIXELS
    )
    full_map: bool = option(True, "predict every pixel of the scene after the last round")
    stop_at: float | None = option(
        None, "stop at this held-out OA (a fraction), which is then optimistic; not with split=paper", low=0, high=1
    )
    stop_when_stable: float | None = option(
        None, "stop once kappa between predictions of successive rounds exceeds this 3 times in a row", low=0, high=1
    )


def name_with_labels(protocol: ProtocolConfig) -> str:
    """Return the protocol's name with the run that its labels come from, such as `short-from=lda-margin-labels=240`.

    Of a folder that ends as those in outputs/ do, method and acquisition stand for the run, else its own name; it is
    shortened, and characters that names of folders lack are replaced.
    """
    if protocol.labels_from is None:
        return protocol.name
    parts = Path(protocol.labels_from).parts
    source = "-".join(parts[-4:-2]) if len(parts) > 3 and parts[-1].startswith("seed=") else "".join(parts[-1:])
    source = re.sub(r"[^\w.=-]+", "_", source)[:60].rstrip(".")
    name = f"{protocol.name}-from={source}"
    return name if protocol.labels_at is None else f"{name}-labels={protocol.labels_at}"


OmegaConf.register_new_resolver("name_with_labels", name_with_labels, replace=True)  # as `name_with_wrappers`


@dataclass(kw_only=True)
class LearnerConfig:
    """The keys that all learners share; a learner's own keys are the fields of a subclass in `hsi_al/methods`."""

    name: str = option(MISSING, "name of the learner")
    method: str = option(MISSING, "name in folders, curves and tables; composed in conf/learner/")


@dataclass(kw_only=True)
class EffortConfig(LearnerConfig):
    """The keys of a compared method that is trained by gradient descent."""

    effort: str = option(
        "paper", "paper: trained as its paper specifies; short: less training, for a CPU", choices=("paper", "short")
    )


WINDOWS = "sides of the square windows that spectra are averaged over, odd; of several, all are used"


@dataclass(kw_only=True)
class SpectraConfig(LearnerConfig):
    """The keys of a learner on spectra, averaged over windows."""

    windows: list[int] = option([1], WINDOWS, low=1, most=10**4)
    unit_length: bool = option(False, "divide every spectrum by its Euclidean length, against other brightness")
    derivatives: bool = option(False, "append the differences between neighbouring bands")


@dataclass
class BackboneConfig:
    """The backbone of the deep learner."""

    name: str = option(MISSING, "name of the backbone")
    stem: str | None = option(None, "first layers; default: protocol.stem", choices=STEMS)
    dropout: float = option(
        0.0, "dropout on the pooled features; 0 counts as 0.5 where the acquisition needs dropout draws", low=0, below=1
    )
    transition_pooling: str = option("max", "pooling between the blocks of DenseNets", choices=("max", "avg"))
    table1_widths: bool = option(False, "take the transition widths of the paper's Table I for DenseNet-169 and 201")


@dataclass
class AcquisitionConfig:
    """The acquisition function, which selects the pixels of a query."""

    name: str = option(MISSING, "name of the acquisition function")
    subset: int | None = option(
        None,
        "rank only this many random candidates, against near-duplicates (Yoo & Kweon 2019)",
        low=1,
        most=MOST_PIXELS,
    )
    min_distance: int | None = option(
        None,
        "minimum distance between any two pixels of a query, in rows or columns; halved when no candidate is left",
        low=1,
        most=MOST_SIDE,
    )
    class_balance: bool = option(False, "equally many pixels of every predicted class")
    by: str | None = option(
        None,
        "another learner, with its default keys, that is fitted for every query and whose outputs decide what is asked",
    )
    by_step: int | None = option(
        None,
        "labels that the learner of acquisition.by asks at once, then it is fitted again; default: 10",
        low=1,
        most=MOST_LABELS,
    )
    score: str | None = option(None, "your own score as module.function; its arguments name the outputs it reads")
    draws: int = option(16, "number of dropout masks, or of members of the committee", low=2, most=10**4)
    shortlist: int = option(
        10, "cluster_margin, loss_prediction_diverse: preselect this many times query_size by score", low=1, most=10**6
    )
    neighbours: int = option(20, "typiclust: number of neighbours in the mean distance", low=1, most=10**6)
    radius: float | None = option(
        None, "prob_cover: radius of a ball, for embeddings of length 1; default: by purity of the balls", low=0, high=2
    )


def name_with_wrappers(acquisition: AcquisitionConfig) -> str:
    """Return the acquisition function's name with the wrappers that are set, such as `margin-min_distance=8`."""
    values = {key: getattr(acquisition, key) for key in WRAPPERS}
    return "-".join([acquisition.name, *(f"{key}={str(value).lower()}" for key, value in values.items() if value)])


# Registered on import, not where Hydra starts: each job of a sweep resolves its folder in its own process.
OmegaConf.register_new_resolver("name_with_wrappers", name_with_wrappers, replace=True)


@dataclass
class MapConfig:
    """What is done to the map of the whole scene after the last round, beside the method's own map and numbers."""

    filter: str = option(
        "none", "majority: a second map, of the most frequent class around each pixel", choices=("none", "majority")
    )
    side: int = option(5, "odd side of the square that votes, pixels", low=3, most=1001)


OWN = "own"  # oracle of a caller


@dataclass
class OracleConfig:
    """The oracle, which gives the labels of queried pixels."""

    name: str = option(MISSING, "name of the oracle; own: a function in Python", choices=("ground_truth", OWN))
    function: str | None = option(None, "name of that function")


@dataclass
class TrainerConfig:
    """Devices, precision and speed."""

    accelerator: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    devices: int = option(
        1, "number of devices that train and score one run together, a process each", low=1, most=1024
    )
    precision: str = option("32-true", "floating-point precision of training", choices=PRECISIONS)
    compile: str = option(
        "auto",
        "compile the training step with torch.compile; auto: on a GPU, if a round is long enough",
        choices=("auto", "on", "off"),
    )
    threads: int | None = option(
        None, "number of CPU threads; default: the cores available to this process", low=1, most=MOST_THREADS
    )
    channels_last: bool = option(True, "store patches with the channels (bands) last in memory")
    profile: bool = option(False, "write profile.md (seconds per phase) and trace.json")
    predict_batch_size: int | None = option(
        None,
        "pixels scored at once; default: as many as fit on a GPU; on a CPU by stem and patch size",
        low=1,
        most=10**6,
    )
    predict_precision: str | None = option(
        None, "floating-point precision of scoring; default: that of training", choices=PRECISIONS
    )


@dataclass
class LoggerConfig:
    """The logger, which receives the curves besides the run directory."""

    name: str = option(MISSING, "name of the logger", choices=("none", "wandb", "tensorboard"))
    project: str = option("hsi_al", "W&B project")
    entity: str | None = option(None, "W&B team or user")
    mode: str = option(
        "auto",
        "auto: WANDB_MODE if set, else online if a key is found, else offline",
        choices=("auto", "online", "offline", "disabled"),
    )
    group: str | None = option(None, "W&B group; default: experiment, scene, protocol and split")
    tags: list[str] = option([], "W&B tags")


@dataclass
class ExperimentConfig:
    """The experiment, a collection of runs in one folder."""

    name: str = option(MISSING, "name of the experiment: the first folder below outputs/")


@dataclass
class Config:
    """All keys of a run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    map: MapConfig = field(default_factory=MapConfig)
    oracle: OracleConfig = field(default_factory=OracleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    seed: int = option(0, "root seed of all random draws except the split", low=0, most=MOST_SEED)
    data_dir: str | None = option(None, "folder with the scene files; default: the environment variable HSI_AL_DATA")
    patch_size: int = option(
        32, "side of a patch, pixels; also the guard of split=blocks and checkerboard by default", low=1, most=1024
    )
    debug: bool = option(False, "print tracebacks for bad input too")


# Keys whose values may differ between the calls that start and continue a run.
FREE_KEYS = (
    "data_dir",
    "dataset.in_memory",
    "dataset.memory_gb",
    "debug",
    "trainer.accelerator",
    "trainer.compile",
    "trainer.predict_batch_size",
    "trainer.profile",
    "trainer.threads",
)
# Keys that say where the data lie: not compared where checksums tell that the data are the same.
DATA = ("cube_file", "cube_key", "ground_truth_file", "ground_truth_key", "test_file", "test_key", "labels")
DATA_KEYS = tuple(f"dataset.{key}" for key in DATA)
