"""The commit that meta.json names."""

import os
import subprocess
from pathlib import Path

import pytest

from hsi_al.active import meta


def git(repository: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *names, *arguments], cwd=repository, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_named_without_writing_to_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "package" / "active" / "meta.py"
    monkeypatch.setattr(meta, "__file__", str(file))
    assert meta.git_commit.__wrapped__() is None
    file.parent.mkdir(parents=True)
    file.write_text("one\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    os.utime(file, (1, 1))  # git has to look whether it changed, and would note in its index that it didn't
    index = (tmp_path / ".git" / "index").read_bytes()
    (tmp_path / "untracked").touch()
    assert meta.git_commit.__wrapped__() == commit
    file.write_text("two\n")
    assert meta.git_commit.__wrapped__() == f"{commit}+"
    assert (tmp_path / ".git" / "index").read_bytes() == index
