"""Plots that return matplotlib's axes, drawn into those given or into a new figure of pyplot, which notebooks show."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError
from hsi_al.interface.curve import Curve
from hsi_al.report.canvas import METHOD, literal
from hsi_al.report.figures import finish_curve
from hsi_al.report.maps import round_colours, round_ticks, show_map, show_queries
from hsi_al.report.palette import LINE_COLOURS
from hsi_al.report.run_files import Pool, thinned, thinning
from hsi_al.report.tables import shortened

DOT = 25.0  # points^2


def plot_curves(
    curves: Mapping[str, Curve | Sequence[Curve]], ax: Axes | None = None, column: str = "oa_heldout"
) -> Axes:
    """Draw curves in percent against the number of labels.

    Of several curves under one name, such as those of several seeds, the mean is drawn as far as all of them go, and
    the standard deviation as a band.

    Args:
        curves: Curve, or curves, by name.
        ax: Axes to draw into; None = those of a new figure.
        column: Name of the column.

    Raises:
        ConfigurationError: There is no such column, or the curves of one name have different numbers of labels.
    """
    ax = _axes(ax, 6.5, 4.0)
    drawn = len(ax.lines)
    for number, (name, given) in enumerate(curves.items(), drawn):
        series = [given] if isinstance(given, Curve) else list(given)
        for curve in series:
            if column not in curve:
                raise ConfigurationError(f"A curve has no column {column!r}; it has {', '.join(curve)}.")
        rounds = min(len(curve[column]) for curve in series)
        labels = np.stack([curve["n_labelled"][:rounds] for curve in series])
        if (labels != labels[0]).any():
            raise ConfigurationError(
                f"The curves of {name!r} have different numbers of labels, so that they have no mean; give them names "
                "of their own."
            )
        percent = 100 * np.stack([curve[column][:rounds] for curve in series])
        colour, mean = LINE_COLOURS[number % len(LINE_COLOURS)], percent.mean(axis=0)
        shown = literal(shortened(name, METHOD))
        ax.plot(labels[0], mean, color=colour, marker="o", markersize=4, label=shown)
        if len(series) > 1:
            spread = percent.std(axis=0, ddof=1)
            ax.fill_between(labels[0], mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    finish_curve(ax)
    ax.set_ylabel(f"{column} (%)")
    return ax


def plot_map(class_map: NDArray[np.integer[Any]], class_names: Mapping[int, str], ax: Axes | None = None) -> Axes:
    """Draw a map (H, W) of label values, 0 = none, with the names of its classes."""
    ax = _axes(ax, 8.0, 4.5)
    show_map(ax, class_map, dict(class_names))
    return ax


def plot_queries(
    pixel_ids: NDArray[np.int64], labelled_at: NDArray[np.int64], rgb: NDArray[np.uint8], ax: Axes | None = None
) -> Axes:
    """Draw labelled pixels on a dimmed false-colour picture: initial ones white, queried ones coloured by round.

    Args:
        pixel_ids: row * W + column, (n,).
        labelled_at: Round of each label, 0 = initial, (n,).
        rgb: False colour, (H, W, 3).
        ax: Axes to draw into; None = those of a new figure.
    """
    ax = _axes(ax, 6.5, 5.0)
    height, width = rgb.shape[:2]
    step, shown = thinning(height, width), thinned(rgb)
    rows, columns = np.divmod(pixel_ids, width)
    show_queries(ax, Pool(rows // step * shown.shape[1] + columns // step, labelled_at), shown, DOT)
    if rounds := int(labelled_at.max(initial=0)):
        bar = ax.figure.colorbar(round_colours(rounds), ax=ax, label="round", shrink=0.8, ticks=round_ticks(rounds))
        bar.ax.minorticks_off()
    return ax


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    _, made = plt.subplots(figsize=(width, height), layout="constrained")
    assert isinstance(made, Axes)
    return made
