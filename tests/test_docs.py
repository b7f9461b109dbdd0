"""README and the site: links lead somewhere, commands can be given as they are written."""

import argparse
import re
import shlex
import sys
import warnings
from pathlib import Path
from runpy import run_module
from typing import Any, NoReturn

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

import hsi_al
from hsi_al.cli.composition import composed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Templates become pages of docs/, where their links lead somewhere.
ELSEWHERE = [page for page in sorted((ROOT / "experiments").rglob("*.md")) if not page.name.endswith(".template.md")]
ELSEWHERE += [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def heading_ids(page: Path) -> set[str]:
    """The anchors that Markdown gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)).strip().lower() for title in titles)
    return {re.sub(r"[\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("page", [*PAGES, *ELSEWHERE], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    made = {"options.md", "learners/index.md", "changelog.md"}  # docs/hooks.py makes them
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if name in made and page.parent.name == "docs":
            continue
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in heading_ids(file), f"{page.name}: {target}"


# A command in a block or within a sentence; `\\` goes on in the next line.
COMMAND = re.compile(r"python -m ((?:hsi_al|experiments)[\w.]*)((?:[^`\n\\]|\\\n)*)")


def commands() -> list[tuple[str, str, str]]:
    """Page, module and arguments of every command in blocks of code, between backticks and in notes of tables."""
    found = set()
    for page in PAGES:
        text = page.read_text()
        blocks = FENCE.findall(text)
        quoted = re.findall(r"`(python -m [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        noted = re.findall(r"^- Reproduce: (.+)$", text, re.MULTILINE)
        indented = re.findall(r"^    (python -m .+)$", text, re.MULTILINE)
        for block in [*blocks, *quoted, *noted, *indented]:
            for module, line in COMMAND.findall(block):
                found.add((page.name, module.rstrip("."), line.replace("\\\n", " ").strip()))
    return sorted(found)


def single(arguments: list[str]) -> list[str]:
    """The first job of a sweep."""
    parser, chosen = OverridesParser.create(), []
    for override in parser.parse_overrides([given for given in arguments if not given.startswith("-")]):
        value = override.value()
        if isinstance(value, ChoiceSweep):
            first = str(value.list[0])
            chosen.append(f"{override.key_or_group}={first}")
        else:
            chosen.append(override.input_line or "")
    return chosen


COMMANDS = commands()
OWN = "acquisition=gini"  # in files that a reader writes
# What sentences mention without arguments: names of commands.
NAMES = [("hsi_al", ""), ("hsi_al.label", ""), ("hsi_al.label", "export"), ("hsi_al.report", "compare")]
RUNS = [(page, line) for page, module, line in COMMANDS if module == "hsi_al.run" and "=" in line.replace(OWN, "")]
RUNS = [(page, line) for page, line in RUNS if "--help" not in line and "-sc" not in line]
OTHERS = [given for given in COMMANDS if given[1] != "hsi_al.run" and given[1:] not in NAMES]


@pytest.mark.parametrize(("page", "line"), RUNS)
def test_every_run_can_be_composed(page: str, line: str) -> None:
    arguments = shlex.split(line, comments=True)
    config, folder = composed([given for given in single(arguments) if not given.startswith("hydra")])
    assert config.learner.name and folder


class ParsedError(BaseException):
    """The command line was understood; nothing is to be done."""


@pytest.mark.parametrize(("page", "module", "line"), OTHERS)
def test_every_other_command_is_understood_by_its_parser(
    page: str, module: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.split(line, comments=True)
    file = ROOT / module.replace(".", "/")
    source = (file / "__main__.py" if file.is_dir() else file.with_suffix(".py")).read_text()
    assert "ArgumentParser(" in source or "common.main(" in source  # else it would do its work

    def stopping(parse: Any) -> Any:
        def parsed(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
            parse(self, args, namespace)
            raise ParsedError

        return parsed

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with warnings.catch_warnings(), pytest.raises((ParsedError, SystemExit)) as ended:
        warnings.simplefilter("ignore", RuntimeWarning)  # that another test has imported the module
        run_module(module, run_name="__main__")
    helped = isinstance(ended.value, SystemExit) and "--help" in arguments and ended.value.code == 0
    assert ended.type is ParsedError or helped, capsys.readouterr().err


def test_pages_have_commands() -> None:
    assert len(RUNS) > 25 and {page for page, _ in RUNS} >= {"README.md", "index.md", "reproduce.md", "compare.md"}
    modules = {module for _, module, _ in OTHERS}
    assert modules >= {"hsi_al.label", "hsi_al.predict", "hsi_al.report", "hsi_al.scenes", "experiments.paper"}


def test_citation_has_the_keys_that_are_required() -> None:
    """Those of the Citation File Format 1.2.0, and the version of the package."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys() and cited["version"] == hsi_al.__version__
    for work in cited["references"]:
        assert {"type", "title", "authors", "year", "doi"} <= work.keys()
        assert all(person.keys() == {"family-names", "given-names"} for person in work["authors"])
        assert re.fullmatch(r"10\.\d{4,}/\S+", work["doi"])


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
