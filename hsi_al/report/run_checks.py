"""Checks of the files of a run: by the checksums of its manifest, against each other, and against the scene."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hsi_al.accuracy import accuracies, recalls
from hsi_al.errors import RunDirectoryError
from hsi_al.manifest import ANEW, check_files, read_manifest
from hsi_al.report.run_files import Committed, Confusions, meta_entries, read_committed, read_confusions, require
from hsi_al.report.tables import CurveRow, read_curve

ROUNDING = 1e-12  # by which accuracies may differ between machines


def check_run(run_dir: Path, weights: bool = False) -> None:
    """Compare the files of a run with its manifest, if it has one, and with each other as far as they exist.

    Args:
        run_dir: The run directory.
        weights: Compare the weights of the last committed round too.

    Raises:
        RunDirectoryError: A file is missing, damaged or exchanged, or can't be read.
    """
    optional = () if (run_dir / "predictions.h5").exists() else ("predictions.h5",)
    check_files(run_dir, lambda name: not name.startswith("weights_") and name not in optional)
    meta_entries(run_dir)
    pool = read_committed(run_dir) if (run_dir / "pool.h5").exists() else None
    if pool is not None:
        check_pool(run_dir, pool)
        if weights:
            check_files(run_dir, lambda name: name.startswith(f"weights_{pool.next_round - 1}."))
    if (run_dir / "confusion.h5").exists():
        confusions = read_confusions(run_dir)
        check_confusions(run_dir / "confusion.h5", confusions)
        if (run_dir / "curve.csv").exists():
            check_curve(run_dir / "curve.csv", read_curve(run_dir), confusions, pool)


def finished_run(run_dir: Path) -> dict[str, Any]:
    """Return the entries of meta.json of a finished run whose files, weights included, are sound.

    Raises:
        RunDirectoryError: The run is not finished, or one of the reasons of `check_run`.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise RunDirectoryError(f"{run_dir} is a file where the directory of a run is needed; name that.")
    if meta_entries(run_dir).get("state") != "finished":
        raise RunDirectoryError(f"{run_dir} holds no finished run; run it to its end first.")
    check_run(run_dir, weights=True)
    return meta_entries(run_dir, "title", "class_names", "n_bands", "rgb_bands")


def check_queries(run_dir: Path, query_size: int) -> None:
    """Raise RunDirectoryError if a query in pool.h5 has another size than those of the run."""
    path = run_dir / "pool.h5"
    if not path.exists():
        return
    pool = read_committed(run_dir)
    sizes = np.bincount(pool.labelled_at[pool.labelled_at > 0], minlength=pool.next_round + 1)[1:].tolist()
    fits = set(sizes[:-1]) <= {query_size} and set(sizes[-1:]) <= {0, query_size}  # the last round has no query
    require(fits, path, f"its queries have {sizes} labels where each has {query_size}")


def check_pool(run_dir: Path, pool: Committed) -> None:
    """Raise RunDirectoryError unless labels and rounds in pool.h5 fit each other and the manifest's counts."""
    path, labelled = run_dir / "pool.h5", pool.labelled_at >= 0
    require(pool.labelled_at.min(initial=-1) >= -1, path, "labelled_at holds numbers below -1")
    require(pool.labelled_at.max(initial=-1) <= pool.next_round, path, "labels of rounds to come")
    require(bool(((pool.label > 0) == labelled).all()), path, "label and labelled_at differ in what is labelled")
    manifest = read_manifest(run_dir)
    counts, found = manifest.counts if manifest else [], [pool.next_round, int(labelled.sum())]
    require(not counts or found in counts, path, f"{found[0]} rounds and {found[1]} labels, unlike manifest.json")


def check_confusions(path: Path, confusions: Confusions) -> None:
    """Raise RunDirectoryError unless every round counts the same pixels, and no more held-out ones."""
    truth = confusions.all.sum(axis=2)
    require(bool((truth == truth[:1]).all()), path, "the rounds count different numbers of pixels of a class")
    fits = (confusions.heldout >= 0).all() and (confusions.heldout <= confusions.all).all()
    require(bool(fits), path, "more held-out pixels than pixels, or negative counts")


def recalled(recall: dict[int, float]) -> dict[str, float]:
    """Return recalls by the names of their columns, given them by label value."""
    return {f"recall_{value}": share for value, share in recall.items()}


def check_curve(path: Path, rows: list[CurveRow], confusions: Confusions, pool: Committed | None) -> None:
    """Raise RunDirectoryError unless the rows of curve.csv follow from confusion.h5 and pool.h5."""
    values = confusions.label_values.tolist()
    for index, (row, *pair) in enumerate(zip(rows, confusions.all, confusions.heldout, strict=False)):
        told = {name: getattr(row, name) for name in accuracies(*pair)} | recalled(row.recall)
        known = accuracies(*pair) | recalled(dict(zip(values, recalls(pair[0]).tolist(), strict=True)))
        require(told.keys() == known.keys(), path, f"recalls of the label values {[*row.recall]}, not {values}")
        for name, value in known.items():
            same = math.isclose(told[name], value, abs_tol=ROUNDING) or (math.isnan(told[name]) and math.isnan(value))
            require(same, path, f"round {index} has {name} = {told[name]}, but confusion.h5 gives {value}")
        require(row.round == index, path, f"round {row.round} stands where round {index} should be")
        if pool is not None and index <= pool.next_round:
            n_labelled = int(((pool.labelled_at >= 0) & (pool.labelled_at <= index)).sum())
            require(
                row.n_labelled == n_labelled, path, f"round {index} has {row.n_labelled} labels, pool.h5 {n_labelled}"
            )


def check_data(run_dir: Path, name: str, data: dict[str, str]) -> None:
    """Raise RunDirectoryError if a run was made with another scene.

    Args:
        run_dir: The run directory.
        name: Name of the scene.
        data: Checksums of its data, see `hsi_al.scenes.checksums`.
    """
    manifest = read_manifest(run_dir)
    kept = manifest.data if manifest else {}
    if different := [part.replace("_", " ") for part in data if kept.get(part, data[part]) != data[part]]:
        raise RunDirectoryError(
            f"{run_dir} holds a run with another {' and another '.join(different)} of {name}: the data changed since "
            "(their checksums differ); restore the data, or choose another hydra.run.dir or experiment.name."
        )


def check_labels(run_dir: Path, ground_truth: npt.NDArray[Any]) -> None:
    """Raise RunDirectoryError if pool.h5 holds other labels than the ground truth (H, W)."""
    path = run_dir / "pool.h5"
    if not path.exists():
        return
    pool = read_committed(run_dir)
    fits = bool(((pool.pixel_id >= 0) & (pool.pixel_id < ground_truth.size)).all())
    labelled = pool.labelled_at >= 0
    wrong = fits and (ground_truth.ravel()[pool.pixel_id[labelled]] != pool.label[labelled]).sum()
    if not fits or wrong:
        found = f"{wrong} labels that differ from" if fits else "pixels outside"
        raise RunDirectoryError(f"{path} holds {found} the scene's ground truth; {ANEW}.")
