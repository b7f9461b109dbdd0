"""The main job through the real command line."""

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hsi_al import manifest
from hsi_al.acquisition.registry import acquisitions
from hsi_al.active.run_directory import RunDirectory, locked
from hsi_al.predict import main as predict_main
from hsi_al.report.__main__ import main as main_of_report
from hsi_al.report.run_checks import check_run
from hsi_al.scenes.scene import Scene, save_scene
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.processes import start, wait_for

TINY_RUN = Path("outputs/main/tiny/deep-lenet/entropy/smoke-paper/seed=0")


def curve_without_seconds(run: Path) -> list[dict[str, str]]:
    with (run / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def pool_arrays(run: Path) -> dict[str, list[int]]:
    with h5py.File(run / "pool.h5") as file:
        return {name: file[name][:].tolist() for name in ("pixel_id", "labelled_at", "label")}


def test_a_run_leaves_readable_files(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line(*tiny_scene, "protocol.full_map=true")
    assert outcome.code == 0, outcome.err
    run = TINY_RUN
    assert "round 2/2: 20 labels" in outcome.out
    for name in ("learning_curve", "map", "query_map", "confusion"):
        picture = run / "figures" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert str(picture) in outcome.out
    rows = curve_without_seconds(run)
    assert [(row["round"], row["n_labelled"]) for row in rows] == [("0", "12"), ("1", "16"), ("2", "20")]
    _, truth = tiny_arrays()
    pool = {name: np.array(values) for name, values in pool_arrays(run).items()}
    labelled = pool["labelled_at"] >= 0
    assert np.array_equal(pool["pixel_id"], np.flatnonzero(truth))
    assert np.bincount(pool["labelled_at"][labelled]).tolist() == [12, 4, 4]
    assert np.array_equal(pool["label"][labelled], truth.ravel()[pool["pixel_id"][labelled]])
    assert not pool["label"][~labelled].any()
    with h5py.File(run / "confusion.h5") as file:
        last, values = file["all"][-1], file["label_values"][:]
        assert file["heldout"][-1].sum() == (truth > 0).sum() - 20
    assert values.tolist() == [2, 5, 9]
    assert last.sum(axis=1).tolist() == [(truth == value).sum() for value in values]
    assert float(rows[-1]["oa_all"]) == pytest.approx(np.trace(last) / last.sum())
    with h5py.File(run / "predictions.h5") as file:
        class_map = file["class_map"][:]
        assert np.array_equal(file["ground_truth"][:], truth)
    predicted = class_map[truth > 0]
    assert (predicted == truth[truth > 0]).mean() == pytest.approx(float(rows[-1]["oa_all"]))
    assert set(np.unique(class_map)) <= {2, 5, 9}
    meta = json.loads((run / "meta.json").read_text())
    assert (meta["state"], meta["calls"], meta["threads"]) == ("finished", 1, 1)
    overlap = meta["test_pixels_in_training_patches"]
    width, at = truth.shape[1], pool["labelled_at"]
    for when, known in (("initial", at == 0), ("last", labelled)):
        far = np.abs(pool["pixel_id"][:, None] // width - pool["pixel_id"][known] // width + 0.5)
        aside = np.abs(pool["pixel_id"][:, None] % width - pool["pixel_id"][known] % width + 0.5)
        inside = ((np.maximum(far, aside) < 8).any(axis=1) & ~known).sum()  # windows [i - 8, i + 8)
        assert overlap[when] == {"labels": known.sum(), "inside": inside, "heldout": (~known).sum()}
    assert overlap["patch_size"] == 16
    assert f"Test pixels inside a training patch (16 x 16): {overlap['initial']['inside']:,} of" in outcome.out
    with (run / "curve.csv").open() as opened:
        assert meta["wall_seconds"] > sum(float(row["seconds_fit"]) for row in csv.DictReader(opened)) > 0
    assert not list(run.glob("*.tmp")) + list(run.glob(".*.tmp"))


def test_a_finished_run_returns_at_once_and_another_configuration_is_refused(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    assert command_line(*tiny_scene).code == 0
    before = (TINY_RUN / "curve.csv").stat().st_mtime_ns
    again = command_line(*tiny_scene, "debug=true", "data_dir=elsewhere")
    assert again.code == 0
    assert "finished already" in again.out
    assert "20" in again.out
    other = command_line(*tiny_scene, "protocol.epochs=3", "protocol.lr=0.01")
    assert other.code == 2
    assert "protocol.epochs (2 -> 3), protocol.lr (0.001 -> 0.01)" in other.err
    assert (TINY_RUN / "curve.csv").stat().st_mtime_ns == before


LONGER = {
    "fresh weights": [],
    "the weights of the round before": ["protocol.warm_start=true"],
    "dropout masks": ["acquisition=bald", "acquisition.draws=4", "backbone.dropout=0.3"],
    "another learner asks": ["acquisition=margin", "acquisition.by=lda"],
    "stable predictions": ["protocol.stop_when_stable=0.999"],
    "no weights": ["learner=svm", "protocol.full_map=true"],
}


@pytest.mark.parametrize("arguments", LONGER.values(), ids=list(LONGER))
@pytest.mark.usefixtures("no_figures")
def test_a_finished_run_that_is_given_more_rounds_is_the_longer_run(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    if "learner" in "".join(arguments):
        tiny_scene.remove("backbone=lenet")

    def run(folder: Path, rounds: int) -> None:
        outcome = command_line(*tiny_scene, *arguments, f"protocol.rounds={rounds}", f"hydra.run.dir={folder}")
        assert outcome.code == 0, outcome.err
        if folder == longer and rounds > 0:
            assert f"Labels: 12 + {rounds} x 4 = {12 + rounds * 4} of" in outcome.out

    run(whole, 2)
    run(longer, 0)
    run(longer, 2)
    assert pool_arrays(longer) == pool_arrays(whole)
    assert curve_without_seconds(longer) == curve_without_seconds(whole)
    assert {path.name for path in longer.iterdir()} == {path.name for path in whole.iterdir()}
    meta = json.loads((longer / "meta.json").read_text())
    assert (meta["state"], meta["calls"]) == ("finished", 2)
    if (whole / "predictions.h5").exists():
        with h5py.File(longer / "predictions.h5") as ours, h5py.File(whole / "predictions.h5") as theirs:
            assert np.array_equal(ours["class_map"][:], theirs["class_map"][:])


@pytest.mark.parametrize(
    ("where", "when", "calls"),
    [
        (RunDirectory, "remove_leftovers", 1),
        (RunDirectory, "write_meta", 1),
        (RunDirectory, "write_config", 1),
        (manifest, "write_manifest", 1),  # config.yaml isn't replaced yet
        (manifest, "write_manifest", 2),  # nor is pool.h5
        (RunDirectory, "write_round", 1),
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_a_run_that_is_given_more_rounds_can_be_killed_at_any_moment(
    command_line: CommandLine,
    tiny_scene: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    when: str,
    calls: int,
) -> None:
    whole, killed = [f"hydra.run.dir={tmp_path / name}" for name in ("whole", "killed")]
    assert command_line(*tiny_scene, whole, "protocol.rounds=2").code == 0
    assert command_line(*tiny_scene, killed, "protocol.rounds=1").code == 0
    original, numbers = getattr(where, when), itertools.count(1)

    def done_and_then_killed(*arguments: object, **keys: object) -> None:
        original(*arguments, **keys)
        if next(numbers) == calls:
            raise OSError(f"killed after {when}")

    with monkeypatch.context() as patch:
        patch.setattr(where, when, done_and_then_killed)
        assert f"killed after {when}" in command_line(*tiny_scene, killed, "protocol.rounds=2").err
    assert command_line(*tiny_scene, killed, "protocol.rounds=2").code == 0
    assert pool_arrays(tmp_path / "killed") == pool_arrays(tmp_path / "whole")
    assert curve_without_seconds(tmp_path / "killed") == curve_without_seconds(tmp_path / "whole")


@pytest.mark.usefixtures("no_figures")
def test_the_maps_of_the_shorter_run_are_gone_once_it_continues(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = [*tiny_scene, "protocol.full_map=true", "hydra.run.dir=run"]
    assert command_line(*mapped, "protocol.rounds=1").code == 0
    run, maps = Path("run"), ("predictions.h5", "map.tif", "figures/map.png")
    for name in maps:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_round", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        stopped = command_line(*mapped, "protocol.rounds=2")
    assert stopped.code == 2 and "was finished with round 1 and goes on to round 2" in stopped.out
    assert not any((run / name).exists() for name in maps)
    check_run(run, weights=True)
    listed = manifest.read_manifest(run)
    assert listed is not None and "predictions.h5" not in listed.files
    again = command_line(*mapped, "protocol.rounds=2")
    assert again.code == 0, again.err
    assert (run / "predictions.h5").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_run_of_an_earlier_version_without_its_dropout_masks(
    command_line: CommandLine, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = [*tiny_scene, "acquisition=bald", "acquisition.draws=4", "backbone.dropout=0.3", "hydra.run.dir=run"]
    save = torch.save
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", lambda state, file: save({key: state[key] for key in ("weights", "limits")}, file))
        assert command_line(*masked, "protocol.rounds=1", "protocol.full_map=true").code == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir() if path.is_file()}
    more = command_line(*masked, "protocol.rounds=2", "protocol.full_map=true")
    assert more.code == 2 and "which didn't keep the dropout masks that acquisition=bald asks by" in more.err
    assert {path.name: path.read_bytes() for path in Path("run").iterdir() if path.is_file()} == before
    unfinish(Path("run"))  # killed before its map, which needs no masks
    assert command_line(*masked, "protocol.rounds=1", "protocol.full_map=true").code == 0
    asked = ["protocol.labels_from=run", "acquisition=margin", "hydra.run.dir=another", "protocol.rounds=1"]
    assert command_line(*tiny_scene, *asked).code == 0  # as the sentence says


@pytest.mark.usefixtures("no_figures")
def test_more_rounds_than_pixels_and_fewer_rounds_are_refused(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    assert command_line(*tiny_scene).code == 0
    before = {path.name: path.read_bytes() for path in TINY_RUN.iterdir() if path.is_file()}
    fewer = command_line(*tiny_scene, "protocol.rounds=1")
    assert fewer.code == 2
    assert "protocol.rounds (2 -> 1)" in fewer.err
    other = command_line(*tiny_scene, "protocol.rounds=3", "protocol.epochs=3")
    assert other.code == 2
    assert "another configuration: protocol.epochs (2 -> 3); " in other.err
    more = command_line(*tiny_scene, "protocol.rounds=1000")
    assert more.code == 2
    assert "lower protocol.rounds (to " in more.err
    inherited = [*tiny_scene, f"protocol.labels_from='{TINY_RUN}'", f"hydra.run.dir={tmp_path / 'inherited'}"]
    assert command_line(*inherited, "protocol.rounds=0").code == 0
    too_many = command_line(*inherited, "protocol.rounds=1000")
    assert too_many.code == 2
    assert "asks for 20 + 1000 x 4" in too_many.err
    assert {path.name: path.read_bytes() for path in TINY_RUN.iterdir() if path.is_file()} == before


def test_run_directory_can_be_chosen(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path) -> None:
    assert command_line(*tiny_scene, f"hydra.run.dir={tmp_path / 'mine'}").code == 0
    assert (tmp_path / "mine" / "curve.csv").exists()
    assert not (tmp_path / "outputs").exists()


RUN_WITH_OPTIONS = (
    *("loss_prediction", "loss_prediction_diverse", "margin", "least_confidence", "random", "entropy", "none"),
    *("bald", "badge"),
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["acquisition=loss_prediction", "backbone=resnet18"],
        ["acquisition=loss_prediction", "backbone=resnet18", "learner.fuse=concat", "learner.detach=null"],
        ["acquisition=margin", "split=holdout", "protocol.initial=stratified", "learner.class_weights=balanced"],
        ["acquisition=least_confidence", "split=checkerboard", "split.block_size=12", "patch_size=16"],
        ["acquisition=random", "protocol.initial=per_class", "protocol.warm_start=false", "seed=7"],
        ["acquisition=entropy", "acquisition.subset=20", "protocol.min_per_class=1", "backbone.dropout=0.5"],
        ["acquisition=none", "protocol.rounds=0", "protocol.schedule=cosine"],
        ["protocol.initial=typiclust", "protocol.rounds=0", "acquisition=none"],
        ["acquisition=bald", "acquisition.draws=4", "backbone.dropout=0.3"],
        ["acquisition=badge", "acquisition.subset=30", "acquisition.min_distance=3", "acquisition.class_balance=true"],
        ["acquisition=loss_prediction_diverse", "backbone=resnet18", "acquisition.shortlist=3"],
        [
            "protocol.augment=true",
            "protocol.schedule=cosine",
            "protocol.lr_warm_up=0.2",
            "protocol.label_smoothing=0.1",
        ],
        ["protocol.average_weights=0.9", "acquisition=loss_prediction", "backbone=resnet18"],
        ["protocol.batch_size=64", "protocol.schedule=one_cycle", "trainer.channels_last=false"],
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_options_run(command_line: CommandLine, tiny_scene: list[str], arguments: list[str]) -> None:
    outcome = command_line(*tiny_scene, *arguments)
    assert outcome.code == 0, outcome.err
    assert "Work: " in outcome.out


@pytest.mark.parametrize("name", [name for name in acquisitions() if name not in RUN_WITH_OPTIONS])
@pytest.mark.usefixtures("no_figures")
def test_every_other_acquisition_runs(command_line: CommandLine, tiny_scene: list[str], name: str) -> None:
    outcome = command_line(*tiny_scene, f"acquisition={name}", "protocol.rounds=1", "protocol.max_pixels=60")
    assert outcome.code == 0, outcome.err
    assert "16" in outcome.out


@pytest.mark.usefixtures("no_figures")
def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert command_line(*tiny_scene, f"seed={seed}", f"hydra.run.dir={tmp_path / name}").code == 0
    a, b, c = (pool_arrays(tmp_path / name)["labelled_at"] for name in "abc")
    assert a == b
    assert a != c
    assert curve_without_seconds(tmp_path / "a") == curve_without_seconds(tmp_path / "b")


@pytest.mark.usefixtures("no_figures")
def test_strategies_share_the_initial_labels_of_a_seed(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    initial = []
    for name in ("entropy", "random"):
        assert command_line(*tiny_scene, f"acquisition={name}", f"hydra.run.dir={tmp_path / name}").code == 0
        pool = pool_arrays(tmp_path / name)
        initial.append([i for i, at in zip(pool["pixel_id"], pool["labelled_at"], strict=True) if at == 0])
    assert initial[0] == initial[1]


@pytest.mark.slow
@pytest.mark.parametrize("warm", ["true", "false"])
def test_a_killed_run_continues_to_the_same_curve_and_pool(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, warm: str
) -> None:
    arguments = [*tiny_scene, f"protocol.warm_start={warm}", "protocol.rounds=6", "protocol.full_map=true"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert command_line(*arguments, f"hydra.run.dir={whole}").code == 0
    process = start([*arguments, f"hydra.run.dir={killed}"], tmp_path)
    wait_for(killed / "pool.h5", process)
    time.sleep(0.15)
    process.kill()
    process.communicate()
    assert json.loads((killed / "meta.json").read_text())["state"] == "running"
    outcome = command_line(*arguments, f"hydra.run.dir={killed}")
    assert outcome.code == 0, outcome.err
    assert "continuing at round" in outcome.out
    assert pool_arrays(killed) == pool_arrays(whole)
    assert curve_without_seconds(killed) == curve_without_seconds(whole)
    with h5py.File(killed / "predictions.h5") as ours, h5py.File(whole / "predictions.h5") as theirs:
        assert np.array_equal(ours["class_map"][:], theirs["class_map"][:])


@pytest.mark.slow
def test_interrupted_by_the_user_it_says_how_to_continue(tiny_scene: list[str], tmp_path: Path) -> None:
    arguments = [*tiny_scene, "protocol.rounds=20", "protocol.epochs=20", "protocol.warm_epochs=20"]
    process = start(arguments, tmp_path)
    wait_for(tmp_path / TINY_RUN / "pool.h5", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().endswith("interrupted; run the same command to continue.")
    assert "Traceback" not in err


def test_a_second_process_is_refused(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path) -> None:
    run = tmp_path / TINY_RUN
    run.mkdir(parents=True)
    with locked(run):
        outcome = command_line(*tiny_scene)
    assert outcome.code == 2
    assert "Another process is using" in outcome.err
    assert not (run / "config.yaml").exists()


@pytest.mark.usefixtures("no_figures")
def test_one_failing_job_of_a_multirun_leaves_the_others_alone(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    outcome = command_line("-m", *tiny_scene, "seed=0,1", "acquisition=none,entropy")
    assert outcome.code == 2
    failed = [line for line in outcome.err.splitlines() if line.startswith("hsi_al: job")]
    assert len(failed) == 2
    assert outcome.err.strip().splitlines()[2:] == [
        "hsi_al: error: 2 job(s) of the multirun failed; the others went on."
    ]
    assert all("acquisition=none never queries" in line for line in failed)
    for seed in (0, 1):
        run = TINY_RUN.parent / f"seed={seed}"
        assert f"│ {run} │ finished │" in outcome.out
        assert json.loads((run / "meta.json").read_text())["state"] == "finished"


@pytest.mark.usefixtures("no_figures")
def test_wrappers_have_folders_of_their_own(command_line: CommandLine, tiny_scene: list[str]) -> None:
    sweep = ["acquisition.min_distance=null,3", "acquisition.class_balance=false,true", "protocol.rounds=1"]
    outcome = command_line("-m", *tiny_scene, *sweep)
    assert outcome.code == 0, outcome.err
    asked = [
        "entropy",
        "entropy-class_balance=true",
        "entropy-min_distance=3",
        "entropy-min_distance=3-class_balance=true",
    ]
    assert sorted(run.parents[1].name for run in Path("outputs").rglob("seed=0")) == asked
    compared = main_of_report(["compare", "outputs", "--output", "outputs/compared"])
    assert compared == 0
    text = Path("outputs/compared/comparison.md").read_text()
    assert "| acquisition.class_balance=True, acquisition.min_distance=3 |" in text


@pytest.mark.slow
def test_parallel_jobs_end_with_a_summary_and_a_failing_one_is_named(tiny_scene: list[str], tmp_path: Path) -> None:
    arguments = [
        "-m",
        *(argument for argument in tiny_scene if not argument.startswith("backbone")),
        "learner=emp_svm",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "acquisition=none,entropy,random",
    ]
    process = start([*arguments, "trainer.threads=null"], tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    failed, last = [line for line in err.splitlines() if line.startswith("hsi_al: ")]
    assert failed.startswith("hsi_al: job 0 (") and "acquisition=none never queries" in failed
    assert last == "hsi_al: error: 1 job(s) of the multirun failed; the others went on."
    assert "Error executing job" not in err
    for acquisition in ("entropy", "random"):
        run = Path(str(TINY_RUN).replace("deep-lenet/entropy", f"emp_svm/{acquisition}"))
        assert re.search(f"│ {run} +│ finished │", out)
        meta = json.loads((tmp_path / run / "meta.json").read_text())
        assert meta["threads"] == int(os.environ["OMP_NUM_THREADS"])  # conftest sees to it


def test_names_and_bands_of_a_scene_of_ones_own(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line(*tiny_scene, "dataset.class_names=[Corn,Rye,Oats]", "dataset.rgb_bands=[3,2,1]")
    assert outcome.code == 0, outcome.err
    meta = json.loads((TINY_RUN / "meta.json").read_text())
    assert meta["class_names"] == {"2": "Corn", "5": "Rye", "9": "Oats"}
    assert meta["rgb_bands"] == [3, 2, 1]


@pytest.mark.usefixtures("no_figures")
def test_classes_that_a_spatial_split_lacks_are_named(command_line: CommandLine, tiny_scene: list[str]) -> None:
    arguments = ["split=checkerboard", "split.block_size=13", "patch_size=16", "protocol.rounds=0", "acquisition=none"]
    outcome = command_line(*tiny_scene, *arguments)
    assert outcome.code == 0, outcome.err
    assert "No patch of a candidate holds a test pixel; patches of both sides may share background" in outcome.out
    run = Path("outputs/main/tiny/deep-lenet/none/smoke-checkerboard/seed=0")
    with h5py.File(run / "confusion.h5") as file:
        lacking = file["label_values"][:][file["heldout"][-1].sum(axis=1) == 0].tolist()
    assert json.loads((run / "meta.json").read_text())["missing_classes"]["test"] == lacking


@pytest.mark.usefixtures("no_figures")
def test_a_guard_smaller_than_the_patches_gives_a_warning(command_line: CommandLine, tiny_scene: list[str]) -> None:
    arguments = ["split=blocks", "split.block_size=12", "patch_size=16", "protocol.rounds=0", "acquisition=none"]
    outcome = command_line(*tiny_scene, *arguments, "split.guard=3", "split.fold=1")
    assert outcome.code == 0, outcome.err
    assert "Question that split=blocks asks: map ground without labels" in outcome.out
    assert "in the 3 x 3 pixels around a candidate; this learner's patches of 16 x 16 pixels may hold" in outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith("hsi_al: warning: split.guard=3 is smaller than this learner's patches of 16 x 16 pixels")
    run = Path("outputs/main/tiny/deep-lenet/none/smoke-blocks-guard=3-fold=1/seed=0")
    meta = json.loads((run / "meta.json").read_text())
    assert meta["test_pixels_in_training_patches"]["last"]["inside"] > 0
    assert meta["title"].endswith("split blocks, fold 1, seed 0")


def test_pictures_that_cannot_be_drawn_cost_no_run(
    command_line: CommandLine, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 7.0 GiB")

    monkeypatch.setattr("hsi_al.report.figures.confusion_figure", fail)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_image", fail)
    outcome = command_line(*tiny_scene, "learner=emp_svm", "logger=tensorboard")
    assert outcome.code == 0, outcome.err
    run = next(Path("outputs").rglob("meta.json")).parent
    assert json.loads((run / "meta.json").read_text())["state"] == "finished"
    assert [path.name for path in (run / "figures").iterdir()] == ["learning_curve.png"]
    warnings = outcome.err.splitlines()
    assert len(warnings) == 2 and all(line.startswith("hsi_al: warning: ") for line in warnings)
    assert "confusion.png is left out (MemoryError: Unable to allocate 7.0 GiB)" in warnings[0]
    assert "learning_curve.png in TensorBoard is left out" in warnings[1]
    assert "colours as in the map" in outcome.out and "██ #3366BB" in outcome.out


def test_deleted_pictures_are_drawn_again(command_line: CommandLine, tiny_scene: list[str]) -> None:
    assert command_line(*tiny_scene).code == 0
    for picture in (TINY_RUN / "figures").iterdir():
        picture.unlink()
    assert "learning_curve.png" in command_line(*tiny_scene).out
    assert (TINY_RUN / "figures" / "learning_curve.png").exists()


def test_every_run_of_a_sweep_has_a_folder_of_its_own(
    command_line: CommandLine, tiny_scene: list[str], no_figures: None, tmp_path: Path
) -> None:
    """Also where the keys swept over aren't part of its usual name."""
    fast = [argument for argument in tiny_scene if not argument.startswith("backbone")]
    swept = [
        *fast,
        "-m",
        "protocol.rounds=0,1",
        "learner=lda",
        "learner.windows=[1],[1,3]",
        "acquisition=margin,random",
    ]
    refused = command_line(*swept, "hydra.run.dir=elsewhere")
    assert refused.code == 2 and "names the folder of a single run; in a sweep take hydra.sweep.dir" in refused.err
    assert not (tmp_path / "outputs").exists()
    outcome = command_line(*swept)
    assert outcome.code == 0, outcome.err
    found = {path.parent.relative_to("outputs/main/tiny/lda").as_posix() for path in Path("outputs").rglob("meta.json")}
    assert found == {
        f"{name}/smoke-paper/protocol.rounds={rounds}/learner.windows={windows}/seed=0"
        for name in ("margin", "random")
        for rounds in (0, 1)
        for windows in ("1", "1_3")
    }
    outcome = command_line(*swept, "hydra.sweep.subdir=${protocol.rounds}-${acquisition.name}-${learner.windows}")
    assert outcome.code == 0, outcome.err
    assert [len(curve_without_seconds(Path("outputs") / f"{rounds}-margin-[1]")) for rounds in "01"] == [1, 2]


def test_a_sweep_with_an_unknown_option_runs_nothing(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line("-m", *tiny_scene, "acquisition=entropy,margins")
    assert outcome.code == 2
    assert "There is no acquisition 'margins'; choose one of badge, bald, breaking_ties" in outcome.err
    assert not Path("outputs").exists()


def test_help_and_configuration_answer_without_loading_torch() -> None:
    code = (
        "import sys; from hsi_al.run import main; code = main(sys.argv[1:]); "
        "assert code == 0 and not {'torch', 'lightning', 'numpy', 'scipy'} & set(sys.modules), code"
    )
    for arguments, expected in ((["--help"], "acquisition: badge, bald"), (["--cfg", "job"], "initial_size: 160")):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_predict_applies_a_finished_run(
    command_line: CommandLine,
    tiny_scene: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    assert command_line(*tiny_scene, "protocol.full_map=true", f"hydra.run.dir={run}").code == 0
    cube, _ = tiny_arrays()
    np.save(tmp_path / "same.npy", cube)
    np.save(tmp_path / "part.npy", cube[:20, :, :])
    np.save(tmp_path / "bands.npy", cube[:, :, :4])
    assert predict_main([str(run), str(tmp_path / "same.npy")]) == 0
    with h5py.File(run / "predictions/same/class_map.h5") as ours, h5py.File(run / "predictions.h5") as theirs:
        assert np.array_equal(ours["class_map"][:], theirs["class_map"][:])
    assert (run / "predictions/same/map.png").exists()
    monkeypatch.setattr("hsi_al.training.patches.STRIP_BYTES", 5 * 26 * 6 * 4)  # five rows at a time
    with h5py.File(tmp_path / "strips.h5", "w") as file:
        file.create_dataset("deep/cube", data=cube, chunks=(4, 26, 6))
    assert predict_main([str(run), str(tmp_path / "strips.h5"), "--key", "deep/cube"]) == 0
    with h5py.File(run / "predictions/strips/class_map.h5") as ours, h5py.File(run / "predictions.h5") as theirs:
        assert np.array_equal(ours["class_map"][:], theirs["class_map"][:])
    one, other = (run / f"predictions/{name}/map.png" for name in ("same", "strips"))
    assert abs(one.stat().st_size - other.stat().st_size) < 1000  # the title differs
    assert predict_main([str(run), str(tmp_path / "part.npy"), "--output", str(tmp_path / "out")]) == 0
    with h5py.File(tmp_path / "out/class_map.h5") as file:
        assert file["class_map"].shape == (20, 26)
        assert file["label_values"][:].tolist() == [2, 5, 9]
        assert file["class_names"].asstr()[:].tolist() == ["class 2", "class 5", "class 9"]
    scene = Scene("field", cube, tiny_arrays()[1].astype(np.int64), {})
    save_scene(scene, tmp_path / "scene.h5")
    assert predict_main([str(run), str(tmp_path / "scene.h5"), "--accelerator", "cpu"]) == 0
    assert (run / "predictions/scene/class_map.h5").exists()
    capfd.readouterr()
    for arguments, words in (
        ([str(run), str(tmp_path / "bands.npy")], "trained on 6 bands"),
        ([str(run), str(tmp_path / "absent.npy")], "absent.npy"),
        ([str(tmp_path), str(tmp_path / "same.npy")], "no finished run"),
    ):
        assert predict_main(arguments) == 2
        assert words in capfd.readouterr().err
