"""The files of the page, without a browser: contrast of its colours, nothing inline, nothing from elsewhere."""

import re
from itertools import product
from pathlib import Path

import pytest

import hsi_al.label

WEB = Path(hsi_al.label.__file__).with_name("web")
STYLE = (WEB / "style.css").read_text(encoding="utf-8")
PAGE = (WEB / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(WEB.glob("*.js"))}
COLOURS = {
    name: both for name, *both in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", STYLE)
}
TEXTS = [
    *product(["text", "quiet"], ["page", "panel", "plot", "button", "hover"]),
    *product(["accent"], ["page", "panel", "hover"]),
    ("on-accent", "accent"),
    ("on-note", "note"),
    ("on-good", "good"),
    ("on-bad", "bad"),
]
PARTS = [*product(["control"], ["page", "panel", "button"]), *product(["accent"], ["page", "panel", "button"])]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2 for #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2, 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa_and_every_control_three_to_one(theme: int) -> None:
    for wanted, pairs in ((4.5, TEXTS), (3.0, PARTS)):
        for front, back in pairs:
            assert contrast(COLOURS[front][theme], COLOURS[back][theme]) >= wanted, (front, back)


def test_all_colours_of_texts_come_from_those() -> None:
    rules = re.sub(r":root \{[^}]*\}", "", STYLE)
    assert set(re.findall(r"(?<![\w-])color: ([^;]+);", rules)) <= {f"var(--{front})" for front, _ in TEXTS}
    assert "opacity" not in "".join(re.findall(r"(?:footer|aside|header|label|button|#status)[^{]*\{[^}]*\}", rules))


def test_page_holds_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", PAGE)  # as its security policy asks
    for name, text in {"index.html": PAGE, "style.css": STYLE, **SCRIPTS}.items():
        assert set(re.findall(r"\w+://[^\s\"')]*", text)) <= {"http://www.w3.org/2000/svg"}, name
        assert "innerHTML" not in text, name  # names of classes are text, never markup


def test_everything_that_is_named_is_there_and_small() -> None:
    named = set(re.findall(r'/static/([\w./-]+)"', PAGE))
    for text in SCRIPTS.values():
        named |= set(re.findall(r'from "\./([\w./-]+)"', text))
    files = {path.name for path in WEB.iterdir()} - {"index.html"}
    assert named == files
    assert sum(path.stat().st_size for path in WEB.iterdir()) < 200_000


def test_promised_testids() -> None:
    for name in (
        "scene",
        "query",
        "skip",
        "undo",
        "redo",
        "status",
        "progress",
        "export",
        "assess",
        "add-class",
        "labels",
    ):
        assert f'data-testid="{name}"' in PAGE
    assert '"data-testid": `class-${value}`' in SCRIPTS["classes.js"]
    assert '"data-testid": `layer-${name}`' in SCRIPTS["layers.js"]
