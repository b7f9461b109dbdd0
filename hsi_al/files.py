"""Atomic file writing: a file is written beside its target and then replaces it in one step, as `os.replace` does.

A replaced file is on the disk, not only in the system's memory, when `replacing` ends: after a power failure the path
holds the old or the new file, whole. That holds where the file system keeps its promises about fsync.
A folder that a process works in is locked against others.
"""

import errno
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hsi_al.errors import HsiAlError

if TYPE_CHECKING:
    import h5py

# Errors with which file systems and Windows say that a folder can't be synchronised.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOTSUP, errno.EISDIR)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # what file systems without locks answer


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, whose file is removed in the end.

    Raises:
        OSError: The folder cannot be written, or the disk is full; the error names a file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as on a full disk
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success that file replaces `path`, on an error it is removed.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is left unchanged.
    """
    with beside(path) as temporary:
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs no handle that only reads
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


def replace_text(path: Path, text: str) -> Path:
    """Replace a file by a text in UTF-8, and return its path.

    Raises:
        OSError: As for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def storable(texts: Iterable[str]) -> list[str]:
    """Return texts as HDF5 can hold them: without NUL, and with `?` for a surrogate, which is no character."""
    return [text.replace("\0", "").encode("utf-8", "replace").decode("utf-8") for text in texts]


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder to the disk, where the system can do so.

    Raises:
        OSError: The disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


@contextmanager
def replacing_hdf5(path: Path) -> Iterator["h5py.File"]:
    """Yield an HDF5 file that is held in memory and replaces `path` on success.

    h5py writing to a full disk itself would crash the process.

    Raises:
        OSError: As for `replacing`.
    """
    import h5py  # `--help` must not wait for it

    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        yield file
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getbuffer())


@contextmanager
def locked(folder: Path, error: type[HsiAlError], in_use: str, way_out: str) -> Iterator[None]:
    """Lock a folder against other processes; the lock of a killed process doesn't block.

    Args:
        folder: The folder, which is there.
        error: What is raised.
        in_use: The sentence if another process holds the lock.
        way_out: What helps where there are no locks, such as another folder.

    Raises:
        HsiAlError: Another process holds the lock, or the file system knows no locks.
        OSError: The folder can't be written.
    """
    import filelock

    lock, is_new = filelock.FileLock(folder / "lock"), not (folder / "lock").exists()
    try:
        with warnings.catch_warnings():  # of a soft lock instead, which a killed process would leave
            warnings.filterwarnings("error", "flock not supported")
            lock.acquire(timeout=0)
    except filelock.Timeout as reason:
        raise error(in_use) from reason
    except (OSError, NotImplementedError, UserWarning) as reason:
        if isinstance(reason, OSError) and reason.errno not in NO_LOCKS:
            raise
        if is_new:
            (folder / "lock").unlink(missing_ok=True)
        raise error(
            f"{folder} lies on a file system without file locks, which keep two processes from writing the same files; "
            f"{way_out}, or mount this one with locks."
        ) from reason
    try:
        yield
    finally:
        lock.release()
