"""Georeferenced maps, read back with rasterio and GDAL's own XML."""

import errno
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from hsi_al.methods.base import uncertainty_of
from hsi_al.scenes.geopoints import write_points
from hsi_al.scenes.georaster import write_class_map, write_uncertainty
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.readers import opened_rows

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

WHERE = Georeference(rasterio.crs.CRS.from_epsg(32632).to_wkt(), (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0))
NAMES = {1: 'wheat & "rye" <é>', 4: "bare\nsoil"}
COLOURS = {1: (10, 20, 30), 4: (200, 100, 0)}


def test_a_class_map_comes_back(tmp_path: Path) -> None:
    class_map = np.random.default_rng(0).choice(np.array([0, 1, 4], np.uint8), (700, 600))
    written = write_class_map(tmp_path / "map.tif", class_map, WHERE, NAMES, COLOURS)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    with rasterio.open(written[0]) as raster:
        assert np.array_equal(raster.read(1), class_map)
        assert raster.dtypes == ("uint8",) and raster.nodata == 0
        assert raster.crs.to_epsg() == 32632 and tuple(raster.transform)[:6] == WHERE.transform
        colours = raster.colormap(1)
        assert colours[1] == (10, 20, 30, 255) and colours[4] == (200, 100, 0, 255)
        assert raster.overviews(1) == [2] and raster.block_shapes == [(256, 256)]
        assert raster.compression.name == "deflate"
    tree = ET.parse(tmp_path / "map.tif.aux.xml")
    names = [node.text or "" for node in tree.iter("Category")]
    assert names == ["", 'wheat & "rye" <é>', "", "", "bare soil"]
    entries = {int(node.attrib["value"]): node.attrib for node in ET.parse(tmp_path / "map.qml").iter("paletteEntry")}
    assert entries[1]["label"] == 'wheat & "rye" <é>' and entries[4]["color"] == "#c86400"


def test_label_values_beyond_the_colour_table(tmp_path: Path) -> None:
    class_map = np.array([[0, 70_000]], np.uint32)
    written = write_class_map(tmp_path / "map.tif", class_map, WHERE, {70_000: "a"}, {70_000: (1, 2, 3)})
    assert [path.name for path in written] == ["map.tif", "map.qml"]
    with rasterio.open(written[0]) as raster:
        assert raster.read(1).tolist() == [[0, 70_000]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (5000, 2)])
def test_odd_shapes_and_no_georeference(tmp_path: Path, shape: tuple[int, int]) -> None:
    class_map = np.full(shape, 300, np.uint16)
    class_map[0, 0] = 0
    write_class_map(tmp_path / "map.tif", class_map, None, {300: "a"}, {300: (1, 2, 3)})
    uncertainty = np.where(class_map == 0, np.nan, np.float32(0.25)).astype(np.float32)
    write_uncertainty(tmp_path / "uncertainty.tif", uncertainty, WHERE)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "map.tif") as raster:
        assert np.array_equal(raster.read(1), class_map) and raster.dtypes == ("uint16",)
    with rasterio.open(tmp_path / "uncertainty.tif") as raster:
        assert raster.nodata == -1 and raster.dtypes == ("float32",)
        assert np.array_equal(raster.read(1), np.nan_to_num(uncertainty, nan=-1))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"map\.tif"):
        write_class_map(tmp_path / "none" / "map.tif", np.ones((3, 3), np.uint8), WHERE, NAMES, COLOURS)
    assert not list(tmp_path.iterdir())


def test_uncertainty_is_one_minus_the_margin() -> None:
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]], np.float32)
    assert uncertainty_of(probabilities) == pytest.approx(np.array([0.0, 1.0, 0.8]))


QGIS = """
import sys
from qgis.core import QgsApplication, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "map")
renderer = layer.renderer()
print(layer.isValid(), layer.crs().authid(), renderer.type(), [(int(c.value), c.label) for c in renderer.classes()])
"""


@pytest.mark.slow
def test_qgis_opens_the_map(tmp_path: Path) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": ""}
    python = Path("/usr/bin/python3")
    test = [str(python), "-c", "import qgis.core"]
    if not python.exists() or subprocess.run(test, env=environment, capture_output=True).returncode:
        pytest.skip("PyQGIS is not installed (apt-get install python3-qgis)")
    write_class_map(tmp_path / "map.tif", np.full((9, 9), 4, np.uint8), WHERE, NAMES, COLOURS)
    # It may crash at its exit: what it has printed counts.
    found = subprocess.run(
        ["/usr/bin/python3", "-c", QGIS, str(tmp_path / "map.tif")], env=environment, capture_output=True, text=True
    )
    said = "True EPSG:32632 paletted [(1, 'wheat & \"rye\" <é>'), (4, 'bare soil')]"
    assert said in found.stdout, found.stderr


@pytest.mark.parametrize("limit", [1000, 30_000])
def test_a_full_disk_leaves_the_file_before(tmp_path: Path, limit: int) -> None:
    """GDAL itself would leave a file that breaks off, and say nothing."""
    resource = pytest.importorskip("resource")
    where, rng = Georeference("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)), np.random.default_rng(0)
    path = write_uncertainty(tmp_path / "u.tif", np.zeros((100, 100), np.float32), where)
    old = write_points(tmp_path / "old.gpkg", "points", np.arange(5), 3, None)
    points = old.read_bytes()
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(OSError, match=r"u\.tif") as refused:
            write_uncertainty(path, rng.random((100, 100), np.float32), where)
        with pytest.raises(OSError, match=r"p\.gpkg"):
            write_points(tmp_path / "p.gpkg", "points", np.arange(9), 3, None)
        with pytest.raises(OSError, match=r"old\.gpkg"):
            write_points(old, "points", np.arange(9), 3, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.errno == errno.EFBIG
    assert path.read_bytes() == before and old.read_bytes() == points
    assert sorted(found.name for found in tmp_path.iterdir()) == ["old.gpkg", "u.tif"]


def test_names_and_colours_of_classes_are_read_again(tmp_path: Path) -> None:
    write_class_map(tmp_path / "map.tif", np.full((9, 9), 4, np.uint8), WHERE, NAMES, COLOURS)
    with opened_rows(tmp_path / "map.tif") as rows:
        assert rows.class_names == {1: NAMES[1], 4: "bare soil"}
        assert rows.class_colours is not None and rows.class_colours[4] == (200, 100, 0)
    (tmp_path / "map.tif.aux.xml").write_text("<PAMDataset>")  # damaged: GDAL leaves it out, too
    with opened_rows(tmp_path / "map.tif") as rows:
        assert rows.class_names is None
    write_uncertainty(tmp_path / "uncertainty.tif", np.zeros((9, 9), np.float32), WHERE)
    with opened_rows(tmp_path / "uncertainty.tif") as rows:
        assert rows.class_names is None and rows.class_colours is None


@pytest.mark.parametrize(("code", "expected"), [(32632, 0.01), (2277, 100 * (1200 / 3937) ** 2 / 1e4), (4326, None)])
def test_hectares_of_a_pixel_of_ten_units(code: int, expected: float | None) -> None:
    """Metres, US survey feet (1200 / 3937 m), degrees."""
    where = Georeference(rasterio.crs.CRS.from_epsg(code).to_wkt(), WHERE.transform)
    assert where.hectares == (None if expected is None else pytest.approx(expected))
    assert Georeference("", WHERE.transform).hectares is None
