"""A new method, backbone, acquisition function or file format is a file or folder, found without a list to edit."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from hsi_al import acquisition, methods
from hsi_al.acquisition.registry import SCORES, acquisitions
from hsi_al.methods import registry
from hsi_al.methods.deep import backbones
from hsi_al.methods.deep.backbones import registry as backbone_registry
from hsi_al.scenes import formats
from hsi_al.scenes.readers import opened_rows, read_array
from tests.conftest import CommandLine, tiny_arrays

NEIGHBOURS = """
    from dataclasses import dataclass

    from hsi_al.config.schema import LearnerConfig
    from hsi_al.methods.room import Method, Task, settings_in
    from hsi_al.options import option


    @dataclass
    class NeighboursConfig(LearnerConfig):
        k: int = option(3, "pixels that vote", low=1)


    def build(task: Task):
        from sklearn.neighbors import KNeighborsClassifier

        from hsi_al.methods.base import RefittedLearner
        from hsi_al.outputs import Outputs

        class Neighbours(RefittedLearner):
            def describe(self):
                return "nearest spectra"

            def work(self, n_labelled, n_predicted):
                return f"{n_predicted} pixels against {n_labelled}"

            def fit(self, pixel_ids, labels, round_, rng):
                self.model = KNeighborsClassifier(settings_in(task.config, NeighboursConfig).k)
                self.model.fit(spectra[pixel_ids], labels)

            def predict(self, pixel_ids):
                return Outputs(self.model.predict(spectra[pixel_ids]))

        spectra = task.array.reshape(-1, task.array.shape[2]).astype(float)
        return Neighbours()


    METHOD = Method("NAME", "nearest neighbours", NeighboursConfig, build)
"""


@pytest.fixture(autouse=True)
def found_anew(no_figures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is found once per process is looked for again, before and after."""
    found = (registry.own_methods, registry.added_methods, backbone_registry.networks)
    before = set(sys.modules)
    for function in found:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in found:
        function.cache_clear()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))


def without(scene: list[str], *keys: str) -> list[str]:
    return [argument for argument in scene if argument.split("=")[0] not in keys]


def test_a_learner_is_a_folder_and_a_yaml(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path / "rooms")])
    write(tmp_path / "rooms/neighbours/__init__.py", NEIGHBOURS.replace("NAME", "neighbours"))
    yaml = "defaults: [neighbours_schema, _self_]\nname: neighbours\nmethod: neighbours-${learner.k}\n"
    write(tmp_path / "conf/learner/neighbours.yaml", yaml)
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    scene = [*without(tiny_scene, "backbone", "acquisition"), search, "learner=neighbours", "acquisition=random"]
    outcome = command_line(*scene, "learner.k=1")
    assert outcome.code == 0, outcome.err
    assert "learner: nearest spectra" in outcome.out
    assert Path("outputs/main/tiny/neighbours-1/random/smoke-paper/seed=0/curve.csv").exists()
    wrong = command_line(*scene, "learner.k=0")
    assert (wrong.code, wrong.err) == (2, "hsi_al: error: learner.k=0 must be 1 or more.\n")
    wrong = command_line(*without(scene, "acquisition"), "acquisition=entropy")
    assert "learner=neighbours can't give probabilities_NC" in wrong.err
    assert "choose one of acquisition=random" in wrong.err


def test_another_package_adds_a_learner_by_an_entry_point(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    write(site / "their_package.py", NEIGHBOURS.replace("NAME", "theirs"))
    about = site / "their_package-1.0.dist-info"
    write(about / "METADATA", "Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    write(about / "entry_points.txt", "[hsi_al.learners]\ntheirs = their_package:METHOD\n")
    scene = [*without(tiny_scene, "backbone", "acquisition"), "acquisition=random", "protocol.rounds=0"]
    outcome = command_line(*scene, "learner=theirs", "learner.k=2")
    assert outcome.code == 0, outcome.err
    assert Path("outputs/main/tiny/theirs/random/smoke-paper/seed=0/curve.csv").exists()
    assert "There is no learner 'their'" in command_line(*scene, "learner=their").err
    registry.added_methods.cache_clear()
    write(about / "entry_points.txt", "[hsi_al.learners]\ntheirs = their_package:build\n")
    wrong = command_line(*scene)
    assert wrong.code == 2
    assert wrong.err == (
        "hsi_al: error: their_package:build is no hsi_al.methods.room.Method; fix or uninstall its package.\n"
    )
    write(about / "entry_points.txt", "[hsi_al.learners]\njcr = their_package:absent\n")
    assert "The learner jcr (their_package:absent) can't be imported" in command_line(*scene).err
    write(site / "their_package.py", NEIGHBOURS.replace("NAME", "jcr"))
    write(about / "entry_points.txt", "[hsi_al.learners]\njcr = their_package:METHOD\n")
    del sys.modules["their_package"]
    assert "their_package:METHOD takes the name jcr of another learner" in command_line(*scene).err


def test_a_backbone_is_a_file_and_a_yaml(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path / "files")])
    text = """
        from hsi_al.methods.deep.backbones.base import Network, Plan
        from hsi_al.methods.deep.backbones.lenet import LeNet

        NETWORKS = {"mynet": Network(lambda plan: LeNet(plan.n_bands, plan.n_classes, plan.patch_size))}
    """
    write(tmp_path / "files/mynet.py", text)
    write(tmp_path / "conf/backbone/mynet.yaml", "name: mynet\n")
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    outcome = command_line(*without(tiny_scene, "backbone"), search, "backbone=mynet", "protocol.rounds=1")
    assert outcome.code == 0, outcome.err
    assert "learner: mynet, 15,781 parameters" in outcome.out


