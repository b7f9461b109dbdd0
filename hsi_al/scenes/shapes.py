"""Points and polygons in the grid of a scene: brought there from their coordinate reference system, and drawn.

Needs the extra `geo`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.checks import Labels
from hsi_al.scenes.georeference import Georeference, name_of_crs

POINTS, POLYGONS = (0, 4), (3, 6)  # shapely's types


@dataclass(frozen=True)
class Told:
    """Says which features of a file something happened to.

    Attributes:
        path: The file.
        counted: What the numbers of its features are, such as fid.
        fids: These numbers, (n,).
        notices: Where the sentences go.
    """

    path: Path
    counted: str
    fids: NDArray[np.int64]
    notices: list[str]

    def __call__(self, kind: str, which: NDArray[np.bool_], what: str) -> None:
        """Say what happened to some features, (n,), if there are any."""
        if which.any():
            first, n = ", ".join(map(str, self.fids[which][:5])), int(which.sum())
            more = f" and {n - 5:,} more" if n > 5 else ""
            self.notices.append(f"Warning: {n:,} {kind} of {self.path} ({self.counted} {first}{more}) {what}.")

    def of(self, kept: NDArray[Any]) -> "Told":
        """Return what says the same of some of the features, (n,)."""
        return replace(self, fids=self.fids[kept])


def in_pixels(
    tell: Told,
    shapes: NDArray[Any],
    crs: Any,  # noqa: ANN401
    where: Georeference,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Bring points and polygons into the grid of a scene.

    Args:
        tell: Of the shapes.
        shapes: Points and polygons, (n,).
        crs: Their coordinate reference system; None = the scene's.
        where: Where the scene lies.

    Returns:
        The shapes in columns and rows, (n,), and which of them have a place there, (n,).

    Raises:
        SceneError: None of them has, or one of the two systems can't be understood.
    """
    import shapely

    move = _mover(tell, crs, where)
    points, owners = shapely.get_coordinates(shapes, return_index=True)
    x, y = move(points[:, 0], points[:, 1])
    a, b, c, d, e, f = where.inverse
    points = np.column_stack([a * x + b * y + c, d * x + e * y + f])
    nowhere = np.unique(owners[~np.isfinite(points).all(axis=1)])
    found = ~np.isin(np.arange(len(shapes)), nowhere)
    if len(shapes) and not found.any():
        raise SceneError(
            f"{tell.path}: no coordinates of its features can be brought from {name_of_crs(wkt_of(crs))} into the "
            f"cube's {name_of_crs(where.crs)}; see that the file names the system that its coordinates are in."
        )
    tell("features", ~found, "have coordinates that do not exist in the cube's coordinate reference system")
    points[np.isin(owners, nowhere)] = 0.0  # a ring of NaN is refused
    return np.asarray(shapely.set_coordinates(shapes.copy(), points), object), found


def wkt_of(crs: Any) -> str:  # noqa: ANN401
    """Return a coordinate reference system, such as EPSG:4326, as WKT."""
    from rasterio.crs import CRS

    return str(CRS.from_user_input(crs).to_wkt())


Mover = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


