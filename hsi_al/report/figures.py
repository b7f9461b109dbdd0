"""The figures of a run: learning curve, confusion matrix and maps, drawn from the files of its directory."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from hsi_al import interrupts
from hsi_al.errors import RunDirectoryError, left_out
from hsi_al.report.canvas import CHARACTER, FONT, headline, name_of, place, save, title_height, wrapped
from hsi_al.report.maps import map_figure, query_figure
from hsi_al.report.palette import PALETTE
from hsi_al.report.run_files import (
    Confusions,
    Ints,
    Meta,
    Pool,
    Predictions,
    read_confusions,
    read_meta,
    read_pool,
    read_predictions,
    thinning,
)
from hsi_al.report.tables import CurveRow, read_curve

CELL = 0.4  # inches, side of a cell of the confusion matrix with a number in it
NARROW = 0.2  # inches, side of a cell without
MOST_NUMBERED = 30  # classes of a confusion matrix with numbers in its cells
MOST_NAMED = 60  # classes that fit along its sides; of more, every n-th is named
MOST_CELLS = 1000  # classes of which each has a cell of its own
MOST_TICKS = 11  # label counts that fit below the curve
CURVES = (  # column, name, colour, marker, line style
    ("oa_all", "OA", PALETTE[0], "o", "-"),
    ("aa_all", "AA", PALETTE[3], "s", "-"),
    ("kappa_all", "kappa", PALETTE[2], "^", "-"),
    ("oa_heldout", "OA held-out", "black", "D", "--"),
)


def draw(run_dir: Path, folder: Path | None = None, warn: Callable[[str], None] | None = None) -> list[Path]:
    """Write the pictures of a run and return their paths; maps are drawn only where `predictions.h5` exists.

    A picture that can't be drawn or written is left out.

    Args:
        run_dir: The run directory.
        folder: Folder of the pictures; None = `figures` in the run directory.
        warn: Called with a sentence for each picture that is left out; None = nothing is left out, its error is raised.

    Raises:
        RunDirectoryError: A file of the run is missing or malformed.
    """
    meta, folder = read_meta(run_dir), folder or run_dir / "figures"
    rows, confusions, predictions = read_curve(run_dir), read_confusions(run_dir), read_predictions(run_dir)
    figures: dict[str, Callable[[], Figure]] = {
        "learning_curve.png": lambda: learning_curve_figure(rows, meta.title),
        "confusion.png": lambda: confusion_figure(confusions, meta),
    }
    if predictions is not None:
        pool, shown = _pool(run_dir, predictions), (predictions.class_map, predictions.ground_truth, predictions.rgb)
        figures["map.png"] = lambda: map_figure(
            *shown, meta.class_names, meta.title, predictions.filtered_map, meta.georeference, predictions.shape
        )
        figures["query_map.png"] = lambda: query_figure(pool, shown[2], meta.title)
    drawn = []
    for name, figure in figures.items():
        interrupts.check()
        with left_out(str(folder / name), warn):
            drawn.append(save(figure(), folder / name))
    return drawn


def _pool(run_dir: Path, predictions: Predictions) -> Pool:
    """Return the labelled pixels of a run; their pixel ids are those of the pictures, which may be thinned."""
    pool, (height, width) = read_pool(run_dir), predictions.shape
    pixels, step = height * width, thinning(height, width)
    if ((pool.pixel_id < 0) | (pool.pixel_id >= pixels)).any():
        raise RunDirectoryError(f"{run_dir / 'pool.h5'} names pixels outside the {pixels} pixels of predictions.h5.")
    labelled = pool.labelled_at >= 0
    row, column = np.divmod(pool.pixel_id[labelled], width)
    return Pool(row // step * predictions.class_map.shape[1] + column // step, pool.labelled_at[labelled])


def learning_curve_figure(rows: list[CurveRow], title: str) -> Figure:
    """Plot the accuracies in percent against the number of labelled pixels; a curve without any value is left out."""
    title = wrapped(title, 6.5)
    figure = Figure(figsize=(6.5, 4.0 + title_height(title)))
    axes = place(figure, 0.7, 0.55, 5.6, 3.4)
    labels = [row.n_labelled for row in rows]
    for column, name, colour, marker, line in CURVES:
        percent = 100 * np.array([getattr(row, column) for row in rows])
        if not np.isnan(percent).all():
            face = "white" if line == "--" else colour
            axes.plot(
                labels, percent, line, color=colour, marker=marker, markerfacecolor=face, label=name, markersize=5
            )
    if len(rows) <= MOST_TICKS:
        axes.set_xticks(sorted(set(labels)))
    finish_curve(axes)
    headline(figure, title)
    return figure


def finish_curve(axes: Axes) -> None:
    """Name the axes of curves in percent, fit them to the values, and add a grid and a legend."""
    axes.set_xlabel("labelled pixels")
    axes.set_ylabel("accuracy, kappa (%)")
    axes.set_ylim(*_limits(np.concatenate([[np.nan], *(np.asarray(line.get_ydata()) for line in axes.lines)])))
    axes.grid(color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(loc="best", fontsize=FONT, framealpha=0.9, handlelength=3)


def _limits(percent: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return limits of the axis: multiples of 5 around the values, at least 10 apart; 101 leaves room for markers."""
    known = percent[~np.isnan(percent)]
    if not known.size:
        return 0.0, 100.0
    low = 5 * math.floor((known.min() - 1) / 5)
    high = max(low + 10, 5 * math.ceil((known.max() + 1) / 5))
    return (low, high) if high <= 100 else (min(low, 90), 101.0)


