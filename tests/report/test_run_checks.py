"""Damage to the files of a run never passes: a run with a manifest, and one of an earlier version without."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsi_al.active.run_directory import RunDirectory
from hsi_al.errors import RunDirectoryError
from hsi_al.manifest import read_manifest
from hsi_al.report.__main__ import main
from hsi_al.report.run_checks import check_data, check_labels, check_queries, check_run
from tests.active.test_loop import WarmNearestMean, run, truth_map

ROUNDS, QUERY = 3, 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    directory = run(path, rounds=ROUNDS, learner=WarmNearestMean()).records
    assert isinstance(directory, RunDirectory)
    for _ in range(2):  # a first and a second start
        directory.write_config("seed: 0\n", {"cube": "1", "ground_truth": "2"})
    directory.write_meta({"state": "finished", "class_names": {"1": "a", "3": "b", "10": "c"}, "calls": 1})
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def earlier(copy: Path) -> Path:
    """The run as a version without manifests left it."""
    (copy / "manifest.json").unlink()
    return copy


def refused(path: Path, *words: str) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        check_run(path, weights=True)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_a_sound_run_passes(copy: Path) -> None:
    check_run(copy, weights=True)
    check_queries(copy, QUERY)
    check_labels(copy, truth_map())
    manifest = read_manifest(copy)
    assert manifest is not None and manifest.counts[0][0] == ROUNDS + 1
    assert set(manifest.files) == {"config.yaml", "confusion.h5", "curve.csv", "pool.h5", f"weights_{ROUNDS}.pt"}


NAMES = ("pool.h5", "curve.csv", "confusion.h5", "config.yaml", f"weights_{ROUNDS}.pt", "meta.json", "manifest.json")


@pytest.mark.parametrize("name", NAMES)
def test_no_flipped_bit_passes(copy: Path, name: str) -> None:
    path = copy / name
    good = path.read_bytes()
    for place in range(0, len(good), max(7, len(good) // 40)):
        damaged = bytearray(good)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        refused(copy, str(path))


@pytest.mark.parametrize("name", NAMES)
def test_cut_emptied_and_lost_files(copy: Path, name: str) -> None:
    path = copy / name
    good = path.read_bytes()
    for part in (0, len(good) // 2, len(good) - 2):
        path.write_bytes(good[:part])
        refused(copy, str(path))
    path.unlink()
    if name not in ("meta.json", "manifest.json"):
        refused(copy, str(path))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_be_read_now_is_not_lost(copy: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def failing(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(RunDirectoryError, match="is not lost: check the disk") as caught:
        check_run(copy, weights=True)
    assert str(copy / name) in str(caught.value) and "delete" not in str(caught.value)


def change(path: Path, name: str, place: object, value: int) -> None:
    with h5py.File(path, "r+") as file:
        file[name][place] = value


def first(path: Path, round_: int) -> int:
    with h5py.File(path) as file:
        return int(np.flatnonzero(file["labelled_at"][:] == round_)[0])


def better(path: Path) -> None:
    lines = (path / "curve.csv").read_text().splitlines()
    columns, cells = lines[0].split(","), lines[2].split(",")
    cells[columns.index("oa_all")] = "0.95"
    (path / "curve.csv").write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")


def infinite(path: Path) -> None:
    text = (path / "curve.csv").read_text().splitlines()
    (path / "curve.csv").write_text("\n".join([text[0], text[1].rpartition(",")[0] + ",inf", *text[2:]]) + "\n")


def renamed_column(path: Path) -> None:
    (path / "curve.csv").write_text((path / "curve.csv").read_text().replace("recall_3", "recall_4", 1))


def one_more_label(path: Path) -> None:
    place = first(path / "pool.h5", -1)
    change(path / "pool.h5", "labelled_at", place, 1)
    change(path / "pool.h5", "label", place, 1)


def lost_label(path: Path) -> None:
    change(path / "pool.h5", "label", first(path / "pool.h5", 1), 0)


def later_label(path: Path) -> None:
    change(path / "pool.h5", "labelled_at", first(path / "pool.h5", 1), ROUNDS + 5)


def other_count(path: Path) -> None:
    change(path / "confusion.h5", "all", (1, 0, 0), 3)


def negative(path: Path) -> None:
    change(path / "confusion.h5", "heldout", (1, 0, 1), -3)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (better, "curve.csv is missing or corrupted (round 1 has oa_all = 0.95, but confusion.h5 gives"),
        (infinite, "curve.csv is missing or corrupted (line 2: a value is infinite"),
        (renamed_column, "curve.csv is missing or corrupted (recalls of the label values"),
        (one_more_label, "curve.csv is missing or corrupted (round 1 has"),
        (lost_label, "pool.h5 is missing or corrupted (label and labelled_at differ"),
        (later_label, "pool.h5 is missing or corrupted (labels of rounds to come"),
        (other_count, "confusion.h5 is missing or corrupted (the rounds count different"),
        (negative, "confusion.h5 is missing or corrupted (more held-out pixels"),
    ],
)
def test_files_are_held_against_each_other(earlier: Path, damage: Callable[[Path], None], words: str) -> None:
    check_run(earlier, weights=True)
    damage(earlier)
    refused(earlier, words)


def test_labels_are_those_of_the_ground_truth(earlier: Path) -> None:
    place = first(earlier / "pool.h5", 1)
    with h5py.File(earlier / "pool.h5", "r+") as file:
        file["label"][place] = 1 if file["label"][place] != 1 else 3
    check_run(earlier)
    with pytest.raises(RunDirectoryError, match=r"pool\.h5 holds 1 labels that differ from the scene's ground truth"):
        check_labels(earlier, truth_map())
    with pytest.raises(RunDirectoryError, match="pixels outside"):
        check_labels(earlier, truth_map()[:3])


def test_queries_have_the_size_of_the_protocol(earlier: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"pool\.h5 .* labels where each has 4"):
        check_queries(earlier, 4)


def test_counts_are_those_of_the_manifest(copy: Path, whole: Path, tmp_path: Path) -> None:
    """A pool.h5 that the manifest knows, but of another round than its counts."""
    check_run(copy)
    with h5py.File(copy / "pool.h5", "r+") as file:
        file.attrs["next_round"] = ROUNDS - 1
    refused(copy, "pool.h5")


def test_other_data_are_named(copy: Path) -> None:
    check_data(copy, "field", {"cube": "1", "ground_truth": "2"})
    with pytest.raises(RunDirectoryError, match="a run with another ground truth of field: the data changed"):
        check_data(copy, "field", {"cube": "1", "ground_truth": "3"})
    with pytest.raises(RunDirectoryError, match="another cube and another ground truth of field"):
        check_data(copy, "field", {"cube": "3", "ground_truth": "3"})
    (copy / "manifest.json").unlink()
    check_data(copy, "field", {"cube": "9", "ground_truth": "9"})


def test_reports_refuse_damaged_runs(copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["summary", str(copy)]) == 0
    better(copy)
    for command in ("summary", "compare", "figures"):
        assert main([command, str(copy), "--output", str(tmp_path / "o")][: 2 if command == "summary" else None]) == 2
        assert f"{copy / 'curve.csv'} is missing or corrupted" in capsys.readouterr().err
    assert main(["pack", str(copy), "--output", str(tmp_path / "a.zip")]) == 2
    assert not (tmp_path / "a.zip").exists()
