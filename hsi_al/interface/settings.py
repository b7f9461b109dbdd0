"""Configurations from the arguments of Python functions, with the checks and sentences of the command line."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hsi_al.config.checks import checked
from hsi_al.config.folder import configuration_folder, values_of_option
from hsi_al.config.plain import literal
from hsi_al.config.schema import Config
from hsi_al.config.sentences import no_option, one_sentence
from hsi_al.errors import ConfigurationError
from hsi_al.methods.registry import added_methods, all_methods
from hsi_al.methods.room import Method

Keys = Mapping[str, Any]
# What configuration files choose where the caller says nothing; a protocol without queries fits any acquisition.
DEFAULTS: dict[str, Any] = {
    "dataset.name": "scene",
    "split.kind": "holdout",
    "protocol.name": "few",
    "protocol.rounds": 0,
    "backbone.name": "densenet121",
    "acquisition.name": "random",
    "oracle.name": "ground_truth",
    "logger.name": "none",
    "experiment.name": "python",
}


def configured(keys: Keys, method: Method | None = None) -> Config:
    """Return the checked configuration of a run.

    Args:
        keys: Values by dotted key, such as `protocol.rounds`; others are as in `DEFAULTS`, or else in the schema.
        method: The learner; None = the one that `learner.name` selects, by default `profile_trees`.

    Raises:
        ConfigurationError: An unknown key, or a value of another type or out of range.
    """
    chosen = DEFAULTS | (option_keys("learner", "profile_trees") if method is None else {}) | dict(keys)
    method = method or all_methods()[chosen["learner.name"]]
    if method.name not in all_methods():
        chosen |= {"learner.name": method.name, "learner.method": method.name}
    # Interpolations in the names of methods, such as deep-${backbone.name}, are those of conf/.
    raw = {"learner.method": chosen.pop("learner.method")}
    schema = OmegaConf.structured(Config(learner=method.settings()))
    known = OmegaConf.structured(Config(learner=method.settings()))
    try:
        for key, value in ({key: literal(plain(value)) for key, value in chosen.items()} | raw).items():
            OmegaConf.update(schema, key, value)
        config = checked(schema)
    except OmegaConfBaseException as error:
        raise ConfigurationError(one_sentence(error, known)) from None
    if config.trainer.devices != 1:
        raise ConfigurationError(
            f"trainer.devices={config.trainer.devices} takes a process for each device, which the command line starts; "
            "leave it out here."
        )
    return config


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value in the types that configurations hold: NumPy's values, tuples and paths as Python's own."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def option_keys(group: str, name: str) -> dict[str, Any]:
    """Return the values that an option of a group sets, by dotted key.

    Raises:
        ConfigurationError: The group has no such option; the sentence lists those it has.
    """
    known = {path.stem for path in (configuration_folder() / group).glob("*.yaml")}
    added = added_methods() if group == "learner" else {}
    if not isinstance(name, str) or name not in {*known, *added}:
        raise ConfigurationError(no_option(group, name, {*known, *added}))
    values = {"name": name, "method": name} if name in added else values_of_option(group, name)
    return {f"{group}.{key}": value for key, value in values.items()}


def in_group(group: str, options: Keys) -> dict[str, Any]:
    """Return keyword arguments by dotted key: those of `group`, but for names that hold a dot themselves."""
    return {
        name if "." in name or name == "patch_size" else f"{group}.{name}": value for name, value in options.items()
    }
