"""Several runs in one picture and one table: mean and spread over seeds of the same settings."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hsi_al.errors import RunDirectoryError
from hsi_al.files import replacing
from hsi_al.report.canvas import literal, place, save
from hsi_al.report.palette import PALETTE
from hsi_al.report.run_files import read_meta
from hsi_al.report.tables import CurveRow, read_curve

MEASURES = ("oa_all", "aa_all", "kappa_all", "oa_heldout", "aa_heldout", "kappa_heldout")
NAMES = dict(zip(MEASURES, ("OA", "AA", "kappa", "OA held-out", "AA held-out", "kappa held-out"), strict=True))
MARKERS = "os^Dv<>Pp*X"
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Point:
    """Mean and sample standard deviation over seeds at a number of labels; fractions, NaN where undefined."""

    n_labelled: int
    n_seeds: int
    mean: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """The runs of the same settings that differ in their seed only."""

    name: str
    points: list[Point]


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Run directories among the paths and below them.

    Raises:
        RunDirectoryError: A path holds none.
    """
    runs: list[Path] = []
    for path in paths:
        found = sorted(meta.parent for meta in path.rglob("meta.json"))
        if not found:
            raise RunDirectoryError(f"{path} holds no run (no meta.json in it or below).")
        runs += [run for run in found if run not in runs]
    return runs


def summary(runs: Sequence[Path]) -> list[list[str]]:
    """Header and one row per run: state, rounds, labels, last OA, held-out pixels in training patches, seconds."""
    table = [["run", "state", "rounds", "labels", "OA %", "test in patches %", "seconds"]]
    for run in runs:
        rows = read_curve(run) if (run / "curve.csv").exists() else []
        last = [f"{rows[-1].n_labelled}", f"{100 * rows[-1].oa_all:.2f}"] if rows else ["-", "-"]
        seconds = sum(row.seconds_fit + row.seconds_predict + row.seconds_query for row in rows)
        meta = read_meta(run)
        overlap = meta.overlap.last_percent if meta.overlap else "-"
        table.append([str(run), meta.state, str(len(rows)), *last, overlap, f"{seconds:.0f}"])
    return table


def curves_of(runs: Sequence[Path]) -> list[Curve]:
    """Group runs by everything in their titles but the seed, and name each group by what tells it from the others."""
    groups: dict[tuple[str, ...], list[list[CurveRow]]] = {}
    for run in runs:
        settings = tuple(part for part in read_meta(run).title.split(", ") if not part.startswith("seed "))
        groups.setdefault(settings, []).append(read_curve(run))
    shared = set.intersection(*(set(settings) for settings in groups))
    names = {settings: ", ".join(part for part in settings if part not in shared) for settings in groups}
    return [Curve(names[key] or ", ".join(key), points_of(seeds)) for key, seeds in groups.items()]


def points_of(seeds: Sequence[Sequence[CurveRow]]) -> list[Point]:
    """Average the rounds with the same number of labels."""
    rows: dict[int, list[CurveRow]] = {}
    for row in (row for seed in seeds for row in seed):
        rows.setdefault(row.n_labelled, []).append(row)
    return [_point(n_labelled, rows[n_labelled]) for n_labelled in sorted(rows)]


def _point(n_labelled: int, rows: list[CurveRow]) -> Point:
    values = {name: np.array([getattr(row, name) for row in rows]) for name in MEASURES}
    return Point(
        n_labelled,
        len(rows),
        {name: float(value.mean()) for name, value in values.items()},
        {name: float(value.std(ddof=1)) if len(rows) > 1 else math.nan for name, value in values.items()},
    )


def comparison_figure(curves: Sequence[Curve], measure: str = "oa_all", title: str = "") -> Figure:
    """Plot a measure in percent against the labels, with a band of one standard deviation over seeds."""
    figure = Figure(figsize=(6.8, 4.6))
    axes = place(figure, 0.7, 0.55, 5.9, 3.9)
    for index, curve in enumerate(curves):
        labels = [point.n_labelled for point in curve.points]
        mean = 100 * np.array([point.mean[measure] for point in curve.points])
        spread = 100 * np.nan_to_num([point.spread[measure] for point in curve.points])
        colour = PALETTE[index % len(PALETTE)]
        seeds = curve.points[-1].n_seeds
        label = literal(f"{curve.name} ({seeds} seed{'s' if seeds > 1 else ''})")
        (line,) = axes.plot(labels, mean, color=colour, label=label, markersize=4.5)
        line.set(marker=MARKERS[index % len(MARKERS)], linestyle=LINES[index % len(LINES)])
        axes.fill_between(labels, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("labelled pixels")
    several = any(point.n_seeds > 1 for curve in curves for point in curve.points)
    axes.set_ylabel(f"{NAMES[measure]} (%)" + (", mean ± standard deviation over seeds" if several else ""))
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9)
    axes.set_title(literal(title), fontsize=10)
    return figure


def final_table(curves: Sequence[Curve]) -> list[list[str]]:
    """Header and one row per curve: its last point, percent, mean ± standard deviation over seeds."""
    shown = ("oa_all", "aa_all", "kappa_all", "oa_heldout")
    header = ["run", "labels", "seeds", *(f"{NAMES[name]} %" for name in shown)]
    rows = []
    for curve in curves:
        last = curve.points[-1]
        cells = [percent(last.mean[name], last.spread[name]) for name in shown]
        rows.append([curve.name, str(last.n_labelled), str(last.n_seeds), *cells])
    return [header, *rows]


def percent(mean: float, spread: float) -> str:
    """A mean with its spread, `-` where undefined."""
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.2f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.2f}")


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    header, *rows = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows]) + "\n"


def write_comparison(runs: Sequence[Path], folder: Path, measure: str = "oa_all") -> tuple[list[list[str]], list[Path]]:
    """Write `comparison.png`, `.csv` (every point) and `.md` (the last points); returns the table and the paths.

    Raises:
        RunDirectoryError: No runs, or a run's file is missing or malformed.
        OSError: The folder can't be written.
    """
    if not runs:
        raise RunDirectoryError("None of the runs has committed a round, so there is nothing to compare.")
    return write_curves(curves_of(runs), folder, measure=measure)


def write_curves(
    curves: Sequence[Curve],
    folder: Path,
    stem: str = "comparison",
    measure: str = "oa_all",
    pictures: Sequence[str] = ("png",),
    title: str = "",
) -> tuple[list[list[str]], list[Path]]:
    """Write a picture, every point (CSV) and the last points (Markdown); returns their table and the paths.

    Raises:
        OSError: The folder can't be written.
    """
    table = final_table(curves)
    folder.mkdir(parents=True, exist_ok=True)
    figure = comparison_figure(curves, measure, title)
    paths = [save(figure, folder / f"{stem}.{kind}") for kind in pictures]
    with replacing(folder / f"{stem}.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["run", "n_labelled", "n_seeds", *(f"{m}_{kind}" for m in MEASURES for kind in ("mean", "std"))]
        )
        for curve in curves:
            for point in curve.points:
                values = [value for name in MEASURES for value in (point.mean[name], point.spread[name])]
                writer.writerow([curve.name, point.n_labelled, point.n_seeds, *values])
    with replacing(folder / f"{stem}.md") as temporary:
        temporary.write_text(markdown(table))
    return table, [*paths, folder / f"{stem}.csv", folder / f"{stem}.md"]
