from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.active.parts import build_scene
from hsi_al.cli.composition import composed
from hsi_al.errors import SceneError
from hsi_al.scenes.catalogue import CATALOGUE, is_at_hand, load_catalogue_scene
from hsi_al.scenes.custom import load_custom_scene
from hsi_al.scenes.download import SceneFile
from hsi_al.scenes.published import CatalogueEntry, PlacedFile
from hsi_al.scenes.readers import read_array
from hsi_al.scenes.scene import save_scene
from tests.conftest import CommandLine
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


DOWNLOADED = ["indian_pines", "indian_pines_16", "pavia_university", "salinas", "salinas_a"]
CLASSES = {
    **{"indian_pines": 16, "indian_pines_16": 16, "pavia_university": 9, "salinas": 16, "salinas_a": 6},
    **{"ksc": 13, "botswana": 14, "pavia_centre": 9, "houston_2013": 15, "houston_2018": 20, "chikusei": 19},
    **{"whu_hi_longkou": 9, "whu_hi_hanchuan": 16, "whu_hi_honghu": 22},
}
PLACED = [name for name in CLASSES if name not in DOWNLOADED]
STRIP = {"cube_file": "strip.bsq", "ground_truth_file": "ground_truth.shp"}


def downloaded_file(name: str, what: str) -> SceneFile:
    file = getattr(CATALOGUE[name], what)
    assert isinstance(file, SceneFile)
    return file


def test_entries_are_complete_and_consistent() -> None:
    assert {name: len(entry.class_names) for name, entry in CATALOGUE.items()} == CLASSES
    for name, entry in CATALOGUE.items():
        assert max(entry.rgb_bands or (0,)) < (entry.n_bands or entry.shape[2])
        for file in entry.files:
            assert isinstance(file, SceneFile) == (name in DOWNLOADED)
            if isinstance(file, SceneFile):
                assert file.name.endswith(".mat")
                assert not file.url_path.startswith("/")
                assert len(bytes.fromhex(file.sha256)) == 32
        assert set(entry.classes or ()) <= set(entry.class_names)
        for counts in (entry.counts, entry.test_counts):
            assert list(counts) in ([], list(entry.class_names))
        assert entry.licence
        assert entry.citation
        assert entry.page.startswith("http")


def test_published_counts_have_the_sums_published_elsewhere() -> None:
    """The total of KSC: a README of its files; Houston per class: the label map of all pixels that S3-ULDA holds."""
    sums = {name: sum(entry.counts.values()) for name, entry in CATALOGUE.items() if entry.counts}
    assert sums == {"ksc": 5211, "houston_2013": 2832, "whu_hi_longkou": 204542, "whu_hi_honghu": 386693}
    houston = CATALOGUE["houston_2013"]
    whole = [houston.counts[value] + houston.test_counts[value] for value in range(1, 16)]
    assert whole == [1251, 1254, 697, 1244, 1242, 325, 1268, 1244, 1252, 1227, 1235, 1233, 469, 428, 660]


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
    file = downloaded_file("salinas", "cube")
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


