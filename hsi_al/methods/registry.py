"""The methods by name: those of the packages in `hsi_al.methods`, and those that other installed packages add.

Another package adds a method by an entry point of the group `hsi_al.learners` that names its `Method`.
"""

import pkgutil
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from hsi_al import methods as rooms
from hsi_al.config.schema import Config, LearnerConfig
from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.room import Method, Task

if TYPE_CHECKING:
    from hsi_al.methods.base import Learner

GROUP = "hsi_al.learners"


@cache
def own_methods() -> dict[str, Method]:
    """Return the methods of this package by name."""
    found = [
        import_module(f"{rooms.__name__}.{room.name}") for room in pkgutil.iter_modules(rooms.__path__) if room.ispkg
    ]
    return {room.METHOD.name: room.METHOD for room in found}


@cache
def added_methods() -> dict[str, Method]:
    """Return the methods of other installed packages by name.

    Raises:
        ConfigurationError: An entry point can't be imported, names no `Method`, or takes the name of another method.
    """
    found: dict[str, Method] = {}
    for point in entry_points(group=GROUP):
        try:
            method = point.load()
        except Exception as error:  # whatever the module of another package raises
            raise ConfigurationError(f"The learner {point.name} ({point.value}) can't be imported: {error}") from error
        if not isinstance(method, Method):
            raise ConfigurationError(f"{point.value} is no hsi_al.methods.room.Method; fix or uninstall its package.")
        if method.name in own_methods() or method.name in found:
            raise ConfigurationError(f"{point.value} takes the name {method.name} of another learner; rename it.")
        found[method.name] = method
    return found


def all_methods() -> dict[str, Method]:
    """Return all methods by name."""
    return own_methods() | added_methods()


def settings_of(name: str) -> type[LearnerConfig]:
    """Return the dataclass of a learner's keys.

    Raises:
        KeyError: There is no such learner.
    """
    return all_methods()[name].settings


def method_of(config: Config) -> Method:
    """Return the method that `learner.name` selects.

    Raises:
        ConfigurationError: There is no method of this name.
    """
    name, known = config.learner.name, all_methods()
    if name not in known:
        raise ConfigurationError(f"learner.name={name} is unknown; choose one of {', '.join(known)}.")
    return known[name]


def check_method(config: Config) -> Method:
    """Return the method of a run, after a check that it suits the other keys.

    Raises:
        ConfigurationError: The method needs the whole cube but it stays in its file, the run can't be divided among
            several devices, or the learner of `acquisition.by` can't ask for it.
    """
    method = method_of(config)
    if config.dataset.in_memory is False and not method.in_windows:
        able = ", ".join(name for name, other in all_methods().items() if other.in_windows)
        raise ConfigurationError(
            f"learner={method.name} needs the whole cube, but dataset.in_memory=false leaves it in its file; "
            f"take dataset.in_memory=true, or one of learner={able}."
        )
    check_devices(config, method)
    if config.acquisition.by is not None:
        check_asker(config, config.acquisition.by)
    return method


def asker_config(config: Config) -> Config | None:
    """Return the configuration of the learner that asks in place of the run's own, with its default keys; None without.

    Raises:
        ConfigurationError: There is no method of the name `acquisition.by`.
    """
    name, known = config.acquisition.by, all_methods()
    if name is None:
        return None
    if name not in known:
        raise ConfigurationError(f"acquisition.by={name} is no learner; choose one of {', '.join(known)}.")
    return with_learner(config, name)


def with_learner(config: Config, name: str) -> Config:
    """Return the configuration of the same run with another learner, which has its default keys."""
    return replace(config, learner=all_methods()[name].settings(name=name, method=name))


def check_asker(config: Config, name: str) -> None:
    """Raise ConfigurationError if a learner can't ask in place of the run's own.

    Args:
        config: All keys of the run.
        name: Value of `acquisition.by`.
    """
    from hsi_al.acquisition.factory import build_acquisition

    asking = asker_config(config)
    assert asking is not None
    method, needs = method_of(asking), build_acquisition(config.acquisition.name, config.acquisition).needs
    able = [
        other.name
        for other in all_methods().values()
        if needs <= other.provides
        and other.name != config.learner.name
        and (other.in_windows or config.dataset.in_memory is not False)
    ]
    choices = f"choose one of acquisition.by={', '.join(able)}" if able else "take another acquisition"
    if missing := needs - method.provides:
        raise ConfigurationError(
            f"acquisition.by={name} can't give {', '.join(sorted(missing))}, which acquisition="
            f"{config.acquisition.name} needs; {choices}."
        )
    if name == config.learner.name:
        raise ConfigurationError(
            f"acquisition.by={name} is the run's own learner, which asks without it; leave out acquisition.by, or "
            f"{choices}."
        )
    if config.dataset.in_memory is False and not method.in_windows:
        raise ConfigurationError(
            f"acquisition.by={name} needs the whole cube, but dataset.in_memory=false leaves it in its file; "
            f"take dataset.in_memory=true, or {choices}."
        )
    if config.trainer.devices > 1:
        raise ConfigurationError(
            f"acquisition.by={name} asks in one process, but trainer.devices={config.trainer.devices} divides the run "
            "among several; set trainer.devices=1, or train on the labels of a finished run with protocol.labels_from."
        )


def check_devices(config: Config, method: Method) -> None:
    """Raise ConfigurationError if the run can't be divided among `trainer.devices`."""
    devices = config.trainer.devices
    if devices == 1:
        return
    if method.batch_size is None:
        able = " or ".join(name for name, other in all_methods().items() if other.batch_size is not None)
        raise ConfigurationError(
            f"trainer.devices={devices} divides the training of a network, but learner={method.name} takes "
            f"one device; set trainer.devices=1, or learner={able}."
        )
    if config.trainer.compile == "on":
        raise ConfigurationError(
            f"trainer.compile=on works within one process, not with trainer.devices={devices}; leave one of them out."
        )
    if devices > (batch_size := method.batch_size(config)) // 2:
        raise ConfigurationError(
            f"trainer.devices={devices} leaves some devices without a pair of pixels in batches of {batch_size}; take "
            f"{batch_size // 2} at most" + (", or a larger protocol.batch_size." if method.name == "deep" else ".")
        )


def require_network(config: Config) -> Method:
    """Return the method of a run, which keeps a network or classifier that can be applied to other scenes.

    Raises:
        ConfigurationError: It keeps none.
    """
    method = method_of(config)
    if not method.keeps_network:
        able = ", ".join(name for name, other in all_methods().items() if other.keeps_network)
        raise ConfigurationError(
            f"learner={method.name} keeps no network that could be applied to another cube; these do: learner={able}."
        )
    return method


def build_learner(task: Task, method: Method | None = None) -> "Learner":
    """Build the learner of a run, that of `method` or of the one that `learner.name` selects.

    Raises:
        LearnerError: The learner can't give the outputs in `task.needs`, or lacks the scenes that it is trained on.
        ConfigurationError: A setting doesn't fit the scene or the machine.
    """
    method = method or method_of(task.config)
    if missing := task.needs - method.provides:
        from hsi_al.acquisition.factory import build_acquisition
        from hsi_al.acquisition.registry import acquisitions

        works = [name for name in acquisitions() if build_acquisition(name).needs <= method.provides]
        raise LearnerError(
            f"learner={method.name} can't give {', '.join(sorted(missing))}, which acquisition="
            f"{task.config.acquisition.name} needs; choose one of acquisition={', '.join(works)}."
        )
    return method.build(task)
