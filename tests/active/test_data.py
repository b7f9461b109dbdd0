"""A run knows its data by their values: changed ones are refused, moved ones are not; finished runs need no writing."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hsi_al.manifest import Manifest, read_manifest, sealed, write_manifest
from hsi_al.report.series import series_of
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.test_run import TINY_RUN

Arguments = list[str]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a scene and a finished run on it are made once."""
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def scene(command_line: CommandLine, tiny_scene: Arguments, tmp_path: Path, once: Path, no_figures: None) -> Arguments:
    """Arguments of a finished run in `tmp_path / "run"`, but for the files of its scene, which are in `tmp_path`."""
    short = ["learner=emp_svm", "learner.components=2", "learner.radii=[1]", "protocol.rounds=0", "acquisition=none"]
    gone = ("dataset.cube", "dataset.ground", "backbone", "patch_size", "acquisition")
    arguments = [*(argument for argument in tiny_scene if not argument.startswith(gone)), *short]
    if not (once / "run").exists():
        cube, truth = tiny_arrays()
        np.save(once / "cube.npy", cube)
        np.save(once / "truth.npy", truth)
        assert command_line(*arguments, *at(once), f"hydra.run.dir={once / 'run'}").code == 0
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return [*arguments, f"hydra.run.dir={tmp_path / 'run'}"]


def at(folder: Path) -> Arguments:
    return [f"dataset.cube_file={folder / 'cube.npy'}", f"dataset.ground_truth_file={folder / 'truth.npy'}"]


def test_changed_data_are_refused_and_moved_ones_are_not(
    command_line: CommandLine, scene: Arguments, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for name, place, part in (("cube", (3, 4, 5), "cube"), ("truth", (1, 1), "ground truth")):
        good = np.load(tmp_path / f"{name}.npy")
        changed = good.copy()
        changed[place] = good[place] + 3 if name == "cube" else 0
        stamp = (tmp_path / f"{name}.npy").stat()
        np.save(tmp_path / f"{name}.npy", changed)
        os.utime(tmp_path / f"{name}.npy", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # neither size nor time tells
        outcome = command_line(*scene, *at(tmp_path))
        assert outcome.code == 2 and f"another {part} of tiny: the data changed" in outcome.err
        assert len(outcome.err.splitlines()) == 1
        np.save(tmp_path / f"{name}.npy", good)
    (tmp_path / "moved").mkdir()
    for name in ("cube", "truth"):
        (tmp_path / f"{name}.npy").rename(tmp_path / "moved" / f"{name}.npy")
    gone = command_line(*scene, *at(tmp_path))
    assert gone.code == 2 and f"{tmp_path}/truth.npy does not exist" in gone.err, (
        "nothing says that these would be the data"
    )
    moved = command_line(*scene, *at(tmp_path / "moved"))
    assert moved.code == 0 and "finished already" in moved.out and "not compared" not in moved.out
    unfinish(run)
    assert command_line(*scene, *at(tmp_path / "moved")).code == 0
    assert "moved" in (run / "config.yaml").read_text()
    (tmp_path / "moved").rename(tmp_path / "away")
    gone = command_line(*scene, *at(tmp_path / "moved"))
    assert gone.code == 0 and "The data were not compared with those of the run" in gone.out
    (tmp_path / "away").rename(tmp_path / "moved")
    unfinish(run)
    np.save(tmp_path / "moved" / "cube.npy", np.load(tmp_path / "moved" / "cube.npy") + 1)
    outcome = command_line(*scene, *at(tmp_path / "moved"))
    assert outcome.code == 2 and "another cube of tiny" in outcome.err


def test_a_run_of_an_earlier_version_gets_its_manifest(
    command_line: CommandLine, scene: Arguments, tmp_path: Path, once: Path
) -> None:
    run = tmp_path / "run"
    kept = read_manifest(run)
    (run / "manifest.json").unlink()
    outcome = command_line(*scene, *at(tmp_path))
    assert outcome.code == 2 and "dataset.cube_file" in outcome.err, "without checksums the path counts"
    assert command_line(*scene, *at(once)).code == 0
    assert not (run / "manifest.json").exists(), "a finished run is only reported"
    unfinish(run)
    assert command_line(*scene, *at(once)).code == 0
    again = read_manifest(run)
    assert kept is not None and again is not None
    assert again.data == kept.data and again.files.keys() == kept.files.keys()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path / "lock"))
    yield


def test_a_finished_run_is_reported_where_nothing_can_be_written(
    command_line: CommandLine, scene: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    files = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    monkeypatch.setattr("hsi_al.active.experiment.locked", read_only)
    outcome = command_line(*scene, *at(tmp_path))
    assert outcome.code == 0 and "finished already" in outcome.out
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == files
    unfinish(run)
    outcome = command_line(*scene, *at(tmp_path))
    assert outcome.code == 2 and "Read-only file system" in outcome.err and "isn't read-only" in outcome.err


def test_a_file_system_without_locks(
    command_line: CommandLine, tiny_scene: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", without)
    outcome = command_line(*tiny_scene)
    assert outcome.code == 2 and "lies on a file system without file locks" in outcome.err
    assert not TINY_RUN.exists()


def seeds(tmp_path: Path, sums: list[str | None]) -> list[Path]:
    """Runs of seed 0, 1, ... with equal settings, read from different folders."""
    paths = []
    for seed, value in enumerate(sums):
        path = tmp_path / f"seed={seed}"
        path.mkdir()
        meta = {"state": "finished", "title": f"scene, net, entropy, seed {seed}", "class_names": {"1": "a"}}
        (path / "config.yaml").write_text(f"seed: {seed}\ndataset:\n  cube_file: /data{seed}/cube.npy\n")
        columns = "round,n_labelled,oa_all,aa_all,kappa_all,oa_heldout,aa_heldout,kappa_heldout"
        columns += ",seconds_fit,seconds_predict,seconds_query"
        (path / "curve.csv").write_text(f"{columns}\n0,4{',0.5' * 9}\n")
        (path / "meta.json").write_text(sealed(meta))
        if value is not None:
            write_manifest(path, Manifest(data={"cube": value, "ground_truth": "t"}))
        paths.append(path)
    return paths


def test_seeds_are_pooled_by_their_data_not_by_their_paths(tmp_path: Path) -> None:
    cases: list[tuple[list[str | None], list[list[int]]]] = [
        (["a", "a"], [[0, 1]]),
        (["a", "b"], [[0], [1]]),
        ([None, None], [[0], [1]]),
        (["a", None], [[0], [1]]),
    ]
    for index, (sums, groups) in enumerate(cases):
        (tmp_path / str(index)).mkdir()
        found = series_of(seeds(tmp_path / str(index), sums))
        assert [[run.trial.seed for run in series.runs] for series in found] == groups, sums
