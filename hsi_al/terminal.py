"""Text for the terminal: without control characters, and without an error for what its encoding lacks."""

import io
import sys
import unicodedata
from contextlib import suppress


def printable(text: str) -> str:
    r"""Return text with everything invisible but spaces written as escapes, such as `\x1b` or `\n`.

    Control characters in names from a file could otherwise move the cursor or recolour what is shown.
    """
    return "".join(
        char
        if char.isprintable() or unicodedata.category(char) == "Zs"
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def warn(sentence: str) -> None:
    """Print a warning on stderr; a closed stderr is no error."""
    with suppress(OSError, ValueError):
        print(f"hsi_al: warning: {printable(sentence)}", file=sys.stderr, flush=True)


def tolerate_encodings() -> None:
    """Let stdout and stderr write characters that their encoding lacks as escapes, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
