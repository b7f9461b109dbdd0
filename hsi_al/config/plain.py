"""YAML that may be a stranger's: read as plain data, in bounded time and memory."""

import re
from pathlib import Path
from typing import Any

import yaml

from hsi_al.errors import ConfigurationError

MOST_BYTES = 2**17  # of a file; a kept configuration takes some 3,000
MOST_VALUES = 10**5  # that a file stands for once its aliases are resolved


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads YAML as plain data; aliases are refused, since a few nested ones stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        """Return the next node.

        Raises:
            yaml.YAMLError: It is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which no configuration of a run has")
        return super().compose_node(parent, index)


def plain_yaml(path: Path) -> Any:  # noqa: ANN401
    """Read a kept configuration, which may be a stranger's, as plain data; nothing in it is resolved.

    Raises:
        OSError: It can't be read.
        ValueError: It is too large or nested too deeply, or no UTF-8 text.
        yaml.YAMLError: It is no YAML of plain data.
    """
    text = text_of(path)
    try:
        return yaml.load(text, Loader=PlainLoader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def text_of(path: Path) -> str:
    """Read a text of at most `MOST_BYTES`.

    Raises:
        OSError: It can't be read.
        ValueError: It is larger, or no UTF-8 text.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def literal(node: Any) -> Any:  # noqa: ANN401
    r"""Return plain data whose texts OmegaConf takes as they are: each `${`, an interpolation's start, is escaped."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Turn nested dictionaries into one with dotted keys; lists stay whole."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def check_folder(folder: Path) -> None:
    """Check the YAML files in and below a folder of configurations before Hydra resolves their aliases.

    Raises:
        ConfigurationError: A file can't be read, is too large or nested too deeply, or its aliases stand for too much.
    """
    for path in sorted(folder.rglob("*.yaml")):
        try:
            if weight(yaml.compose(text_of(path), Loader=yaml.SafeLoader), {}) > MOST_VALUES:
                raise ValueError(f"its aliases stand for more than {MOST_VALUES} values")
        except RecursionError:
            raise ConfigurationError(f"{path} is nested too deeply to be a configuration; shorten it.") from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(
                f"{path} can't be used as a configuration ({reason}); mend or remove it."
            ) from error


def weight(node: Any, known: dict[int, int]) -> int:  # noqa: ANN401
    """Return how many values a YAML node stands for, aliases resolved; one inside itself stands for too many.

    Args:
        node: Node of `yaml.compose`; None for an empty file.
        known: Weights by the identity of nodes that were seen.
    """
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_VALUES + 1  # until it is known, for an alias of a node inside it
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    nodes = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
    known[id(node)] = 1 + sum(weight(part, known) for part in nodes)
    return known[id(node)]
