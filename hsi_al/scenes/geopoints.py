"""Pixels as points of a GeoPackage, which QGIS opens and edits. Needs the extra `geo`."""

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.files import replacing
from hsi_al.scenes.georeference import Georeference, Transform

PIXELS: Transform = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # columns to the right, rows downward, as a picture is shown


def write_points(
    path: Path, layer: str, pixel_ids: NDArray[np.int64], width: int, where: Georeference | None, **fields: ArrayLike
) -> Path:
    """Write the centres of pixels, with `row` and `column` before the given fields.

    Args:
        path: Such as `labels.gpkg`.
        layer: Name of the layer.
        pixel_ids: The pixels, (n,).
        width: Columns of the scene.
        where: Where the scene lies; None = unknown: then x is the column and y the negative row.
        fields: One value per pixel, (n,) each: numbers or text.

    Raises:
        OSError: The file can't be written.
    """
    import shapely
    from pyogrio.errors import DataSourceError
    from pyogrio.raw import write

    rows, columns = np.divmod(pixel_ids, width)
    a, b, c, d, e, f = PIXELS if where is None else where.transform
    x, y = a * (columns + 0.5) + b * (rows + 0.5) + c, d * (columns + 0.5) + e * (rows + 0.5) + f
    values: Mapping[str, NDArray[Any]] = {"row": rows, "column": columns} | {
        name: _column(given) for name, given in fields.items()
    }
    try:
        packed = BytesIO()  # GDAL doesn't tell all that fails on a full disk
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no CRS
            write(
                packed,
                shapely.to_wkb(shapely.points(x, y)),
                list(values.values()),
                list(values),
                layer=layer,
                driver="GPKG",
                geometry_type="Point",
                crs=where.crs or None if where else None,
            )
    except DataSourceError as error:
        raise OSError(f"{path} can't be written ({str(error).splitlines()[0]})") from error
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getbuffer())
    return path


def _column(given: ArrayLike) -> NDArray[Any]:
    values = np.asarray(given)
    return values.astype(object) if values.dtype.kind == "U" else values
