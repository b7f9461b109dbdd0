"""Writing of georeferenced maps: pixels per second, against plain rasterio writing the whole array in one call."""

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling

from experiments.benchmarks.measure import Row, medians
from hsi_al.scenes.georaster import write_class_map, write_uncertainty
from hsi_al.scenes.georeference import Georeference

N_CLASSES = 16
WHERE = Georeference(CRS.from_epsg(32632).to_wkt(), (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0))


def measure(side: int = 5000) -> list[Row]:
    """Write a class map and an uncertainty of side x side pixels, in patches as fields have, and time it."""
    rng = np.random.default_rng(0)
    small = rng.integers(1, N_CLASSES + 1, (side // 20, side // 20), dtype=np.uint8)
    class_map = np.kron(small, np.ones((20, 20), np.uint8))
    class_map[rng.random(class_map.shape) < 0.05] = 1
    uncertainty = rng.random(class_map.shape, dtype=np.float32)
    names = {value: f"class {value}" for value in range(1, N_CLASSES + 1)}
    colours = {value: (value * 10, 0, 0) for value in names}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def plain(array: np.ndarray, predictor: int) -> None:
            profile = {"driver": "GTiff", "count": 1, "dtype": array.dtype.name, "crs": WHERE.crs}
            tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": predictor}
            height, width = array.shape
            transform = rasterio.Affine(*WHERE.transform)
            with rasterio.open(
                place / "plain.tif", "w", height=height, width=width, transform=transform, **profile, **tiles
            ) as raster:
                raster.write(array, 1)
            with rasterio.open(place / "plain.tif", "r+") as raster:
                levels = [level for level in (2, 4, 8, 16, 32, 64) if side // level >= 256]
                raster.build_overviews(levels, Resampling.nearest)

        for what, reference, ours in (
            (
                "class map with names, colours and overviews",
                lambda: plain(class_map, 1),
                lambda: write_class_map(place / "map.tif", class_map, WHERE, names, colours),
            ),
            (
                "uncertainty with overviews",
                lambda: plain(uncertainty, 3),
                lambda: write_uncertainty(place / "uncertainty.tif", uncertainty, WHERE),
            ),
        ):
            theirs, seconds = medians(reference, ours, 3)
            rows.append(
                Row(
                    f"{what}, {class_map.size / 1e6:.0f} million pixels",
                    f"rasterio {class_map.size / theirs / 1e6:.1f} million pixels/s",
                    f"{class_map.size / seconds / 1e6:.1f} million pixels/s",
                    seconds / theirs,
                    "<= 1.2",
                )
            )
    return rows
