"""The keys of the configuration with their types, defaults, meanings and allowed values.

The YAML files under conf/ choose among them. The keys of a learner stand in its own room, `hsi_al/methods/<name>`.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf

from hsi_al.options import option

SCHEDULES = ("constant", "cosine", "one_cycle")
STEMS = ("s1", "s2", "s1_pool", "s2_pool")
PRECISIONS = ("32-true", "tf32", "bf16-mixed", "16-mixed")
# Keys that wrap any acquisition function; its name alone would stand for another method.
WRAPPERS = ("subset", "min_distance", "class_balance")


@dataclass
class DatasetConfig:
    """A scene: a name of the catalogue, or files of one's own."""

    name: str = option(MISSING, "of the catalogue, or of the run directory for a scene of your own")
    cube_file: str | None = option(None, "file of a scene of your own: (rows, columns, bands)")
    cube_key: str | None = option(None, "its key; default: the only array in the file")
    ground_truth_file: str | None = option(None, "file of the labels: (rows, columns), 0 = unlabelled")
    ground_truth_key: str | None = option(None, "its key")
    classes: list[int] | None = option(None, "label values to keep; default: the catalogue's choice, or all")
    class_names: list[str] | None = option(None, "in ascending order of the label values kept")
    rgb_bands: list[int] | None = option(None, "three bands of the false-colour picture, zero-based")
    in_memory: Any = option(
        "auto",
        "false: the cube stays in its file; auto: if it is larger than memory_gb, and file and learner allow it",
        choices=("auto", True, False),
    )
    memory_gb: float = option(4.0, "what auto holds in memory at most, 10^9 bytes of float32", low=0)


@dataclass
class SplitConfig:
    """Who may be labelled and who is tested."""

    kind: str = option(MISSING, "how", choices=("paper", "holdout", "blocks", "checkerboard"))
    seed: int = option(0, "apart from the root seed: all seeds of an experiment are tested on the same pixels", low=0)
    fraction: float = option(0.5, "holdout: part of every class that may be labelled", above=0, below=1)
    block_size: int = option(48, "blocks, checkerboard: side of a block, pixels", low=1)


@dataclass
class ProtocolConfig:
    """How many labels, in how many rounds, trained how; the defaults are the paper's."""

    name: str = option(MISSING, "names folders and titles")
    initial_size: int = option(160, "labels before the first query", low=2)
    initial: str = option(
        "uniform", "how they are drawn", choices=("uniform", "per_class", "stratified", "kmeans", "typiclust")
    )
    min_per_class: int = option(0, "initial labels of every class at least", low=0)
    per_class: int | None = option(None, "so many labels of every class, instead of initial_size", low=1)
    take_existing: bool = option(False, "all labels of a class that has fewer than per_class")
    query_size: int = option(10, "labels asked in a round", low=1)
    rounds: int = option(32, "query rounds; one more training follows the last query", low=0)
    epochs: int = option(200, "of a round from fresh weights", low=1)
    warm_epochs: int = option(20, "of a later round with warm_start", low=1)
    warm_start: bool = option(False, "later rounds go on from the weights of the round before")
    batch_size: int = option(10, "pixels per training step", low=2)
    lr: float = option(1e-3, "learning rate of Adam, the peak of a schedule", above=0)
    schedule: str = option("constant", "of the learning rate within a round", choices=SCHEDULES)
    lr_warm_up: float = option(
        0.0, "part of a round's steps in which the learning rate rises to lr; one_cycle has its own", low=0, high=1
    )
    augment: bool = option(False, "flip and rotate every patch anew in every epoch")
    label_smoothing: float = option(
        0.0, "of the cross-entropy; the ranking loss compares losses without it", low=0, below=1
    )
    average_weights: float | None = option(
        None, "score with a moving average of the weights, which decays so per step", low=0, below=1
    )
    stem: str = option("s1", "first layers of the networks", choices=STEMS)
    max_pixels: int | None = option(None, "only so many labelled pixels take part", low=1)
    full_map: bool = option(True, "predict every pixel of the scene at the end")
    stop_at: float | None = option(
        None, "end at this held-out OA (a fraction), which is then optimistic; not with split=paper", low=0, high=1
    )
    stop_when_stable: float | None = option(
        None, "end at this kappa between successive rounds' predictions, 3 times in a row", low=0, high=1
    )


@dataclass(kw_only=True)
class LearnerConfig:
    """What all learners share; a learner's own keys are the fields of a subclass in its room."""

    name: str = option(MISSING, "of the learner")
    method: str = option(MISSING, "names folders, curves and tables; conf/learner/ puts it together")


