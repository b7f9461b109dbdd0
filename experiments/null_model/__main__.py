"""The null model in the paper's tables, 200 labels of every class: `python -m experiments.null_model FOLDER`.

The learner never looks at a spectrum, so it needs no cube: only the ground truths of the three scenes, of which FOLDER
holds `PaviaU_gt.mat` and `Salinas_gt.mat` (Indian Pines comes with the package). Coordinates stand in for the cubes.
"""

import csv
import sys
from pathlib import Path

import numpy as np

import hsi_al
from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown
from hsi_al.scenes.catalogue import CATALOGUE
from hsi_al.scenes.readers import read_array

SEEDS = range(5)
OUT = Path(__file__).resolve().parents[1] / "results" / "null_model"
PUBLISHED = Path(__file__).resolve().parents[1] / "paper" / "published.csv"
SCENES = {"pavia_university": "Table II", "indian_pines": "Table III", "salinas": "Table IV"}


def stand_in(name: str, folder: Path | None) -> hsi_al.Scene | None:
    """Return a scene whose cube holds rows and columns; None without its ground truth."""
    entry = CATALOGUE[name]
    if entry.embedded:
        truth = hsi_al.load_scene(name).ground_truth
    elif folder is None or not (path := folder / entry.ground_truth.name).exists():
        return None
    else:
        truth = read_array(path, entry.ground_truth.key)
    cube = np.moveaxis(np.indices(truth.shape, np.float32), 0, 2)
    return hsi_al.load_scene(cube, truth, name=name, class_names=dict(entry.class_names))


def published(name: str) -> str:
    """Return the published OA of a scene: the paper's own method, and the best of those it compares with."""
    with PUBLISHED.open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["scene"] == name and row["row"].lower() == "oa")
    compared = {
        method: float(value) for method, value in row.items() if method not in ("scene", "row", "active") and value
    }
    best = max(compared, key=lambda method: compared[method])
    return f"{row['active']}; {compared[best]:.2f} ({best})"


def main() -> None:
    """Measure, print and write the table."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    rows = [
        [
            "table",
            "scene",
            "labels",
            "OA %",
            "AA %",
            "kappa %",
            "published: the paper's method with 480; the best of the others",
        ]
    ]
    for name, table in SCENES.items():
        scene = stand_in(name, folder)
        if scene is None:
            print(f"{name}: its ground truth is not at hand.")
            continue
        values = []
        for seed in SEEDS:
            experiment = hsi_al.Experiment(
                scene,
                "paper",
                "nearest_label",
                "none",
                per_class=200,
                take_existing=True,
                rounds=0,
                seed=seed,
                initial="uniform",
            )
            curve = experiment.run()
            values.append([100 * curve[key][-1] for key in ("oa_all", "aa_all", "kappa_all")])
            n_labels = int(curve["n_labelled"][-1])
        means, spreads = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        measured = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(means, spreads, strict=True)]
        rows.append([table, name, str(n_labels), *measured, published(name)])
    about = (
        f"`python -m experiments.null_model FOLDER`, commit {git_commit()}; 200 labels of every class, all pixels "
        f"counted as in the paper, {len(SEEDS)} seeds. `learner=nearest_label` never looks at a spectrum, so "
        "coordinates stand in for cubes."
    )
    text = f"# The null model in the paper's tables\n\n{about}\n\n{markdown(rows)}"
    print(text)
    if len({table for table, *_ in rows}) < len(SCENES):
        print("Not recorded: FOLDER lacks the ground truth of some scenes.")
        return
    OUT.mkdir(exist_ok=True)
    replace_text(OUT / "README.md", text)


if __name__ == "__main__":
    main()
