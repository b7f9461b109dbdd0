from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hsi_al.scenes.catalogue import EMBEDDED_FILE, load_catalogue_scene
from hsi_al.scenes.scene import Scene
from tests.fakes import real_file

COUNTS = [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load_catalogue_scene("indian_pines_16", None)


def test_all_classes_have_the_published_counts(scene: Scene) -> None:
    assert scene.cube.shape == (145, 145, 200)
    assert scene.cube.dtype == np.uint16
    assert (scene.cube.min(), scene.cube.max()) == (955, 9604)
    assert np.bincount(scene.ground_truth.ravel())[1:].tolist() == COUNTS
    assert len(scene.labelled_ids) == 10249
    assert scene.class_names[1] == "Alfalfa"
    assert scene.class_names[16] == "Stone-Steel-Towers"
    assert scene.licence == "CC BY 3.0"
    assert "doi:10.4231/R7RX991C" in scene.citation
    assert scene.wavelengths is None


def test_the_nine_classes_of_the_paper(scene: Scene) -> None:
    nine = load_catalogue_scene("indian_pines", None)
    kept = [2, 3, 5, 6, 8, 10, 11, 12, 14]
    assert nine.name == "indian_pines"
    assert nine.label_values.tolist() == kept
    assert np.bincount(nine.labels_of(nine.labelled_ids)).tolist() == [COUNTS[value - 1] for value in kept]
    assert len(nine.labelled_ids) == 9234
    assert np.array_equal(nine.cube, scene.cube)
    assert list(nine.class_names.values()) == [
        "Corn-notill", "Corn-mintill", "Grass-pasture", "Grass-trees", "Hay-windrowed",
        "Soybean-notill", "Soybean-mintill", "Soybean-clean", "Woods",
    ]  # fmt: skip


def test_other_classes_may_be_asked_for() -> None:
    assert load_catalogue_scene("indian_pines", None, [16, 1]).label_values.tolist() == [1, 16]


def test_the_embedded_file_is_small() -> None:
    assert EMBEDDED_FILE.stat().st_size < 8_000_000


def test_false_colour_uses_the_whole_range(scene: Scene) -> None:
    picture = scene.false_colour()
    assert picture.shape == (145, 145, 3)
    assert (picture.min(), picture.max()) == (0, 255)
    assert picture.reshape(-1, 3).std(axis=0).min() > 30


def test_it_equals_the_arrays_of_tensorly(scene: Scene) -> None:
    package = find_spec("tensorly")
    if package is None or package.origin is None:
        pytest.skip("tensorly is not installed")
    folder = Path(package.origin).parent / "datasets" / "data"
    assert np.array_equal(scene.cube, np.load(folder / "Indian_pines_corrected.npy"))
    assert np.array_equal(scene.ground_truth, np.load(folder / "Indian_pines_gt.npy"))


def test_it_equals_the_matlab_files(scene: Scene) -> None:
    for name, ours in (("corrected", scene.cube), ("gt", scene.ground_truth)):
        theirs = scipy.io.loadmat(real_file(f"indian_pines/Indian_pines_{name}.mat"))[f"indian_pines_{name}"]
        assert np.array_equal(ours, theirs)
