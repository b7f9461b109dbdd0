"""The pixels inside a polygon."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def pixels_inside(points: Sequence[tuple[float, float]], height: int, width: int, most: int | None = None) -> Ids:
    """Return the ids of the pixels of a scene whose centre lies in a polygon, ascending, (n,).

    A centre is inside if a ray from it crosses the outline an odd number of times. Pixel (r, c) has its centre at
    (r + 0.5, c + 0.5). A centre on an edge belongs to one of the two polygons that share the edge.

    Args:
        points: Corners (row, column), in order; the last one is joined to the first one.
        height: Rows of the scene.
        width: Columns of the scene.
        most: Pixels that are enough: once there are more, the rows below are left out; None = all.
    """
    if len(points) < 3:
        return np.empty(0, np.int64)
    corners = np.asarray(points, np.float64)
    begins, ends = corners, np.roll(corners, -1, axis=0)
    low, high = corners[:, 0].min(), corners[:, 0].max()
    found, n = [], 0
    for row in range(max(0, int(np.floor(low))), min(height, int(np.ceil(high)))):
        middle = row + 0.5
        crosses = (begins[:, 0] <= middle) != (ends[:, 0] <= middle)
        (row0, column0), (row1, column1) = begins[crosses].T, ends[crosses].T
        places = np.sort(column0 + (middle - row0) / (row1 - row0) * (column1 - column0))
        # Columns whose centre is at or behind a crossing, clipped to the scene.
        firsts = np.clip(np.ceil(places - 0.5), 0, width).astype(np.int64)
        for first, last in zip(firsts[::2].tolist(), firsts[1::2].tolist(), strict=True):
            found.append(row * width + np.arange(first, last))
            n += last - first
        if most is not None and n > most:
            break
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)
