"""`python -m hsi_al.assess`: a sample of any class map, and what its answers say."""

import base64
import io
import json
import re
import shlex
import signal
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from hsi_al.assess import main, read_map
from hsi_al.label.assessment import allocated
from hsi_al.manifest import read_sealed, sealed
from hsi_al.scenes.georaster import write_class_map
from hsi_al.scenes.georeference import Georeference

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
shapely = pytest.importorskip("shapely", reason="the extra geo is not installed")

UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
WHERE = Georeference(UTM, (20.0, 0.0, 500000.0, 0.0, -20.0, 5400000.0))  # pixels of 0.04 ha
NAMES = {1: "corn", 4: "<script>alert(1)</script> & 'Ko'", 7: "pond"}
COLOURS = {1: (255, 200, 0), 4: (0, 120, 0), 7: (0, 0, 255)}
# 10 rows of 20 columns: 20 pixels are not mapped, 100 are corn, 60 the hostile class, 20 pond.
CLASS_MAP = np.repeat([0, 1, 4, 7], [20, 100, 60, 20]).astype(np.uint8).reshape(10, 20)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_class_map(tmp_path / "map.tif", CLASS_MAP, WHERE, NAMES, COLOURS)
    return tmp_path


COPIES = ("checked-map.tif", "checked-map.qml", "checked-map.tif.aux.xml")


