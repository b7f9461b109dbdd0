"""Class colours that readers with and without colour vision deficiency can tell apart.

The order matters: colours 1-7 are close to those of Okabe and Ito. The rest were added one at a time, each where the
smallest CIELAB distance to all earlier colours (normal vision, deuteranopia, protanopia, and with less weight
tritanopia) was largest, then exchanged until no exchange improved it. So the first colours are the most distinct.
Candidates were limited to lightness 20-92 and chroma below 90, which keeps out near-black and neon.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

RGB = tuple[int, int, int]

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
BACKGROUND: RGB = (242, 242, 242)  # ground truth 0, or not predicted
UNUSED: RGB = (200, 200, 200)  # a label value that is not a class of this run


def rgb_of(hexadecimal: str) -> RGB:
    """Convert "#RRGGBB" to three integers 0-255."""
    return int(hexadecimal[1:3], 16), int(hexadecimal[3:5], 16), int(hexadecimal[5:7], 16)


def colour_of(label_values: Iterable[int]) -> dict[int, RGB]:
    """Return a colour for each label value by its rank; after the last colour the palette starts again, paler."""
    return {value: _colour(rank) for rank, value in enumerate(sorted(set(label_values)))}


def _colour(rank: int) -> RGB:
    turn, place = divmod(rank, len(PALETTE))
    red, green, blue = (round(255 - (255 - channel) * 0.6**turn) for channel in rgb_of(PALETTE[place]))
    return red, green, blue


def paint(labels: npt.NDArray[np.integer], colours: Mapping[int, RGB]) -> npt.NDArray[np.uint8]:
    """Colour a map (H, W) of label values as (H, W, 3); 0 is background, other values without a colour are `UNUSED`."""
    image = np.empty((*labels.shape, 3), dtype=np.uint8)
    image[:] = UNUSED
    image[labels == 0] = BACKGROUND
    for value, colour in colours.items():
        image[labels == value] = colour
    return image
