"""Atomic file writing: a file is written beside its target and then replaces it in one step, as `os.replace` does.

A replaced file is on the disk, not only in the system's memory, when `replacing` ends: after a power failure the path
holds the old or the new file, whole. That holds where the file system keeps its promises about fsync.
"""

import errno
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

# Errors with which file systems and Windows say that a folder can't be synchronised.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOTSUP, errno.EISDIR)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success that file replaces `path`, on an error it is removed.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is left unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs no handle that only reads
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as on a full disk
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
