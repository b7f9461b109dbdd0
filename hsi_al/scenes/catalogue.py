"""The catalogue of public scenes, and loading of them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hsi_al.errors import SceneError
from hsi_al.scenes.download import SceneFile, cache_folder, download
from hsi_al.scenes.readers import read_array
from hsi_al.scenes.scene import Scene, load_scene

PAGE = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"
DATA_DIR_VARIABLE = "HSI_AL_DATA"
DOWNLOAD_BASE = "https://www.ehu.eus/ccwintco/uploads/"
EMBEDDED_FILE = Path(__file__).with_name("indian_pines.h5")


@dataclass(frozen=True)
class CatalogueEntry:
    """A public scene.

    Attributes:
        title: Full name of the scene, for messages.
        shape: Cube shape (H, W, B).
        cube: Published file of the cube.
        ground_truth: Published file of the ground truth.
        class_names: Label value -> published name.
        licence: Licence of the data.
        citation: Source to cite for the data.
        classes: Label values kept by default; None keeps all.
        rgb_bands: Bands (from 0) shown as red, green and blue in a false-colour picture.
        embedded: Whether the package contains the scene; other scenes are downloaded.
        page: Web page that describes and offers the files.
    """

    title: str
    shape: tuple[int, int, int]
    cube: SceneFile
    ground_truth: SceneFile
    class_names: Mapping[int, str]
    licence: str
    citation: str
    classes: tuple[int, ...] | None = None
    rgb_bands: tuple[int, int, int] | None = None
    embedded: bool = False
    page: str = PAGE


def _numbered(names: str) -> dict[int, str]:
    return dict(enumerate((name.strip() for name in names.split(",")), start=1))


_INDIAN_PINES = CatalogueEntry(
    title="Indian Pines, 16 classes",
    shape=(145, 145, 200),
    cube=SceneFile(
        "6/67/Indian_pines_corrected.mat",
        5953527,
        "ec2f8808710919d566f70f0d4aa885aae1ddfd42b734aba71c5e12ca65450939",
        "indian_pines_corrected",
    ),
    ground_truth=SceneFile(
        "c/c4/Indian_pines_gt.mat",
        1125,
        "65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c",
        "indian_pines_gt",
    ),
    class_names=_numbered(
        "Alfalfa, Corn-notill, Corn-mintill, Corn, Grass-pasture, Grass-trees, Grass-pasture-mowed, Hay-windrowed, "
        "Oats, Soybean-notill, Soybean-mintill, Soybean-clean, Wheat, Woods, Buildings-Grass-Trees-Drives, "
        "Stone-Steel-Towers"
    ),
    licence="CC BY 3.0",
    citation=(
        "Baumgardner, Biehl, Landgrebe 2015, 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine "
        "Test Site 3, Purdue University Research Repository, doi:10.4231/R7RX991C"
    ),
    rgb_bands=(43, 21, 11),
    embedded=True,
)

_PAVIA_UNIVERSITY = CatalogueEntry(
    title="University of Pavia",
    shape=(610, 340, 103),
    cube=SceneFile(
        "e/ee/PaviaU.mat",
        34806917,
        "28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
        "paviaU",
    ),
    ground_truth=SceneFile(
        "5/50/PaviaU_gt.mat",
        11005,
        "23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
        "paviaU_gt",
    ),
    class_names=_numbered(
        "Asphalt, Meadows, Gravel, Trees, Painted metal sheets, Bare Soil, Bitumen, Self-Blocking Bricks, Shadows"
    ),
    licence="none stated by the publisher",
    citation=f"Paolo Gamba, Telecommunications and Remote Sensing Laboratory, University of Pavia; published at {PAGE}",
    rgb_bands=(55, 41, 12),
)

_SALINAS = CatalogueEntry(
    title="Salinas",
    shape=(512, 217, 204),
    cube=SceneFile(
        "a/a3/Salinas_corrected.mat",
        26552770,
        "5ec1c0d22f56d18ecd336f8e35735863c0f160682e04e0c18ef3f89a3334d87d",
        "salinas_corrected",
    ),
    ground_truth=SceneFile(
        "f/fa/Salinas_gt.mat",
        4277,
        "ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
        "salinas_gt",
    ),
    class_names=_numbered(
        "Brocoli_green_weeds_1, Brocoli_green_weeds_2, Fallow, Fallow_rough_plow, Fallow_smooth, Stubble, Celery, "
        "Grapes_untrained, Soil_vinyard_develop, Corn_senesced_green_weeds, Lettuce_romaine_4wk, "
        "Lettuce_romaine_5wk, Lettuce_romaine_6wk, Lettuce_romaine_7wk, Vinyard_untrained, Vinyard_vertical_trellis"
    ),
    licence="none stated by the publisher",
    citation=f"AVIRIS sensor, Salinas Valley, California; published at {PAGE}",
    rgb_bands=(43, 21, 11),
)

# A window of Salinas with the same label values, here 1 and 10 to 14.
_SALINAS_A = replace(
    _SALINAS,
    title="Salinas-A",
    shape=(83, 86, 204),
    cube=SceneFile(
        "1/1a/SalinasA_corrected.mat",
        1539086,
        "d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
        "salinasA_corrected",
    ),
    ground_truth=SceneFile(
        "a/aa/SalinasA_gt.mat",
        587,
        "17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
        "salinasA_gt",
    ),
    class_names={value: _SALINAS.class_names[value] for value in (1, 10, 11, 12, 13, 14)},
)

CATALOGUE: dict[str, CatalogueEntry] = {
    "indian_pines": replace(_INDIAN_PINES, title="Indian Pines, 9 classes", classes=(2, 3, 5, 6, 8, 10, 11, 12, 14)),
    "indian_pines_16": _INDIAN_PINES,
    "pavia_university": _PAVIA_UNIVERSITY,
    "salinas": _SALINAS,
    "salinas_a": _SALINAS_A,
}


def load_catalogue_scene(name: str, data_dir: Path | None, classes: Sequence[int] | None = None) -> Scene:
    """Load a public scene: Indian Pines from the package, the others from files that are downloaded once.

    Args:
        name: A key of `CATALOGUE`.
        data_dir: Existing folder of the files, where missing ones are downloaded to; None = the user's cache folder.
            Not used for Indian Pines.
        classes: Label values to keep; None = those of the catalogue entry.

    Raises:
        SceneError: The name is unknown, `data_dir` is no folder, a file can't be downloaded or read, or a class is
            absent.
    """
    if name not in CATALOGUE:
        raise SceneError(f"There is no scene {name!r} in the catalogue; it has {', '.join(CATALOGUE)}.")
    entry = CATALOGUE[name]
    scene = replace(load_scene(EMBEDDED_FILE), name=name) if entry.embedded else _downloaded(name, entry, data_dir)
    kept = entry.classes if classes is None else classes
    return scene if kept is None else scene.keeping(kept)


def _downloaded(name: str, entry: CatalogueEntry, data_dir: Path | None) -> Scene:
    cube_path, truth_path = _located(name, entry, data_dir)
    cube = read_array(cube_path, entry.cube.key)
    if cube.shape != entry.shape:
        raise SceneError(
            f"{cube_path} holds a cube of shape {cube.shape} where {entry.title} has {entry.shape}; "
            f"download {entry.cube.name} again, or load another cube with dataset=custom."
        )
    return Scene(
        name=name,
        source=cube,
        ground_truth=read_array(truth_path, entry.ground_truth.key),
        class_names=dict(entry.class_names),
        rgb_bands=entry.rgb_bands,
        licence=entry.licence,
        citation=entry.citation,
    )


def data_folder(data_dir: str | None) -> Path | None:
    """Return the folder of scene files: `data_dir`, else the variable HSI_AL_DATA, else None (the user's cache).

    Raises:
        SceneError: Its home directory can't be found.
    """
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return expanded(folder) if folder else None


def expanded(path: str) -> Path:
    """Return a path with `~` and `~user` replaced by the home directory.

    Raises:
        SceneError: There is no such user, or nothing says where the home directory is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SceneError(f"The home directory in {path} can't be found; write the whole path.") from None


def whole_of(name: str) -> str:
    """Return the catalogue scene that holds all pixels and classes of scene `name`; it may be `name` itself."""
    return {"indian_pines": "indian_pines_16", "salinas_a": "salinas"}.get(name, name)


def is_at_hand(name: str, data_dir: Path | None) -> bool:
    """Return whether `load_catalogue_scene` can load the scene without a download."""
    entry, folder = CATALOGUE[name], cache_folder() if data_dir is None else data_dir
    return entry.embedded or all(_present(name, file, folder) for file in (entry.cube, entry.ground_truth))


def _present(name: str, file: SceneFile, folder: Path) -> list[Path]:
    return [place for place in (folder / file.name, folder / name / file.name) if place.exists()]


def _located(name: str, entry: CatalogueEntry, data_dir: Path | None) -> list[Path]:
    """Find cube and ground truth in `data_dir` (or the cache) or its subfolder `name`; download what is missing."""
    if data_dir is not None and not data_dir.is_dir():
        raise SceneError(f"data_dir={data_dir} is no folder; create it, or leave data_dir out to use {cache_folder()}.")
    folder = cache_folder() if data_dir is None else data_dir
    found, downloaded = [], False
    for file in (entry.cube, entry.ground_truth):
        present = _present(name, file, folder)
        downloaded |= not present
        found.append(present[0] if present else download(DOWNLOAD_BASE, file, folder))
    if downloaded:
        print(f"{entry.title} from {entry.page}. Licence: {entry.licence}. Cite: {entry.citation}")
    return found
