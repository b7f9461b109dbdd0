"""Scenes from files and from arrays are the same."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hsi_al
from hsi_al.scenes.checksums import data_checksums
from tests.active.test_session_labels import write_session
from tests.conftest import tiny_arrays

NAMES = ["Corn", "Oats", "Woods"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scaling": "standard"},
    {"no_data": [0.0], "ignore_labels": [5]},
    {"bands": [0, 4, 2]},
    {"classes": (5, 9), "class_names": ["Oats", "Woods"]},
    {"unlabelled": 255, "class_names": {5: "Oats"}},
    {"unlabelled": 255, "class_names": {0: "Ground", 5: "Oats", 30: "Hops"}},
]


def test_masked_arrays_are_refused() -> None:
    """NumPy would drop the mask, and learn from what it hides."""
    cube, truth = tiny_arrays()
    for arrays in ((np.ma.masked_less(cube, 1), truth), (cube, np.ma.masked_equal(truth, 2))):
        with pytest.raises(hsi_al.HsiAlError, match=r"masked arrays aren't read; give array\.filled\(value\)"):
            hsi_al.load_scene(*arrays, name="field")


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_arrays_are_read_as_files_are(tmp_path: Path, options: dict[str, Any]) -> None:
    cube, truth = tiny_arrays()
    cube[0, 0] = 0
    np.save(tmp_path / "field.npy", cube)
    np.save(tmp_path / "labels.npy", truth)
    of_files = hsi_al.load_scene(tmp_path / "field.npy", tmp_path / "labels.npy", **options)
    of_arrays = hsi_al.load_scene(cube, truth, name="field", **options)
    assert data_checksums(of_files) == data_checksums(of_arrays)
    assert of_files.class_names == of_arrays.class_names and of_files.notices == of_arrays.notices
    assert of_files.preparation == of_arrays.preparation and of_files.name == of_arrays.name == "field"
    assert (cube, truth)[0][1, 1, 1] == np.load(tmp_path / "field.npy")[1, 1, 1]  # left alone


def test_names_of_absent_classes_are_told() -> None:
    with pytest.warns(UserWarning, match="class_names names 3, 30, which no pixel has as its label"):
        scene = hsi_al.load_scene(
            *tiny_arrays(), classes=[2, 5], class_names={0: "-", 5: "Oats", 9: "Woods", 30: "a", 3: "b"}
        )
    assert scene.class_names == {2: "class 2", 5: "Oats"}


def test_a_scene_says_what_it_is() -> None:
    scene = hsi_al.load_scene(*tiny_arrays(), name="field", class_names=NAMES)
    assert repr(scene) == "<Scene field: 24 x 26 pixels, 6 bands, 3 classes, 440 labelled pixels>"
    assert scene.class_names == {2: "Corn", 5: "Oats", 9: "Woods"}
    split = hsi_al.make_split(scene, "paper")
    assert repr(split) == "<Split paper: 440 candidates, 0 test pixels>"


def test_axes_wavelengths_and_colours_of_arrays() -> None:
    cube, truth = tiny_arrays()
    waves = [400.0, 450, 550, 600, 650, 900]
    scene = hsi_al.load_scene(cube.transpose(2, 0, 1), truth, axes="BHW", wavelengths=waves, bands=[[430, 700]])
    assert scene.wavelengths is not None and scene.wavelengths.tolist() == waves[1:5]
    np.testing.assert_array_equal(scene.cube, cube[..., 1:5])
    assert hsi_al.load_scene(cube, truth, rgb_bands=[5, 0, 1]).colour_bands == (5, 0, 1)


def test_what_is_odd_is_a_warning() -> None:
    cube, _ = tiny_arrays()
    with pytest.warns(UserWarning, match=r"BHW and .* fit, too"):
        hsi_al.load_scene(cube[:6, :6, :6], np.tile([1, 2, 0], (6, 2)))


def test_a_mask_says_which_pixels_test() -> None:
    cube, truth = tiny_arrays()
    mask = np.zeros(truth.shape, bool)
    mask[:, 13:] = True
    split = hsi_al.make_split(hsi_al.load_scene(cube, truth), "given", test=mask)
    assert split.test.tolist() == np.flatnonzero((truth > 0) & mask).tolist()
    assert split.candidates.tolist() == np.flatnonzero((truth > 0) & ~mask).tolist()


def test_the_catalogue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scene = hsi_al.load_scene("indian_pines", classes=[2, 3], name="two fields")
    assert (scene.n_classes, scene.name) == (2, "two fields")
    with pytest.raises(hsi_al.SceneError, match="is no folder"):
        hsi_al.load_scene("salinas", data_dir=tmp_path / "missing")


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    (tmp_path / "field.tif").write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(hsi_al.SceneError, match=r"pip install 'hsi_al\[geo\]'"):
        hsi_al.load_scene(tmp_path / "field.tif")


def test_labels_of_a_session(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    np.save(tmp_path / "cube.npy", cube)
    labels = {int(pixel): 1 + pixel % 2 for pixel in np.flatnonzero(truth)[::9].tolist()}
    write_session(tmp_path / "session", (*truth.shape, 6), labels)
    scene = hsi_al.load_scene(tmp_path / "cube.npy", labels=tmp_path / "session")
    assert scene.labelled_ids.tolist() == sorted(labels) and set(scene.class_names.values()) == {"oats", "corn"}
