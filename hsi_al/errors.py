"""Errors that a user can act on: the message is one sentence that names the cause and the remedy; exit code 2."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class HsiAlError(Exception):
    """Base class of all errors caused by bad input or a bad environment, never by a bug."""


class SceneError(HsiAlError):
    """A scene file cannot be used: it is missing or unreadable, or has a wrong key, shape or values."""


class PoolError(HsiAlError):
    """A label pool, split or initial draw is impossible: too few pixels, duplicates, pixels outside the candidates."""


class PoolExhaustedError(PoolError):
    """More labels are requested than there are unlabelled candidates."""


class ConfigurationError(HsiAlError):
    """A setting is invalid, by itself or in combination with another one."""


class AcquisitionError(HsiAlError):
    """An acquisition function cannot rank the candidates: scores or outputs of a wrong shape, NaN or infinite."""


class LearnerError(HsiAlError):
    """A learner cannot train or predict as configured: missing outputs, diverged training, too little memory."""


class RunDirectoryError(HsiAlError):
    """A run directory cannot be used: it is locked, corrupted or holds a run of another configuration."""


@contextmanager
def left_out(what: str, warn: Callable[[str], None] | None) -> Iterator[None]:
    """Turn an error inside into a warning: for what a run can do without, such as a picture.

    Interrupts are no `Exception` and pass.

    Args:
        what: What is missing then.
        warn: Called with a sentence that names it and the cause; None = the error passes.
    """
    try:
        yield
    except Exception as error:
        if warn is None:
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        warn(f"{what} is left out ({cause[:300]}).")
