"""Pixels inside a polygon, against shapely."""

import numpy as np
import pytest

from hsi_al.label.polygons import pixels_inside

shapely = pytest.importorskip("shapely")


@pytest.mark.parametrize("seed", range(20))
def test_centres_inside_are_those_of_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, corners = 9, 13, int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))  # a star around a point: no outline crosses itself
    radii = rng.uniform(1, 9, corners)
    points = np.stack([4 + radii * np.sin(angles), 6 + radii * np.cos(angles)], axis=1)
    shape = shapely.Polygon([(column, row) for row, column in points])
    row, column = np.divmod(np.arange(height * width), width)
    expected = np.flatnonzero(shapely.contains_xy(shape, column + 0.5, row + 0.5))
    assert np.array_equal(pixels_inside(points.tolist(), height, width), expected)


def test_single_pixels_edges_and_nothing() -> None:
    assert pixels_inside([(1, 2), (1, 3), (2, 3), (2, 2)], 4, 5).tolist() == [7]
    assert pixels_inside([(-9, -9), (-9, 99), (99, 99), (99, -9)], 2, 3).tolist() == list(range(6))
    assert pixels_inside([(0.6, 0.6), (0.6, 0.9), (0.9, 0.9)], 2, 2).tolist() == []  # no centre inside
    assert pixels_inside([(0, 0), (0, 5), (9, 5), (9, 0)], 9, 5, most=7).tolist() == list(range(10))  # two rows tell
    assert pixels_inside([(0, 0), (5, 5)], 9, 9).tolist() == []
    assert pixels_inside([(20, 0), (20, 5), (30, 5)], 9, 9).tolist() == []  # outside of the scene
    left, right = [(0, 0), (0, 1.5), (3, 1.5), (3, 0)], [(0, 1.5), (0, 3), (3, 3), (3, 1.5)]
    both = [*pixels_inside(left, 3, 3).tolist(), *pixels_inside(right, 3, 3).tolist()]
    assert sorted(both) == list(range(9))  # a centre on the shared edge belongs to one of them