def points_of(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    meta, _, places, columns = pyogrio.raw.read(path)
    return places, {str(name): column.copy() for name, column in zip(meta["fields"], columns, strict=True)}


def save(path: Path, places: Any, fields: dict[str, np.ndarray], layer: str = "check", crs: str | None = UTM) -> None:
    path.unlink(missing_ok=True)
    options = {"layer": layer, "driver": "GPKG", "geometry_type": "Point", "crs": crs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no CRS
        pyogrio.raw.write(path, places, [*fields.values()], [*fields], **options)


def answer(path: Path, answers: dict[int, float | str | None], **options: Any) -> None:
    """Answer some pixels: a class, a text in `other`, or None for an empty class."""
    places, fields = points_of(path)
    for number, pixel in enumerate(fields["pixel_id"].astype(int).tolist()):
        given = answers.get(pixel)
        fields["class"][number] = given if isinstance(given, int | float) else np.nan
        fields["other"][number] = given if isinstance(given, str) else None
    save(path, places, fields, **options)


def drawn_check(*arguments: str) -> tuple[Path, dict[int, int]]:
    """Draw a check of map.tif; return its file and the class of the map of every pixel."""
    assert main(["map.tif", *arguments]) == 0
    path = Path("map-check/check.gpkg")
    pixels = points_of(path)[1]["pixel_id"].astype(int)
    return path, dict(zip(pixels.tolist(), CLASS_MAP.ravel()[pixels].tolist(), strict=True))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that ends with exit code 2 and one sentence."""
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and not out and "SessionError" not in err, err
    return err


def test_the_points_are_a_blind_sample_in_random_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, shown = drawn_check("--n", "40")
    out = capsys.readouterr().out
    assert "python -m hsi_al.assess map.tif --answers map-check/check.gpkg" in out
    places, fields = points_of(path)
    assert list(fields) == ["row", "column", "pixel_id", "class", "other", "points"]
    assert np.isnan(fields["class"]).all() and set(fields["other"]) == {None} and (fields["points"] == 40).all()
    assert len(shown) == 40 and [*shown.values()].count(0) == 0
    n_of = [[*shown.values()].count(value) for value in NAMES]
    assert n_of == allocated(np.array([100, 60, 20]), 40).tolist()
    assert [*shown.values()] != sorted(shown.values())
    for pixel, point in zip(shown, shapely.from_wkb(places), strict=True):
        assert (point.x, point.y) == WHERE.at(pixel // 20 + 0.5, pixel % 20 + 0.5)
    style = path.with_suffix(".qml").read_text()
    assert 'name="&lt;script&gt;' in style and 'label="pond"' in style and 'value="255,200,0,255"' in style
    assert {one.name for one in folder.glob("map-check/*")} == {"check.gpkg", "check.qml", "check.json", *COPIES}


def test_a_seed_draws_the_same_pixels_and_another_one_others(folder: Path) -> None:
    samples = []
    for name, *seed in (("a",), ("b", "--seed", "0"), ("c", "--seed", "1")):
        assert main(["map.tif", "--n", "40", "--output", name, *seed]) == 0
        samples.append(points_of(folder / name / "check.gpkg")[1]["pixel_id"].tolist())
    assert samples[0] == samples[1] != samples[2]


def test_estimates_are_those_of_a_calculation_by_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 180 mapped pixels 100, 60 and 20 are the strata; answers are set so that shares within them are round."""
    path, shown = drawn_check("--n", "40")
    strata = {value: [pixel for pixel in shown if shown[pixel] == value] for value in NAMES}
    n = {value: len(pixels) for value, pixels in strata.items()}
    answers: dict[int, float | str | None] = {pixel: value for pixel, value in shown.items()}
    answers[strata[1][0]] = "Road"  # a class that the map missed
    answers[strata[1][1]] = "  rOAD "
    answers[strata[1][2]] = " POND"  # one that it has, by its name
    answers[strata[4][0]] = 0  # can't tell
    answers[strata[4][1]] = None  # not answered
    answers[strata[7][0]] = 1
    answer(path, answers)
    places, fields = points_of(path)
    order = np.random.default_rng(0).permutation(40)  # somebody sorts the table
    save(path, places[order], {name: column[order] for name, column in fields.items()})
    assert main(["map.tif", "--answers", str(path)]) == 0
    out = capsys.readouterr().out
    found = json.loads((folder / "map-check/accuracy.json").read_text())
    corn, hostile, pond, road = found["classes"]
    right = 100 * (n[1] - 3) / n[1] + 60 + 20 * (n[7] - 1) / n[7]
    assert found["overall"]["estimate"] == pytest.approx(right / 180)
    low, high = found["overall"]["interval"]
    assert 0 < low < right / 180 < high <= 1
    assert f"Overall accuracy: {100 * right / 180:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in out
    assert corn["users"]["estimate"] == pytest.approx((n[1] - 3) / n[1])
    assert hostile["users"]["estimate"] == 1 and hostile["name"] == NAMES[4] and hostile["n"] == n[4] - 2
    pond_area = 20 * (n[7] - 1) / n[7] + 100 / n[1]
    assert pond["producers"]["estimate"] == pytest.approx(20 * (n[7] - 1) / n[7] / pond_area)
    assert pond["area"]["estimate"] == pytest.approx(pond_area / 180)
    assert pond["hectares"]["estimate"] == pytest.approx(pond_area * 0.04)
    assert road["name"] in ("Road", "rOAD") and road["value"] == 8 and road["users"] is None
    assert road["producers"]["estimate"] == 0 and road["area"]["estimate"] == pytest.approx(200 / n[1] / 180)
    assert (found["n"], found["answered"], found["skipped"]) == (40, 39, 1)
    notes = " ".join(found["notes"])
    assert (
        "20 pixels of 200 are not mapped" in notes and "Only 39 of 40" in notes and "1 pixels that could not" in notes
    )
    text = (folder / "map-check/report.html").read_text()
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; 'Ko'" in text and "http" not in text
    assert f"Overall accuracy: {100 * right / 180:.1f} % (" in text and "data:image/png;base64," in text
    assert "background:#ffc800" in text and f"{pond_area * 0.04:.2f} (" in text


def test_what_was_typed_is_taken_as_it_was_meant(folder: Path) -> None:
    """A name in another case or Unicode form; "can't tell" in the field `other`; a field of numbers that is empty."""
    names = {1: "A\u0308cker", 4: "\u0645\u06cc\u200c\u0631", 7: "Stra\u00dfe"}  # two code points, ZWNJ, eszett
    write_class_map(folder / "map.tif", CLASS_MAP, WHERE, names, COLOURS)
    path, shown = drawn_check("--n", "20")
    typed: dict[int, float | str | None] = {1: "\u00c4CKER", 4: names[4], 7: "STRASSE"}
    answer(path, {pixel: typed[value] for pixel, value in shown.items()} | {next(iter(shown)): "Can\u2019t  TELL"})
    assert main(["map.tif", "--answers", str(path)]) == 0
    found = json.loads((folder / "map-check/accuracy.json").read_text())
    assert found["overall"]["estimate"] == 1 and len(found["classes"]) == 3
    assert (found["answered"], found["skipped"]) == (20, 1)
    answer(path, dict(shown))
    places, fields = points_of(path)
    save(path, places, fields | {"other": np.full(len(places), np.nan)})
    assert main(["map.tif", "--answers", str(path)]) == 0
    assert json.loads((folder / "map-check/accuracy.json").read_text())["answered"] == 20


def test_points_that_a_tool_has_made_collections_of_one(folder: Path) -> None:
    path, shown = drawn_check("--n", "12")
    answer(path, dict(shown))
    places, fields = points_of(path)
    several = shapely.to_wkb(shapely.multipoints(shapely.from_wkb(places)[:, None]))
    path.unlink()
    options = {"layer": "check", "driver": "GPKG", "geometry_type": "MultiPoint", "crs": UTM}
    pyogrio.raw.write(path, several, [*fields.values()], [*fields], **options)
    assert main(["map.tif", "--answers", str(path)]) == 0
    assert json.loads((folder / "map-check/accuracy.json").read_text())["answered"] == 12


@pytest.mark.parametrize("name", ["-n.tif", "two words' end.tif", "$(ls).tif", "two.h5"])
def test_the_printed_command_can_be_pasted(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    key = []
    if name.endswith(".h5"):
        key = ["--key", "b"]
        with h5py.File(name, "w") as file:
            file["a"], file["b"] = np.eye(3), CLASS_MAP
    else:
        (folder / "map.tif").rename(folder / name)
    assert main([f"./{name}", "--n", "12", *key]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:3] == ["python", "-m", "hsi_al.assess"]
    assert "has a class yet" in refused(capsys, *command[3:])
    with pytest.raises(SystemExit):  # results go beside the answers
        main([*command[3:], "--output", "elsewhere"])


@pytest.mark.parametrize(("code", "hectares"), [(3857, None), (4087, None), (4326, None), (6933, 0.04), (3035, 0.04)])
def test_a_pixel_has_an_area_where_it_is_about_the_same_everywhere(code: int, hectares: float | None) -> None:
    """At 50 degrees north a pixel of 20 m of Web Mercator is 0.017 ha on the ground, not 0.04."""
    where = Georeference(rasterio.crs.CRS.from_epsg(code).to_wkt(), WHERE.transform)
    assert where.hectares == (None if hectares is None else pytest.approx(hectares))


def test_a_map_of_one_class(folder: Path) -> None:
    write_class_map(folder / "map.tif", np.full((9, 9), 3, np.uint8), WHERE, {3: "snow"}, {3: (1, 2, 3)})
    assert main(["map.tif", "--n", "8"]) == 0
    path = folder / "map-check/check.gpkg"
    pixels = points_of(path)[1]["pixel_id"].astype(int).tolist()
    answer(path, {pixel: "ice" if number < 2 else 3 for number, pixel in enumerate(pixels)})
    assert main(["map.tif", "--answers", str(path)]) == 0
    found = json.loads((folder / "map-check/accuracy.json").read_text())
    assert found["overall"]["estimate"] == found["classes"][0]["users"]["estimate"] == pytest.approx(0.75)
    assert found["classes"][1]["name"] == "ice"
    assert found["classes"][1]["hectares"]["estimate"] == pytest.approx(81 * 0.04 / 4)


def test_a_map_that_lies_nowhere_has_shares_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """x is the column and y the negative row, as QGIS shows a picture without a place."""
    with h5py.File("map.h5", "w") as file:
        file["class_map"] = CLASS_MAP.astype(np.uint16) * 100
        file["label_values"], file["class_names"] = [100, 400, 900], ["Wiese", "Äcker", "absent"]
    assert main(["map.h5", "--n", "12"]) == 0
    assert [one.name for one in read_map(folder / "map.h5").classes] == ["Wiese", "Äcker", "class 700"]
    path = folder / "map-check/check.gpkg"
    places, fields = points_of(path)
    pixels = fields["pixel_id"].astype(int)
    assert [(point.x, point.y) for point in shapely.from_wkb(places)] == [
        (pixel % 20 + 0.5, -(pixel // 20) - 0.5) for pixel in pixels.tolist()
    ]
    answer(path, dict(zip(pixels.tolist(), CLASS_MAP.ravel()[pixels] * 100.0, strict=True)), crs=None)
    assert main(["map.h5", "--answers", str(path)]) == 0
    found = json.loads((folder / "map-check/accuracy.json").read_text())
    assert found["overall"]["estimate"] == 1 and [one["name"] for one in found["classes"]] == [
        *("Wiese", "Äcker", "class 700")
    ]
    assert all(one["hectares"] is None for one in found["classes"])
    assert any("Areas are shares of the pixels" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("kind", "no_data", "values"), [("float32", None, {1, 4, 7}), ("int16", 7, {1, 4}), ("float64", np.nan, {1, 4, 7})]
)
def test_masked_pixels_and_number_types(folder: Path, kind: str, no_data: float | None, values: set[int]) -> None:
    content = CLASS_MAP.astype(kind)
    if no_data is not None and np.isnan(no_data):
        content[content == 0] = np.nan
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(0.1, 0, 9, 0, -0.1, 50)}
    with rasterio.open("other.tif", "w", "GTiff", 20, 10, 1, dtype=kind, nodata=no_data, **place) as file:
        file.write(content, 1)
    found = read_map(folder / "other.tif")
    assert set(found.counts) == values and found.values.dtype == np.uint8
    assert [one.name for one in found.classes] == [f"class {value}" for value in sorted(values)]
    assert len({one.colour for one in found.classes}) == len(values)


@pytest.mark.parametrize(
    ("kind", "value"), [("uint8", 255), ("uint16", 65535), ("uint32", 2**32 - 1), ("int16", -9999), ("float32", 255)]
)
def test_pixels_without_data_of_which_the_file_says_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, value: int
) -> None:
    content = CLASS_MAP.astype(kind)
    content[content == 0] = value
    write(folder / "rim.tif", content)
    if value < 0:
        for fill in (np.int16(value), np.finfo(np.float32).min, np.float32(1e20)):  # each as it can be given again
            write(folder / "rim.tif", np.where(content == value, fill, content.astype(fill.dtype)))
            told = refused(capsys, "rim.tif")
            option = re.search(r"means no data, add (--no-data=\S+)\.", told)
            assert option is not None, told
            assert main(["rim.tif", "--n", "12", option[1], "--output", f"check{fill}"]) == 0
            capsys.readouterr()
        write(folder / "rim.tif", content)
    else:
        assert main(["rim.tif", "--n", "40", "--output", "all"]) == 0
        assert capsys.readouterr().err == (
            f"Warning: rim.tif has {value} in 20 of 200 pixels, and doesn't say that it means no data; it counts as a "
            f"class. If it is none, add --no-data {value}.\n"
        )
    assert main(["rim.tif", "--n", "12", "--no-data", str(value)]) == 0
    out, err = capsys.readouterr()
    command = out.splitlines()[-1].split()[3:]
    assert f"--no-data={value}" in command and not err
    path = folder / "rim-check/check.gpkg"
    pixels = points_of(path)[1]["pixel_id"].astype(int)
    answer(path, dict(zip(pixels.tolist(), CLASS_MAP.ravel()[pixels] * 1.0, strict=True)))
    assert main(command) == 0
    found = json.loads((path.parent / "accuracy.json").read_text())
    assert [one["value"] for one in found["classes"]] == [1, 4, 7] and found["overall"]["estimate"] == 1
    assert any("20 pixels of 200 are not mapped" in note for note in found["notes"])


def test_the_largest_value_may_be_a_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "all.tif", np.resize([1, 254, 255], (10, 20)).astype(np.uint8))
    write_class_map(
        folder / "named.tif", np.where(CLASS_MAP == 7, 255, CLASS_MAP), WHERE, {255: "pond"}, {255: (0, 0, 255)}
    )
    for name in ("all.tif", "named.tif"):
        assert 255 in read_map(Path(name)).counts
    assert not capsys.readouterr().err


def test_a_class_0_of_a_map_that_marks_another_value_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = np.where(CLASS_MAP == 0, 255, np.where(CLASS_MAP == 4, 0, CLASS_MAP)).astype(np.uint8)
    write(folder / "zero.tif", content, nodata=255)
    assert 0 not in read_map(Path("zero.tif")).counts
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"Warning: {np.count_nonzero(CLASS_MAP == 4):,} pixels of zero.tif hold 0 and count as no class"
    )
    assert line.endswith("if 0 is a class, give its pixels another number first.")


def write(path: Path, content: np.ndarray, **profile: Any) -> None:
    """A class map as others write it: without names, and without a value for no data unless it is given."""
    place = {"crs": UTM, "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000), **profile}
    with rasterio.open(path, "w", "GTiff", 20, 10, 1, dtype=content.dtype, **place) as file:
        file.write(content, 1)


def test_names_and_colours_of_the_map_are_taken(folder: Path) -> None:
    found = read_map(folder / "map.tif")
    assert [(one.value, one.name) for one in found.classes] == [*NAMES.items()]
    assert [one.colour for one in found.classes] == ["#ffc800", "#007800", "#0000ff"]
    write_class_map(folder / "b.tif", CLASS_MAP, WHERE, {1: "a", 4: "A", 7: "b"}, dict.fromkeys(NAMES, (1, 2, 3)))
    found = read_map(folder / "b.tif")
    assert [one.name for one in found.classes] == ["a (1)", "A (4)", "b"]  # else answers could mean either
    assert len({one.colour for one in found.classes}) == 3
    write_class_map(folder / "b.tif", CLASS_MAP, WHERE, {1: "a", 4: "a", 7: "a (1)"}, COLOURS)
    assert len({one.name for one in read_map(folder / "b.tif").classes}) == 3
    (folder / "map.tif.aux.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset>&b;</PAMDataset>')
    assert [one.name for one in read_map(folder / "map.tif").classes] == ["class 1", "class 4", "class 7"]


def test_the_picture_has_the_colours_of_the_table(folder: Path) -> None:
    path, shown = drawn_check("--n", "12")
    answer(path, dict(shown))
    write_class_map(folder / "map.tif", CLASS_MAP, WHERE, NAMES, {1: (9, 9, 9), 4: (8, 8, 8), 7: (7, 7, 7)})
    assert main(["map.tif", "--answers", str(path)]) == 0
    text = (folder / "map-check/report.html").read_text()
    assert "background:#ffc800" in text
    packed = text.partition("base64,")[2].partition('"')[0]
    picture = np.rint(255 * imread(io.BytesIO(base64.b64decode(packed)))).astype(int)
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert {*COLOURS.values()} < colours and len(colours) == 4


def test_nothing_that_may_hold_answers_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = drawn_check("--n", "12")
    kept = path.read_bytes()
    assert "check.gpkg exists" in refused(capsys, "map.tif", "--n", "14")
    assert path.read_bytes() == kept
    path.rename(folder / "map-check/anna.gpkg")  # answers under another name still need what was drawn
    assert "check.json exists" in refused(capsys, "map.tif", "--n", "14")
    (folder / "run").mkdir()
    (folder / "run" / "report.html").write_text("the report of the run")
    assert "report.html exists" in refused(capsys, "map.tif", "--n", "14", "--output", "run")
    moved = folder / "run" / "anna.gpkg"  # beside the run's map
    (folder / "map-check/anna.gpkg").rename(moved)
    (folder / "map-check/check.json").rename(folder / "run" / "check.json")
    answer(moved, dict.fromkeys(points_of(moved)[1]["pixel_id"].astype(int).tolist(), 1))
    assert "run/report.html is not of this check" in refused(capsys, "map.tif", "--answers", str(moved))
    assert (folder / "run" / "report.html").read_text() == "the report of the run"
    assert not (folder / "run" / "accuracy.json").exists()


def test_nothing_half_written_stays(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "check.qml")

    with monkeypatch.context() as patched:
        patched.setattr("hsi_al.label.exchange.write_style", full)
        assert "No space left" in refused(capsys, "map.tif", "--n", "12")
    assert not any((folder / "map-check").iterdir())
    path, shown = drawn_check("--n", "12")
    answer(path, dict(shown))
    assert main(["map.tif", "--answers", str(path)]) == 0
    before = (folder / "map-check/report.html").read_bytes()
    answer(path, {**shown, next(iter(shown)): "road"})
    with monkeypatch.context() as patched:
        patched.setattr("hsi_al.files.os.fsync", full)
        assert "No space left" in refused(capsys, "map.tif", "--answers", str(path))
    assert (folder / "map-check/report.html").read_bytes() == before
    assert len([*(folder / "map-check").iterdir()]) == 5 + len(COPIES)


@pytest.mark.parametrize("place", ["hsi_al.assess.whole_labels", "hsi_al.label.exchange.write_style"])
def test_an_interrupted_draw_is_done_by_the_same_command(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from hsi_al.label.exchange import write_style
    from hsi_al.scenes.checks import whole_labels

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return (write_style if place.endswith("write_style") else whole_labels)(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(place, interrupted)
        patched.setattr("hsi_al.assess.READ_BYTES", 20)  # a row
        assert main(["map.tif", "--n", "12"]) == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err
    assert not [*folder.rglob("check.*")]
    assert main(["map.tif", "--n", "12"]) == 0


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"class": 9.0}, "has the class 9, which there isn't; there are 1, 4, 7, and 0 for can't tell"),
        ({"class": 1.5}, "has the class 1.5, which there isn't"),
        ({"class": 1.0, "other": "road"}, "has the class 1 and 'road' in the field other; leave one of them empty"),
        ({"place": (0.0, 0.0), "class": 1.0}, "was moved from its pixel"),
        ({"place": (0.0, 0.0), "other": "road"}, "was moved from its pixel"),
        ({"deleted": True}, "has 11 of its 12 points"),
        ({"layer": "query"}, "check.gpkg has no layer 'check'; take the file"),
        ({"class": 1234567.0}, "has the class 1234567, which there isn't"),
        ({"class": np.inf}, "has the class inf, which there isn't"),
        ({"place": [(1, 1), (2, 2)], "class": 1.0}, "was moved from its pixel"),
        ({"without": "points"}, "the field points is missing"),
        ({"crs": "EPSG:4326"}, "in another coordinate reference system"),
        ({"pixel": 21}, "asks other pixels than map-check/check.json says"),
        ({"empty": True}, 'No point of map-check/check.gpkg has a class yet (0 are answered by "can\'t tell")'),
        ({"empty": True, "class": 0.0}, 'has a class yet (1 are answered by "can\'t tell")'),
    ],
)
def test_answers_that_cannot_be_meant_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], edit: dict[str, Any], says: str
) -> None:
    path, shown = drawn_check("--n", "12")
    if "empty" not in edit:
        answer(path, dict(shown))
    places, fields = points_of(path)
    if "class" in edit or "other" in edit:
        fields["class"][0], fields["other"][0] = edit.get("class", np.nan), edit.get("other")
    if "place" in edit:
        places[0] = shapely.to_wkb(shapely.MultiPoint(np.reshape(edit["place"], (-1, 2))))
    if "pixel" in edit:  # a point of another check of this map, at its own place
        assert edit["pixel"] not in shown
        fields["pixel_id"] = np.r_[edit["pixel"], fields["pixel_id"][1:]]
        places[0] = shapely.to_wkb(shapely.Point(WHERE.at(1.5, 1.5)))
    fields.pop(edit.get("without", ""), None)
    keep = slice(1 if "deleted" in edit else 0, None)
    fields = {name: column[keep] for name, column in fields.items()}
    save(path, places[keep], fields, edit.get("layer", "check"), edit.get("crs", UTM))
    assert says in refused(capsys, "map.tif", "--answers", str(path))
    assert not (folder / "map-check/accuracy.json").exists() and not (folder / "map-check/report.html").exists()


