from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.preparation import Preparation
from hsi_al.scenes.scene import Scene, is_scene_file, load_scene, save_scene
from tests.fakes import fake_cube, fake_ground_truth, fake_scene, write_hdf5


def scene_error(cube: Any, ground_truth: Any, **others: Any) -> str:
    with pytest.raises(SceneError) as caught:
        Scene("fake", cube, ground_truth, {}, **others)
    message = str(caught.value)
    assert "'fake'" in message
    assert "\n" not in message
    return message


def test_sizes_labels_and_ids() -> None:
    scene = fake_scene()
    assert (scene.height, scene.width, scene.n_bands, scene.n_classes) == (6, 7, 5, 3)
    assert scene.label_values.tolist() == [1, 3, 10]
    assert scene.cube.dtype == np.uint16
    assert scene.ground_truth.dtype == np.uint8
    assert scene.labelled_ids.dtype == scene.label_values.dtype == np.int64
    expected = [row * 7 + column for row in range(6) for column in range(1, 7)]
    assert scene.labelled_ids.tolist() == expected


def test_labels_are_indices_in_ascending_order_of_the_values() -> None:
    scene = fake_scene()
    assert scene.labels_of([41, 1, 2 * 7 + 1]).tolist() == [2, 0, 1]
    assert scene.labels_of([]).tolist() == []
    assert scene.labels_of([1]).dtype == np.int64


def test_labels_of_unlabelled_or_foreign_pixels_are_refused() -> None:
    scene = fake_scene()
    with pytest.raises(SceneError, match="1 of 2 pixels are unlabelled, the first in row 3 and column 0"):
        scene.labels_of([1, 21])
    for foreign in (-1, 42):
        with pytest.raises(SceneError, match=f"pixel id {foreign} lies outside its 6 x 7 pixels"):
            scene.labels_of([foreign])


def test_names_cover_exactly_the_values_present() -> None:
    scene = Scene("fake", fake_cube(), fake_ground_truth().astype(np.int64), {3: "Maize", 7: "Absent"})
    assert scene.class_names == {1: "class 1", 3: "Maize", 10: "class 10"}


def test_keeping_sets_the_other_classes_to_background() -> None:
    scene = fake_scene()
    kept = scene.keeping([10, 1])
    assert kept.class_names == {1: "Broccoli", 10: "Lettuce"}
    assert np.array_equal(kept.ground_truth == 0, np.isin(scene.ground_truth, [0, 3]))
    assert np.array_equal(kept.ground_truth[:2], scene.ground_truth[:2])
    assert scene.n_classes == 3


def test_keeping_an_absent_value_names_those_present() -> None:
    for absent in (4, 0):
        with pytest.raises(SceneError, match=rf"no label values \[{absent}\] to keep; it has \[1, 3, 10\]"):
            fake_scene().keeping([1, absent])
    with pytest.raises(SceneError, match="only the class 3"):
        fake_scene().keeping([3])


def test_arrays_come_out_contiguous_and_native() -> None:
    cube = np.asfortranarray(fake_cube()).astype(">u2")
    scene = Scene("fake", cube, fake_ground_truth().astype(np.float64), {})
    assert scene.cube.flags.c_contiguous
    assert scene.cube.dtype.isnative
    assert np.array_equal(scene.cube, fake_cube())
    assert np.array_equal(scene.ground_truth, fake_ground_truth())


def test_false_colour_shows_the_bands_asked_for() -> None:
    scene = replace(fake_scene(), rgb_bands=(4, 0, 2))
    picture = scene.false_colour()
    assert picture.shape == (6, 7, 3)
    assert picture.dtype == np.uint8
    for channel, band in enumerate((4, 0, 2)):
        values = scene.cube[:, :, band]
        assert picture[:, :, channel].ravel()[values.argmax()] == 255
        assert picture[:, :, channel].ravel()[values.argmin()] == 0
        order = values.ravel().argsort()
        assert (np.diff(picture[:, :, channel].ravel()[order].astype(int)) >= 0).all()


def test_false_colour_stretches_between_the_2nd_and_98th_percentile() -> None:
    cube = np.broadcast_to(np.arange(101, dtype=np.float32)[:, None, None], (101, 2, 3))
    truth = np.tile([1, 2], (101, 1))
    column = Scene("ramp", cube, truth, {}).false_colour()[:, 0, 0]
    assert column[2] == 0
    assert 0 < column[3] < 5
    assert column[50] == 128
    assert column[98] == 255
    assert column[97] < 255


