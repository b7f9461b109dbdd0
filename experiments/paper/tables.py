"""Tables II to IV: accuracies by class, OA, AA, kappa, each with its spread over seeds and the published value."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.paper.cells import Column
from hsi_al.report.contest_tables import markdown
from hsi_al.report.run_files import read_confusions, read_meta
from hsi_al.report.tables import read_curve

PIXELS = {"all": "all labelled pixels, as the paper counts", "heldout": "pixels that were never labelled"}
TOTALS = {"oa": "OA (%)", "aa": "AA (%)", "kappa": "kappa (%)"}
LABELS = "N"


@dataclass(frozen=True)
class Value:
    """A cell of the table; numbers are in percent, NaN where there is none.

    Attributes:
        mean: Mean over seeds.
        spread: Sample standard deviation over seeds.
        published: Published value.
        best: Whether the mean is the highest of its row.
    """

    mean: float
    spread: float = math.nan
    published: float = math.nan
    best: bool = False

    @property
    def ours(self) -> str:
        """Mean and standard deviation as text, such as `98.04 ± 0.10`."""
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.2f}" + ("" if math.isnan(self.spread) else f" ± {self.spread:.2f}")

    @property
    def beside(self) -> str:
        """The published value and how much higher ours is, such as `97.00 (+1.04)`; empty without a published one."""
        if math.isnan(self.published):
            return ""
        return f"{self.published:.2f}" + ("" if math.isnan(self.mean) else f" ({self.mean - self.published:+.2f})")


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        pixels: Pixels that are counted, a key of `PIXELS`.
        columns: One per method.
        rows: Name of the row (a class, OA, AA or kappa) and its values, one per column.
    """

    pixels: str
    columns: list[Column]
    rows: list[tuple[str, list[Value]]]


def paper_table(columns: Sequence[Column], known: dict[tuple[str, str], float], pixels: str) -> PaperTable:
    """Build the table over one kind of pixels; only for `all` there are published values.

    Args:
        columns: Methods with their finished runs; one without finished runs gets dashes.
        known: Published numbers by row and column of `published.csv`.
        pixels: A key of `PIXELS`: `all` or `heldout`.

    Raises:
        RunDirectoryError: A file of a run is missing or malformed.
    """
    numbers = [[measures(run, pixels) for run in column.runs] for column in columns]
    rows_of = [class_rows(run, counted=pixels == "all") for column in columns for run in column.runs]
    names: dict[str, str] = dict(pair for found in rows_of for pair in found.items())
    rows = []
    for key, name in {**names, **TOTALS}.items():
        values = []
        for column, seeds in zip(columns, numbers, strict=True):
            given = known.get((key, column.cell.key), math.nan) if pixels == "all" else math.nan
            values.append(value_of([seed[key] for seed in seeds], given))
        rows.append((name, marked(values)))
    return PaperTable(pixels, list(columns), rows)


def class_rows(run: Path, counted: bool) -> dict[str, str]:
    """Return the row names of the classes by label value: number, class name and, if `counted`, number of pixels."""
    confusions, names = read_confusions(run), read_meta(run).class_names
    totals = confusions.all[-1].sum(axis=1)
    return {
        str(value): f"{index} {names.get(value, f'class {value}')}" + (f" ({total})" if counted else "")
        for index, (value, total) in enumerate(zip(confusions.label_values.tolist(), totals.tolist(), strict=True), 1)
    }


def measures(run: Path, pixels: str) -> dict[str, float]:
    """Return the recall of each class (by label value), OA, AA and kappa of a run's last round, in percent."""
    confusions, row = read_confusions(run), read_curve(run)[-1]
    counts = (confusions.all if pixels == "all" else confusions.heldout)[-1]
    totals = counts.sum(axis=1)
    recalls = np.divide(counts.diagonal(), totals, out=np.full(len(totals), np.nan), where=totals > 0)
    result = {str(value): float(recall) for value, recall in zip(confusions.label_values, recalls, strict=True)}
    result |= {name: float(getattr(row, f"{name}_{pixels}")) for name in TOTALS}
    return {key: 100 * value for key, value in result.items()}


def value_of(seeds: Sequence[float], published: float) -> Value:
    """Return mean and sample standard deviation over the seeds whose value isn't NaN."""
    defined = [seed for seed in seeds if not math.isnan(seed)]
    if not defined:
        return Value(math.nan, published=published)
    return Value(float(np.mean(defined)), float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan, published)


def marked(values: Sequence[Value]) -> list[Value]:
    """Return the values with the highest mean marked; all means that round to it, as printed, are marked."""
    shown = [round(value.mean, 2) for value in values if not math.isnan(value.mean)]
    return [
        Value(value.mean, value.spread, value.published, bool(shown) and round(value.mean, 2) == max(shown))
        for value in values
    ]


