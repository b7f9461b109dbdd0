"""The learning curve as a table: reading `curve.csv`, and formatting and printing its rounds."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from hsi_al.errors import RunDirectoryError
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


@dataclass(frozen=True)
class CurveRow:
    """One round of a run; accuracies and recalls are fractions, NaN where undefined; durations are in seconds.

    The suffix `all` means over all pixels with ground truth, `heldout` over the held-out pixels. `recall` holds the
    recall of each class by label value.
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


def read_curve(run_dir: Path) -> list[CurveRow]:
    """Read `curve.csv`, one row per round.

    Raises:
        RunDirectoryError: The file is missing, lacks a column, holds no round, or holds a value that is not a number.
    """
    path = run_dir / "curve.csv"
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise RunDirectoryError(f"{path} lacks the columns {', '.join(missing)}.")
            rows = [_row(cells) for cells in reader]
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise RunDirectoryError(f"{path}, line {reader.line_num}, is malformed: {error}.") from error
    if not rows:
        raise RunDirectoryError(f"{path} holds no round yet.")
    return rows


def _row(cells: dict[str, str]) -> CurveRow:
    if None in cells or None in cells.values():
        raise ValueError("its number of cells differs from the header's")
    recall = {int(name.removeprefix(RECALL)): float(cells[name]) for name in cells if name.startswith(RECALL)}
    numbers = {name: float(cells[name]) for name in COLUMNS[2:]}
    return CurveRow(int(cells["round"]), int(cells["n_labelled"]), **numbers, recall=recall)


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
        *(_number(100 * value, 2) for value in accuracies),
        _number(seconds, 1),
    ]


def _number(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


class PlainConsole(Console):
    """A console that shows control characters in text as escapes and takes text for no markup."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(highlight=False, markup=False, **settings)

    def print(self, *shown: Any, **settings: Any) -> None:  # noqa: ANN401
        """Print objects; a text is one line."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in shown), **settings)


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Print a header and rows at their full width, so that no cell is cut, even without a terminal."""
    shown = Table()
    for index, name in enumerate(table[0]):
        shown.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table[1:]:
        shown.add_row(*map(printable, row))
    width = 1 + sum(3 + max(cell_len(printable(row[index])) for row in table) for index in range(len(table[0])))
    PlainConsole(width=width).print(shown)
