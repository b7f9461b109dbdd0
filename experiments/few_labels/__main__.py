"""Build `docs/few-labels.md` from recorded runs: `python -m experiments.few_labels [--record outputs]`.

The text comes from `page.template.md`, in which `$name` stands for a table of the runs in `name.zip` in
`experiments/results/few_labels`, and `$checkpoints` for that of `checkpoints.csv` there (`experiments.checkpoints`).
`--record` first packs the finished runs below a folder's `name/` into these archives, without their weights. The runs
in `unfinished/name` in the same folder count as far as they are.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import numpy as np

from experiments.checkpoints import __main__ as checkpoints
from hsi_al.errors import HsiAlError
from hsi_al.files import replace_text
from hsi_al.report.archive import RUN_FILES, pack, unpacked
from hsi_al.report.canvas import save
from hsi_al.report.compare import Curve, comparison_figure, points_of
from hsi_al.report.contest_tables import markdown, percent
from hsi_al.report.series import Run, find_runs, series_of

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "experiments" / "results" / "few_labels"
TEMPLATE = Path(__file__).with_name("page.template.md")
PAGE = ROOT / "docs" / "few-labels.md"
FILES = ("meta.json", "config.yaml", "curve.csv")  # of each run: comparisons need no more
LONG = "claim"  # experiment whose runs take hours: their labels are kept, so that others can begin with them


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        folder: Experiment, and folders below it, whose runs are rows.
        measure: Column of curve.csv.
        labels: Numbers of labels in the columns; () = the last one.
        settings: What all runs of a learner share here and not in other tables, by its name.
    """

    folder: str
    measure: str
    labels: tuple[int, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


# Settings that the text around a table says already, and what stands in their place.
WORDING = (
    (r", protocol queries(_2)?$", ""),
    (r"^protocol one_training, .*protocol\.labels_from=densenet121 margin.*", "labels that its own margin asked"),
    (r"^protocol one_training, .*protocol\.labels_from=densenet121 loss_.*", "labels that its predicted loss asked"),
    (r"^protocol one_training, .*protocol\.labels_from=(\w+) .*", r"labels that \1 asked"),
    (r"^(none, )?protocol (one_training|random)_\d+$", "random labels"),
    (r"^none, protocol cosine_.*", "random labels, learning rate falling by a cosine"),
    (r"^loss_prediction, protocol paper$", "asked by predicted loss, as in the paper"),
    (r"^entropy, protocol paper$", "asked by entropy"),
    (r"^margin, protocol paper, acquisition.min_distance=8$", "asked by margin, 8 pixels apart"),
)
NOISE = {"lda": "shrunk covariance", "profile_trees": "minimum noise fraction"}
BUDGETS = (50, 100, 160, 240, 320, 480)
TABLES = {
    "indian_pines": Table("few_labels/indian_pines", "oa_heldout", BUDGETS),
    "indian_pines_16": Table("few_labels/indian_pines_16", "oa_heldout", BUDGETS),
    "salinas_a": Table("few_labels/salinas_a", "oa_heldout", BUDGETS),
    "pavia": Table("few_labels/pavia", "oa_heldout", BUDGETS),
    "new_ground": Table("new_ground/indian_pines", "kappa_heldout"),
    "noise": Table("noise/indian_pines", "oa_heldout", BUDGETS, NOISE),
    "noise_new_ground": Table("noise_new_ground/indian_pines", "kappa_heldout", settings=NOISE),
    "proxy": Table("proxy/indian_pines", "oa_heldout", (160, 240, 480)),
    "queries": Table("queries/indian_pines", "oa_heldout", (480, 490, 500, 530, 580)),
    "queries_anew": Table("queries/indian_pines", "oa_heldout", (2, 12, 22, 52, 102)),
    "claim": Table("claim/indian_pines", "oa_all", (160, 200, 240, 280, 320, 360, 400, 440, 480)),
}
# Pictures beside the page: for the table whose curves they show the ending of the file's name, title, and names shown.
PICTURES = {
    "indian_pines": (
        "",
        "Complete this map: Indian Pines, 9 classes",
        r"margin$|^(vote|nearest_label), random$",  # eight curves hide one another
    ),
    "claim": ("-paper", "The paper's protocol: every round from fresh weights", "^random labels$|^asked"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.few_labels", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="OUTPUTS", help="pack finished runs of this folder first")
    given = parser.parse_args(argv)
    try:
        if given.record:
            record(given.record)
        replace_text(PAGE, page(RECORDED))
        draw(RECORDED)
    except HsiAlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def record(outputs: Path) -> None:
    """Add the finished runs of each experiment to its archive, in place of those of the same folders."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    for name in sorted({table.folder.partition("/")[0] for table in TABLES.values()}):
        if (outputs / name).is_dir():
            pack(outputs / name, RECORDED / f"{name}.zip", RUN_FILES if name == LONG else FILES)


def page(recorded: Path) -> str:
    """Return the page with the tables of the runs in `recorded`; one without runs says so."""
    tables = {name: markdown(rows(table, runs_by_name(table, recorded))) for name, table in TABLES.items()}
    tables["checkpoints"] = checkpoints.table(checkpoints.read_rows(recorded / "checkpoints.csv"))
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(tables)


def draw(recorded: Path) -> None:
    """Draw the pictures of the page beside it, of the seeds that all of their curves have."""
    for name, (ending, title, shown) in PICTURES.items():
        table = TABLES[name]
        found = {words: runs for words, runs in runs_by_name(table, recorded).items() if re.search(shown, words)}
        seeds = set.intersection(*({run.trial.seed for run in runs} for runs in found.values())) if found else set()
        curves = [
            Curve(words, points_of([run.rows for run in runs if run.trial.seed in seeds]))
            for words, runs in found.items()
        ]
        if curves:
            save(comparison_figure(curves, table.measure, title), PAGE.with_name(f"{PAGE.stem}{ending}.png"))


def runs_by_name(table: Table, recorded: Path) -> dict[str, list[Run]]:
    """Return the runs of a table by the words for their settings; runs with the same words make one row."""
    experiment, _, below = table.folder.partition("/")
    archive, unfinished = recorded / f"{experiment}.zip", recorded / "unfinished" / table.folder
    found: dict[str, list[Run]] = {}
    with unpacked([archive] if archive.exists() else []) as opened:
        folders = [folder for folder in (*(top / below for top in opened.folders), unfinished) if folder.is_dir()]
        for series in series_of(find_runs(folders)) if folders else ():
            found.setdefault(worded(series.name, table.settings), []).extend(series.runs)
    return found


def rows(table: Table, found: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """Return the rows of a table, best first: settings, runs, means and deviations in percent, seconds a round."""
    sizes = table.labels or (
        max((row.n_labelled for runs in found.values() for run in runs for row in run.rows), default=0),
    )
    lines = []
    for name, runs in found.items():
        having = [run.rows for run in runs if any(row.n_labelled in sizes for row in run.rows)]
        if not having:
            continue
        points = {point.n_labelled: point for point in points_of(having)}
        shown = [points.get(size) for size in sizes]
        counts = {point.n_seeds for point in shown if point}
        seconds = [row.seconds_fit + row.seconds_predict + row.seconds_query for run in having for row in run]
        cells = [percent(point.mean[table.measure], point.spread[table.measure]) if point else "-" for point in shown]
        times = " to ".join(f"{count}" for count in sorted({min(counts), max(counts)}))
        last = points[max(points)].mean[table.measure]
        lines.append((last, [name, times, *cells, rounded(float(np.mean(seconds)))]))
    header = ["learner and query", "runs", *(f"{size} labels" for size in sizes), "seconds a round"]
    return [header, *(line for _, line in sorted(lines, key=lambda pair: -pair[0]))]


def worded(name: str, shared: Mapping[str, str]) -> str:
    """Return the name of a row, without what its table's text says, with the settings that its learner has there."""
    learner, _, rest = name.partition(",")
    name = f"{learner} ({shared[learner]}),{rest}" if learner in shared else name
    for settings, words in WORDING:
        name = re.sub(settings, words, name)
    return name


def rounded(seconds: float) -> str:
    """Return seconds as text, with two digits or as a whole number."""
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
