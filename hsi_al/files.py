"""Files appear whole or not at all: write beside the target, then `os.replace`."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the target's folder; on success it replaces `path`, on an error it is removed.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is then as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file in memory that replaces `path` on success: on a full disk h5py itself would crash the process.

    Raises:
        OSError: As `replacing`.
    """
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        yield file
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getbuffer())
