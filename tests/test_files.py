import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hsi_al.files import replacing, storable
from hsi_al.scenes.scene import load_scene, save_scene
from tests.fakes import fake_scene


class Killed(BaseException):
    """Stands for a kill: no `except Exception` stops it."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_and_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "curve.csv"
    for content in ("one", "two"):
        with replacing(target) as temporary:
            temporary.write_text(content)
        assert target.read_text() == content
        assert names(tmp_path) == ["curve.csv"]


def test_the_target_is_untouched_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "curve.csv"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path  # os.replace is atomic within one file system only
        assert temporary != target
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("kind", [ValueError, OSError, KeyboardInterrupt, Killed])
@pytest.mark.parametrize("existed", [True, False])
def test_an_error_leaves_what_was_there(tmp_path: Path, kind: type[BaseException], existed: bool) -> None:
    target = tmp_path / "curve.csv"
    if existed:
        target.write_text("old")
    with pytest.raises(kind), replacing(target) as temporary:
        temporary.write_text("half of the n")
        raise kind
    assert names(tmp_path) == (["curve.csv"] if existed else [])
    assert not existed or target.read_text() == "old"


def test_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), replacing(tmp_path / "curve.csv"):
        raise ValueError("early")
    assert names(tmp_path) == []


def test_a_full_disk_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "curve.csv"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), replacing(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["curve.csv"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def watched_replace(self: Path, target: Path) -> Path:
        happened.append("replace")
        return replace(self, target)

    def watched_fsync(descriptor: int) -> None:
        happened.append("fsync")
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    with replacing(tmp_path / "curve.csv") as temporary:
        temporary.write_text("new")
        assert happened == []
    assert happened == ["fsync", "replace", "fsync"], "the last one is the folder's"


def test_texts_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    assert storable(["Wiese", "", "a\0b\0", "a\udce9", "森"]) == ["Wiese", "", "ab", "a?", "森"]
    scene = fake_scene()
    names = {1: "a\0b", 3: "a\udce9", 10: "森"}
    save_scene(replace(scene, class_names=names), tmp_path / "a.h5")
    assert load_scene(tmp_path / "a.h5").class_names == {1: "ab", 3: "a?", 10: "森"}


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"), replacing(tmp_path / "absent" / "curve.csv") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == []


def test_two_targets_at_once_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv") as one, replacing(tmp_path / "b.csv") as two:
        one.write_text("a")
        two.write_text("b")
    assert [(tmp_path / name).read_text() for name in ("a.csv", "b.csv")] == ["a", "b"]