def confusion_figure(confusions: Confusions, meta: Meta) -> Figure:
    """Draw the last round's confusion matrix in percent of each true class.

    It counts the held-out pixels, or all pixels with ground truth where there are no held-out ones.
    """
    heldout = bool(confusions.heldout[-1].any())
    counts = confusions.heldout[-1] if heldout else confusions.all[-1]
    subject = "held-out pixels" if heldout else "all pixels with ground truth"
    classes = len(confusions.label_values)
    step = -(-classes // MOST_NAMED)
    named = range(0, classes, step)
    names = [name_of(int(confusions.label_values[index]), meta.class_names) for index in named]
    side = max(CELL * classes, 2.0) if classes <= MOST_NUMBERED else max(NARROW * min(classes, MOST_NAMED), 8.0)
    longest = CHARACTER * max(map(len, names))
    room, foot = longest + 1.0, longest + 0.5  # inches for the names and, on the left, their counts
    width = side + room + 0.9
    detail = f"{subject}, round {len(confusions.all) - 1}, % of the true class"
    if classes > MOST_NUMBERED:
        detail += ", coloured by its square root"
    if step > 1:
        detail += f"; {classes} classes, of which 1 in {step} is named"
    title = wrapped(meta.title, width) + "\n" + wrapped(detail, width)
    figure = Figure(figsize=(width, side + foot + 0.3 + title_height(title)))
    axes = place(figure, room, foot, side, side)
    _matrix(axes, counts, named, gap=0.1 * classes / side)
    rows = [f"{name} ({counts[index].sum()})" for name, index in zip(names, named, strict=True)]
    axes.set_xticks(named, names, rotation=90, fontsize=FONT)
    axes.set_yticks(named, rows, fontsize=FONT)
    axes.set_xlabel("prediction", fontsize=FONT)
    axes.set_ylabel("truth (pixels)", fontsize=FONT)
    headline(figure, title)
    return figure


def _matrix(axes: Axes, counts: Ints, named: range, gap: float) -> None:
    """Colour the cells by their share of the row; the recalls of the named rows stand `gap` cells to the right.

    Up to `MOST_NUMBERED` classes, the shares are also written in percent.
    """
    classes, totals = len(counts), counts.sum(axis=1)
    merged = _merged(counts)
    shares = merged / np.maximum(merged.sum(axis=1, keepdims=True), 1)
    edge = classes - 0.5
    scale: Normalize = PowerNorm(
        0.5 if classes > MOST_NUMBERED else 1, vmin=0, vmax=1
    )  # small shares must show without numbers
    axes.imshow(shares, cmap="Blues", norm=scale, extent=(-0.5, edge, edge, -0.5), interpolation="nearest")
    for row, column in np.argwhere(counts > 0) if classes <= MOST_NUMBERED else ():
        share = shares[row, column]
        text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black")
    axes.text(edge + gap, -0.5 - gap, "recall %", fontsize=FONT, va="bottom")
    for row in named:
        recall = f"{100 * counts[row, row] / totals[row]:.1f}" if totals[row] else "-"
        axes.text(edge + gap, row, recall, fontsize=FONT, va="center")
    axes.tick_params(length=0)


def _merged(counts: Ints) -> Ints:
    """Return a confusion matrix of at most `MOST_CELLS` rows, each of which may stand for several classes."""
    step = -(-len(counts) // MOST_CELLS)
    first = np.arange(0, len(counts), step)
    return counts if step == 1 else np.add.reduceat(np.add.reduceat(counts, first, axis=0), first, axis=1)
