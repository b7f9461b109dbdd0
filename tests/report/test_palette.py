"""The palette stays distinguishable in normal and simulated colour vision; colours go by rank."""

import numpy as np
import numpy.typing as npt
import pytest

from hsi_al.report.palette import BACKGROUND, PALETTE, UNUSED, colour_of, paint, rgb_of
from hsi_al.report.palette import cielab as palette_cielab

Floats = npt.NDArray[np.float64]

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISIONS: dict[str, list[list[float]]] = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
FLOORS = {  # CIELAB distances for the first 9 and 16 colours
    ("normal", 9): 36,
    ("normal", 16): 30,
    ("protanopia", 9): 26,
    ("protanopia", 16): 22,
    ("deuteranopia", 9): 27,
    ("deuteranopia", 16): 22,
    ("tritanopia", 9): 20,
    ("tritanopia", 16): 15,
}


def cielab(colours: list[tuple[int, int, int]], vision: str) -> Floats:
    encoded = np.array(colours) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    xyz = seen @ np.array(TO_XYZ).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def least_distance(colours: list[tuple[int, int, int]], vision: str) -> float:
    lab = cielab(colours, vision)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return float(distances[np.triu_indices(len(lab), 1)].min())


@pytest.mark.parametrize(("vision", "count"), FLOORS)
def test_colours_are_apart(vision: str, count: int) -> None:
    colours = [rgb_of(colour) for colour in PALETTE[:count]]
    assert least_distance(colours, vision) > FLOORS[vision, count]


@pytest.mark.parametrize("vision", VISIONS)
def test_no_class_looks_like_background(vision: str) -> None:
    lab = cielab([BACKGROUND, *map(rgb_of, PALETTE)], vision)
    assert np.linalg.norm(lab[1:] - lab[0], axis=1).min() > 13


def test_the_measure_itself() -> None:
    assert cielab([(255, 255, 255)], "normal")[0] == pytest.approx([100, 0, 0], abs=0.01)
    assert cielab([(255, 0, 0)], "normal")[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    red_green = [(255, 0, 0), (100, 110, 0)]
    assert least_distance(red_green, "protanopia") < least_distance(red_green, "normal") / 4


def test_twenty_different_colours() -> None:
    assert len(set(PALETTE)) == 20
    assert UNUSED not in map(rgb_of, PALETTE)


def test_colours_go_by_rank_of_the_value() -> None:
    expected = {2: rgb_of(PALETTE[0]), 5: rgb_of(PALETTE[1]), 11: rgb_of(PALETTE[2])}
    assert colour_of([11, 2, 5, 5]) == expected
    assert colour_of(np.array([5, 11, 2])) == expected


def test_more_classes_than_colours_stay_different() -> None:
    assert len(set(colour_of(range(1, 46)).values())) == 45


def test_colours_beyond_the_palette_are_as_far_apart_as_can_be() -> None:
    """The first ones stay; of 60 the nearest two are clearly, of 200 still visibly apart (a difference of 2.3 is)."""
    sixty, many = list(colour_of(range(1, 61)).values()), list(colour_of(range(1, 201)).values())
    assert sixty == many[:60] and sixty[:20] == [rgb_of(colour) for colour in PALETTE]
    assert least_distance(sixty, "normal") > 18
    assert least_distance(many, "normal") > 8
    assert least_distance([BACKGROUND, UNUSED, *many], "normal") > 5
    assert len(colour_of(range(9000))) == 9000  # more than there are colours


def test_cielab_is_that_of_the_tests() -> None:
    rgb = [(0, 0, 0), (255, 255, 255), (51, 102, 187), (250, 10, 130)]
    assert palette_cielab(rgb) == pytest.approx(cielab(rgb, "normal"), abs=0.05)


def test_paint() -> None:
    image = paint(np.array([[0, 2], [5, 9]]), colour_of([2, 5]))
    assert image.dtype == np.uint8
    assert image.tolist() == [[[*BACKGROUND], [*rgb_of(PALETTE[0])]], [[*rgb_of(PALETTE[1])], [*UNUSED]]]
    assert paint(np.array([[0, 9]]), {}).tolist() == [[[*BACKGROUND], [*UNUSED]]]
    assert paint(np.array([[0, 300, 1]]), {0: (1, 2, 3), 300: (4, 5, 6)}).tolist() == [
        [[1, 2, 3], [4, 5, 6], [*UNUSED]]
    ]
