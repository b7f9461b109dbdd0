"""Labels from points and polygons."""

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.georeference import Georeference

pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
shapely = pytest.importorskip("shapely", reason="the extra geo is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

from hsi_al.scenes.vectors import Drawn, drawn_labels, is_vector  # noqa: E402
from tests.fakes import add_styles  # noqa: E402

UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
# Pixels of 10 x 10 m, first corner at (500000, 5000000), north up.
WHERE = Georeference(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0))
SHAPE = (20, 30)


def place(row: float, column: float) -> tuple[float, float]:
    return 500000 + 10 * column, 5000000 - 10 * row


def square(first_row: float, first_column: float, last_row: float, last_column: float) -> Any:
    corners = [(first_row, first_column), (first_row, last_column), (last_row, last_column), (last_row, first_column)]
    return shapely.Polygon([place(*corner) for corner in corners])


def point(row: float, column: float) -> Any:
    return shapely.Point(place(row, column))


def save(
    path: Path, shapes: list[Any], crs: str | None = "EPSG:32632", layer: str | None = None, **fields: Any
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no CRS is given
        write(path, shapes, crs, layer, fields)
    return path


def write(path: Path, shapes: list[Any], crs: str | None, layer: str | None, fields: dict[str, Any]) -> None:
    pyogrio.raw.write(
        path,
        np.array([None if shape is None else shape.wkb for shape in shapes], object),
        [np.asarray(values) for values in fields.values()],
        list(fields),
        geometry_type="Unknown",
        crs=crs,
        layer=layer,
        append=path.exists(),
    )


def draw(
    path: Path, label_field: str | None = None, where: Georeference | None = WHERE, layer: str | None = None
) -> Drawn:
    return drawn_labels(path, layer, label_field, where, SHAPE)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb"])
def test_polygons_and_points_of_numbers(tmp_path: Path, suffix: str) -> None:
    shapes = [square(2, 3, 6, 9), square(10.4, 10.6, 12.4, 14.6), point(0.5, 0.5), point(19.9, 29.9)]
    path = save(tmp_path / f"a.{suffix}", shapes, crs="EPSG:32632", code=[1, 7, 7, 300])
    expected = np.zeros(SHAPE, np.uint16)
    expected[2:6, 3:9], expected[10:12, 11:15], expected[0, 0], expected[19, 29] = 1, 7, 7, 300
    found = draw(path)
    assert np.array_equal(found.labels, expected) and found.labels.dtype == np.uint16
    assert found.names == {} and found.notices == []


def test_shapefile_and_text_classes(tmp_path: Path) -> None:
    shapes = [square(0, 0, 2, 2), square(4, 0, 6, 2), square(8, 0, 10, 2), square(12, 0, 13, 2)]
    path = tmp_path / "fields.shp"
    pyogrio.raw.write(
        path,
        np.array([shape.wkb for shape in shapes], object),
        [np.array(["wheat", "Ähre", "wheat", ""], object), np.array([4, 5, 6, 7])],
        ["crop", "number"],
        geometry_type="Polygon",
        crs="EPSG:32632",
        encoding="UTF-8",
    )
    found = draw(path, "crop")
    assert found.names == {1: "wheat", 2: "Ähre"}  # by code point
    assert [found.labels[row, 0] for row in (0, 4, 8, 12)] == [1, 2, 1, 0]
    assert found.notices == [f"Warning: 1 features of {path} (fid 3) have no class in the field crop."]
    assert np.unique(draw(path, "number").labels).tolist() == [0, 4, 5, 6, 7]


def test_texts_that_are_numbers_are_these_numbers(tmp_path: Path) -> None:
    shapes = [square(row, 0, row + 2, 2) for row in (0, 4, 8, 12, 16)]
    found = draw(save(tmp_path / "a.gpkg", shapes, code=np.array(["2", "10", " 2 ", None, "0"], object)))
    assert [found.labels[row, 0] for row in (0, 4, 8, 12, 16)] == [2, 10, 2, 0, 0] and found.names == {}
    assert len(found.notices) == 1 and "fid 4, 5) have no class" in found.notices[0]
    found = draw(save(tmp_path / "b.gpkg", shapes, code=np.array(["2", "10", "2a", "²", "-1"], object)))
    assert found.names == {1: "-1", 2: "10", 3: "2", 4: "2a", 5: "²"}
    found = draw(save(tmp_path / "c.gpkg", shapes, code=np.array(["1.5", "10", "2", "3", "4"], object)))
    assert found.names[1] == "1.5"


def test_class_names_that_are_alike_are_told(tmp_path: Path) -> None:
    shapes = [square(row, 0, row + 2, 2) for row in (0, 4, 8, 12)]
    crops = np.array(["Corn", "corn", "Winter wheat", "winterwheat "], object)
    found = draw(save(tmp_path / "a.gpkg", shapes, crop=crops))
    assert len(found.names) == 4 and len(found.notices) == 1
    assert "'Corn' and 'corn'; 'Winter wheat' and 'winterwheat'. If they are one class" in found.notices[0]
    other = np.array(["Corn", "Corn no till", "Wheat", " Corn"], object)
    assert draw(save(tmp_path / "b.gpkg", shapes, crop=other)).notices == []


def test_classes_without_a_pixel_are_told(tmp_path: Path) -> None:
    shapes = [square(0, 0, 2, 2), square(4.6, 0.6, 5.4, 1.4), square(8, 0, 10, 2), square(100, 0, 110, 9)]
    crops = np.array(["oats", "rye", "wheat", "barley"], object)
    told = draw(save(tmp_path / "a.gpkg", shapes, crop=crops)).notices
    assert told[-1].startswith("Warning: no pixel of the scene is left of the classes barley, rye of ")
    told = draw(save(tmp_path / "b.gpkg", shapes, code=[1, 7, 1, 1])).notices
    assert "of the class 7 of" in told[-1]
    both = draw(save(tmp_path / "c.gpkg", [square(0, 0, 2, 2), square(0, 0, 2, 2), square(4, 4, 6, 6)], code=[1, 2, 3]))
    assert "of the classes 1, 2 of" in both.notices[-1]  # each claims what the other does
    shapes = [square(0, 0, 2, 2), square(4.6, 0.6, 5.4, 1.4)]
    assert "no pixel" not in " ".join(draw(save(tmp_path / "d.gpkg", shapes, code=[1, 1])).notices)


def test_another_coordinate_reference_system(tmp_path: Path) -> None:
    shapes = [square(2, 3, 6, 9), point(15.5, 20.5), square(8, 20, 12, 28)]
    same = draw(save(tmp_path / "utm.gpkg", shapes, code=[1, 2, 3]))

    def to_degrees(points: np.ndarray) -> np.ndarray:
        return np.column_stack(rasterio.warp.transform(UTM, "EPSG:4326", points[:, 0], points[:, 1]))

    degrees = [shapely.transform(shape, to_degrees) for shape in shapes]
    for name in ("degrees.gpkg", "degrees.geojson"):
        found = draw(save(tmp_path / name, degrees, crs="EPSG:4326", code=[1, 2, 3]))
        assert np.array_equal(found.labels, same.labels) and found.notices == []


def test_a_turned_grid(tmp_path: Path) -> None:
    # Columns run north, rows run east: the grid of `WHERE` turned by 90 degrees.
    turned = Georeference(UTM, (0.0, 10.0, 500000.0, 10.0, 0.0, 5000000.0))
    x, y = 500000 + 10 * 4.5, 5000000 + 10 * 7.5
    found = draw(save(tmp_path / "a.gpkg", [shapely.Point(x, y), shapely.Point(x + 10, y)], code=[1, 2]), where=turned)
    assert np.argwhere(found.labels).tolist() == [[4, 7], [5, 7]] and found.labels[4, 7] == 1


def test_what_is_dropped_is_named(tmp_path: Path) -> None:
    bow = shapely.Polygon([place(0, 10), place(4, 14), place(0, 14), place(4, 10)])
    shapes = [
        *(square(0, 0, 4, 4), square(2, 2, 6, 6), bow, square(5.1, 20.1, 5.4, 20.4), point(100, 100)),
        *(shapely.LineString([place(0, 0), place(3, 3)]), None, shapely.Polygon(), square(10, 10, 12, 12)),
    ]
    path = save(tmp_path / "a.gpkg", shapes, code=np.array([1, 2, 3, 4, 5, 6, 7, 8, np.nan]))
    found = draw(path)
    assert (
        not found.labels[2:4, 2:4].any() and (found.labels[:2, :2] == 1).all() and (found.labels[4:6, 4:6] == 2).all()
    )
    assert 0 < (found.labels == 3).sum() < 16
    said = " ".join(found.notices)
    for words in (
        "1 features of {} (fid 9) have no class in the field code",
        "2 features of {} (fid 7, 8) have no geometry",
        "1 features of {} (fid 6) are neither points nor polygons",
        "1 features of {} (fid 5) lie outside of the scene",
        "1 polygons of {} (fid 3) cross themselves and were repaired",
        "4 pixels are claimed by features of several classes of {} (1, 2) and stay unlabelled",
        "1 polygons of {} (fid 4) hold no centre of a pixel",
    ):
        assert words.format(path) in said, said


def test_lines_of_repaired_polygons_are_not_drawn(tmp_path: Path) -> None:
    corners = [(2, 2), (2, 6), (6, 6), (6, 15), (6, 6), (6, 2)]
    spiked = shapely.Polygon([place(*corner) for corner in corners])  # a square with a line of nine pixels
    flat = shapely.Polygon([place(10.5, 3), place(10.5, 20), place(10.5, 3)])
    found = draw(save(tmp_path / "a.gpkg", [spiked, flat, square(14, 0, 16, 9)], code=[1, 2, 3]))
    expected = np.zeros(SHAPE, int)
    expected[2:6, 2:6], expected[14:16, :9] = 1, 3
    assert np.array_equal(found.labels, expected)
    assert "2 polygons of" in " ".join(found.notices)


def test_coordinates_that_do_not_exist_drop_their_features_alone(tmp_path: Path) -> None:
    from rasterio.warp import transform

    corners = [(2, 3), (2, 9), (6, 9), (6, 3)]
    longitudes, latitudes = transform(UTM, "EPSG:4326", *zip(*(place(*corner) for corner in corners), strict=True))
    good = shapely.Polygon(list(zip(longitudes, latitudes, strict=True)))
    wrong = [shapely.Point(9, 1000), shapely.Polygon([(9, 45), (9, 4500), (10, 45)])]
    found = draw(save(tmp_path / "a.gpkg", [wrong[0], good, wrong[1]], crs="EPSG:4326", code=[1, 2, 3]))
    expected = np.zeros(SHAPE, int)
    expected[2:6, 3:9] = 2
    assert np.array_equal(found.labels, expected)
    assert "2 features of" in found.notices[0] and "(fid 1, 3) have coordinates that do not exist" in found.notices[0]
    for number, (shapes, crs, said) in enumerate(
        (
            ([square(2, 3, 6, 9)], "EPSG:4326", "can be brought from EPSG:4326 into the cube's EPSG:32632"),
            ([square(2, 3, 6, 9)], 'LOCAL_CS["mine",UNIT["metre",1]]', "can be brought from mine into the cube's"),
        )
    ):
        with pytest.raises(SceneError, match=said):
            draw(save(tmp_path / f"{number}.gpkg", shapes, crs=crs, code=[1]))


def test_coordinates_beyond_all_scenes_are_drawn_silently(tmp_path: Path) -> None:
    far = shapely.Polygon([place(2, 3), (1e308, -1e308), (-1e308, 1e308), (1.7e308, 1.7e308), place(6, 9)])
    path = save(tmp_path / "a.gpkg", [square(14, 0, 16, 9), far], code=[1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = draw(path)
    assert (found.labels[14:16, :9] != 2).all()


def test_a_shapefile_without_its_parts(tmp_path: Path) -> None:
    for suffix in (".dbf", ".shx"):
        path = tmp_path / f"x{suffix[1:]}.shp"
        pyogrio.raw.write(
            path, np.array([square(2, 3, 6, 9).wkb], object), [np.array([1])], ["c"], geometry_type="Polygon", crs=UTM
        )
        path.with_suffix(suffix).unlink()
        with pytest.raises(SceneError, match=f"has no {path.stem}{suffix} beside it: a shapefile is several files"):
            draw(path)


def test_kinds_of_points_and_polygons_that_are_not_read() -> None:
    assert is_vector(Path("a.SHP")) and not is_vector(Path("a.tif"))
    with pytest.raises(SceneError, match=r"points and polygons are read from \.gpkg, \.shp"):
        is_vector(Path("fields.gml"))


def test_the_styles_of_qgis_are_no_layer(tmp_path: Path) -> None:
    path = add_styles(save(tmp_path / "a.gpkg", [point(1.5, 1.5)], code=[3]))
    assert draw(path).labels[1, 1] == 3
    save(path, [point(1.5, 1.5)], layer="check", code=[2])
    with pytest.raises(SceneError, match=r"has the layers a, check; name one"):
        draw(path)
    assert draw(path, layer="check").labels[1, 1] == 2


KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>fields.kml</name><Folder><name>training</name>{}
</Folder></Document></kml>"""
PLACEMARK = "<Placemark><name>{}</name><{}>{}</{}></Placemark>"


@pytest.mark.parametrize("packed", [False, True])
def test_places_of_google_earth(tmp_path: Path, packed: bool) -> None:
    def places(*corners: tuple[float, float]) -> str:
        lon, lat = pytest.importorskip("rasterio.warp").transform(UTM, "EPSG:4326", *zip(*corners, strict=True))
        return f"<coordinates>{' '.join(f'{x},{y},30' for x, y in zip(lon, lat, strict=True))}</coordinates>"

    ring = places(*(place(*corner) for corner in ((3, 2), (3, 5), (6, 5), (6, 2), (3, 2))))
    polygon = f"<outerBoundaryIs><LinearRing>{ring}</LinearRing></outerBoundaryIs>"
    marks = [("oats", "Point", places(place(1.5, 1.5))), ("corn", "Polygon", polygon)]
    text = KML.format("".join(PLACEMARK.format(name, kind, content, kind) for name, kind, content in marks))
    path = tmp_path / f"fields.{'kmz' if packed else 'kml'}"
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("doc.kml", text)
    else:
        path.write_text(text)
    drawn = draw(path)
    expected = np.zeros(SHAPE, np.uint8)
    expected[1, 1], expected[3:6, 2:5] = 2, 1
    assert np.array_equal(drawn.labels, expected) and drawn.names == {1: "corn", 2: "oats"} and drawn.notices == []
    folders = text.replace(
        "<Placemark><name>corn",
        "</Folder><Folder><name>empty</name></Folder><Folder><name>more</name><Placemark><name>corn",
    )
    (tmp_path / "folders.kml").write_text(folders)
    assert np.array_equal(draw(tmp_path / "folders.kml").labels, expected)
    assert np.count_nonzero(draw(tmp_path / "folders.kml", layer="training").labels) == 1
    by_folder = draw(tmp_path / "folders.kml", "Folder")
    assert by_folder.names == {1: "more", 2: "training"} and np.array_equal(by_folder.labels, expected)
    path.with_suffix(".kml").write_text(KML.format(""))
    with pytest.raises(SceneError, match=r"fields\.kml holds no feature"):
        draw(path.with_suffix(".kml"))


def test_names_that_are_no_classes_are_told(tmp_path: Path) -> None:
    names = np.array([f"P{n}" for n in range(20)], object)
    places = [point(1.5, n + 0.5) for n in range(20)]
    (notice,) = draw(save(tmp_path / "a.gpkg", places, name=names)).notices
    assert "holds 20 different classes in 20 features" in notice
    names[:] = [f"class {n % 5}" for n in range(20)]
    assert draw(save(tmp_path / "b.gpkg", places, name=names)).notices == []


def test_packed_places_that_are_none_or_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.kmz").write_text(KML.format(""))
    with pytest.raises(SceneError, match="can't be read as points and polygons"):
        draw(tmp_path / "a.kmz")
    monkeypatch.setattr("hsi_al.scenes.vectors.MOST_KML", 100)
    with zipfile.ZipFile(tmp_path / "b.kmz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", KML.format(" " * 1000))
    with pytest.raises(SceneError, match=r"unpacks to 1,\d\d\d bytes of KML"):
        draw(tmp_path / "b.kmz")


def test_layers_and_fields_are_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", [point(1.5, 1.5)], layer="train", code=[1], other=[5])
    save(path, [point(1.5, 1.5)], layer="check", code=[2], other=[5])
    with pytest.raises(SceneError, match=r"has the layers train, check; name one by dataset.ground_truth_key"):
        draw(path, "code")
    with pytest.raises(SceneError, match=r"has no layer 'chekc'; it has train, check"):
        draw(path, "code", layer="chekc")
    with pytest.raises(
        SceneError, match=r"has the fields code, other; name the one with the classes by dataset.label_field"
    ):
        draw(path, layer="check")
    with pytest.raises(SceneError, match=r"has no field dataset.label_field=cod; it has code, other"):
        draw(path, "cod", layer="check")
    assert draw(path, "code", layer="check").labels[1, 1] == 2


@pytest.mark.parametrize(
    ("shapes", "fields", "said"),
    [
        ([], {"code": np.empty(0, int)}, "holds no feature"),
        ([(1.5, 1.5)], {}, "has no field; add one with the classes"),
        (
            [(1.5, 1.5)],
            {"code": [1.5]},
            "the field code of a feature (fid 1) is 1.5, and 1 in all are no whole numbers",
        ),
        ([(1.5, 1.5)], {"code": [-3]}, "the field code of a feature (fid 1) is -3"),
        ([(1.5, 1.5)], {"code": np.array(["2026-01-01"], "datetime64[D]")}, "whole numbers or text are needed"),
        (
            [(50, 50)],
            {"code": [1]},
            r"none of its 1 features lies in the scene with a class (they reach over columns 50",
        ),
        ([(1.5, 1.5)], {"code": [0]}, "none of its 1 features lies in the scene with a class"),
    ],
)
def test_unusable_files(tmp_path: Path, shapes: list[Any], fields: dict[str, Any], said: str) -> None:
    path = save(tmp_path / "a.gpkg", [point(*shape) for shape in shapes], **fields)
    with pytest.raises(SceneError) as error:
        draw(path)
    assert said in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for content, said in (
        (b"", "is empty"),
        (b"SQLite format 3\0" + bytes(200), "can't be read"),
        (b"junk", "can't be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(SceneError, match=said):
            draw(path)
    good = save(tmp_path / "b.gpkg", [point(1.5, 1.5)], code=[1])
    with pytest.raises(SceneError, match="the cube's file doesn't say where the scene lies"):
        draw(good, where=None)
    unnamed = draw(good, where=Georeference("", WHERE.transform))
    assert unnamed.labels[1, 1] == 1 and "the cube's file names no coordinate reference system" in unnamed.notices[0]
    nowhere = draw(save(tmp_path / "c.gpkg", [point(1.5, 1.5)], crs=None, code=[1]))
    assert nowhere.labels[1, 1] == 1 and "names no coordinate reference system" in nowhere.notices[0]


HEIGHTS_IN_FEET = (  # in both ways to write them
    f'COMPD_CS["a",{UTM},VERT_CS["b",VERT_DATUM["c",2005],UNIT["US survey foot",0.3048006]]]',
    f'COMPOUNDCRS["a",{UTM},VERTCRS["b",VDATUM["c"],CS[vertical,1],AXIS["h",up],LENGTHUNIT["foot",0.3048]]]',
)


def test_scale_and_north() -> None:
    assert WHERE.scale(SHAPE) == pytest.approx(10) and WHERE.north == pytest.approx((0, -1))
    turned = Georeference(UTM, (0.0, 10.0, 500000.0, 10.0, 0.0, 5000000.0))
    assert turned.scale(SHAPE) == pytest.approx(10) and turned.north == pytest.approx((1, 0))  # columns run north
    degrees = rasterio.crs.CRS.from_epsg(4326).to_wkt()
    there = Georeference(degrees, (0.001, 0.0, 9.0, 0.0, -0.001, 60.01))
    circle = 40_075_017 / 360 * 0.001 * 0.5  # of the 60th degree: half of the equator
    assert there.scale((20, 30)) == pytest.approx(circle, rel=1e-3)
    feet = Georeference(rasterio.crs.CRS.from_epsg(2263).to_wkt(), (3.0, 0.0, 0.0, 0.0, -3.0, 0.0))
    assert feet.scale(SHAPE) == pytest.approx(3 * 1200 / 3937)  # US survey feet
    for wkt in (rasterio.crs.CRS.from_wkt(both).to_wkt() for both in HEIGHTS_IN_FEET):
        assert Georeference(wkt, WHERE.transform).scale(SHAPE) == pytest.approx(10)
    above = f'COMPD_CS["a",{degrees},VERT_CS["b",VERT_DATUM["c",2005],UNIT["foot",0.3048]]]'
    assert Georeference(above, there.transform).scale((20, 30)) == pytest.approx(circle, rel=1e-3)
    assert Georeference("", WHERE.transform).scale(SHAPE) is None
    assert Georeference.from_json(json.loads(json.dumps(WHERE.to_json()))) == WHERE


def test_places_and_pixels() -> None:
    turned = Georeference("", (2.0, -1.0, 10.0, 0.5, -3.0, 20.0))
    x, y = turned.at(3.0, 4.0)
    a, b, c, d, e, f = turned.inverse
    assert (a * x + b * y + c, d * x + e * y + f) == pytest.approx((4.0, 3.0))
    moved = Georeference(UTM, (10.0, 0.0, 500000.2, 0.0, -10.0, 5000000.0))
    assert not WHERE.same_grid(moved, SHAPE)
    assert WHERE.same_grid(Georeference("", (10.0, 0.0, 500000.05, 0.0, -10.0, 5000000.0)), SHAPE)
    assert not WHERE.same_grid(Georeference(rasterio.crs.CRS.from_epsg(32633).to_wkt(), WHERE.transform), SHAPE)
    assert "EPSG:32632, first corner (500000, 5000000), pixels of 10 x -10" in str(WHERE)