@dataclass(kw_only=True)
class EffortConfig(LearnerConfig):
    """A compared method that is trained by gradient."""

    effort: str = option("paper", "paper: trained as specified; short: fits a CPU", choices=("paper", "short"))


@dataclass
class BackboneConfig:
    """The network."""

    name: str = option(MISSING, "of the network")
    stem: str | None = option(None, "first layers; default: the protocol's", choices=STEMS)
    dropout: float = option(
        0.0, "on the pooled features; 0.5 unless given where the acquisition needs dropout draws", low=0, below=1
    )
    transition_pooling: str = option("max", "between the blocks of DenseNets", choices=("max", "avg"))
    table1_widths: bool = option(False, "transition widths of Table I for DenseNet-169 and 201")


@dataclass
class AcquisitionConfig:
    """What to ask next."""

    name: str = option(MISSING, "of the function")
    subset: int | None = option(
        None, "let the function see only so many random candidates, against near-duplicates (Yoo & Kweon 2019)", low=1
    )
    min_distance: int | None = option(
        None, "rows or columns between any two pixels of a query; halved where none is left", low=1
    )
    class_balance: bool = option(False, "as many of every predicted class")
    score: str | None = option(None, "module.function of your own score; its arguments name what it reads")
    draws: int = option(16, "dropout masks; members of the committee", low=2)
    shortlist: int = option(10, "cluster_margin, loss_prediction_diverse: times query_size kept by score", low=1)
    neighbours: int = option(20, "typiclust: whose mean distance counts", low=1)
    radius: float | None = option(
        None, "prob_cover: of a ball, for embeddings of length 1; default: by purity", low=0, high=2
    )


def asked(acquisition: AcquisitionConfig) -> str:
    """An acquisition function with its wrappers: `margin-min_distance=8`."""
    values = {key: getattr(acquisition, key) for key in WRAPPERS}
    return "-".join([acquisition.name, *(f"{key}={str(value).lower()}" for key, value in values.items() if value)])


# Here, not where Hydra starts: the jobs of a sweep resolve their folders in processes of their own.
OmegaConf.register_new_resolver("asked", asked, replace=True)


@dataclass
class OracleConfig:
    """Who answers."""

    name: str = option(MISSING, "of the oracle", choices=("ground_truth",))


@dataclass
class TrainerConfig:
    """The machine."""

    accelerator: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    devices: int = option(1, "processes that train and score one run together, a device each", low=1)
    precision: str = option("32-true", "of training", choices=PRECISIONS)
    compile: str = option(
        "auto",
        "the training step by torch.compile; auto: on a GPU, if a round is long enough",
        choices=("auto", "on", "off"),
    )
    threads: int | None = option(None, "default: the cores given to this process", low=1)
    channels_last: bool = option(True, "memory layout of the patches")
    profile: bool = option(False, "write profile.md (seconds per phase) and trace.json")
    predict_batch_size: int | None = option(
        None, "default: by free memory on a GPU; on a CPU 256, or 64, or 16 with s1", low=1
    )
    predict_precision: str | None = option(None, "of scoring; default: that of training", choices=PRECISIONS)


@dataclass
class LoggerConfig:
    """Where curves go besides the run directory."""

    name: str = option(MISSING, "of the logger", choices=("none", "wandb", "tensorboard"))
    project: str = option("hsi_al", "W&B project")
    entity: str | None = option(None, "W&B team or user")
    mode: str = option(
        "auto",
        "auto: WANDB_MODE if set, else online if a key is found, else offline",
        choices=("auto", "online", "offline", "disabled"),
    )
    group: str | None = option(None, "W&B group; default: everything but network, acquisition and seed")
    tags: list[str] = option([], "W&B tags")


@dataclass
class ExperimentConfig:
    """Names the first folder below outputs/."""

    name: str = option(MISSING, "first folder below outputs/")


@dataclass
class Config:
    """One run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    oracle: OracleConfig = field(default_factory=OracleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    seed: int = option(0, "root of every random draw but the split's", low=0)
    data_dir: str | None = option(None, "folder with the scene files; default: the environment variable HSI_AL_DATA")
    patch_size: int = option(32, "side of a patch, pixels; also the guard of the spatial splits", low=1)
    debug: bool = option(False, "tracebacks for bad input too")


# What may differ between the calls that start and continue a run.
FREE_KEYS = (
    "data_dir",
    "dataset.in_memory",
    "dataset.memory_gb",
    "debug",
    "trainer.accelerator",
    "trainer.compile",
    "trainer.profile",
    "trainer.threads",
)
