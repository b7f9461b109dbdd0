import csv
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsi_al.active.run_directory import RunDirectory, discard_uncommitted, locked, remove_if_empty
from hsi_al.errors import RunDirectoryError
from hsi_al.pool.label_pool import LabelPool
from hsi_al.report.run_files import meta_entries
from tests.active.test_loop import (
    LABEL_VALUES,
    NearestMean,
    WarmNearestMean,
    classes_of,
    contents,
    labelled_ids,
    run,
    start,
    truth_map,
)

COMMITTED = 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished")
    run(path, rounds=COMMITTED - 1)
    RunDirectory(path, LABEL_VALUES).write_meta({"state": "finished", "class_names": {"1": "Maïs"}})
    return path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def restore(path: Path) -> int:
    return RunDirectory(path, LABEL_VALUES).restore(LabelPool(labelled_ids()))


def refused(path: Path, *named: str) -> str:
    with pytest.raises(RunDirectoryError) as caught:
        restore(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "delete the run directory" in message
    for name in named:
        assert name in message
    return message


def test_a_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert RunDirectory(path, LABEL_VALUES).restore(LabelPool([1, 2])) == 0
    assert path.is_dir()


def test_the_files_are_readable_without_the_code(copy: Path) -> None:
    with h5py.File(copy / "pool.h5") as file:
        ids, at, label = (file[name][:] for name in ("pixel_id", "labelled_at", "label"))
    assert ids.tolist() == labelled_ids().tolist()
    assert np.where(at >= 0, truth_map()[ids], 0).tolist() == label.tolist()  # original values, 0 = unlabelled
    assert (at >= 0).sum() == 13
    with h5py.File(copy / "confusion.h5") as file:
        everything, heldout = file["all"][:], file["heldout"][:]
        assert file["label_values"][:].tolist() == [1, 3, 10]
    assert everything.shape == heldout.shape == (COMMITTED, 3, 3)
    assert everything.sum(axis=(1, 2)).tolist() == [len(ids)] * COMMITTED
    assert heldout.sum(axis=(1, 2)).tolist() == [len(ids) - 8, len(ids) - 13]
    with (copy / "curve.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["round"], row["n_labelled"]) for row in rows] == [("0", "8"), ("1", "13")]
    for row, confusion in zip(rows, everything, strict=True):
        assert float(row["oa_all"]) == np.trace(confusion) / confusion.sum()
        assert float(row["recall_10"]) == confusion[2, 2] / confusion[2].sum()
    assert (copy / "curve.csv").read_bytes().count(b"\r") == 0


def test_restored_rounds_are_the_committed_ones(copy: Path) -> None:
    pool = LabelPool(labelled_ids())
    directory = RunDirectory(copy, LABEL_VALUES)
    assert directory.restore(pool) == COMMITTED
    assert pool.labels.tolist() == classes_of(pool.labelled_ids).tolist()
    assert sorted(set(pool.labelled_at.tolist())) == [-1, 0, 1]
    assert [row["round"] for row in directory.rows] == [0, 1]
    assert len(directory.confusions) == COMMITTED


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def noise(content: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(content))


def long_noise(content: bytes) -> bytes:
    return b"x" * 200_000


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": cut(0),
    "a tenth": cut(0.1),
    "half": cut(0.5),
    "most": cut(0.97),
    "random bytes": noise,
    "one endless word": long_noise,
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["pool.h5", "confusion.h5", "curve.csv"])
def test_a_damaged_file_is_named(copy: Path, name: str, damage: str) -> None:
    file = copy / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    refused(copy, name)


@pytest.mark.parametrize("name", ["confusion.h5", "curve.csv"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, name)


@pytest.mark.parametrize("damage", ["empty", "a tenth", "half", "random bytes", "one endless word", "zeros"])
def test_a_damaged_meta_is_named(copy: Path, damage: str) -> None:
    file = copy / "meta.json"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(RunDirectoryError, match=r"meta\.json is missing or corrupted"):
        meta_entries(copy)


@pytest.mark.parametrize("text", ["[]", "null", '"finished"', "3"])
def test_a_meta_that_is_no_table_is_named(copy: Path, text: str) -> None:
    (copy / "meta.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"meta\.json is missing or corrupted"):
        meta_entries(copy)


def test_meta_comes_back_and_may_be_absent(copy: Path, tmp_path: Path) -> None:
    assert meta_entries(copy) == {"state": "finished", "class_names": {"1": "Maïs"}}
    assert meta_entries(tmp_path) == {}


def change(path: Path, name: str, array: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if array is not None:
            file[name] = array


@pytest.mark.parametrize("name", ["pixel_id", "labelled_at", "label"])
def test_a_dataset_that_pool_h5_lacks(copy: Path, name: str) -> None:
    change(copy / "pool.h5", name, None)
    refused(copy, "pool.h5")


@pytest.mark.parametrize("name", ["all", "heldout"])
def test_a_dataset_that_confusion_h5_lacks(copy: Path, name: str) -> None:
    change(copy / "confusion.h5", name, None)
    refused(copy, "confusion.h5")


def test_pool_h5_without_its_round(copy: Path) -> None:
    with h5py.File(copy / "pool.h5", "r+") as file:
        del file.attrs["next_round"]
    refused(copy, "pool.h5")


@pytest.mark.parametrize("name", ["labelled_at", "label"])
@pytest.mark.parametrize("array", [[0, 1, 2], np.zeros((200, 2)), b"text", 0])
def test_arrays_of_another_shape_or_type(copy: Path, name: str, array: Any) -> None:
    change(copy / "pool.h5", name, array)
    refused(copy, "pool.h5")


def test_a_label_that_the_scene_does_not_have(copy: Path) -> None:
    """2 lies between the values 1 and 3: it must not become one of them."""
    with h5py.File(copy / "pool.h5", "r+") as file:
        position = np.flatnonzero(file["labelled_at"][:] == 0)[0]
        for value in (2, 11, 0):
            file["label"][position] = value
            file.flush()
            refused(copy, "pool.h5")


@pytest.mark.parametrize("candidates", [[1, 2, 3], labelled_ids()[1:], labelled_ids() + 1])
def test_other_candidates_are_refused(copy: Path, candidates: Any) -> None:
    with pytest.raises(RunDirectoryError, match=r"pool\.h5 holds other candidates"):
        RunDirectory(copy, LABEL_VALUES).restore(LabelPool(candidates))


def test_rounds_that_were_not_committed_are_dropped_and_missing_ones_refused(copy: Path) -> None:
    with h5py.File(copy / "pool.h5", "r+") as file:
        file.attrs["next_round"] = 1
    directory = RunDirectory(copy, LABEL_VALUES)
    assert directory.restore(LabelPool(labelled_ids())) == 1
    assert (len(directory.rows), len(directory.confusions)) == (1, 1)
    with h5py.File(copy / "pool.h5", "r+") as file:
        file.attrs["next_round"] = 3
    refused(copy, "pool.h5 says 3", "curve.csv has 2 rounds", "confusion.h5")


def test_a_curve_with_another_header(copy: Path) -> None:
    file = copy / "curve.csv"
    file.write_text(file.read_text().replace("round,", "rond,"))
    refused(copy, "curve.csv")


def test_random_flips_never_escape_as_another_error(copy: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("pool.h5", "confusion.h5", "curve.csv"):
        good = (copy / name).read_bytes()
        for _ in range(150):
            content = np.frombuffer(good, np.uint8).copy()
            content[rng.integers(len(content), size=rng.integers(1, 30))] = rng.integers(256)
            (copy / name).write_bytes(content.tobytes())
            try:
                restore(copy)
            except RunDirectoryError as error:
                assert name in str(error)
        (copy / name).write_bytes(good)


HOLDER = """
import sys, time
from pathlib import Path
from hsi_al.active.run_directory import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_blocks_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match=r"Another process is using .*hydra\.run\.dir"), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):
        assert process.returncode != 0


def test_the_lock_holds_within_a_process_and_ends_with_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(RunDirectoryError, match=str(tmp_path)), locked(tmp_path):
            pass
        with locked(tmp_path / "another"):
            pass
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_uncommitted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "outputs" / "main" / "seed=0"
    path.mkdir(parents=True)
    for name in ("config.yaml", "meta.json", "curve.csv", "confusion.h5", "lock", "weights_0.pt"):
        (path / name).write_text("")
    discard_uncommitted(path)
    assert names(tmp_path) == []
    assert tmp_path.is_dir()


def test_foreign_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "outputs" / "seed=0"
    path.mkdir(parents=True)
    for name in ("config.yaml", "notes.txt", "meta.json", "lock"):
        (path / name).write_text("mine")
    discard_uncommitted(path)
    assert names(path) == ["notes.txt"]
    assert (path / "notes.txt").read_text() == "mine"


def test_a_committed_run_stays_whole(copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    discard_uncommitted(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_empty_folders_go_up_to_the_first_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "a" / "seed=0").mkdir(parents=True)
    (tmp_path / "outputs" / "b").mkdir()
    remove_if_empty(tmp_path / "outputs" / "a" / "seed=0")
    assert names(tmp_path / "outputs") == ["b"]
    remove_if_empty(tmp_path / "outputs" / "absent")
    remove_if_empty(tmp_path)
    assert names(tmp_path) == ["outputs"]


@pytest.mark.parametrize(("highest", "kind"), [(10, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)])
def test_predictions(tmp_path: Path, highest: int, kind: type[np.generic]) -> None:
    class_map = np.array([[1, 3, 3], [1, 1, 3]])
    truth = np.array([[0, highest, 3], [1, 0, 0]])
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    RunDirectory(tmp_path, LABEL_VALUES).write_predictions(class_map, truth, rgb, names={1: "Mais", 3: "Rüben"})
    with h5py.File(tmp_path / "predictions.h5") as file:
        assert set(file) == {"class_map", "ground_truth", "rgb", "label_values", "class_names"}
        assert file["label_values"][:].tolist() == [1, 3]
        assert file["class_names"].asstr()[:].tolist() == ["Mais", "Rüben"]
        for name, array in (("class_map", class_map), ("ground_truth", truth)):
            assert file[name].dtype == kind
            assert file[name][:].tolist() == array.tolist()
        assert file["rgb"].dtype == np.uint8
        assert file["rgb"][:].tolist() == rgb.tolist()
    assert names(tmp_path) == ["manifest.json", "predictions.h5"]


def test_meta_is_replaced_whole(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, LABEL_VALUES)
    directory.write_meta({"state": "running", "calls": 1})
    directory.write_meta({"state": "finished"})
    assert meta_entries(tmp_path) == {"state": "finished"}
    with pytest.raises(TypeError):
        directory.write_meta({"state": object()})
    assert meta_entries(tmp_path) == {"state": "finished"}
    assert names(tmp_path) == ["meta.json"]


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("learner", [NearestMean, WarmNearestMean])
@pytest.mark.parametrize("n", range(1, 12))
def test_a_full_disk_leaves_the_earlier_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: type[NearestMean], n: int
) -> None:
    """The n-th file or folder of the second round can't be written; with space the run ends as if nothing had been."""
    whole = tmp_path / "whole"
    run(whole, rounds=2, learner=learner())
    path = tmp_path / "run"
    loop, _ = start(path, rounds=2, learner=learner())
    per_round, synced, fsync = (10 if learner.warm else 8), 0, os.fsync  # every file and then its folder

    def nearly_full(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        full_disk() if synced >= per_round + n else fsync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", nearly_full)
        loop.run(0)
    assert not list(path.glob(".*.tmp"))
    committed = 1 if n < per_round else 2  # pool.h5 is there before its folder is synchronised
    again, first_round = start(path, rounds=2, learner=learner())
    assert first_round == committed
    assert len(again.records.rows) == len(again.records.confusions) == committed
    again.run(first_round)
    assert contents(path) == contents(whole)


def test_a_full_disk_in_the_middle_of_hdf5(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    directory = RunDirectory(copy, LABEL_VALUES)
    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(OSError, match="No space"):
        map_ = np.ones((2, 2), np.int64)
        directory.write_predictions(map_, map_, np.zeros((2, 2, 3), np.uint8), names={1: "class 1"})
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
