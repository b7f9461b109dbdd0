"""The configuration of a run as kept in its config.yaml: written, read (also from earlier versions) and compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hsi_al.config.plain import flatten, literal, plain_yaml
from hsi_al.config.schema import DATA_KEYS, FREE_KEYS, KINDS_WITH, Config, LearnerConfig
from hsi_al.manifest import reading
from hsi_al.options import options_of

ROUNDS = "protocol.rounds"


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML, the text of a run's config.yaml."""
    return str(yaml.safe_dump(to_dict(config), allow_unicode=True, sort_keys=False))


def to_dict(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as nested dictionaries."""
    return asdict(config)


def differing_keys(
    path: Path, config: Config, new_too: bool = True, moved: bool = False, longer: bool = False
) -> list[str]:
    """Return the keys that differ from a kept configuration, as `key (kept -> now)`.

    `FREE_KEYS` and the logger's keys are not compared.

    Args:
        path: The kept config.yaml.
        config: The configuration to compare it with.
        new_too: Compare keys that an earlier version didn't keep yet, by their default; else leave them out.
        moved: Leave out `DATA_KEYS`, because the data themselves are compared.
        longer: Leave out `protocol.rounds`, of which the configuration has more.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    with reading_kept(path):
        kept = flatten(plain_yaml(path))
        if "learner.name" not in kept:
            raise ValueError("it holds no configuration of a run")
    now = flatten(to_dict(config))
    known = kept.keys() | now.keys() if new_too else kept.keys()
    kept = flatten(to_dict(Config(learner=type(config.learner)()))) | kept  # defaults do what earlier versions did
    free = (*FREE_KEYS, *DATA_KEYS) if moved else FREE_KEYS
    free = (*free, ROUNDS) if longer else free
    # Earlier versions let keys be set that have no effect.
    free = (*free, *(f"split.{key}" for key, kinds in KINDS_WITH.items() if now["split.kind"] not in kinds))
    free = free if now["protocol.per_class"] is None else (*free, "protocol.min_per_class", "protocol.initial")
    keys = sorted(key for key in known if key not in free and not key.startswith("logger."))
    return [f"{key} ({kept.get(key)} -> {now.get(key)})" for key in keys if not same(kept.get(key), now.get(key))]


def more_rounds(path: Path, config: Config) -> bool:
    """Return whether a configuration has more rounds than a kept one.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    with reading_kept(path):
        kept = flatten(plain_yaml(path)).get(ROUNDS)
    return isinstance(kept, int) and config.protocol.rounds > kept


def same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Return whether two values are equal, where NaN equals NaN."""
    return bool(one == other or repr(one) == repr(other))


def keep_scaling(path: Path, config: Config) -> None:
    """Take `minmax` for a run of an earlier version, which had no other scaling.

    Args:
        path: The run's config.yaml, if there is one.
        config: Changed in place.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    if path.exists():
        with reading_kept(path):
            kept = flatten(plain_yaml(path))
        if "dataset.name" in kept and "dataset.scaling" not in kept:
            config.dataset.scaling = "minmax"


def load_kept(path: Path, settings_of: Callable[[str], type[LearnerConfig]]) -> Config:
    """Read the configuration kept in a run directory.

    Args:
        path: The run's config.yaml.
        settings_of: Gives the settings class of a learner by its name: `hsi_al.methods.registry.settings_of`.

    Raises:
        RunDirectoryError: The file can't be read.
    """
    with reading_kept(path):
        kept = plain_yaml(path)
        schema = OmegaConf.structured(Config(learner=settings_of(kept["learner"]["name"])()))
        config = OmegaConf.to_object(OmegaConf.merge(schema, literal(kept)))
        assert isinstance(config, Config)
        for key, value, allowed in options_of(config):
            if key not in FREE_KEYS and (problem := allowed.problem(value)):
                raise ValueError(f"{key}={value} {problem}")
    return config


@contextmanager
def reading_kept(path: Path) -> Iterator[None]:
    """Turn the errors of reading a missing or damaged config.yaml into a `RunDirectoryError` of one sentence."""
    with reading(path):
        try:
            yield
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise ValueError(str(error)) from error
