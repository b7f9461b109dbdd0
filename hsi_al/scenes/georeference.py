"""Where a scene lies on the ground."""

from dataclasses import dataclass


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
    transform: tuple[float, float, float, float, float, float]
