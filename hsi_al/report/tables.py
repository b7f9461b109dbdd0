"""The learning curve as a table: reading `curve.csv`, and formatting and printing its rounds."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from hsi_al import interrupts
from hsi_al.errors import RunDirectoryError
from hsi_al.manifest import reading
from hsi_al.terminal import printable

RECALL = "recall_"
COLUMNS = (
    "round",
    "n_labelled",
    "oa_all",
    "aa_all",
    "kappa_all",
    "oa_heldout",
    "aa_heldout",
    "kappa_heldout",
    "seconds_fit",
    "seconds_predict",
    "seconds_query",
)
HEADER = ["round", "labels", "OA %", "AA %", "kappa %", "OA held-out %", "seconds"]
LINES_AT_ONCE = 500


@dataclass(frozen=True)
class CurveRow:
    """One round of a run; accuracies and recalls are fractions, NaN where undefined; durations are in seconds.

    The suffix `all` means over all pixels with ground truth, `heldout` over the held-out pixels. `recall` holds the
    recall of each class by label value, `agreement` the kappa between the predictions of this and the previous round,
    None where no rule of stopping asks for it.
    """

    round: int
    n_labelled: int
    oa_all: float
    aa_all: float
    kappa_all: float
    oa_heldout: float
    aa_heldout: float
    kappa_heldout: float
    seconds_fit: float
    seconds_predict: float
    seconds_query: float
    recall: dict[int, float]
    agreement: float | None = None


def read_curve(run_dir: Path) -> list[CurveRow]:
    """Read `curve.csv`, one row per round.

    Raises:
        RunDirectoryError: The file is missing, lacks a column, holds no round, or holds a value that is not a number.
    """
    path = run_dir / "curve.csv"
    with reading(path), path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        try:
            rows = [_row(cells) for cells in reader]
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    if not rows:
        raise RunDirectoryError(f"{path} holds no round yet.")
    return rows


def _row(cells: dict[str, str]) -> CurveRow:
    if None in cells or None in cells.values():
        raise ValueError("its number of cells differs from the header's")
    recall = {_label(name): float(cells[name]) for name in cells if name.startswith(RECALL)}
    numbers = {name: float(cells[name]) for name in COLUMNS[2:]}
    if any(math.isinf(number) for number in (*numbers.values(), *recall.values())):
        raise ValueError("a value is infinite")
    agreement = float(cells["agreement"]) if "agreement" in cells else None
    return CurveRow(int(cells["round"]), int(cells["n_labelled"]), **numbers, recall=recall, agreement=agreement)


@cache
def _label(column: str) -> int:
    """Return the label value of a column of recalls."""
    return int(column.removeprefix(RECALL))


def format_rounds(rows: list[CurveRow]) -> list[list[str]]:
    """Return a header and one row of text per round.

    OA, AA and kappa over all pixels with ground truth, and OA over the held-out pixels, are in percent; seconds are the
    sum of training, prediction and query.
    """
    return [HEADER, *(_line(row) for row in rows)]


def _line(row: CurveRow) -> list[str]:
    accuracies = (row.oa_all, row.aa_all, row.kappa_all, row.oa_heldout)
    seconds = row.seconds_fit + row.seconds_predict + row.seconds_query
    return [
        str(row.round),
        str(row.n_labelled),
        *(number(100 * value, 2) for value in accuracies),
        number(seconds, 1),
    ]


def number(value: float, decimals: int) -> str:
    """Return a number as text, `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def shortened(text: str, most: int) -> str:
    """Return a text as one line of at most `most` characters; in a longer one an ellipsis stands for the middle."""
    line = " ".join(text.split())
    tail = (most - 1) // 3
    return line if len(line) <= most else f"{line[: most - 1 - tail]}…{line[len(line) - tail :]}"


class PlainConsole(Console):
    """A console that shows control characters in text as escapes and takes text for no markup."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def print(self, *shown: Any, **settings: Any) -> None:  # noqa: ANN401
        """Print objects; a text is one line."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in shown), **settings)

    def on_broken_pipe(self) -> None:
        """End the command, as a signal ends other programs whose output nobody reads; see `hsi_al.cli.console`.

        Raises:
            Interrupted: Always.
        """
        raise interrupts.Interrupted(interrupts.SIGPIPE)


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Print a header and rows at their full width, so that no cell is cut, even without a terminal.

    It looks like a `rich.table.Table`, which takes half a millisecond for every cell.
    """
    screen = PlainConsole()
    cells = [[printable(cell) for cell in row] for row in table]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    frame, spaced = HEAVY_HEAD.substitute(screen.options), [width + 2 for width in widths]
    head, *lines = [_padded(row, widths) for row in cells]
    above = [frame.get_top(spaced), frame.head_left + frame.head_vertical.join(head) + frame.head_right]
    rows = [frame.mid_left + frame.mid_vertical.join(line) + frame.mid_right for line in lines]
    printed = [*above, frame.get_row(spaced, "head"), *rows, frame.get_bottom(spaced)]
    for first in range(0, len(printed), LINES_AT_ONCE):
        text = Text("\n".join(printed[first : first + LINES_AT_ONCE]))
        if not first:
            text.stylize("bold", len(printed[0]), len(printed[0]) + 1 + len(printed[1]))
        screen.print(text, soft_wrap=True)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the cells at the widths of their columns: the first to the left, others to the right."""
    gaps = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
    return [f" {row[0]}{gaps[0]} ", *(f" {gap}{cell} " for gap, cell in zip(gaps[1:], row[1:], strict=True))]


def limited(table: Sequence[Sequence[str]], rows: int, name: int, rest: str) -> list[list[str]]:
    """Return a table to look at: names of at most `name` characters, and only the first rows.

    Args:
        table: Header and rows.
        rows: Number of rows to keep.
        name: Characters of a cell of the first row or column that are kept.
        rest: What follows the number of the rows that are left out, in a last row.
    """
    header, *found = table
    kept = [[shortened(cell, name) for cell in header]]
    kept += [[shortened(row[0], name), *row[1:]] for row in found[:rows]]
    if (left := len(found) - rows) > 0:
        kept.append([f"and {left:,} more {rest}", *[""] * (len(header) - 1)])
    return kept
