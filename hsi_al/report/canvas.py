"""Drawing with positions in inches: figures without pyplot's global state, with room for long titles and legends."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsi_al.files import replacing
from hsi_al.report.tables import shortened
from hsi_al.terminal import printable

DPI = 150
MOST_PIXELS = 4000  # of a side of a picture; figures are laid out so that they stay below
NAME = 40  # characters of a class name in a picture
METHOD = 60  # characters of a method's name in a picture
TITLE_LINES = 4
FONT = 9.0  # points
LINE = 0.2  # inches, height of a line of text at 10 points
CHARACTER = 0.075  # inches, mean width of a character at 9 points, rounded up
MARGIN = 0.15  # inches


def literal(text: str) -> str:
    """Escape dollar signs, which matplotlib would read as mathematics."""
    return text.replace("$", r"\$")


def name_of(value: int, class_names: dict[int, str]) -> str:
    """Return the class name of a label value, or `class VALUE`, for matplotlib; a long name is shortened."""
    return literal(shortened(printable(class_names.get(value, f"class {value}")), NAME))


def wrapped(title: str, width: float) -> str:
    """Break a title into lines that fit a figure of `width` inches; one of more than `TITLE_LINES` is shortened."""
    characters = max(20, int((width - 2 * MARGIN) / CHARACTER))
    return literal(textwrap.fill(shortened(title, TITLE_LINES * characters), characters))


@dataclass(frozen=True)
class LegendBlock:
    """A legend at the foot of a figure, in as many columns as fit the width.

    Attributes:
        handles: Matplotlib artists of the entries, labelled.
        width: Inches.
        handle_length: Length of the symbols in font sizes; lines need more than patches to show their dashes.
    """

    handles: Sequence[Artist]
    width: float
    handle_length: float = 1.4

    @property
    def columns(self) -> int:
        """Number of columns."""
        longest = max(len(str(handle.get_label())) for handle in self.handles)
        entry = 0.325 + 0.125 * self.handle_length + CHARACTER * longest  # inches
        return max(1, min(len(self.handles), int(self.width / entry)))

    @property
    def height(self) -> float:
        """Height in inches, margins included."""
        return -(-len(self.handles) // self.columns) * LINE + 2 * MARGIN

    def draw(self, figure: Figure) -> None:
        """Put the legend at the foot of the figure."""
        foot = MARGIN / figure.get_figheight()
        figure.legend(
            handles=list(self.handles),
            loc="lower center",
            bbox_to_anchor=(0.5, foot),
            ncols=self.columns,
            fontsize=FONT,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            columnspacing=1.2,
            handlelength=self.handle_length,
            handletextpad=0.5,
        )


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a position given in inches from the lower left corner."""
    return figure.add_axes(place_in(figure, left, bottom, width, height))


def place_in(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> tuple[float, float, float, float]:
    """Return a position in inches as fractions of the figure: left, bottom, width, height."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def without_ticks(axes: Axes) -> None:
    """Remove the ticks and keep a thin grey frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="0.4")


def headline(figure: Figure, title: str) -> None:
    """Write a title, already wrapped, at the top of the figure."""
    figure.suptitle(title, x=0.5, y=1 - MARGIN / figure.get_figheight(), va="top", fontsize=10)


def title_height(title: str) -> float:
    """Return the height of a wrapped title in inches, margin included."""
    return (title.count("\n") + 1) * LINE + 1.5 * MARGIN


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's suffix, cropped to what is drawn, and return the path.

    The file is written as a whole or not at all. A figure of more than `MOST_PIXELS` is written in a lower resolution.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
    with replacing(path) as temporary:
        undated = {"CreationDate": None} if path.suffix == ".pdf" else {}  # the same picture gives the same file
        figure.savefig(
            temporary, format=path.suffix[1:], dpi=dpi, bbox_inches="tight", pad_inches=MARGIN, metadata=undated
        )
    return path
