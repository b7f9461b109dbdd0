"""Imports go downward only (docs/architecture.md); read with `ast`, also inside functions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsi_al.acquisition.registry import acquisitions
from hsi_al.methods.deep.backbones.densenet import BLOCKS
from hsi_al.methods.deep.backbones.resnet import LAYERS as RESNETS
from hsi_al.scenes.catalogue import CATALOGUE

PACKAGE = Path(__file__).resolve().parents[1] / "hsi_al"

# Bottom-up. Members of a layer don't import one another, except in the last.
LAYERS = (
    {
        *("accuracy", "errors", "files", "interrupts", "manifest", "options", "outputs", "randomness"),
        *("garbage", "memory", "terminal", "version"),
    },
    {"config"},
    {"scenes", "pool", "acquisition"},
    {"training"},
    {"methods"},
    {"report"},
    {"active"},
    {"__init__", "assess", "cli", "interface", "label", "predict", "run", "__main__"},
)
TOP = len(LAYERS) - 1
TENSORS = {"torch", "torchvision", "torchmetrics", "lightning", "pytorch_lightning"}
HYDRA = {"hydra", "omegaconf"}
WITHOUT_TENSORS = ("config", "scenes", "pool", "acquisition", "report")
WITH_HYDRA = ("config", "cli", "run")
WITH_OMEGACONF = ("interface",)
LIGHT = ("run", "methods.registry")  # --help must not wait for NumPy, nor the declarations of the methods
# What every run imports, and what learners without gradients do: none of it waits for torch or Lightning.
WITHOUT_GRADIENTS = (
    *("active.experiment", "methods.features", "methods.strips", "methods.grid_svm"),
    *("methods.lda.classifier", "methods.forest", "methods.spectra", "methods.nearest_label.learner"),
    *("methods.profile_trees.extractor", "methods.vote.learner"),
    *("methods.emp_svm.extractor", "methods.jcr.learner"),
)
HEAVY = TENSORS | {"numpy", "scipy", "h5py", "matplotlib", "wandb"}

Sources = dict[str, str]
"""Module name (`active.loop`, `errors`, `pool.__init__`) -> its text."""


def sources_of(package: Path) -> Sources:
    return {
        ".".join(path.relative_to(package).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*.py"))
    }


def imports_of(module: str, text: str, sources: Sources, *, everywhere: bool = True) -> Iterator[str]:
    """Full names of what a module imports; without `everywhere` only what happens at its import."""
    for node in walk(ast.parse(text), everywhere):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["hsi_al", *module.split(".")][: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if local(full, sources) else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def walk(tree: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if everywhere or not (later or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")):
            yield child
            yield from walk(child, everywhere)


def local(name: str, sources: Sources) -> str | None:
    """The module of this package that `hsi_al.x.y` names, as a key of the sources; None for all else."""
    if name == "hsi_al":
        return "__init__"
    inside = name.removeprefix("hsi_al.")
    if inside == name:
        return None
    return next((key for key in (inside, f"{inside}.__init__") if key in sources), None)


def member(module: str) -> str:
    """The package folder of a module, or the module itself at the top; the command of a folder lies there, too."""
    return "__main__" if module.endswith(".__main__") else module.split(".")[0]


def layer(module: str) -> int | None:
    return next((index for index, members in enumerate(LAYERS) if member(module) in members), None)


def foreign(name: str) -> str:
    return name.split(".")[0]


def upward_imports(sources: Sources) -> list[str]:
    found = []
    for module, text in sources.items():
        if layer(module) is None:
            found.append(f"{module} has no layer: give it one in tests/test_layers.py")
            continue
        for name in imports_of(module, text, sources):
            target = local(name, sources)
            if foreign(name) != "hsi_al" or (target and member(target) == member(module)):
                continue
            here, there = layer(module), None if target is None else layer(target)
            if here is None or there is None:
                found.append(f"{module} imports {name}, which has no layer")
            elif there > here or (there == here and here not in (0, TOP)):
                found.append(f"{module} imports {name}")
    return found


def forbidden_imports(sources: Sources) -> list[str]:
    """torch and its kin below the models, Hydra outside the configuration."""
    found = []
    for module, text in sources.items():
        for name in imports_of(module, text, sources):
            if foreign(name) in TENSORS and (member(module) in WITHOUT_TENSORS or layer(module) == 0):
                found.append(f"{module} imports {name}")
            allowed = foreign(name) == "omegaconf" and member(module) in WITH_OMEGACONF
            if foreign(name) in HYDRA and member(module) not in WITH_HYDRA and not allowed:
                found.append(f"{module} imports {name}")
    return found


def reached_at_import(start: str, sources: Sources) -> Iterator[str]:
    """Foreign modules that importing a module brings in, through our own modules and their packages too."""
    todo, seen = [start, "__init__"], set[str]()
    while todo:
        module = todo.pop()
        if module in seen or module not in sources:
            continue
        seen.add(module)
        above = module.split(".")[:-1]
        todo += [".".join([*above[:depth], "__init__"]) for depth in range(1, len(above) + 1)]
        for name in imports_of(module, sources[module], sources, everywhere=False):
            if foreign(name) != "hsi_al":
                yield name
            elif (target := local(name, sources)) is not None:
                todo.append(target)


def heavy_imports(sources: Sources) -> list[str]:
    rooms = [module for module in sources if re.fullmatch(r"methods\.\w+\.__init__", module)]
    kept = [(module, HEAVY) for module in (*LIGHT, *rooms)] + [(module, TENSORS) for module in WITHOUT_GRADIENTS]
    return [
        f"{module} imports {name} at start"
        for module, heavy in kept
        for name in reached_at_import(module, sources)
        if foreign(name) in heavy
    ]


def strings_of(text: str) -> list[str]:
    """String constants but for docstrings."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def named_in_the_loop(sources: Sources) -> list[str]:
    """Datasets and networks anywhere in a string; strategies as a whole one, for some of them are plain words."""
    names = "|".join([*CATALOGUE, *BLOCKS, *RESNETS, "lenet"])
    pattern = re.compile(rf"\b({names})\b|^({'|'.join(acquisitions())})$", re.IGNORECASE)
    return [
        f"{module} names {match.group()}"
        for module in sources
        if member(module) == "active" and module != "active.meta"  # a key of meta.json is named as a strategy is
        for text in strings_of(sources[module])
        for match in pattern.finditer(text)
    ]


