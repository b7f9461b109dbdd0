"""Labels from tables of points."""

from pathlib import Path

import numpy as np
import pytest

from hsi_al.errors import SceneError

for name in ("pyogrio", "rasterio"):
    pytest.importorskip(name, reason="the extra geo is not installed")

from hsi_al.scenes.tables import columns_of  # noqa: E402
from tests.scenes.test_vectors import UTM, draw  # noqa: E402


@pytest.mark.parametrize(
    ("header", "x", "y", "system"),
    [
        ("id,POINT_X,POINT_Y,class", "POINT_X", "POINT_Y", None),  # ArcGIS
        ("class,xcoord,ycoord", "xcoord", "ycoord", None),  # QGIS
        ("species,decimalLatitude,decimalLongitude", "decimalLongitude", "decimalLatitude", "EPSG:4326"),  # GBIF
        ("Nr;Rechtswert;Hochwert;Art", "Rechtswert", "Hochwert", None),
        ("Länge;Breite;Art", "Länge", "Breite", "EPSG:4326"),
        ("x,y,class,Breite,Länge", "x", "y", None),  # the sides of a plot
        ("x,y,lon,lat,class", "lon", "lat", "EPSG:4326"),  # degrees say their system
    ],
)
def test_columns_with_coordinates(tmp_path: Path, header: str, x: str, y: str, system: str | None) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n", encoding="utf-8")
    options, found = columns_of(path)
    assert (options["X_POSSIBLE_NAMES"], options["Y_POSSIBLE_NAMES"], found) == (x, y, system)


DEGREES = pytest.importorskip("rasterio.warp").transform(UTM, "EPSG:4326", [500015, 500045], [4999985, 4999955])


@pytest.mark.parametrize(
    ("lines", "crs"),
    [
        (["x,y,crop", "500015,4999985,oats", "500045.0,4999955,corn"], False),
        (["crop;Easting;Northing", "oats;500015,0;4999985,0", "corn;500045,0;4999955,0"], False),
        (["X\tY\tcrop", "500015\t4999985\toats", "500045\t4999955\tcorn"], False),
        (
            ["Lat,Long,crop", *(f"{DEGREES[1][i]:.9f},{DEGREES[0][i]:.9f},{('oats', 'corn')[i]}" for i in (0, 1))],
            True,
        ),
        (
            ["lon,lat,x,y,crop", *(f"{DEGREES[0][i]},{DEGREES[1][i]},1,1,{('oats', 'corn')[i]}" for i in (0, 1))],
            True,
        ),
        (
            [
                "WKT,crop",
                "POINT (500015 4999985),oats",
                '"POLYGON ((500041 4999951, 500049 4999951, 500045 4999959, 500041 4999951))",corn',
            ],
            False,
        ),
    ],
)
def test_tables_of_points(tmp_path: Path, lines: list[str], crs: bool) -> None:
    (tmp_path / "a.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")
    fields = "crop" if "lon,lat,x" in lines[0] else None
    drawn = draw(tmp_path / "a.csv", fields)
    assert (drawn.labels[1, 1], drawn.labels[4, 4]) == (2, 1) and np.count_nonzero(drawn.labels) == 2
    assert drawn.names == {1: "corn", 2: "oats"}
    assert [("names no coordinate reference system" in notice) for notice in drawn.notices] == [True] * (not crs)


def test_tables_with_gaps_and_without_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,code\n500015,4999985,3\n,,3\n500045,4999955,\n")
    drawn = draw(path)
    assert drawn.labels[1, 1] == 3 and np.count_nonzero(drawn.labels) == 1 and drawn.names == {}
    assert [words in " ".join(drawn.notices) for words in ("(line 4) have no class", "(line 3) have no geometry")]
    path.write_text("500015,4999985,3\n")
    with pytest.raises(
        SceneError, match=r"no columns with coordinates.*lon and lat .*It has field_1, field_2, field_3"
    ):
        draw(path)
    path.write_text("lon,northing,code\n7,50,3\n")
    with pytest.raises(SceneError, match=r"no columns with coordinates.*It has lon, northing, code"):
        draw(path)
    path.write_text("lon,lat,code\n7,50,3\n")
    with pytest.raises(SceneError, match="none of its 1 features lies in the scene"):
        draw(path)
    path.write_text("x,y,code\n")
    with pytest.raises(SceneError, match="holds no feature"):
        draw(path)
    for line in ("x,X,y,code", "x,code,X,y", "lon,lon,lat,code", "WKT,wkt,code"):  # of some GDAL crashes
        path.write_text(f"{line}\n{','.join('500015' for _ in line.split(','))}\n")
        with pytest.raises(SceneError, match="has several columns"):
            draw(path, "code")
    for content in ("x,y,crop\n500015,4999985,Rübe\n".encode("cp1252"), "x,y,code\n".encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(SceneError, match=r"is no text in UTF-8 .*save it as 'CSV UTF-8'"):
            draw(path)
    path.write_text("lon,lat,code\n7,1,50,2,3\n")
    with pytest.raises(SceneError, match=r"line 2, has 5 values for the 3 columns .*separate columns by semicolons"):
        draw(path)
    path.write_text(",x,y,code,\n0,500015,4999985,3,\n")  # an index in front, as of pandas
    assert draw(path, "code").labels[1, 1] == 3
    path.write_text("sep=;\nx;y;code\n")
    with pytest.raises(SceneError, match="begins with a line for Excel alone"):
        draw(path)
    path.write_text("x,y,code\n500015,4999985,10.0\n500045,4999955,2.0\n500025,4999985,\n")
    drawn = draw(path, layer="a")
    assert (drawn.labels[1, 1], drawn.labels[4, 4], drawn.names) == (10, 2, {})
    with pytest.raises(SceneError, match=r"has no layer 'b'; it has a\."):
        draw(path, layer="b")
