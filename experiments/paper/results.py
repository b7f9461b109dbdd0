"""Build `docs/results.md` from the recorded runs: `python -m experiments.paper.results [--record outputs]`.

Numbers and pictures come from `paper.zip` and `screen.zip` in `experiments/results`, and from runs that are only in
the folders `paper/` and `screen/` beside them. The text comes from `results.template.md`, in which `$scene_artefact`
stands for a table or a picture.
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
from hsi_al.files import replace_text
from hsi_al.report.archive import RUN_FILES, extract, pack
from hsi_al.report.compare import write_comparison
from hsi_al.report.contest_tables import markdown

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "experiments" / "results"
TEMPLATE = Path(__file__).with_name("results.template.md")
# Files that are recorded of each experiment's runs; of runs that are only compared the curves are enough.
FILES = {
    "paper": RUN_FILES,
    "screen": ("meta.json", "config.yaml", "curve.csv"),
}
# The best acquisition function of the screen's first seed, the paper's and the baseline; so few that Holm's correction
# for all their tests stays mild.
CHOSEN = ("margin-min_distance=8", "loss_prediction", "random")
PICTURES = {"curves": "comparison", "differences": "comparison_differences"}
MODES = {"protocol": "short", "learner.effort": "short"}


@dataclass(frozen=True)
class Section:
    """A scene of the page.

    Attributes:
        name: Name of the scene in the template.
        plan: The runs that are shown.
        artefacts: Keys of `ARTEFACTS` that are shown.
    """

    name: str
    plan: Plan
    artefacts: tuple[str, ...]


@contextmanager
def opened(recorded: Path) -> Iterator[Path]:
    """Open a folder that holds the runs of each experiment in `FILES` below the experiment's name.

    It is `recorded` itself if that holds no archives. Otherwise it is a temporary folder with the runs of the archives,
    and those that are only in the folders beside them.

    Raises:
        RunDirectoryError: An archive or a file of a run is damaged; the message names `recorded`, not the temporary
            folder.
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
    """Return the sections of the page; their runs are read from `recorded`."""
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
    """Return the run directories of each comparison of acquisition functions, by `<scene>_<method>_<split>`.

    Where all of `CHOSEN` were run, these three are also compared separately, as `<scene>_<method>_<split>_chosen`.
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
    """Write the comparison of runs into `folder`/`path` and return what the page shows of it, as Markdown.

    These are the curves, the table of the methods and the picture of their differences; the rest is in the files.
    """
    done = write_comparison(runs, folder / path)
    first, *others = done.sections[1:]
    files = ", ".join(f"[{file.name}]({path}/{file.name})" for file in sorted(done.paths) if file.suffix != ".png")
    curves, differences = (f"![{what}]({path}/{name}.png)\n" for what, name in PICTURES.items())
    more = "more tables (labels that each method saves, tests of the differences, wins by seed) and all notes"
    return f"{curves}\n{first.title}\n\n{markdown(first.table)}\n{differences}\n- {len(others)} {more}: {files}"


def page(recorded: Path, folder: Path) -> str:
    """Return the page's text; its pictures and tables are written into `folder`/results/<scene>.

    Raises:
        RunDirectoryError: A recorded run is damaged, or an artefact has no finished run.
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
    """Write an artefact into `target` and return it as Markdown: table or picture, notes and links to the files."""
    built = build(artefact, section.plan, target)
    path = f"results/{section.name}/{artefact}"
    text = (target / f"{artefact}.md").read_text(encoding="utf-8") if artefact != "maps" else ""
    picture = f"![{artefact}]({path}.png)\n" if artefact != "table" else ""
    notes = "" if text else "\n".join(f"- {note}" for note in built.notes)
    files = ", ".join(f"[{file.suffix[1:]}]({path}{file.suffix})" for file in built.files)
    return f"{picture}\n{text}\n{notes}\n- Files: {files}"


def record(outputs: Path, recorded: Path) -> list[Path]:
    """Add the finished runs of the experiments in `FILES`, without weights, to the archives; return these runs."""
    return [
        run
        for experiment, names in FILES.items()
        for run in pack(outputs / experiment, recorded / f"{experiment}.zip", names)[0]
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/results.md with its pictures and tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.results", description=__doc__)
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="folder of finished runs to add first, such as outputs"
    )
    arguments = parser.parse_args(argv)
    folder = ROOT / "docs"
    try:
        if arguments.record:
            print(f"{len(record(arguments.record, RECORDED))} finished runs recorded")
        text = page(RECORDED, folder)
        replace_text(folder / "results.md", text)
    except (HsiAlError, OSError) as error:
        print(f"experiments.paper.results: error: {error}", file=sys.stderr)
        return 2
    print(folder / "results.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
