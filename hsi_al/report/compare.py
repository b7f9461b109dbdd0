"""Comparison of runs: learning curves averaged over the seeds of equal settings, tables and tests, as files."""

import csv
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi_al.errors import RunDirectoryError, left_out
from hsi_al.files import replace_text, replacing
from hsi_al.report.canvas import (
    METHOD,
    NAME,
    LegendBlock,
    headline,
    literal,
    place,
    place_in,
    save,
    title_height,
    wrapped,
)
from hsi_al.report.contest import Contest, contests_of
from hsi_al.report.contest_figure import contest_figure
from hsi_al.report.contest_tables import MEASURES, NAMES, Section, markdown, notes, percent, plain, sections
from hsi_al.report.palette import LINE_COLOURS, PALETTE
from hsi_al.report.run_files import read_meta
from hsi_al.report.series import Series, counted, listed, series_of
from hsi_al.report.statistics import Floats
from hsi_al.report.tables import CurveRow, number, read_curve, shortened
from hsi_al.terminal import warn

LEVELS = (90.0, 95.0, 98.0)
MOST_TOGETHER = 8  # curves in one picture; more have a panel each
MOST_PANELS = 24
MARKERS = "os^Dv<>Pp*X"
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Point:
    """Mean and sample standard deviation over seeds, and folds, at one number of labels.

    Attributes:
        n_labelled: Number of labelled pixels.
        n_seeds: Number of runs: seeds, of every fold.
        mean: Means by measure (a column of curve.csv), as fractions; NaN where undefined.
        spread: Sample standard deviations by measure, as fractions; NaN where undefined.
    """

    n_labelled: int
    n_seeds: int
    mean: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """The learning curve of one group of settings, averaged over its seeds.

    Attributes:
        name: Name of the group.
        points: In ascending order of labels.
        arena: Number that the curves of the same scene, split and protocol share.
        folds: Of runs of several folds their number and that of the seeds, in words; else empty.
        runs: Number of runs; 0 = as many as the point has that most of them have.
    """

    name: str
    points: list[Point]
    arena: int = 0
    folds: str = ""
    runs: int = 0

    @property
    def n_seeds(self) -> int:
        """Number of runs."""
        return self.runs or max(point.n_seeds for point in self.points)

    @property
    def common(self) -> list[Point]:
        """The points that all runs have, maybe none: means of other points would be those of some runs alone.

        Where some seeds have stopped early, these are the seeds that needed more rounds.
        """
        return [point for point in self.points if point.n_seeds == self.n_seeds]


def summary(runs: Sequence[Path]) -> list[list[str]]:
    """Return a table with a header and one row per run.

    Columns: run, state, rounds, labels, last OA of all pixels and of the held-out ones, part of the test pixels that
    lie in training patches, seconds.
    """
    table = [["run", "state", "rounds", "labels", "OA %", "OA held-out %", "test in patches %", "seconds"]]
    for run in runs:
        rows = read_curve(run) if (run / "curve.csv").exists() else []
        last = ["-", "-", "-"]
        if rows:
            last = [f"{rows[-1].n_labelled}", *(number(100 * oa, 2) for oa in (rows[-1].oa_all, rows[-1].oa_heldout))]
        seconds = sum(row.seconds_fit + row.seconds_predict + row.seconds_query for row in rows)
        meta = read_meta(run)
        overlap = meta.overlap.last_percent if meta.overlap else "-"
        table.append([str(run), meta.state, str(len(rows)), *last, overlap, f"{seconds:.0f}"])
    return table


def curve_of(series: Series) -> Curve:
    """Average a series over its finished runs, or over all of its runs if none is finished."""
    finished = [run for run in series.runs if run.meta.state != "running"]
    runs = finished or series.runs
    several = len({run.trial.fold for run in runs}) > 1
    folds = counted([run.trial for run in runs]) if several else ""
    return Curve(series.name, points_of([run.rows for run in runs]), folds=folds, runs=len(runs))


