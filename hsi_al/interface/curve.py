"""The learning curve as a table of columns."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.report.statistics import aulc, labels_to_reach
from hsi_al.report.tables import COLUMNS, RECALL, CurveRow, format_rounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTS = ("round", "n_labelled")


class Curve(dict[str, NDArray[Any]]):
    """A learning curve: column name -> values, one per round, as in `curve.csv`; `pandas.DataFrame(curve)` takes it.

    Accuracies are fractions, NaN where undefined: `oa_all`, `aa_all`, `kappa_all` over all labelled pixels,
    `oa_heldout`, `aa_heldout`, `kappa_heldout` over those that test. `recall_<label value>` counts all pixels, and
    `agreement` is there if `stop_when_stable` is.

    Args:
        rows: One mapping of column to value per round.
    """

    def __init__(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        names = list(rows[0]) if rows else list(COLUMNS)
        super().__init__(
            {name: np.array([row[name] for row in rows], np.int64 if name in COUNTS else np.float64) for name in names}
        )

    @property
    def rows(self) -> list[dict[str, float]]:
        """The rounds, a dictionary each."""
        return [
            dict(zip(self, values, strict=True)) for values in zip(*(a.tolist() for a in self.values()), strict=True)
        ]

    def labels_to(self, level: float, column: str = "oa_heldout") -> float:
        """Return the number of labels at which a column first reaches a level, by linear interpolation; inf if never.

        Args:
            level: Accuracy, a fraction.
            column: Name of the column.
        """
        return labels_to_reach(self["n_labelled"], self[column], level)

    def area(self, column: str = "oa_heldout") -> float:
        """Return the area under a column divided by the range of labels: its mean height; NaN for a single round."""
        return aulc(self["n_labelled"], self[column])

    def plot(self, ax: "Axes | None" = None, column: str = "oa_heldout", label: str | None = None) -> "Axes":
        """Draw a column in percent against the number of labels; see `plot_curves`."""
        from hsi_al.interface.plots import plot_curves

        return plot_curves({label or column: self}, ax, column)

    @property
    def _table(self) -> list[list[str]]:
        return format_rounds([_curve_row(row) for row in self.rows])

    def __repr__(self) -> str:
        table = self._table
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(f"{cell:>{n}}" for cell, n in zip(line, widths, strict=True)) for line in table)

    def _repr_html_(self) -> str:
        head, *body = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)
            for tag, line in (("th" if number == 0 else "td", line) for number, line in enumerate(self._table))
        )
        rows = "".join(f"<tr>{line}</tr>" for line in body)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _curve_row(row: Mapping[str, float]) -> CurveRow:
    recall = {int(name.removeprefix(RECALL)): value for name, value in row.items() if name.startswith(RECALL)}
    numbers: dict[str, Any] = {name: row[name] for name in COLUMNS}
    return CurveRow(**numbers, recall=recall, agreement=row.get("agreement"))


def curve_of(rows: Sequence[CurveRow]) -> Curve:
    """Return the curve of rows that were read from a file."""
    return Curve(
        [
            {name: getattr(row, name) for name in (*COUNTS, "agreement", *COLUMNS) if getattr(row, name) is not None}
            | {f"{RECALL}{value}": recall for value, recall in row.recall.items()}
            for row in rows
        ]
    )
