"""Labels of a scene from arrays of several forms, and from two files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.readers import opened_rows
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.truth import Truth, joined, labels_in
from tests.conftest import CommandLine, tiny_arrays
from tests.fakes import fake_cube
from tests.test_bad_input import check_refused


def load(tmp_path: Path, truth: np.ndarray | None, test: np.ndarray | None = None, **how: Any) -> Scene:
    np.save(tmp_path / "cube.npy", tiny_arrays()[0])
    for name, labels in (("truth", truth), ("test", test)):
        if labels is not None:
            np.save(tmp_path / f"{name}.npy", labels)
    reading = Reading(test_file=None if test is None else tmp_path / "test.npy", **how)
    return load_custom_scene(
        "field", tmp_path / "cube.npy", None, None if truth is None else tmp_path / "truth.npy", reading=reading
    )


@pytest.mark.parametrize("form", ["(H, W, 1)", "(1, H, W)", "one-hot"])
def test_labels_with_another_axis(tmp_path: Path, form: str) -> None:
    _, truth = tiny_arrays()
    layers = np.stack([truth == value for value in range(1, 10)], axis=2)
    given = {"(H, W, 1)": truth[..., None], "(1, H, W)": truth[None], "one-hot": layers.astype(np.float32)}[form]
    scene = load(tmp_path, given)
    assert np.array_equal(scene.ground_truth, truth)
    assert ("a layer for each class" in " ".join(scene.notices)) == (form == "one-hot")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda truth: truth.reshape(1, -1), r"flat vector of shape \(1, 624\); reshape it"),
        (lambda truth: truth.reshape(-1, 1), r"flat vector of shape \(624, 1\)"),
        (lambda truth: np.stack([truth.astype(np.uint8)] * 3, axis=2), "a picture of colours"),
        (lambda truth: np.stack([truth] * 5, axis=2), r"shape \(24, 26, 5\), \(height, width\) is needed"),
        (lambda truth: 0 * truth, "no class at all"),
    ],
)
def test_what_are_no_labels_is_said(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(SceneError, match=said):
        load(tmp_path, change(tiny_arrays()[1]))


def test_test_labels_of_their_own_file(tmp_path: Path) -> None:
    _, truth = tiny_arrays()
    rows = np.arange(26)[None, :] % 2 < 1
    scene = load(tmp_path, np.where(rows, truth, 0), np.where(rows, 0, truth))
    assert np.array_equal(scene.ground_truth, truth)
    assert scene.test_pixels is not None and np.array_equal(scene.test_pixels, ~rows & (truth > 0))
    both = np.where(rows, truth, 0)
    both[20, 5] = 2
    test = np.where(rows, 0, truth)
    scene = load(tmp_path, both, test)
    assert scene.test_pixels[20, 5] and scene.ground_truth[20, 5] == test[20, 5]  # type: ignore[index]
    assert "1 pixels are labelled to learn from and to test" in " ".join(scene.notices)
    assert "1 of them have two different labels" in " ".join(scene.notices)
    with pytest.raises(SceneError, match=r"test.npy labels no pixel"):
        load(tmp_path, truth, 0 * truth)


def test_a_class_0_is_the_same_in_both_files(tmp_path: Path) -> None:
    _, truth = tiny_arrays()
    given = np.where(truth == 0, -1, np.where(truth == 2, 0, truth)).astype(np.int16)
    rows = np.arange(26)[None, :] % 2 < 1
    train, test = np.where(rows, given, -1), np.where(rows, -1, given)
    train[train == 9], test[test == 9] = 7, 9
    scene = load(tmp_path, train, test, unlabelled=-1)
    zero = max(train.max(), test.max()) + 1
    expected = np.where(rows, train, test)
    expected = np.where(expected == 0, zero, np.where(expected < 0, 0, expected))
    assert np.array_equal(scene.ground_truth, expected)
    assert scene.class_names[zero] == "class 0"


@pytest.mark.parametrize(("mark", "value"), [(255, 255), (-1, -1), (math.nan, -1), (0, 0), (None, 0)])
@pytest.mark.parametrize("name", ["wheat", "Unclassified"])
def test_a_class_0_beside_another_mark_of_no_data_is_told(
    tmp_path: Path, mark: float | None, value: int, name: str
) -> None:
    rasterio = pytest.importorskip("rasterio")
    truth = tiny_arrays()[1].astype(np.float64)
    given = np.where(truth == 0, mark or 0, np.where(truth == 2, 0, truth))
    kind = "int16" if mark == -1 else "float32" if mark is not None and math.isnan(mark) else "uint8"
    height, width = truth.shape
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 500000, 0, -2, 5000000)}
    with rasterio.open(tmp_path / "t.tif", "w", "GTiff", width, height, 1, dtype=kind, nodata=mark, **place) as file:
        file.write(given.astype(kind), 1)
    with opened_rows(tmp_path / "t.tif", None) as rows:
        named = replace(rows, class_names={0: name})
        found = labels_in("field", named, (*truth.shape, 4))
        kept = labels_in("field", named, (*truth.shape, 4), unlabelled=value)
    warned = [notice for notice in found.notices if "count as no class" in notice]
    if not value or name == "Unclassified":
        assert not warned
        return
    (sentence,) = warned
    assert sentence.startswith(f"Warning: {np.count_nonzero(truth == 2):,} pixels of") and "hold 0 (wheat)" in sentence
    assert sentence.endswith(f"set dataset.unlabelled={value}.")
    # What it says makes 0 a class, and nothing else suspicious.
    assert not kept.notices and np.array_equal(kept.labels == kept.zero, truth == 2) and kept.names[kept.zero] == name
    assert np.array_equal(kept.labels > 0, truth > 0)


def test_a_class_0_that_its_raster_marks_as_no_data(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    truth = tiny_arrays()[1]
    given = np.where(truth == 0, 255, np.where(truth == 2, 0, truth)).astype(np.uint8)
    height, width = truth.shape
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 500000, 0, -2, 5000000)}
    with rasterio.open(tmp_path / "t.tif", "w", "GTiff", width, height, 1, dtype="uint8", nodata=0, **place) as file:
        file.write(given, 1)
    with opened_rows(tmp_path / "t.tif", None) as rows:
        found = labels_in("field", rows, (*truth.shape, 4), unlabelled=255)
        without = labels_in("field", rows, (*truth.shape, 4), ignored=[255])
    assert np.array_equal(found.labels == found.zero, truth == 2) and np.array_equal(found.labels > 0, truth > 0)
    assert np.array_equal(without.labels > 0, truth > 2)


def test_labels_where_no_data_are(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    np.save(tmp_path / "cube.npy", np.where((truth > 0)[..., None], -9999, cube.astype(int)))
    np.save(tmp_path / "truth.npy", truth)
    with pytest.raises(SceneError, match=f"all {np.count_nonzero(truth)} labelled pixels have no data"):
        load_custom_scene(
            "field",
            tmp_path / "cube.npy",
            ground_truth_file=tmp_path / "truth.npy",
            reading=Reading(no_data=[-9999]),
        )


def test_a_field_belongs_to_the_file_that_has_features(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    rasterio, shapely = pytest.importorskip("rasterio"), pytest.importorskip("shapely")
    cube, truth = tiny_arrays()
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 500000, 0, -2, 5000000)}
    height, width, n_bands = cube.shape
    with rasterio.open(
        tmp_path / "cube.tif", "w", "GTiff", width, height, n_bands, dtype=cube.dtype.name, **place
    ) as file:
        file.write(cube.transpose(2, 0, 1))
    labels = {
        "labels.npy": np.where(np.arange(width) < 13, truth, 0),
        "points.gpkg": np.where(np.arange(width) < 13, 0, truth),
    }
    np.save(tmp_path / "labels.npy", labels["labels.npy"])
    rows, columns = np.nonzero(labels["points.gpkg"])
    points = shapely.to_wkb(shapely.points(500001 + 2 * columns, 4999999 - 2 * rows))
    values = [labels["points.gpkg"][rows, columns], np.arange(len(rows))]
    pyogrio.raw.write(tmp_path / "points.gpkg", points, values, ["code", "id"], geometry_type="Point", crs="EPSG:32632")
    for given, test in (("labels.npy", "points.gpkg"), ("points.gpkg", "labels.npy")):
        reading = Reading(label_field="code", test_file=tmp_path / test)
        scene = load_custom_scene("field", tmp_path / "cube.tif", ground_truth_file=tmp_path / given, reading=reading)
        assert np.array_equal(scene.ground_truth, truth)
        assert scene.test_pixels is not None and np.array_equal(scene.test_pixels, labels[test] > 0)
    for wrong, said in (
        (Reading(label_field="code", unlabelled=255), "dataset.unlabelled=255 goes with labels in an array"),
        (Reading(label_field="id", test_file=tmp_path / "none.gml"), "points and polygons are read from"),
    ):
        with pytest.raises(SceneError, match=said):
            load_custom_scene("field", tmp_path / "cube.tif", ground_truth_file=tmp_path / "points.gpkg", reading=wrong)
    with pytest.raises(SceneError, match="holds points or polygons, not a cube"):
        load_custom_scene("field", tmp_path / "points.gpkg")
    with pytest.raises(SceneError, match="label_field=code names a field of points or polygons"):
        load_custom_scene(
            "field",
            tmp_path / "cube.tif",
            ground_truth_file=tmp_path / "labels.npy",
            reading=Reading(label_field="code"),
        )


def test_split_given(tmp_path: Path, command_line: CommandLine) -> None:
    cube, truth = tiny_arrays()
    np.save("cube.npy", cube)
    rows = np.arange(26)[None, :] % 2 < 1
    np.save("truth.npy", np.where(rows, truth, 0))
    np.save("test.npy", np.where(rows, 0, truth))
    scene = ("dataset=custom", "dataset.cube_file=cube.npy", "dataset.ground_truth_file=truth.npy")
    few = ("learner=nearest_label", "protocol=few", "protocol.initial_size=10", "protocol.rounds=1")
    quick = (*few, "acquisition=random", "protocol.initial=uniform", "hydra.run.dir=run")
    done = command_line(*scene, "dataset.test_file=test.npy", "split=given", *quick)
    assert done.code == 0, done.err
    n_test = np.count_nonzero(truth[:, 1::2])
    assert "Question that split=given asks: score given test labels" in done.out
    assert f"{n_test:,} pixels of test.npy test the learner" in done.out
    import h5py

    with h5py.File("run/confusion.h5") as file:
        assert np.asarray(file["heldout"]).sum(axis=(1, 2)).tolist() == [n_test] * 2
    for arguments, said in (
        (("split=given",), "name that file"),
        (("split=holdout", "dataset.test_file=test.npy"), "take split=given"),
    ):
        outcome = command_line(*scene, *arguments, *few)
        check_refused(outcome.code, outcome.err, said, tmp_path / "outputs")


def test_a_scene_without_labels(tmp_path: Path, command_line: CommandLine) -> None:
    scene = load(tmp_path, None)
    assert scene.n_classes == 0 and not scene.ground_truth.any()
    outcome = command_line("dataset=custom", "dataset.cube_file=cube.npy", "learner=lda", "acquisition=random")
    check_refused(outcome.code, outcome.err, "has no labels; name them by dataset.ground_truth_file", tmp_path)


def test_names_of_an_envi_classification(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="the extra geo is not installed")
    cube, truth = tiny_arrays()
    np.save(tmp_path / "cube.npy", cube)
    truth.tofile(tmp_path / "truth.img")
    names = ["Unclassified", *(f"field {value}" for value in range(1, 10))]
    (tmp_path / "truth.hdr").write_text(
        "ENVI\nsamples = 26\nlines = 24\nbands = 1\ndata type = 1\ninterleave = bsq\nfile type = ENVI Classification\n"
        f"classes = 10\nclass names = {{{', '.join(names)}}}\n"
    )
    scene = load_custom_scene("field", tmp_path / "cube.npy", None, tmp_path / "truth.hdr")
    assert np.array_equal(scene.ground_truth, truth)
    assert scene.class_names == {2: "field 2", 5: "field 5", 9: "field 9"}


def test_names_of_two_files_that_are_alike_are_told() -> None:
    def truth(labels: list[int], *names: str) -> Truth:
        return Truth(np.array([labels], np.uint8), names=dict(enumerate(names, 1)), by_name=True)

    learn, test = truth([1, 2, 0, 0], "Corn", "oats"), truth([0, 0, 1, 2], "corn", "oats")
    both, tests = joined(learn, test, "check.gpkg")
    assert both.labels.tolist() == [[1, 3, 2, 3]] and both.names == {1: "Corn", 2: "corn", 3: "oats"}
    assert tests.tolist() == [[False, False, True, True]]
    assert len(both.notices) == 1 and "check.gpkg" in both.notices[0] and "'Corn' and 'corn'" in both.notices[0]
    assert joined(truth([1, 2, 0, 0], "corn", "oats"), test, "check.gpkg")[0].notices == []


def test_test_labels_with_a_field_of_their_own(tmp_path: Path) -> None:
    for name in ("pyogrio", "rasterio"):
        pytest.importorskip(name)
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open(tmp_path / "cube.tif", "w", "GTiff", 7, 6, 3, dtype="uint16", **place) as file:
        file.write(np.moveaxis(fake_cube()[:, :, :3], 2, 0))
    (tmp_path / "learn.csv").write_text("x,y,id,name\n500005,4999995,1,oats\n500015,4999995,2,corn\n")
    (tmp_path / "check.csv").write_text("x,y,id,crop\n500025,4999995,1,corn\n500035,4999995,2,pond\n")

    def load(**more: Any) -> Scene:
        reading = Reading(label_field="name", test_file=tmp_path / "check.csv", **more)
        return load_custom_scene("a", tmp_path / "cube.tif", None, tmp_path / "learn.csv", reading=reading)

    scene = load(test_field="crop")
    assert scene.class_names == {1: "corn", 2: "oats", 3: "pond"} and scene.ground_truth[0, :4].tolist() == [2, 1, 1, 3]
    assert scene.test_pixels is not None and np.flatnonzero(scene.test_pixels).tolist() == [2, 3]
    with pytest.raises(SceneError, match=r"check\.csv has no field dataset\.test_field=name; it has id, crop"):
        load()
    with pytest.raises(
        SceneError, match=r"dataset\.test_field=crop names a field of points or polygons in dataset\.test"
    ):
        load_custom_scene(
            "a",
            tmp_path / "cube.tif",
            None,
            tmp_path / "learn.csv",
            reading=Reading(label_field="name", test_field="crop"),
        )


def test_a_raster_whose_classes_have_names_goes_with_texts() -> None:
    texts = Truth(np.array([[1, 2, 0, 0]], np.uint8), 0, {1: "corn", 2: "oats"}, by_name=True)
    raster = Truth(np.array([[0, 0, 7, 9]], np.uint8), 0, {3: "rye", 7: "oats", 9: "pond"})
    both, tests = joined(texts, raster, "map.tif")
    assert both.names == {3: "rye", 7: "oats", 9: "pond", 10: "corn"} and both.labels.tolist() == [[10, 7, 7, 9]]
    assert tests.tolist() == [[False, False, True, True]]
    with pytest.raises(SceneError, match="one has text classes, the other numbers without names"):
        joined(texts, Truth(np.array([[0, 0, 7, 9]], np.uint8), 0, {7: "oats"}), "map.tif")
    with pytest.raises(SceneError, match="without names of their own"):
        joined(texts, Truth(np.array([[0, 0, 7, 9]], np.uint8), 0, {7: "oats", 9: "oats"}), "map.tif")


def test_the_stand_in_for_class_0_is_no_class_of_the_other_file() -> None:
    learn = Truth(np.array([[5, 1, 0, 0]], np.uint8), 5)  # 5 stands for 0
    for zero in (0, 6):
        both, _ = joined(learn, Truth(np.array([[0, 0, 5, 8]], np.uint8), zero), "test.npy")
        assert both.zero not in (0, 1, 5, 8) and both.labels.tolist() == [[both.zero, 1, 5, 8]]
