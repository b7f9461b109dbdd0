"""Sentences for names and values that the configuration doesn't know, the same on the command line and in Python."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

LONGEST = 1000  # characters of a sentence of Hydra or OmegaConf
UNKNOWN_KEY = re.compile(r"Key '[^']+' (?:is not in struct|not in '\w+')\s+full_key: (\S+)")
NO_OPTION = re.compile(
    r"Could not find '([^']+)/([^']+)'\s+Available options in '[^']+':\s+(.*?)(?:Config search|$)", re.S
)
SEARCH_PATH = re.compile(r"\s*Config search path:.*", re.S)
TYPE_LINES = re.compile(r"^\s*(object_type|reference_type)=.*$", re.M)


def one_sentence(error: BaseException, schema: Any) -> str:  # noqa: ANN401
    """Say in one sentence what is wrong and what would be right, without search paths and tracebacks.

    Args:
        error: The exception; its cause or context may hold the details.
        schema: The configuration with its defaults, for naming the keys beside an unknown one.
    """
    cause = error.__cause__ or error.__context__
    for text in (str(error), str(cause or "")):
        if unknown := UNKNOWN_KEY.search(text):
            return unknown_key(unknown[1], schema)
        if option := NO_OPTION.search(text):
            return no_option(option[1], option[2], option[3].split())
    text = str(cause) if cause is not None and "full_key" in str(cause) else str(error)
    text = TYPE_LINES.sub("", SEARCH_PATH.sub("", text))
    text = re.sub(r"full_key: (\S+)", r"(key \1)", text)
    return shortened(" ".join(text.split()).rstrip(".")) + "."


def shortened(text: str) -> str:
    """Leave out the middle of a long text, such as a long value that OmegaConf repeats."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def no_option(group: str, name: str, options: Iterable[str]) -> str:
    """Say that a group has no such option and list those it has, without the schemas, which users can't choose."""
    names = sorted(option for option in options if not option.endswith("_schema"))
    return f"There is no {group} {name!r}; choose one of {', '.join(names)}."


def unknown_key(key: str, schema: Any) -> str:  # noqa: ANN401
    """Say that there is no such key, list the keys at its place and suggest the most similar one."""
    *parents, last = key.split(".")
    node = OmegaConf.select(schema, ".".join(parents)) if parents else schema
    if not isinstance(node, DictConfig):
        return f"There is no key {key}; --cfg job lists all keys."
    siblings = [str(name) for name in node]
    near = difflib.get_close_matches(last, siblings, n=1)
    hint = f" did you mean {near[0]}?" if near else ""
    where = f" in {'.'.join(parents)}" if parents else ""
    return f"There is no key {last}{where};{hint} the keys there are {', '.join(siblings)}."