def test_false_colour_chooses_bands_by_wavelength_or_by_spread() -> None:
    cube = np.zeros((2, 2, 8), np.uint8)
    truth = np.array([[1, 2], [1, 2]])
    cube[0, 0] = [0, 255, 0, 0, 255, 0, 255, 0]
    spread = Scene("spread", cube, truth, {}).false_colour()[0, 0]
    assert spread.tolist() == [255, 255, 0]  # bands 6, 4, 2
    nm = np.array([660.0, 540.0, 455.0, 700, 800, 900, 1000, 1100])
    assert Scene("nm", cube, truth, {}, wavelengths=nm).false_colour()[0, 0].tolist() == [0, 255, 0]


def test_false_colour_of_a_flat_band_is_black() -> None:
    cube = fake_cube()
    cube[:, :, 0] = 5
    assert not replace(fake_scene(), source=cube, rgb_bands=(0, 0, 0)).false_colour().any()


@pytest.mark.parametrize("shape", [(6, 35), (6, 7, 5, 1), (6, 7, 0)])
def test_cube_of_another_dimension(shape: tuple[int, ...]) -> None:
    assert str(shape) in scene_error(np.zeros(shape), fake_ground_truth())


@pytest.mark.parametrize("cube", [fake_cube().astype(str), fake_cube() * 1j, fake_cube() > 2000])
def test_cube_without_real_numbers(cube: Any) -> None:
    assert str(cube.dtype) in scene_error(cube, fake_ground_truth())


def test_ground_truth_of_another_dimension() -> None:
    assert "(6, 7, 1)" in scene_error(fake_cube(), fake_ground_truth()[:, :, None])


def test_sizes_that_differ_are_both_named_with_a_hint() -> None:
    cube, truth = fake_cube(), fake_ground_truth()
    assert "(4, 7)" in scene_error(cube, truth[:4])
    assert "(6, 7, 5)" in scene_error(cube, truth[:4])
    assert "same scene" in scene_error(cube, truth[:4])
    assert "dataset.axes=WHB would fit" in scene_error(cube, truth.T)
    bands_first = scene_error(cube.transpose(2, 0, 1), truth)
    assert "dataset.axes=BHW would fit" in bands_first
    assert cube.transpose(2, 0, 1).transpose(1, 2, 0).shape[:2] == truth.shape


def test_nan_and_infinite_values_are_counted() -> None:
    cube = fake_cube().astype(np.float32)
    cube[0, 0, :3] = np.nan
    cube[1, 1, :2] = [np.inf, -np.inf]
    assert "3 NaN and 2 infinite values" in scene_error(cube, fake_ground_truth())
    cube[0, 0] = 1
    assert "0 NaN and 2 infinite values" in scene_error(cube, fake_ground_truth())


def test_constant_cube() -> None:
    assert "is 7" in scene_error(np.full((6, 7, 5), 7), fake_ground_truth())


@pytest.mark.parametrize("bad", [-1, 2.5, np.nan, np.inf, 1e30])
def test_labels_that_are_no_whole_numbers_from_0(bad: float) -> None:
    truth = fake_ground_truth().astype(np.float64)
    truth[0, 0] = bad
    message = scene_error(fake_cube(), truth)
    assert "holds 1 labels" in message
    assert str(bad) in message


def test_labels_that_are_no_numbers() -> None:
    assert "<U3" in scene_error(fake_cube(), fake_ground_truth().astype("<U3"))


def test_ground_truth_without_two_classes() -> None:
    without = Scene("field", fake_cube(), np.zeros((6, 7), int), {})  # labels are still to come
    assert without.n_classes == 0 and not len(without.labelled_ids) and without.class_names == {}
    assert "only the class 1" in scene_error(fake_cube(), fake_ground_truth() == 1)


def test_wavelengths_and_rgb_bands_must_fit_the_bands() -> None:
    assert "(4,)" in scene_error(fake_cube(), fake_ground_truth(), wavelengths=np.arange(4.0))
    for bands in ((0, 1, 5), (-1, 0, 1), (0, 1)):
        assert f"rgb_bands={bands}" in scene_error(fake_cube(), fake_ground_truth(), rgb_bands=bands)


