"""Grouping of runs: by equal settings (series of seeds and folds), and by what makes settings comparable (arenas)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hsi_al.config.plain import flatten, plain_yaml
from hsi_al.config.schema import DATA_KEYS, WRAPPERS, Config, question_of
from hsi_al.errors import RunDirectoryError
from hsi_al.manifest import read_manifest, reading
from hsi_al.report.run_files import Meta, read_meta
from hsi_al.report.tables import CurveRow, read_curve

# Keys of config.yaml in which runs of the same settings may differ; a dot at the end stands for a whole group.
IGNORED = (
    "seed",
    "split.fold",
    "data_dir",
    "debug",
    "dataset.class_names",
    "dataset.in_memory",
    "dataset.memory_gb",
    "dataset.rgb_bands",
    "experiment.",
    "logger.",
    "trainer.accelerator",
    "trainer.compile",
    "trainer.threads",
    "trainer.profile",
    "trainer.predict_batch_size",
)
# Further keys that change no accuracy of a method; apart, since the digests of asking runs (`asked_by`) count them.
OF_MAPS = ("map.", "protocol.full_map")
# Keys that are named where they are set, as acquisition wrappers are.
NAMED = ("protocol.labels_from", "protocol.labels_at", "split.new_ground")
# Values of a setting that is switched off.
OFF = ("None", "False", "0", "0.0")
# Keys that name every run, in this order, and how their values are written; others are written `key=value`.
NAMING = {
    "dataset.name": "{}",
    "learner.method": "{}",
    "acquisition.name": "{}",
    "protocol.name": "protocol {}",
    "split.kind": "split {}",
}
# Keys that change which pixels are counted: runs that differ in them are never tested against each other.
ARENA = ("dataset.", "split.", "protocol.name", "protocol.max_pixels")
# Those of them that other methods' runs of the same scene, split and protocol are searched for, too.
TESTED = ("dataset.", "split.", "protocol.max_pixels")
# How titles are put together, for runs without a configuration.
TITLE = re.compile(r"(.*), ([^,]*), ([^,]*), protocol (.*), split ([^,]*?)(?:, fold (\d+))?, seed (\d+)", re.DOTALL)


class Setting(NamedTuple):
    """A setting of a run.

    Attributes:
        key: Dotted key of config.yaml.
        value: Its value as text.
    """

    key: str
    value: str

    @property
    def text(self) -> str:
        """The setting as reports write it."""
        return NAMING.get(self.key, f"{self.key}={{}}").replace("{}", self.value)


Settings = tuple[Setting, ...]
UNKNOWN = Setting("config.yaml", "missing")  # of a run that might be of several methods


class Trial(NamedTuple):
    """What runs of the same settings differ in: the division into candidates and test pixels, and the root seed."""

    fold: int
    seed: int


@dataclass(frozen=True)
class Run:
    """The parts of a run directory that comparisons need: path, trial, meta.json and the rows of curve.csv."""

    path: Path
    trial: Trial
    meta: Meta
    rows: list[CurveRow]


@dataclass(frozen=True)
class Series:
    """Runs of the same settings, which differ in their fold and seed only.

    Attributes:
        name: The settings in which this series differs from the others read with it.
        settings: Those of `NAMING`, then those that differ between runs that are equal in these, and acquisition
            wrappers.
        runs: The runs in ascending order of their folds and seeds.
    """

    name: str
    settings: Settings
    runs: list[Run]

    @property
    def arena(self) -> Settings:
        """Scene, split and protocol, which must be the same for a comparison."""
        return tuple(setting for setting in self.settings if among(setting.key, ARENA))

    @property
    def question(self) -> str:
        """The question that the test pixels ask, in words; empty where the split isn't known."""
        kind, *_ = *self.values_of("split.kind"), ""
        return question_of(kind, {*self.values_of("split.new_ground")} - {*OFF} != set())

    @property
    def has_fixed_test_set(self) -> bool:
        """Whether every run of a fold is tested on the same pixels."""
        return any(kind != "paper" for kind in self.values_of("split.kind"))

    def values_of(self, key: str) -> list[str]:
        """Return the value of a key, in a list that is empty where the settings don't have it."""
        return [setting.value for setting in self.settings if setting.key == key]


