"""Run directories made by hand, in the documented layout."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np

from hsi_al.accuracy import accuracies, recalls
from hsi_al.report.tables import COLUMNS

NAN = float("nan")


def write_run(
    run_dir: Path,
    classes: int = 3,
    rounds: int = 2,
    shape: tuple[int, int] = (24, 20),
    predictions: bool = True,
    ground_truth: bool = True,
    heldout: bool = True,
) -> Path:
    """Four initial labels, then three per round; label values are 2, 3, ..."""
    rng = np.random.default_rng(0)
    values = np.arange(classes) + 2
    truth = rng.choice([0, *values], size=shape)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_curve(run_dir, classes, rounds, heldout)
    counts = rng.integers(0, 50, (rounds + 1, classes, classes))
    write_h5(run_dir / "confusion.h5", all=counts, heldout=counts // 2 * heldout, label_values=values)
    candidates = np.flatnonzero(truth)
    labelled_at = np.full(candidates.size, -1)
    labelled_at[: 4 + 3 * rounds] = np.repeat(np.arange(rounds + 1), [4] + [3] * rounds)
    label = np.where(labelled_at >= 0, truth.ravel()[candidates], 0)
    write_h5(run_dir / "pool.h5", pixel_id=candidates, labelled_at=labelled_at, label=label)
    with h5py.File(run_dir / "pool.h5", "r+") as file:
        file.attrs["next_round"] = rounds + 1
    if predictions:
        arrays = {"class_map": np.maximum(truth, 2), "rgb": rng.integers(0, 256, (*shape, 3), dtype=np.uint8)}
        write_h5(run_dir / "predictions.h5", **arrays, **({"ground_truth": truth} if ground_truth else {}))
    names = {str(value): f"Class-of-{value}" for value in values}
    (run_dir / "meta.json").write_text(json.dumps({"title": "fake_scene, svm, seed 0", "class_names": names}))
    return run_dir


def make_fit(run_dir: Path) -> None:
    """Keep the OAs in curve.csv, and give it and confusion.h5 all else that follows from a matrix with these OAs."""
    with (run_dir / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    matrices: dict[str, list[np.ndarray]] = {"all": [], "heldout": []}
    for row in rows:
        for name, pixels in (("all", 4000), ("heldout", 1000)):
            wrong = round((1 - float(row[f"oa_{name}"])) * 3 * pixels)
            errors = [wrong // 3 + (index < wrong % 3) for index in range(3)]
            matrices[name].append(np.diag([pixels - n for n in errors]) + np.roll(np.diag(errors), 1, axis=1))
        pair = (matrices["all"][-1], matrices["heldout"][-1])
        recall = {f"recall_{value + 2}": share for value, share in enumerate(recalls(pair[0]).tolist())}
        row.update({name: repr(value) for name, value in (accuracies(*pair) | recall).items()})
    with (run_dir / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    stacked = {name: np.stack(arrays) for name, arrays in matrices.items()}
    write_h5(run_dir / "confusion.h5", **stacked, label_values=np.arange(3) + 2)


def write_curve(run_dir: Path, classes: int, rounds: int, heldout: bool) -> None:
    with (run_dir / "curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *(f"recall_{value + 2}" for value in range(classes))])
        for step in range(rounds + 1):
            accuracies = [0.60 + 0.1 * step, 0.55, 0.5] + ([0.58 + 0.1 * step, 0.5, NAN] if heldout else [NAN] * 3)
            writer.writerow([step, 4 + 3 * step, *accuracies, 10.0, 2.0, 0.25, *[0.5] * classes])


def write_h5(path: Path, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
