"""Learners on spectra and the null model through the command line, on the tiny scene."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.methods import strips
from hsi_al.pool.cold_start import draw_cold
from hsi_al.predict import main as predict_main
from hsi_al.randomness import generator
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.test_large import results, stored_scene

SPECTRA = ["lda", "svm", "random_forest"]
EVERY = [*SPECTRA, "profile_trees", "vote", "nearest_label"]


@pytest.fixture
def scene(tiny_scene: list[str]) -> list[str]:
    dropped = ("patch_size", "backbone", "acquisition")
    kept = [argument for argument in tiny_scene if not argument.startswith(dropped)]
    return [*kept, "protocol.full_map=true"]


def own(learner: str) -> list[str]:
    """The learner, with options that all its computations take part in, and an acquisition of its outputs."""
    options = {
        "lda": ["learner.derivatives=true", "acquisition=margin"],
        "svm": ["learner.windows=[1,3]", "acquisition=entropy"],
        "random_forest": ["learner.trees=20", "learner.unit_length=true", "acquisition=least_confidence"],
        "profile_trees": ["learner.trees=20", "learner.sigmas=[1]", "learner.radii=[1,2]", "acquisition=margin"],
        "vote": ["learner.smooth=[1,0]", "acquisition=margin"],
        "nearest_label": ["acquisition=margin"],
    }
    return [f"learner={learner}", *options[learner]]


def map_of(path: Path) -> list[list[int]]:
    with h5py.File(path) as file:
        found: list[list[int]] = file["class_map"][:].tolist()
    return found


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("learner", EVERY)
def test_a_run_is_the_same_wherever_its_cube_is_and_maps_its_own_cube_again(
    learner: str, command_line: CommandLine, scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 5 * 4 * 26 * 6)
    monkeypatch.setattr("hsi_al.methods.features.CHUNK", 100)
    stored = [*stored_scene(tmp_path, scene, ".npy"), *own(learner)]
    for name, memory in (("true", 4), ("false", 0)):
        options = [f"dataset.in_memory={name}", f"dataset.memory_gb={memory}", f"hydra.run.dir={tmp_path / name}"]
        outcome = command_line(*stored, *options)
        assert outcome.code == 0, outcome.err
    first = results(tmp_path / "true")
    assert results(tmp_path / "false") == first
    truth = tiny_arrays()[1]
    assert (np.array(first["class_map"])[truth > 0] == truth[truth > 0]).mean() > 0.9
    kept = [path.name for path in (tmp_path / "true").glob("weights*")]
    code = predict_main([str(tmp_path / "true"), str(tmp_path / "cube.npy")])
    if learner == "nearest_label":
        assert kept == [] and code == 2
        return
    assert kept == ["weights_2.h5"] and code == 0
    assert map_of(tmp_path / "true/predictions/cube/class_map.h5") == first["class_map"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("learner", ["profile_trees", "vote", "nearest_label"])
def test_a_run_interrupted_before_its_map_continues_from_what_it_kept(
    learner: str, command_line: CommandLine, scene: list[str], tmp_path: Path
) -> None:
    arguments = [*scene, *own(learner), f"hydra.run.dir={tmp_path / 'run'}"]
    assert command_line(*arguments).code == 0
    maps = (tmp_path / "run/predictions.h5").read_bytes()
    (tmp_path / "run/predictions.h5").unlink()
    unfinish(tmp_path / "run")
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run/predictions.h5").read_bytes() == maps


@pytest.mark.usefixtures("no_figures")
def test_a_map_of_another_cube(
    command_line: CommandLine, scene: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    outcome = command_line(*scene, "learner=lda", "acquisition=random", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.err
    cube, truth = tiny_arrays()
    np.save(tmp_path / "tile.npy", cube[::-1, 3:])
    np.save(tmp_path / "small.npy", cube[:3])
    np.save(tmp_path / "unit.npy", cube / 1e4)
    assert predict_main([str(run), str(tmp_path / "tile.npy")]) == 0
    found, turned = np.array(map_of(run / "predictions/tile/class_map.h5")), truth[::-1, 3:]
    assert (found[turned > 0] == turned[turned > 0]).mean() > 0.9
    capfd.readouterr()
    assert predict_main([str(run), str(tmp_path / "small.npy")]) == 2
    assert "windows larger than the scene of 3 x 26 pixels" in capfd.readouterr().err
    assert predict_main([str(run), str(tmp_path / "unit.npy")]) == 2
    assert "is it in another unit?" in capfd.readouterr().err
    (run / "weights_2.h5").write_bytes(b"damaged")
    assert predict_main([str(run), str(tmp_path / "tile.npy")]) == 2
    error = capfd.readouterr().err
    assert "weights_2.h5 is missing or corrupted" in error and error.count("\n") == 1


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("learner", ["profile_trees", "lda", "vote", "nearest_label"])
def test_the_first_labels_may_come_from_clusters_of_features(
    learner: str, command_line: CommandLine, scene: list[str], tmp_path: Path
) -> None:
    pools = []
    for number, options in enumerate([[], ["seed=1"], ["protocol.initial=uniform"], []]):
        few = [argument for argument in scene if argument != "protocol=smoke"]
        short = ["protocol=few", "protocol.rounds=0", "protocol.full_map=false", "acquisition=none"]
        run = f"hydra.run.dir={tmp_path / str(number)}"
        outcome = command_line(*few, *short, f"learner={learner}", *options, run)
        assert outcome.code == 0, outcome.err
        with h5py.File(tmp_path / str(number) / "pool.h5") as file:
            pools.append(file["pixel_id"][:][file["labelled_at"][:] == 0].tolist())
    assert pools[0] == pools[3] and len(pools[0]) == 12
    assert pools[0] != pools[2]
    if learner == "nearest_label":
        candidates = np.flatnonzero(tiny_arrays()[1])
        places = np.column_stack(np.divmod(candidates, 26))
        for seed in (0, 1):
            rng = generator(seed, "initial")
            assert pools[seed] == draw_cold(candidates, places, 12, "kmeans", rng, features=True).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learner=svm", "learner.windows=[2]"], "learner.windows=[2] must be one or more odd sides"),
        (["learner=lda", "learner.windows=[]"], "learner.windows=[] must be one or more odd sides"),
        (["learner=random_forest", "learner.windows=[-1]"], "learner.windows=[-1] must be 1 or more"),
        (["learner=lda", "learner.windows=[0]"], "learner.windows=[0] must be 1 or more"),
        (["learner=svm", "learner.windows=[1,25]"], "larger than the scene of 24 x 26 pixels; take 24 at most"),
        (
            ["learner=jcr", "acquisition=random", "protocol.initial=kmeans", "protocol.initial_on=features"],
            "learner=jcr has no features before it has learnt from labels; take protocol.initial_on=spectra",
        ),
        (["learner=profile_trees", "learner.sigmas=[0]"], "learner.sigmas=[0.0] must be above 0"),
        (["learner=profile_trees", "learner.radii=[0]"], "learner.radii=[0] must be 1 or more"),
        (["learner=profile_trees", "learner.components=624"], "learner.components=624 need a scene of more than 624"),
        (["learner=random_forest", "learner.trees=0"], "learner.trees=0 must be 1 or more"),
        (["learner=svm", "learner.trees=5"], "There is no key trees in learner;"),
        (["learner=vote", "learner.members=[lda,jcr]"], "learner.members=[lda,jcr] must be one or more different"),
        (["learner=vote", "learner.smooth=[4]"], "learner.smooth=[4.0] must have one number for each"),
        (["learner=vote", "learner.smooth=[-1,0]"], "learner.smooth=[-1.0, 0.0] must be 0 or more"),
        (["learner=nearest_label", "acquisition=bald"], "learner=nearest_label can't give mc_probabilities_NKC"),
        (["learner=lda", "split=blocks", "learner.windows=[9999]"], ""),
    ],
)
def test_bad_input(command_line: CommandLine, scene: list[str], arguments: list[str], message: str) -> None:
    outcome = command_line(*scene, "acquisition=random", *arguments)
    assert outcome.code == 2
    assert message in outcome.err, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not Path("outputs").exists()