def small(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> CatalogueEntry:
    """The entry with a cube of 6 x 7 pixels and five bands, of which colours show the default ones."""
    shape = (6, 7, 5) if CATALOGUE[name].n_bands is None else (6, 7, 7)
    n_bands = None if CATALOGUE[name].n_bands is None else 5
    known: dict[str, Any] = {"counts": {}, "test_counts": {}, "labelled": None, **changes}
    entry = replace(CATALOGUE[name], shape=shape, n_bands=n_bands, rgb_bands=None, **known)
    monkeypatch.setitem(CATALOGUE, name, entry)
    return entry


def all_classes(entry: CatalogueEntry) -> NDArray[np.uint8]:
    """Labels (6, 7), or finer ones, in which every class of the entry occurs, from the lower right; 0 above."""
    labels = np.zeros(42, np.uint8)
    labels[-len(entry.class_names) :] = list(entry.class_names)
    return np.kron(labels.reshape(6, 7), np.ones((entry.label_step,) * 2, np.uint8))


def write_raster(path: Path, array: NDArray[Any]) -> None:
    """A GeoTIFF, or an ENVI file with its header, as the ending says."""
    rasterio = pytest.importorskip("rasterio")
    array = array if array.ndim == 3 else array[:, :, None]
    tiff, header = path.suffix == ".tif", path.suffix == ".HDR"
    data = path.with_suffix("") if header else path
    height, width, bands = array.shape
    with rasterio.open(data, "w", "GTiff" if tiff else "ENVI", width, height, bands, dtype=array.dtype) as file:
        file.write(np.moveaxis(array, 2, 0))
    if header:
        data.with_suffix(".hdr").rename(path)


def write_published(folder: Path, entry: CatalogueEntry) -> NDArray[Any]:
    """Write files with the published names and keys; return the cube."""
    cube = fake_cube(bands=entry.shape[2])
    arrays: list[NDArray[Any]] = [cube, all_classes(entry), all_classes(entry)]
    for file, array in zip(entry.files, arrays, strict=False):
        path = folder / file.name
        if path.suffix == ".mat":
            assert file.key is not None
            write_matlab5(path, {file.key: array})
        elif path.suffix == ".npy":
            np.save(path, array)
        else:
            pytest.importorskip("hsi_al.scenes.formats.raster", reason="reads GeoTIFF and ENVI files")
            write_raster(path, array)
    return cube


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("name", PLACED)
def test_published_files_are_loaded_from_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entry = small(monkeypatch, name)
    assert not is_at_hand(name, tmp_path)
    cube = write_published(tmp_path, entry)
    assert is_at_hand(name, tmp_path)
    scene = load_catalogue_scene(name, tmp_path)
    assert np.array_equal(scene.cube, cube[:, :, :5])
    assert scene.class_names == entry.class_names
    assert np.array_equal(scene.ground_truth, all_classes(entry)[:: entry.label_step, :: entry.label_step])
    assert not [notice for notice in scene.notices if "another version" in notice]
    assert (scene.licence, scene.citation) == (entry.licence, entry.citation)


@pytest.mark.parametrize("name", PLACED)
def test_missing_files_are_to_be_put_into_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = small(monkeypatch, name)
    with pytest.raises(SceneError) as caught:
        load_catalogue_scene(name, tmp_path)
    for part in (*(file.name for file in entry.files), entry.page, str(tmp_path), "data_dir", entry.hint):
        assert part in str(caught.value)
    assert "checksum" in str(caught.value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SceneError, match=r"cache/hsi_al, or into another folder and set data_dir to it[;.]"):
        load_catalogue_scene(name, None)
    (tmp_path / entry.cube.name).touch()
    assert not is_at_hand(name, tmp_path)
    with pytest.raises(SceneError) as caught:
        load_catalogue_scene(name, tmp_path)
    assert f"put {entry.files[1].name} " in str(caught.value)


def test_a_placed_cube_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = small(monkeypatch, "ksc")
    write_published(tmp_path, entry)
    monkeypatch.undo()
    with pytest.raises(SceneError, match=r"KSC\.mat holds a cube of shape \(6, 7, 5\) where .*\(512, 614, 176\)"):
        load_catalogue_scene("ksc", tmp_path)


def doubts_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **known: Any) -> list[str]:
    entry = small(monkeypatch, "ksc", **known)
    write_published(tmp_path, entry)
    return [notice for notice in load_catalogue_scene("ksc", tmp_path).notices if "another version" in notice]


def test_other_counts_than_published_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = dict.fromkeys(range(1, 14), 1)
    assert doubts_of(tmp_path, monkeypatch, counts=right) == []
    assert doubts_of(tmp_path, monkeypatch, labelled=13) == []
    assert doubts_of(tmp_path, monkeypatch, counts={**right, 1: 1761, 13: 0}) == [
        f"Warning: {tmp_path / 'KSC_gt.mat'} may be another version, for other numbers of pixels are labelled than "
        "published (in brackets): Scrub 1 (1,761), Water 1 (0)."
    ]
    assert doubts_of(tmp_path, monkeypatch, labelled=5211)[0].endswith(
        "13 pixels are labelled, 5,211 in the published file."
    )


