"""Errors that a user can act on: the message is one sentence that names the cause and the remedy; exit code 2."""


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
