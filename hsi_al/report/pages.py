"""Parts of the reports in HTML: pages that need no other file, load nothing and run no script.

What isn't `Html` already is escaped wherever it is put into a page.
"""

import base64
import html
import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.report.palette import RGB, hex_of, paint, rgb_of
from hsi_al.version import VERSION

MOST_PICTURE = 1200  # pixels a side
LEAST_PICTURE = 600  # to which small maps are enlarged
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}"
    "code{background:#eee;padding:.1em .3em}"
    "img{max-width:100%;height:auto;border:1px solid #999;image-rendering:pixelated}"
    ".wide{overflow-x:auto}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:right}"
    "td:first-child,th:first-child{text-align:left;white-space:nowrap}"
    ".box{display:inline-block;width:1em;height:1em;margin-right:.5em;border:1px solid #333;vertical-align:-.1em}"
)


class Html(str):
    """Text of a page, which is not escaped again."""

    __slots__ = ()


def page(title: str, *parts: str) -> str:
    """Return a page of these parts below its title."""
    head = f'<meta charset="utf-8"><title>{escaped(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{escaped(title)}</h1>", *map(escaped, parts)])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def escaped(text: str) -> str:
    """Return a text as a page shows it between its tags; it is no value of an attribute."""
    return text if isinstance(text, Html) else html.escape(text, quote=False)


def heading(text: str) -> Html:
    """Return the heading of a section."""
    return Html(f"<h2>{escaped(text)}</h2>")


def paragraph(text: str) -> Html:
    """Return a paragraph."""
    return Html(f"<p>{escaped(text)}</p>")


def strong(text: str) -> Html:
    """Return a text that stands out."""
    return Html(f"<strong>{escaped(text)}</strong>")


def code(text: str) -> Html:
    """Return what is typed as it stands."""
    return Html(f"<code>{escaped(text)}</code>")


def bullets(lines: Iterable[str]) -> Html:
    """Return a list."""
    return Html("<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in lines) + "</ul>")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a table; one that is wider than the page is scrolled."""
    lines = [("th", columns), *(("td", row) for row in rows)]
    text = "".join(
        "<tr>" + "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in cells) + "</tr>" for tag, cells in lines
    )
    return Html(f'<div class="wide"><table>{text}</table></div>')


def named(name: str, colour: RGB) -> Html:
    """Return the name of a class behind its colour."""
    return Html(f'<span class="box" style="background:{hex_of(colour)}"></span>{escaped(name)}')


def picture(class_map: NDArray[Any], colours: Mapping[int, RGB]) -> Html:
    """Return the picture of a map: label values (H, W), 0 = not mapped, thinned to `MOST_PICTURE` pixels a side."""
    step = max(1, math.ceil(max(class_map.shape) / MOST_PICTURE))
    shown = paint(class_map[::step, ::step], colours)
    larger = max(1, LEAST_PICTURE // max(shown.shape[:2]))
    packed = base64.b64encode(png(np.ascontiguousarray(shown.repeat(larger, axis=0).repeat(larger, axis=1)))).decode()
    return Html(f'<img src="data:image/png;base64,{packed}" alt="The map: classes in the colours of the table below">')


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture (h, w, 3) or (h, w, 4), 8 bits a channel, as a PNG file."""
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # a line begins with its filter, 0 = none
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(lines.tobytes(), 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b"")


def legend(
    names: Mapping[int, str],
    colours: Mapping[int, RGB],
    counts: Mapping[int, int],
    hectares: float | None,
    labels: Mapping[int, int] | None = None,
) -> Html:
    """Return the table of a map's classes.

    Args:
        names: Label value -> name.
        colours: Label value -> colour.
        counts: Label value -> pixels of the map.
        hectares: Area of a pixel; None = unknown.
        labels: Label value -> labelled pixels; None = not shown.
    """
    total = sum(counts.values())
    shown = [] if labels is None else ["labels"]
    columns = ["class", "value", *shown, "pixels", "share of the map", *([] if hectares is None else ["hectares"])]
    rows = [
        [
            named(names[value], colours[value]),
            str(value),
            *([] if labels is None else [f"{labels.get(value, 0):,}"]),
            f"{counts.get(value, 0):,}",
            f"{100 * counts.get(value, 0) / max(1, total):.1f} %",
            *([] if hectares is None else [amount({"estimate": counts.get(value, 0) * hectares, "interval": None})]),
        ]
        for value in sorted(names)
    ]
    return table(columns, rows)


def estimates(accuracy: Mapping[str, Any]) -> list[str]:
    """Return overall accuracy, the table of the classes, the error matrix and the notes of an assessment.

    Args:
        accuracy: See `hsi_al.label.assessment.report`.
    """
    classes = accuracy["classes"]
    titles = [named(found["name"], rgb_of(found["colour"])) for found in classes]
    columns = ("class", "pixels", "user's accuracy", "producer's accuracy", "share mapped", "area", "hectares")
    rows = [
        (
            title,
            str(found["n"]),
            unbroken(percent(found["users"])),
            unbroken(percent(found["producers"])),
            f"{100 * found['mapped_share']:.1f} %",
            unbroken(percent(found["area"])),
            unbroken(amount(found["hectares"])),
        )
        for title, found in zip(titles, classes, strict=True)
    ]
    matrix = [
        (title, *(str(count) if count else "" for count in row))
        for title, row in zip(titles, accuracy["counts"], strict=True)
        if any(row)
    ]
    return [
        paragraph(strong(f"Overall accuracy: {percent(accuracy['overall'])}")),
        paragraph("In brackets: 95 % intervals."),
        table(columns, rows),
        paragraph("The sampled pixels: what the map says (rows), and what was answered (columns)."),
        table(("mapped as", *(found["name"] for found in classes)), matrix),
        bullets(accuracy["notes"]),
    ]


def unbroken(text: str) -> str:
    """Return an estimate that is broken into lines only before its interval."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}")


def made_by(commit: str | None = None) -> str:
    """Return what made a page, from which commit if that is known, and when."""
    which = f"{VERSION} ({commit})" if commit else VERSION
    return f"hsi_al {which}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC."


def percent(found: Mapping[str, Any] | None) -> str:
    """Return an estimate in per cent with its interval."""
    if found is None:
        return "unknown"
    text = f"{100 * found['estimate']:.1f} %"
    interval = found["interval"]
    return text if interval is None else f"{text} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def amount(found: Mapping[str, Any] | None) -> str:
    """Return an area with its interval, with as many digits as tell areas below a hectare apart."""
    if found is None:
        return ""
    interval = found["interval"]
    largest = max([found["estimate"], *(interval or [])])
    digits = 1 if largest >= 10 else 2 if largest >= 1 else 4
    if 0 < largest < 0.01:  # pixels of a drone are centimetres wide
        digits = 2 - math.floor(math.log10(largest))
    text = f"{found['estimate']:,.{digits}f}"
    return text if interval is None else f"{text} ({interval[0]:,.{digits}f} to {interval[1]:,.{digits}f})"
