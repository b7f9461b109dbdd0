"""Pixels as points, read back with pyogrio."""

from pathlib import Path

import numpy as np
import pytest

from hsi_al.scenes.geopoints import write_points
from hsi_al.scenes.georeference import Georeference

pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
shapely = pytest.importorskip("shapely", reason="the extra geo is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

from hsi_al.scenes.vectors import drawn_labels  # noqa: E402

WHERE = Georeference(rasterio.crs.CRS.from_epsg(32632).to_wkt(), (10.0, 1.0, 500000.0, 2.0, -10.0, 5000000.0))


def test_labels_come_back(tmp_path: Path) -> None:
    pixel_ids = np.array([0, 7, 13, 41])
    path = write_points(tmp_path / "a.gpkg", "labels", pixel_ids, 7, WHERE, value=[3, 1, 3, 2], name=list("abcd"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]
    found = drawn_labels(path, "labels", "value", WHERE, (6, 7))
    expected = np.zeros((6, 7), np.uint8)
    expected.ravel()[pixel_ids] = [3, 1, 3, 2]
    assert np.array_equal(found.labels, expected) and found.notices == []
    meta, _, geometries, (rows, columns, names) = pyogrio.raw.read(path, columns=["row", "column", "name"])
    assert meta["crs"] == "EPSG:32632" and names.tolist() == list("abcd")
    assert np.array_equal(rows * 7 + columns, pixel_ids)
    x, y = shapely.get_coordinates(shapely.from_wkb(geometries))[1]
    assert (x, y) == pytest.approx((500000 + 10 * 0.5 + 1.5, 5000000 + 2 * 0.5 - 10 * 1.5))


def test_none_and_no_georeference(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg", "labels", np.empty(0, np.int64), 7, WHERE, value=np.empty(0, np.int64))
    assert pyogrio.read_info(path)["features"] == 0
    path = write_points(tmp_path / "b.gpkg", "labels", np.array([9]), 7, None, value=[1])
    _, _, geometries, _ = pyogrio.raw.read(path)
    assert shapely.get_coordinates(shapely.from_wkb(geometries)).tolist() == [[2.5, -1.5]]
    with pytest.raises(OSError, match=r"can't be written|No such file"):
        write_points(tmp_path / "none" / "a.gpkg", "labels", np.array([9]), 7, None, value=[1])