def test_a_label_without_a_published_name_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = small(monkeypatch, "ksc")
    write_published(tmp_path, entry)
    few = {value: text for value, text in entry.class_names.items() if value != 7}
    monkeypatch.setitem(CATALOGUE, "ksc", replace(entry, class_names=few))
    scene = load_catalogue_scene("ksc", tmp_path)
    assert scene.class_names[7] == "class 7"
    assert "the label values 7 are not among those published" in scene.notices[-1]


def arrays_for(name: str) -> dict[str, PlacedFile]:
    """Other files for an entry, so that what is done with its labels doesn't depend on a format."""
    named = {what: PlacedFile(f"{what}.npy") for what in ("cube", "ground_truth", "test")}
    return {what: file for what, file in named.items() if getattr(CATALOGUE[name], what) is not None}


def test_labels_of_houston_2013_that_test_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"counts": {1: 3, 2: 0}, "test_counts": {1: 0, 2: 3}}
    small(monkeypatch, "houston_2013", **arrays_for("houston_2013"), **counts)
    train, test = np.zeros((2, 6, 7), np.uint8)
    train[0, :3], test[5, :2], test[0, 2] = 1, 2, 2
    np.save(tmp_path / "cube.npy", fake_cube())
    np.save(tmp_path / "ground_truth.npy", train)
    np.save(tmp_path / "test.npy", test)
    scene = load_catalogue_scene("houston_2013", tmp_path)
    assert scene.test_pixels is not None
    assert np.array_equal(scene.test_pixels, test == 2)
    assert scene.ground_truth[0].tolist() == [1, 1, 2, 0, 0, 0, 0]
    assert scene.class_counts == [(1, "Healthy grass", 2), (2, "Stressed grass", 3)]
    assert [notice for notice in scene.notices if "1 pixels are labelled to learn from and to test" in notice]
    assert not [notice for notice in scene.notices if "another version" in notice]
    np.save(tmp_path / "test.npy", test[:, ::-1] * (test[:, ::-1] > 0) * (np.arange(6) > 0)[:, None])
    notices = load_catalogue_scene("houston_2013", tmp_path).notices
    assert [notice for notice in notices if "test.npy" in notice and "Stressed grass 2 (3)" in notice]


@pytest.mark.parametrize("finer", [True, False])
def test_labels_of_houston_2018_are_finer_than_the_cube(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finer: bool
) -> None:
    small(monkeypatch, "houston_2018", **arrays_for("houston_2018"))
    labels = np.random.default_rng(0).integers(0, 21, (12, 14)).astype(np.uint8)
    cube = fake_cube(bands=7)
    np.save(tmp_path / "cube.npy", cube)
    np.save(tmp_path / "ground_truth.npy", labels if finer else labels[::2, ::2])
    scene = load_catalogue_scene("houston_2018", tmp_path)
    expected = [[labels[2 * row, 2 * column] for column in range(7)] for row in range(6)]
    assert scene.ground_truth.tolist() == expected
    assert np.array_equal(scene.cube, cube[:, :, :5])
    assert scene.bands == (0, 1, 2, 3, 4, 7)
    np.save(tmp_path / "ground_truth.npy", labels[:11])
    with pytest.raises(SceneError, match=r"ground truth of shape \(11, 14\)"):
        load_catalogue_scene("houston_2018", tmp_path)


