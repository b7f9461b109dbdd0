"""Scenes that stay in their file: the same run as in memory, through the command line, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.methods.deep.learner import DeepLearner
from hsi_al.predict import main as predict_main
from hsi_al.scenes.scene import Scene, save_scene
from hsi_al.scenes.stored import StoredCube
from tests.conftest import CommandLine, tiny_arrays
from tests.fakes import write_matlab73
from tests.test_bad_input import check_refused
from tests.test_run import curve_without_seconds, pool_arrays

ROW_BYTES = 4 * 26 * 6


def stored_scene(folder: Path, tiny_scene: list[str], suffix: str) -> list[str]:
    """The arguments of the tiny scene with its cube in a file that can be read in parts."""
    cube, truth = tiny_arrays()
    path = folder / f"cube{suffix}"
    if suffix == ".npy":
        np.save(path, cube)
    elif suffix == ".mat":
        write_matlab73(path, {"cube": cube})
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", data=cube, chunks=(7, 5, 4), compression="gzip")
    with h5py.File(folder / "truth.h5", "w") as file:
        file.create_dataset("truth", data=truth, chunks=(5, 26))
    kept = [argument for argument in tiny_scene if "_file=" not in argument and "_key=" not in argument]
    return [*kept, f"dataset.cube_file={path}", f"dataset.ground_truth_file={folder / 'truth.h5'}"]


def results(run: Path) -> dict[str, object]:
    with h5py.File(run / "predictions.h5") as file:
        maps = {name: file[name][:].tolist() for name in ("class_map", "ground_truth", "rgb")}
    with h5py.File(run / "confusion.h5") as file:
        confusions = {name: file[name][:].tolist() for name in ("all", "heldout")}
    return {**maps, **confusions, "pool": pool_arrays(run), "curve": curve_without_seconds(run)}


@pytest.mark.parametrize(
    ("suffix", "rows", "arguments"),
    [
        (".h5", 5, ["acquisition=entropy"]),
        (".npy", 1, ["acquisition=margin", "acquisition.subset=50", "split=holdout", "patch_size=17", "seed=3"]),
        # It reads single pixels: such patches would be more than mirror padding of the scene allows.
        (".mat", 7, ["acquisition=loss_prediction", "backbone=spectral", "patch_size=53"]),
    ],
)
def test_a_cube_in_its_file_gives_the_run_of_one_in_memory(
    command_line: CommandLine,
    tiny_scene: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    rows: int,
    arguments: list[str],
) -> None:
    monkeypatch.setattr("hsi_al.training.patches.STRIP_BYTES", rows * ROW_BYTES)
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 3 * ROW_BYTES)
    monkeypatch.setattr("hsi_al.methods.base.PART", 3 * 74)
    scene = [*stored_scene(tmp_path, tiny_scene, suffix), "protocol.full_map=true", *arguments]
    for in_memory in ("true", "false"):
        outcome = command_line(*scene, f"dataset.in_memory={in_memory}", f"hydra.run.dir={tmp_path / in_memory}")
        assert outcome.code == 0, outcome.err
    assert results(tmp_path / "false") == results(tmp_path / "true")
    assert predict_main([str(tmp_path / "false"), str(tmp_path / f"cube{suffix}")]) == 0
    with h5py.File(tmp_path / "false/predictions/cube/class_map.h5") as file:
        class_map = file["class_map"][:]
    assert class_map.tolist() == results(tmp_path / "true")["class_map"]
    # The same run continues, wherever the cube is.
    again = command_line(*scene, "dataset.in_memory=auto", f"hydra.run.dir={tmp_path / 'true'}")
    assert "is finished already" in again.out


def test_auto_decides_by_size_learner_and_file(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def stop(self: DeepLearner, cube: object, *_: object) -> None:
        asked.append(isinstance(cube, StoredCube))
        raise OSError("far enough")

    monkeypatch.setattr(DeepLearner, "__init__", stop)
    stored = stored_scene(tmp_path, tiny_scene, ".h5")
    size = 24 * ROW_BYTES / 1e9
    scene_file = tmp_path / "scene.h5"
    cube, truth = tiny_arrays()
    save_scene(Scene("field", cube, truth, {}), scene_file)
    whole = [argument for argument in stored if "_file=" not in argument] + [f"dataset.cube_file={scene_file}"]
    for arguments in (
        stored,
        [*stored, f"dataset.memory_gb={size}"],
        [*stored, f"dataset.memory_gb={0.999 * size}"],
        [*whole, "dataset.memory_gb=0"],
        [*tiny_scene, "dataset.memory_gb=0"],  # compressed MATLAB 5
    ):
        command_line(*arguments)
    assert asked == [False, False, True, True, False]
    outcome = command_line(*stored, "dataset.memory_gb=0", "learner=emp_svm", "protocol.rounds=0")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_names_file_and_rows(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 5 * 26 * 6 * 8)
    scene = stored_scene(tmp_path, tiny_scene, ".npy")
    cube = tiny_arrays()[0].astype(np.float64)
    cube[12, 25, 5] = value
    np.save(tmp_path / "cube.npy", cube)
    outcome = command_line(*scene, "dataset.in_memory=false")
    check_refused(outcome.code, outcome.err, f"{tmp_path / 'cube.npy'}, rows 10 to 14", tmp_path)


def test_what_cannot_be_read_in_parts(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path) -> None:
    stored, off = stored_scene(tmp_path, tiny_scene, ".h5"), "dataset.in_memory=false"
    np.save(tmp_path / "flat.npy", np.full((24, 26, 6), 7))
    for arguments, words in (
        ([*tiny_scene, off], "save the cube with MATLAB's -v7.3 or as .npy or HDF5 file"),
        ([*stored, off, "learner=emp_svm"], "learner=emp_svm needs the whole cube, but dataset.in_memory=false"),
        ([*stored, off, "learner=jcr"], "learner=jcr needs the whole cube"),
        ([*stored, "dataset.in_memory=maybe"], "dataset.in_memory=maybe is unknown; choose one of auto, true, false"),
        (["dataset=indian_pines", "protocol=smoke", off], "is not possible for indian_pines of the catalogue"),
        ([*stored, off, "patch_size=51"], "patch_size=51 is larger than mirror padding of a 24x26 scene allows"),
        ([*stored, off, f"dataset.cube_file={tmp_path / 'flat.npy'}"], "every value of the cube"),
        ([*stored, off, "dataset.cube_key=no"], "no array with the key 'no'"),
        ([*stored, off, f"dataset.ground_truth_file={tmp_path / 'flat.npy'}"], "(height, width) is needed"),
    ):
        outcome = command_line(*arguments)
        check_refused(outcome.code, outcome.err, words, tmp_path)
