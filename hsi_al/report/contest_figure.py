"""The picture of a contest: paired differences with confidence intervals, and matrices of wins."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi_al.report.canvas import CHARACTER, FONT, MARGIN, METHOD, headline, literal, place, title_height, wrapped
from hsi_al.report.contest import Contest, Difference, Scores, by_trial, independent
from hsi_al.report.contest_tables import NAMES, win_cell, win_counts
from hsi_al.report.palette import PALETTE
from hsi_al.report.statistics import CONFIDENCE
from hsi_al.report.tables import shortened

ROW = 0.36  # inches, height of a row (one comparison)
PANEL = 3.0  # inches, least width of a panel
CELL = 0.5  # inches, side of a cell of the win matrix
GAP = 0.3  # inches between panels
MOST_ROWS = 30  # comparisons that are drawn
MOST_COUNTED = 14  # methods of a win matrix with numbers in its cells
MOST_METHODS = 30  # methods of a win matrix
OPEN, CLOSED = "0.45", PALETTE[0]


def contest_figure(contest: Contest) -> Figure:
    """Draw one panel per quantity with a row per comparison, and a win matrix below each panel.

    The comparisons are those of `Contest.comparisons`, in their order for the last quantity; of more than `MOST_ROWS`,
    the highest and the lowest differences. A matrix of more than `MOST_METHODS` is left out. The contest needs at least
    two methods and one quantity.
    """
    quantities = contest.quantities
    names = [shortened(name, METHOD) for name in contest.methods]
    n = len(names) if len(names) <= MOST_METHODS else 0
    compared = {name: {(e.row, e.column): e for e in contest.comparisons(name)} for name in quantities}
    every = compared[list(quantities)[-1]]
    order = extreme(list(every.values()))
    pairs = [f"{shortened(row, METHOD)} minus {shortened(column, METHOD)}" for row, column in order]
    room = CHARACTER * max(map(len, [*pairs, *(f"{name} {n}" for name in names[:n])])) + 0.3
    forest, matrix = ROW * len(pairs) + 0.2, CELL * min(n, MOST_COUNTED)
    panel, foot = max(PANEL, matrix), matrix + 0.75 if n else 0.15
    width = room + len(quantities) * (panel + GAP) + MARGIN
    title = wrapped(f"{contest.heading}: {NAMES[contest.measure]}, differences on shared seeds", width) + "\n"
    ticks = "folds" if contest.several_folds else "seeds"
    title += wrapped(
        f"ticks: {ticks}; line: {100 * CONFIDENCE:g} % interval; filled: separated after correction", width
    )
    if len(order) < len(every):
        title += "\n" + wrapped(f"the highest and lowest of {len(every):,} differences; all are in the tables", width)
    figure = Figure(figsize=(width, foot + forest + 0.9 + title_height(title)))
    for index, (name, scores) in enumerate(quantities.items()):
        left = room + index * (panel + GAP)
        axes = place(figure, left, foot + 0.5, panel, forest)
        draw_differences(axes, [compared[name][pair] for pair in order], scores, contest.several_folds)
        axes.set_title(name, fontsize=10)
        axes.set_yticks(range(len(pairs)), map(literal, pairs) if not index else [""] * len(pairs), fontsize=FONT)
        if not n:
            continue
        axes = place(figure, left, 0.4, matrix, matrix)
        draw_wins(axes, scores)
        numbered = [literal(f"{method} {i + 1}") for i, method in enumerate(names)]
        axes.set_yticks(range(n), numbered if not index else [str(i + 1) for i in range(n)], fontsize=FONT)
    headline(figure, title)
    return figure


def extreme(found: Sequence[Difference]) -> list[tuple[str, str]]:
    """Return the pairs of at most `MOST_ROWS` comparisons in their order: of more, the highest and the lowest."""
    means = {(entry.row, entry.column): entry.paired.mean for entry in found if entry.paired is not None}
    if len(known := [(entry.row, entry.column) for entry in found]) <= MOST_ROWS:
        return known
    ranked = sorted(means, key=lambda pair: means[pair])
    chosen = {*ranked[: MOST_ROWS // 2], *ranked[-MOST_ROWS // 2 :]}
    return [pair for pair in means if pair in chosen] or known[:MOST_ROWS]


def draw_differences(axes: Axes, found: Sequence[Difference], scores: Scores, by_fold: bool) -> None:
    """Draw the differences, their mean and its interval; coloured and filled if the corrected p <= ALPHA."""
    for at, entry in enumerate(found):
        if entry.paired is None:
            axes.text(0, at, "no shared seed", fontsize=FONT, va="center", ha="center", color=OPEN)
            continue
        ticks = independent(by_trial(scores[entry.row], scores[entry.column]), by_fold)
        axes.plot(ticks, [at + 0.24] * len(ticks), "|", color="0.3", markersize=6)
        colour = CLOSED if entry.separated else OPEN
        if not np.isnan(entry.paired.low):
            axes.plot([entry.paired.low, entry.paired.high], [at, at], "-", color=colour, linewidth=1.6)
        face = colour if entry.separated else "white"
        axes.plot(entry.paired.mean, at, "o", color=colour, markerfacecolor=face, markersize=6)
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=FONT)
    axes.set_xlabel("percentage points", fontsize=FONT)


def draw_wins(axes: Axes, scores: Scores) -> None:
    """Draw on how many shared seeds the row's method beats the column's; in the shading a tie counts as half a win.

    Of more than `MOST_COUNTED` methods there is only the shading.
    """
    n = len(scores)
    shares = np.full((n, n), np.nan)
    for row, name in enumerate(scores):
        for column, other in enumerate(scores):
            wins, ties, shared = win_counts(scores, name, other)
            if row != column and shared:
                shares[row, column] = (wins + ties / 2) / shared
            text = win_cell(scores, name, other).replace(", ", "\n") if n <= MOST_COUNTED else ""
            dark = shares[row, column] > 0.6
            axes.text(column, row, text, ha="center", va="center", fontsize=FONT, color="white" if dark else "black")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.1)
    axes.set_xticks(range(n), [str(index + 1) for index in range(n)], fontsize=FONT)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel("seeds on which the row\nbeats the column", fontsize=FONT)
