"""Building of acquisition functions: those of the registry, and the user's own scores."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from importlib import import_module
from inspect import signature

from hsi_al.acquisition.base import Acquisition, NoAcquisition, PoolView, Scores
from hsi_al.acquisition.ranking import ByScore, ByView, Score, name_of, read_by
from hsi_al.acquisition.registry import BATCHES, SCORES, Batch, acquisitions
from hsi_al.acquisition.selection import Selection
from hsi_al.config.schema import WRAPPERS, AcquisitionConfig
from hsi_al.errors import ConfigurationError
from hsi_al.outputs import Outputs

DEFAULTS = AcquisitionConfig()


def build_acquisition(name: str, options: AcquisitionConfig = DEFAULTS, own: Batch | None = None) -> Acquisition:
    """Build an acquisition function.

    Args:
        name: One of `acquisitions()`, or any other name with `options.score`.
        options: The options; their `name` is ignored.
        own: The caller's own function (`own_batch`), in place of the one of this name.

    Raises:
        ConfigurationError: The name is unknown, `options.score` can't be used, or an option is set that this function
            doesn't take.
    """
    keys = [key.name for key in fields(options) if key.name != "name"]
    changed = {key for key in keys if getattr(options, key) != getattr(DEFAULTS, key)}
    if name == "none" and own is None:
        refuse(name, changed)
        return NoAcquisition()
    acquisitions()  # fills the registry
    batch = own or BATCHES.get(name) or batch_of_score(name, options.score)
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
        signature(score)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"acquisition.score={path} is no function that can be imported ({error}); write it as module.function, "
            "and start the run in the module's folder or set PYTHONPATH."
        ) from error
    require_outputs(score, path)
    return score


def require_outputs(score: Score, path: str) -> None:
    """Raise ConfigurationError unless the arguments of a score, which messages call `path`, are fields of `Outputs`."""
    arguments, known = set(read_by(score)), {field.name for field in fields(Outputs)}
    if not arguments or arguments - known:
        raise ConfigurationError(
            f"acquisition.score={path} takes {', '.join(sorted(arguments)) or 'nothing'}; its arguments must be among "
            f"{', '.join(sorted(known))}."
        )


def own_batch(function: Score | Callable[[PoolView], Scores], needs: Iterable[str] = ("probabilities_NC",)) -> Batch:
    """Return the function that picks the highest scores of a function of the caller's own.

    Args:
        function: A score, whose arguments are named as the fields of `Outputs` that it reads; or a function of one
            argument `view`, the `PoolView` of N candidates, that returns their scores, (N,).
        needs: Fields of `Outputs` that a function of a view reads.

    Raises:
        ConfigurationError: Its arguments are neither, or there is no such field.
    """
    if read_by(function) != ("view",):
        require_outputs(function, name_of(function))
        by_score = ByScore(function)
        return Batch(by_score, by_score.fields)
    known = [field.name for field in fields(Outputs)]
    if unknown := set(needs).difference(known):
        raise ConfigurationError(
            f"There are no outputs {', '.join(sorted(unknown))}; needs may hold {', '.join(known)}."
        )
    return Batch(ByView(function), tuple(needs))
