"""Folders that Hydra makes before a command is checked: none stays behind a refused one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.override_parser.types import Override

RECORD = "multirun.yaml"  # that Hydra writes before the first job of a sweep
PLACES = ("hydra.run.dir", "hydra.sweep.dir")


@contextmanager
def no_empty_folders(overrides: Sequence[Override]) -> Iterator[None]:
    """Remove the folders that are new at the end of the context and empty, in ./outputs or where the arguments say."""
    given = [str(override.value()) for override in overrides if override.key_or_group in PLACES]
    tops = {first_missing(Path(text)) for text in ("outputs", *map(fixed_part, given))}
    try:
        yield
    finally:
        for top in filter(None, tops):
            remove_empty(top)


def fixed_part(text: str) -> str:
    """Return the folders of a path before its first interpolation."""
    before, interpolation, _ = text.partition("${")
    return before.rpartition("/")[0] if interpolation else before


def first_missing(path: Path) -> Path | None:
    """Return the first folder on the way to a path that doesn't exist; None if all of them do."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    return missing[-1] if missing else None


def remove_empty(top: Path) -> None:
    """Remove the empty folders in and below a folder, and those that become empty; a sweep's record alone goes too."""
    files = [path for path in top.rglob("*") if not path.is_dir()]
    if {path.name for path in files} == {RECORD}:
        files[0].unlink()
    for folder in (*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top):
        with suppress(OSError):
            folder.rmdir()