def points_of(seeds: Sequence[Sequence[CurveRow]]) -> list[Point]:
    """Average the rounds that have the same number of labels; points in ascending order of labels."""
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
    """Plot a measure in percent against the number of labels, with a band of ± one standard deviation over seeds.

    More than `MOST_TOGETHER` curves get a panel each (`panels_figure`).
    """
    if len(curves) > MOST_TOGETHER:
        return panels_figure(curves, measure, title)
    figure = Figure(figsize=(6.8, 4.6))
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        labels, mean, spread = shown_points(curve, measure)
        colour = LINE_COLOURS[index]
        label = literal(f"{shortened(curve.name, METHOD)} ({averaged_over(curve)})")
        (line,) = axes.plot(labels, mean, color=colour, label=label, markersize=4.5)
        line.set(marker=MARKERS[index % len(MARKERS)], linestyle=LINES[index % len(LINES)])
        draw_spread(axes, labels, mean, spread, colour, 0.15)
    axes.set_xlabel("labelled pixels")
    axes.set_ylabel(measured(curves, measure))
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.set_title(literal(shortened(title, METHOD + NAME)), fontsize=10)
    legend = LegendBlock(list(axes.lines), 6.8, handle_length=3)  # inside the axes it could hide a curve
    figure.set_figheight(4.6 + legend.height)
    axes.set_position(place_in(figure, 0.7, 0.55 + legend.height, 5.9, 3.9))
    legend.draw(figure)
    return figure


def draw_spread(axes: Axes, labels: Sequence[int], mean: Floats, spread: Floats, colour: str, alpha: float) -> None:
    """Draw a band of ± one standard deviation, at a single number of labels a bar."""
    if len(labels) == 1:
        axes.vlines(labels, mean - spread, mean + spread, color=colour, linewidth=1.2)
    else:
        axes.fill_between(labels, mean - spread, mean + spread, color=colour, alpha=alpha, linewidth=0)


