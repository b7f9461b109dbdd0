"""Building of acquisition functions: those of the registry, and the user's own scores."""

from dataclasses import fields
from functools import partial
from importlib import import_module
from inspect import signature

from hsi_al.acquisition.base import Acquisition, NoAcquisition
from hsi_al.acquisition.ranking import ByScore, Score
from hsi_al.acquisition.registry import BATCHES, SCORES, Batch, acquisitions
from hsi_al.acquisition.selection import Selection
from hsi_al.config.schema import WRAPPERS, AcquisitionConfig
from hsi_al.errors import ConfigurationError
from hsi_al.outputs import Outputs

DEFAULTS = AcquisitionConfig()


def build_acquisition(name: str, options: AcquisitionConfig = DEFAULTS) -> Acquisition:
    """Build an acquisition function.

    Args:
        name: One of `acquisitions()`, or any other name with `options.score`.
        options: The options; their `name` is ignored.

    Raises:
        ConfigurationError: The name is unknown, `options.score` can't be used, or an option is set that this function
            doesn't take.
    """
    keys = [key.name for key in fields(options) if key.name != "name"]
    changed = {key for key in keys if getattr(options, key) != getattr(DEFAULTS, key)}
    if name == "none":
        refuse(name, changed)
        return NoAcquisition()
    acquisitions()  # fills the registry
    batch = BATCHES.get(name) or batch_of_score(name, options.score)
    by = {"by", "by_step"}  # nothing to be told by a learner where none is listened to
    refuse(name, changed - {*batch.options, *WRAPPERS, *by} | (set() if batch.needs else changed & by))
    return Selection(
        name,
        frozenset(batch.needs) - {"predicted_class"},
        partial(batch.picks, **{key: getattr(options, key) for key in batch.arguments}),
        options.subset,
        options.min_distance or 1,
        options.class_balance,
    )


def refuse(name: str, keys: set[str]) -> None:
    """Raise ConfigurationError if `keys`, the options that an acquisition function doesn't take, is not empty."""
    if keys:
        named = " and ".join(f"acquisition.{key}" for key in sorted(keys))
        raise ConfigurationError(f"acquisition={name} doesn't take {named}; leave it out.")


def batch_of_score(name: str, path: str | None) -> Batch:
    """Return the function that picks the highest scores, by the user's score `path` or the registered score `name`.

    Raises:
        ConfigurationError: No score has the name and there is no `path`, both exist, or `path` can't be used.
    """
    if path is None and name not in SCORES:
        raise ConfigurationError(
            f"There is no acquisition {name!r}; choose one of {', '.join(acquisitions())}, or set acquisition.score."
        )
    if path is not None and name in SCORES:
        raise ConfigurationError(
            f"acquisition={name} has a score already; give acquisition.score={path} another acquisition.name."
        )
    by_score = ByScore(SCORES[name] if path is None else imported(path))
    return Batch(by_score, by_score.fields)


def imported(path: str) -> Score:
    """Import the user's score function from `module.function`.

    Raises:
        ConfigurationError: The function can't be imported, or its arguments aren't fields of `Outputs`.
    """
    module, _, function = path.rpartition(".")
    try:
        score: Score = getattr(import_module(module), function)
        arguments = set(signature(score).parameters)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"acquisition.score={path} is no function that can be imported ({error}); write it as module.function, "
            "and start the run in the module's folder or set PYTHONPATH."
        ) from error
    known = {field.name for field in fields(Outputs)}
    if not arguments or arguments - known:
        raise ConfigurationError(
            f"acquisition.score={path} takes {', '.join(sorted(arguments)) or 'nothing'}; its arguments must be among "
            f"{', '.join(sorted(known))}."
        )
    return score
