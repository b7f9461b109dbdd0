"""The typed schema of the configuration and its cross-field checks; with run.py and explain.py the only Hydra code.

The dataclasses say which keys exist, their types and defaults; the YAML files under conf/ choose among them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hsi_al.acquisition import WRAPPERS
from hsi_al.errors import ConfigurationError, RunDirectoryError


@dataclass
class DatasetConfig:
    """A scene: a name of the catalogue, or files of one's own."""

    name: str = MISSING
    cube_file: str | None = None
    cube_key: str | None = None
    ground_truth_file: str | None = None
    ground_truth_key: str | None = None
    classes: list[int] | None = None  # label values to keep; default: the catalogue's choice, or all
    class_names: list[str] | None = None  # in ascending order of the label values kept
    rgb_bands: list[int] | None = None  # zero-based
    in_memory: Any = "auto"  # false: the cube stays in its file; auto: if it is larger, and file and learner allow it
    memory_gb: float = 4.0  # what auto holds in memory at most, 10^9 bytes of float32


@dataclass
class SplitConfig:
    """Who may be labelled and who is tested."""

    kind: str = MISSING
    seed: int = 0  # apart from the root seed: all seeds of an experiment are tested on the same pixels
    fraction: float = 0.5  # holdout: part of every class that may be labelled
    block_size: int = 48  # blocks, checkerboard: side of a block, pixels


@dataclass
class ProtocolConfig:
    """How many labels, in how many rounds, trained how; the defaults are the paper's."""

    name: str = MISSING
    initial_size: int = 160
    initial: str = "uniform"
    min_per_class: int = 0
    per_class: int | None = None  # so many labels of every class, instead of initial_size
    take_existing: bool = False  # all labels of a class that has fewer than per_class
    query_size: int = 10
    rounds: int = 32
    epochs: int = 200
    warm_epochs: int = 20
    warm_start: bool = False
    batch_size: int = 10
    lr: float = 1e-3
    schedule: str = "constant"
    lr_warm_up: float = 0.0  # part of a round's steps in which the learning rate rises to lr; one_cycle has its own
    augment: bool = False  # flip and rotate every patch anew in every epoch
    label_smoothing: float = 0.0  # of the cross-entropy; the ranking loss compares losses without it
    average_weights: float | None = None  # score with a moving average of the weights, which decays so per step
    stem: str = "s1"
    max_pixels: int | None = None  # only so many labelled pixels take part
    full_map: bool = True
    stop_at: float | None = None  # end at this held-out OA (a fraction), which is then optimistic; not with split=paper
    stop_when_stable: float | None = None  # end at this kappa between successive rounds' predictions, 3 times in a row


@dataclass
class LearnerConfig:
    """What all learners share."""

    name: str = MISSING
    method: str = MISSING  # names folders, curves and tables; conf/learner/ puts it together


@dataclass
class DeepLearnerConfig(LearnerConfig):
    """The network and its combined loss."""

    detach: float | None = 0.6  # part of the epochs after which the ranking loss no longer reaches the backbone
    ranking_weight: float = 1.0
    margin: float = 1.0
    fuse: str = "sum"
    class_weights: str = "none"


@dataclass
class EmpSvmConfig(LearnerConfig):
    """Extended morphological profiles and an SVM."""

    components: float = 3  # principal components, or below 1 the part of the variance that they keep
    reconstruction: bool = False  # opening and closing by reconstruction
    radii: list[int] = field(default_factory=lambda: [1, 3, 5, 7, 9])  # squares of side 2r + 1


@dataclass
class JcrConfig(LearnerConfig):
    """Joint collaborative representation."""

    variant: str = "averaged"


@dataclass
class EffortConfig(LearnerConfig):
    """A learner trained by gradient."""

    effort: str = "paper"  # paper: as specified; short: fits a CPU


@dataclass
class Cnn3dConfig(EffortConfig):
    """A 3-D CNN."""

    architecture: str = "hamida"


@dataclass
class DfslSvmConfig(EffortConfig):
    """Deep few-shot learning on other scenes, and an SVM."""

    source_scenes: list[str] | None = None  # names or scene files; default: the other scenes at hand


@dataclass
class BackboneConfig:
    """The network."""

    name: str = MISSING
    stem: str | None = None  # default: the protocol's
    dropout: float = 0.0  # on the pooled features; 0.5 unless given where the acquisition needs dropout draws
    transition_pooling: str = "max"
    table1_widths: bool = False


