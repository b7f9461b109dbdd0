"""Reading windows of rasters: `Rows` against plain rasterio, for ENVI in its three layouts and a tiled GeoTIFF."""

import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.measure import Row, medians, synthetic_cube
from hsi_al.scenes.readers import opened_rows

LAYOUTS: dict[str, dict[str, Any]] = {
    "ENVI BSQ": {"driver": "ENVI", "interleave": "bsq"},
    "ENVI BIL": {"driver": "ENVI", "interleave": "bil"},
    "ENVI BIP": {"driver": "ENVI", "interleave": "bip"},
    "GeoTIFF in tiles": {"driver": "GTiff", "interleave": "pixel", "tiled": True, "compress": "deflate", "zlevel": 1},
}
STRIP, PATCH = 64, 9  # rows, pixels a side


def measure(shape: tuple[int, int, int] = (512, 1000, 100), patches: int = 40, repeats: int = 5) -> list[Row]:
    """Compare the seconds of the processor to read all of a cube of this shape in strips, and some patches of it.

    Both give arrays (h, w, B) in C order, which plain rasterio has to transpose.
    """
    import rasterio

    cube = synthetic_cube(*shape)
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not georeferenced
        for name, profile in LAYOUTS.items():
            path = Path(folder) / ("cube.tif" if profile["driver"] == "GTiff" else f"{profile['interleave']}.img")
            height, width, count = shape
            settings = {"height": height, "width": width, "count": count, "dtype": cube.dtype}
            with rasterio.open(path, "w", **settings, **profile) as file:
                file.write(cube.transpose(2, 0, 1))
            rows += compared(name, path, cube, patches, repeats)
    return rows


def compared(name: str, path: Path, cube: NDArray[Any], patches: int, repeats: int) -> list[Row]:
    """Return the rows of one file."""
    import rasterio

    height, width, _ = cube.shape
    rng = np.random.default_rng(0)
    places = [(int(rng.integers(height - PATCH)), int(rng.integers(width - PATCH))) for _ in range(patches)]
    windows = {
        f"strips of {STRIP} rows": [(row, min(row + STRIP, height), 0, width) for row in range(0, height, STRIP)],
        f"{patches} patches of {PATCH} x {PATCH}": [(row, row + PATCH, left, left + PATCH) for row, left in places],
    }
    found = []
    with ExitStack() as stack:
        dataset = stack.enter_context(rasterio.open(path))
        rows = stack.enter_context(opened_rows(path))

        def plain(top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
            part = dataset.read(window=((top, bottom), (left, right)))
            return np.ascontiguousarray(part.transpose(1, 2, 0))

        def ours(top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
            return rows.read(top, bottom, left, right)

        for what, parts in windows.items():

            def work(read: Callable[..., NDArray[Any]], parts: list[tuple[int, int, int, int]] = parts) -> None:
                for top, bottom, left, right in parts:
                    if read(top, bottom, left, right)[0, 0, 0] != cube[top, left, 0]:
                        raise RuntimeError(f"{path} is read wrongly")

            reference, own = medians(lambda: work(plain), lambda: work(ours), repeats, time.process_time)
            texts = (f"rasterio {1e3 * reference:.1f} ms", f"{1e3 * own:.1f} ms")
            found.append(Row(f"reading {name}, {what}", *texts, own / reference, "<= 1.2"))
    return found
