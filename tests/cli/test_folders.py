"""A refused command leaves nothing where it was given, and nothing anywhere else."""

from pathlib import Path

import pytest

from hsi_al.config.checks import folder
from tests.conftest import CommandLine


def tree(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment.name=../../x"],
        ["protocol.name=a/../../b"],
        ["protocol.rounds=900", "hydra.run.dir=new/deep/place"],
        ["protocol.rounds=900", "hydra.run.dir='new/${seed}/place'"],
        ["-m", "protocol.rounds=900", "hydra.sweep.dir=new/deep", "experiment.name=../../x,y"],
    ],
)
def test_a_refused_command_leaves_nothing(
    command_line: CommandLine,
    tiny_scene: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    (tmp_path / "in" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in" / "here")
    before = tree(tmp_path)
    flags = [argument for argument in arguments if argument == "-m"]
    outcome = command_line(*flags, *tiny_scene, *(argument for argument in arguments if argument != "-m"))
    assert outcome.code == 2
    assert tree(tmp_path) == before


def test_folders_of_the_user_stay(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    outcome = command_line(*tiny_scene, "protocol.rounds=900", "hydra.run.dir=mine/new/run")
    assert outcome.code == 2
    assert tree(tmp_path / "mine") == {"empty"}


def test_names_that_folders_can_have_stay() -> None:
    assert [folder(name) for name in ("main", "margin-min_distance=8")] == ["main", "margin-min_distance=8"]
    assert {folder(name) for name in ("../x", "a/b", "..", "", "n" * 300, "a\0")} == {"refused"}
