"""Initial labels from another run of the same scene."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.config.schema import DATA_KEYS, FREE_KEYS, WRAPPERS
from hsi_al.errors import ConfigurationError
from hsi_al.manifest import digest, read_manifest
from hsi_al.report.run_checks import check_run
from hsi_al.report.run_files import read_committed, read_meta
from hsi_al.report.series import IGNORED, OFF, among, kept_settings
from hsi_al.scenes.catalogue import expanded
from hsi_al.scenes.checksums import ground_truth_checksum
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Inherited:
    """Labels that another run has asked.

    Attributes:
        pixel_ids: The labelled pixels, ascending, (n,).
        source: What meta.json records: `path` as given, `sha256` of its pool.h5, number of `labels`, and `asked_by`,
            which is the same for runs that differ in seed and fold only.
    """

    pixel_ids: Ids
    source: dict[str, Any]


def labels_of_run(given: str, first: int | None, scene: Scene, candidates: Ids) -> Inherited:
    """Return the labels of another run, finished or not.

    Args:
        given: Its directory.
        first: Take only the first so many, whole queries in the order in which they were asked; None = all.
        scene: Scene of this run.
        candidates: Pixel ids that this run may label, ascending.

    Raises:
        ConfigurationError: There is no such run, it has another scene or other classes, it had that many labels after
            no query, its pixels are no candidates here, or its labels are not those of the ground truth.
        RunDirectoryError: Its files are damaged.
    """
    path = expanded(given)
    if not (path / "pool.h5").is_file() or not (path / "config.yaml").is_file():
        raise ConfigurationError(
            f"protocol.labels_from={given} holds no run with labels (config.yaml and pool.h5); give the directory of a "
            "run, such as outputs/main/.../seed=0."
        )
    check_run(path)
    check_same_scene(path, given, scene)
    pool = read_committed(path)
    chosen = pool.labelled_at >= 0
    if first is not None:
        counts = np.cumsum(np.bincount(pool.labelled_at[chosen]))
        if first not in counts:
            nearest = np.sort(counts[np.argsort(abs(counts - first), kind="stable")[:3]])
            raise ConfigurationError(
                f"protocol.labels_at={first}, but {given} asked whole queries and has {counts[-1]} labels; the nearest "
                f"numbers of labels that it had are {', '.join(map(str, nearest))}."
            )
        chosen &= pool.labelled_at <= int(np.searchsorted(counts, first))
    pixel_ids = pool.pixel_id[chosen]
    if outside := int((~np.isin(pixel_ids, candidates)).sum()):
        raise ConfigurationError(
            f"{outside:,} of the {len(pixel_ids):,} labels of {given} are no candidates of this run, which may test on "
            "them; take the split of that run, with its split.seed, split.fold, split.guard and protocol.max_pixels."
        )
    if other := int((scene.ground_truth.ravel()[pixel_ids] != pool.label[chosen]).sum()):
        raise ConfigurationError(
            f"{other:,} of the {len(pixel_ids):,} labels of {given} are not those of the ground truth, as an oracle of "
            "its own gave them, and this run would take the ground truth's; take another run."
        )
    source = {
        "path": given,
        "sha256": digest(path / "pool.h5"),
        "labels": len(pixel_ids),
        "asked_by": asked_by(kept_settings(path), read_meta(path).labels_by),
    }
    return Inherited(pixel_ids, source)


def check_same_scene(path: Path, given: str, scene: Scene) -> None:
    """Raise ConfigurationError unless a run has the ground truth of `scene`, to which its labels belong.

    The values of the cube may differ, such as by `dataset.scaling`.

    Args:
        path: The run's directory.
        given: What the user calls it.
        scene: Scene of this run.
    """
    manifest = read_manifest(path)
    if manifest is None or not manifest.data:
        raise ConfigurationError(
            f"protocol.labels_from={given} is a run of an earlier version, without checksums of its scene; continue it "
            "by its own command, which adds them, or take another run."
        )
    if manifest.data.get("ground_truth") != ground_truth_checksum(scene):
        raise ConfigurationError(
            f"protocol.labels_from={given} is a run of another scene than {scene.name} or of other classes: its ground "
            "truth is another one, to whose pixels its labels belong; take a run of this scene with the same "
            "dataset.classes and dataset.ignore_labels, or map this scene with what that run has learnt: "
            "python -m hsi_al.predict <run> <cube file>."
        )


def asked_by(settings: dict[str, str], earlier: str = "") -> str:
    """Return who asked the labels of a run: learner, acquisition with what is around it, protocol, eight hex digits.

    The digits tell apart runs that differ in any setting but seed, fold, machine and names of data and experiment.

    Args:
        settings: Values of the run's config.yaml as text, by dotted key.
        earlier: Who asked its own initial labels, if they come from another run.
    """
    free = (*IGNORED, *FREE_KEYS, *DATA_KEYS, "protocol.labels_from")
    new = ("oracle.function", OFF[0])  # not in the files of earlier versions
    kept = sorted(entry for entry in settings.items() if not among(entry[0], free) and entry != new)
    digits = hashlib.sha256(repr((kept, earlier)).encode()).hexdigest()[:8]
    around = [f"{key}={settings.get(f'acquisition.{key}')}" for key in WRAPPERS]
    asked = "-".join([settings["acquisition.name"], *(text for text in around if text.partition("=")[2] not in OFF)])
    method = settings["learner.method"].removeprefix("deep-")
    return f"{method} {asked} {settings['protocol.name']} {digits}"
