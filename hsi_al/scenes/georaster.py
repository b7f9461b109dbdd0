"""Georeferenced files of a map that QGIS and other software open: GeoTIFF, class names, and a style. Needs `geo`.

All are written by strips of rows, so that the memory doesn't grow with the scene.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from hsi_al.files import replace_text, replacing
from hsi_al.scenes.arrays import blocks
from hsi_al.scenes.georeference import Georeference

TILE = 256
STRIP = 16 * TILE  # rows written at once
OVERVIEWS = (2, 4, 8, 16, 32, 64)
MOST_COLOURS = 2**16 - 1  # the largest label value with a place in the colour table
MOST_NAMES = 4096  # of classes: the names are listed from 0 to the largest label value
RGB = tuple[int, int, int]
NO_DATA = -1.0  # of the uncertainty
CACHE = {"GDAL_CACHEMAX": 64, "GDAL_NUM_THREADS": "1"}  # MB


def write_class_map(
    path: Path,
    class_map: NDArray[np.unsignedinteger[Any]],
    where: Georeference | None,
    names: Mapping[int, str],
    colours: Mapping[int, RGB],
) -> list[Path]:
    """Write label values as a GeoTIFF with colour table, class names and overviews, and a style for QGIS beside it.

    Args:
        path: Such as `map.tif`; the style is `map.qml`, and class names lie in `map.tif.aux.xml`, as GDAL keeps them.
        class_map: Label values, (H, W); 0 = not mapped, which is the no-data value.
        where: Where the scene lies; None = a file without georeference.
        names: Label value -> name.
        colours: Label value -> red, green and blue, 0 to 255.

    Returns:
        The files written.

    Raises:
        OSError: A file can't be written.
    """
    kind = np.min_scalar_type(max(names, default=0)).type
    with _written(path, class_map.shape, kind, where, nodata=0) as raster:
        for first, last in blocks(class_map.shape[0], STRIP):
            raster.write(class_map[first:last].astype(kind), 1, window=_window(first, last, class_map.shape[1]))
        if max(names, default=0) <= MOST_COLOURS:
            raster.write_colormap(1, {0: (0, 0, 0, 0), **{value: (*colours[value], 255) for value in names}})
        raster.set_band_description(1, "class")
    written = [path]
    if max(names, default=0) <= MOST_NAMES:
        written.append(replace_text(path.with_name(f"{path.name}.aux.xml"), _category_names(names)))
    return [*written, replace_text(path.with_suffix(".qml"), style(names, colours))]


def write_uncertainty(path: Path, uncertainty: NDArray[np.float32], where: Georeference | None) -> Path:
    """Write the uncertainty of a map as a GeoTIFF of float32.

    Args:
        path: Such as `uncertainty.tif`.
        uncertainty: 1 - (largest - second largest class probability), (H, W), from 0 (certain) to 1; NaN where there
            is no map, which is written as -1, the no-data value.
        where: Where the scene lies; None = a file without georeference.

    Raises:
        OSError: The file can't be written.
    """
    with _written(path, uncertainty.shape, np.float32, where, nodata=NO_DATA, predictor=3) as raster:
        for first, last in blocks(uncertainty.shape[0], STRIP):
            part = np.nan_to_num(uncertainty[first:last], nan=NO_DATA)
            raster.write(part, 1, window=_window(first, last, uncertainty.shape[1]))
        raster.set_band_description(1, "uncertainty: 1 - margin of the two largest class probabilities")
    return path


@contextmanager
def _written(
    path: Path,
    shape: tuple[int, ...],
    kind: type,
    where: Georeference | None,
    **options: Any,  # noqa: ANN401
) -> Iterator[Any]:
    """Yield a GeoTIFF of one band that replaces `path` when it is complete, overviews included."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    height, width = shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": np.dtype(kind).name}
    tiles = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": "deflate", "bigtiff": "if_safer"}
    if where is not None:
        profile |= {"transform": rasterio.Affine(*where.transform), "crs": where.crs or None}
    levels = [level for level in OVERVIEWS if max(height, width) // level >= TILE]
    try:
        # Packed in memory: on a full disk GDAL leaves a file that breaks off, and says nothing.
        with rasterio.Env(**CACHE), rasterio.MemoryFile() as packed, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(packed.name, "w", **profile, **tiles, **options) as raster:
                yield raster
            if levels:
                with rasterio.open(packed.name, "r+") as raster:
                    raster.build_overviews(levels, Resampling.nearest)
            with replacing(path) as temporary:
                temporary.write_bytes(packed.getbuffer())
    except RasterioIOError as error:
        raise OSError(f"{path} can't be written ({str(error).splitlines()[0]})") from error


def _window(first: int, last: int, width: int) -> Any:  # noqa: ANN401
    from rasterio.windows import Window

    return Window(0, first, width, last - first)


def _category_names(names: Mapping[int, str]) -> str:
    every = [names.get(value, "") for value in range(max(names, default=0) + 1)]
    listed = "".join(f"      <Category>{escape(_plain(name))}</Category>\n" for name in every)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{listed}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )


def style(names: Mapping[int, str], colours: Mapping[int, RGB]) -> str:
    """Return a style of QGIS (.qml) that shows label values in their colours, with their names in the legend."""
    entries = "".join(
        f'        <paletteEntry value="{value}" label={quoteattr(_plain(name))} alpha="255" '
        f'color="#{colours[value][0]:02x}{colours[value][1]:02x}{colours[value][2]:02x}"/>\n'
        for value, name in sorted(names.items())
    )
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n'
        '<qgis version="3.22" styleCategories="Symbology">\n'
        '  <pipe>\n    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"      <colorPalette>\n{entries}      </colorPalette>\n"
        "    </rasterrenderer>\n  </pipe>\n</qgis>\n"
    )


def _plain(text: str) -> str:
    """A name without the control characters that XML can't hold."""
    return "".join(letter if letter >= " " else " " for letter in text)
