"""Parts of the reports in HTML."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from hsi_al.report.pages import amount, bullets, estimates, legend, named, page, percent, picture, png, table
from hsi_al.report.palette import BACKGROUND

RED, BLUE = (255, 0, 0), (0, 0, 255)
HOSTILE = "<script>alert(1)</script> & Ko"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Ko"


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 4), (256, 256, 3), (7, 1, 4)])
def test_a_picture_comes_back_from_its_file(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert (np.rint(255 * imread(io.BytesIO(png(pixels)))) == pixels).all()


def test_texts_are_escaped_once_wherever_they_stand() -> None:
    legend_ = legend({1: HOSTILE}, {1: RED}, {1: 2}, None)
    text = page(HOSTILE, HOSTILE, bullets([HOSTILE]), table([HOSTILE], [[named(HOSTILE, RED), HOSTILE]]), legend_)
    assert "<script" not in text and text.count(ESCAPED) == 8 and "&amp;lt;" not in text  # the title stands twice


def shown(text: str) -> np.ndarray:
    found = re.search(r'src="data:image/png;base64,([^"]+)"', text)
    assert found is not None
    return np.asarray(np.rint(255 * imread(io.BytesIO(base64.b64decode(found[1])))), np.int64)


def test_a_map_is_shown_in_its_colours_at_a_size_that_can_be_looked_at() -> None:
    class_map = np.array([[0, 7, 300]])
    pixels = shown(picture(class_map, {7: RED, 300: BLUE}))
    assert pixels.shape == (200, 600, 3)  # three pixels of 200
    assert (pixels[:, :200] == BACKGROUND).all()
    assert (pixels[:, 200:400] == RED).all() and (pixels[:, 400:] == BLUE).all()
    large = np.zeros((2500, 20), np.uint8)
    large[::3] = 1  # every third row is what is shown
    assert (shown(picture(large, {1: RED})) == RED).all()
    assert shown(picture(large, {1: RED})).shape == (834, 7, 3)


def test_a_legend_has_pixels_shares_and_hectares() -> None:
    text = legend({1: "corn", 4: "oats", 9: "pond"}, {1: RED, 4: BLUE, 9: RED}, {1: 30_000, 4: 10_000}, 0.01)
    cells = re.findall(r"<td>(?:<span[^>]*></span>)?([^<]*)</td>", text)
    assert cells == [
        *("corn", "1", "30,000", "75.0 %", "300.0"),
        *("oats", "4", "10,000", "25.0 %", "100.0"),
        *("pond", "9", "0", "0.0 %", "0.0000"),
    ]
    assert "hectares" not in legend({1: "corn"}, {1: RED}, {1: 1}, None)
    with_labels = legend({1: "corn", 4: "oats"}, {1: RED, 4: BLUE}, {1: 1}, None, {4: 2})
    assert re.findall(r"<td>([0-9]+)</td>", with_labels) == ["1", "0", "1", "4", "2", "0"]


def test_estimates_come_with_the_error_matrix() -> None:
    whole = {"estimate": 0.75, "interval": [0.5, 1.0]}
    one = {"name": HOSTILE, "colour": "#ff0000", "n": 4, "users": whole, "producers": None, "mapped_share": 0.5}
    other = one | {"name": "oats", "colour": "#0000ff", "n": 0, "users": None}
    areas = {"area": whole, "hectares": {"estimate": 12.0, "interval": None}}
    accuracy = {
        "overall": whole,
        "classes": [one | areas, other | areas],
        "counts": [[3, 1], [0, 0]],
        "notes": [HOSTILE],
    }
    text = "".join(estimates(accuracy))
    assert "Overall accuracy: 75.0 % (50.0 to 100.0)" in text and "<script" not in text and text.count(ESCAPED) == 4
    assert "<td>unknown</td>" in text and "<td>12.0</td>" in text
    assert text.count("<tr>") == 3 + 2  # a class without a sampled pixel has no row of the matrix
    assert "<td>3</td><td>1</td></tr>" in text


def test_small_areas_are_told_apart() -> None:
    assert amount(None) == ""
    assert amount({"estimate": 21157.7, "interval": [14999.6, 27315.8]}) == "21,157.7 (14,999.6 to 27,315.8)"
    assert amount({"estimate": 0.03, "interval": [0.0, 0.0612]}) == "0.0300 (0.0000 to 0.0612)"
    assert amount({"estimate": 0.03, "interval": None}) == "0.0300"
    # 100 and 240 pixels of 5 cm, as a drone sees them.
    assert amount({"estimate": 2.5e-5, "interval": [0.0, 6e-5]}) == "0.0000250 (0.0000000 to 0.0000600)"
    assert amount({"estimate": 0.0, "interval": None}) == "0.0000"


def test_an_unknown_share_is_named_so() -> None:
    assert percent(None) == "unknown" and percent({"estimate": 0.5, "interval": None}) == "50.0 %"
