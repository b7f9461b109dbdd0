"""Errors that a user can act on: one sentence that names the thing and the way out; exit code 2."""


class HsiAlError(Exception):
    """Base of every error that stands for bad input or a bad environment, never for a bug."""


class SceneError(HsiAlError):
    """A scene file cannot be used: missing, unreadable, wrong key, shape or values."""


class PoolError(HsiAlError):
    """A label pool, split or draw cannot be made: too few pixels, duplicates, pixels that are no candidates."""


class PoolExhaustedError(PoolError):
    """More labels are wanted than candidates are left."""


class ConfigurationError(HsiAlError):
    """A setting is wrong, alone or together with another one."""


class AcquisitionError(HsiAlError):
    """An acquisition function can't choose among what it was given."""


class LearnerError(HsiAlError):
    """A learner cannot give what is asked of it."""


class RunDirectoryError(HsiAlError):
    """A run directory cannot be used: locked, corrupted or made by another configuration."""