def test_published_test_labels_test_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    """With split=given no pixel of the test labels is asked for, and all of them are scored."""
    entry = small(monkeypatch, "houston_2013", **arrays_for("houston_2013"))
    monkeypatch.setitem(CATALOGUE, "houston_2013", replace(entry, shape=(12, 14, 5)))
    truth = fake_ground_truth(12, 14)
    odd = np.arange(14)[None, :] % 2 == 1
    np.save(tmp_path / "cube.npy", fake_cube(12, 14))
    np.save(tmp_path / "ground_truth.npy", np.where(odd, truth, 0))
    np.save(tmp_path / "test.npy", np.where(odd, 0, truth))
    done = command_line(
        *("dataset=houston_2013", f"data_dir={tmp_path}", "split=given", "learner=nearest_label", "protocol=few"),
        *("protocol.initial_size=10", "protocol.rounds=0", "protocol.initial=uniform", "acquisition=none"),
    )
    assert done.code == 0, done.err
    assert f"{np.count_nonzero(truth[:, ::2])} pixels of the published test labels test the learner." in done.out


def test_a_strip_of_toulouse(tmp_path: Path) -> None:
    """Polygons of its field on a strip; the number 40 is no class."""
    pyogrio, shapely = (pytest.importorskip(name) for name in ("pyogrio", "shapely"))
    rasterio = pytest.importorskip("rasterio")
    where = {"transform": rasterio.Affine(1, 0, 374000, 0, -1, 4829000), "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / "strip.bsq", "w", "ENVI", 7, 6, 5, dtype="uint16", **where) as file:
        file.write(np.moveaxis(fake_cube(), 2, 0))
    corners = {21: (0, 0, 2, 2), 40: (2, 0, 4, 2), 8: (4, 3, 7, 6)}  # left, top, right, bottom pixels
    boxes = [
        shapely.box(374000 + left, 4829000 - bottom, 374000 + right, 4829000 - top)
        for left, top, right, bottom in corners.values()
    ]
    pyogrio.raw.write(
        tmp_path / "ground_truth.shp",
        shapely.to_wkb(boxes),
        [np.array([*corners])],
        ["Material"],
        geometry_type="Polygon",
        crs="EPSG:32631",
    )
    files = [f"dataset.{key}={tmp_path / name}" for key, name in STRIP.items()]
    scene = build_scene(composed(["dataset=toulouse", *files])[0])
    expected = np.zeros((6, 7), int)
    expected[:2, :2], expected[3:, 4:] = 21, 8
    assert np.array_equal(scene.ground_truth, expected)
    assert scene.name == "toulouse"


def test_the_page_of_scenes_says_what_the_catalogue_holds() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scenes.md").read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    for name in PLACED:
        entry = CATALOGUE[name]
        cells = [cell.strip() for cell in rows[name].split("|")]
        assert cells[3:6] == [
            f"{entry.shape[0]} x {entry.shape[1]}",
            str(entry.n_bands or entry.shape[2]),
            str(len(entry.class_names)),
        ]
        total = sum(entry.counts.values()) or entry.labelled
        assert cells[6].startswith("not known" if total is None else f"{total:,}")
        if entry.test_counts:
            assert f"{sum(entry.test_counts.values()):,} that test" in cells[6]
        assert entry.page in text
        assert entry.cube.name.rsplit(".", 1)[0] in cells[7]
    start = (Path(__file__).parents[2] / "docs" / "index.md").read_text()
    assert all(f"`{name}`" in start for name in CATALOGUE)


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
    path, entry, published = real_file(file), CATALOGUE[name], downloaded_file(name, "ground_truth")
    assert path.name == published.name
    assert path.stat().st_size == published.size
    assert sha256(path.read_bytes()).hexdigest() == published.sha256
    truth = read_array(path, published.key)
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
    )
    assert scene.name == "field"
    assert scene.class_names == {1: "class 1", 10: "Oats"}
    assert scene.rgb_bands == (0, 1, 2)
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
    assert by_key.class_names == {1: "Broccoli", 3: "Maïs", 10: "Lettuce"}
    assert np.array_equal(by_key.cube, scene.cube)


def test_custom_scene_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"cube\.mat does not exist"):
        load_custom_scene("field", tmp_path / "cube.mat")