def _mover(tell: Told, crs: Any, where: Georeference) -> Mover:  # noqa: ANN401
    from rasterio._err import CPLE_BaseError
    from rasterio.crs import CRS
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform

    if not crs or not where.crs:
        lacking = f"{tell.path} names" if not crs else "the cube's file names"
        tell.notices.append(
            f"Warning: {lacking} no coordinate reference system; the labels are taken to be in that of the "
            f"{'cube' if not crs else 'labels'}."
        )
        return lambda x, y: (x, y)
    try:
        source, target = CRS.from_user_input(crs), CRS.from_wkt(where.crs)
    except CRSError as error:
        raise SceneError(
            f"{tell.path} or the cube has a coordinate reference system that can't be understood; save the labels in "
            "that of the cube."
        ) from error
    if source == target:
        return lambda x, y: (x, y)

    def move(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            moved_x, moved_y = transform(source, target, x.tolist(), y.tolist())
        except (RasterioError, CPLE_BaseError, ValueError):  # a single place outside of the system ends all
            if len(x) < 2:
                return np.full(len(x), np.nan), np.full(len(x), np.nan)
            halves = [move(x[part], y[part]) for part in (slice(len(x) // 2), slice(len(x) // 2, None))]
            first, second = (np.concatenate(axis) for axis in zip(*halves, strict=True))
            return first, second
        return np.asarray(moved_x), np.asarray(moved_y)

    return move


def valid(tell: Told, shapes: NDArray[Any]) -> NDArray[Any]:
    """Return the shapes (n,) with polygons that cross themselves repaired, and say so."""
    import shapely

    wrong = ~shapely.is_valid(shapes)
    if wrong.any():
        shapes = shapes.copy()
        shapes[wrong] = [_polygonal(shape) for shape in shapely.make_valid(shapes[wrong])]
        tell("polygons", wrong, "cross themselves and were repaired; look at their pixels")
    return shapes


def _polygonal(shape: Any) -> Any:  # noqa: ANN401
    """Leave out the lines and points of a repaired polygon: they have no inside, but would be drawn."""
    import shapely

    parts = shapely.get_parts(shape)
    return shapely.multipolygons(shapely.get_parts(parts[np.isin(shapely.get_type_id(parts), POLYGONS)]))


def extent(shapes: NDArray[Any]) -> str:
    """Return the columns and rows that shapes (n,) reach over, in words; empty = they have no place."""
    import shapely

    bounds = shapely.total_bounds(shapes) if len(shapes) else np.full(4, np.nan)
    if not np.isfinite(bounds).all():
        return ""
    left, top, right, bottom = bounds
    return f" (they reach over columns {left:,.0f} to {right:,.0f} and rows {top:,.0f} to {bottom:,.0f} of it)"


def burnt(
    tell: Told, shapes: NDArray[Any], numbers: NDArray[np.int64], shape: tuple[int, int], names: dict[int, str]
) -> Labels:
    """Draw the shapes of each class, then leave out pixels that several classes claim.

    Args:
        tell: Of the shapes.
        shapes: Points and valid polygons in columns and rows, (n,).
        numbers: Label value of each, (n,).
        shape: Rows and columns of the scene.
        names: Label value -> text of the class, for the sentences.

    Returns:
        Label values (H, W), 0 = unlabelled.
    """
    import shapely

    labels = np.zeros(shape, np.min_scalar_type(int(numbers.max(initial=0))))
    claimed = np.zeros(shape, bool)
    rivals: set[int] = set()
    is_point = np.isin(shapely.get_type_id(shapes), POINTS)
    nothing = np.zeros(len(shapes), bool)
    for value in np.unique(numbers):
        mask = np.zeros(shape, bool)
        places = shapely.get_coordinates(shapes[is_point & (numbers == value)])
        columns, rows = (np.floor(places[:, axis]).astype(np.int64) for axis in (0, 1))
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        mask[rows[inside], columns[inside]] = True
        polygons = ~is_point & (numbers == value)
        nothing[polygons] = _polygons(shapes[polygons], mask)
        both = mask & (labels > 0)
        if both.any():
            claimed |= both
            rivals |= {int(value), *np.unique(labels[both]).tolist()}
        labels[mask] = value
    if claimed.any():
        labels[claimed] = 0
        listed = ", ".join(names.get(value, str(value)) for value in sorted(rivals)[:6])
        tell.notices.append(
            f"Warning: {claimed.sum():,} pixels are claimed by features of several classes of {tell.path} ({listed}) "
            "and stay unlabelled."
        )
    tell("polygons", nothing, "hold no centre of a pixel of the scene")
    return labels


def _polygons(shapes: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the pixels of polygons (n,), and return which polygons mark none, (n,)."""
    import shapely
    from rasterio.features import rasterize

    nothing = np.ones(len(shapes), bool)
    for number, polygon in enumerate(shapes):
        left, top, right, bottom = shapely.bounds(polygon)
        first_row, last_row = max(0, math.floor(top)), min(mask.shape[0], math.ceil(bottom))
        first_column, last_column = max(0, math.floor(left)), min(mask.shape[1], math.ceil(right))
        size = last_row - first_row, last_column - first_column
        if min(size) <= 0:
            continue
        moved = shapely.transform(polygon, lambda points: points - (first_column, first_row))  # noqa: B023
        drawn = rasterize([moved], out_shape=size, dtype="uint8").astype(bool)
        nothing[number] = not drawn.any()
        mask[first_row:last_row, first_column:last_column] |= drawn
    return nothing
