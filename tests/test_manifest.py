import errno
import json
import os
from pathlib import Path

import pytest

from hsi_al.errors import RunDirectoryError, sentence
from hsi_al.manifest import (
    NAME,
    Manifest,
    check_files,
    digest,
    read_manifest,
    read_sealed,
    reading,
    replace_files,
    sealed,
    write_manifest,
)

PASSING = (errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE)


def test_each_file_has_the_checksum_of_its_content_and_of_the_one_before(tmp_path: Path) -> None:
    replace_files(tmp_path, {"a": b"one", "b": b"two"}, counts=[[1, 8]])
    replace_files(tmp_path, {"b": b"three"}, data={"cube": "c"})
    manifest = read_manifest(tmp_path)
    assert manifest == Manifest(
        {"a": [digest(tmp_path / "a")], "b": [digest(tmp_path / "b"), manifest.files["b"][1]]},  # type: ignore[union-attr]
        [[1, 8]],
        {"cube": "c"},
    )
    for content in (b"three", b"two"):
        (tmp_path / "b").write_bytes(content)
        check_files(tmp_path)
    (tmp_path / "b").write_bytes(b"one")
    with pytest.raises(RunDirectoryError, match=r"/b is missing or corrupted \(its checksum"):
        check_files(tmp_path)
    check_files(tmp_path, lambda name: name == "a")


def test_a_file_may_be_missing_only_before_it_was_written(tmp_path: Path) -> None:
    replace_files(tmp_path, {"a": b"one"})
    (tmp_path / "a").unlink()
    check_files(tmp_path)
    replace_files(tmp_path, {"a": b"one"})
    replace_files(tmp_path, {"a": b"two"})
    (tmp_path / "a").unlink()
    with pytest.raises(RunDirectoryError, match="there is no such file"):
        check_files(tmp_path)


def test_a_file_that_a_running_run_replaces_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_files(tmp_path, {"a": b"one"})
    refuses = Manifest.refuses

    def replaced_twice(manifest: Manifest, folder: Path, name: str) -> bool:
        if (tmp_path / "a").read_bytes() == b"one":
            replace_files(tmp_path, {"a": b"two"})
            replace_files(tmp_path, {"a": b"three"})
        return refuses(manifest, folder, name)

    monkeypatch.setattr(Manifest, "refuses", replaced_twice)
    check_files(tmp_path)


def test_a_table_knows_its_own_damage(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text(sealed({"state": "finished", "wall_seconds": 1.5}))
    assert read_sealed(path) == {"state": "finished", "wall_seconds": 1.5}
    path.write_text(path.read_text().replace("1.5", "2.5"))
    with pytest.raises(ValueError, match="checksum"):
        read_sealed(path)
    path.write_text(json.dumps({"state": "finished"}))  # of an earlier version
    assert read_sealed(path) == {"state": "finished"}
    assert read_sealed(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"a": 3}, "counts": [], "data": {}}', "null"])
def test_a_damaged_manifest_may_be_deleted_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(RunDirectoryError, match=r"manifest\.json is missing or corrupted .* delete this file alone"):
        check_files(tmp_path)
    (tmp_path / NAME).unlink()
    check_files(tmp_path)
    write_manifest(tmp_path, Manifest())
    check_files(tmp_path)


@pytest.mark.parametrize("number", PASSING)
@pytest.mark.parametrize("by_h5py", [False, True])
def test_errors_of_the_system_are_no_damage(tmp_path: Path, number: int, by_h5py: bool) -> None:
    text = f"Unable to synchronously open file (unable to open file: errno = {number}, error message = 'x', flags = 0)"
    error = OSError(text) if by_h5py else OSError(number, os.strerror(number), str(tmp_path))
    with pytest.raises(RunDirectoryError) as caught, reading(tmp_path / "pool.h5"):
        raise error
    message = str(caught.value)
    assert os.strerror(number) in message and "is not lost" in message and "try again" in message
    assert "delete" not in message and "corrupted" not in message


def test_what_the_file_itself_causes_is_damage(tmp_path: Path) -> None:
    for error in (FileNotFoundError(errno.ENOENT, "No such file"), OSError("file signature not found"), KeyError("x")):
        with pytest.raises(RunDirectoryError, match=r"pool\.h5 is missing or corrupted"), reading(tmp_path / "pool.h5"):
            raise error


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EACCES, "change the permissions"),
        (errno.EROFS, "isn't read-only"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "check the disk"),
        (errno.ENAMETOOLONG, "shorter names"),
        (errno.ENOTCONN, "hydra.run.dir"),
    ],
)
def test_every_error_of_the_system_has_its_own_way_out(number: int, way_out: str) -> None:
    said = sentence(OSError(number, os.strerror(number), "/x"))
    assert said.startswith(f"{os.strerror(number)}: /x; ") and way_out in said
    assert ("free space" in said) == (number == errno.ENOSPC)
