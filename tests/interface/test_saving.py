"""What `Experiment.save` writes is what the command line leaves of the same run."""

import csv
import json
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from sklearn.naive_bayes import GaussianNB

import hsi_al
from hsi_al.active.run_directory import RunDirectory
from hsi_al.predict import main as predict
from hsi_al.report.run_checks import check_run, finished_run
from tests.conftest import CommandLine, tiny_arrays

NUMBERS: dict[str, Any] = {"rounds": 2, "query_size": 4, "initial_size": 12, "threads": 1}


@pytest.fixture(scope="module")
def tiny() -> hsi_al.Scene:
    return hsi_al.load_scene(*tiny_arrays(), name="tiny")


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "curve.csv").open(encoding="utf-8") as lines:
        return [
            {name: cell for name, cell in row.items() if not name.startswith("seconds_")}
            for row in csv.DictReader(lines)
        ]


def arrays_of(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {**{name: file[name][:].tolist() for name in file}, **dict(file.attrs)}


@pytest.mark.parametrize("learner", ["lda", "profile_trees"])
def test_a_saved_run_is_that_of_the_command_line(
    command_line: CommandLine, tmp_path: Path, no_figures: None, learner: str
) -> None:
    rasterio = pytest.importorskip("rasterio")
    cube, truth = tiny_arrays()
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open("field.tif", "w", "GTiff", 26, 24, 6, dtype="uint16", **place) as file:
        file.write(np.moveaxis(cube, 2, 0))
    np.save("labels.npy", truth)
    numbers = [f"protocol.{key}={NUMBERS[key]}" for key in ("rounds", "query_size", "initial_size")]
    dataset = ["dataset=custom", "dataset.name=field", "dataset.cube_file=field.tif"]
    named = [
        "trainer.threads=1",
        f"learner={learner}",
        "acquisition=margin",
        "split=holdout",
        "split.fold=1",
        "protocol=few",
    ]
    outcome = command_line(*dataset, "dataset.ground_truth_file=labels.npy", *named, *numbers, "hydra.run.dir=theirs")
    assert outcome.code == 0, outcome.err
    scene = hsi_al.load_scene("field.tif", "labels.npy", name="field")
    split = hsi_al.make_split(scene, "holdout", fold=1)
    experiment = hsi_al.Experiment(scene, split, learner, "margin", **NUMBERS)
    experiment.run()
    ours, theirs = experiment.save(tmp_path / "deep" / "ours"), tmp_path / "theirs"
    names = {path.name for path in theirs.iterdir()} - {"lock"}
    assert {path.name for path in ours.iterdir()} == names | {"figures"}
    assert {"map.tif", "map.qml", "uncertainty.tif", "labels.gpkg", "report.html", "weights_2.h5"} <= names
    assert rows_of(ours) == rows_of(theirs) and len(rows_of(ours)) == 3
    for name in ("pool.h5", "confusion.h5", "predictions.h5"):
        assert arrays_of(ours / name) == arrays_of(theirs / name)
    for name in ("map.tif", "uncertainty.tif"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    check_run(ours, weights=True)
    meta = json.loads((ours / "meta.json").read_text())
    other = json.loads((theirs / "meta.json").read_text())
    assert meta["command"] == "hsi_al.Experiment.save" and meta["state"] == "finished" and meta["stopped"] is None
    own = {"command", "wandb_id", "wall_seconds", "peak_memory_mb", "seal", "checksum"}
    assert {key: meta[key] for key in meta.keys() - own} == {key: other[key] for key in other.keys() - own}
    assert meta["wall_seconds"] > sum(row["seconds_fit"] for row in experiment._parts.records.rows) > 0
    run = hsi_al.load_run(ours)
    assert run.class_map.tolist() == experiment.class_map.tolist() and len(run.labelled["label"]) == 20
    assert predict([str(ours), "field.tif", "--output", "predicted"]) == 0
    with h5py.File("predicted/class_map.h5") as file:
        assert file["class_map"][:].tolist() == experiment.class_map.tolist()
    again = command_line(
        *dataset,
        "dataset.ground_truth_file=labels.npy",
        *named,
        *numbers,
        f"hydra.run.dir={ours}",
        "experiment.name=python",
    )
    assert again.code == 0 and "finished already" in again.out, again.err
    for name, folder in (("python", ours), ("main", theirs)):
        longer = [f"hydra.run.dir={folder}", f"experiment.name={name}", "protocol.rounds=3"]
        outcome = command_line(*dataset, "dataset.ground_truth_file=labels.npy", *named, *numbers[1:], *longer)
        assert outcome.code == 0 and "continuing at round 3" in outcome.out, outcome.err
    assert rows_of(ours) == rows_of(theirs) and len(rows_of(ours)) == 4


def test_an_experiment_is_saved_between_its_rounds_and_goes_on(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    whole = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    whole.run()
    experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    experiment.step()
    first = experiment.save(tmp_path / "first")
    assert len(experiment.labelled["label"]) == 16  # with the query, which the saved run doesn't have
    run = hsi_al.load_run(first)
    assert run.curve["n_labelled"].tolist() == [12] and len(run.labelled["label"]) == 12
    assert run.class_map.tolist() == experiment.class_map.tolist()
    check_run(first, weights=True)
    assert finished_run(first)
    meta = json.loads((first / "meta.json").read_text())
    assert meta["stopped"] == {"round": 0, "reason": "saved after round 0 of 2"}
    assert yaml.safe_load((first / "config.yaml").read_text())["protocol"]["rounds"] == 2
    experiment.run()
    for name, values in whole.curve.items():
        if not name.startswith("seconds_"):
            assert experiment.curve[name].tolist() == values.tolist()
    assert whole.labelled["pixel_id"].tolist() == experiment.labelled["pixel_id"].tolist()
    (tmp_path / "empty").mkdir()
    assert rows_of(experiment.save(tmp_path / "empty")) == rows_of(whole.save(str(tmp_path / "whole")))


def test_the_curve_of_a_loaded_run_has_all_columns(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    for name, level in (("plain", None), ("stable", 0.99)):
        experiment = hsi_al.Experiment(tiny, learner="lda", stop_when_stable=level, **NUMBERS)
        curve, loaded = experiment.run(), hsi_al.load_run(experiment.save(tmp_path / name)).curve
        assert list(loaded) == list(curve) and ("agreement" in loaded) == (name == "stable")
        for column, values in curve.items():
            np.testing.assert_array_equal(loaded[column], values)


def test_a_network_is_saved(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    learner = hsi_al.make_learner("deep", backbone="small", patch_size=5, **{"trainer.accelerator": "cpu"})
    experiment = hsi_al.Experiment(tiny, "paper", learner, "entropy", protocol="smoke", **NUMBERS)
    experiment.run(1)
    path = experiment.save(tmp_path / "run")
    assert (path / "weights_0.pt").exists()
    np.save(tmp_path / "cube.npy", tiny_arrays()[0])
    assert predict([str(path), str(tmp_path / "cube.npy"), "--output", str(tmp_path / "predicted")]) == 0
    with h5py.File(tmp_path / "predicted/class_map.h5") as file:
        assert file["class_map"][:].tolist() == experiment.class_map.tolist()


def test_what_cannot_be_saved(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    with pytest.raises(hsi_al.ConfigurationError, match="No round was played"):
        experiment.save(tmp_path / "run")
    experiment.step()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(hsi_al.RunDirectoryError, match=rf"{name} exists and isn't empty; name a folder"):
            experiment.save(tmp_path / name)
    own = hsi_al.Experiment(tiny, learner=GaussianNB(), **NUMBERS)
    own.step()
    with pytest.raises(hsi_al.LearnerError, match="GaussianNB is a learner of your own"):
        own.save(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file"}
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_function_without_a_name_cannot_be_saved(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    def rare(probabilities_NC: np.ndarray, class_index: int = 0) -> np.ndarray:
        return -probabilities_NC[:, class_index]

    for acquisition in (lambda probabilities_NC: -probabilities_NC[:, 0], partial(rare, class_index=1)):
        nameless = hsi_al.Experiment(tiny, learner="lda", acquisition=acquisition, **NUMBERS)
        nameless.step()
        with pytest.raises(hsi_al.ConfigurationError, match=r"acquisition function is a lambda or a partial.*with def"):
            nameless.save(tmp_path / "run")

    truth = tiny.ground_truth.ravel()
    for oracle in (lambda ids: truth[ids], partial(np.take, truth)):
        experiment = hsi_al.Experiment(tiny, learner="lda", oracle=oracle, **NUMBERS)
        experiment.step()
        with pytest.raises(hsi_al.ConfigurationError, match=r"The oracle is a lambda or a partial.*with def"):
            experiment.save(tmp_path / "run")

    def margin(probabilities_NC: np.ndarray) -> np.ndarray:
        return -probabilities_NC[:, 0]

    with pytest.raises(hsi_al.ConfigurationError, match="There is an acquisition function margin already"):
        hsi_al.Experiment(tiny, learner="lda", acquisition=margin, **NUMBERS)
    assert list(tmp_path.iterdir()) == []


def test_saved_runs_say_what_makes_them_differ(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    """The guard of a split that was made for another learner, given test pixels, and an oracle of the caller's own."""
    truth = tiny.ground_truth.ravel()

    def played(name: str, seed: int, split: Any = "holdout", **more: Any) -> str:
        experiment = hsi_al.Experiment(tiny, split, "lda", seed=seed, **more, **NUMBERS)
        experiment.step()
        return str(experiment.save(tmp_path / name).name)

    def blocks(window: int) -> hsi_al.Split:
        learner = hsi_al.make_learner("lda", windows=[window], patch_size=1)
        return hsi_al.make_split(tiny, "blocks", learner=learner, block_size=8)

    def careless(ids: np.ndarray) -> np.ndarray:
        return np.full(len(ids), 2)

    tests = [np.isin(np.arange(truth.size), np.flatnonzero(truth)[part::3]).reshape(24, 26) for part in (0, 1)]
    played("wide", 0, blocks(9))
    played("narrow", 1, blocks(3))
    played("test-0", 0, hsi_al.make_split(tiny, "given", test=tests[0]))
    played("test-1", 1, hsi_al.make_split(tiny, "given", test=tests[1]))
    played("clean", 0)
    played("careless", 1, oracle=careless)
    assert sorted(map(len, hsi_al.load_runs(tmp_path).values())) == [1] * 6
    played("clean-2", 2)
    assert sorted(map(len, hsi_al.load_runs(tmp_path).values())) == [1] * 5 + [2]

    def worse(ids: np.ndarray) -> np.ndarray:
        return np.full(len(ids), 5)

    played("worse", 1, oracle=worse)
    played("worse-2", 2, oracle=worse)
    assert sorted(map(len, hsi_al.load_runs(tmp_path).values())) == [1] * 5 + [2] * 2


def test_the_points_of_a_saved_run_are_what_was_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterio, pyogrio = pytest.importorskip("rasterio"), pytest.importorskip("pyogrio")
    monkeypatch.chdir(tmp_path)
    cube, truth = tiny_arrays()
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open("field.tif", "w", "GTiff", 26, 24, 6, dtype="uint16", **place) as file:
        file.write(np.moveaxis(cube, 2, 0))
    np.save("labels.npy", truth)

    def careless(ids: np.ndarray) -> np.ndarray:
        return np.where(ids % 2, 9, truth.ravel()[ids])

    experiment = hsi_al.Experiment(
        hsi_al.load_scene("field.tif", "labels.npy"), learner="lda", oracle=careless, **NUMBERS
    )
    experiment.run()
    path, labelled = experiment.save("run"), experiment.labelled
    meta, _, _, columns = pyogrio.raw.read(path / "labels.gpkg", columns=["value", "name"])
    values, names = (dict(zip(meta["fields"], columns, strict=True))[key] for key in ("value", "name"))
    assert values.tolist() == labelled["label"].tolist() != truth.ravel()[labelled["pixel_id"]].tolist()
    assert names.tolist() == [experiment.scene.class_names[value] for value in values.tolist()]


def test_nothing_half_written_stays(tiny: hsi_al.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    experiment.step()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "write_predictions", full)
        with pytest.raises(OSError, match="No space left"):
            experiment.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert hsi_al.load_run(experiment.save(tmp_path / "run")).title.startswith("tiny, lda, margin")


def test_a_checkout_that_is_not_installed_has_a_version(
    tiny: hsi_al.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "hsi_al":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("hsi_al.active.meta.version", version)
    experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    experiment.step()
    meta = json.loads((experiment.save(tmp_path / "run") / "meta.json").read_text())
    assert meta["versions"]["hsi_al"] == hsi_al.__version__ and meta["versions"]["torch"] == "1"


def test_a_function_of_ones_own_gives_its_name(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    def smallest(probabilities_NC: np.ndarray) -> np.ndarray:
        largest: np.ndarray = probabilities_NC.max(axis=1)
        return -largest

    experiment = hsi_al.Experiment(tiny, learner="lda", acquisition=smallest, **NUMBERS)
    experiment.run()
    path = experiment.save(tmp_path / "run")
    assert hsi_al.load_run(path).title == "tiny, lda, smallest, protocol few, split holdout, seed 0"
    (series,) = hsi_al.load_runs(tmp_path).values()
    assert len(series) == 1
    np.save(tmp_path / "cube.npy", tiny_arrays()[0])
    assert predict([str(path), str(tmp_path / "cube.npy"), "--output", str(tmp_path / "predicted")]) == 0
