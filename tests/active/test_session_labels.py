"""Learning from the labels of a labelling session."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import hsi_al
from hsi_al.active.observers.console import unfair_labels
from hsi_al.active.parts import build_scene
from hsi_al.cli.composition import composed
from hsi_al.config.schema import Config
from hsi_al.errors import SceneError, SessionError
from hsi_al.label.running import opened
from hsi_al.pool.answers import ANSWERS
from hsi_al.pool.journal import Journal
from hsi_al.scenes.checksums import checksum
from tests.conftest import CommandLine, tiny_arrays
from tests.test_bad_input import check_refused


def write_session(folder: Path, shape: tuple[int, int, int], labels: dict[int, int]) -> None:
    """A session of three classes, with one answer changed and one pixel that can't be told."""
    folder.mkdir()
    (folder / "session.json").write_text(json.dumps({"format": "hsi_al session 1", "shape": shape}))
    journal = Journal(folder / ANSWERS)
    for value, name in ((1, "oats"), (2, "corn"), (3, "woods")):
        journal.append({"event": "class", "value": value, "name": name, "key": str(value), "colour": "#336699"})
    first = next(iter(labels))
    told: list[tuple[int, int | None]] = [(first, 3 if labels[first] != 3 else 1), *labels.items(), (0, None)]
    for pixel, answer in told:
        journal.append(
            {"event": "label", "pixels": [pixel], "value": answer, "time": "2026-11-26T12:00:00Z", "who": "a"}
        )


def test_a_run_learns_from_a_session(tmp_path: Path, command_line: CommandLine) -> None:
    cube, truth = tiny_arrays()
    np.save("cube.npy", cube)
    values = {2: 1, 5: 2, 9: 3}
    pixels = [int(pixel) for pixel in np.flatnonzero(truth)[::9]]
    labels = {pixel: values[int(truth.flat[pixel])] for pixel in pixels}
    write_session(Path("session"), (*truth.shape, 6), labels)
    given = ("dataset=custom", "dataset.cube_file=cube.npy", "dataset.labels=session", "learner=lda", "protocol=few")
    quick = ("protocol.initial_size=10", "protocol.rounds=1", "acquisition=margin", "hydra.run.dir=run")
    done = command_line(*given, *quick)
    assert done.code == 0, done.err
    assert "oats" in done.out and f"{len(labels):,} labelled pixels" in done.out
    with h5py.File("run/predictions.h5") as file:
        expected = np.zeros(truth.size, np.uint8)
        expected[list(labels)] = list(labels.values())
        assert np.array_equal(np.asarray(file["ground_truth"]).ravel(), expected)
    for wrong, said in (
        (("dataset.labels=nowhere",), "nowhere"),
        (("dataset.labels=session", "dataset.ground_truth_file=cube.npy"), "takes the place of the ground truth"),
        (
            ("dataset.ignore_labels=[3]", "dataset.unlabelled=255"),
            "leave out dataset.unlabelled and dataset.ignore_labels",
        ),
        (
            ("dataset=indian_pines", "dataset.labels=session", "dataset.cube_file=null"),
            "24 x 26 pixels, but indian_pines",
        ),
    ):
        outcome = command_line(*given, *quick[:-1], *wrong)
        check_refused(outcome.code, outcome.err, said, tmp_path / "outputs")


