"""The accuracy along the epochs ends at that of the run with the same settings, and the table reads it right."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.checkpoints import __main__ as checkpoints
from hsi_al.methods.deep.learner import DeepSettings
from hsi_al.scenes.scene import Scene
from hsi_al.training.patches import PatchGatherer
from tests.conftest import CommandLine
from tests.experiments.test_compared import tiny


@pytest.mark.usefixtures("no_figures")
def test_watching_changes_nothing_and_the_last_epoch_is_that_of_a_run(
    command_line: CommandLine,
    tiny_scene: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["patch_size=32", "backbone=densenet121", "backbone.stem=s2_pool", "protocol=paper", "acquisition=none"]
    arguments += ["protocol.rounds=0", "protocol.epochs=3", "protocol.initial_size=12", "protocol.full_map=false"]
    outcome = command_line(*(tiny_scene + arguments))
    assert outcome.code == 0, outcome.err
    (run,) = Path("outputs").glob("**/seed=0")
    with (run / "curve.csv").open() as file:
        (row,) = csv.DictReader(file)
    monkeypatch.setattr(checkpoints, "load_catalogue_scene", lambda *_: tiny())
    out = tmp_path / "new" / "rows.csv"
    called = ["checkpoints", str(out), "--epochs=3", "--every=2", "--labels=12", "--seeds=0", "--threads=1"]
    monkeypatch.setattr("sys.argv", called)
    seen: list[float] = []
    predicted = checkpoints.Watcher.predicted

    def watched(watch: checkpoints.Watcher) -> np.ndarray:
        seen.append(sum(float(weights.detach().sum()) for weights in watch.learner.module.parameters()))
        return predicted(watch)

    monkeypatch.setattr(checkpoints.Watcher, "predicted", watched)
    checkpoints.main()
    found = read(out)
    name = "12 random labels, epochs 3"  # all that makes it another training
    assert [(one["training"], one["seed"], one["epoch"]) for one in found] == [
        (name, "0", "2"),
        (name, "0", "3"),
    ]
    assert float(found[1]["oa_all"]) == pytest.approx(float(row["oa_all"]), abs=1e-6)
    assert len(set(seen)) == len(seen) == 2  # the network of each epoch, whatever it has learnt by then

    def again(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(checkpoints, "trained", again)
    checkpoints.main()
    assert read(out) == found
    assert "12 random labels" in capfd.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_averaged_weights_are_those_that_a_run_predicts_with(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["patch_size=32", "backbone=resnet18", "backbone.stem=s2", "protocol=paper", "acquisition=none"]
    arguments += ["protocol.rounds=0", "protocol.epochs=4", "protocol.initial_size=12", "protocol.full_map=false"]
    outcome = command_line(*(tiny_scene + arguments), "protocol.average_weights=0.8", "protocol.augment=true")
    assert outcome.code == 0, outcome.err
    (run,) = Path("outputs").glob("**/seed=0")
    with (run / "curve.csv").open() as file:
        (row,) = csv.DictReader(file)
    monkeypatch.setattr(checkpoints, "load_catalogue_scene", lambda *_: tiny())
    out = tmp_path / "rows.csv"
    called = [
        "checkpoints",
        str(out),
        "--epochs=4",
        "--every=2",
        "--labels=12",
        "--seeds=0",
        "--threads=1",
        "--backbone=resnet18",
        "--stem=s2",
        "--augment",
    ]
    monkeypatch.setattr("sys.argv", [*called, "--average=0.8"])
    checkpoints.main()
    found = {(one["training"], one["epoch"]): one["oa_all"] for one in read(out)}
    name = "12 random labels, backbone resnet18, stem s2, epochs 4, flipped and rotated"
    averaged = f"{name}, weights averaged with decay 0.8"
    assert sorted(found) == [*((name, epoch) for epoch in "24"), *((averaged, epoch) for epoch in "24")]
    assert float(found[averaged, "4"]) == pytest.approx(float(row["oa_all"]), abs=1e-6)
    # The same training without the average, which changes nothing.
    plain = tmp_path / "plain.csv"
    monkeypatch.setattr("sys.argv", ["checkpoints", str(plain), *called[2:]])
    checkpoints.main()
    assert [one["oa_all"] for one in read(plain)] == [found[name, epoch] for epoch in "24"]
    assert found[averaged, "2"] != found[name, "2"] or found[averaged, "4"] != found[name, "4"]


def test_standardised_bands_reach_the_network_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny()
    cube = np.array(scene.cube, np.float32)
    cube[..., 1] = 7  # a constant band
    bands = checkpoints.standardised(replace(scene, source=cube)).cube.reshape(-1, cube.shape[2])
    assert np.delete(bands, 1, axis=1).mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert np.delete(bands, 1, axis=1).std(axis=0) == pytest.approx(1, abs=1e-5)
    assert not bands[:, 1].any()
    assert np.corrcoef(bands[:, 0], cube[..., 0].ravel())[0, 1] == pytest.approx(1)

    taken, augmented = [], []

    def trained(
        scene: Scene, settings: DeepSettings, *_: object, limits: tuple[float, float] | None = None
    ) -> tuple[dict[int, float], dict[int, float]]:
        augmented.append(settings.protocol.augment)
        taken.append((PatchGatherer(scene.cube, 1, limits)(torch.tensor([3])), scene))
        return {4: 0.5}, {}

    monkeypatch.setattr(checkpoints, "trained", trained)
    monkeypatch.setattr(checkpoints, "load_catalogue_scene", lambda *_: tiny())
    monkeypatch.setattr("sys.argv", ["checkpoints", str(tmp_path / "rows.csv"), "--labels=12", "--seeds=0"])
    checkpoints.main()
    monkeypatch.setattr("sys.argv", [*sys.argv, "--standardise", "--augment"])
    checkpoints.main()
    assert augmented == [False, True]
    assert [row["training"] for row in read(tmp_path / "rows.csv")] == [
        "12 random labels",
        "12 random labels, flipped and rotated, every band standardised",
    ]
    (plain, _), (seen, kept) = taken
    pixel = np.unravel_index(3, kept.cube.shape[:2])
    assert seen.numpy().ravel() == pytest.approx(kept.cube[pixel], abs=1e-6)  # also outside of 0 to 1
    assert plain.min() >= 0
    assert plain.max() <= 1


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_table_tells_the_last_epoch_from_the_late_ones_and_the_best() -> None:
    curves = {"0": {4: 0.9, 6: 0.5, 8: 0.7}, "1": {4: 0.6, 6: 0.7, 8: 0.9}}
    rows = [
        {"training": "9 labels that lda few a30e0f90 asked", "seed": seed, "epoch": str(epoch), "oa_all": str(oa)}
        for seed, curve in curves.items()
        for epoch, oa in curve.items()
    ]
    cells = [cell.strip() for cell in checkpoints.table(rows).splitlines()[-1].strip("|").split("|")]
    assert cells == [
        "9 labels that lda few asked",
        "2",
        "3",
        "80.00 ± 14.14",
        "70.00 ± 14.14",
        "60.00 ± 14.14",
        "90.00 ± 0.00",
    ]
    hardly_watched = [{**row, "epoch": str(int(row["epoch"]) // 3 * 4)} for row in rows]  # epochs 4 and 8 of 8
    cells = [cell.strip() for cell in checkpoints.table(hardly_watched).splitlines()[-1].strip("|").split("|")]
    assert cells[1:] == ["2", "2", "80.00 ± 14.14", "-", "-", "-"]
