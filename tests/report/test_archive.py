"""Runs in an archive are read like runs in a folder, and an archive can do no harm."""

import errno
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hsi_al.errors import RunDirectoryError
from hsi_al.report.__main__ import main
from hsi_al.report.archive import RUN_FILES, archive_of, contents, extract, pack, unpacked
from tests.report.test_compare import write_titled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two methods, one of them with two seeds."""
    write_titled(tmp_path / "runs/scene/entropy/seed=0", "entropy", 0)
    write_titled(tmp_path / "runs/scene/entropy/seed=1", "entropy", 1, 0.02)
    write_titled(tmp_path / "runs/scene/random/seed=0", "random", 0, -0.1)
    return tmp_path / "runs"


@pytest.fixture
def archive(folder: Path) -> Path:
    pack(folder, folder.with_name("runs.zip"))
    return folder.with_name("runs.zip")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_zip(path: Path, files: Mapping[Any, str], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


def assert_one_sentence(error: str, *parts: str) -> None:
    assert error.startswith("hsi_al: error: ") and error.count("\n") == 1
    assert all(part in error for part in parts) and "hsi_al-" not in error


# Packing


def test_what_is_packed_comes_out_byte_for_byte(folder: Path, archive: Path, tmp_path: Path) -> None:
    extract(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == files_below(folder)
    assert {Path(name).name for name in contents(archive)} == {*RUN_FILES} - {"config.yaml", "manifest.json"}


def test_the_same_runs_give_the_same_bytes(folder: Path, archive: Path) -> None:
    before = archive.read_bytes()
    for path in folder.rglob("*.csv"):
        path.touch()
    pack(folder, archive)
    assert archive.read_bytes() == before
    pack(folder, archive.with_name("other.zip"))
    assert archive.with_name("other.zip").read_bytes() == before


def test_weights_and_unfinished_runs_stay_outside(folder: Path, tmp_path: Path) -> None:
    weights = folder / "scene/entropy/seed=0/weights_0.pt"
    weights.write_text("large")
    running = write_titled(folder / "scene/random/seed=1", "random", 1, state="running")
    packed, left = pack(folder, tmp_path / "runs.zip")
    assert left == [running] and len(packed) == 3 and running not in packed
    names = contents(tmp_path / "runs.zip")
    assert not [name for name in names if name.startswith("scene/random/seed=1") or name.endswith(".pt")]
    assert running.is_dir() and weights.exists()


def test_runs_are_added_and_replaced_whole(folder: Path, archive: Path) -> None:
    other = folder.with_name("more")
    write_titled(other / "scene/random/seed=0", "random", 0, 0.1)
    (other / "scene/random/seed=0/pool.h5").unlink()
    write_titled(other / "scene/random/seed=1", "random", 1)
    before = contents(archive)
    pack(other, archive)
    after = contents(archive)
    assert set(before) - set(after) == {"scene/random/seed=0/pool.h5"}
    assert after["scene/random/seed=0/curve.csv"] != before["scene/random/seed=0/curve.csv"]
    assert "scene/random/seed=1/pool.h5" in after
    assert all(after[name] == content for name, content in before.items() if "entropy" in name)


def test_pack_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = write_titled(folder / "scene/random/seed=1", "random", 1, state="running")
    assert main(["pack", str(folder)]) == 0
    archive = folder.with_name("runs.zip")
    assert capsys.readouterr().out == f"Left out, not finished: {running}\n3 finished runs packed into {archive}\n"
    assert main(["pack", str(running), "--output", str(folder / "none.zip")]) == 2
    assert_one_sentence(capsys.readouterr().err, str(running), "no finished run")
    assert not (folder / "none.zip").exists()


# Reading


def test_a_comparison_is_the_same_from_folder_and_archive(folder: Path, archive: Path, tmp_path: Path) -> None:
    for name, runs in {"plain": folder, "packed": archive, "inside": archive / "scene"}.items():
        assert main(["compare", str(runs), "--output", str(tmp_path / name)]) == 0
    plain = files_below(tmp_path / "plain")
    assert "comparison.md" in plain
    assert plain == files_below(tmp_path / "packed") == files_below(tmp_path / "inside")


def test_a_part_of_an_archive_and_the_whole_are_each_run_once(
    folder: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", str(archive), str(archive / "scene" / "random")]) == 0
    out = capsys.readouterr().out
    assert out.count("seed=") == 3 and "hsi_al-" not in out
    assert main(["summary", str(archive / "scene" / "random")]) == 0
    assert capsys.readouterr().out.count("seed=") == 1


def test_what_is_said_names_the_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, state in enumerate(("finished", "running")):
        write_titled(tmp_path / f"runs/seed={seed}", "random", seed, state=state)
    meta = json.loads((tmp_path / "runs/seed=0/meta.json").read_text())
    (tmp_path / "runs/seed=0/meta.json").write_text(json.dumps(meta | {"stopped": {"reason": "enough"}}))
    files = {name: content.decode("latin-1") for name, content in files_below(tmp_path / "runs").items()}
    archive = write_zip(tmp_path / "all.zip", {name: text for name, text in files.items() if not name.endswith("h5")})
    assert main(["compare", str(archive), "--output", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/comparison.md").read_text()
    assert f"{archive}/seed=0 stopped early: enough." in text and f"not tested: {archive}/seed=1" in text
    assert "hsi_al-" not in text + capsys.readouterr().out
    assert main(["figures", str(archive), "--output", str(tmp_path / "out")]) == 2
    assert_one_sentence(capsys.readouterr().err, f"{archive}/seed=0/confusion.h5")


def test_pictures_of_archived_runs_go_where_one_says(folder: Path, archive: Path, tmp_path: Path) -> None:
    assert main(["figures", str(archive / "scene/random"), str(folder), "--output", str(tmp_path / "pictures")]) == 0
    drawn = {"learning_curve.png", "confusion.png", "map.png", "query_map.png"}
    (place,) = {path.parent for path in (tmp_path / "pictures").rglob("*.png")}
    assert place == tmp_path / "pictures/runs/scene/random/seed=0" and {path.name for path in place.iterdir()} == drawn
    assert {path.name for path in (folder / "scene/random/seed=0/figures").iterdir()} == drawn


def test_pictures_of_two_archives_never_mix(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other" / archive.name
    other.parent.mkdir()
    other.write_bytes(archive.read_bytes())
    assert main(["figures", str(archive), str(other), "--output", str(tmp_path / "pictures")]) == 2
    assert_one_sentence(capsys.readouterr().err, "draw one archive at a time")


def test_folders_are_given_as_they_are_and_nothing_temporary_stays(archive: Path, tmp_path: Path) -> None:
    with unpacked([tmp_path, archive, archive / "scene"]) as opened:
        assert opened.folders[0] == tmp_path and opened.folders[2] == opened.folders[1] / "scene"
        assert opened.place(opened.folders[2]) == Path("runs/scene") and opened.place(tmp_path) is None
        temporary = opened.folders[1]
        assert temporary.is_dir()
    assert not temporary.exists()


def test_no_way_leads_out_of_an_archive(archive: Path) -> None:
    assert archive_of(archive / "scene") == archive
    assert archive_of(archive / ".." / "runs") is None
    assert archive_of(archive.parent) is None


# Archives that are none


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "..\\x", "../"])
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "bad.zip", {name: "x"})
    (tmp_path / "in").mkdir()
    with pytest.raises(RunDirectoryError, match=r"bad\.zip holds a file whose path leads out of it"):
        extract(archive, tmp_path / "in")
    assert not any((tmp_path / "in").iterdir()) and not (tmp_path / "x").exists()


def test_what_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.report.archive.MOST_FILES", 5)
    monkeypatch.setattr("hsi_al.report.archive.MOST_BYTES", 10**6)
    link = zipfile.ZipInfo("run/meta.json")
    link.external_attr = 0o120777 << 16
    bomb = write_zip(tmp_path / "bomb.zip", {"a": "x" * 600_000, "b": "x" * 600_000}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 3000
    for archive, words in (
        (bomb, r"unpacks to 1,200,000 bytes, more than 1,000,000"),
        (write_zip(tmp_path / "many.zip", {str(n): "" for n in range(6)}), "holds 6 files, more than 5"),
        (write_zip(tmp_path / "link.zip", {link: "../../secret"}), r"holds a link \(run/meta.json\)"),
        (write_zip(tmp_path / "deep.zip", {"a/" * 2000 + "meta.json": "{}"}), "holds a file in more than 64 folders"),
    ):
        with pytest.raises(RunDirectoryError, match=rf"{archive.name} {words}.*; get the archive from another"):
            contents(archive)
    monkeypatch.setattr("hsi_al.report.archive.MOST_BYTES", 10**9)
    assert len(contents(bomb)["a"]) == 600_000
    monkeypatch.setattr("hsi_al.report.archive.free_memory", lambda: 10**6)
    with pytest.raises(RunDirectoryError, match="more than 500,000"):
        contents(bomb)


def test_a_file_that_unpacks_to_more_than_it_claims(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "bomb.zip", {"a": "x" * 30_000_000}, zipfile.ZIP_DEFLATED)
    content = archive.read_bytes()
    claimed = struct.pack("<I", 30_000_000)
    assert content.count(claimed) == 2
    archive.write_bytes(content.replace(claimed, struct.pack("<I", 100)))
    tracemalloc.start()
    with pytest.raises(RunDirectoryError, match=r"bomb.zip cannot be read as a zip archive"):
        contents(archive)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000


def test_an_archive_that_cannot_be_read_for_now(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(RunDirectoryError, match=r"cannot be read \(Input/output error\); check its permissions"):
        contents(archive)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_damaged_archive_is_one_sentence(part: float, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(part * len(whole))])
    for command in ("summary", "compare", "figures"):
        assert main([command, str(archive)]) == 2
        assert_one_sentence(capsys.readouterr().err, str(archive), "pack it again")


def test_a_damaged_member_is_one_sentence(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(archive.read_bytes())
    damaged[200:300] = bytes(100)
    archive.write_bytes(damaged)
    assert main(["summary", str(archive)]) == 2
    assert_one_sentence(capsys.readouterr().err, str(archive), "pack it again")


def test_files_in_one_anothers_way_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_zip(tmp_path / "odd.zip", {"a": "file", "a/meta.json": "{}"})
    assert main(["summary", str(archive)]) == 2
    assert_one_sentence(capsys.readouterr().err, str(archive), "a/meta.json", "unpacked")


def test_an_empty_archive_and_a_wrong_place_hold_no_run(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_zip(tmp_path / "empty.zip", {})
    for path in (empty, archive / "nowhere", tmp_path / "missing.zip"):
        assert main(["summary", str(path)]) == 2
        assert_one_sentence(capsys.readouterr().err, f"{path} holds no run")


def test_a_folder_of_archives_names_one(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sets").mkdir()
    archive.rename(tmp_path / "sets/a.zip")
    assert main(["summary", str(tmp_path / "sets")]) == 2
    assert_one_sentence(capsys.readouterr().err, f"give the path of its archive {tmp_path / 'sets/a.zip'}.")
