"""Files that a session leaves, and what comes back from QGIS."""

import html
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import HsiAlError, SceneError, SessionError
from hsi_al.label import __main__ as command
from hsi_al.label.exchange import read_query
from hsi_al.label.exporting import export
from hsi_al.label.running import opened, take_labels
from hsi_al.label.session import Refused, Session
from hsi_al.pool.answers import Answers, session_labels
from hsi_al.scenes.description import describe
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.vectors import drawn_labels
from tests.fakes import add_styles
from tests.label.fakes import (
    MASKED,
    SIDE,
    TRUTH,
    UTM,
    WHERE,
    Client,
    answer_all,
    config_of,
    scene_of,
    session_in,
    taught,
)

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")
FILES = ["map.tif", "map.tif.aux.xml", "map.qml", "uncertainty.tif", "labels.gpkg", "labels.qml", "query.gpkg"]
SHAPE = (SIDE, SIDE)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return taught(tmp_path / "session", 1, scene=scene_of(georeferenced=True))


def points_of(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    meta, _, geometries, columns = pyogrio.raw.read(path)
    return shapely.from_wkb(geometries), dict(zip(meta["fields"], columns, strict=True))


def rewritten(
    path: Path, keep: Any = slice(None), move: dict[int, tuple[float, float]] | None = None, **fields: Any
) -> Path:
    """As somebody who edits the file: some rows, some points moved, some fields with other values."""
    shapes, columns = points_of(path)
    shapes, columns = shapes[keep], {name: column[keep] for name, column in columns.items()}
    for number, place in (move or {}).items():
        shapes[number] = shapely.Point(place)
    columns |= {name.rstrip("_"): np.asarray(values) for name, values in fields.items()}
    crs = pyogrio.read_info(path)["crs"]
    target = path.with_name("edited.gpkg")
    target.unlink(missing_ok=True)
    pyogrio.raw.write(
        target,
        shapely.to_wkb(shapes),
        list(columns.values()),
        list(columns),
        layer="query",
        driver="GPKG",
        geometry_type="Point",
        crs=crs,
    )
    return target


def test_the_files_hold_what_the_session_does(session: Session) -> None:
    session.answer(session.open_pixels[0], None)
    written = export(session)
    assert [path.name for path in written] == [*FILES, "query.qml", "report.html"]
    folder = written[0].parent
    assert folder == session.folder / "export" and session.map is not None
    with rasterio.open(folder / "map.tif") as raster:
        assert (raster.read(1).ravel() == session.map.classes).all() and raster.nodata == 0
        assert tuple(raster.transform)[:6] == WHERE.transform and raster.crs.to_epsg() == 32632
        colour = bytes.fromhex(session.answers.classes[2].colour[1:])
        assert raster.colormap(1)[2] == (*colour, 255)
    with rasterio.open(folder / "uncertainty.tif") as raster:
        found = raster.read(1).ravel()
        assert found[MASKED] == raster.nodata
        expected = np.delete(session.map.uncertainty, MASKED)  # type: ignore[arg-type]
        assert np.array_equal(np.delete(found, MASKED), expected)
    shapes, columns = points_of(folder / "labels.gpkg")
    given = session.answers.given
    ids = (columns["row"] * SIDE + columns["column"]).tolist()
    assert ids == sorted(given) and columns["class"].tolist() == [given[pixel].value or 0 for pixel in ids]
    names = {value: found.name for value, found in session.answers.classes.items()}
    assert columns["name"].tolist() == [names.get(value) for value in columns["class"].tolist()]
    assert None in columns["name"].tolist()
    drawn = drawn_labels(folder / "labels.gpkg", None, "name", WHERE, (SIDE, SIDE))
    labelled = {pixel: names[answer.value] for pixel, answer in given.items() if answer.value is not None}
    assert {
        int(pixel): drawn.names[int(drawn.labels.flat[pixel])] for pixel in np.flatnonzero(drawn.labels)
    } == labelled
    assert columns["asked"].all() and set(columns["who"]) == {session.who}
    for pixel, point in zip(ids, shapes, strict=True):
        assert (point.x, point.y) == WHERE.at(pixel // SIDE + 0.5, pixel % SIDE + 0.5)
    _, asked = points_of(folder / "query.gpkg")
    assert asked["pixel_id"].tolist() == session.open_pixels and np.isnan(asked["class"]).all()


def test_there_must_be_a_map(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn")
    with pytest.raises(Refused, match="no map"):
        export(session)
    assert Client(session).post("/api/export").status_code == 409


def test_the_page_exports_and_says_where_in_full(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = session.folder.resolve() / "export"
    monkeypatch.chdir(session.folder.parent)
    monkeypatch.setattr(session, "folder", Path(session.folder.name))
    found = Client(session).post("/api/export").json()
    assert found["folder"] == str(whole) and set(FILES) < set(found["files"])


def test_the_report_needs_nothing_else_and_escapes_names(session: Session) -> None:
    session.add_class("<script>alert(1)</script> & Ko")
    export(session)
    text = (session.folder / "export" / "report.html").read_text()
    assert "<script" not in text and html.escape("<script>alert(1)</script> & Ko") in text
    assert not re.search(r"(src|href)=\"(?!data:)", text) and "http" not in text
    assert "Not assessed" in text and "8 pixels labelled" in text and "data:image/png;base64," in text
    rows = [re.findall(r"<td>(?:<span[^>]*></span>)?([^<]*)</td>", row) for row in text.split("<tr>")]
    shown = [row for row in rows if len(row) == 6]  # class, value, labels, pixels, share, hectares
    pixels = [int(row[3].replace(",", "")) for row in shown]
    assert len(shown) == len(session.answers.classes) and sum(int(row[2]) for row in shown) == 8
    assert sum(pixels) == SIDE**2 - 1 and [float(row[5]) for row in shown] == [0.01 * n for n in pixels]


def test_the_report_says_that_the_map_is_older_than_a_correction(session: Session) -> None:
    def report() -> str:
        return next(path for path in export(session) if path.name == "report.html").read_text()

    assert "before the latest answers or corrections" not in report()
    pixel, value = next((pixel, found.value) for pixel, found in session.answers.given.items() if found.value)
    session.answer(pixel, 1 if value != 1 else 2)
    assert "labels, before the latest answers or corrections; pixels" in report()
    session.learn()
    assert "before the latest answers or corrections" not in report()


def test_the_report_names_the_map_that_was_assessed(session: Session) -> None:
    session.start_assessment(24)
    while session.answers.running is not None:
        session.answer(session.query or 0, int(TRUTH[session.query or 0]))
    export(session)
    text = (session.folder / "export" / "report.html").read_text()
    overall = session.assessed()["overall"]
    assert f"Overall accuracy: {100 * overall['estimate']:.1f} % (" in text and "Of the map from 8 labels" in text
    hectares = session.assessed()["classes"][0]["hectares"]
    assert hectares["estimate"] < 0.01 * (SIDE**2 - 1) and f"{hectares['estimate']:,.2f} (" in text
    answer_all(session)
    session.learn()
    export(session)
    text = (session.folder / "export" / "report.html").read_text()
    assert "about the map from 8 labels, kept in the session's folder as assessed_map_1.h5, not about" in text


def test_a_map_of_as_many_labels_may_be_another_than_the_assessed_one(session: Session) -> None:
    session.start_assessment(24)
    while session.answers.running is not None:
        session.answer(session.query or 0, int(TRUTH[session.query or 0]))
    first, second = (pixel for pixel in session.answers.labelled()[0].tolist()[:2])
    session.answer(first, session.answers.given[second].value)
    session.answer(second, int(TRUTH[first]))
    for pixel in session.answers.labelled()[0].tolist()[2:5]:
        session.answer(pixel, 1)
    session.learn()
    assert session.map is not None and session.map.n_labelled == 8
    export(session)
    text = (session.folder / "export" / "report.html").read_text()
    assert "about the map from 8 labels, kept in the session's folder as assessed_map_1.h5, not about the one" in text
    (session.folder / "assessed_map_1.h5").unlink()
    export(session)
    assert "not about the one above" in (session.folder / "export" / "report.html").read_text()


def test_an_edited_query_comes_back(session: Session, tmp_path: Path) -> None:
    export(session)
    path = session.folder / "export" / "query.gpkg"
    pixels = session.open_pixels
    assert read_query(path, session_of(1, 2), SHAPE, WHERE) == []  # nothing answered
    edited = add_styles(rewritten(path, class_=[2.0, 0.0, np.nan, 4.0]))
    assert read_query(edited, session_of(1, 2, 3, 4), SHAPE, WHERE) == [
        (pixels[0], 2),
        (pixels[1], None),
        (pixels[3], 4),
    ]
    assert take_labels(session, [edited], None) == 3 and session.answers.given[pixels[1]].value is None
    assert all(session.answers.given[pixel].asked for pixel in (pixels[0], pixels[1], pixels[3]))
    assert take_labels(session, [edited], None) == 0 and session.open_pixels == [pixels[2]]
    own = rewritten(
        path,
        [0, 1, 2, 3, 0],
        {4: (WHERE.at(9.2, 20.9))},
        pixel_id=[*map(float, pixels), np.nan],
        points=[4.0] * 4 + [np.nan],
        class_=[np.nan] * 4 + [1.0],
    )
    assert read_query(own, session_of(1), SHAPE, WHERE) == [(9 * SIDE + 20, 1)]


def answered(path: Path, values: dict[int, int]) -> None:
    """Answer points in a file as QGIS does, which keeps what the layer says of itself."""
    with sqlite3.connect(path) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')  # they call functions of GDAL
        for pixel, value in values.items():
            database.execute("UPDATE query SET class = ? WHERE pixel_id = ?", (value, pixel))
    database.close()


def session_of(*values: int) -> Answers:
    classes = [{"event": "class", "value": value, "name": f"class {value}", "key": ""} for value in values]
    return Answers([{"time": "2026-01-01T00:00:00", "who": "", "colour": "#000000", **one} for one in classes])


def test_answers_for_another_session_are_known_by_their_names(session: Session, tmp_path: Path) -> None:
    export(session)
    path, pixels = session.folder / "export" / "query.gpkg", session.open_pixels
    answered(path, dict(zip(pixels, (1, 2, 0), strict=False)))
    assert {found.value: found.name for found in session.answers.classes.values()}[1] == "corn"
    other = session_in(tmp_path / "other", "pond", "oats", scene=scene_of(georeferenced=True))
    with pytest.raises(SessionError, match="written by another session, whose classes 'corn' this one lacks"):
        take_labels(other, [path])
    assert not other.answers.given
    other.add_class("Corn")
    assert take_labels(other, [path]) == 3
    assert [other.answers.given[pixel].value for pixel in pixels[:3]] == [3, 2, None]
    with sqlite3.connect(path) as database:
        broken = "UPDATE gpkg_metadata SET metadata = replace(metadata, 'corn', 'co\\qrn')"
        assert database.execute(broken).rowcount > 0
    database.close()
    with pytest.raises(SessionError, match="the names of its classes in it are damaged"):
        take_labels(other, [path])
    session.change_class(1, "maize")  # one's own file is known by values, whatever their names are now
    assert take_labels(session, [path]) == 3 and session.answers.given[pixels[0]].value == 1


def test_a_copy_of_a_session_that_has_gone_its_own_way_is_another_one(tmp_path: Path) -> None:
    begun = session_in(tmp_path / "anna", "corn", "oats", scene=scene_of(georeferenced=True))
    begun.learn()
    for pixel in list(begun.open_pixels):
        begun.answer(pixel, 1 + pixel % 2)
    begun.learn()
    shutil.copytree(begun.folder, tmp_path / "ben")
    ben = session_in(tmp_path / "ben", "water", scene=scene_of(georeferenced=True))
    assert ben.identity == begun.identity
    begun.add_class("road")
    ben.learn()
    export(ben)
    path, pixels = tmp_path / "ben/export/query.gpkg", ben.open_pixels
    answered(path, dict(zip(pixels, (3, 1), strict=False)))
    with pytest.raises(SessionError, match="written by another session, whose classes 'water' this one lacks"):
        take_labels(begun, [path])
    begun.add_class("Water")
    begun.add_class("water")
    begun.add_class("WATER")  # which is another class
    assert take_labels(begun, [path]) == 2
    assert [begun.answers.given[pixel].value for pixel in pixels[:2]] == [5, 1]
    assert take_labels(ben, [path]) == 2 and ben.answers.given[pixels[0]].value == 3


def test_questions_of_another_scene_are_no_moved_points(session: Session) -> None:
    export(session)
    path = session.folder / "export" / "query.gpkg"
    edited = rewritten(path, class_=[1.0, 2.0, 1.0, np.nan])
    east = Georeference(UTM, (10.0, 0.0, WHERE.transform[2] + 120, 0.0, -10.0, WHERE.transform[5]))
    with pytest.raises(SessionError, match=r"3 of 3 answered points don't lie .*it is a file of another scene"):
        read_query(edited, session_of(1, 2), SHAPE, east)


def test_labels_of_another_grid_are_refused(session: Session, tmp_path: Path) -> None:
    def write(name: str, left: float) -> Path:
        place = {"crs": UTM, "transform": rasterio.Affine(10, 0, left, 0, -10, WHERE.transform[5])}
        with rasterio.open(tmp_path / name, "w", "GTiff", SIDE, SIDE, 1, dtype="uint8", **place) as file:
            file.write(TRUTH.reshape(1, *SHAPE).astype(np.uint8))
        return tmp_path / name

    given = dict(session.answers.given)
    with pytest.raises(SceneError, match="the labels lie on another grid than the cube"):
        take_labels(session, [write("east.tif", WHERE.transform[2] + 120)])
    assert session.answers.given == given
    assert take_labels(session, [write("here.tif", WHERE.transform[2])]) > 0


def test_a_raster_in_which_0_is_a_class_keeps_the_numbers_of_the_session(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", config=config_of("dataset.unlabelled=255"))
    values = np.full(SHAPE, 255, np.uint8)
    values[9, :3] = 0, 1, 2
    np.save(tmp_path / "old.npy", values)
    assert take_labels(session, [tmp_path / "old.npy"]) == 3
    classes = {one.name: one.value for one in session.answers.classes.values()}
    given = [session.answers.given[9 * SIDE + column].value for column in range(3)]
    assert given == [classes["class 0"], classes["corn"], classes["oats"]] and len(classes) == 3


def test_questions_are_described_as_such(session: Session) -> None:
    export(session)
    found = describe(session.folder / "export" / "query.gpkg")
    assert "questions of a session" in dict(found.lines)["next"] and not found.arguments
    found = describe(session.folder / "export" / "labels.gpkg")
    assert found.arguments["label_field"] and "next" not in dict(found.lines)


def test_labels_where_the_scene_has_no_data(session: Session, tmp_path: Path, capsys: Any) -> None:
    pixels = [MASKED, 9 * SIDE + 20]
    points = "\n".join(f"{','.join(map(str, WHERE.at(pixel // SIDE + 0.5, pixel % SIDE + 0.5)))},1" for pixel in pixels)
    (tmp_path / "a.csv").write_text(f"x,y,code\n{points}\n")
    assert take_labels(session, [tmp_path / "a.csv"]) == 1
    assert "1 pixels that" in (told := capsys.readouterr().err) and "have no data in the scene" in told
    export(session)
    own = rewritten(
        session.folder / "export" / "query.gpkg",
        [0, 1, 2, 3, 0],
        {4: WHERE.at(MASKED // SIDE + 0.5, MASKED % SIDE + 0.5)},
        pixel_id=[*map(float, session.open_pixels), np.nan],
        points=[4.0] * 4 + [np.nan],
        class_=[2.0] + [np.nan] * 3 + [1.0],
    )
    assert take_labels(session, [own]) == 1 and "1 pixels that" in capsys.readouterr().err
    names = "\n".join(f"{','.join(map(str, WHERE.at(9.5, n + 0.5)))},P{n}" for n in range(13))
    (tmp_path / "b.csv").write_text(f"x,y,name\n{names}\n")
    take_labels(session, [tmp_path / "b.csv"])
    assert "name another field by --label-field." in capsys.readouterr().err


def test_labels_of_a_file_that_holds_several(session: Session, tmp_path: Path) -> None:
    path, place = tmp_path / "a.gpkg", WHERE.at(9.5, 20.5)
    for layer, value in (("train", 1), ("check", 2)):
        points = shapely.to_wkb([shapely.Point(*place)])
        fields = {"code": np.array([value]), "other": np.array([4])}
        pyogrio.raw.write(
            path,
            points,
            [*fields.values()],
            [*fields],
            layer=layer,
            crs=WHERE.crs,
            geometry_type="Point",
            driver="GPKG",
        )
    truth = TRUTH.reshape(SHAPE)
    np.savez(tmp_path / "a.npz", one=np.where(truth == 1, 1, 0), two=np.where(truth == 1, 2, 0))
    for file, how, words in (
        (path, {}, r"has the layers train, check; name one by --label-key\."),
        (path, {"label_key": "train"}, r"has the fields code, other; .* by --label-field\."),
        (path, {"label_key": "train", "label_field": "cod"}, "has no field --label-field=cod"),
        (tmp_path / "a.npz", {}, "so a key is needed"),
    ):
        with pytest.raises(SceneError, match=words):
            take_labels(session, [file], **how)
    assert take_labels(session, [path], "code", "check") == 1 and session.answers.given[9 * SIDE + 20].value == 2
    assert take_labels(session, [tmp_path / "a.npz"], label_key="one") > 1
    (tmp_path / "b.csv").write_text(f"x,y,code\n{place[0]},{place[1]},1\n")
    assert take_labels(session, [path, tmp_path / "b.csv"], "code", "check") == 1  # of the one that has layers


def test_an_export_deletes_no_answer_of_an_edited_query(session: Session) -> None:
    export(session)
    path, pixels = session.folder / "export" / "query.gpkg", session.open_pixels
    rewritten(path, class_=[2.0, 0.0, np.nan, np.nan]).replace(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(
        Refused, match=r"query\.gpkg holds 2 answers that the session doesn't have; take them in"
    ) as found:
        export(session)
    assert found.value.status == 409
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    take_labels(session, [path], None)
    assert session.answers.given[pixels[0]].value == 2
    session.learn()
    export(session)  # now the session has them
    assert not np.isfinite(points_of(path)[1]["class"]).any()
    pixels = session.open_pixels
    rewritten(path, class_=[1.0, *[np.nan] * (len(pixels) - 1)]).replace(path)
    session.answer(pixels[0], 2)
    with pytest.raises(Refused, match="holds 1 answers"):  # another one than the session has
        export(session)
    take_labels(session, [path], None)
    session.answer(pixels[0], 2)  # what was taken, and corrected since, isn't lost
    session.learn()
    assert not np.isfinite(points_of(export(session)[0].with_name("query.gpkg"))[1]["class"]).any()
    path.write_text("no GeoPackage")
    with pytest.raises(Refused, match=r"may hold answers, but can't be read"):
        export(session)


def test_an_export_replaces_no_map_of_a_run(session: Session, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(Refused, match="is a run directory"):
        export(session, tmp_path)
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"class_": [9.0, np.nan, np.nan, np.nan]}, r"fid 1 has the class 9, which"),
        ({"class_": [1.5, np.nan, np.nan, np.nan]}, r"the class 1\.5, which"),
        ({"class_": [-1.0, np.nan, np.nan, np.nan]}, r"the class -1, which"),
        ({"keep": [0, 1, 3]}, r"has 3 of its 4 points"),
        ({"keep": [0, 1, 2, 3, 3]}, r"has 5 of its 4 points"),
        ({"move": {0: WHERE.at(0.5, 0.5)}, "class_": [1.0] * 4}, r"fid 1 was moved"),
        ({"move": {3: (0.0, 0.0)}, "class_": [1.0] * 4}, r"fid 4 was moved"),
        ({"class_": np.array(["corn", "", "oats", ""], object)}, r"the field class holds no numbers"),
    ],
)
def test_an_edit_that_cannot_be_meant_is_one_sentence(session: Session, edit: dict[str, Any], says: str) -> None:
    export(session)
    edited = rewritten(session.folder / "export" / "query.gpkg", **edit)
    version = session.answers.version
    with pytest.raises(SessionError, match=says) as error:
        take_labels(session, [edited], None)
    assert str(error.value).count("\n") == 0 and session.answers.version == version


def test_other_label_files_bring_their_classes(session: Session, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[20, :3], labels[0, MASKED], labels[21, 0] = 2, 2, 9
    np.save(tmp_path / "labels.npy", labels)
    assert take_labels(session, [tmp_path / "labels.npy"], None) == 4
    assert session.answers.given[20 * SIDE].value == 2 and session.answers.given[21 * SIDE].value == 9
    assert session.answers.classes[9].name == "class 9" and len(session.answers.classes) == 5
    fields = [np.array(["oats", "barley"], object)]
    places = [WHERE.at(12.5, 3.5), WHERE.at(13.5, 3.5)]
    pyogrio.raw.write(
        tmp_path / "known.gpkg",
        shapely.to_wkb(shapely.points(places)),
        fields,
        ["crop"],
        driver="GPKG",
        geometry_type="Point",
        crs=UTM,
    )
    assert take_labels(session, [tmp_path / "known.gpkg"], "crop") == 2
    found = session.answers
    assert found.classes[found.given[12 * SIDE + 3].value or 0].name == "oats"
    assert found.classes[found.given[13 * SIDE + 3].value or 0].name == "barley" and len(found.classes) == 6
    given = dict(found.given)
    session.change_class(found.named["barley"], "winter barley")  # the same command again, after a change on the page
    assert take_labels(session, [tmp_path / "known.gpkg"], "crop") == 0
    assert found.given == given and len(found.classes) == 6
    np.save(tmp_path / "wrong.npy", labels[:5])
    with pytest.raises(HsiAlError, match="does not fit"):
        take_labels(session, [tmp_path / "wrong.npy"], None)


def test_files_that_differ_are_taken_together(session: Session, tmp_path: Path) -> None:
    files = [tmp_path / "first.npy", tmp_path / "second.npy"]
    for value, file in enumerate(files, 1):
        labels = np.zeros(SHAPE, np.uint8)
        labels[20, value : value + 2] = value
        np.save(file, labels)
    assert take_labels(session, files, None) == 3
    given = session.answers.given
    assert [given[20 * SIDE + column].value for column in (1, 2, 3)] == [1, 2, 2]
    session.answer(20 * SIDE + 2, 1)
    assert take_labels(session, files, None) == 0 and given[20 * SIDE + 2].value == 1  # the same command again


def test_a_session_is_exported_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("field.npy", scene_of(masked=False).cube)
    from hsi_al.active.parts import build_scene
    from hsi_al.label.running import configuration

    config = configuration("field.npy", ["learner=lda", "protocol.initial_size=8", "trainer.threads=1"])
    with opened(tmp_path / "s", build_scene(config), config, ["corn", "oats", "wheat", "pond"]) as session:
        session.learn()
        answer_all(session)
        session.learn()
        kept = session.map
    assert kept is not None
    assert command.main(["export", "s", "--output", "out"]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == [*FILES, "query.qml", "report.html"]
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open("out/map.tif") as raster:
        assert (raster.read(1).ravel() == kept.classes).all()  # rebuilt from the answers alone
    assert len(session_labels(tmp_path / "s").pixel_ids) == len(points_of(Path("out/labels.gpkg"))[0]) == 8
    assert command.main(["export", "out"]) == 2
    assert "holds no session" in capsys.readouterr().err
    settings = json.loads((tmp_path / "s" / "session.json").read_text())
    assert settings["scene"] == "field"


QGIS = Path("/usr/bin/python3")
SCRIPT = """
import sys
from qgis.core import QgsApplication, QgsVectorLayer
app = QgsApplication([], False)
app.initQgis()
layer = QgsVectorLayer(sys.argv[1], "query", "ogr")
message, loaded = layer.loadDefaultStyle()
field = layer.fields().indexOf("class")
setup = layer.editorWidgetSetup(field)
print("crs", layer.crs().authid(), "n", layer.featureCount(), "style", loaded, setup.type())
print("map", sorted((name, value) for entry in setup.config()["map"] for name, value in entry.items()))
print("renderer", layer.renderer().type(), len(layer.renderer().categories()))
layer.startEditing()
for number, feature in enumerate(layer.getFeatures()):
    if number < 2:
        layer.changeAttributeValue(feature.id(), field, number + 1)
print("saved", layer.commitChanges(), flush=True)
"""


@pytest.mark.slow
def test_qgis_opens_and_edits_the_questions(session: Session) -> None:
    """QGIS lives in the system's Python."""
    try:
        subprocess.run([QGIS, "-c", "import qgis.core"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("PyQGIS is not installed (apt-get install python3-qgis)")
    export(session)
    path = session.folder / "export" / "query.gpkg"
    done = subprocess.run(
        [QGIS, "-c", SCRIPT, path],
        capture_output=True,
        text=True,
        check=False,  # it may crash at its exit
        timeout=120,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(session.folder), "PATH": "/usr/bin:/bin"},
    )
    assert "crs EPSG:32632 n 4 style True ValueMap" in done.stdout, done.stdout + done.stderr
    assert "('corn', '1')" in done.stdout and "(\"can't tell\", '0')" in done.stdout
    assert "renderer categorizedSymbol 6" in done.stdout and "saved True" in done.stdout
    pixels = session.open_pixels
    assert read_query(path, session_of(1, 2, 3, 4), SHAPE, WHERE) == [(pixels[0], 1), (pixels[1], 2)]
