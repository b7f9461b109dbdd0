"""What `--help` says: the groups and the keys that matter, or every key with its meaning, choices and default.

Everything comes from where keys and learners are declared (`option`, `METHOD`); the documentation site is built from
`rows_of`, too.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING as NOTHING
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from omegaconf import MISSING

from hsi_al.cli.composition import options_of_group
from hsi_al.config.folder import configuration_folder
from hsi_al.config.schema import Config, LearnerConfig
from hsi_al.errors import ConfigurationError
from hsi_al.methods.registry import all_methods
from hsi_al.options import Allowed

WIDTH = 110
HEAD = """hsi_al: active learning for hyperspectral image classification

  python -m hsi_al.run dataset=salinas backbone=densenet169      the paper's protocol
  python -m hsi_al.run experiment=demo                           a few minutes on two CPU cores
  python -m hsi_al.run -m acquisition=loss_prediction,entropy,random seed=0,1,2 protocol=short
"""
# The choices that matter, each with what it decides.
CHOICES = {
    "dataset": "the scene; custom takes files of your own (dataset.cube_file=...)",
    "learner": "what learns from the labels; deep is the paper's network, profile_trees answers in a second",
    "backbone": "the network of learner=deep",
    "acquisition": "which pixels are asked",
    "protocol": "how many labels, rounds and steps; single numbers by protocol.query_size=20 and the like",
    "split": "which pixels may be asked and which test; paper and holdout complete a map, the others don't",
    "experiment": "a whole experiment under one name",
    "logger": "where curves go besides the run's folder",
}
KEYS = {"seed": "root seed of all draws", "hydra.run.dir": "folder of the run; without it a name from the settings"}
TAIL = """-m runs every combination of values separated by commas. The same command continues a run that was stopped.
--help=all lists every key with meaning, choices and default; --help=protocol those of one group."""


class Row(NamedTuple):
    """A key of the configuration.

    Attributes:
        key: Dotted name.
        default: Its default as it is written on the command line; empty if a group sets it.
        meaning: What it does.
        accepts: Choices or limits; empty if the type alone decides.
    """

    key: str
    default: str
    meaning: str
    accepts: str


def asked_for(argv: Sequence[str]) -> str | None:
    """Return what a command line asks help on: "" for `--help` or `-h`, else what follows `--help=`; None = no help."""
    for argument in argv:
        if argument in ("--help", "-h"):
            return ""
        if argument.startswith("--help="):
            return argument.partition("=")[2]
    return None


def help_text(topic: str) -> str:
    """Return the help on a topic: "" for the short one, `all`, or the name of a group.

    Raises:
        ConfigurationError: There is no such group.
    """
    if not topic:
        return short()
    names = groups()
    if topic != "all" and topic not in names:
        raise ConfigurationError(f"--help={topic}: there is no such group; choose all or one of {', '.join(names)}.")
    chosen = names if topic == "all" else [topic]
    return "\n\n".join(described(name) for name in chosen)


def short() -> str:
    """Return the groups and keys that matter, one line of meaning each."""
    lines = [HEAD]
    for group, meaning in CHOICES.items():
        lines.append(f"{group}: {', '.join(options_of_group(group))}")
        lines.append(f"    {meaning}")
    lines += [f"{key}: {meaning}" for key, meaning in KEYS.items()]
    return "\n".join("\n".join(wrapped(line)) for line in [*lines, "", *TAIL.splitlines()])


def wrapped(line: str) -> list[str]:
    """Break a line of the help, further lines indented; examples and empty lines stay."""
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ") if len(line) > WIDTH and "\n" not in line else [line]


def groups() -> list[str]:
    """Return the names of the groups of keys, those without a group of their own under `run` last."""
    return [*(item.name for item in fields(Config) if is_dataclass(item.type)), "run"]


def described(group: str) -> str:
    """Return the options of a group and its keys."""
    lines = [f"== {group} =="]
    if (configuration_folder() / group).is_dir():
        lines += wrapped(f"{group}=... is one of {', '.join(options_of_group(group))}")
    for row in rows_of(group):
        default = f" = {row.default}" if row.default else ""
        accepts = f" ({row.accepts})" if row.accepts else ""
        lines.append(f"  {row.key}{default}")
        lines += textwrap.wrap(f"{row.meaning}{accepts}", WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def rows_of(group: str) -> list[Row]:
    """Return the keys of a group; those of each learner follow what all have, with the learner's name before them."""
    if group == "run":
        return [row for row in _rows(Config, "") if "." not in row.key]
    kind = next(item.type for item in fields(Config) if item.name == group)
    rows = list(_rows(kind, f"{group}."))
    if group == "learner":
        common = {item.name for item in fields(LearnerConfig)}
        for name, method in all_methods().items():
            own = (row for row in _rows(method.settings, "learner.") if row.key.partition(".")[2] not in common)
            rows += [row._replace(meaning=f"{name}: {row.meaning}") for row in own]
    return rows


def _rows(kind: Any, prefix: str) -> Iterator[Row]:  # noqa: ANN401
    for item in fields(kind):
        if is_dataclass(item.type):
            continue
        value = item.default if item.default_factory is NOTHING else item.default_factory()
        allowed: Allowed = item.metadata.get("allowed", Allowed())
        yield Row(f"{prefix}{item.name}", written(value), allowed.meaning, allowed.accepts)


def written(value: Any) -> str:  # noqa: ANN401
    """Return a value as the command line takes it."""
    if value in (MISSING, NOTHING):
        return ""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
