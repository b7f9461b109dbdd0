"""What one pixel of missing data does to the learners: `python -m experiments.trust.outliers [LEARNER ...]`.

Indian Pines as float reflectance, whole and with -9999 in the unlabelled pixel of a corner; 160 random labels, accuracy
on the held-out half. `minmax` is what happens without protection, `auto` is the default of a custom scene.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown
from hsi_al.run import main as run
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

LEARNERS = {
    "lenet": ["backbone=lenet", "protocol.epochs=40"],
    "spectral": ["backbone=spectral", "protocol.epochs=40"],
    "emp_svm": ["learner=emp_svm"],
    "jcr": ["learner=jcr"],
    **{name: [f"learner={name}", "learner.effort=short"] for name in ("cnn3d", "cae3d_svm", "cnn_ppf", "scnn_svm")},
}
RESULTS = Path(__file__).resolve().parents[1] / "results" / "trust"
SENTINEL = -9999.0
VARIANTS = {
    "whole": ("whole", ["dataset.scaling=minmax"]),
    "minmax": ("broken", ["dataset.scaling=minmax"]),
    "auto": ("broken", []),
    "no_data": ("broken", [f"dataset.no_data=[{SENTINEL:g}]"]),
}


def write_scenes(scene: Scene, folder: Path) -> None:
    """Write reflectance, whole and with the sentinel, and the ground truth."""
    cube = scene.cube.astype(np.float32) / 10_000
    np.save(folder / "truth.npy", scene.ground_truth)
    np.save(folder / "whole.npy", cube)
    assert scene.ground_truth[0, -1] == 0
    cube[0, -1] = SENTINEL
    np.save(folder / "broken.npy", cube)


def measure(scene: Scene, learners: Sequence[str], folder: Path, options: Sequence[str] = ()) -> list[list[str]]:
    """Header and a row per learner: held-out OA and kappa of every variant, percent."""
    write_scenes(scene, folder)
    rows = [["learner", *(f"{name}: OA, kappa" for name in VARIANTS)]]
    for learner in learners:
        cells = []
        for name, (cube, how) in VARIANTS.items():
            place = folder / f"{learner}-{name}"
            arguments = [
                *("dataset=custom", "dataset.name=field", f"dataset.cube_file={folder / cube}.npy"),
                *(f"dataset.ground_truth_file={folder / 'truth.npy'}", "split=holdout", "protocol=short"),
                *("protocol.rounds=0", "acquisition=none", "protocol.full_map=false", "trainer.threads=1"),
                *(*LEARNERS[learner], *how, *options, f"hydra.run.dir={place}"),
            ]
            if run(arguments):
                raise SystemExit(f"{learner} failed on {name}.")
            with (place / "curve.csv").open(encoding="utf-8") as file:
                [row] = csv.DictReader(file)
            cells.append(f"{100 * float(row['oa_heldout']):.1f}, {100 * float(row['kappa_heldout']):.1f}")
        rows.append([learner, *cells])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure the named learners, by default all, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.trust.outliers", description=__doc__)
    parser.add_argument("learners", nargs="*", metavar="LEARNER", help=f"one of {', '.join(LEARNERS)}; default: all")
    names = parser.parse_args().learners or list(LEARNERS)
    if unknown := set(names) - set(LEARNERS):
        sys.exit(f"There is no learner {', '.join(sorted(unknown))} here; there are {', '.join(LEARNERS)}.")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(load_catalogue_scene("indian_pines", None), names, Path(folder))
    command = " ".join(["python -m experiments.trust.outliers", *sys.argv[1:]])
    page = f"`{command}`, Indian Pines, 9 classes, seed 0, {git_commit()}\n\n{markdown(rows)}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    replace_text(RESULTS / "outliers.md", page)


if __name__ == "__main__":
    main()