def test_points_that_were_added_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, shown = drawn_check("--n", "12")
    answer(path, dict(shown))
    places, fields = points_of(path)
    row, column = next(divmod(pixel, 20) for pixel in range(20, 200) if pixel not in shown)
    fields = {name: np.r_[values, values[:1]] for name, values in fields.items()}
    fields["pixel_id"], fields["points"] = (fields[name].astype(float) for name in ("pixel_id", "points"))
    fields["pixel_id"][-1] = fields["points"][-1] = np.nan
    fields["class"][-1] = np.nan
    fields["other"][-1] = "road"
    save(path, np.r_[places, [shapely.to_wkb(shapely.Point(WHERE.at(row + 0.5, column + 0.5)))]], fields)
    assert main(["map.tif", "--answers", str(path)]) == 0
    assert "1 points that were added to map-check/check.gpkg are left out" in capsys.readouterr().err
    found = json.loads((folder / "map-check/accuracy.json").read_text())
    assert found["overall"]["estimate"] == 1 and found["answered"] == 12
    assert [one["name"] for one in found["classes"]] == [*NAMES.values()]


def test_another_map_or_a_damaged_check_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, shown = drawn_check("--n", "12")
    answer(path, dict(shown))
    with rasterio.open("map.tif", "r+") as raster:  # as QGIS does; the map is the same
        raster.build_overviews([2], rasterio.enums.Resampling.nearest)
        raster.update_tags(note="looked at")
    assert main(["map.tif", "--answers", str(path)]) == 0
    changed = CLASS_MAP.copy()
    changed[9, 19] = 4
    write_class_map(folder / "map.tif", changed, WHERE, NAMES, COLOURS)
    assert "is not the map that map-check/check.json was drawn from" in refused(
        capsys, "map.tif", "--answers", str(path)
    )
    write_class_map(folder / "map.tif", CLASS_MAP, WHERE, NAMES, COLOURS)
    frozen = folder / "map-check/check.json"
    kept = frozen.read_text()
    frozen.write_text(kept.replace('"1": 100', '"1": 900'))
    assert "is damaged or of another version" in refused(capsys, "map.tif", "--answers", str(path))
    content = json.loads(kept)
    del content["checksum"]
    frozen.write_text(json.dumps(content))  # somebody has taken the seal off
    assert "is damaged or of another version" in refused(capsys, "map.tif", "--answers", str(path))
    frozen.write_text("[]")
    assert "is damaged or of another version" in refused(capsys, "map.tif", "--answers", str(path))
    frozen.write_text(kept)
    sound = read_sealed(frozen)
    assert sound is not None and sound["seed"] == 0
    frozen.write_text(sealed(sound | {"format": "hsi_al check 99"}))
    assert "is damaged or of another version" in refused(capsys, "map.tif", "--answers", str(path))
    frozen.unlink()
    assert "check.json is missing" in refused(capsys, "map.tif", "--answers", str(path))


