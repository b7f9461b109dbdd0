"""Archives of finished runs: packing gives the same bytes every time, and runs are read as if they lay in a folder."""

import errno
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from hsi_al.errors import HsiAlError, RunDirectoryError
from hsi_al.files import replacing
from hsi_al.memory import free_memory
from hsi_al.report.run_checks import check_run
from hsi_al.report.run_files import read_meta

# Files of a run that are packed: everything that reports read, but no weights.
RUN_FILES = ("manifest.json", "meta.json", "config.yaml", "curve.csv", "confusion.h5", "pool.h5", "predictions.h5")
# Errors of zipfile and its decompressors on files that are not archives, or are damaged, encrypted or cut short.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError)
# Limits of what is unpacked, which takes memory.
MOST_FILES, MOST_BYTES, MOST_FOLDERS, PIECE_BYTES = 100_000, 2**32, 64, 2**12


@dataclass(frozen=True)
class Opened:
    """The folders in which the runs of the given paths can be read, archives unpacked.

    Attributes:
        folders: One for each given path, in the same order.
        archives: Temporary folder of each archive, by the archive's path.
    """

    folders: list[Path]
    archives: dict[Path, Path]

    def named(self, text: object) -> str:
        """Return a text in which the paths of temporary folders are replaced by those of their archives."""
        named = str(text)
        for archive, folder in self.archives.items():
            named = named.replace(str(folder), str(archive))
        return named

    def place(self, run: Path) -> Path | None:
        """Return the archive's name without `.zip` joined with the run's path in it; None for a run in no archive."""
        for archive, folder in self.archives.items():
            if run.is_relative_to(folder):
                return archive.stem / run.relative_to(folder)
        return None


@contextmanager
def unpacked(paths: Sequence[Path]) -> Iterator[Opened]:
    """Open paths for reading: archives, and those that lead into one, are unpacked into a temporary folder.

    Other paths are their own folders. Errors raised in the block name the archives instead of the temporary folders.

    Raises:
        RunDirectoryError: One of the reasons of `contents`, or the files can't be written.
    """
    with TemporaryDirectory(prefix="hsi_al-") as temporary:
        opened = Opened([], {})
        for path in paths:
            archive = archive_of(path)
            if archive is None:
                opened.folders.append(path)
                continue
            if archive not in opened.archives:
                opened.archives[archive] = Path(temporary) / f"{len(opened.archives)}-{archive.name}"
                extract(archive, opened.archives[archive])
            opened.folders.append(opened.archives[archive] / path.relative_to(archive))
        try:
            yield opened
        except HsiAlError as error:
            raise type(error)(opened.named(error)) from error


def archive_of(path: Path) -> Path | None:
    """Return the archive that a path names or leads into; None for all other paths."""
    for place in (path, *path.parents):
        if place.suffix == ".zip" and place.is_file():
            return None if ".." in path.relative_to(place).parts else place
    return None


def extract(archive: Path, folder: Path) -> None:
    """Write the files of an archive into a folder.

    Raises:
        RunDirectoryError: One of the reasons of `contents`, or the files can't be written.
    """
    for name, content in contents(archive).items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise RunDirectoryError(f"{name} of {archive} cannot be unpacked: {error.strerror or error}.") from error


def contents(archive: Path) -> dict[str, bytes]:
    """Return the bytes of the files in an archive by their names.

    Raises:
        RunDirectoryError: The archive can't be read, is damaged, or holds what an archive of runs doesn't hold, see
            `check_entries`.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            check_entries(archive, entries)
            return {entry.filename: _content(packed, entry) for entry in entries if not entry.filename.endswith("/")}
    except DAMAGED as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in (None, errno.EINVAL):  # that one comes from impossible places in a damaged archive
            raise RunDirectoryError(
                f"{archive} cannot be read ({os.strerror(number)}); check its permissions and the disk, and try again."
            ) from error
        reason = str(error) or type(error).__name__
        raise RunDirectoryError(
            f"{archive} cannot be read as a zip archive ({reason}); download or pack it again."
        ) from error


def check_entries(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Check the list of an archive's files, before any is unpacked.

    Raises:
        RunDirectoryError: A path leads out of the folder that the archive is unpacked into or through too many
            folders, an entry is a link, or the files are too many or too large.
    """
    for entry in entries:
        path = PureWindowsPath(entry.filename)  # knows both slashes, and drives
        if path.anchor or ".." in path.parts:
            raise refusal(archive, f"holds a file whose path leads out of it ({path.as_posix()})")
        if len(path.parts) > MOST_FOLDERS:
            raise refusal(archive, f"holds a file in more than {MOST_FOLDERS} folders ({path.as_posix()[:100]}...)")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise refusal(archive, f"holds a link ({path.as_posix()})")
    n_bytes, most = sum(entry.file_size for entry in entries), min(MOST_BYTES, free_memory() // 2)
    if len(entries) > MOST_FILES:
        raise refusal(archive, f"holds {len(entries):,} files, more than {MOST_FILES:,}")
    if n_bytes > most:
        raise refusal(archive, f"unpacks to {n_bytes:,} bytes, more than {most:,}")


def refusal(archive: Path, reason: str) -> RunDirectoryError:
    """Return the error for an archive that `pack` didn't write, or that is too large."""
    return RunDirectoryError(f"{archive} {reason}; get the archive from another source, or unpack it by hand.")


def _content(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpack a file in small pieces: in one, zipfile would unpack all that is there, not only what is claimed."""
    with packed.open(entry) as file:
        return b"".join(iter(lambda: file.read(PIECE_BYTES), b""))


def pack(folder: Path, archive: Path, names: Sequence[str] = RUN_FILES) -> tuple[list[Path], list[Path]]:
    """Add the finished runs in or below a folder to an archive; the same runs give the same bytes.

    Args:
        folder: Folder of the runs; paths in the archive are relative to it.
        archive: Created if it doesn't exist. A run of the same path in it is replaced, its other runs are kept.
        names: Files of a run that are packed, where they exist.

    Returns:
        The directories of the packed runs, and of the unfinished runs, which were left out.

    Raises:
        RunDirectoryError: A run's files are damaged, or the archive can't be read.
        OSError: A file can't be read, or the archive can't be written.
    """
    runs = sorted(meta.parent for meta in folder.rglob("meta.json"))
    finished = [run for run in runs if read_meta(run).state == "finished"]
    for run in finished:
        check_run(run)
    if finished:
        inside = {PurePosixPath(run.relative_to(folder)): run for run in finished}
        kept = contents(archive) if archive.exists() else {}
        files = {name: content for name, content in kept.items() if PurePosixPath(name).parent not in inside}
        for place, run in inside.items():
            files |= {str(place / name): (run / name).read_bytes() for name in names if (run / name).exists()}
        _write(archive, files)
    return finished, [run for run in runs if run not in finished]


def _write(archive: Path, files: dict[str, bytes]) -> None:
    """Write files in order of their names, dated with the earliest time of the format: the same bytes everywhere."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # a Unix file that everybody may read
            packed.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
