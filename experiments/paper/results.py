"""`docs/results.md` from the recorded runs: `python -m experiments.paper.results [--record outputs]`.

Numbers and pictures come from `paper.zip` and `screen.zip` in `experiments/results`, and from runs that lie only in
folders `paper/` and `screen/` beside them; words from `results.template.md`, where `$scene_artefact` is a table or a
picture.
`--record` first adds the finished runs below a folder's `paper/` and `screen/` to the archives, without their weights.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from experiments.paper.artefacts import build
from experiments.paper.cells import Plan
from hsi_al.errors import HsiAlError
from hsi_al.files import replacing
from hsi_al.report.archive import RUN_FILES, extract, pack
from hsi_al.report.compare import write_comparison
from hsi_al.report.contest_tables import markdown

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "experiments" / "results"
TEMPLATE = Path(__file__).with_name("results.template.md")
# Experiment -> files that are kept of its runs; curves alone of what is only compared.
FILES = {
    "paper": RUN_FILES,
    "screen": ("meta.json", "config.yaml", "curve.csv"),
}
# What the screen's first seed chose, against the paper's strategy and the baseline: few enough tests to correct for.
CHOSEN = ("margin-min_distance=8", "loss_prediction", "random")
PICTURES = {"curves": "comparison", "differences": "comparison_differences"}
MODES = {"protocol": "short", "learner.effort": "short"}


@dataclass(frozen=True)
class Section:
    """A scene of the page: its name in the template, what was run on it, and what is shown."""

    name: str
    plan: Plan
    artefacts: tuple[str, ...]


@contextmanager
def opened(recorded: Path) -> Iterator[Path]:
    """Give a folder with the runs of each experiment in `FILES` below its name: `recorded` if it has no archives.

    Else a temporary one with the runs in the archives and with those that lie only in folders beside them.

    Raises:
        RunDirectoryError: An archive is damaged, or a file of a run; the sentence names `recorded`.
    """
    archives = {name: recorded / f"{name}.zip" for name in FILES if (recorded / f"{name}.zip").exists()}
    if not archives:
        yield recorded
        return
    with TemporaryDirectory(prefix="hsi_al-") as temporary:
        for name, archive in archives.items():
            extract(archive, Path(temporary) / name)
        for meta in (meta for name in FILES for meta in (recorded / name).rglob("meta.json")):
            place = temporary / meta.parent.relative_to(recorded)
            if not place.exists():
                place.mkdir(parents=True)
                for file in (file for name in RUN_FILES if (file := meta.with_name(name)).exists()):
                    shutil.copyfile(file, place / file.name)
        try:
            yield Path(temporary)
        except HsiAlError as error:
            raise type(error)(str(error).replace(temporary, str(recorded))) from error


def sections(recorded: Path) -> list[Section]:
    """What was recorded."""
    subset = (
        "dataset=custom",
        "dataset.name=pavia_university_subset",
        "dataset.cube_file=UPavia_Subset.mat",
        "dataset.cube_key=paviaU",
        "dataset.ground_truth_key=paviaU_gt",
    )
    return [
        Section("indian_pines", Plan(("dataset=indian_pines",), (0, 1), MODES, outputs=recorded), ("table", "maps")),
        Section("indian_pines", Plan(("dataset=indian_pines",), (0,), MODES, outputs=recorded), ("fig4",)),
        Section("indian_pines", Plan(("dataset=indian_pines",), (0, 1, 2), MODES, outputs=recorded), ("fig5",)),
        Section("salinas_a", Plan(("dataset=salinas_a",), (0,), MODES, "per_class_50", recorded), ("table", "maps")),
        Section("pavia_university_subset", Plan(subset, (0,), MODES, "per_class_50", recorded), ("table", "maps")),
    ]


def comparisons(recorded: Path) -> dict[str, list[Path]]:
    """The runs of acquisition functions to compare, `<scene>_<method>_<split>` -> run directories.

    Where all of `CHOSEN` were run, these are compared once more by themselves, as `<scene>_<method>_<split>_chosen`.
    """
    found: dict[str, list[Path]] = {}
    for meta in sorted((recorded / "screen").glob("*/*/*/*/seed=*/meta.json")):
        scene, method, _, protocol, _ = meta.parent.relative_to(recorded / "screen").parts
        name = f"{scene}_{method.removeprefix('deep-')}_{protocol.removeprefix('short-')}"
        found.setdefault(name, []).append(meta.parent)
    for name, runs in list(found.items()):
        chosen = [run for run in runs if run.parents[1].name in CHOSEN]
        if {run.parents[1].name for run in chosen} == set(CHOSEN):
            found[f"{name}_chosen"] = chosen
    return found


def compared(runs: Sequence[Path], folder: Path, path: str) -> str:
    """Curves, tables and differences; written into `folder`/`path`."""
    done = write_comparison(runs, folder / path)
    tables = [section for section in done.sections[1:] if "beats" not in section.title]
    shown = "\n".join(f"{section.title}\n\n{markdown(section.table)}" for section in tables)
    notes = "\n".join(f"- {note}" for note in done.notes)
    files = ", ".join(f"[{file.name}]({path}/{file.name})" for file in sorted(done.paths) if file.suffix != ".png")
    curves, differences = (f"![{what}]({path}/{name}.png)\n" for what, name in PICTURES.items())
    return f"{curves}\n{shown}\n{differences}\n{notes}\n- Files: {files}"


def page(recorded: Path, folder: Path) -> str:
    """The page's text; its pictures and tables are written into `folder`/results/<scene>.

    Raises:
        RunDirectoryError: A recorded run is damaged, or an artefact has none.
        OSError: The folder can't be written.
    """
    values = {}
    with opened(recorded) as runs_folder:
        for section in sections(runs_folder):
            target = folder / "results" / section.name
            for artefact in section.artefacts:
                values[f"{section.name}_{artefact}"] = shown(artefact, section, target)
        for name, runs in comparisons(runs_folder).items():
            values[name] = compared(runs, folder, f"results/{name}")
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def shown(artefact: str, section: Section, target: Path) -> str:
    """A table or a picture with notes and files; written into `target`."""
    built = build(artefact, section.plan, target)
    path = f"results/{section.name}/{artefact}"
    text = (target / f"{artefact}.md").read_text(encoding="utf-8") if artefact != "maps" else ""
    picture = f"![{artefact}]({path}.png)\n" if artefact != "table" else ""
    notes = "" if text else "\n".join(f"- {note}" for note in built.notes)
    files = ", ".join(f"[{file.suffix[1:]}]({path}{file.suffix})" for file in built.files)
    return f"{picture}\n{text}\n{notes}\n- Files: {files}"


def record(outputs: Path, recorded: Path) -> list[Path]:
    """Pack the small files of the finished runs of the experiments in `FILES`; returns these runs."""
    return [
        run
        for experiment, names in FILES.items()
        for run in pack(outputs / experiment, recorded / f"{experiment}.zip", names)[0]
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/results.md and what it shows."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.results", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="where finished runs are, such as outputs")
    arguments = parser.parse_args(argv)
    folder = ROOT / "docs"
    try:
        if arguments.record:
            print(f"{len(record(arguments.record, RECORDED))} finished runs recorded")
        text = page(RECORDED, folder)
        with replacing(folder / "results.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (HsiAlError, OSError) as error:
        print(f"experiments.paper.results: error: {error}", file=sys.stderr)
        return 2
    print(folder / "results.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
