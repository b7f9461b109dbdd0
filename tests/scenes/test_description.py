"""`python -m hsi_al.scenes`, in this process: what it prints, draws and refuses, and that its command runs."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from hsi_al.cli.composition import composed
from hsi_al.scenes import description
from hsi_al.scenes.__main__ import INITIAL, QUERY, ROUNDS, fewer, main
from hsi_al.scenes.bands import ranges
from hsi_al.scenes.description import describe
from hsi_al.scenes.scene import save_scene
from tests.conftest import CommandLine, Outcome, tiny_arrays
from tests.fakes import add_styles, fake_cube, fake_ground_truth, fake_scene, write_hdf5, write_matlab5, write_matlab73

CUBE, TRUTH = fake_cube(), fake_ground_truth()
SMALL_RUN = [
    *("protocol=smoke", "protocol.initial_size=12", "protocol.query_size=4", "protocol.max_pixels=null"),
    *("learner=nearest_label", "acquisition=random", "protocol.rounds=0"),
]

Describe = Callable[..., Outcome]


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Describe:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


def line(outcome: Outcome, name: str) -> str:
    """What is said after a name."""
    found = [text for text in outcome.out.splitlines() if text.startswith(f"  {name} ")]
    assert len(found) == 1, outcome
    return found[0].removeprefix(f"  {name}").strip()


LEARNING = ["learner=vote", "protocol=few", "split=holdout", "acquisition=margin", "acquisition.min_distance=8"]


def arguments_in(outcome: Outcome, n_labels: tuple[int, int] | None = None) -> list[str]:
    """The arguments about the scene of the command that was printed, as a shell splits it.

    `n_labels` are the initial labels and the rounds of 10 that it asks for, if they aren't 20 and 46.
    """
    (command,) = [text for text in outcome.out.splitlines() if text.startswith("  python -m hsi_al.run ")]
    words = shlex.split(command)[3:]
    end = words.index(LEARNING[0])
    initial, rounds = n_labels or (20, None)
    fewer = [f"protocol.initial_size={initial}"] * (initial != 20) + [f"protocol.rounds={rounds}"] * bool(n_labels)
    assert words[end:] == [*LEARNING, *fewer]
    return words[:end]


@pytest.mark.parametrize("write", [write_matlab5, write_matlab73, write_hdf5])
@pytest.mark.parametrize("folder", ["plain", "it's a {test}, $HOME=[1]"])
def test_the_printed_command_runs(
    scenes: Describe, command_line: CommandLine, no_figures: None, tmp_path: Path, write: Any, folder: str
) -> None:
    cube, truth = tiny_arrays()
    (tmp_path / folder).mkdir()
    path = write(tmp_path / folder / "tiny.mat", {"hyper": cube, "gt": truth})
    said = scenes(path)
    assert (said.code, said.err) == (0, "")
    assert "24 x 26 pixels (rows x columns), 6 bands, uint16" in said.out
    assert line(said, "read") == "hyper" and "gt (24, 26) uint8" in line(said, "keys")
    assert "0 (unlabelled): " in line(said, "labels") and "2: 110; 5: 110; 9: 220" in line(said, "labels")
    done = command_line(*arguments_in(said, (20, 20)), *LEARNING, *SMALL_RUN)  # 220 may be asked
    assert done.code == 0, done.err


def test_values_missing_data_and_odd_axes(scenes: Describe, tmp_path: Path) -> None:
    cube = CUBE / 1000
    cube[0, 0], cube[0, 1, 2], cube[1] = np.nan, np.inf, 0
    path = write_hdf5(tmp_path / "bands-first.h5", {"cube": cube.transpose(2, 0, 1), "truth": TRUTH})
    said = scenes(path)
    assert line(said, "no data") == (
        "NaN or infinite, as the file doesn't declare, in 2 of 42 pixels (4.76 %); 0 in all bands in 7 of 42 pixels "
        "(16.7 %)"
    )
    assert line(said, "values") == f"0 to {np.nanmax(cube[np.isfinite(cube)]):.6g}"
    assert arguments_in(said, (18, 0))[1:] == [
        *("dataset.name=bands-first", f"dataset.cube_file={path}", "dataset.cube_key=cube", "dataset.axes=BHW"),
        *("dataset.no_data=[nan,inf,-inf]", "dataset.ground_truth_key=truth"),
    ]


def test_a_raster_says_where_it_lies_and_which_bands_are_bad(scenes: Describe, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    from tests.scenes.test_rasters import write_envi

    cube = CUBE.astype(np.int16)
    cube[2] = -9999
    more = (
        "wavelength units = um\nwavelength = {2.4, 0.5, 0.6, 0.7, 1.1}\nbbl = {1, 0, 1, 0, 0}\n"
        "data ignore value = -9999\n"
        "map info = {UTM, 1, 1, 500000, 5400000, 30, 30, 32, North, WGS-84, units=Meters}\n"
    )
    write_envi(tmp_path / "field.img", cube, more=more)
    said = scenes("field.hdr", "--picture", "new/field.png")
    assert line(said, "format") == "ENVI"
    assert line(said, "wavelengths") == "500 to 2400 nm, not in ascending order"
    assert line(said, "bad bands") == "3 of 5: 1, 3-4 (from 0)"
    assert line(said, "no data") == "-9999 in 7 of 42 pixels (16.7 %)"
    assert "EPSG:32632" in line(said, "place")
    assert line(said, "bounds") == "x 500000 to 500210, y 5399820 to 5400000"
    assert arguments_in(said) == ["dataset=custom", "dataset.name=field", "dataset.cube_file=field.hdr"]
    assert "dataset.ground_truth_file=LABELS" in said.out and "python -m hsi_al.label field.hdr" in said.out
    picture = np.rint(imread(tmp_path / "new/field.png")[:, :, :3] * 255)
    assert picture.shape == (6, 7, 3) and not picture[2].any()
    # of the good bands the nearest to 650, 550 and 450 nm is each time the one of 600 nm
    low, high = np.percentile(np.delete(cube, 2, axis=0)[:, :, 2], (2, 98))
    assert np.abs(picture[0, :, 1] - 255 * np.clip((cube[0, :, 2] - low) / (high - low), 0, 1)).max() <= 1


def test_the_picture_shows_the_files_bands_in_their_order(scenes: Describe, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    from tests.scenes.test_rasters import write_envi

    write_envi(tmp_path / "x.img", more="default bands = {5, 1, 3}\n")
    assert line(scenes("x.hdr", "--picture", "x.png"), "shown bands") == "4, 0, 2 (red, green, blue; from 0)"
    picture = imread(tmp_path / "x.png")
    for channel, band in enumerate((4, 0, 2)):
        assert np.corrcoef(picture[:, :, channel].ravel(), CUBE[:, :, band].ravel())[0, 1] > 0.99


def test_labels_with_names_and_a_picture(scenes: Describe, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    from tests.scenes.test_rasters import write_envi

    write_envi(tmp_path / "map.img", TRUTH[:, :, None], more="class names = {none, oats, b, maize}\n")
    said = scenes("map.img", "--picture", "map.png")
    counts = {value: TRUTH.ravel().tolist().count(value) for value in (0, 1, 3, 10)}
    assert line(said, "labels") == f"0 none: {counts[0]}; 1 oats: {counts[1]}; 3 maize: {counts[3]}; 10: {counts[10]}"
    assert "dataset.cube_file=CUBE" in arguments_in(
        said, (18, 0)
    ) and "dataset.ground_truth_file=map.img" in arguments_in(said, (18, 0))
    picture = imread(tmp_path / "map.png")[:, :, :3]
    assert not picture[TRUTH == 0].any()
    assert len(np.unique(picture[TRUTH > 0], axis=0)) == 3


@pytest.mark.parametrize(("kind", "absent"), [("float32", -3.4028235e38), ("float64", -1.7976931348623157e308)])
def test_labels_with_the_usual_missing_value_of_floats(
    scenes: Describe, tmp_path: Path, kind: str, absent: float
) -> None:
    rasterio = pytest.importorskip("rasterio")
    labels = np.ones((4, 5), kind)
    labels[2:], labels[0, :2] = 2, absent
    with rasterio.open(
        tmp_path / "labels.tif",
        "w",
        driver="GTiff",
        height=4,
        width=5,
        count=1,
        dtype=kind,
        nodata=absent,
        transform=rasterio.Affine(9, 0, 0, 0, -9, 0),
    ) as file:
        file.write(labels, 1)
    said = scenes(tmp_path / "labels.tif", "--picture", tmp_path / "labels.png")
    assert line(said, "labels") == "1: 8; 2: 10" and (tmp_path / "labels.png").exists()
    found = describe(tmp_path / "labels.tif").labels
    assert found is not None and found.tolist() == [[0, 0, 1, 1, 1], [1] * 5, [2] * 5, [2] * 5]


@pytest.mark.parametrize("largest", [np.uint64(2**64 - 1), 1e30, np.float32(3e38)])
def test_numbers_that_no_label_is(scenes: Describe, tmp_path: Path, largest: Any) -> None:
    values = np.array([[0, 1, 1], [1, 1, 0]]).astype(np.asarray(largest).dtype)
    values[0, 0] = largest
    np.save(tmp_path / "values.npy", values)
    assert "no whole numbers" in line(scenes(tmp_path / "values.npy"), "values")


@pytest.mark.parametrize(("mark", "text"), [(-1.0, "-1"), (float(np.finfo(np.float32).min), "-3.40282347e+38")])
def test_bands_without_any_data(
    scenes: Describe, command_line: CommandLine, no_figures: None, tmp_path: Path, mark: float, text: str
) -> None:
    cube, truth = tiny_arrays()
    cube = cube.astype(np.float32)
    cube[:, :, 1:3], cube[0, 0] = np.nan, mark
    path = write_hdf5(tmp_path / "a.h5", {"cube": cube, "truth": truth})
    with h5py.File(path, "r+") as file:
        file["cube"].attrs["_FillValue"] = mark
    said = scenes(path)
    assert line(said, "empty bands") == "2 of 6: 1-2 (from 0); a run leaves them out"
    assert line(said, "no data") == f"{mark:g} in 1 of {24 * 26} pixels (0.16 %)"
    assert f"dataset.no_data=[{text},nan]" in arguments_in(said, (20, 20))
    done = command_line(*arguments_in(said, (20, 20)), *LEARNING, *SMALL_RUN)
    assert done.code == 0 and "2 of 6 bands hold no data in any pixel: 1-2 (from 0)" in done.out, done
    np.save(tmp_path / "b.npy", np.full((4, 5, 6), np.nan))
    assert "empty bands" not in scenes("b.npy").out


def test_a_scene_file_and_a_plain_array(scenes: Describe, tmp_path: Path) -> None:
    save_scene(fake_scene(), tmp_path / "scene.h5")
    said = scenes("scene.h5")
    assert "1 Broccoli: 12; 3 Maïs: 12; 10 Lettuce: 12" in line(said, "classes")
    assert arguments_in(said, (18, 0))[1:] == ["dataset.name=fake", "dataset.cube_file=scene.h5"]
    np.save(tmp_path / "1,000 pixels.npy", CUBE)
    said = scenes("1,000 pixels.npy")
    assert line(said, "format") == "NumPy" and "The axes are taken as rows, columns, bands" in said.out
    assert arguments_in(said)[1:] == ["dataset.name=1-000-pixels", 'dataset.cube_file="1,000 pixels.npy"']


@pytest.mark.parametrize("shape", [(0, 4, 5), (4, 0, 5), (4, 5, 0), (0, 4)])
def test_an_empty_array_is_a_sentence(scenes: Describe, shape: tuple[int, ...]) -> None:
    np.save("empty.npy", np.zeros(shape, np.uint16))
    said = scenes("empty.npy")
    assert (
        said.code == 2
        and said.err == f"hsi_al: error: empty.npy holds no pixel: its shape is {shape}; name another file or key.\n"
    )


def test_numbers_of_more_than_64_bits_are_refused(scenes: Describe) -> None:
    np.save("long.npy", CUBE.astype(np.longdouble))
    if np.dtype(np.longdouble).itemsize > 8:  # as on most Linux machines
        assert "real numbers of at most 64 bits are needed" in scenes("long.npy").err


def test_several_cubes_need_a_key(scenes: Describe, tmp_path: Path) -> None:
    path = write_matlab5(tmp_path / "two.mat", {"a": CUBE, "b": CUBE[:, :, 1:], "c": np.eye(3) / 2})
    said = scenes(path)
    assert said.code == 0 and "--key" in line(said, "next") and "a (6, 7, 5) uint16" in line(said, "keys")
    assert "4 bands" in line(scenes(path, "--key", "b"), "size")
    assert "neither a cube nor labels" in line(scenes(path, "--key", "c"), "values")
    wrong = scenes(path, "--key", "d")
    assert wrong.code == 2 and "no array with the key 'd'" in wrong.err


def test_a_large_cube_is_looked_through_in_parts(
    scenes: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.arange(40 * 50 * 6, dtype=np.float32).reshape(40, 50, 6))
    monkeypatch.setattr(description, "BLOCK_BYTES", 50 * 6 * 4)
    monkeypatch.setattr(description, "MOST_READ", 50 * 6 * 4 * 10)
    monkeypatch.setattr(description, "PICTURE", 20)
    assert line(scenes("x.npy"), "values") == f"0 to {36 * 300 + 299} (in 1 of 4 rows)"
    found = describe(tmp_path / "x.npy")
    assert found.picture is not None and found.picture.shape == (14, 17, 3)


def test_points_and_polygons(scenes: Describe, tmp_path: Path) -> None:
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    path = tmp_path / "fields.gpkg"
    places = shapely.to_wkb(shapely.points([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]))
    fields = {"id": np.arange(4), "crop": np.array(["oats", "corn", "oats", None], object), "empty": np.full(4, np.nan)}
    how = {"driver": "GPKG", "geometry_type": "Point", "crs": "EPSG:32632"}
    pyogrio.raw.write(path, places, [*fields.values()], [*fields], layer="train", **how)
    said = scenes(add_styles(path))
    assert line(said, "layer") == "train: 4 features (Point), EPSG:32632" and "empty" not in said.out
    assert "  field   id: 0: 1; 1: 1; 2: 1; 3: 1\n  field   crop: corn: 1; oats: 2\n" in said.out
    assert arguments_in(said, (2, 0)) == [
        *("dataset=custom", "dataset.name=fields", "dataset.cube_file=CUBE"),
        *(f"dataset.ground_truth_file={path}", "dataset.label_field=crop"),
    ]
    pyogrio.raw.write(path, places, [np.arange(4), np.ones(4)], ["code", "day"], layer="test", append=True, **how)
    said = scenes(path)
    assert line(said, "next") == "name one of the layers with --key" and "To run it" not in said.out
    said = scenes(path, "--key", "test")
    assert arguments_in(said, (2, 0))[-1] == "dataset.label_field=day" and "dataset.ground_truth_key=test" in said.out
    said = scenes(path, "--key", "tset")
    assert said.code == 2 and "has no layer 'tset'; it has train, test" in said.err
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [7, 50]}}
    about = {"crop": "corn", "tags": ["a", "b"], "day": "2026-05-01T10:00:00"}
    both = [{**feature, "properties": about}, {**feature, "properties": about}]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": both}))
    said = scenes("a.geojson")
    assert line(said, "layer") == "a: 2 features (Point), EPSG:4326" and "  field   crop: corn: 2\n" in said.out
    assert "day" not in said.out  # a date is no class
    (tmp_path / "points.csv").write_text("lon,lat,crop\n7,50,corn\n7.1,50,\n")
    said = scenes("points.csv")
    assert line(said, "layer") == "points: 2 features (table), EPSG:4326" and line(said, "field") == "crop: corn: 1"
    assert arguments_in(said, (2, 0))[-1] == "dataset.ground_truth_file=points.csv"
    (tmp_path / "points.csv").write_text("east,crop\n7,corn\n")
    assert "has no columns with coordinates" in scenes("points.csv").err


def test_what_cannot_be_described(scenes: Describe, tmp_path: Path) -> None:
    (tmp_path / "fields.geojson").write_text("{}")
    np.save(tmp_path / "x.npy", np.arange(5))
    np.save(tmp_path / "y.npy", CUBE)
    for name in ("x.npz", "x.mat", "x.h5"):
        (tmp_path / name).write_bytes(bytes(range(1, 201)))
    for arguments, words in (
        (["fields.geojson"], "can't be read as points and polygons"),
        (["nothing.hdr"], "does not exist"),
        (["x.npy", "--picture", "x.png"], "no array of which a picture can be made"),
        (["y.npy", "--picture", "x.jpg"], "ends in .png"),
        (["y.npy", "--picture", "y.npy/x.png"], "y.npy"),
        ([tmp_path], "is a directory"),
        (["x.npz"], "cannot be read"),
        (["x.mat"], "cannot be read"),
        (["x.h5"], "cannot be read"),
    ):
        said = scenes(*arguments)
        assert said.code == 2 and words in said.err, said
        assert said.err.startswith("hsi_al: error: ") and said.err.count("\n") == 1
    assert "neither a cube" in line(scenes("x.npy"), "shape")


def test_ranges() -> None:
    assert ranges([]) == "" and ranges([4]) == "4" and ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert ranges(range(0, 100, 2)).endswith("38, ...")


def test_the_printed_command_asks_for_no_more_labels_than_there_are(
    scenes: Describe, command_line: CommandLine, no_figures: None, tmp_path: Path
) -> None:
    config, _ = composed(["dataset=indian_pines", *LEARNING])
    protocol = config.protocol
    assert (protocol.initial_size, protocol.query_size, protocol.rounds) == (INITIAL, QUERY, ROUNDS)
    cube, truth = tiny_arrays()
    labels = np.zeros_like(truth)
    for value, n in zip(np.unique(truth)[1:], (33, 30, 1), strict=True):
        labels.flat[np.flatnonzero(truth == value)[:n]] = value
    path = write_hdf5(tmp_path / "tiny.h5", {"cube": cube, "truth": labels})
    said = scenes(path)
    arguments = arguments_in(said, (20, 1))  # 16 + 15 + 0 of the half that may be asked
    more = ["learner=nearest_label", "protocol.full_map=false"]
    done = command_line(*arguments, *LEARNING, "protocol.rounds=1", *more)
    assert done.code == 0, done.err
    assert [fewer([n]) for n in (960, 959, 60, 59, 40, 39, 1)] == [
        *([], ["protocol.rounds=45"], ["protocol.rounds=1"], ["protocol.rounds=0"], ["protocol.rounds=0"]),
        *(["protocol.initial_size=19", "protocol.rounds=0"], ["protocol.initial_size=2", "protocol.rounds=0"]),
    ]
    assert fewer([]) == []
