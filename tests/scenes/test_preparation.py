"""Values of a cube before learning: outliers, no-data, offsets beyond float32, the order of axes, odd labels."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from hsi_al.errors import SceneError
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.description import describe
from hsi_al.scenes.preparation import (
    EmptyBandsError,
    Preparation,
    beyond_float32,
    prepared,
    robust_limits,
    sample_step,
    survey,
)
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.stored import StoredCube, stored_cube
from tests.conftest import CommandLine, tiny_arrays
from tests.fakes import fake_cube, fake_ground_truth
from tests.test_bad_input import check_refused


def field(tmp_path: Path, cube: np.ndarray, truth: np.ndarray | None = None, **how: Any) -> Scene:
    np.save(tmp_path / "cube.npy", cube)
    np.save(tmp_path / "truth.npy", tiny_arrays()[1] if truth is None else truth)
    classes, names = how.pop("classes", None), how.pop("class_names", None)
    reading = Reading(**{"scaling": "auto", **how})
    return load_custom_scene(
        "field", tmp_path / "cube.npy", None, tmp_path / "truth.npy", None, classes, names, reading=reading
    )


def values(scene: Scene) -> np.ndarray:
    return scene.source.read(0, scene.height) if isinstance(scene.source, StoredCube) else scene.source


@pytest.mark.parametrize("sentinel", [-9999.0, -3.4028235e38, 1e20, 9.97e36, -32768.0, 65535.0])
@pytest.mark.parametrize("in_memory", [True, False])
def test_an_outlier_leaves_the_others_their_range(tmp_path: Path, sentinel: float, in_memory: bool) -> None:
    clean = tiny_arrays()[0].astype(np.float32)
    broken = clean.copy()
    broken[0, 0] = sentinel
    scene = field(tmp_path, broken, in_memory=in_memory)
    cube = values(scene)
    assert np.array_equal(cube[1:], clean[1:]) and np.array_equal(cube[0, 1:], clean[0, 1:])
    assert np.ptp(cube) <= 1.5 * 1.5 * np.ptp(clean)
    [notice] = scene.notices
    assert "1 of 624 pixels" in notice and "they are clipped" in notice
    assert f"dataset.no_data=[{np.float32(sentinel):.9g}]" in notice
    named = field(tmp_path, broken, in_memory=in_memory, no_data=[sentinel])
    expected = broken.copy()
    expected[0, 0] = clean.reshape(-1, 6)[1:].mean(axis=0, dtype=np.float64)
    assert np.array_equal(values(named), expected)
    assert named.no_data is not None and np.argwhere(named.no_data).tolist() == [[0, 0]]
    assert not named.false_colour()[0, 0].any()
    assert "1 of 624 pixels have no data" in named.notices[0]


def test_clean_cubes_stay_as_they_are(tmp_path: Path) -> None:
    clean, _ = tiny_arrays()
    scene = field(tmp_path, clean)
    assert scene.preparation.changes_nothing and not scene.notices and scene.cube.dtype == clean.dtype
    broken = clean.copy()
    broken[3, 4] = 65535
    kept = field(tmp_path, broken, scaling="minmax")
    assert np.array_equal(kept.cube, broken)
    assert "stretch the range" in kept.notices[0] and "take dataset.scaling=robust" in kept.notices[0]


def test_labelled_pixels_without_data_are_unlabelled(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    cube = cube.astype(np.float64)
    cube[1:3, 1:12, 2] = np.nan
    with pytest.raises(SceneError, match=r"22 NaN, 0 infinite.*22 pixels and 1 bands.*dataset.no_data=\[nan\]"):
        field(tmp_path, cube)
    scene = field(tmp_path, cube, no_data=[np.nan])
    assert len(scene.labelled_ids) == np.count_nonzero(truth) - 22
    assert "22 labelled pixels have no data" in scene.notices[-1]
    cube[::2, :, 3], cube[1::2, :, 4] = np.nan, np.nan
    with pytest.raises(SceneError, match="every one of its 624 pixels"):
        field(tmp_path, cube, no_data=[np.nan])
    cube[:, :, 2] = 1.7e308
    with pytest.raises(SceneError, match="624 values beyond float32"):
        field(tmp_path, cube)


@pytest.mark.parametrize("in_memory", [True, False])
def test_bands_without_any_data_are_left_out(tmp_path: Path, in_memory: bool) -> None:
    clean = tiny_arrays()[0].astype(np.float32)
    cube = clean.copy()
    cube[:, :, [1, 4]], cube[5, 6] = -9999, -9999
    scene = field(tmp_path, cube, no_data=[-9999], in_memory=in_memory)
    good = [0, 2, 3, 5]
    assert scene.bands == (*good, 6) and scene.notices[0] == (
        "2 of 6 bands hold no data in any pixel: 1, 4 (from 0); they are left out."
    )
    assert scene.no_data is not None and np.argwhere(scene.no_data).tolist() == [[5, 6]]
    there = ~scene.no_data
    assert np.array_equal(values(scene)[there], clean[:, :, good][there])
    named = field(tmp_path, cube, no_data=[-9999], in_memory=in_memory, bands=[5, 3])
    assert named.bands == (5, 3, 6) and "no data in any pixel" not in " ".join(named.notices)
    with pytest.raises(
        SceneError, match=r"1 of its 2 bands hold no data in any pixel: 4 \(from 0\); learn without them"
    ):
        field(tmp_path, cube, no_data=[-9999], in_memory=in_memory, bands=[4, 2])
    cube[:] = -9999
    with pytest.raises(SceneError, match="every one of its 624 pixels"):
        field(tmp_path, cube, no_data=[-9999], in_memory=in_memory)


def test_a_band_without_data_inside_of_a_border_of_zeros(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    cube = cube.astype(np.int32) + 1
    cube[:, :, 2] = -9999
    cube[0], cube[:, -1] = 0, 0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = cube
        file["cube"].attrs["_FillValue"] = -9999
    scene = load_custom_scene("a", tmp_path / "a.h5")
    assert scene.bands == (0, 1, 3, 4, 5, 6) and scene.no_data is not None and scene.no_data.sum() == 26 + 23
    found = dict(describe(tmp_path / "a.h5").lines)
    assert found["empty bands"].startswith("1 of 6: 2 (from 0)") and not found["values"].startswith("0 to 0")


def test_bands_that_lack_data_in_many_pixels_are_named(tmp_path: Path) -> None:
    cube = tiny_arrays()[0].astype(np.float32)
    cube[0], cube[2:7, :, 3], cube[20, 5, 5] = np.nan, np.nan, np.nan
    scene = field(tmp_path, cube, no_data=[np.nan])
    assert scene.no_data is not None and scene.no_data.sum() == 6 * 26 + 1
    warned = [notice for notice in scene.notices if notice.startswith("Warning: half")]
    assert warned == [
        "Warning: half of the bands lack data in 26 pixels at most, the bands 3 (from 0) in up to 156, which are left "
        "out because of them; if you can spare these bands, name the others in dataset.bands."
    ]
    few = field(tmp_path, cube, no_data=[np.nan], bands=[5, 0, 1, 2])
    assert not [notice for notice in few.notices if notice.startswith("Warning: half")]
    later = field(tmp_path, cube, no_data=[np.nan], bands=[5, 3, 1, 2])
    assert [notice for notice in later.notices if "the bands 3 (from 0)" in notice]


def test_the_files_own_value_of_missing_data_counts(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    cube[0, 0] = 7
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"], file["truth"] = cube, truth
        file["cube"].attrs["_FillValue"] = 7
    for in_memory in (True, False):
        for no_data, missing in ((None, 1), ([], 0)):
            reading = Reading(in_memory, no_data=no_data)
            scene = load_custom_scene("a", tmp_path / "a.h5", "cube", None, "truth", reading=reading)
            assert (0 if scene.no_data is None else scene.no_data.sum()) == missing


def test_advice_names_the_values_of_the_file_too(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    cube[9, 9:12], cube[5, 5] = 0, 65535
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = cube
        file["cube"].attrs["_FillValue"] = 65535
    (told,) = [notice for notice in load_custom_scene("a", tmp_path / "a.h5").notices if "the value 0" in notice]
    assert told.endswith("leave out all pixels that hold it in any band: dataset.no_data=[65535,0].")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_border_of_zeros_has_no_data(tmp_path: Path, in_memory: bool) -> None:
    clean, truth = tiny_arrays()
    cube, truth = clean.copy(), np.maximum(truth, 1)
    cube[0], cube[:, 0], cube[9, 9] = 0, 0, 0
    empty = (cube == 0).all(axis=2)
    assert empty.sum() == 50
    scene = field(tmp_path, cube, truth, in_memory=in_memory)
    assert "50 of 624 pixels have no data (50 of them 0 in every band, as at the border)" in scene.notices[0]
    assert scene.no_data is not None and np.array_equal(scene.no_data, empty)
    assert not scene.ground_truth[empty].any() and scene.ground_truth[~empty].all()
    expected = np.where(empty[..., None], np.rint(clean[~empty].mean(axis=0)).astype(clean.dtype), clean)
    assert np.array_equal(values(scene), expected)
    kept = Preparation.from_json(json.loads(json.dumps(scene.preparation.to_json())))
    assert kept == scene.preparation and kept.blank
    as_it_is = field(tmp_path, cube, truth, no_data=[], in_memory=in_memory)  # nothing is missing, says the user
    assert as_it_is.no_data is None and np.array_equal(values(as_it_is), cube)
    assert "50 pixels hold the value 0 in every band" in " ".join(as_it_is.notices)


def test_zeros_inside_are_only_named(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    cube[9, 9:12] = 0
    scene = field(tmp_path, cube)
    assert scene.no_data is None and "3 pixels hold the value 0 in every band" in scene.notices[0]
    assert scene.sample is not None and len(scene.sample) == 624
    cube[:] = 0
    with pytest.raises(SceneError, match=r"every one of its 624 pixels.*0 in every band"):
        field(tmp_path, cube)


@pytest.mark.parametrize(("offset", "kind"), [(2**30, np.int32), (10**12, np.float64), (2**53, np.int64)])
def test_offsets_beyond_float32_keep_the_differences(tmp_path: Path, offset: int, kind: type) -> None:
    clean, _ = tiny_arrays()
    shifted = clean.astype(kind) + kind(offset)
    for in_memory in (True, False):
        cube = values(field(tmp_path, shifted, in_memory=in_memory))
        assert cube.dtype == np.float32
        assert np.allclose(cube, clean.astype(float) - clean.min(), atol=2)


def test_what_float32_holds_keeps_its_type() -> None:
    assert not beyond_float32(np.dtype(np.uint16), 0, 65535)
    assert not beyond_float32(np.dtype(np.float32), 1e6, 1e6 + 1)  # nothing is lost by a cast to the same type
    assert not beyond_float32(np.dtype(np.int32), -(2**24), 2**24)
    assert not beyond_float32(np.dtype(np.float64), 0.0, 1.0)
    assert beyond_float32(np.dtype(np.int32), 2**30, 2**30 + 9000)


def test_standard_gives_every_band_mean_zero_and_deviation_one() -> None:
    cube = fake_cube(30, 31, 4).astype(np.float64) * [1, 10, 100, 0]
    found = prepared("field", cube, (), "standard")
    assert isinstance(found.source, np.ndarray) and found.source.dtype == np.float32
    assert np.allclose(found.source.mean(axis=(0, 1)), 0, atol=1e-5)
    assert np.allclose(found.source.std(axis=(0, 1)), [1, 1, 1, 0], atol=1e-5)


def test_robust_limits_by_hand() -> None:
    ramp = np.linspace(0.0, 1000.0, 1001)
    assert robust_limits(ramp, 0.0, 1000.0) == (0.0, 1000.0)
    least, most = 1.0, 999.0
    loners = np.concatenate([np.full(400, -9999.0), ramp])  # far more than the percentiles leave out
    low, high = robust_limits(loners, -9999.0, 1e6) or (0, 0)
    assert (low, high) == pytest.approx((least - 0.25 * 998, most + 0.25 * 998))
    assert robust_limits(np.full(9, 3.0), 3.0, 3.0) is None
    assert robust_limits(np.array([3.0]), 3.0, 3.0) is None


def test_samples_are_spread_over_all_columns() -> None:
    assert sample_step(624, 26) == 1
    step = sample_step(512 * 512, 512)
    assert step >= 16 and len(np.unique(np.arange(0, 512 * 512, step) % 512)) == 512


def test_a_preparation_is_kept_in_json() -> None:
    kept = Preparation((-9999.0, float("nan"), float("inf")), (1.0, 2.5), (0.25,), (3.0,), (7.0, 8.0))
    back = Preparation.from_json(json.loads(json.dumps(kept.to_json(), allow_nan=False)))
    assert repr(back) == repr(kept)
    assert Preparation.from_json({}).changes_nothing
    for damaged in ({"clip": None}, kept.to_json() | {"clip": [1]}, kept.to_json() | {"scale": []}):
        with pytest.raises((LookupError, ValueError)):
            Preparation.from_json(damaged)


def test_blocks_of_rows_find_what_the_whole_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = fake_cube(20, 21, 5).astype(np.float32)
    cube[7, 8, 2], cube[19, 0] = -1, -1
    np.save(tmp_path / "a.npy", cube)
    whole = survey("a", cube, (-1.0,))
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 3 * cube[0].nbytes)
    parts = survey("a", stored_cube(tmp_path / "a.npy"), (-1.0,))
    good = np.delete(cube.reshape(-1, 5), [7 * 21 + 8, 19 * 21], axis=0)
    for found in (whole, parts):
        assert (found.low, found.high) == (good.min(), good.max())
        assert np.array_equal(found.sample, good) and found.missing.sum() == 2


@pytest.mark.parametrize("value", [7.0, 0.0])
def test_a_few_pixels_of_a_large_scene_have_data(tmp_path: Path, value: float) -> None:
    cube = np.full((2000, 2000, 3), np.nan, np.float32)
    cube[1, 1:41] = value + np.arange(40)[:, None]  # no evenly spaced pixel is among them
    np.save(tmp_path / "cube.npy", cube)
    scene = load_custom_scene("field", tmp_path / "cube.npy", reading=Reading(no_data=[math.nan]))
    assert scene.no_data is not None and (~scene.no_data).sum() == 40
    assert scene.band_statistics[0].min() >= value and scene.band_statistics[1].max() > 0


def test_errors_of_another_process_come_back_whole() -> None:
    found = pickle.loads(pickle.dumps(EmptyBandsError("no data", [1, 2])))
    assert str(found) == "no data" and found.places == (1, 2)


@pytest.mark.parametrize("axes", ["HWB", "WHB", "BHW", "BWH", "HBW", "WBH"])
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_axes_in_any_order(tmp_path: Path, axes: str, suffix: str) -> None:
    cube, truth = fake_cube(), fake_ground_truth()
    stored = cube.transpose(["HWB".index(axis) for axis in axes])
    np.save(tmp_path / "truth.npy", truth)
    path = tmp_path / f"cube{suffix}"
    if suffix == ".npy":
        np.save(path, stored)
    else:
        with h5py.File(path, "w") as file:
            file["cube"] = stored
    for in_memory in (True, False):
        reading = Reading(in_memory, axes)
        scene = load_custom_scene("field", path, None, tmp_path / "truth.npy", reading=reading)
        assert np.array_equal(values(scene), cube)
        if isinstance(scene.source, StoredCube):
            assert np.array_equal(scene.source.read(2, 5, 1, 4), cube[2:5, 1:4])
    wrong = "WHB" if axes == "HWB" else "HWB"
    with pytest.raises(SceneError, match=f"dataset.axes={axes} would fit"):
        load_custom_scene("field", path, None, tmp_path / "truth.npy", reading=Reading(axes=wrong))


def test_axes_in_doubt_are_said(tmp_path: Path) -> None:
    cube, truth = np.random.default_rng(0).random((5, 5, 5)), fake_ground_truth()[:5, :5]
    scene = field(tmp_path, cube, truth, axes="BHW")
    assert "read with dataset.axes=BHW, but HWB and WHB and HBW and WBH fit, too" in scene.notices[0]


def test_a_spectrum_a_row(tmp_path: Path) -> None:
    cube, truth = fake_cube(), fake_ground_truth()
    for in_memory in (True, False):
        scene = field(tmp_path, cube.reshape(-1, 5), truth, in_memory=in_memory)
        assert np.array_equal(values(scene), cube) and "one spectrum a row" in scene.notices[0]
    scipy.io.savemat(tmp_path / "flat.mat", {"cube": cube.reshape(-1, 5), "truth": truth})
    with pytest.raises(SceneError, match=r"flat\.mat: the cube of shape \(42, 5\) .* down columns; save it as rows x"):
        load_custom_scene("field", tmp_path / "flat.mat", "cube", None, "truth")
    with pytest.raises(SceneError, match=r"shape \(41, 5\)"):
        field(tmp_path, cube.reshape(-1, 5)[1:], truth)
    with pytest.raises(SceneError, match=r"shape \(1, 6, 7, 5\)"):
        field(tmp_path, cube[None], truth)


def odd_labels() -> np.ndarray:
    """Classes 0, 1 and 2 from 0, and 255 where nothing is known."""
    truth = np.full((24, 26), 255, np.uint8)
    truth[:, :8], truth[:, 8:16], truth[:, 16:20] = 0, 1, 2
    return truth


def test_usual_marks_of_unlabelled_pixels_are_named(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    scene = field(tmp_path, cube, odd_labels())
    assert scene.class_counts == [(1, "class 1", 192), (2, "class 2", 96), (255, "class 255", 144)]
    assert "the label 255 is a usual mark of unlabelled pixels, but 144 pixels" in scene.notices[0]
    assert field(tmp_path, cube, odd_labels(), ignored=[255]).label_values.tolist() == [1, 2]


def test_class_zero_is_a_class_where_another_value_is_unlabelled(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    scene = field(tmp_path, cube, odd_labels(), unlabelled=255)
    assert scene.class_counts == [(1, "class 1", 192), (2, "class 2", 96), (255, "class 0", 192)]
    assert "run files and maps hold it as 255" in " ".join(scene.notices)
    some = field(tmp_path, cube, odd_labels(), unlabelled=255, classes=[2, 0], class_names=["Rye", "Corn"])
    assert some.class_names == {2: "Rye", 255: "Corn"}
    ascending = field(tmp_path, cube, odd_labels(), unlabelled=255, class_names=["Corn", "Oats", "Rye"])
    assert ascending.class_names == {1: "Oats", 2: "Rye", 255: "Corn"}
    negative = odd_labels().astype(np.int16)
    negative[negative == 255] = -1
    scene = field(tmp_path, cube, negative, unlabelled=-1)
    assert scene.class_counts == [(1, "class 1", 192), (2, "class 2", 96), (3, "class 0", 192)]


def test_a_lone_class_around_everything_is_named(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    scene = field(tmp_path, cube, np.where(truth == 9, 0, truth) + np.uint8(1))
    assert "the label 1 covers 65% of the scene and 100% of its rim" in " ".join(scene.notices)


def test_names_belong_to_the_classes_as_given(tmp_path: Path) -> None:
    cube, _ = tiny_arrays()
    assert field(tmp_path, cube, classes=[9, 2], class_names=["Nine", "Two"]).class_names == {2: "Two", 9: "Nine"}
    with pytest.raises(SceneError, match="label values 2 and 9 are both named 'Rye'"):
        field(tmp_path, cube, classes=[9, 2], class_names=["Rye", "Rye"])
    with pytest.raises(SceneError, match="twice"):
        field(tmp_path, cube, classes=[9, 9, 2])
    with pytest.raises(SceneError, match=r"holds 1 names, but field has the 2 label values \[9, 2\]"):
        field(tmp_path, cube, classes=[9, 2], class_names=["Rye"])


RUN = Path("outputs/main/tiny")


@pytest.mark.parametrize("learner", [["backbone=lenet"], ["learner=emp_svm"]])
def test_a_run_with_missing_data_is_that_of_the_means(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, no_figures: None, learner: list[str]
) -> None:
    clean, truth = tiny_arrays()
    broken, means = clean.astype(np.int32), clean.astype(np.int32)
    broken[0, 0] = -9999
    means[0, 0] = np.rint(clean.reshape(-1, 6)[1:].mean(axis=0))
    curves, maps = [], []
    for name, cube in (("broken", broken), ("means", means)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["cube"], file["truth"] = cube, truth
        scene = [argument for argument in tiny_scene if not argument.startswith(("dataset.cube_file", "backbone"))]
        run = tmp_path / f"run-{name}"
        arguments = [*scene, *learner, f"dataset.cube_file={tmp_path / name}.h5", "dataset.no_data=[-9999]"]
        outcome = command_line(*arguments, "protocol.full_map=true", f"hydra.run.dir={run}")
        assert outcome.code == 0, outcome.err
        rows = [line.split(",") for line in (run / "curve.csv").read_text().splitlines()]
        curves.append([[cell for name, cell in zip(rows[0], row, strict=True) if "sec" not in name] for row in rows])
        with h5py.File(run / "predictions.h5") as file:
            maps.append(file["class_map"][:])
    assert curves[0] == curves[1]
    assert maps[0][0, 0] == 0 and np.argwhere(maps[0] != maps[1]).tolist() == [[0, 0]]


def test_what_the_first_lines_say(command_line: CommandLine, tiny_scene: list[str], no_figures: None) -> None:
    outcome = command_line(*tiny_scene, "protocol.rounds=0", "acquisition=none", "dataset.class_names=[A,B,C]")
    assert "Classes (label, name, pixels): 2 A 110; 5 B 110; 9 C 220" in outcome.out


def test_own_keys_are_not_the_catalogues(command_line: CommandLine, tmp_path: Path) -> None:
    for key in ("axes=BHW", "no_data=[0]", "unlabelled=255", "ignore_labels=[3]"):
        outcome = command_line("dataset=indian_pines", "protocol=smoke", f"dataset.{key}")
        check_refused(outcome.code, outcome.err, f"dataset.{key.partition('=')[0]} can't be changed", tmp_path)
