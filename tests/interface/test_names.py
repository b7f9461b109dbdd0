"""What `import hsi_al` offers, how cheap it is, and that wrong names are refused with the command line's sentences."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.svm import LinearSVC

import hsi_al
from tests.conftest import CommandLine, tiny_arrays


def test_every_name_is_there_and_listed() -> None:
    assert sorted(hsi_al._HOME) == sorted(hsi_al.__all__)
    for name in hsi_al.__all__:
        assert getattr(hsi_al, name).__name__ == name
        assert name in dir(hsi_al)
    assert hsi_al.errors.SceneError is hsi_al.SceneError
    every = {name for name in dir(hsi_al.errors) if name.endswith("Error") and name[0].isupper()}
    assert every - {"SessionError"} <= set(hsi_al.__all__)
    with pytest.raises(AttributeError, match=r"has no attribute 'load_scenes'; it has .*load_scene"):
        _ = hsi_al.load_scenes  # type: ignore[attr-defined]


def test_import_is_cheap() -> None:
    """A process of its own: everything is imported in this one."""
    code = "import hsi_al, sys; dir(hsi_al); print(*{'numpy', 'torch', 'hydra', 'omegaconf'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
    code = "import hsi_al, sys; hsi_al.Experiment, hsi_al.load_scene; print(*{'torch', 'hydra'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.fixture(scope="module")
def tiny() -> hsi_al.Scene:
    return hsi_al.load_scene(*tiny_arrays(), name="indian_pines")


CLASSES: Any = (2, np.int64(99))
CASES: list[tuple[str, Callable[[hsi_al.Scene], object]]] = [
    ("dataset=indian_pine", lambda scene: hsi_al.load_scene("indian_pine")),
    ("dataset.axis=HWB", lambda scene: hsi_al.load_scene("indian_pines", axis="HWB")),
    ("dataset.axes=BHW", lambda scene: hsi_al.load_scene("indian_pines", axes="BHW")),
    ("dataset.classes=[2,99]", lambda scene: hsi_al.load_scene("indian_pines", classes=CLASSES)),
    ("learner=trees", lambda scene: hsi_al.make_learner("trees")),
    ("learner=lda learner.window=[3]", lambda scene: hsi_al.make_learner("lda", window=[3])),
    ("learner=lda learner.windows=3", lambda scene: hsi_al.make_learner("lda", windows=3)),
    ("learner=lda learner.windows=[0]", lambda scene: hsi_al.make_learner("lda", windows=[0])),
    ("backbone=vgg", lambda scene: hsi_al.make_learner("deep", backbone="vgg")),
    ("acquisition=margn", lambda scene: hsi_al.make_acquisition("margn")),
    ("acquisition=margin acquisition.draws=3", lambda scene: hsi_al.make_acquisition("margin", draws=3)),
    ("acquisition.by=x acquisition=margin", lambda s: hsi_al.Experiment(s, acquisition=by_unknown())),
    ("split=block", lambda scene: hsi_al.make_split(scene, "block")),
    ("split=block", lambda scene: hsi_al.Experiment(scene, "block")),
    ("split=holdout split.size=3", lambda scene: hsi_al.make_split(scene, "holdout", size=3)),
    ("split=holdout split.fraction=1", lambda scene: hsi_al.make_split(scene, "holdout", fraction=1.0)),
    ("split=paper split.fold=1", lambda scene: hsi_al.make_split(scene, "paper", fold=1)),
    ("protocol=fw", lambda scene: hsi_al.Experiment(scene, protocol="fw")),
    ("protocol.round=1", lambda scene: hsi_al.Experiment(scene, round=1)),
    ("protocol.rounds=-1", lambda scene: hsi_al.Experiment(scene, rounds=-1)),
    ("protocol.rounds=many", lambda scene: hsi_al.Experiment(scene, rounds="many")),  # type: ignore[arg-type]
    ("seed=-1", lambda scene: hsi_al.Experiment(scene, seed=-1)),
    ("acquisition=none protocol.rounds=2", lambda scene: hsi_al.Experiment(scene, acquisition="none", rounds=2)),
    (
        "learner=jcr acquisition=entropy split=holdout",
        lambda scene: hsi_al.Experiment(hsi_al.load_scene("indian_pines"), learner="jcr", acquisition="entropy"),
    ),
]


def by_unknown() -> Any:
    return hsi_al.make_acquisition("margin", by="x")


@pytest.mark.parametrize(("command", "call"), CASES, ids=[command for command, _ in CASES])
def test_wrong_names_and_values(
    command_line: CommandLine, tiny: hsi_al.Scene, command: str, call: Callable[[hsi_al.Scene], object]
) -> None:
    outcome = command_line(*command.split())
    assert outcome.code == 2
    with pytest.raises(hsi_al.HsiAlError) as refused:
        call(tiny)
    assert " ".join(str(refused.value).split()) == " ".join(outcome.err.removeprefix("hsi_al: error: ").split())


TWO: dict[str, Any] = {"trainer.devices": 2}
FOLD: dict[str, Any] = {"split.fold": 2}
BANDS: dict[str, Any] = {"dataset.bands": [0, 1]}
FEW: dict[str, Any] = {"protocol.max_pixels": 50}
REFUSED: list[tuple[str, Callable[[hsi_al.Scene], object]]] = [
    ("LinearSVC has no predict_proba", lambda scene: hsi_al.make_learner(LinearSVC())),
    ("float has no fit", lambda scene: hsi_al.make_learner(1.0)),  # type: ignore[arg-type]
    ("computes its own features", lambda scene: hsi_al.make_learner("lda", features=np.zeros((3, 2)))),
    ("is no acquisition function", lambda scene: hsi_al.make_acquisition(3)),  # type: ignore[arg-type]
    ("has no labels", lambda scene: hsi_al.Experiment(hsi_al.load_scene(tiny_arrays()[0]))),
    ("has no labels", lambda scene: hsi_al.make_split(hsi_al.load_scene(tiny_arrays()[0]))),
    ("does not exist", lambda scene: hsi_al.load_scene("field.npy")),
    ("give both as files", lambda scene: hsi_al.load_scene(tiny_arrays()[0], "labels.npy")),
    ("say nothing about arrays", lambda scene: hsi_al.load_scene(tiny_arrays()[0], cube_key="cube")),
    ("does not fit the cube", lambda scene: hsi_al.load_scene(tiny_arrays()[0], tiny_arrays()[1].T)),
    ("asks for 20 . 46 x 10", lambda scene: hsi_al.Experiment(scene)),
    ("which the command line starts", lambda scene: hsi_al.make_learner("deep", **TWO)),
    ("no run", lambda scene: hsi_al.load_runs(Path(__file__).parent)),
    ("meta.json", lambda scene: hsi_al.load_run(Path(__file__).parent)),
    ("a mask of shape", lambda scene: hsi_al.make_split(scene, "given", test=np.zeros((2, 2), bool))),
    ("give it dataset.bands", lambda scene: hsi_al.Experiment(scene, **BANDS)),
    ("give it dataset.bands", lambda scene: hsi_al.Experiment(scene, learner=hsi_al.make_learner("lda", **BANDS))),
    ("give it split.fold", lambda scene: hsi_al.Experiment(scene, hsi_al.make_split(scene), **FOLD)),
    ("thins the candidates", lambda scene: hsi_al.Experiment(scene, hsi_al.make_split(scene), protocol="smoke")),
    ("thins the candidates", lambda scene: hsi_al.Experiment(scene, hsi_al.make_split(scene), max_pixels=50)),
    ("leave out protocol.max_pixels here", lambda scene: hsi_al.make_split(scene, **FEW)),
    ("split=given leaves no test pixel", lambda s: hsi_al.make_split(s, "given", test=np.zeros((24, 26), bool))),
]


@pytest.mark.parametrize(("says", "call"), REFUSED, ids=[says for says, _ in REFUSED])
def test_what_only_python_can_ask(tiny: hsi_al.Scene, says: str, call: Callable[[hsi_al.Scene], object]) -> None:
    with pytest.raises(hsi_al.HsiAlError, match=says):
        call(tiny)
