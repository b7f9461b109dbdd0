"""The configuration of a run as kept in its config.yaml: written, read (also from earlier versions) and compared."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hsi_al.config.schema import FREE_KEYS, Config, LearnerConfig
from hsi_al.errors import RunDirectoryError


def literal(text: str) -> str:
    r"""Return text that OmegaConf resolves to `text` itself: each `${`, the start of an interpolation, is escaped."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML, the text of a run's config.yaml."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def to_dict(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as nested dictionaries."""
    plain = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def differing_keys(path: Path, config: Config, new_too: bool = True) -> list[str]:
    """Return the keys that differ from a kept configuration, as `key (kept -> now)`.

    `FREE_KEYS` and the logger's keys are not compared.

    Args:
        path: The kept config.yaml.
        config: The configuration to compare it with.
        new_too: Compare keys that an earlier version didn't keep yet, by their default; else leave them out.

    Raises:
        RunDirectoryError: The kept file can't be read.
    """
    with reading_kept(path):
        kept = flatten(OmegaConf.to_container(OmegaConf.load(path)))
        if "learner.name" not in kept:
            raise ValueError("it holds no configuration of a run")
    now = flatten(to_dict(config))
    known = kept.keys() | now.keys() if new_too else kept.keys()
    kept = flatten(to_dict(Config(learner=type(config.learner)()))) | kept  # defaults do what earlier versions did
    keys = sorted(key for key in known if key not in FREE_KEYS and not key.startswith("logger."))
    return [f"{key} ({kept.get(key)} -> {now.get(key)})" for key in keys if kept.get(key) != now.get(key)]


def load_kept(path: Path, settings_of: Callable[[str], type[LearnerConfig]]) -> Config:
    """Read the configuration kept in a run directory.

    Args:
        path: The run's config.yaml.
        settings_of: Gives the settings class of a learner by its name: `hsi_al.methods.registry.settings_of`.

    Raises:
        RunDirectoryError: The file can't be read.
    """
    with reading_kept(path):
        kept = OmegaConf.load(path)
        schema = OmegaConf.structured(Config(learner=settings_of(kept.learner.name)()))
        config = OmegaConf.to_object(OmegaConf.merge(schema, kept))
    assert isinstance(config, Config)
    return config


@contextmanager
def reading_kept(path: Path) -> Iterator[None]:
    """Turn the errors of reading a missing or damaged config.yaml into a `RunDirectoryError` of one sentence."""
    try:
        yield
    except (OSError, ValueError, AttributeError, KeyError, YAMLError, OmegaConfBaseException) as error:
        raise RunDirectoryError(
            f"{path} is missing or corrupted ({' '.join(str(error).split())}); restore it, or delete the run directory."
        ) from error


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Turn nested dictionaries into one with dotted keys; lists stay whole."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
