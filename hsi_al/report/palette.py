"""Class colours that readers with and without colour vision deficiency can tell apart.

The order matters: colours 1-7 are close to those of Okabe and Ito. The rest were added one at a time, each where the
smallest CIELAB distance to all earlier colours (normal vision, deuteranopia, protanopia, and with less weight
tritanopia) was largest, then exchanged until no exchange improved it. So the first colours are the most distinct.
Candidates were limited to lightness 20-92 and chroma below 90, which keeps out near-black and neon.

Where there are more classes, more colours are added in the same way (normal vision only) when they are needed. What a
reader can tell apart on a map ends long before: some thirty colours.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

RGB = tuple[int, int, int]
Floats = npt.NDArray[np.float64]

PALETTE = (
    "#3366BB",
    "#DD9922",
    "#00AA66",
    "#AA4400",
    "#00CCFF",
    "#995588",
    "#FFDD00",
    "#330099",
    "#552200",
    "#99EE77",
    "#443344",
    "#8866FF",
    "#770077",
    "#336644",
    "#CC99AA",
    "#BBDDAA",
    "#DD77CC",
    "#AA0033",
    "#887777",
    "#AA88FF",
)
PALE = ("#FFDD00", "#99EE77", "#CC99AA", "#BBDDAA")  # hardly seen as lines on white
LINE_COLOURS = tuple(colour for colour in PALETTE if colour not in PALE)
BACKGROUND: RGB = (242, 242, 242)  # ground truth 0, or not predicted
UNUSED: RGB = (200, 200, 200)  # a label value that is not a class of this run
GREY = "#888888"  # of answers and samples that are none of the classes


def rgb_of(hexadecimal: str) -> RGB:
    """Convert "#RRGGBB" to three integers 0-255."""
    return int(hexadecimal[1:3], 16), int(hexadecimal[3:5], 16), int(hexadecimal[5:7], 16)


def hex_of(colour: RGB) -> str:
    """Convert three integers 0-255 to "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def colour_of(label_values: Iterable[int]) -> dict[int, RGB]:
    """Return a colour for each label value by its rank; they repeat only after some thousand."""
    values = sorted(set(label_values))
    colours = tuple(map(rgb_of, PALETTE)) if len(values) <= len(PALETTE) else more_colours(len(values))
    return {value: colours[rank % len(colours)] for rank, value in enumerate(values)}


@cache
def more_colours(count: int) -> tuple[RGB, ...]:
    """Return the palette and after it colours each of which has the largest CIELAB distance to those before.

    There are fewer than `count` if the candidates, a grid of RGB with the palette's limits, run out.
    """
    candidates = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = cielab(candidates).T
    candidates = candidates[(lightness > 20) & (lightness < 92) & (np.hypot(a, b) < 90)]
    found = [*map(rgb_of, PALETTE)]
    places = cielab(candidates)
    distance = np.min([np.linalg.norm(places - at, axis=1) for at in cielab([*found, BACKGROUND, UNUSED])], axis=0)
    for _ in range(min(count - len(found), len(candidates))):
        farthest = int(distance.argmax())
        red, green, blue = candidates[farthest].tolist()
        found.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(places - places[farthest], axis=1))
    return tuple(found)


def cielab(colours: npt.ArrayLike) -> Floats:
    """Convert sRGB 0-255 (N, 3) to CIELAB of white point D65, (N, 3): lightness 0-100, a, b."""
    encoded = np.asarray(colours, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    xyz = linear @ to_xyz.T / [0.9505, 1, 1.0888]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def paint(labels: npt.NDArray[np.integer], colours: Mapping[int, RGB]) -> npt.NDArray[np.uint8]:
    """Colour a map (H, W) of label values as (H, W, 3); 0 is background, other values without a colour are `UNUSED`."""
    if not colours:
        return np.asarray(np.array([BACKGROUND, UNUSED], np.uint8)[(labels != 0).astype(np.intp)])
    values = np.array(sorted(colours))
    rank = np.minimum(np.searchsorted(values, labels), len(values) - 1)
    painted = np.array([*(colours[int(value)] for value in values), BACKGROUND, UNUSED], np.uint8)
    rank[values[rank] != labels] = len(values) + 1
    rank[(labels == 0) & (rank > len(values))] = len(values)
    return np.asarray(painted[rank], np.uint8)