def test_an_acquisition_function_is_a_function_and_a_yaml(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquisition, "__path__", [*acquisition.__path__, str(tmp_path / "files")])
    text = """
        from hsi_al.acquisition.registry import score


        @score("gini")
        def gini_N(probabilities_NC):
            return 1 - (probabilities_NC.astype(float) ** 2).sum(axis=1)
    """
    write(tmp_path / "files/impurity.py", text)
    write(tmp_path / "conf/acquisition/gini.yaml", "name: gini\n")
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    try:
        outcome = command_line(*without(tiny_scene, "acquisition"), search, "acquisition=gini", "protocol.rounds=1")
        assert outcome.code == 0, outcome.err
        assert "gini" in acquisitions()
        assert Path("outputs/main/tiny/deep-lenet/gini/smoke-paper/seed=0/curve.csv").exists()
    finally:
        SCORES.pop("gini", None)


def test_a_file_format_is_a_file(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "files")])
    text = """
        import numpy as np

        from hsi_al.scenes.arrays import Format


        def read(path, key):
            height, width, bands = (int(word) for word in path.open().readline().split())
            return np.loadtxt(path, skiprows=1).reshape(height, width, bands)


        FORMATS = (Format((".words",), read),)
    """
    write(tmp_path / "files/words.py", text)
    cube, truth = tiny_arrays()
    with (tmp_path / "cube.words").open("w") as file:
        file.write("24 26 6\n")
        np.savetxt(file, cube.reshape(-1, 6), fmt="%d")
    np.save(tmp_path / "truth.npy", truth)
    assert np.array_equal(read_array(tmp_path / "cube.words"), cube)
    assert np.array_equal(opened_rows(tmp_path / "cube.words").read(3, 5, 1, 4), cube[3:5, 1:4])
    files = [f"dataset.cube_file={tmp_path / 'cube.words'}", f"dataset.ground_truth_file={tmp_path / 'truth.npy'}"]
    keys = ("dataset.cube_file", "dataset.cube_key", "dataset.ground_truth_key")
    outcome = command_line(*without(tiny_scene, *keys), *files, "protocol.rounds=0", "acquisition=none")
    assert outcome.code == 0, outcome.err
    outcome = command_line(*without(tiny_scene, *keys), *files, "dataset.in_memory=false")
    assert outcome.code == 2 and "can't be read in parts" in outcome.err


def test_the_sweep_of_the_tables_has_every_method(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line("-m", "experiment=table", *without(tiny_scene, "backbone", "acquisition"), "seed=-1")
    assert outcome.code == 2
    failed = [line for line in outcome.err.splitlines() if line.startswith("hsi_al: job")]
    swept = set(re.findall(r"\blearner=(\w+)", " ".join(failed)))
    assert swept == {name for name, method in registry.own_methods().items() if method.compared}, outcome.err
    assert {"emp_svm", "nearest_label"} <= swept and not {"deep", "lda"} & swept


LOADED = """
import json, sys
from hsi_al.run import main
found = []
for learner in ("emp_svm", "jcr", "lda", "profile_trees", "vote", "nearest_label"):
    code = main([*sys.argv[2:], f"learner={learner}"])
    found.append([learner, code, sorted({name.split(".")[0] for name in sys.modules})])
json.dump(found, open(sys.argv[1], "w"))
"""


@pytest.mark.slow
def test_learners_without_gradients_load_neither_torch_nor_lightning(tiny_scene: list[str], tmp_path: Path) -> None:
    scene = [*without(tiny_scene, "backbone", "acquisition"), "acquisition=random", "protocol.full_map=true"]
    command = [sys.executable, "-c", LOADED, str(tmp_path / "loaded.json"), *scene]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "loaded.json").read_text())
    assert len(found) == 6
    for learner, code, loaded in found:
        assert code == 0, (learner, done.stderr)
        assert {"sklearn", "scipy", "numpy"} <= set(loaded)
        assert not {"torch", "lightning", "torchmetrics", "wandb"} & set(loaded), learner