@dataclass
class AcquisitionConfig:
    """What to ask next."""

    name: str = MISSING
    subset: int | None = None  # let the function see only so many random candidates
    min_distance: int | None = None  # rows or columns between any two pixels of a query; halved where none is left
    class_balance: bool = False  # as many of every predicted class
    score: str | None = None  # module.function of your own score; its arguments name what it reads
    draws: int = 16  # dropout masks; members of the committee
    shortlist: int = 10  # cluster_margin, loss_prediction_diverse: times query_size kept by score
    neighbours: int = 20  # typiclust: whose mean distance counts
    radius: float | None = None  # prob_cover: of a ball, for embeddings of length 1; default: by purity


def asked(acquisition: AcquisitionConfig) -> str:
    """An acquisition function with its wrappers: `margin-min_distance=8`."""
    values = {key: getattr(acquisition, key) for key in WRAPPERS}
    return "-".join([acquisition.name, *(f"{key}={str(value).lower()}" for key, value in values.items() if value)])


# Here, not in `register`: the jobs of a sweep resolve their folders in processes of their own.
OmegaConf.register_new_resolver("asked", asked, replace=True)


@dataclass
class OracleConfig:
    """Who answers."""

    name: str = MISSING


@dataclass
class TrainerConfig:
    """The machine."""

    accelerator: str = "auto"
    devices: int = 1  # processes that train and score one run together, a device each
    precision: str = "32-true"
    compile: str = "auto"  # the training step by torch.compile; auto: on a GPU, if a round is long enough
    threads: int | None = None  # default: the cores given to this process
    channels_last: bool = True
    profile: bool = False  # write profile.md (seconds per phase) and trace.json
    predict_batch_size: int | None = None  # default: by free memory on a GPU; on a CPU 256, or 64, or 16 with s1
    predict_precision: str | None = None  # of scoring; default: that of training


@dataclass
class LoggerConfig:
    """Where curves go besides the run directory."""

    name: str = MISSING
    project: str = "hsi_al"
    entity: str | None = None
    mode: str = "auto"  # auto: WANDB_MODE if set, else online if a key is found, else offline
    group: str | None = None  # default: everything but network, acquisition and seed
    tags: list[str] = field(default_factory=list)


@dataclass
class ExperimentConfig:
    """Names the first folder below outputs/."""

    name: str = MISSING


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
    seed: int = 0
    data_dir: str | None = None
    patch_size: int = 32
    debug: bool = False


LEARNERS: dict[str, type[LearnerConfig]] = {
    "deep": DeepLearnerConfig,
    "emp_svm": EmpSvmConfig,
    "jcr": JcrConfig,
    "cnn3d": Cnn3dConfig,
    "cae3d_svm": EffortConfig,
    "cnn_ppf": EffortConfig,
    "scnn_svm": EffortConfig,
    "dfsl_svm": DfslSvmConfig,
}
PRECISIONS = ("32-true", "tf32", "bf16-mixed", "16-mixed")
NETWORKS = ("deep", "cnn3d")  # learners that take a cube patch by patch
CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "learner.name": tuple(LEARNERS),
    "dataset.in_memory": ("auto", True, False),
    "split.kind": ("paper", "holdout", "blocks", "checkerboard"),
    "protocol.initial": ("uniform", "per_class", "stratified", "kmeans", "typiclust"),
    "protocol.schedule": ("constant", "cosine", "one_cycle"),
    "protocol.stem": ("s1", "s2", "s1_pool", "s2_pool"),
    "backbone.stem": (None, "s1", "s2", "s1_pool", "s2_pool"),
    "backbone.transition_pooling": ("max", "avg"),
    "learner.fuse": ("sum", "concat"),
    "learner.class_weights": ("none", "balanced"),
    "learner.variant": ("averaged", "joint"),
    "learner.effort": ("paper", "short"),
    "learner.architecture": ("hamida", "li", "res3d"),
    "oracle.name": ("ground_truth",),
    "logger.name": ("none", "wandb", "tensorboard"),
    "logger.mode": ("auto", "online", "offline", "disabled"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.precision": PRECISIONS,
    "trainer.predict_precision": (None, *PRECISIONS),
    "trainer.compile": ("auto", "on", "off"),
}
# key -> (lowest, highest) where a number must lie; None = no bound, and null passes
RANGES: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, None),
    "patch_size": (1, None),
    "dataset.memory_gb": (0, None),
    "split.seed": (0, None),
    "split.block_size": (1, None),
    "protocol.initial_size": (2, None),
    "protocol.min_per_class": (0, None),
    "protocol.query_size": (1, None),
    "protocol.rounds": (0, None),
    "protocol.epochs": (1, None),
    "protocol.warm_epochs": (1, None),
    "protocol.batch_size": (2, None),
    "protocol.max_pixels": (1, None),
    "protocol.per_class": (1, None),
    "protocol.lr_warm_up": (0, 1),
    "protocol.stop_at": (0, 1),
    "protocol.stop_when_stable": (0, 1),
    "learner.components": (0, None),
    "learner.detach": (0, 1),
    "learner.ranking_weight": (0, None),
    "learner.margin": (0, None),
    "acquisition.subset": (1, None),
    "acquisition.min_distance": (1, None),
    "acquisition.draws": (2, None),
    "acquisition.shortlist": (1, None),
    "acquisition.neighbours": (1, None),
    "acquisition.radius": (0, 2),
    "trainer.devices": (1, None),
    "trainer.threads": (1, None),
    "trainer.predict_batch_size": (1, None),
}
CNN3D_BATCH_SIZE = 100
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