def settings(table: PaperTable) -> list[list[str]]:
    """Return the rows of text below the numbers: labels, mode and seeds."""
    return [
        [LABELS, *(labels_of(column) for column in table.columns)],
        ["mode", *(column.mode or "paper" for column in table.columns)],
        ["seeds", *(str(len(column.runs)) for column in table.columns)],
    ]


def labels_of(column: Column) -> str:
    """Return the number of labelled pixels as text; a range where the seeds differ, `-` without runs."""
    numbers = sorted({read_curve(run)[-1].n_labelled for run in column.runs})
    return "-" if not numbers else "-".join(str(number) for number in dict.fromkeys((numbers[0], numbers[-1])))


def as_text(table: PaperTable) -> list[list[str]]:
    """Return a header and rows for a terminal, with published values on their own lines."""
    header = [first_header(table), *(column.cell.name.replace("+", "+\n") for column in table.columns)]
    rows = [[name, *("\n".join(filter(None, (star(v), v.beside))) for v in values)] for name, values in table.rows]
    return [header, *rows, *settings(table)]


def first_header(table: PaperTable) -> str:
    """Return the header of the first column."""
    return "class (pixels)" if table.pixels == "all" else "class"


def star(value: Value) -> str:
    """Return our value, with a star if it is the highest of its row."""
    return value.ours + ("*" if value.best else "")


def as_markdown(table: PaperTable) -> str:
    """Format a table as Markdown: the highest of a row in bold, published value and difference below ours."""
    header = [first_header(table), *(column.cell.name for column in table.columns)]
    rows = []
    for name, values in table.rows:
        cells = [f"**{value.ours}**" if value.best else value.ours for value in values]
        rows.append([name, *("<br>".join(filter(None, (c, v.beside))) for c, v in zip(cells, values, strict=True))])
    return markdown([header, *rows, *settings(table)])


def as_latex(table: PaperTable) -> str:
    """Format our values as a LaTeX `tabular` that needs no packages."""
    names = [r"\shortstack{" + column.cell.name.replace("+", r"+\\") + "}" for column in table.columns]
    lines = [
        r"\begin{tabular}{l" + "c" * len(names) + "}",
        r"\hline",
        " & ".join(["class", *names]) + r" \\",
        r"\hline",
    ]
    for name, values in table.rows:
        cells = [value.ours.replace("±", r"$\pm$") for value in values]
        bold = [rf"\textbf{{{cell}}}" if v.best else cell for cell, v in zip(cells, values, strict=True)]
        lines.append(" & ".join([escaped(name), *bold]) + r" \\")
    lines += [r"\hline", *(" & ".join(row) + r" \\" for row in settings(table)), r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape the characters that have a meaning in LaTeX."""
    return "".join("\\" + character if character in "%&_#$" else character for character in text)


def as_csv(tables: Iterable[PaperTable]) -> str:
    """Format tables as CSV with one line per number.

    The columns are pixels, row, method, mode, seeds, mean, standard deviation, published value and difference.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["pixels", "row", "method", "mode", "seeds", "mean", "std", "published", "difference"])
    for table in tables:
        for name, values in table.rows:
            for column, v in zip(table.columns, values, strict=True):
                numbers = [
                    "" if math.isnan(x) else f"{x:.4f}" for x in (v.mean, v.spread, v.published, v.mean - v.published)
                ]
                mode = column.mode or "paper"
                writer.writerow([table.pixels, name, column.cell.name, mode, len(column.runs), *numbers])
        for column in table.columns:
            mode, labels = column.mode or "paper", labels_of(column)
            writer.writerow([table.pixels, LABELS, column.cell.name, mode, len(column.runs), labels, "", "", ""])
    return text.getvalue()


def agreement(table: PaperTable, known: dict[tuple[str, str], float]) -> list[list[str]]:
    """Return a header and one row per method with a published OA.

    The columns compare our OA with the published one and say whether the difference lies within the cell's band.
    Methods with another number of labels than the published one are left out.
    """
    rows = [["method", "mode", "OA %", "published", "difference", "band", "reproduced"]]
    for column, value in zip(table.columns, dict(table.rows)[TOTALS["oa"]], strict=True):
        if math.isnan(value.mean) or math.isnan(value.published):
            continue
        if labels_of(column) != f"{known['n', column.cell.key]:.0f}":
            continue
        difference, band = value.mean - value.published, column.cell.band
        verdict = "yes" if abs(difference) <= band else ("higher" if difference > 0 else "lower")
        rows.append(
            [column.cell.name, column.mode or "paper", value.ours, f"{value.published:.2f}", f"{difference:+.2f}",
             f"± {band:.1f}", verdict]
        )  # fmt: skip
    return rows