def test_what_is_no_class_map_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("shares.npy", np.full((4, 5), 0.5))
    assert "shares.npy is no class map" in refused(capsys, "shares.npy")
    np.save("cube.npy", np.ones((4, 5, 6), np.uint8))
    assert "cube.npy has shape (4, 5, 6)" in refused(capsys, "cube.npy")
    np.save("band.npy", np.arange(3000).reshape(50, 60))
    assert "band.npy is no class map: it holds 2,999 different values" in refused(capsys, "band.npy")
    with pytest.raises(SystemExit):
        main(["map.tif", "--seed", "-1"])
    np.save("empty.npy", np.zeros((4, 5), np.uint8))
    assert "maps no pixel" in refused(capsys, "empty.npy")
    assert "too small to assess a map of 3 classes; take 6" in refused(capsys, "map.tif", "--n", "5")
    assert "200 in all" in refused(capsys, "map.tif", "--n", "1")
    assert "more than a person can check" in refused(capsys, "map.tif", "--n", "10001")
    assert "nowhere.tif does not exist" in refused(capsys, "nowhere.tif")
    assert "nowhere/check.gpkg does not exist" in refused(capsys, "map.tif", "--answers", "nowhere/check.gpkg")
    for here in (".", "nowhere.gpkg/.."):
        assert main(["map.tif", "--answers", here]) == 2
    assert not any(folder.glob("*-check"))


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_a_check_holds_its_map_for_the_day_when_another_has_taken_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "npy":
        np.save(folder / "map.npy", CLASS_MAP.astype(np.int64))
    assert main([f"map.{kind}", "--n", "40", "--output", "elsewhere"]) == 0
    path = Path("elsewhere/check.gpkg")
    kept = read_map(Path("elsewhere/checked-map.tif"))
    assert np.array_equal(kept.values, CLASS_MAP) and [one.name for one in kept.classes] == (
        [*NAMES.values()] if kind == "tif" else ["class 1", "class 4", "class 7"]
    )
    assert kept.where is None if kind == "npy" else WHERE.same_grid(kept.where or WHERE, CLASS_MAP.shape)
    _, fields = points_of(path)
    truth = CLASS_MAP[fields["row"], fields["column"]]
    answer(path, dict(zip(fields["pixel_id"].tolist(), truth.astype(float).tolist(), strict=True)))
    (folder / f"map.{kind}").unlink()
    write_class_map(folder / "map.tif", CLASS_MAP[::-1], WHERE, NAMES, COLOURS)
    assert "name its copy elsewhere/checked-map.tif" in refused(capsys, "map.tif", "--answers", str(path))
    assert main(["elsewhere/checked-map.tif", "--answers", str(path)]) == 0
    assert "Overall accuracy: 100" in capsys.readouterr().out
    for name in ("check.gpkg", "check.json"):
        Path("elsewhere", name).unlink()
    assert "elsewhere/checked-map.tif exists" in refused(capsys, "map.tif", "--output", "elsewhere")
