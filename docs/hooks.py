"""Pages of the site that are made from the package: a page for each learner, options, changelog; links out of docs/."""

import re
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from hsi_al.cli.options_help import Row, groups, rows_of
from hsi_al.methods.registry import own_methods

ROOT = Path(__file__).parents[1]
# A link to a file of the repository that isn't part of the site, and the parentheses around it, if there are.
OUTSIDE = re.compile(r"(\()?\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)(\))?")


def table(rows: list[Row]) -> str:
    """Keys as a table of Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for row in rows:
        meaning = f"{row.meaning} ({row.accepts})" if row.accepts else row.meaning
        default = f"`{row.default}`" if row.default else "set by the group"
        lines.append(f"| `{row.key}` | {default} | {meaning.replace('|', chr(92) + '|').replace('*', chr(92) + '*')} |")
    return "\n".join(lines)


def options_page() -> str:
    """Every key, by group."""
    parts = [
        "# Options\n\nEvery key can be changed on the command line by `key=value`; `python -m hsi_al.run --help=all` "
        "says the same. Keys that only one learner has are on [its page](learners/index.md)."
    ]
    for group in groups():
        rows = [row for row in rows_of(group) if group != "learner" or not row.meaning.startswith(tuple(own_methods()))]
        parts.append(f"## {group}\n\n{table(rows)}")
    return "\n\n".join(parts) + "\n"


def learner_page(name: str) -> str:
    """What a learner is, from where, with its options and what it can do."""
    method = own_methods()[name]
    room = import_module(f"hsi_al.methods.{name}")
    rows = [row for row in rows_of("learner") if row.meaning.startswith(f"{name}: ")]
    rows = [row._replace(meaning=row.meaning.removeprefix(f"{name}: ")) for row in rows]
    read = " and ".join(sorted(name.rsplit("_", 1)[0].replace("_", " ") for name in method.provides))
    facts = [
        f"- Acquisition functions that read {read} work with it."
        if read
        else "- Only `random` and `none` work with it.",
        f"- A cube larger than memory {'may stay in its file' if method.in_windows else 'is refused'}.",
        f"- A finished run {'can' if method.keeps_network else 'cannot'} map other images by `hsi_al.predict`.",
    ]
    if method.caveat:
        facts.append(f"- {method.caveat}")
    text = f"# {method.title}\n\n`learner={name}`: {getdoc(room)}\n\n{WHEN.get(name, '')}\n\n" + "\n".join(facts)
    return f"{text}\n\n## Options\n\n{table(rows) if rows else 'None of its own.'}\n"


WHEN = {
    "deep": "Take it to reproduce the paper, or on a GPU with some hundred labels. Choose the network by `backbone=`.",
    "profile_trees": "Take it for a scene of your own: the fewest labels of all, a round in a fifth of a second.",
    "lda": "Take it for ground without labels, and as the plain opponent of everything else.",
    "svm": "The classical opponent. Its rounds take longer than those of `lda`, without gaining on these scenes.",
    "random_forest": "What remote sensing software offers by default, for comparison.",
    "nearest_label": "Never take it for a map. It stands beside every method, and what doesn't beat it is no result.",
}


def learners_page() -> str:
    """The learners in a table."""
    lines = [
        "# Learners",
        "",
        "| `learner=` | method | maps other images | cube larger than memory |",
        "|---|---|---|---|",
    ]
    for name, method in own_methods().items():
        yes = ("yes" if flag else "no" for flag in (method.keeps_network, method.in_windows))
        lines.append(f"| [`{name}`]({name}.md) | {method.title} | {' | '.join(yes)} |")
    lines += ["", "Which one for what: [few labels](../few-labels.md). One of your own: [in Python](../python.md)."]
    return "\n".join(lines) + "\n"


def on_config(config: Any) -> Any:  # noqa: ANN401
    """List the learners in the navigation."""
    pages = [{"All": "learners/index.md"}, *({name: f"learners/{name}.md"} for name in own_methods())]
    config.nav = [{"Learners": pages} if "Learners" in entry else entry for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:  # noqa: ANN401
    """Add the pages that are made."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    made = {
        "options.md": options_page(),
        "changelog.md": changes.replace("](docs/", "](").replace("](experiments/", "](../experiments/"),
        "learners/index.md": learners_page(),
        **{f"learners/{name}.md": learner_page(name) for name in own_methods()},
    }
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401
    """Name files outside of the site in place of linking to them."""
    inside = page.file.src_uri.count("/")

    def named(link: re.Match[str]) -> str:
        opened, text, target, closed = link.groups("")
        if target.count("../") <= inside:
            return link.group(0)
        path = target.replace("../", "").partition("#")[0]
        return f"({text}: `{path}`)" if opened and closed else f"{opened}{text} (`{path}`){closed}"

    return OUTSIDE.sub(named, markdown)
