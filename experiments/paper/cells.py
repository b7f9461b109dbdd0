"""The cells (curves, columns or maps) of every figure and table, their runs, and the commands that make the runs."""

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from hsi_al.cli import composition
from hsi_al.config.kept import differing_keys
from hsi_al.config.schema import Config, EffortConfig
from hsi_al.methods.registry import all_methods
from hsi_al.methods.room import Method
from hsi_al.report.run_files import read_meta
from hsi_al.scenes.catalogue import CATALOGUE

PUBLISHED = Path(__file__).with_name("published.csv")
MODES = {"protocol": ("paper", "warm", "short"), "learner.effort": ("paper", "short")}  # most thorough first


@dataclass(frozen=True)
class Cell:
    """A method of a figure or table: a curve, a column or a map.

    Attributes:
        name: Name of the method in the paper.
        options: Options of its runs, without scene, mode and seed.
        mode: Key of the option that says how thoroughly the method is trained (a key of `MODES`); empty if it has no
            such option.
        key: Column of `published.csv`; empty if nothing was published.
        band: Percentage points of OA by which a reproduced result may differ from the published one; wider where the
            paper leaves architecture or training open.
        caveat: What a reader must know about the result, for a note below the table.
    """

    name: str
    options: tuple[str, ...]
    mode: str = "protocol"
    key: str = ""
    band: float = 1.5
    caveat: str = ""


def compared_methods() -> list[Method]:
    """Return the methods that declare `compared`: those of the published tables in their order, then the others."""
    known = {name: method for name, method in all_methods().items() if method.compared}
    published = [name for name in published_columns() if name in known]
    return [known[name] for name in [*published, *(name for name in known if name not in published)]]


def published_columns() -> list[str]:
    """Return the columns of `published.csv`."""
    with PUBLISHED.open(newline="", encoding="utf-8") as lines:
        return next(csv.reader(lines))


def compared(method: Method) -> Cell:
    """Return the cell of a compared method."""
    mode = "learner.effort" if issubclass(method.settings, EffortConfig) else ""
    options = ("experiment=table", f"learner={method.name}")
    key = method.name if method.name in published_columns() else ""
    return Cell(method.title, options, mode, key, method.band, method.caveat)


BACKBONES = {
    **{f"DenseNet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    **{f"ResNet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
}
ACTIVE = Cell("Active+DenseNet121", ("experiment=fig5",), key="active")
RANDOM = Cell("Random+DenseNet121", ("experiment=fig5", "acquisition=random"))
METHODS = (*(compared(method) for method in compared_methods()), ACTIVE)
ARTEFACTS: dict[str, tuple[Cell, ...]] = {
    "fig4": tuple(Cell(name, ("experiment=fig4", f"backbone={backbone}")) for name, backbone in BACKBONES.items()),
    "fig5": (
        ACTIVE,
        Cell("MaxEntropy+DenseNet121", ("experiment=fig5", "acquisition=entropy")),
        Cell("MaxEntropy+LeNet", ("experiment=fig5", "acquisition=entropy", "backbone=lenet")),
        Cell("MaxEntropy+EMP+SVM", ("experiment=fig5", "acquisition=entropy", "learner=emp_svm")),
        RANDOM,
    ),
    "table": (*METHODS, RANDOM),
    "maps": METHODS,
}


@dataclass(frozen=True)
class Plan:
    """The scene, seeds and modes of the runs of an artefact.

    Attributes:
        overrides: Options of every run, such as dataset=salinas.
        seeds: Seeds of the runs of every cell.
        modes: Requested value of each key of `MODES`.
        supervised: Protocol of the compared methods in the table and the maps.
        outputs: Folder of the runs; new runs are made in `outputs`.
    """

    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    modes: dict[str, str]
    supervised: str = "per_class"
    outputs: Path = Path("outputs")

    def options(self, cell: Cell, mode: str, seed: int) -> list[str]:
        """Return the options of the command line of a run."""
        options = [*cell.options, *self.overrides]
        if cell.mode:
            options.append(f"{cell.mode}={mode}")
        if "experiment=table" in cell.options and self.supervised != "per_class":
            options.append(f"protocol={self.supervised}")
        return [*options, f"seed={seed}"]

    def column(self, cell: Cell) -> "Column":
        """Return the finished runs of a cell in the requested mode or a more thorough one.

        The mode with the most finished seeds is taken, the most thorough one of equals. Unless it has every seed, the
        missing runs are those of the requested mode.
        """
        wanted = self.modes.get(cell.mode, "")
        known = MODES.get(cell.mode, ())
        better = known[: known.index(wanted)] if wanted in known else ()
        columns = [self.column_in(cell, mode) for mode in (*better, wanted)]
        fullest = max(columns, key=lambda column: len(column.runs))  # of equals the first, the most thorough
        if not fullest.runs:
            return columns[-1]
        return replace(fullest, missing=columns[-1].missing if fullest.missing else ())

    def column_in(self, cell: Cell, mode: str) -> "Column":
        """Return the finished and missing runs of a cell in one mode."""
        runs, missing = [], []
        differing: dict[str, None] = {}
        config, subdir = composed(tuple(self.options(cell, mode, self.seeds[0])))
        for seed in self.seeds:
            options, run = self.options(cell, mode, seed), (self.outputs / subdir).with_name(f"seed={seed}")
            if (run / "meta.json").exists() and read_meta(run).state == "finished":
                runs.append(run)
                if (run / "config.yaml").exists():
                    now = replace(config, seed=seed)
                    differing.update(dict.fromkeys(differing_keys(run / "config.yaml", now, new_too=False)))
            else:
                missing.append(options)
        return Column(cell, mode, tuple(runs), tuple(tuple(options) for options in missing), tuple(differing))


@dataclass(frozen=True)
class Column:
    """A cell with its finished and missing runs.

    Attributes:
        cell: The cell.
        mode: Value of the cell's mode in the finished runs.
        runs: Directories of the finished runs, one per seed.
        missing: Options of the command lines of the missing runs.
        differing: Configuration keys in which finished runs differ from what their command line would now make.
    """

    cell: Cell
    mode: str
    runs: tuple[Path, ...]
    missing: tuple[tuple[str, ...], ...]
    differing: tuple[str, ...] = ()


def command(options: Sequence[str]) -> str:
    """Return the command line of a run."""
    return shlex.join(["python", "-m", "hsi_al.run", *options])


@cache
def composed(options: tuple[str, ...]) -> tuple[Config, str]:
    """Return the configuration and folder of a run; `hsi_al.cli.composition.composed` with a cache."""
    return composition.composed(list(options))


def scene_of(overrides: Sequence[str]) -> tuple[str, str]:
    """Return the scene's name in paths and its title for readers."""
    name = composed(tuple(overrides))[0].dataset.name
    return name, CATALOGUE[name].title if name in CATALOGUE else name.replace("_", " ")


def published_for(overrides: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return the published numbers that runs with these options compare with; empty unless split=paper."""
    config, _ = composed(tuple(overrides))
    return published(config.dataset.name) if config.split.kind == "paper" else {}


def published(scene: str) -> dict[tuple[str, str], float]:
    """Return the published numbers of a scene by (row, column) of `published.csv`, accuracies in percent.

    The dictionary is empty for a scene without published numbers.
    """
    with PUBLISHED.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["scene"] == scene]
    return {(row["row"], key): float(row[key]) for row in rows for key in row if key not in ("scene", "row")}
