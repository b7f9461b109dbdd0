"""What every figure and table is made of: its cells, the runs behind a cell, and the commands that make them."""

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
MODES = {"protocol": ("paper", "warm", "short"), "learner.effort": ("paper", "short")}  # the most thorough first


@dataclass(frozen=True)
class Cell:
    """A curve or a column.

    Attributes:
        name: As the paper writes it.
        options: What makes its runs, without scene, mode and seed.
        mode: The option that says how thoroughly it is trained; empty where there is one way only.
        key: Its column of `published.csv`; empty where nothing was published.
        band: Percentage points of OA around the published value within which it counts as reproduced. Wider where the
            paper leaves architecture or training open.
        caveat: What a reader must know beside the number.
    """

    name: str
    options: tuple[str, ...]
    mode: str = "protocol"
    key: str = ""
    band: float = 1.5
    caveat: str = ""


def compared_methods() -> list[Method]:
    """All methods but the networks: those of the published tables in their order, then the others."""
    with PUBLISHED.open(newline="", encoding="utf-8") as lines:
        columns = next(csv.reader(lines))
    known = all_methods()
    published = [name for name in columns if name in known]
    return [known[name] for name in [*published, *(name for name in known if name not in (*published, "deep"))]]


def compared(method: Method) -> Cell:
    """The column of a compared method."""
    mode = "learner.effort" if issubclass(method.settings, EffortConfig) else ""
    options = ("experiment=table", f"learner={method.name}")
    return Cell(method.title, options, mode, method.name, method.band, method.caveat)


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
    """On what, how often and how thoroughly.

    Attributes:
        overrides: Options of every run, such as dataset=salinas.
        seeds: Seeds of every cell.
        modes: Wanted option of each key of `MODES`.
        supervised: Protocol of the compared methods in the table and the maps.
        outputs: Folder of the runs, `outputs` where they are made.
    """

    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    modes: dict[str, str]
    supervised: str = "per_class"
    outputs: Path = Path("outputs")

    def options(self, cell: Cell, mode: str, seed: int) -> list[str]:
        """Command line of a run."""
        options = [*cell.options, *self.overrides]
        if cell.mode:
            options.append(f"{cell.mode}={mode}")
        if "experiment=table" in cell.options and self.supervised != "per_class":
            options.append(f"protocol={self.supervised}")
        return [*options, f"seed={seed}"]

    def column(self, cell: Cell) -> "Column":
        """The finished runs of a cell in the wanted mode or a more thorough one: where most seeds are.

        What is missing is asked for in the wanted mode, unless a more thorough one has every seed.
        """
        wanted = self.modes.get(cell.mode, "")
        known = MODES.get(cell.mode, ())
        better = known[: known.index(wanted)] if wanted in known else ()
        columns = [self.column_in(cell, mode) for mode in (*better, wanted)]
        fullest = max(columns, key=lambda column: len(column.runs))  # the most thorough of equals
        if not fullest.runs:
            return columns[-1]
        return replace(fullest, missing=columns[-1].missing if fullest.missing else ())

    def column_in(self, cell: Cell, mode: str) -> "Column":
        """The finished runs of a cell in one mode."""
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
    """A cell with its finished runs, one per seed, and the options of those that are missing.

    `differing` says in what the runs were made otherwise than their command line here would make them.
    """

    cell: Cell
    mode: str
    runs: tuple[Path, ...]
    missing: tuple[tuple[str, ...], ...]
    differing: tuple[str, ...] = ()


def command(options: Sequence[str]) -> str:
    """What fills a missing run."""
    return shlex.join(["python", "-m", "hsi_al.run", *options])


@cache
def composed(options: tuple[str, ...]) -> tuple[Config, str]:
    """As `hsi_al.cli.composition.composed`, once for every command line."""
    return composition.composed(list(options))


def scene_of(overrides: Sequence[str]) -> tuple[str, str]:
    """Name of the scene in folders, and for people."""
    name = composed(tuple(overrides))[0].dataset.name
    return name, CATALOGUE[name].title if name in CATALOGUE else name.replace("_", " ")


def published_for(overrides: Sequence[str]) -> dict[tuple[str, str], float]:
    """What was published for these options: nothing but for the split that the paper has."""
    config, _ = composed(tuple(overrides))
    return published(config.dataset.name) if config.split.kind == "paper" else {}


def published(scene: str) -> dict[tuple[str, str], float]:
    """Published numbers of a scene, percent, by (row, column) of `published.csv`; empty for other scenes."""
    with PUBLISHED.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["scene"] == scene]
    return {(row["row"], key): float(row[key]) for row in rows for key in row if key not in ("scene", "row")}