def test_a_run_on_all_labels_of_a_session_says_that_it_is_not_tested(tmp_path: Path, command_line: CommandLine) -> None:
    cube, truth = tiny_arrays()
    np.save("cube.npy", cube)
    values = {2: 1, 5: 2, 9: 3}
    labels = {int(pixel): values[int(truth.flat[pixel])] for pixel in np.flatnonzero(truth)[::9]}
    n = len(labels)
    write_session(Path("session"), (*truth.shape, 6), labels)
    given = ("dataset=custom", "dataset.cube_file=cube.npy", "dataset.labels=session", "learner=lda", "protocol=few")
    refused = command_line(*given, "acquisition=margin", "protocol.initial_size=1000")
    way_out = f"protocol.initial_size={n} protocol.rounds=0"
    assert refused.code == 2 and f"learn from all at once with {way_out}." in " ".join(refused.err.split())
    assert "at once" not in command_line(*given, "acquisition=margin", "protocol.per_class=3").err
    done = command_line(*given, "acquisition=margin", *way_out.split(), "hydra.run.dir=all")
    assert done.code == 0 and f"All {n} labelled pixels are learnt from in the end" in " ".join(done.err.split())
    part = ("protocol.initial_size=8", "protocol.rounds=0", "acquisition=margin", "split=holdout", "hydra.run.dir=half")
    done = command_line(*given, *part)
    assert done.code == 0 and "asked where its model was unsure" in " ".join(done.err.split())


@pytest.mark.filterwarnings("ignore:session labels other values")
def test_labels_of_other_values_are_told(tmp_path: Path, command_line: CommandLine) -> None:
    cube, truth = tiny_arrays()
    np.save("cube.npy", cube)
    np.save("tile.npy", cube[::-1])
    labels = {int(pixel): 1 + n % 2 for n, pixel in enumerate(np.flatnonzero(truth)[::9])}
    write_session(Path("session"), (*truth.shape, 6), labels)
    about = Path("session/session.json")
    kept = json.loads(about.read_text())
    for file, known, told in (("cube", True, False), ("tile", True, True), ("tile", False, False)):
        about.write_text(json.dumps({**kept, "cube": checksum(cube)} if known else kept))
        scene = hsi_al.load_scene(f"{file}.npy", labels="session")
        assert any("session labels other values than those of" in notice for notice in scene.notices) == told
        assert scene.ground_truth.ravel()[list(labels)].tolist() == list(labels.values())


def test_labels_of_another_place_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterio = pytest.importorskip("rasterio")
    monkeypatch.chdir(tmp_path)
    cube, truth = tiny_arrays()
    for name, left in (("here", 500_000), ("east", 500_120)):
        place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, left, 0, -10, 5_000_000)}
        with rasterio.open(f"{name}.tif", "w", "GTiff", 26, 24, 6, dtype="uint16", **place) as file:
            file.write(np.moveaxis(cube, 2, 0))
    config = composed(
        ["dataset=custom", "dataset.cube_file=here.tif", "protocol=few", "learner=lda", "acquisition=margin"]
    )[0]
    with opened(Path("session"), build_scene(config), config, ["oats", "corn"]) as session:
        for number, pixel in enumerate(np.flatnonzero(truth)[::9].tolist()):
            session.answer(pixel, 1 + number % 2)
    assert hsi_al.load_scene("here.tif", labels="session").n_classes == 2
    with pytest.raises(SceneError, match=r"labels another place than that of .*first corner \(500000.*\(500120"):
        hsi_al.load_scene("east.tif", labels="session")
    np.save("plain.npy", cube)
    assert hsi_al.load_scene("plain.npy", labels="session").n_classes == 2  # it lies nowhere
    about = Path("session/session.json")
    about.write_text(json.dumps(json.loads(about.read_text()) | {"georeference": {"crs": 3}}))
    with pytest.raises(SessionError, match=r"session\.json is damaged"):
        hsi_al.load_scene("here.tif", labels="session")


@pytest.mark.parametrize(
    ("kind", "budget", "session", "said"),
    [
        ("paper", 10, None, "All 10 labelled pixels"),
        ("paper", 9, None, ""),
        ("holdout", 10, None, ""),
        ("paper", 10, "s", "All 10 labelled pixels"),
        ("holdout", 5, "s", "was unsure"),
    ],
)
def test_accuracies_that_say_nothing(kind: str, budget: int, session: str | None, said: str) -> None:
    config = Config()
    config.split.kind, config.dataset.labels = kind, session
    told = unfair_labels(config, budget, 10)
    assert told == "" if said == "" else said in told
