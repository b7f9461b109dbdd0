"""Build `docs/few-labels.md` from recorded runs: `python -m experiments.few_labels [--record outputs]`.

The text comes from `page.template.md`, in which `$name` stands for a table of the runs in `name.zip` in
`experiments/results/few_labels`. `--record` first packs the finished runs below a folder's `name/` into these archives,
without their weights.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from hsi_al.errors import HsiAlError
from hsi_al.files import replacing
from hsi_al.report.archive import pack, unpacked
from hsi_al.report.canvas import save
from hsi_al.report.compare import comparison_figure, curve_of
from hsi_al.report.contest_tables import markdown, percent
from hsi_al.report.series import Series, find_runs, series_of

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "experiments" / "results" / "few_labels"
TEMPLATE = Path(__file__).with_name("page.template.md")
PAGE = ROOT / "docs" / "few-labels.md"
FILES = ("meta.json", "config.yaml", "curve.csv")  # of each run: comparisons need no more


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        folder: Experiment, and folders below it, whose runs are rows.
        measure: Column of curve.csv.
        labels: Numbers of labels in the columns; () = the last one.
    """

    folder: str
    measure: str
    labels: tuple[int, ...] = ()


# Settings that the text around a table says already, and what stands in their place.
WORDING = (
    (r", protocol queries(_2)?$", ""),
    (r"^protocol one_training, .*protocol\.labels_from=profile_trees .*", "labels that profile_trees asked"),
    (r"^protocol (one_training|random)_\d+$", "random labels"),
)
BUDGETS = (50, 100, 160, 240, 320, 480)
TABLES = {
    "indian_pines": Table("few_labels/indian_pines", "oa_heldout", BUDGETS),
    "indian_pines_16": Table("few_labels/indian_pines_16", "oa_heldout", BUDGETS),
    "salinas_a": Table("few_labels/salinas_a", "oa_heldout", BUDGETS),
    "pavia": Table("few_labels/pavia", "oa_heldout", BUDGETS),
    "new_ground": Table("new_ground/indian_pines", "kappa_heldout"),
    "proxy": Table("proxy/indian_pines", "oa_heldout", (160, 240, 480)),
    "queries": Table("queries/indian_pines", "oa_heldout", (480, 490, 500, 530, 580)),
    "queries_anew": Table("queries/indian_pines", "oa_heldout", (2, 12, 22, 52, 102)),
    "claim": Table("claim/indian_pines", "oa_all", (160, 240, 320, 480)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.few_labels", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="OUTPUTS", help="pack finished runs of this folder first")
    given = parser.parse_args(argv)
    try:
        if given.record:
            record(given.record)
        with replacing(PAGE) as temporary:
            temporary.write_text(page(RECORDED), encoding="utf-8")
        draw(RECORDED)
    except HsiAlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def record(outputs: Path) -> None:
    """Pack the finished runs of each experiment into its archive, which is replaced."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    for name in sorted({table.folder.partition("/")[0] for table in TABLES.values()}):
        if (outputs / name).is_dir():
            pack(outputs / name, RECORDED / f"{name}.zip", FILES)


def page(recorded: Path) -> str:
    """Return the page with the tables of the runs in `recorded`; one without runs says so."""
    tables = {}
    for name, table in TABLES.items():
        experiment, _, below = table.folder.partition("/")
        archive = recorded / f"{experiment}.zip"
        if not archive.exists():
            tables[name] = "(no runs recorded)"
            continue
        with unpacked([archive]) as opened:
            folder = opened.folders[0] / below
            tables[name] = markdown(rows(table, series_of(find_runs([folder])))) if folder.is_dir() else "(no runs)"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(tables)


def draw(recorded: Path) -> None:
    """Draw the learning curves of the first table beside the page."""
    with unpacked([recorded / "few_labels.zip" / Path(TABLES["indian_pines"].folder).name]) as opened:
        curves = [curve_of(series) for series in series_of(find_runs(opened.folders))]
        save(
            comparison_figure(curves, "oa_heldout", "Complete this map: Indian Pines, 9 classes"),
            PAGE.with_suffix(".png"),
        )


def rows(table: Table, found: Sequence[Series]) -> list[list[str]]:
    """Return the rows of a table, best first: settings, runs, means and deviations in percent, seconds a round."""
    curves = {series.name: (series, {point.n_labelled: point for point in curve_of(series).points}) for series in found}
    sizes = table.labels or (max(size for _, points in curves.values() for size in points),)
    lines = []
    for name, (series, points) in curves.items():
        seconds = [row.seconds_fit + row.seconds_predict + row.seconds_query for run in series.runs for row in run.rows]
        cells = []
        for size in sizes:
            point = points.get(size)
            cells.append("-" if point is None else percent(point.mean[table.measure], point.spread[table.measure]))
        if set(cells) == {"-"}:
            continue
        last = points[max(points)].mean[table.measure]
        lines.append((last, [worded(name), f"{len(series.runs)}", *cells, rounded(float(np.mean(seconds)))]))
    header = ["learner and query", "runs", *(f"{size} labels" for size in sizes), "seconds a round"]
    return [header, *(line for _, line in sorted(lines, key=lambda pair: -pair[0]))]


def worded(name: str) -> str:
    """Return the name of a row, without what its table's text says."""
    for settings, words in WORDING:
        name = re.sub(settings, words, name)
    return name


def rounded(seconds: float) -> str:
    """Return seconds as text, with two digits or as a whole number."""
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
