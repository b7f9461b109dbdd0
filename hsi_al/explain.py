"""One sentence out of what Hydra and OmegaConf raise."""

import difflib
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


def one_sentence(error: BaseException, schema: Any) -> str:  # noqa: ANN401
    """What is wrong and what would be right, without search paths and tracebacks.

    Args:
        error: The exception; its cause holds the detail.
        schema: The configuration as composed without overrides, for the siblings of an unknown key; None if unknown.
    """
    text = str(error)
    if unknown := re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text) or re.search(
        r"Key '([^']+)' not in '\w+'\s+full_key: (\S+)", text
    ):
        return unknown_key(unknown[2], schema)
    if cause := error.__cause__ or error.__context__:
        inner = str(cause)
        if isinstance(cause, OmegaConfBaseException) and "full_key" in inner:
            if re.search(r"not in (struct|')", inner):
                return one_sentence(cause, schema)
            text = inner
    lines = [line.strip() for line in text.splitlines()]
    if "Config search path:" in lines:
        lines = lines[: lines.index("Config search path:")]
    lines = [line for line in lines if line and not line.startswith(("object_type=", "reference_type=", "Set the env"))]
    lines = [re.sub(r"^full_key: (.*)$", r"(key \1)", line) for line in lines]
    if options := [index for index, line in enumerate(lines) if line.startswith("Available options in")]:
        at = options[0]
        lines[at:] = [f"{lines[at]} {', '.join(lines[at + 1 :])}"]
    return re.sub(r"\s+", " ", " ".join(line if re.search(r"[.:;,]$", line) else f"{line}" for line in lines)).rstrip()


def unknown_key(key: str, schema: Any) -> str:  # noqa: ANN401
    """Name the siblings of an unknown key, nearest first if one is near."""
    *parents, last = key.split(".")
    node = schema
    for parent in parents:
        if not (isinstance(node, DictConfig) and parent in node):
            break
        node = node[parent]
    where = f" in {'.'.join(parents)}" if parents else ""
    if not isinstance(node, DictConfig):
        return f"There is no key {key}."
    siblings = [str(name) for name in OmegaConf.to_container(node) or {} if name != "hydra"]
    near = difflib.get_close_matches(last, siblings, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"There is no key {last}{where}; {hint}The keys there are {', '.join(siblings)}."
