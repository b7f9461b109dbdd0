"""The file manifest.json of a run: checksums and counts, by which damaged and exchanged files are found.

Files that are replaced together are listed with the checksums of their new and their present content before the first
of them is replaced: whenever a run is killed, each file has one of the two.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hsi_al.errors import HsiAlError, RunDirectoryError, not_now
from hsi_al.files import replace_text, replacing

NAME = "manifest.json"
ANEW = "restore it from a copy, or delete the run directory to start anew"
# What else helps against damage to a single file.
WAYS_OUT = {
    NAME: "restore it from a copy, or delete this file alone: the run is then checked as far as is possible without it",
    "meta.json": "restore it from a copy, or delete this file alone: the command of the run then writes it anew",
    "predictions.h5": "restore it from a copy, or delete this file and meta.json: the command of the run then writes "
    "both anew",
}
# Raised by h5py, csv, json, yaml, torch and numpy on truncated or overwritten files.
DAMAGE = (
    *(OSError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError),
    *(AssertionError, EOFError, csv.Error, HsiAlError),
)
READS = 3  # how often a file is read whose checksum is wrong: a running run may just have replaced it


@dataclass(frozen=True)
class Manifest:
    """What a run knows about its files.

    Attributes:
        files: Checksum of each file, then that of the content before, which it may still have; None = no file.
        counts: Committed rounds and labels in pool.h5, then those before.
        data: Checksums of the scene's `cube` and `ground_truth`; {} if unknown.
    """

    files: dict[str, list[str | None]] = field(default_factory=dict)
    counts: list[list[int]] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)

    def refuses(self, folder: Path, name: str) -> bool:
        """Return whether a file has none of its checksums; files that aren't listed are never refused."""
        return name in self.files and digest(folder / name) not in self.files[name]


def digest(path: Path) -> str | None:
    """Return the SHA-256 checksum of a file's content; None if there is no file."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(2**20):
                found.update(part)
    except FileNotFoundError:
        return None
    return found.hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a run directory; None for a run of a version that wrote none.

    Raises:
        RunDirectoryError: The file can't be read or is damaged.
    """
    path = folder / NAME
    with reading(path):
        content = read_sealed(path, needs_seal=True)
        if content is None:
            return None
        manifest = Manifest(content["files"], content["counts"], content["data"])
        listed = [name for names in manifest.files.values() for name in names]
        if not all(isinstance(entry, str | None) for entry in listed):
            raise ValueError("a checksum is no text")
        return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a run directory."""
    replace_text(folder / NAME, sealed(asdict(manifest)))


def replace_files(
    folder: Path,
    contents: Mapping[str, bytes | memoryview],
    files: Mapping[str, list[str | None]] | None = None,
    **changed: Any,  # noqa: ANN401
) -> None:
    """Replace files of a run in the given order, and before them the manifest that lists their checksums.

    Args:
        folder: The run directory.
        contents: The new content of each file.
        files: Entries of the manifest for the other files; default: the present ones.
        changed: Other attributes of the manifest that change.

    Raises:
        OSError: The disk is full, or the folder can't be written.
    """
    manifest = read_manifest(folder) or Manifest()
    new = {name: [hashlib.sha256(content).hexdigest(), digest(folder / name)] for name, content in contents.items()}
    others = {**(manifest.files if files is None else files)}
    listed = {name: settled(folder / name, entry) for name, entry in others.items()} | new
    with ExitStack() as stack:  # which replaces the files in the opposite order
        for name, content in reversed([*contents.items()]):
            stack.enter_context(replacing(folder / name)).write_bytes(content)
        write_manifest(folder, replace(manifest, files=listed, **changed))


def settled(path: Path, entry: list[str | None]) -> list[str | None]:
    """Return the entry of a file without the content before, if the file has the new one."""
    return entry[:1] if len(entry) > 1 and digest(path) == entry[0] else entry


def check_files(folder: Path, names: Callable[[str], bool] = lambda name: True) -> None:
    """Compare the files of a run with the checksums in its manifest, if it has one.

    Args:
        folder: The run directory.
        names: Says of a file's name whether it is compared.

    Raises:
        RunDirectoryError: A file is missing, damaged or exchanged, or can't be read.
    """
    manifest = read_manifest(folder)
    for name in filter(names, manifest.files if manifest else ()):
        path = folder / name
        with reading(path):
            for _ in range(READS):
                if manifest is None or not manifest.refuses(folder, name):
                    break
                manifest = read_manifest(folder)
            else:
                raise ValueError(f"its checksum is not the one in {NAME}" if path.exists() else "there is no such file")


@contextmanager
def reading(path: Path, way_out: str | None = None) -> Iterator[None]:
    """Turn the errors of reading a file of a run into a `RunDirectoryError` of one sentence.

    Errors of the system that say nothing about the file's content, such as a failing network, are told apart from
    damage: after them the run is not lost.

    Args:
        path: The file.
        way_out: What helps if the file is missing or damaged; default: by its name.
    """
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, RunDirectoryError):
            raise
        if said := not_now(path, error):
            raise RunDirectoryError(said) from error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        way_out = way_out or WAYS_OUT.get(path.name, ANEW)
        raise RunDirectoryError(f"{path} is missing or corrupted ({reason}); {way_out}.") from error


def sealed(content: dict[str, Any]) -> str:
    """Return a table as JSON text with one more entry, `checksum`: that of all others."""
    return json.dumps(content | {"checksum": seal_of(content)}, indent=2) + "\n"


def seal_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 checksum of a table, whatever the order of its entries."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_sealed(path: Path, needs_seal: bool = False) -> dict[str, Any] | None:
    """Read a table that `sealed` wrote; None if there is no file.

    Args:
        path: The file.
        needs_seal: Refuse a table without a checksum, which earlier versions wrote.

    Raises:
        ValueError: The file is damaged.
        OSError: The file can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    content = dict(json.loads(text).items())
    seal = content.pop("checksum", None)
    if (needs_seal or seal is not None) and seal != seal_of(content):
        raise ValueError("its content doesn't have its checksum")
    return content
