from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.catalogue import CATALOGUE, load_catalogue_scene
from hsi_al.scenes.custom import load_custom_scene
from hsi_al.scenes.readers import read_array
from hsi_al.scenes.scene import save_scene
from tests.fakes import (
    fake_cube,
    fake_ground_truth,
    fake_scene,
    real_file,
    write_hdf5,
    write_matlab5,
    write_matlab73,
)


@pytest.fixture
def small_pavia(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(CATALOGUE["pavia_university"], shape=(6, 7, 5), rgb_bands=(3, 1, 0))
    monkeypatch.setitem(CATALOGUE, "pavia_university", small)


def write_pavia(folder: Path, cube: Any = None) -> None:
    folder.mkdir(exist_ok=True)
    write_matlab5(folder / "PaviaU.mat", {"paviaU": fake_cube() if cube is None else cube})
    write_matlab5(folder / "PaviaU_gt.mat", {"paviaU_gt": np.minimum(fake_ground_truth(), 9).astype(np.float64)})


def test_entries_are_complete_and_consistent() -> None:
    assert list(CATALOGUE) == ["indian_pines", "indian_pines_16", "pavia_university", "salinas", "salinas_a"]
    for entry in CATALOGUE.values():
        assert max(entry.rgb_bands or (999,)) < entry.shape[2]
        for file in (entry.cube, entry.ground_truth):
            assert file.name.endswith(".mat")
            assert not file.url_path.startswith("/")
            assert len(bytes.fromhex(file.sha256)) == 32
        assert set(entry.classes or ()) <= set(entry.class_names)
        assert entry.licence
        assert entry.citation
    assert {name: len(entry.class_names) for name, entry in CATALOGUE.items()} == {
        "indian_pines": 16,
        "indian_pines_16": 16,
        "pavia_university": 9,
        "salinas": 16,
        "salinas_a": 6,
    }


def test_salinas_a_keeps_the_names_of_salinas() -> None:
    names = CATALOGUE["salinas_a"].class_names
    assert list(names) == [1, 10, 11, 12, 13, 14]
    assert (names[1], names[10]) == ("Brocoli_green_weeds_1", "Corn_senesced_green_weeds")
    assert [names[value] for value in range(11, 15)] == [f"Lettuce_romaine_{weeks}wk" for weeks in (4, 5, 6, 7)]


@pytest.mark.usefixtures("small_pavia")
@pytest.mark.parametrize("folder", [".", "pavia_university"])
def test_files_lie_in_data_dir_or_in_its_folder_of_the_scene(tmp_path: Path, folder: str) -> None:
    write_pavia(tmp_path / folder)
    scene = load_catalogue_scene("pavia_university", tmp_path)
    assert scene.name == "pavia_university"
    assert scene.class_names == {1: "Asphalt", 3: "Gravel", 9: "Shadows"}
    assert np.array_equal(scene.cube, fake_cube())
    assert load_catalogue_scene("pavia_university", tmp_path, [1, 9]).label_values.tolist() == [1, 9]


@pytest.mark.usefixtures("small_pavia")
def test_an_absent_class_is_refused(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    with pytest.raises(SceneError, match=r"'pavia_university' has no label values \[2\] to keep; it has \[1, 3, 9\]"):
        load_catalogue_scene("pavia_university", tmp_path, [1, 2])


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(SceneError, match=r"'pavia'.*indian_pines, indian_pines_16, pavia_university, salinas, sal"):
        load_catalogue_scene("pavia", None)


@pytest.fixture
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSI_AL_DOWNLOAD_BASE", "http://127.0.0.1:9/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hsi_al.scenes.download.RETRIES", 0)


@pytest.mark.usefixtures("no_server")
def test_missing_files_are_named_with_address_path_and_checksum(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as caught:
        load_catalogue_scene("salinas", tmp_path)
    file = CATALOGUE["salinas"].cube
    for part in (f"http://127.0.0.1:9/{file.url_path}", str(tmp_path / file.name), file.sha256, "data_dir"):
        assert part in str(caught.value)
    with pytest.raises(SceneError, match=r"cache/hsi_al/SalinasA_corrected\.mat"):
        load_catalogue_scene("salinas_a", None)
    with pytest.raises(SceneError, match="nowhere is no folder"):
        load_catalogue_scene("salinas", tmp_path / "nowhere")
    write_pavia(tmp_path)
    (tmp_path / "PaviaU.mat").unlink()
    with pytest.raises(SceneError, match=r"PaviaU\.mat can't be downloaded"):
        load_catalogue_scene("pavia_university", tmp_path)


def test_a_cube_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    with pytest.raises(SceneError, match=r"PaviaU\.mat holds a cube of shape \(6, 7, 5\).*\(610, 340, 103\)"):
        load_catalogue_scene("pavia_university", tmp_path)


@pytest.mark.parametrize("data_dir", ["root", "folder"])
def test_real_salinas_a(data_dir: str) -> None:
    folder = real_file("salinas_a/SalinasA_corrected.mat").parent
    scene = load_catalogue_scene("salinas_a", folder if data_dir == "folder" else folder.parent)
    assert scene.cube.shape == (83, 86, 204)
    values, counts = np.unique(scene.ground_truth[scene.ground_truth > 0], return_counts=True)
    assert values.tolist() == scene.label_values.tolist() == [1, 10, 11, 12, 13, 14]
    assert counts.tolist() == [391, 1343, 616, 1525, 674, 799]
    assert len(scene.labelled_ids) == 5348
    assert np.bincount(scene.labels_of(scene.labelled_ids)).tolist() == counts.tolist()
    assert "class 1" not in scene.class_names.values()


def test_real_pavia_subset_lacks_the_third_class() -> None:
    path = real_file("pavia_university_subset/UPavia_Subset.mat")
    scene = load_custom_scene("subset", path, "paviaU", None, "paviaU_gt")
    assert scene.cube.shape == (140, 80, 103)
    assert scene.label_values.tolist() == [1, 2, 4, 5, 6, 7, 8, 9]
    values, counts = np.unique(scene.ground_truth, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        0: 140 * 80 - 2928, 1: 86, 2: 461, 4: 52, 5: 311, 6: 342, 7: 1234, 8: 249, 9: 193,
    }  # fmt: skip
    with pytest.raises(SceneError, match=r"no label values \[3\]"):
        load_custom_scene("subset", path, "paviaU", None, "paviaU_gt", classes=[1, 3])


@pytest.mark.parametrize(
    ("name", "file", "total"),
    [
        ("indian_pines_16", "indian_pines/Indian_pines_gt.mat", 10249),
        ("pavia_university", "ground_truth/PaviaU_gt.mat", 42776),
        ("salinas", "ground_truth/Salinas_gt.mat", 54129),
        ("salinas_a", "salinas_a/SalinasA_gt.mat", 5348),
    ],
)
def test_real_label_maps_are_those_of_the_catalogue(name: str, file: str, total: int) -> None:
    path, entry = real_file(file), CATALOGUE[name]
    assert path.name == entry.ground_truth.name
    assert path.stat().st_size == entry.ground_truth.size
    assert sha256(path.read_bytes()).hexdigest() == entry.ground_truth.sha256
    truth = read_array(path, entry.ground_truth.key)
    assert truth.shape == entry.shape[:2]
    assert np.count_nonzero(truth) == total
    assert set(np.unique(truth).tolist()) == {0, *entry.class_names}


def test_custom_scene_from_two_files(tmp_path: Path) -> None:
    cube = write_matlab73(tmp_path / "cube.mat", {"data": fake_cube()})
    truth = tmp_path / "truth.npy"
    np.save(truth, fake_ground_truth())
    scene = load_custom_scene(
        "field",
        cube,
        "data",
        truth,
        classes=[1, 10],
        class_names={10: "Oats"},
        rgb_bands=[0, 1, 2],
        wavelengths=range(5),
    )
    assert scene.name == "field"
    assert scene.class_names == {1: "class 1", 10: "Oats"}
    assert scene.rgb_bands == (0, 1, 2)
    assert scene.wavelengths is not None
    assert scene.wavelengths.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert np.array_equal(scene.cube, fake_cube())


def test_custom_scene_from_one_file_needs_keys(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "field.h5", {"cube": fake_cube(), "maps/truth": fake_ground_truth()})
    scene = load_custom_scene("field", path, "cube", ground_truth_key="maps/truth")
    assert scene.label_values.tolist() == [1, 3, 10]
    with pytest.raises(SceneError, match=r"a key is needed; it holds cube \(6, 7, 5\) uint16; maps/truth"):
        load_custom_scene("field", path)


def test_custom_scene_from_a_saved_scene(tmp_path: Path) -> None:
    path = tmp_path / "saved.h5"
    save_scene(fake_scene(), path)
    scene = load_custom_scene("field", path, class_names={10: "Oats"})
    assert scene.name == "field"
    assert scene.class_names == {1: "Broccoli", 3: "Maïs", 10: "Oats"}
    by_key = load_custom_scene("field", path, "cube", path, "ground_truth")
    assert by_key.class_names[1] == "class 1"
    assert np.array_equal(by_key.cube, scene.cube)


def test_custom_scene_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"cube\.mat does not exist"):
        load_custom_scene("field", tmp_path / "cube.mat")
