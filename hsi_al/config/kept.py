"""The configuration of a run as kept in its config.yaml: written, read (also from earlier versions) and compared."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hsi_al.config.schema import FREE_KEYS, Config, LearnerConfig
from hsi_al.errors import RunDirectoryError
from hsi_al.options import options_of

MOST_BYTES = 2**17  # of a kept configuration, which takes some 3,000


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads YAML as plain data; aliases are refused, since a few nested ones stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        """Return the next node.

        Raises:
            yaml.YAMLError: It is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which no configuration of a run has")
        return super().compose_node(parent, index)


def plain_yaml(path: Path) -> Any:  # noqa: ANN401
    """Read a kept configuration, which may be a stranger's, as plain data; nothing in it is resolved.

    Raises:
        OSError: It can't be read.
        ValueError: It is too large or nested too deeply, or no UTF-8 text.
        yaml.YAMLError: It is no YAML of plain data.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def literal(node: Any) -> Any:  # noqa: ANN401
    r"""Return plain data whose texts OmegaConf takes as they are: each `${`, an interpolation's start, is escaped."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML, the text of a run's config.yaml."""
    return str(yaml.safe_dump(to_dict(config), allow_unicode=True, sort_keys=False))


def to_dict(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as nested dictionaries."""
    return asdict(config)


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
        kept = flatten(plain_yaml(path))
        if "learner.name" not in kept:
            raise ValueError("it holds no configuration of a run")
    now = flatten(to_dict(config))
    known = kept.keys() | now.keys() if new_too else kept.keys()
    kept = flatten(to_dict(Config(learner=type(config.learner)()))) | kept  # defaults do what earlier versions did
    keys = sorted(key for key in known if key not in FREE_KEYS and not key.startswith("logger."))
    return [f"{key} ({kept.get(key)} -> {now.get(key)})" for key in keys if not same(kept.get(key), now.get(key))]


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
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, OmegaConfBaseException) as error:
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
