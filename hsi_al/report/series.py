"""Grouping of runs: by equal settings (series of seeds), and by what makes settings comparable (arenas)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hsi_al.config.plain import plain_yaml
from hsi_al.config.schema import WRAPPERS
from hsi_al.errors import RunDirectoryError
from hsi_al.report.run_files import Meta, read_meta
from hsi_al.report.tables import CurveRow, read_curve

# Keys of config.yaml in which runs of the same settings may differ.
IGNORED = (
    "seed",
    "data_dir",
    "debug",
    "experiment.",
    "logger.",
    "trainer.accelerator",
    "trainer.threads",
    "trainer.profile",
    "trainer.predict_batch_size",
)
# Values of a setting that is switched off.
OFF = ("None", "False", "0", "0.0")
# Keys that change which pixels are counted: runs that differ in them are never tested against each other.
ARENA = ("dataset.", "split.", "protocol.name=", "protocol.max_pixels=")


@dataclass(frozen=True)
class Run:
    """The parts of a run directory that comparisons need: path, seed, meta.json and the rows of curve.csv."""

    path: Path
    seed: int
    meta: Meta
    rows: list[CurveRow]


@dataclass(frozen=True)
class Series:
    """Runs of the same settings, which differ in their seed only.

    Attributes:
        name: The settings in which this series differs from the others read with it.
        settings: The parts of the runs' title without the seed, then `key=value` of settings that differ between runs
            of equal titles, and of acquisition wrappers.
        runs: The runs in ascending order of their seeds.
    """

    name: str
    settings: tuple[str, ...]
    runs: list[Run]

    @property
    def arena(self) -> tuple[str, ...]:
        """Scene, split and protocol, which must be the same for a comparison."""
        scene, *rest = self.settings
        # The guard between their candidates and test pixels depends on the patch size.
        spatial = any(part in ("split blocks", "split checkerboard") for part in rest)
        known = ("split ", "protocol ", *ARENA, *(("patch_size=",) if spatial else ()))
        return (scene, *(part for part in rest if part.startswith(known)))

    @property
    def has_fixed_test_set(self) -> bool:
        """Whether every run of the split is tested on the same pixels."""
        return any(part.startswith("split ") and part != "split paper" for part in self.settings)


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run directories among the paths and below them.

    Raises:
        RunDirectoryError: There is no run directory at or below a path.
    """
    runs: list[Path] = []
    for path in paths:
        found = sorted(meta.parent for meta in path.rglob("meta.json"))
        if not found:
            archives = [f"; give the path of its archive {archive}" for archive in sorted(path.rglob("*.zip"))]
            raise RunDirectoryError(f"{path} holds no run (no meta.json in it or below){''.join(archives[:1])}.")
        runs += [run for run in found if run not in runs]
    return runs


def series_of(paths: Sequence[Path]) -> list[Series]:
    """Group run directories by all settings but the seed, and name each group by the settings that only it has.

    Raises:
        RunDirectoryError: A file is missing or malformed, or two runs have the same settings and seed.
    """
    titled: dict[tuple[str, ...], list[Run]] = {}
    for path in paths:
        meta = read_meta(path)
        parts = meta.title.split(", ")
        seeds = [part.removeprefix("seed ") for part in parts if part.startswith("seed ")]
        run = Run(path, int(seeds[0]) if seeds and seeds[0].isdigit() else 0, meta, read_curve(path))
        titled.setdefault(tuple(part for part in parts if not part.startswith("seed ")), []).append(run)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for title, runs in titled.items():
        for run, hidden in zip(runs, hidden_settings([run.path for run in runs]), strict=True):
            groups.setdefault((*title, *hidden), []).append(run)
    names = distinct_names(list(groups))
    return [Series(names[key], key, in_order(runs)) for key, runs in groups.items()]


def distinct_names(groups: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Name each group by the settings that not all groups share.

    Settings of value None are part of the name only if there are no others.
    """
    shared = set.intersection(*(set(settings) for settings in groups))
    own = {key: [part for part in key if part not in shared] for key in groups}
    on = {key: [part for part in parts if not part.endswith("=None")] for key, parts in own.items()}
    return {key: ", ".join(on[key] or own[key] or key) for key in groups}


def in_order(runs: list[Run]) -> list[Run]:
    """Return runs in ascending order of their seeds.

    Raises:
        RunDirectoryError: Two runs have the same seed.
    """
    known: dict[int, Run] = {}
    for run in runs:
        if run.seed in known:
            raise RunDirectoryError(
                f"{known[run.seed].path} and {run.path} are both seed {run.seed} of the same settings; "
                "give only one of them."
            )
        known[run.seed] = run
    return [known[seed] for seed in sorted(known)]


def hidden_settings(paths: Sequence[Path]) -> list[tuple[str, ...]]:
    """Return, for each of several runs of the same title, the settings that the title doesn't show.

    These are `key=value` of config.yaml for the keys in which the runs differ, and for acquisition wrappers that are
    on. Every run gets an empty tuple if one of them has no config.yaml.
    """
    kept = [kept_settings(path) for path in paths]
    if not all(kept):
        return [() for _ in kept]
    values = {key: [settings.get(key, OFF[0]) for settings in kept] for key in set().union(*kept)}
    for key in values:
        if not all(key in settings for settings in kept):  # a run older than the key equals one with the key off
            values[key] = [OFF[0] if value in OFF else value for value in values[key]]
    wrappers = {f"acquisition.{name}" for name in WRAPPERS}
    keys = sorted(key for key, own in values.items() if len(set(own)) > 1 or (key in wrappers and {*own} - {*OFF}))
    return [tuple(f"{key}={values[key][run]}" for key in keys) for run in range(len(kept))]


def kept_settings(path: Path) -> dict[str, str]:
    """Return the dotted keys of config.yaml, without `IGNORED`, and their values as text; {} without the file.

    Raises:
        RunDirectoryError: The file can't be read.
    """
    file = path / "config.yaml"
    if not file.exists():
        return {}
    try:
        kept = plain_yaml(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunDirectoryError(f"{file} cannot be read: {' '.join(str(error).split())}.") from error
    return {key: value for key, value in _flat(kept) if not key.startswith(IGNORED)}


def _flat(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:  # noqa: ANN401
    if not isinstance(node, dict):
        return [(prefix, str(node))]
    return [pair for key, value in node.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))]