CHECKS = (upward_imports, forbidden_imports, heavy_imports, named_in_the_loop)


@pytest.mark.parametrize("check", CHECKS)
def test_the_package(check: object) -> None:
    sources = sources_of(PACKAGE)
    assert {"run", "active.loop", "pool.__init__", "methods.deep.backbones.densenet"} <= set(sources)
    assert callable(check)
    assert check(sources) == []


FAKE: Sources = {
    "__init__": '"""A package."""\n',
    "errors": "",
    "files": "from hsi_al.errors import HsiAlError\n",
    "scenes.__init__": "",
    "scenes.scene": "import numpy as np\nfrom hsi_al.errors import SceneError\nfrom .readers import read\n",
    "scenes.readers": "import h5py\n",
    "pool.label_pool": "from hsi_al import errors\n",
    "methods.room": "if TYPE_CHECKING:\n    import torch\n",
    "methods.registry": "from hsi_al.methods.room import Method\n",
    "methods.one.__init__": "from hsi_al.methods.room import Method\n",
    "methods.one.network": "import torch\n",
    "active.__init__": "",
    "active.loop": '"""Names salinas."""\nfrom hsi_al.scenes import scene\nx = ("query", "a random draw")\n',
    "report.figures": "from hsi_al.scenes.scene import Scene\n",
    "config.schema": "from omegaconf import OmegaConf\n",
    "run": "import hydra\nfrom hsi_al.config.schema import Config\n\n\ndef task():\n    from hsi_al.cli import job\n",
    "cli.job": "import numpy\nfrom hsi_al.active.loop import Loop\n",
    "active.experiment": "from hsi_al.active.loop import Loop\n\n\ndef f():\n    import torch\n",
    "report.__main__": "from hsi_al.cli import job\n",
    "interface.__init__": "",
    "interface.experiment": "import omegaconf\nfrom hsi_al.active.loop import Loop\n",
}

