"""Atomic file writing: a file is written beside its target and then replaces it in one step, as `os.replace` does."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


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
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file that is held in memory and replaces `path` on success.

    h5py writing to a full disk itself would crash the process.

    Raises:
        OSError: As for `replacing`.
    """
    packed = io.BytesIO()
    with h5py.File(packed, "w") as file:
        yield file
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getbuffer())
