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
    stem: str = "s1"
    max_pixels: int | None = None  # only so many labelled pixels take part
    full_map: bool = True


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
    dropout: float = 0.0
    transition_pooling: str = "max"
    table1_widths: bool = False


@dataclass
class AcquisitionConfig:
    """What to ask next."""

    name: str = MISSING
    subset: int | None = None  # score only so many random candidates


@dataclass
class OracleConfig:
    """Who answers."""

    name: str = MISSING


@dataclass
class TrainerConfig:
    """The machine."""

    accelerator: str = "auto"
    precision: str = "32-true"
    threads: int | None = None  # default: the cores given to this process
    channels_last: bool = True
    profile: bool = False  # write profile.md (seconds per phase) and trace.json
    predict_batch_size: int | None = None  # default: 256, or 64 with the stem s1 on a CPU


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
NETWORKS = ("deep", "cnn3d")  # learners that take a cube patch by patch
CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "learner.name": tuple(LEARNERS),
    "dataset.in_memory": ("auto", True, False),
    "split.kind": ("paper", "holdout", "blocks", "checkerboard"),
    "protocol.initial": ("uniform", "per_class", "stratified"),
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
    "trainer.precision": ("32-true", "bf16-mixed", "16-mixed"),
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
    "learner.components": (0, None),
    "learner.detach": (0, 1),
    "learner.ranking_weight": (0, None),
    "learner.margin": (0, None),
    "acquisition.subset": (1, None),
    "trainer.threads": (1, None),
    "trainer.predict_batch_size": (1, None),
}
# What may differ between the calls that start and continue a run.
FREE_KEYS = (
    "data_dir",
    "dataset.in_memory",
    "dataset.memory_gb",
    "debug",
    "trainer.accelerator",
    "trainer.threads",
    "trainer.profile",
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
    if not 0 <= config.backbone.dropout < 1:
        raise ConfigurationError(f"backbone.dropout={config.backbone.dropout} must be at least 0 and below 1.")
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
    if config.acquisition.name == "loss_prediction" and protocol.batch_size % 2:
        raise ConfigurationError(
            f"protocol.batch_size={protocol.batch_size} is odd, but the ranking loss pairs the pixels of a batch; "
            "take an even one."
        )
    folders = {
        f"{part}.name": getattr(config, part).name for part in ("dataset", "experiment", "acquisition", "protocol")
    }
    for key, name in (folders | {"learner.method": config.learner.method}).items():
        if not name or set(name) & set("/\\=,\0") or name in (".", ".."):
            raise ConfigurationError(f"{key}={name!r} names a folder: it can't hold any of / \\ = ,.")


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

    Without `new_too`, keys that the kept one, maybe of an earlier version, doesn't have are left out.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    with reading_kept(path):
        kept = flatten(OmegaConf.to_container(OmegaConf.load(path)))
        if "learner.name" not in kept:
            raise ValueError("it holds no configuration of a run")
    now = flatten(to_dict(config))
    known = kept.keys() | now.keys() if new_too else kept.keys()
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
