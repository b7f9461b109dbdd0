"""README and the site: links lead somewhere, commands can be given as they are written."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

from hsi_al.cli.composition import composed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def heading_ids(page: Path) -> set[str]:
    """The anchors that Markdown gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)).strip().lower() for title in titles)
    return {re.sub(r"[\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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


def commands(module: str) -> list[tuple[str, str]]:
    """Page and arguments of every command of a module in the pages."""
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(rf"\s*python -m {re.escape(module)}\b", line):
                    found.append((page.name, line.split(module, 1)[1].strip()))
    return found


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


RUNS = sorted({(page, line) for page, line in commands("hsi_al.run") if "--help" not in line})


@pytest.mark.parametrize(("page", "line"), RUNS)
def test_every_run_can_be_composed(page: str, line: str) -> None:
    arguments = shlex.split(line, comments=True)
    config, folder = composed([given for given in single(arguments) if not given.startswith("hydra")])
    assert config.learner.name and folder


def test_pages_have_commands() -> None:
    assert len(RUNS) > 25 and {page for page, _ in RUNS} >= {"README.md", "index.md", "reproduce.md", "compare.md"}
    for page, line in [*commands("hsi_al.report"), *commands("hsi_al.predict")]:
        assert shlex.split(line, comments=True), page


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
