"""Loading of the public scenes of the catalogue (`published.CATALOGUE`)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.bands import of_bands
from hsi_al.scenes.checks import Labels
from hsi_al.scenes.download import SceneFile, cache_folder, download
from hsi_al.scenes.published import CATALOGUE, CatalogueEntry, PlacedFile
from hsi_al.scenes.readers import loaded_rows
from hsi_al.scenes.scene import Scene, load_scene
from hsi_al.scenes.truth import Truth, joined, read_labels, truth_shape

__all__ = ["CATALOGUE", "EMBEDDED_FILE", "data_folder", "expanded", "is_at_hand", "load_catalogue_scene", "whole_of"]

DATA_DIR_VARIABLE = "HSI_AL_DATA"
DOWNLOAD_BASE = "https://www.ehu.eus/ccwintco/uploads/"
EMBEDDED_FILE = Path(__file__).with_name("indian_pines.h5")


def load_catalogue_scene(name: str, data_dir: Path | None, classes: Sequence[int] | None = None) -> Scene:
    """Load a public scene: Indian Pines from the package, others from files that are downloaded once or lie there.

    Args:
        name: A key of `CATALOGUE`.
        data_dir: Existing folder of the files, where missing ones are downloaded to if their checksum is known; None =
            the user's cache folder. Not used for Indian Pines.
        classes: Label values to keep; None = those of the catalogue entry.

    Raises:
        SceneError: The name is unknown, `data_dir` is no folder, a file is missing, can't be downloaded or read or has
            another shape, or a class is absent.
    """
    if name not in CATALOGUE:
        raise SceneError(f"There is no scene {name!r} in the catalogue; it has {', '.join(CATALOGUE)}.")
    entry = CATALOGUE[name]
    scene = replace(load_scene(EMBEDDED_FILE), name=name) if entry.embedded else _of_files(name, entry, data_dir)
    kept = entry.classes if classes is None else classes
    return scene if kept is None else scene.keeping(kept)


def _of_files(name: str, entry: CatalogueEntry, data_dir: Path | None) -> Scene:
    cube_path, *label_paths = _located(name, entry, data_dir)
    rows = loaded_rows(cube_path, entry.cube.key)
    if rows.shape != entry.shape:
        raise SceneError(
            f"{cube_path} holds a cube of shape {rows.shape} where {entry.title} has {entry.shape}; "
            f"download {entry.cube.name} again, or load another cube with dataset=custom."
        )
    bands = None if entry.n_bands is None else (*range(entry.n_bands), rows.shape[2])
    rows = rows if entry.n_bands is None else of_bands(rows, range(entry.n_bands))
    truth = _labels(name, entry, label_paths[0], entry.ground_truth.key, rows)
    doubts, tests = _doubts(label_paths[0], truth.labels, entry.class_names, entry.counts, entry.labelled), None
    if entry.test is not None:
        test = _labels(name, entry, label_paths[1], entry.test.key, rows)
        doubts += _doubts(label_paths[1], test.labels, entry.class_names, entry.test_counts, None)
        truth, tests = joined(truth, test, str(label_paths[1]))
    return Scene(
        name=name,
        source=rows.read(0, rows.shape[0]),
        ground_truth=truth.labels,
        class_names=dict(entry.class_names),
        wavelengths=None if rows.wavelengths is None else np.asarray(rows.wavelengths),
        rgb_bands=rows.rgb_bands if entry.rgb_bands is None else entry.rgb_bands,
        licence=entry.licence,
        citation=entry.citation,
        notices=(*rows.notices, *truth.notices, *doubts),
        georeference=rows.georeference,
        bands=bands,
        test_pixels=tests,
    )


def _labels(name: str, entry: CatalogueEntry, path: Path, key: str | None, rows: Rows) -> Truth:
    """Labels on the cube's grid; of finer labels those in the upper left corner of each pixel of the cube."""
    height, width, n_bands = rows.shape
    step = entry.label_step
    if step == 1 or truth_shape(name, path, key) == (height, width):
        return read_labels(name, path, key, rows)
    finer = read_labels(name, path, key, (height * step, width * step, n_bands))
    return replace(finer, labels=finer.labels[::step, ::step])


def _doubts(
    path: Path, labels: Labels, names: Mapping[int, str], counts: Mapping[int, int], labelled: int | None
) -> list[str]:
    """What of a label map is not as published, as far as that is known: values, numbers of pixels."""
    values, found = np.unique(labels[labels > 0], return_counts=True)
    there = dict(zip(values.tolist(), found.tolist(), strict=True))
    others = [str(value) for value in there if value not in names]
    doubts = [f"the label values {', '.join(others)} are not among those published"] if others else []
    if differing := [value for value in counts if there.get(value, 0) != counts[value]]:
        listed = ", ".join(f"{names[value]} {there.get(value, 0):,} ({counts[value]:,})" for value in differing)
        doubts.append(f"other numbers of pixels are labelled than published (in brackets): {listed}")
    elif labelled is not None and sum(there.values()) != labelled:
        doubts.append(f"{sum(there.values()):,} pixels are labelled, {labelled:,} in the published file")
    return [f"Warning: {path} may be another version, for {' and '.join(doubts)}."] if doubts else []


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
    return entry.embedded or all(_present(name, file, folder) for file in entry.files)


def _present(name: str, file: SceneFile | PlacedFile, folder: Path) -> list[Path]:
    return [place for place in (folder / file.name, folder / name / file.name) if place.exists()]


def _located(name: str, entry: CatalogueEntry, data_dir: Path | None) -> list[Path]:
    """Find the files in `data_dir` (or the cache) or its subfolder `name`; download what is missing, where possible."""
    if data_dir is not None and not data_dir.is_dir():
        raise SceneError(f"data_dir={data_dir} is no folder; create it, or leave data_dir out to use {cache_folder()}.")
    folder = cache_folder() if data_dir is None else data_dir
    found, downloaded = [], False
    for file in entry.files:
        if present := _present(name, file, folder):
            found.append(present[0])
        elif isinstance(file, PlacedFile):
            raise SceneError(_placing(name, entry, folder))
        else:
            found.append(download(DOWNLOAD_BASE, file, folder))
            downloaded = True
    if downloaded:
        print(f"{entry.title} from {entry.page}. Licence: {entry.licence}. Cite: {entry.citation}")
    return found


def _placing(name: str, entry: CatalogueEntry, folder: Path) -> str:
    missing = [file.name for file in entry.files if not _present(name, file, folder)]
    files = " and ".join([*([", ".join(missing[:-1])] if missing[1:] else []), missing[-1]])
    return (
        f"{entry.title} isn't downloaded, since no checksum of its files is known: put {files} from {entry.page} into "
        f"{folder}, or into another folder and set data_dir to it{entry.hint and '; '}{entry.hint}."
    )
