r"""Compare the conditions of `study.py` in one table and one picture.

python -m experiments.loss_prediction.report outputs/study --output experiments/results/short \
  --beside outputs/main/indian_pines/deep-densenet121/random/short-paper
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hsi_al.files import replace_text
from hsi_al.report.canvas import save
from hsi_al.report.compare import Curve, points_of
from hsi_al.report.contest_tables import markdown
from hsi_al.report.palette import PALETTE
from hsi_al.report.tables import read_curve

WATCHED = {
    "groups": ("query_groups", "places of a query of 40"),
    "wrong": ("query_wrong", "part of the query that was wrong"),
    "pool": ("pool_wrong", "part of the pool that was wrong"),
    "predicted": ("auroc_predicted", "AUROC of predicted loss"),
    "entropy": ("auroc_entropy", "AUROC of entropy"),
}


def conditions(folder: Path, beside: Path) -> dict[str, list[Path]]:
    """Return the runs of every condition by its name, and as `random` those of the baseline.

    Runs without a round are left out. The baseline's runs are ordinary ones, without recorded statistics of queries.

    Args:
        folder: Folder of the conditions, written by `study.py`.
        beside: Folder of the baseline's seeds.
    """
    runs = {"random": sorted(beside.glob("seed=*/"))}
    for run in sorted(folder.glob("*/seed=*/")):
        runs.setdefault(run.parent.name, []).append(run)
    begun = {name: [run for run in seeds if (run / "curve.csv").exists()] for name, seeds in runs.items()}
    return {name: seeds for name, seeds in begun.items() if seeds}


def watched(runs: Sequence[Path]) -> dict[str, float]:
    """Return the means, over the queries of all runs, of the statistics that `study.py` recorded; nan without any."""
    files = [run.with_suffix(".csv") for run in runs if run.with_suffix(".csv").exists()]
    if not files:
        return dict.fromkeys(WATCHED, float("nan"))
    rows = [row for file in files for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())]
    return {key: float(np.mean([float(row[column]) for row in rows])) for key, (column, _) in WATCHED.items()}


def table(curves: dict[str, Curve], seen: dict[str, dict[str, float]], labels: Sequence[int]) -> str:
    """Format a Markdown table with a row per condition: OA in percent by labels, and the statistics of the queries.

    The statistics are means over rounds and seeds.
    """
    head = ["asked by", "seeds", *(f"OA at {n}" for n in labels), *(text for _, text in WATCHED.values())]
    lines = [head]
    for name, curve in curves.items():
        points = {point.n_labelled: point for point in curve.points}
        accuracy = [shown(points[n].mean["oa_all"], points[n].spread["oa_all"]) if n in points else "-" for n in labels]
        values = ["-" if np.isnan(value) else f"{value:.2f}" for value in seen[name].values()]
        values[0] = "-" if np.isnan(seen[name]["groups"]) else f"{seen[name]['groups']:.1f}"
        lines.append([name, str(curve.points[-1].n_seeds), *accuracy, *values])
    return markdown(lines)


def shown(mean: float, spread: float) -> str:
    """Format a fraction in percent, with the standard deviation over seeds if there are several."""
    return f"{100 * mean:.1f}" + ("" if np.isnan(spread) else f" ± {100 * spread:.1f}")


def figure(curves: dict[str, Curve], seen: dict[str, dict[str, float]], seeds: str) -> Figure:
    """Draw the learning curves (left), and by condition how many places a query covers and how many pixels were wrong.

    Args:
        curves: Averaged learning curve of each condition.
        seen: Statistics of the queries of each condition, see `watched`.
        seeds: Names of the seeds, for the label of the axis.
    """
    drawn = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(1.15, 1))
    for index, (name, curve) in enumerate(curves.items()):
        colour, marker = PALETTE[index % len(PALETTE)], "os^Dv<>Pp*Xh"[index % 12]
        labels = [point.n_labelled for point in curve.points]
        mean = [100 * point.mean["oa_all"] for point in curve.points]
        left.plot(labels, mean, color=colour, marker=marker, markersize=4.5, label=name, linewidth=1.3)
        right.scatter(seen[name]["groups"], 100 * seen[name]["wrong"], color=colour, marker=marker, s=55, zorder=3)
        if not np.isnan(seen[name]["groups"]):
            right.annotate(
                name,
                (seen[name]["groups"], 100 * seen[name]["wrong"]),
                (0, 8),
                textcoords="offset points",
                fontsize=8,
                ha="right" if seen[name]["groups"] > 30 else "left",
            )
    left.set_xlabel("labelled pixels")
    left.set_ylabel(f"OA (%), {seeds}")
    left.legend(fontsize=8, framealpha=0.9)
    right.set_xlabel("places among a query (pixels more than 8 apart)")
    right.set_ylabel("pixels of a query that were misclassified (%)")
    for axes in (left, right):
        axes.grid(color="0.88", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return drawn


def main() -> None:
    """Write study.md, with all runs, and study.png, with the seeds that all conditions share; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the conditions, such as outputs/study")
    parser.add_argument("--beside", type=Path, required=True, help="folder of the random baseline's seeds")
    parser.add_argument("--output", type=Path, required=True, help="folder of study.md and study.png")
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[160, 240, 320, 400, 480], help="numbers of labels in the table"
    )
    arguments = parser.parse_args()
    found = conditions(arguments.folder, arguments.beside)
    curves = {name: Curve(name, points_of([read_curve(run) for run in runs])) for name, runs in found.items()}
    seen = {name: watched(runs) for name, runs in found.items()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    replace_text(arguments.output / "study.md", table(curves, seen, arguments.labels))
    shared = set.intersection(*({run.name for run in runs} for runs in found.values()))
    same = {name: [run for run in runs if run.name in shared] for name, runs in found.items()}
    same_curves = {name: Curve(name, points_of([read_curve(run) for run in runs])) for name, runs in same.items()}
    same_seen = {name: watched(runs) for name, runs in same.items()}
    save(figure(same_curves, same_seen, ", ".join(sorted(shared))), arguments.output / "study.png")
    print(table(curves, seen, arguments.labels))


if __name__ == "__main__":
    main()