def test_a_saved_scene_comes_back_the_same(tmp_path: Path) -> None:
    scene = replace(
        fake_scene(), rgb_bands=(3, 2, 1), wavelengths=np.linspace(430, 860, 5), licence="CC BY", citation="Müller 1992"
    )
    save_scene(scene, tmp_path / "scene.h5")
    loaded = load_scene(tmp_path / "scene.h5")
    assert loaded.cube.dtype == np.uint16
    for field in ("cube", "ground_truth", "wavelengths"):
        assert np.array_equal(getattr(loaded, field), getattr(scene, field))
    for field in ("name", "class_names", "rgb_bands", "licence", "citation"):
        assert getattr(loaded, field) == getattr(scene, field)
    assert [file.name for file in tmp_path.iterdir()] == ["scene.h5"]


def test_a_saved_scene_keeps_its_place_and_hides_nothing(tmp_path: Path) -> None:
    where = Georeference('LOCAL_CS["a"]', (10.0, 0.5, 500_000.0, 0.25, -10.0, 5_000_000.0))
    save_scene(replace(fake_scene(), georeference=where), tmp_path / "scene.h5")
    for in_memory in (True, False):
        assert load_scene(tmp_path / "scene.h5", in_memory).georeference == where
    scene = fake_scene()
    masked = replace(scene, no_data=np.arange(scene.ground_truth.size).reshape(scene.ground_truth.shape) == 3)
    tests = np.zeros(scene.ground_truth.shape, bool)
    for odd in (masked, replace(scene, test_pixels=tests), replace(scene, preparation=Preparation(clip=(1.0, 9.0)))):
        with pytest.raises(SceneError, match="which a scene file can't say; save its arrays as they were"):
            save_scene(odd, tmp_path / "odd.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["scene.h5"]


@pytest.mark.parametrize(
    ("options", "key"),
    [({"ignored": (3,)}, "ignore_labels"), ({"label_field": "crop"}, "label_field"), ({"axes": "BHW"}, "axes")],
)
def test_a_scene_file_is_taken_as_it_is(tmp_path: Path, options: dict[str, Any], key: str) -> None:
    save_scene(fake_scene(), tmp_path / "scene.h5")
    with pytest.raises(SceneError, match=rf"taken as it is; leave out dataset\.{key}, or name its arrays"):
        load_custom_scene("field", tmp_path / "scene.h5", reading=Reading(**options))


def test_a_saved_scene_is_plain_hdf5(tmp_path: Path) -> None:
    save_scene(fake_scene(), tmp_path / "scene.h5")
    with h5py.File(tmp_path / "scene.h5") as file:
        assert file.attrs["format"] == "hsi_al scene 1"
        assert (file["cube"].compression, file["cube"].shuffle) == ("gzip", True)
        assert file["ground_truth"].dtype == np.uint8
        assert file["class_names"].asstr()[()].tolist() == ["Broccoli", "Maïs", "Lettuce"]
        assert "wavelengths" not in file
    loaded = load_scene(tmp_path / "scene.h5")
    assert loaded.wavelengths is None
    assert loaded.rgb_bands is None


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        save_scene(fake_scene(), tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert not any(h5py.h5g.get_objinfo(dataset.id).mtime for dataset in file.values())


def test_large_label_values_survive_saving(tmp_path: Path) -> None:
    truth = fake_scene().ground_truth * np.uint16(1000)
    save_scene(replace(fake_scene(), ground_truth=truth), tmp_path / "scene.h5")
    assert np.array_equal(load_scene(tmp_path / "scene.h5").ground_truth, truth)


def test_loading_what_is_no_scene_names_file_and_reason(tmp_path: Path) -> None:
    plain = write_hdf5(tmp_path / "plain.h5", {"cube": fake_cube()})
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    newer = tmp_path / "newer.h5"
    save_scene(fake_scene(), newer)
    with h5py.File(newer, "r+") as file:
        file.attrs["format"] = "hsi_al scene 2"
    expected = {plain: "format attribute None", text: "no HDF5 file", newer: "'hsi_al scene 2'"}
    for path, reason in expected.items():
        with pytest.raises(SceneError, match=reason) as caught:
            load_scene(path)
        assert str(path) in str(caught.value)
    assert [is_scene_file(path) for path in expected] == [False, False, True]


def test_loading_a_missing_or_damaged_scene(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="does not exist"):
        load_scene(tmp_path / "missing.h5")
    path = tmp_path / "scene.h5"
    save_scene(fake_scene(), path)
    with h5py.File(path, "r+") as file:
        del file["ground_truth"]
    with pytest.raises(SceneError, match=r"scene\.h5 cannot be read \(KeyError: .*ground_truth"):
        load_scene(path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(SceneError, match=r"scene\.h5"):
            load_scene(path)
