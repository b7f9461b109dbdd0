"""Options explain themselves."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from hsi_al.cli.options_help import groups, help_text, rows_of, written
from hsi_al.config.schema import Config
from hsi_al.methods.registry import all_methods
from hsi_al.options import options_of
from hsi_al.run import main

CONF = Path(__file__).parents[2] / "conf"


def test_every_key_is_explained_once() -> None:
    shown = [row for group in groups() for row in rows_of(group)]
    known = {key for key, _, _ in options_of(Config())}
    assert known <= {row.key for row in shown}
    assert all(row.meaning for row in shown)
    own = {(name, item.name) for name, method in all_methods().items() for item in fields(method.settings)}
    common = {item.name for item in fields(next(f.type for f in fields(Config) if f.name == "learner"))}  # type: ignore[arg-type]
    for name, key in own:
        assert sum(row.key == f"learner.{key}" and row.meaning.startswith(f"{name}: ") for row in shown) == (
            key not in common
        )
    assert len({(row.key, row.meaning) for row in shown}) == len(shown)


def test_the_short_help_names_every_option_of_the_groups_that_matter() -> None:
    said = help_text("")
    for group in ("dataset", "learner", "backbone", "acquisition", "protocol", "split", "experiment", "logger"):
        listed = re.search(rf"^{group}: ((?:.*\n)(?:    .*\n)*)", said, re.MULTILINE)
        assert listed is not None
        for file in (CONF / group).glob("*.yaml"):
            assert re.search(rf"\b{file.stem}\b", listed.group(1)), file
    assert "_schema" not in said and "_schema" not in help_text("all")
    assert len(said.splitlines()) < 40 and max(map(len, said.splitlines())) <= 110


def test_defaults_choices_and_limits() -> None:
    rows = {row.key: row for group in groups() if group != "learner" for row in rows_of(group)}
    assert rows["split.fraction"].default == "0.5" and rows["split.fraction"].accepts == "above 0 and below 1"
    assert rows["backbone.dropout"].accepts == "at least 0 and below 1"
    assert rows["acquisition.radius"].accepts == "from 0 to 2"
    assert rows["protocol.query_size"].default == "10" and rows["protocol.query_size"].accepts == "1 or more"
    assert rows["trainer.compile"].accepts == "one of auto, on, off"
    assert rows["dataset.cube_file"].default == "null" and rows["dataset.name"].default == ""
    assert rows["seed"].default == "0" and rows["debug"].default == "false"
    assert [written(value) for value in (None, True, [1, None], 0.5, "a")] == ["null", "true", "[1,null]", "0.5", "a"]


@pytest.mark.parametrize(
    "topic", ["", "all", *(item.name for item in fields(Config) if is_dataclass(item.type)), "run"]
)
def test_every_topic(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--help={topic}" if topic else "-h"]) == 0
    assert capsys.readouterr().out.strip() == help_text(topic).strip()


def test_an_unknown_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help=leaner"]) == 2
    assert "--help=leaner: there is no such group; choose all or one of dataset, split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hsi_al learner=pro", {"learner=profile_trees"}),
        ("hsi_al acquisition=marg", {"acquisition=margin"}),
        ("hsi_al protocol.query_s", {"protocol.query_size="}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_tab_key_offers_what_can_be_chosen(
    typed: str, offered: set[str], shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", typed)
    assert main(["-sc", f"query={shell}"]) == 0
    assert set(capsys.readouterr().out.split()) == offered


def test_bash_learns_to_complete_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/hsi_al"])
    assert main(["-sc", "install=bash"]) == 0
    assert "-F hydra_bash_completion hsi_al" in capsys.readouterr().out