PLANTED = [
    ("pool.label_pool", "from hsi_al.active.loop import Loop", "pool.label_pool imports hsi_al.active.loop"),
    ("pool.label_pool", "import hsi_al.active.loop as loop", "pool.label_pool imports hsi_al.active.loop"),
    ("pool.label_pool", "from hsi_al import run", "pool.label_pool imports hsi_al.run"),
    ("pool.label_pool", "from ..methods.one import network", "pool.label_pool imports hsi_al.methods.one.network"),
    ("pool.label_pool", "from hsi_al.scenes.scene import Scene", "pool.label_pool imports hsi_al.scenes.scene"),
    ("pool.label_pool", "def f():\n    from hsi_al.cli import job", "pool.label_pool imports hsi_al.cli.job"),
    ("pool.label_pool", "if 1:\n    import hsi_al.cli.job", "pool.label_pool imports hsi_al.cli.job"),
    ("files", "import importlib\nimportlib.import_module('hsi_al.run')", "files imports hsi_al.run"),
    ("errors", "from hsi_al.scenes import scene", "errors imports hsi_al.scenes.scene"),
    ("config.schema", "from hsi_al.methods.room import Method", "config.schema imports hsi_al.methods.room"),
    ("active.loop", "from hsi_al.cli import job", "active.loop imports hsi_al.cli.job"),
    ("report.figures", "from hsi_al.active.loop import Loop", "report.figures imports hsi_al.active.loop"),
    ("report.figures", "from hsi_al.active import Loop", "report.figures imports hsi_al.active"),
    ("novel", "", "novel has no layer"),
    ("scenes.readers", "import torch.nn", "scenes.readers imports torch.nn"),
    ("scenes.readers", "def f():\n    from lightning import Trainer", "scenes.readers imports lightning"),
    ("files", "import torch", "files imports torch"),
    ("methods.room", "import omegaconf", "methods.room imports omegaconf"),
    ("interface.experiment", "def f():\n    import hydra", "interface.experiment imports hydra"),
    ("active.loop", "from hsi_al.interface import experiment", "active.loop imports hsi_al.interface"),
    ("scenes.readers", "from hsi_al import load_scene", "scenes.readers imports hsi_al"),
    ("active.loop", "from hydra.utils import instantiate", "active.loop imports hydra.utils"),
    ("run", "import torch", "run imports torch at start"),
    ("run", "from hsi_al.cli.job import run", "run imports numpy at start"),
    ("config.schema", "class A:\n    import lightning as L", "run imports lightning at start"),
    ("errors", "import numpy", "run imports numpy at start"),
    ("__init__", "import numpy", "run imports numpy at start"),
    ("methods.one.__init__", "import numpy", "methods.one.__init__ imports numpy at start"),
    ("methods.room", "import numpy", "methods.registry imports numpy at start"),
    ("active.loop", "from hsi_al.methods.one import network", "active.experiment imports torch at start"),
    ("active.loop", "if name == 'entropy':\n    pass", "active.loop names entropy"),
    ("active.loop", "y = f'for salinas: {x}'", "active.loop names salinas"),
    ("active.loop", "def f(x='densenet121'):\n    pass", "active.loop names densenet121"),
]


def violations(sources: Sources) -> list[str]:
    return [found for check in CHECKS for found in check(sources)]


def test_the_checks_find_nothing_where_nothing_is() -> None:
    sources = {**FAKE, "config.schema": FAKE["config.schema"] + "from hsi_al.errors import HsiAlError\n"}
    assert violations(sources) == []


@pytest.mark.parametrize(("module", "line", "says"), PLANTED)
def test_the_checks_find_what_is_planted(module: str, line: str, says: str) -> None:
    sources = {**FAKE, "config.schema": FAKE["config.schema"] + "from hsi_al.errors import HsiAlError\n"}
    sources[module] = sources.get(module, "") + line + "\n"
    found = violations(sources)
    assert any(says in text for text in found), found