def register() -> None:
    """Give the schema to Hydra."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, schema in LEARNERS.items():
        store.store(group="learner", name=f"{name}_schema", node=schema)


def checked(composed: Any) -> Config:  # noqa: ANN401
    """Turn a composed configuration into `Config` and check what no single type can say.

    Raises:
        ConfigurationError: A value out of range or a combination that can't work.
    """
    config = OmegaConf.to_object(composed)
    assert isinstance(config, Config)
    known = flatten(to_dict(config))
    if unknown := flatten(OmegaConf.to_container(composed)).keys() - known.keys():
        raise ConfigurationError(f"There is no key {', '.join(sorted(unknown))}; --cfg job lists all keys.")
    for key, choices in CHOICES.items():
        if key in known and (value := known[key]) not in choices:
            names = ", ".join(str(choice).lower() for choice in choices if choice is not None)
            raise ConfigurationError(f"{key}={value} is unknown; choose one of {names}.")
    for key, (lowest, highest) in RANGES.items():
        value = OmegaConf.select(composed, key)
        if value is not None and not in_range(value, lowest, highest):
            span = f"{lowest} or more" if highest is None else f"between {lowest} and {highest}"
            raise ConfigurationError(f"{key}={value} must be {span}.")
    check_combinations(config)
    return config


def in_range(value: float, lowest: float | None, highest: float | None) -> bool:
    """Whether a finite number lies within bounds that may be open."""
    return isfinite(value) and (lowest is None or value >= lowest) and (highest is None or value <= highest)


def check_combinations(config: Config) -> None:
    """Raise ConfigurationError for settings that exclude each other."""
    protocol = config.protocol
    if not 0 < protocol.lr < float("inf"):
        raise ConfigurationError(f"protocol.lr={protocol.lr} must be above 0.")
    shares = {"backbone.dropout": config.backbone.dropout, "protocol.label_smoothing": protocol.label_smoothing}
    for key, share in (shares | {"protocol.average_weights": protocol.average_weights or 0.0}).items():
        if not 0 <= share < 1:
            raise ConfigurationError(f"{key}={share} must be at least 0 and below 1.")
    if protocol.lr_warm_up and protocol.schedule == "one_cycle":
        raise ConfigurationError(
            f"protocol.schedule=one_cycle warms up by itself; leave out protocol.lr_warm_up={protocol.lr_warm_up:g}, "
            "or take protocol.schedule=cosine or constant."
        )
    if not 0 < config.split.fraction < 1:
        raise ConfigurationError(f"split.fraction={config.split.fraction} must be above 0 and below 1.")
    if config.dataset.in_memory is False and config.learner.name not in NETWORKS:
        raise ConfigurationError(
            f"learner={config.learner.name} needs the whole cube, but dataset.in_memory=false leaves it in its file; "
            f"take dataset.in_memory=true, or one of learner={', '.join(NETWORKS)}."
        )
    if config.acquisition.name == "none" and protocol.rounds > 0:
        raise ConfigurationError(
            f"acquisition=none never queries, but protocol.rounds={protocol.rounds}; set protocol.rounds=0."
        )
    if config.acquisition.name in ("loss_prediction", "loss_prediction_diverse") and protocol.batch_size % 2:
        raise ConfigurationError(
            f"protocol.batch_size={protocol.batch_size} is odd, but the ranking loss pairs the pixels of a batch; "
            "take an even one."
        )
    if protocol.initial in ("kmeans", "typiclust") and (protocol.min_per_class or protocol.per_class):
        raise ConfigurationError(
            f"protocol.initial={protocol.initial} looks at no label, so it can't give every class some; leave out "
            "protocol.min_per_class and protocol.per_class, or take protocol.initial=uniform."
        )
    if protocol.stop_at is not None and config.split.kind == "paper":
        raise ConfigurationError(
            f"protocol.stop_at={protocol.stop_at} needs test pixels that stay the same, but split=paper tests on what "
            "is not labelled yet; take split=holdout, blocks or checkerboard, or protocol.stop_when_stable."
        )
    check_devices(config)
    folders = {
        f"{part}.name": getattr(config, part).name for part in ("dataset", "experiment", "acquisition", "protocol")
    }
    for key, name in (folders | {"learner.method": config.learner.method}).items():
        if not name or set(name) & set("/\\=,\0") or name in (".", ".."):
            raise ConfigurationError(f"{key}={name!r} names a folder: it can't hold any of / \\ = ,.")


def check_devices(config: Config) -> None:
    """Raise ConfigurationError where a run can't be divided among devices."""
    devices, learner = config.trainer.devices, config.learner
    if devices == 1:
        return
    if not isinstance(learner, DeepLearnerConfig | Cnn3dConfig):
        raise ConfigurationError(
            f"trainer.devices={devices} divides the training of a network, but learner={learner.name} takes "
            "one device; set trainer.devices=1, or learner=deep or cnn3d."
        )
    if config.trainer.compile == "on":
        raise ConfigurationError(
            f"trainer.compile=on works within one process, not with trainer.devices={devices}; leave one of them out."
        )
    batch_size = config.protocol.batch_size if isinstance(learner, DeepLearnerConfig) else CNN3D_BATCH_SIZE
    if devices > batch_size // 2:
        raise ConfigurationError(
            f"trainer.devices={devices} leaves some devices without a pair of pixels in batches of {batch_size}; take "
            f"{batch_size // 2} at most" + (", or a larger protocol.batch_size." if learner.name == "deep" else ".")
        )