def among(key: str, keys: Sequence[str]) -> bool:
    """Whether a dotted key is one of `keys`, of which those that end with a dot stand for whole groups."""
    return any(key == known or (known.endswith(".") and key.startswith(known)) for known in keys)


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run directories among the paths and below them.

    Raises:
        RunDirectoryError: There is no run directory at or below a path.
    """
    runs: dict[Path, None] = {}
    for path in paths:
        found = sorted(meta.parent for meta in path.rglob("meta.json"))
        if not found:
            archives = [f"; give the path of its archive {archive}" for archive in sorted(path.rglob("*.zip"))]
            raise RunDirectoryError(f"{path} holds no run (no meta.json in it or below){''.join(archives[:1])}.")
        runs |= dict.fromkeys(found)
    return list(runs)


def series_of(paths: Sequence[Path]) -> list[Series]:
    """Group run directories by all settings but fold and seed, and name each group by the settings that only it has.

    Settings are read from config.yaml, and from the title only where a run has no such file or it lacks a key. Runs
    whose test pixels differ by a setting are told apart by it, whatever their methods.

    Raises:
        RunDirectoryError: A file is missing or malformed, or two runs have the same settings, fold and seed.
    """
    named: dict[Settings, list[tuple[Run, dict[str, str]]]] = {}
    data: dict[Path, dict[str, str]] = {}
    for path in paths:
        meta, kept, manifest = read_meta(path), kept_settings(path), read_manifest(path)
        data[path] = manifest.data if manifest else {}
        known = ({} if {*NAMING, "seed"} <= kept.keys() else titled(meta.title)) | kept
        kept = with_test_pixels(kept, known["split.kind"], meta)
        if kept and meta.labels_by:  # of seeds, whose labels come from as many runs
            kept["protocol.labels_from"] = meta.labels_by
        known["learner.method"] = known["learner.method"].removeprefix("deep-")
        naming = tuple(Setting(key, known[key]) for key in NAMING if known[key])
        trial = Trial(*(int(known[key]) if known.get(key, "").isdigit() else 0 for key in ("split.fold", "seed")))
        named.setdefault(naming, []).append((Run(path, trial, meta, read_curve(path)), kept))
    tested = tested_settings(named, data)
    groups: dict[Settings, list[Run]] = {}
    for naming, found in named.items():
        settings = by_data([kept for _, kept in found], [data[run.path] for run, _ in found])
        for (run, _), hidden in zip(found, hidden_settings(settings), strict=True):
            own = {setting.key: setting for setting in (*hidden, *tested[run.path])}
            groups.setdefault((*naming, *sorted(own.values())), []).append(run)
    names = distinct_names(list(groups))
    return [Series(names[key], key, in_order(runs)) for key, runs in groups.items()]


def titled(title: str) -> dict[str, str]:
    """Return the values of the keys of `NAMING`, of the fold and of the seed as a title says them.

    Of a title of another form, the first part is the scene, the last the seed, and what is between them the method.
    """
    if match := TITLE.fullmatch(title):
        return dict(zip((*NAMING, "split.fold", "seed"), match.groups("0"), strict=True))
    rest, _, seed = title.rpartition(", seed ") if re.search(r", seed \d+$", title) else (title, "", "0")
    scene, _, method = rest.partition(", ")
    return dict.fromkeys(NAMING, "") | {"dataset.name": scene, "learner.method": method, "seed": seed}


def distinct_names(groups: Sequence[Settings]) -> dict[Settings, str]:
    """Name each group by the settings that not all groups share.

    Settings of value None are part of the name only if there are no others. Names that would be equal are numbered.
    """
    shared = set.intersection(*(set(settings) for settings in groups))
    names: dict[Settings, str] = {}
    for key in groups:
        own = [setting for setting in key if setting not in shared]
        on = [setting for setting in own if setting.value != "None"]
        name = ", ".join(setting.text for setting in on or own or key)
        known = sum(other == name or other.startswith(f"{name} (") for other in names.values())
        names[key] = f"{name} ({known + 1})" if name in names.values() else name
    return names


def in_order(runs: list[Run]) -> list[Run]:
    """Return runs in ascending order of their folds and seeds.

    Raises:
        RunDirectoryError: Two runs have the same fold and seed.
    """
    known: dict[Trial, Run] = {}
    for run in runs:
        if run.trial in known:
            fold = f"fold {run.trial.fold}, " if run.trial.fold else ""
            raise RunDirectoryError(
                f"{known[run.trial].path} and {run.path} are both {fold}seed {run.trial.seed} of the same settings; "
                "give only one of them."
            )
        known[run.trial] = run
    return [known[trial] for trial in sorted(known)]


def counted(trials: Sequence[Trial]) -> str:
    """Return how many trials there are: `3`, or with several folds such as `5 folds x 3 seeds`."""
    folds = Counter(trial.fold for trial in trials)
    if len(folds) < 2:
        return str(len(trials))
    seeds = {trial.seed for trial in trials}
    if len(trials) == len(folds) * len(seeds):
        return f"{len(folds)} folds x {len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
    return f"{len(trials)} runs of {len(folds)} folds"


def listed(trials: Sequence[Trial]) -> str:
    """Return the seeds of trials in ascending order, such as `0 1 2`, or with other folds `fold 0: 0 1, fold 1: 0`."""
    folds = {fold: " ".join(str(seed) for other, seed in trials if other == fold) for fold, _ in trials}
    if not any(folds):
        return "".join(folds.values())
    return ", ".join(f"fold {fold}: {seeds}" for fold, seeds in folds.items())


def with_test_pixels(kept: dict[str, str], kind: str, meta: Meta) -> dict[str, str]:
    """Return a run's settings with those that decide, beside what the keys say, which pixels `blocks` tests on.

    A guard that is not set is that of the run's patches. Runs of versions without `split.fold` have other layouts.

    Args:
        kept: What `kept_settings` returns.
        kind: Kind of the split.
        meta: The run's meta.json.
    """
    if not kept or kind not in ("blocks", "checkerboard"):
        return kept
    sides = (kept.get("patch_size", ""), str(meta.overlap.patch_size) if meta.overlap else "")
    settings = kept | {"split.guard": max((side for side in sides if side.isdigit()), key=int, default="None")}
    if kept.get("split.guard", "None") != "None":
        settings["split.guard"] = kept["split.guard"]
    return settings if "split.fold" in kept else settings | {"split.layouts": "earlier"}


def tested_settings(
    named: Mapping[Settings, Sequence[tuple[Run, dict[str, str]]]], data: Mapping[Path, dict[str, str]]
) -> dict[Path, Settings]:
    """Return, by run, the settings of `TESTED` in which runs of the same scene, split and protocol differ.

    Args:
        named: Runs with their settings, by the settings of `NAMING`.
        data: Checksums of each run's data; {} for a run without them.
    """
    arenas: dict[Settings, list[tuple[Run, dict[str, str]]]] = {}
    for naming, found in named.items():
        arenas.setdefault(Series("", naming, []).arena, []).extend(found)
    tested: dict[Path, Settings] = {}
    for found in arenas.values():
        runs = [run.path for run, _ in found]
        every = by_data([kept for _, kept in found], [data[run] for run in runs])
        # Places of files say nothing where a run has no checksums.
        keys = [[key for key in kept if among(key, TESTED) and key not in DATA_KEYS] for kept in every]
        chosen = [{key: kept[key] for key in own} for kept, own in zip(every, keys, strict=True)]
        tested |= dict(zip(runs, hidden_settings(chosen), strict=True))
    return tested


def hidden_settings(kept: Sequence[dict[str, str]]) -> list[Settings]:
    """Return, for each of several runs that are equal in the keys of `NAMING`, its other settings that matter.

    These are the keys in which the runs differ, acquisition wrappers that are on, and other keys of `NAMED`.
    A run without config.yaml has the settings of the others if these are equal in all, else none that are known.

    Args:
        kept: What `kept_settings` returns for each run.
    """
    known = [settings for settings in kept if settings]
    keys = [key for key in set[str]().union(*known) if not among(key, (*IGNORED, *OF_MAPS))]
    # Defaults do what versions without the key did.
    values = {key: [settings.get(key, DEFAULTS.get(key, OFF[0])) for settings in known] for key in keys}
    for key in values:
        if not all(key in settings for settings in known):  # a run older than the key equals one with the key off
            values[key] = [OFF[0] if value in OFF else value for value in values[key]]
    named = {*NAMED, *(f"acquisition.{name}" for name in WRAPPERS)}
    keys = sorted(key for key, own in values.items() if len(set(own)) > 1 or (key in named and {*own} - {*OFF}))
    found = [tuple(Setting(key, values[key][run]) for key in keys) for run in range(len(known))]
    others, own = ((UNKNOWN,) if len({*found}) > 1 else (*found, ())[0]), iter(found)
    return [next(own) if settings else others for settings in kept]


def kept_settings(path: Path) -> dict[str, str]:
    """Return the dotted keys of a run's config.yaml and their values as text; {} without the file.

    Raises:
        RunDirectoryError: The file can't be read.
    """
    file = path / "config.yaml"
    if not file.exists():
        return {}
    with reading(file):
        try:
            return as_text(plain_yaml(file))
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error


def by_data(kept: Sequence[dict[str, str]], data: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Name the data of runs by the checksums that all of them have instead of their places, if they have any."""
    configured = [sums for settings, sums in zip(kept, data, strict=True) if settings]
    if not all(configured):
        return [*kept]
    known = set.intersection(*map(set, configured)) if configured else set()  # earlier ones: none of given test sets
    return [
        {key: value for key, value in settings.items() if key not in DATA_KEYS}
        | {f"dataset.{part}": f"sha256:{value[:12]}" for part, value in sums.items() if settings and part in known}
        for settings, sums in zip(kept, data, strict=True)
    ]


def as_text(node: Any) -> dict[str, str]:  # noqa: ANN401
    """Return nested dictionaries as one with dotted keys and texts."""
    return {key: str(value) for key, value in flatten(node).items()}


DEFAULTS = as_text(asdict(Config()))
