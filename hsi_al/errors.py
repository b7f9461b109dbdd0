"""Errors that a user can act on: the message is one sentence that names the cause and the remedy; exit code 2."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What helps against errors of the operating system, by their numbers.
WAYS_OUT = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space: your quota is used up",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "change the permissions, or choose another folder",
    errno.EPERM: "change the permissions, or choose another folder",
    errno.EROFS: "choose a folder that isn't read-only",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has too many open files",
    errno.ENOMEM: "free memory",
    errno.EIO: "check the disk or the network file system",
    errno.ESTALE: "mount the network file system again",
    errno.ENAMETOOLONG: "choose shorter names",
    errno.ENOENT: "check the path",
    errno.EISDIR: "give the path of a file, not of a folder",
    errno.ENOTDIR: "choose a path that doesn't lead through a file",
    errno.EEXIST: "choose a path that isn't taken by a file",
}
# With these the system says that there is no such file, or reads what a damaged file tells it to: all other errors say
# nothing about the file, which may be sound.
ABOUT_THE_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EOVERFLOW, errno.ELOOP)


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


class SessionError(HsiAlError):
    """A labelling session cannot be used: it is locked, damaged or of another scene, or an answer can't be taken."""


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


def system_error(error: BaseException) -> int | None:
    """Return the number of an error of the system, also where h5py only writes it in its message; else None."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if not isinstance(error, OSError):
        return None
    found = re.search(r"errno = (\d+)", str(error))
    return error.errno or (int(found[1]) if found else 0) or None


def passing_error(error: BaseException) -> int | None:
    """Return the number of an error of the system that says nothing about a file's content; else None."""
    number = system_error(error)
    return None if number in ABOUT_THE_FILE else number


def not_now(place: object, error: BaseException) -> str | None:
    """Return a sentence for an error that says nothing about a file's content; None for all other errors."""
    number = passing_error(error)
    if number is None:
        return None
    return f"{place} can't be read now ({os.strerror(number)}); it is not lost: {remedy(number)}, and try again."


def remedy(number: int) -> str:
    """Return what helps against an error of the system, given its number."""
    return WAYS_OUT.get(number, "choose another path such as hydra.run.dir")


def sentence(error: BaseException) -> str:
    """Return the sentence for an error that a user can act on: for errors of the system the place and the way out."""
    number = system_error(error)
    if number is None:
        return " ".join(str(error).split())
    return f"{os.strerror(number)}: {getattr(error, 'filename', None) or 'the run directory'}; {remedy(number)}."