def to_yaml(config: Config) -> str:
    """The resolved configuration as it is kept in a run directory."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain dictionaries."""
    plain = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def differing_keys(path: Path, config: Config, new_too: bool = True) -> list[str]:
    """Keys that differ from a kept configuration, as `key (kept -> now)`, without `FREE_KEYS` and the logger.

    A key that the kept one, of an earlier version, doesn't have had its default then; without `new_too` it is left out.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    with reading_kept(path):
        kept = flatten(OmegaConf.to_container(OmegaConf.load(path)))
        if "learner.name" not in kept:
            raise ValueError("it holds no configuration of a run")
    now = flatten(to_dict(config))
    known = kept.keys() | now.keys() if new_too else kept.keys()
    kept = flatten(to_dict(Config(learner=type(config.learner)()))) | kept  # an earlier version did what is now default
    keys = sorted(key for key in known if key not in FREE_KEYS and not key.startswith("logger."))
    return [f"{key} ({kept.get(key)} -> {now.get(key)})" for key in keys if kept.get(key) != now.get(key)]


def load_kept(path: Path) -> Config:
    """The configuration kept in a run directory.

    Raises:
        RunDirectoryError: The file can't be read.
    """
    with reading_kept(path):
        kept = OmegaConf.load(path)
        schema = OmegaConf.structured(Config(learner=LEARNERS[kept.learner.name]()))
        config = OmegaConf.to_object(OmegaConf.merge(schema, kept))
    assert isinstance(config, Config)
    return config


@contextmanager
def reading_kept(path: Path) -> Iterator[None]:
    """Turn whatever a damaged configuration raises into one sentence."""
    try:
        yield
    except (OSError, ValueError, AttributeError, KeyError, YAMLError, OmegaConfBaseException) as error:
        raise RunDirectoryError(
            f"{path} is missing or corrupted ({' '.join(str(error).split())}); restore it, or delete the run directory."
        ) from error


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Nested dictionaries -> dotted keys; lists stay whole."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
