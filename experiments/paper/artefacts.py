"""The paper's figures and tables, built as files from finished runs."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.paper.cells import ARTEFACTS, Column, Plan, command, published_for, scene_of
from experiments.paper.tables import (
    PIXELS,
    agreement,
    as_csv,
    as_latex,
    as_markdown,
    as_text,
    paper_table,
)
from hsi_al.errors import RunDirectoryError
from hsi_al.files import replace_text
from hsi_al.report.canvas import save
from hsi_al.report.compare import Curve, final_table, points_of, write_curves
from hsi_al.report.contest_tables import markdown
from hsi_al.report.maps import maps_figure
from hsi_al.report.run_files import read_meta, read_predictions
from hsi_al.report.tables import read_curve
from hsi_al.scenes.catalogue import CATALOGUE

PICTURES = ("png", "pdf")


@dataclass(frozen=True)
class Artefact:
    """A figure or table that was built.

    Attributes:
        tables: Tables to print, each with its heading.
        notes: Sentences below the tables.
        files: Paths of the written files.
    """

    tables: list[tuple[str, list[list[str]]]]
    notes: list[str]
    files: list[Path]


def build(name: str, plan: Plan, folder: Path) -> Artefact:
    """Build an artefact from the finished runs and write its files; the notes name the missing runs.

    Args:
        name: A key of `ARTEFACTS`.
        plan: Scene, seeds and modes of the runs.
        folder: Folder of the files.

    Raises:
        RunDirectoryError: No run is finished, or a file of one is missing or malformed.
        OSError: The folder can't be written.
    """
    columns = [plan.column(cell) for cell in ARTEFACTS[name]]
    missing = [f"Missing: {column.cell.name}: {command(run)}" for column in columns for run in column.missing]
    others = [
        f"{c.cell.name}: made with other options than asked for: {', '.join(c.differing)}."
        for c in columns
        if c.differing
    ]
    if not any(column.runs for column in columns):
        raise RunDirectoryError(f"No run of {name} is finished below {plan.outputs}. " + "; ".join(missing))
    folder.mkdir(parents=True, exist_ok=True)
    built = BUILDERS[name](name, columns, plan, folder)
    notes = [*built.notes, *others, *missing, *how_to_cite(name, plan)]
    for path in built.files:
        if path.suffix == ".md":
            lines = "\n".join(f"- {note}" for note in notes)
            text = f"{path.read_text(encoding='utf-8')}\n{lines}\n"
            replace_text(path, text)
    return Artefact(built.tables, notes, built.files)


def curves(name: str, columns: Sequence[Column], plan: Plan, folder: Path) -> Artefact:
    """Build Fig. 4 or Fig. 5: OA against the number of labels."""
    shown = [column for column in columns if column.runs]
    modes = dict.fromkeys(column.mode for column in shown)
    title = f"{scene_of(plan.overrides)[1]}, protocol {' and '.join(modes)}"
    drawn = [
        Curve(
            column.cell.name + (f", {column.mode}" if len(modes) > 1 else ""),
            points_of([read_curve(run) for run in column.runs]),
        )
        for column in shown
    ]
    _, files = write_curves(drawn, folder, name, pictures=PICTURES, title=title)
    return Artefact([(title, final_table(drawn))], [published_end(plan)], files)


def published_end(plan: Plan) -> str:
    """Return a sentence with the published OA that the figure can be compared with."""
    known = published_for(plan.overrides)
    if not known:
        return "No published values."
    return f"Published OA of Active+DenseNet121 at {known['n', 'active']:.0f} labels: {known['oa', 'active']:.2f} %."


def table(name: str, columns: Sequence[Column], plan: Plan, folder: Path) -> Artefact:
    """Build Tables II to IV, over all pixels with ground truth and over the held-out pixels."""
    title, known = scene_of(plan.overrides)[1], published_for(plan.overrides)
    tables = [paper_table(columns, known, pixels) for pixels in PIXELS]
    agreed = agreement(tables[0], known)
    parts = [f"{title}: {PIXELS[built.pixels]}" for built in tables]
    text = "\n".join(f"{heading}\n\n{as_markdown(built)}" for heading, built in zip(parts, tables, strict=True))
    if len(agreed) > 1:
        text += f"\nAgainst the published OA\n\n{markdown(agreed)}"
    notes = [
        "Mean ± standard deviation over seeds; the highest of a row is marked; below it the published value and how "
        "much higher ours is. Accuracies of classes are recalls. Published numbers are single runs on all labelled "
        "pixels, training ones included.",
        *(footnote(column) for column in columns if column.runs),
    ]
    files = {"md": text, "csv": as_csv(tables)}
    files["tex"] = "\n".join(f"% {heading}\n{as_latex(built)}" for heading, built in zip(parts, tables, strict=True))
    paths = [folder / f"{name}.{suffix}" for suffix in files]
    for path, content in zip(paths, files.values(), strict=True):
        replace_text(path, content)
    screen = [(heading, as_text(built)) for heading, built in zip(parts, tables, strict=True)]
    return Artefact([*screen, *([("Against the published OA", agreed)] if len(agreed) > 1 else [])], notes, paths)


def footnote(column: Column) -> str:
    """Return a sentence that describes the learner of a column; seeds with different learners are all described."""
    about = "; or ".join(dict.fromkeys(read_meta(run).learner for run in column.runs))
    return f"{column.cell.name}: {about}{f'; {column.cell.caveat}' if column.cell.caveat else ''}."


def maps(name: str, columns: Sequence[Column], plan: Plan, folder: Path) -> Artefact:
    """Build Figs. 6 to 8: the ground truth and each method's map of the whole scene, with its OA in the caption."""
    panels: dict[str, np.ndarray] = {}
    names: dict[int, str] = {}
    without: list[str] = []
    seeds: dict[str, None] = {}
    for column in columns:
        for run in column.runs[:1]:
            predictions = read_predictions(run)
            if predictions is None:
                without.append(f"{run.relative_to(plan.outputs)} holds no map.")
                continue
            if predictions.ground_truth is not None:
                panels.setdefault(f"({letter(0)}) ground truth\n", predictions.ground_truth)
            row = read_curve(run)[-1]
            name_and_mode = column.cell.name + (f", {column.mode}" if column.mode else "")
            caption = f"({letter(len(panels))}) {name_and_mode}\n{row.n_labelled} labels, OA {100 * row.oa_all:.2f} %"
            seeds.setdefault(run.name.replace("=", " "))
            panels[caption] = predictions.class_map
            names = read_meta(run).class_names
    if not panels:
        raise RunDirectoryError(f"None of the finished runs holds a map: {' '.join(without)}")
    title = f"{scene_of(plan.overrides)[1]}, {' and '.join(seeds)}, OA over all labelled pixels"
    figure = maps_figure(panels, names, title)
    return Artefact([], without, [save(figure, folder / f"{name}.{kind}") for kind in PICTURES])


def letter(index: int) -> str:
    """Return the letter of a panel."""
    return "abcdefghijklmnopqrstuvwxyz"[index]


def how_to_cite(name: str, plan: Plan) -> list[str]:
    """Return a note with the command that makes the artefact again, and one that says what to cite."""
    scene, _ = scene_of(plan.overrides)
    whole = [CATALOGUE[scene].citation] if scene in CATALOGUE else []
    again = ["python", "-m", "experiments.paper", name, *plan.overrides, "--seeds", ",".join(map(str, plan.seeds))]
    again += ["--protocol", plan.modes["protocol"], "--effort", plan.modes["learner.effort"]]
    again += ["--supervised", plan.supervised] if plan.supervised != "per_class" else []
    return [
        f"Reproduce: {shlex.join(again)}",
        "Cite: hsi_al and the paper whose method it implements (CITATION.cff)" + "; ".join(["", *whole]) + ".",
    ]


BUILDERS: dict[str, Callable[[str, Sequence[Column], Plan, Path], Artefact]] = {
    "fig4": curves,
    "fig5": curves,
    "table": table,
    "maps": maps,
}