def panels_figure(curves: Sequence[Curve], measure: str, title: str) -> Figure:
    """Draw a small panel for each curve, with all others of its scene, split and protocol in grey behind it.

    The panels are in the order of the curves, each with what its name has beyond what all share. Of more than
    `MOST_PANELS`, each arena's first ones have a panel.
    """
    shown = first_of_each(curves, MOST_PANELS)
    columns, across, up, foot = 4, 2.35, 1.95, 0.6
    rows = -(-len(shown) // columns)
    left_out = len(curves) - len(shown)
    numbers = {averaged_over(curve) for curve in shown}
    said = f"{title}\n" if title else ""
    said += f"{measured(curves, measure)}{f', {numbers.copy().pop()}' if len(numbers) == 1 else ''}\n"
    said += "grey: the others of the same scene, split and protocol"
    said += f"; {left_out} more are in the tables" if left_out else ""
    width = columns * across + 0.4
    heading = "\n".join(wrapped(line, width) for line in said.splitlines())
    figure = Figure(figsize=(width, rows * up + foot + title_height(heading)))
    names = without_common([curve.name for curve in curves])
    arenas: dict[int, list[Curve]] = {}
    for curve in curves:
        arenas.setdefault(curve.arena, []).append(curve)
    limits = {arena: arena_limits(own, measure) for arena, own in arenas.items()}
    for index, curve in enumerate(shown):
        row, column = divmod(index, columns)
        axes = place(figure, 0.5 + column * across, foot + (rows - 1 - row) * up, across - 0.45, up - 0.6)
        for other in arenas[curve.arena]:
            if other is not curve:
                axes.plot(*shown_points(other, measure)[:2], ".-", color="0.82", linewidth=0.7, markersize=2, zorder=1)
        labels, mean, spread = shown_points(curve, measure)
        axes.plot(labels, mean, color=PALETTE[0], linewidth=1.6, marker="o", markersize=2.5)
        draw_spread(axes, labels, mean, spread, PALETTE[0], 0.2)
        name = names[curves.index(curve)] + (f" ({averaged_over(curve)})" if len(numbers) > 1 else "")
        lines = textwrap.wrap(shortened(name, 64), 34)
        axes.set_title(literal("\n".join(lines)), fontsize=7.5, pad=3)
        axes.set_ylim(*limits[curve.arena])
        axes.tick_params(labelsize=7, length=2)
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        if index >= len(shown) - columns:
            axes.set_xlabel("labelled pixels", fontsize=7.5, labelpad=2)
    headline(figure, heading)
    return figure


def first_of_each(curves: Sequence[Curve], most: int) -> list[Curve]:
    """Return at most so many curves in their order, the first ones of each arena."""
    seen, ranks = Counter[int](), []
    for curve in curves:
        ranks.append(seen[curve.arena])
        seen[curve.arena] += 1
    order = sorted(range(len(curves)), key=lambda index: ranks[index])
    return [curves[index] for index in sorted(order[:most])]


def without_common(names: Sequence[str]) -> list[str]:
    """Leave out of names, lists of settings separated by commas, what all have; a name keeps its last part.

    Commas within the brackets of a value, such as `learner.members=['lda', 'svm']`, separate nothing.
    """
    parts = [re.split(r", (?![^\[]*\])", name) for name in names]
    common = set.intersection(*map(set, parts))
    kept = [[part for part in own if part not in common] or own[-1:] for own in parts]
    return [", ".join(own) for own in kept]


def arena_limits(curves: Sequence[Curve], measure: str) -> tuple[float, float]:
    """Return the limits of an axis that shows the means of curves, with a margin; at most 100 % and a margin."""
    means = np.concatenate([shown_points(curve, measure)[1] for curve in curves])
    means = means[~np.isnan(means)]
    low, high = (float(means.min()), float(means.max())) if len(means) else (0.0, 100.0)
    margin = max(0.5, 0.06 * (high - low))
    return low - margin, high + margin


def averaged_over(curve: Curve) -> str:
    """Say over how many seeds, or folds and seeds, a curve is the mean."""
    return curve.folds or f"{curve.n_seeds} seed{'s' if curve.n_seeds > 1 else ''}"


def measured(curves: Sequence[Curve], measure: str) -> str:
    """Return the label of the vertical axis."""
    several = any(curve.n_seeds > 1 for curve in curves)
    over = "folds and seeds" if any(curve.folds for curve in curves) else "seeds"
    return f"{NAMES[measure]} (%)" + (f", mean ± standard deviation over {over}" if several else "")


def shown_points(curve: Curve, measure: str) -> tuple[list[int], Floats, Floats]:
    """Return a curve's numbers of labels, means and standard deviations in percent, the latter 0 where undefined."""
    mean = 100 * np.array([point.mean[measure] for point in curve.common])
    spread = 100 * np.nan_to_num([point.spread[measure] for point in curve.common])
    return [point.n_labelled for point in curve.common], mean, spread


def final_table(curves: Sequence[Curve]) -> list[list[str]]:
    """Return a table with a header and one row per curve: its last point that all runs have; `-` where there is none.

    Accuracies are in percent, mean ± standard deviation over seeds and folds.
    """
    shown = ("oa_all", "aa_all", "kappa_all", "oa_heldout")
    header = ["run", "labels", "seeds", *(f"{NAMES[name]} %" for name in shown)]
    rows = []
    for curve in curves:
        cells = ["-"] * (1 + len(shown))
        if curve.common:
            last = curve.common[-1]
            cells = [str(last.n_labelled), *(percent(last.mean[name], last.spread[name]) for name in shown)]
        rows.append([curve.name, cells[0], curve.folds or str(curve.n_seeds), *cells[1:]])
    return [header, *rows]


@dataclass(frozen=True)
class Comparison:
    """Result of `write_comparison`: tables, explaining sentences, and the paths of the files."""

    sections: list[Section]
    notes: list[str]
    paths: list[Path]


def write_comparison(
    runs: Sequence[Path],
    folder: Path,
    measure: str | None = None,
    levels: Sequence[float] = LEVELS,
    reference: str | None = None,
    named: Callable[[str], str] = str,
) -> Comparison:
    """Write learning curves, tables and tests of runs: `comparison*.png`, `.csv` and `.md`.

    Curves of the same scene, split and protocol stand together, the highest last value first. Splits that ask different
    questions share no table or picture: of several, there are `comparison_1.png`, `comparison_2.png` and so on.

    Args:
        runs: Run directories.
        folder: Folder of the files.
        measure: Column of curve.csv; None = held-out OA where the split has a fixed test set, else OA over all pixels.
        levels: Accuracies in percent; the tables give the number of labels needed to reach each.
        reference: Method that the others are tested against, see `contests_of`.
        named: Applied to every note, which may hold the path of a run, such as to show an archive's name instead.

    Raises:
        RunDirectoryError: There are no runs, a run's file is missing or malformed, two runs have the same settings and
            seed, or no method or several match the reference.
        OSError: The folder can't be written.
    """
    if not runs:
        raise RunDirectoryError("None of the runs has committed a round, so there is nothing to compare.")
    series = series_of(runs)
    contests = contests_of(series, measure, reference)
    questions = list(dict.fromkeys(entry.question for entry in series))
    found: list[Section] = []
    paths: list[Path] = []
    curves: list[Curve] = []
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("comparison*.png"):  # of which this comparison may draw fewer
        if re.fullmatch(r"comparison(_differences)?(_\d+)?\.png", earlier.name):
            earlier.unlink()
    for index, question in enumerate(questions):
        asked = [entry for entry in series if entry.question == question]
        shown = measure or ("oa_heldout" if all(entry.has_fixed_test_set for entry in asked) else "oa_all")
        own = ordered_curves(asked, shown)
        name = "comparison" + (f"_{index + 1}" if len(questions) > 1 else "")
        paths += draw_curves(own, folder / name, shown, title=question.capitalize())
        title = "All runs, last number of labels that all seeds have" + (f": {question}" if question else "")
        found.append(Section(title, final_table(own), 2))
        curves += own
    paths.append(write_points(curves, folder / "comparison.csv"))
    found += [section for contest in contests for section in sections(contest, levels)]
    said = notes_of(contests)
    apart = "have no number of labels in common, so no mean is shown; comparison.csv has those of some."
    said += [f"The runs of {curve.name} {apart}" for curve in curves if not curve.common]
    said += [f"Not finished, not tested: {r.path}" for e in series for r in e.runs if r.meta.state == "running"]
    said = list(dict.fromkeys(map(named, said)))
    tested = [contest for contest in contests if len(contest.methods) > 1 and contest.quantities]
    for index, contest in enumerate(tested):
        name = "comparison_differences" + (f"_{index + 1}" if len(tested) > 1 else "") + ".png"
        with left_out(str(folder / name), warn):
            paths.append(save(contest_figure(contest), folder / name))
    text = [plain(f"{'#' * section.depth} {section.title}\n\n{markdown(section.table)}") for section in found]
    replace_text(folder / "comparison.md", "\n".join([*text, plain("".join(f"- {note}\n" for note in said))]))
    paths += [folder / "comparison.md", write_seeds(contests, folder, levels), write_differences(contests, folder)]
    return Comparison(found, said, paths)


def notes_of(contests: Sequence[Contest]) -> list[str]:
    """Return the notes of contests, each once, and with the names of its contests where it isn't about all of them."""
    about: dict[str, list[str]] = {}
    for contest in contests:
        for note in notes(contest):
            about.setdefault(note, []).append(contest.name)
    return [
        note if len(names) == len(contests) or note.startswith(names[0]) else f"{'; '.join(names)}: {note}"
        for note, names in about.items()
    ]


def ordered_curves(series: Sequence[Series], measure: str) -> list[Curve]:
    """Average series; those of one arena stand together, the highest last value of the measure first."""
    arenas = list(dict.fromkeys(entry.arena for entry in series))
    averaged = [replace(curve_of(entry), arena=arenas.index(entry.arena)) for entry in series]
    return sorted(averaged, key=lambda curve: (curve.arena, -last_mean(curve, measure)))


def last_mean(curve: Curve, measure: str) -> float:
    """Return a measure's mean at the last point that all runs have, as a fraction; -1 where it isn't defined."""
    return float(np.nan_to_num(curve.common[-1].mean[measure], nan=-1.0)) if curve.common else -1.0


def write_seeds(contests: Sequence[Contest], folder: Path, levels: Sequence[float]) -> Path:
    """Write comparison_seeds.csv and return its path: a row per contest, method, fold, seed and quantity.

    The number of labels to a level that was not reached is `inf`.
    """
    rows: list[list[object]] = [["contest", "measure", "method", "fold", "seed", "quantity", "value"]]
    for contest in contests:
        reached = {f"labels to {level:g} %": contest.reach(level) for level in levels}
        reached |= {f"labels to the last of {rival}": contest.reach_rival(rival) for rival in contest.rivals}
        for quantity, scores in (contest.quantities | contest.gains | reached).items():
            for name, values in scores.items():
                rows += [
                    [contest.name, contest.measure, name, *trial, quantity, value] for trial, value in values.items()
                ]
    return write_csv(folder / "comparison_seeds.csv", rows)


def write_differences(contests: Sequence[Contest], folder: Path) -> Path:
    """Write comparison_differences.csv and return its path: a row per pair of methods and quantity.

    Differences are in percentage points; p values are given before and after the correction.
    """
    judged = ("n", "mean", "low", "high", "p_t", "p_sign", "wins", "ties")  # wins and ties of n seeds, or folds
    header = ["contest", "measure", "quantity", "family", "row", "column", "seeds", *judged, "test", "p_holm", "result"]
    rows: list[list[object]] = [list(header)]
    for contest in contests:
        for quantity in contest.quantities:
            families = {"every pair": contest.pairs, "reference": contest.against_reference}
            for family, found in families.items():
                for entry in found.get(quantity, ()):
                    about = [contest.name, contest.measure, quantity, family, entry.row, entry.column]
                    numbers = [getattr(entry.paired, name, "") for name in judged]
                    seeds = listed(entry.trials)
                    test = "" if math.isnan(entry.p) else entry.test
                    rows.append([*about, seeds, *numbers, test, entry.p, entry.verdict])
    return write_csv(folder / "comparison_differences.csv", rows)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write a header and rows as a CSV file, as a whole or not at all, and return the path."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def write_curves(
    curves: Sequence[Curve],
    folder: Path,
    stem: str = "comparison",
    measure: str = "oa_all",
    pictures: Sequence[str] = ("png",),
    title: str = "",
) -> tuple[list[list[str]], list[Path]]:
    """Write curves as pictures, all points as CSV, and the last points as Markdown.

    A picture that can't be drawn is left out with a warning.

    Args:
        curves: Averaged learning curves.
        folder: Folder of the files.
        stem: Name of the files without suffix.
        measure: Column of curve.csv that is drawn.
        pictures: Suffixes of the pictures.
        title: Title of the picture.

    Returns:
        The table of the last points (`final_table`), and the paths of the files.

    Raises:
        OSError: The folder can't be written.
    """
    table = final_table(curves)
    folder.mkdir(parents=True, exist_ok=True)
    paths = draw_curves(curves, folder / stem, measure, pictures, title)
    paths.append(write_points(curves, folder / f"{stem}.csv"))
    replace_text(folder / f"{stem}.md", markdown(table))
    return table, [*paths, folder / f"{stem}.md"]


def draw_curves(
    curves: Sequence[Curve], stem: Path, measure: str, pictures: Sequence[str] = ("png",), title: str = ""
) -> list[Path]:
    """Write curves as pictures of the given suffixes, and return their paths; what can't be drawn is left out."""
    paths: list[Path] = []
    with left_out(f"The picture {stem}", warn):
        figure = comparison_figure(curves, measure, title)
        paths += [save(figure, stem.with_name(f"{stem.name}.{kind}")) for kind in pictures]
    return paths


def write_points(curves: Sequence[Curve], path: Path) -> Path:
    """Write all points of curves as a CSV file and return the path."""
    rows: list[list[object]] = [
        ["run", "n_labelled", "n_seeds", *(f"{m}_{kind}" for m in MEASURES for kind in ("mean", "std"))]
    ]
    for curve in curves:
        for point in curve.points:
            values = [value for name in MEASURES for value in (point.mean[name], point.spread[name])]
            rows.append([curve.name, point.n_labelled, point.n_seeds, *values])
    return write_csv(path, rows)
