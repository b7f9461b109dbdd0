"""Pictures of a scene: the predicted classes, and the queried pixels."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from hsi_al.report.canvas import (
    CHARACTER,
    FONT,
    LINE,
    MARGIN,
    LegendBlock,
    headline,
    name_of,
    place,
    save,
    title_height,
    without_ticks,
    wrapped,
)
from hsi_al.report.palette import BACKGROUND, PALETTE, RGB, UNUSED, colour_of, paint
from hsi_al.report.run_files import Image, Ints, Pool, thinned
from hsi_al.scenes.georeference import Georeference

MOST_ENTRIES = 60  # classes in a legend


def draw_map(
    class_map: npt.NDArray[np.integer[Any]],
    ground_truth: Ints | None,
    rgb: Image,
    class_names: dict[int, str],
    title: str,
    path: Path,
    where: Georeference | None = None,
    shape: tuple[int, int] | None = None,
) -> Path:
    """Write the figure of `map_figure` to `path`."""
    return save(map_figure(class_map, ground_truth, rgb, class_names, title, None, where, shape), path)


def map_figure(
    class_map: npt.NDArray[np.integer[Any]],
    ground_truth: Ints | None,
    rgb: Image,
    class_names: dict[int, str],
    title: str,
    filtered_map: Ints | None = None,
    where: Georeference | None = None,
    shape: tuple[int, int] | None = None,
) -> Figure:
    """Show false colour, class map, ground truth and filtered map if there are any, and a legend.

    Args:
        class_map: Label values, (H, W).
        ground_truth: Label values, (H, W); None = there are none.
        rgb: False colour, (H, W, 3).
        class_names: Class name by label value.
        title: Title of the figure.
        filtered_map: Label values, (H, W); None = there is no such map.
        where: Where the scene lies: a scale bar and north are drawn on the first picture.
        shape: Rows and columns of the scene, if the maps are thinned.
    """
    shape = shape or class_map.shape[:2]
    class_map, rgb = thinned(class_map), thinned(rgb)
    ground_truth = None if ground_truth is None else thinned(ground_truth)
    colours = colour_of(class_names)
    panels = {"false colour": rgb}
    if ground_truth is not None:
        panels["ground truth"] = paint(ground_truth, colours)
    panels["classification map"] = paint(class_map, colours)
    if filtered_map is not None:
        panels["filtered map"] = paint(thinned(filtered_map), colours)
    shown = [class_map] if ground_truth is None else [class_map, ground_truth]
    figure = _panels(panels, _patches(shown, colours, class_names, ground_truth is not None), title)
    if where is not None:
        draw_ground(figure.axes[0], where, shape)
    return figure


def draw_ground(axes: Axes, where: Georeference, shape: tuple[int, int]) -> None:
    """Draw a scale bar at the lower left of a picture of a scene, and an arrow to the north at its upper right.

    Args:
        axes: Axes of the picture, which may be thinned.
        where: Where the scene lies.
        shape: Rows and columns of the scene.
    """
    outlined = [withStroke(linewidth=2.5, foreground="black")]
    # In shares of the axes, whose sides differ: an arrow keeps its angle if it has the same length in pixels.
    shortest = min(shape)
    right, down = where.north[0] * shortest / shape[1], where.north[1] * shortest / shape[0]
    tip, foot = (0.92 + 0.05 * right, 0.85 - 0.05 * down), (0.92 - 0.05 * right, 0.85 + 0.05 * down)
    arrow = {"arrowstyle": "-|>", "color": "white", "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "path_effects": outlined}
    axes.annotate("", tip, foot, xycoords="axes fraction", textcoords="axes fraction", arrowprops=arrow)
    style: dict[str, Any] = {
        "color": "white",
        "fontsize": FONT - 1,
        "path_effects": outlined,
        "transform": axes.transAxes,
    }
    axes.text(0.92 + 0.09 * right, 0.85 - 0.09 * down, "N", ha="center", va="center", **style)
    metres = where.scale(shape)
    if metres is None:
        return
    length = round_length(0.3 * shape[1] * metres)
    share = length / (shape[1] * metres)
    axes.plot([0.05, 0.05 + share], [0.05, 0.05], color="white", lw=2, transform=axes.transAxes, path_effects=outlined)
    axes.text(0.05 + share / 2, 0.07, distance(length), ha="center", va="bottom", **style)


def round_length(most: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most this."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= most)


def distance(metres: float) -> str:
    """Write a distance in metres, or in kilometres from 1000 m on."""
    return f"{metres:g} m" if metres < 1000 else f"{metres / 1000:g} km"


def _panels(panels: dict[str, Image], patches: list[Patch], title: str) -> Figure:
    """Lay the panels side by side, or below each other where the scene is wide."""
    height, width = panels["false colour"].shape[:2]
    stacked = width > 2 * height
    scale = min(9.0 / width, 3.0 / height) if stacked else min(3.3 / width, 5.8 / height)
    return grid_figure(panels, patches, title, 1 if stacked else len(panels), scale)


def maps_figure(maps: dict[str, Ints], class_names: dict[int, str], title: str) -> Figure:
    """Show maps (H, W) of label values, all of the same size, with their captions, in rows of a page's width.

    Args:
        maps: Map by caption.
        class_names: Class name by label value.
        title: Title of the figure.
    """
    colours = colour_of(class_names)
    height, width = next(iter(maps.values())).shape
    scale = min(2.1 / width, 3.4 / height)
    columns = min(len(maps), max(1, int(7.5 / (max(width * scale, caption_width(maps)) + MARGIN))))
    panels = {caption: paint(labels, colours) for caption, labels in maps.items()}
    return grid_figure(panels, _patches(list(maps.values()), colours, class_names), title, columns, scale)


def grid_figure(panels: dict[str, Image], patches: list[Patch], title: str, columns: int, scale: float) -> Figure:
    """Lay panels of the same size out in rows, with captions above them and the legend below.

    Args:
        panels: Image (H, W, 3) by caption.
        patches: Entries of the legend.
        title: Title of the figure.
        columns: Panels per row.
        scale: Inches per pixel.
    """
    height, width = next(iter(panels.values())).shape[:2]
    rows = -(-len(panels) // columns)
    across = max(width * scale, caption_width(panels)) + MARGIN
    up = height * scale + (max(caption.count("\n") for caption in panels) + 1) * LINE + MARGIN
    total = max(columns * across + MARGIN, 4.5 if len(patches) <= len(PALETTE) else 9.0)
    legend, title = LegendBlock(patches, total - 2 * MARGIN), wrapped(title, total)
    figure = Figure(figsize=(total, rows * up + legend.height + title_height(title) - MARGIN))
    for index, (name, image) in enumerate(panels.items()):
        row, column = divmod(index, columns)
        left = (total - columns * across) / 2 + column * across + (across - width * scale) / 2
        bottom = legend.height + (rows - 1 - row) * up
        _picture(place(figure, left, bottom, width * scale, height * scale), name, image)
    legend.draw(figure)
    headline(figure, title)
    return figure


def caption_width(captions: Iterable[str]) -> float:
    """Return the width of the longest line of all captions in inches."""
    return CHARACTER * max(len(line) for caption in captions for line in caption.splitlines())


def _picture(axes: Axes, name: str, image: Image) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_title(name, fontsize=FONT, pad=4)
    without_ticks(axes)


def _patches(
    maps: Sequence[npt.NDArray[np.integer[Any]]],
    colours: dict[int, RGB],
    class_names: dict[int, str],
    has_truth: bool = True,
) -> list[Patch]:
    """Return one legend entry per class, and entries for unlabelled pixels and unused classes where a map has any.

    Of more than `MOST_ENTRIES` classes, those with the most pixels have an entry.
    """
    pixels = Counter[int]()
    for labels in maps:
        pixels.update(dict(zip(*(found.tolist() for found in np.unique(labels, return_counts=True)), strict=True)))
    largest = sorted(colours, key=lambda value: (-pixels[value], value))[:MOST_ENTRIES]
    entries: list[tuple[str, RGB | None]] = [(name_of(v, class_names), colours[v]) for v in sorted(largest)]
    if left := len(colours) - len(largest):
        entries.append((f"and {left:,} smaller", None))
    present = np.array([*pixels])
    if (~np.isin(present, [0, *colours])).any():
        entries.append(("other classes, not used", UNUSED))
    if 0 in present:
        entries.append(("no label" if has_truth else "not mapped", BACKGROUND))
    return [_patch(name, colour) for name, colour in entries]


def _patch(name: str, colour: RGB | None) -> Patch:
    if colour is None:
        return Patch(facecolor="none", edgecolor="none", label=name)
    return Patch(facecolor=np.divide(colour, 255).tolist(), edgecolor="0.4", linewidth=0.5, label=name)


def query_figure(pool: Pool, rgb: Image, title: str) -> Figure:
    """Show the labelled pixels on a dimmed false colour image (H, W, 3).

    Initially labelled pixels are white dots, queried pixels are coloured by their round.
    """
    height, width = rgb.shape[:2]
    scale = min(8.0 / width, 6.0 / height)
    total = max(width * scale + 2 * MARGIN + 1.5, 5.0)
    title = wrapped(title, total)
    queried = pool.labelled_at > 0
    rounds = int(pool.labelled_at.max(initial=0))
    legend = LegendBlock(_dots(int((pool.labelled_at == 0).sum()), int(queried.sum()), rounds), total - 2 * MARGIN)
    figure = Figure(figsize=(total, height * scale + legend.height + title_height(title)))
    left = (total - width * scale - (0.7 if rounds else 0)) / 2
    axes = place(figure, left, legend.height, width * scale, height * scale)
    size = float(np.clip(1.6 * 72 * scale, 3.5, 9.0)) ** 2  # points^2: wider than a pixel, and never too small to see
    show_queries(axes, pool, rgb, size)
    if rounds:
        _bar(figure, place(figure, left + width * scale + 0.15, legend.height, 0.16, height * scale), rounds)
    legend.draw(figure)
    headline(figure, title)
    return figure


def show_map(axes: Axes, class_map: npt.NDArray[np.integer[Any]], class_names: dict[int, str]) -> None:
    """Draw a map (H, W) of label values, 0 = none, with its legend on the right."""
    shown, colours = thinned(class_map), colour_of(class_names)
    axes.imshow(paint(shown, colours), interpolation="nearest")
    without_ticks(axes)
    patches = _patches([shown], colours, class_names)
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=FONT, frameon=False)


def show_queries(axes: Axes, pool: Pool, rgb: Image, size: float) -> None:
    """Draw the labelled pixels as dots of `size` points^2 on a dimmed image (H, W, 3).

    Initially labelled pixels are white, queried ones are coloured by their round, in another collection if there are
    any.
    """
    axes.imshow(_dimmed(rgb), interpolation="nearest")
    without_ticks(axes)
    width = rgb.shape[1]
    rows, columns = np.divmod(pool.pixel_id, width)
    initial, queried = pool.labelled_at == 0, pool.labelled_at > 0
    axes.scatter(columns[initial], rows[initial], s=size, facecolors="white", edgecolors="black", linewidths=0.7)
    if queried.any():
        at = pool.labelled_at[queried]
        colours = round_colours(int(at.max())).to_rgba(at)
        axes.scatter(columns[queried], rows[queried], s=size, c=colours, edgecolors="black", linewidths=0.3)


def round_colours(rounds: int) -> ScalarMappable:
    """Return the colours of rounds 1 to `rounds`, from dark to light."""
    colours = colormaps["viridis"](np.linspace(0, 1, rounds) if rounds > 1 else [0.5])
    return ScalarMappable(BoundaryNorm(np.arange(rounds + 1) + 0.5, rounds), ListedColormap(colours))


def round_ticks(rounds: int) -> list[int]:
    """Return at most ten of the rounds, the last one among them."""
    ticks: list[int] = np.arange(rounds, 0, -math.ceil(rounds / 10))[::-1].tolist()
    return ticks


def _bar(figure: Figure, axes: Axes, rounds: int) -> None:
    bar = figure.colorbar(round_colours(rounds), cax=axes, ticks=round_ticks(rounds))
    bar.set_label("round", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT, length=2)
    bar.ax.minorticks_off()


def _dots(initial: int, queried: int, rounds: int) -> list[Line2D]:
    dots = [_dot(f"initial labels ({initial})", "white")]
    if queried:
        label = f"queried in round 1 ({queried})"
        if rounds > 1:
            label = f"queried in rounds 1-{rounds} ({queried}), coloured by round"
        dots.append(_dot(label, to_hex(colormaps["viridis"](0.5))))
    return dots


def _dot(label: str, face: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker="o", markersize=6, markeredgecolor="black", markerfacecolor=face, label=label
    )


def _dimmed(rgb: Image) -> Image:
    """Return a light grey version of the image (H, W, 3), on which dots of any colour stand out."""
    grey = 140 + 0.4 * rgb.mean(axis=2, keepdims=True)
    return np.broadcast_to(grey, rgb.shape).astype(np.uint8)
