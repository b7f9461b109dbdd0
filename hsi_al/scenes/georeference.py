"""Where a scene lies on the ground."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hsi_al.errors import SceneError

METRES_PER_DEGREE = 111_320.0  # of a sphere with the equator's length
# Projections, as PROJ names them, in which pixels of one size are on the ground the smaller the nearer to a pole.
STRETCHED = ("merc", "webmerc", "eqc", "mill")
Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Georeference:
    """Coordinate reference system and affine transform of a grid of pixels.

    Attributes:
        crs: Coordinate reference system as WKT; empty if the file names none.
        transform: (a, b, c, d, e, f) with x = a column + b row + c and y = d column + e row + f in units of the system;
            column 0, row 0 is the outer corner of the first pixel (GDAL's and rasterio's convention, in the order of
            rasterio's `Affine`).
    """

    crs: str
    transform: Transform

    @property
    def inverse(self) -> Transform:
        """The transform from x and y to column and row, in the same order."""
        a, b, c, d, e, f = self.transform
        area = a * e - b * d
        return e / area, -b / area, (b * f - c * e) / area, -d / area, a / area, (c * d - a * f) / area

    def same_grid(self, other: "Georeference", shape: tuple[int, int]) -> bool:
        """Return whether the corners of a grid of this many rows and columns lie within 1/100 pixel of each other's.

        The systems themselves are compared where both are known.
        """
        if self.crs and other.crs and not same_crs(self.crs, other.crs):
            return False
        a, b, c, d, e, f = self.inverse
        for row in (0, shape[0]):
            for column in (0, shape[1]):
                x, y = other.at(row, column)
                if max(abs(a * x + b * y + c - column), abs(d * x + e * y + f - row)) > 0.01:
                    return False
        return True

    def at(self, row: float, column: float) -> tuple[float, float]:
        """Return x and y of a place; the centre of the first pixel is at row 0.5, column 0.5."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    def scale(self, shape: tuple[int, int]) -> float | None:
        """Return the width of a pixel in the middle of a grid of this shape in metres.

        None where it isn't known, or is another one on the ground than on the grid.
        """
        if self.is_stretched:
            return None
        a, _, _, d, _, _ = self.transform
        crs = re.sub(r'^COMP(D_CS|OUNDCRS)\["[^"]*",\s*', "", self.crs)
        crs = re.split(r",\s*VERT(?:_CS|CRS|ICALCRS)\[", crs)[0]  # heights may have another unit
        if crs.startswith(("GEOGCS", "GEOGCRS", "GEODCRS")):
            _, latitude = self.at(shape[0] / 2, shape[1] / 2)
            return METRES_PER_DEGREE * math.hypot(a * math.cos(math.radians(latitude)), d)
        units = re.findall(r'UNIT\["[^"]*",\s*([\d.eE+-]+)', crs)  # the last one is that of x and y
        return math.hypot(a, d) * float(units[-1]) if units else None

    @property
    def is_stretched(self) -> bool:
        """Whether the projection is known to be one of `STRETCHED`, which takes rasterio."""
        if not self.crs or find_spec("rasterio") is None:
            return False
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        try:
            return CRS.from_wkt(self.crs).to_dict().get("proj") in STRETCHED
        except CRSError:
            return False

    @property
    def hectares(self) -> float | None:
        """The area of a pixel in hectares; None where it isn't known, or differs much within a grid, as in degrees."""
        if not self.crs or find_spec("rasterio") is None or self.is_stretched:
            return None
        from rasterio.crs import CRS

        system = CRS.from_wkt(self.crs)
        if not system.is_projected:
            return None
        a, b, _, d, e, _ = self.transform
        metres = float(system.linear_units_factor[1])  # of a unit, which has many names: metre, US survey foot
        return abs(a * e - b * d) * metres**2 / 1e4

    @property
    def north(self) -> tuple[float, float]:
        """Direction of north on the grid, as columns to the right and rows downward, of length 1."""
        _, right, _, _, down, _ = self.inverse
        length = math.hypot(right, down)
        return right / length, down / length

    @classmethod
    def from_json(cls, kept: dict[str, Any] | None) -> "Georeference | None":
        """Restore what `to_json` gave.

        Raises:
            LookupError, TypeError, ValueError: It is damaged.
        """
        if kept is None:
            return None
        a, b, c, d, e, f = (float(value) for value in kept["transform"])
        return cls(str(kept["crs"]), (a, b, c, d, e, f))

    def to_json(self) -> dict[str, Any]:
        """The attributes as plain JSON."""
        return {"crs": self.crs, "transform": list(self.transform)}

    def __str__(self) -> str:
        a, b, c, d, e, f = self.transform
        turned = f", turned by ({b:g}, {d:g})" if b or d else ""
        return f"{name_of_crs(self.crs)}, first corner ({c:.10g}, {f:.10g}), pixels of {a:g} x {e:g}{turned}"


def same_crs(first: str, second: str) -> bool:
    """Return whether two WKT texts name the same system."""
    if first == second:
        return True
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return bool(CRS.from_wkt(first) == CRS.from_wkt(second))
    except CRSError:  # a text that nobody understands is another system
        return False


def name_of_crs(crs: str) -> str:
    """Return the code of a system such as EPSG:32632, else its name."""
    if not crs:
        return "no coordinate reference system"
    if find_spec("rasterio") is not None:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        with suppress(CRSError):
            code = CRS.from_wkt(crs).to_authority()
            if code is not None:
                return ":".join(code)
    return crs.partition('"')[2].partition('"')[0] or "an unnamed system"


def require_geo(what: str) -> None:
    """Raise SceneError if the libraries for georeferenced files are missing; `what` begins the sentence."""
    for name in ("rasterio", "pyogrio", "shapely"):
        if find_spec(name) is None:
            raise SceneError(f"{what} needs {name}, which is not installed; pip install 'hsi_al[geo]'.")
