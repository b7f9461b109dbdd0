"""The `Scene` class (cube, ground truth, class names), its false-colour picture, and its HDF5 file."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.config.schema import DatasetConfig
from hsi_al.errors import SceneError
from hsi_al.files import replacing_hdf5, storable
from hsi_al.scenes.arrays import blocks, reading
from hsi_al.scenes.checks import (
    checked_cube,
    checked_ground_truth,
    checked_rgb_bands,
    checked_wavelengths,
    require_distinct,
)
from hsi_al.scenes.formats.hdf5 import attribute, own_dataset, require_sound_heaps, values
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.preparation import Preparation, sampled
from hsi_al.scenes.readers import existing_file
from hsi_al.scenes.stored import StoredCube, stored_cube

FORMAT = "hsi_al scene 1"
MOST_VALUES = 2**16  # classes or bands of a scene file
RGB_WAVELENGTHS_NM = (650.0, 550.0, 450.0)
MOST_FOR_PERCENTILES = 2**22  # pixels; of a larger scene only every n-th row and column is used


@dataclass(frozen=True, eq=False)
class Scene:
    """A hyperspectral cube with a label for every pixel, or with none; a pixel id is `row * width + column`.

    Attributes:
        name: Name of the scene in messages and run files.
        source: The cube (H, W, B) in its original number type, or a `StoredCube` that reads it from its file.
        ground_truth: Original label values (H, W), 0 = unlabelled background, in the smallest unsigned type; 0
            everywhere for a scene without labels.
        class_names: Label value -> name, for the label values that occur; missing names become `class <value>`.
        wavelengths: Band centres (B,) in nm, when known.
        rgb_bands: Bands (from 0) shown as red, green and blue; None = see `colour_bands`.
        licence: Licence of the data.
        citation: Source to cite for the data.
        no_data: Pixels without data (H, W), which count as unlabelled; None = all pixels have data.
        preparation: What was done to the values that the file holds.
        notices: What a user has to know about the data, one sentence each.
        sample: Spectra of evenly spaced pixels with data, (n, B); None = taken from a cube in memory when needed.
        georeference: Where the scene lies; None = unknown.
        bands: Numbers (from 0) of the file's bands that the cube holds, followed by the number of all bands of the
            file; None = all, in the file's order.
        test_pixels: Pixels (H, W) whose labels only test the learner, as a file of them says; None = no file does.
        settings: The keys by which `load_scene` has loaded it; None = it came otherwise.

    Raises:
        SceneError: An array is invalid, the arrays do not fit together, or two classes have the same name.
    """

    name: str
    source: NDArray[Any] | StoredCube
    ground_truth: NDArray[np.integer[Any]]
    class_names: dict[int, str]
    wavelengths: NDArray[np.float64] | None = None
    rgb_bands: tuple[int, int, int] | None = None
    licence: str = ""
    citation: str = ""
    no_data: NDArray[np.bool_] | None = None
    preparation: Preparation = field(default_factory=Preparation)
    notices: tuple[str, ...] = ()
    sample: NDArray[Any] | None = None
    georeference: Georeference | None = None
    bands: tuple[int, ...] | None = None
    test_pixels: NDArray[np.bool_] | None = None
    settings: DatasetConfig | None = None

    def __post_init__(self) -> None:
        source = self.source if isinstance(self.source, StoredCube) else checked_cube(self.name, self.source)
        truth = self.ground_truth if self.no_data is None else np.where(self.no_data, 0, self.ground_truth)
        checked: dict[str, Any] = {
            "source": source,
            "ground_truth": checked_ground_truth(self.name, truth, source.shape),
        }
        if self.wavelengths is not None:
            checked["wavelengths"] = checked_wavelengths(self.name, self.wavelengths, source.shape[2])
        if self.rgb_bands is not None:
            checked["rgb_bands"] = checked_rgb_bands(self.name, self.rgb_bands, source.shape[2])
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        names = {value: self.class_names.get(value, f"class {value}") for value in self.label_values.tolist()}
        require_distinct(self.name, names)
        object.__setattr__(self, "class_names", names)

    def __repr__(self) -> str:
        return (
            f"<Scene {self.name}: {self.height} x {self.width} pixels, {self.n_bands} bands, {self.n_classes} classes, "
            f"{len(self.labelled_ids):,} labelled pixels>"
        )

    @property
    def cube(self) -> NDArray[Any]:
        """The cube in memory, (H, W, B).

        Raises:
            SceneError: The cube stays in its file.
        """
        if isinstance(self.source, StoredCube):
            raise SceneError(
                f"The cube of scene {self.name!r} stays in {self.source.rows.path}; load the scene with in_memory=True."
            )
        return self.source

    @property
    def height(self) -> int:
        """Number H of rows."""
        return int(self.source.shape[0])

    @property
    def width(self) -> int:
        """Number W of columns."""
        return int(self.source.shape[1])

    @property
    def n_bands(self) -> int:
        """Number B of bands."""
        return int(self.source.shape[2])

    @property
    def n_classes(self) -> int:
        """Number C of classes: label values that occur, without the background."""
        return len(self.label_values)

    @cached_property
    def label_values(self) -> NDArray[np.int64]:
        """Original label values that occur (C,), ascending, without 0."""
        return np.unique(self.ground_truth[self.ground_truth > 0]).astype(np.int64)

    @cached_property
    def labelled_ids(self) -> NDArray[np.int64]:
        """Pixel ids of all pixels with a label in the ground truth, ascending."""
        return np.flatnonzero(self.ground_truth).astype(np.int64, copy=False)

    def labels_of(self, pixel_ids: ArrayLike) -> NDArray[np.int64]:
        """Return the class indices of labelled pixels: 0 to C - 1, in ascending order of the label values.

        Raises:
            SceneError: A pixel lies outside the scene or is unlabelled.
        """
        ids = np.asarray(pixel_ids, dtype=np.int64)
        outside = (ids < 0) | (ids >= self.ground_truth.size)
        if outside.any():
            raise SceneError(
                f"Scene {self.name!r}: the pixel id {ids[outside][0]} lies outside its {self.height} x {self.width} "
                f"pixels; use ids from 0 to {self.ground_truth.size - 1}."
            )
        values = self.ground_truth.ravel()[ids]
        if not values.all():
            row, column = divmod(int(ids[values == 0][0]), self.width)
            raise SceneError(
                f"Scene {self.name!r}: {(values == 0).sum()} of {ids.size} pixels are unlabelled, the first in row "
                f"{row} and column {column}; take pixels from labelled_ids."
            )
        return np.searchsorted(self.label_values, values).astype(np.int64)

    def keeping(self, values: Iterable[int]) -> "Scene":
        """Return the scene with only these label values; pixels of all other classes become background.

        Raises:
            SceneError: A value is absent from the ground truth, or fewer than two classes remain.
        """
        listed = [int(value) for value in values]
        wanted = set(listed)
        if len(wanted) < len(listed):
            raise SceneError(
                f"Scene {self.name!r}: the classes to keep, {listed}, hold a label value twice; name it once."
            )
        absent = sorted(wanted.difference(self.label_values.tolist()))
        if absent:
            raise SceneError(
                f"Scene {self.name!r} has no label values {absent} to keep; it has {self.label_values.tolist()}."
            )
        kept = np.isin(self.ground_truth, sorted(wanted))
        return replace(self, ground_truth=np.where(kept, self.ground_truth, 0))

    def false_colour(self) -> NDArray[np.uint8]:
        """Return a false-colour picture (H, W, 3) of the `colour_bands`; pixels without data are black."""
        picture = false_colour(self.source, self.colour_bands)
        if self.no_data is not None:
            picture[self.no_data] = 0
        return picture

    @cached_property
    def band_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of every band over evenly spaced pixels with data, (B,) each."""
        sample = sampled(self.cube) if self.sample is None else self.sample
        return sample.mean(axis=0, dtype=np.float64), sample.std(axis=0, dtype=np.float64)

    @property
    def class_counts(self) -> list[tuple[int, str, int]]:
        """Value, name and number of labelled pixels of every class, by ascending value."""
        values, counts = np.unique(self.ground_truth[self.ground_truth > 0], return_counts=True)
        found = zip(values.tolist(), counts.tolist(), strict=True)
        return [(value, self.class_names[value], count) for value, count in found]

    @property
    def colour_bands(self) -> tuple[int, ...]:
        """Bands shown as red, green and blue: `rgb_bands`, else those nearest to 650, 550 and 450 nm.

        Without wavelengths, the bands at 75, 50 and 25 % of the spectrum.
        """
        if self.rgb_bands is not None:
            return self.rgb_bands
        if self.wavelengths is not None:
            return tuple(int(np.abs(self.wavelengths - colour).argmin()) for colour in RGB_WAVELENGTHS_NM)
        return tuple(int(fraction * self.n_bands) for fraction in (0.75, 0.5, 0.25))


def false_colour(cube: NDArray[np.generic] | StoredCube, bands: Sequence[int], thin: int = 1) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) of three bands, each stretched from its 2nd to its 98th percentile.

    Args:
        cube: The cube, (H, W, B).
        bands: Bands (from 0) shown as red, green and blue.
        thin: Only every n-th row and column is in the picture.
    """
    chosen = list(bands)
    channels = cube.bands(chosen, thin) if isinstance(cube, StoredCube) else cube[::thin, ::thin, chosen]
    height, width, _ = channels.shape
    step = math.ceil(math.sqrt(height * width / MOST_FOR_PERCENTILES))
    low, high = np.percentile(channels[::step, ::step].astype(np.float64), (2, 98), axis=(0, 1))
    span = np.where(high > low, high - low, 1.0)  # no division by zero for a constant band
    picture = np.empty(channels.shape, np.uint8)
    for first, last in blocks(height, max(1, MOST_FOR_PERCENTILES // width)):  # float64 only for a block
        stretched = np.clip((channels[first:last].astype(np.float64) - low) / span, 0, 1)
        picture[first:last] = np.rint(255 * stretched)
    return picture


def save_scene(scene: Scene, path: Path) -> None:
    """Write a scene to one HDF5 file; equal scenes give identical bytes.

    Raises:
        SceneError: Pixels have no data or only test, or values were prepared, which such a file doesn't say.
        OSError: The folder is missing or cannot be written; an existing file is left unchanged.
    """
    if scene.no_data is not None or scene.test_pixels is not None or not scene.preparation.changes_nothing:
        raise SceneError(
            f"Scene {scene.name!r} has pixels without data or only for tests, or values that were prepared, which a "
            "scene file can't say; save its arrays as they were, and name dataset.no_data, scaling and test_file."
        )
    # Several bands in full width compress best and are read whole anyway.
    chunks = tuple(min(size, most) for size, most in zip(scene.cube.shape, (256, 256, 8), strict=True))
    packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 9, "shuffle": True, "track_times": False}
    truth = scene.ground_truth.astype(np.min_scalar_type(int(scene.ground_truth.max())))
    names = np.array(storable(scene.class_names.values()), dtype=object)
    with replacing_hdf5(path) as file:
        file.create_dataset("cube", data=scene.cube, chunks=chunks, **packed)
        file.create_dataset("ground_truth", data=truth, chunks=truth.shape, **packed)
        file.create_dataset("label_values", data=scene.label_values, track_times=False)
        file.create_dataset("class_names", data=names, dtype=h5py.string_dtype("utf-8"), track_times=False)
        file.attrs.update(format=FORMAT, name=scene.name, licence=scene.licence, citation=scene.citation)
        if scene.rgb_bands is not None:
            file.attrs["rgb_bands"] = scene.rgb_bands
        if scene.georeference is not None:
            file.attrs["georeference"] = json.dumps(scene.georeference.to_json())
        if scene.wavelengths is not None:
            file.create_dataset("wavelengths", data=scene.wavelengths, track_times=False).attrs["unit"] = "nm"


def is_scene_file(path: Path) -> bool:
    """Return whether the file was written by `save_scene`, in any version of its format.

    Raises:
        SceneError: The file is missing, empty or damaged.
    """
    existing_file(path)
    if not h5py.is_hdf5(path):
        return False
    with reading(path), h5py.File(path, "r") as file:
        return str(attribute(file, "format")).startswith("hsi_al scene ")


def short(file: h5py.File, path: Path, key: str) -> NDArray[Any]:
    """Read a dataset of a scene file that has one value per class or per band."""
    dataset = own_dataset(file, path, key)
    if dataset.size > MOST_VALUES:
        raise SceneError(f"{path} holds no usable scene: {key!r} has the shape {dataset.shape}; write it again.")
    return values(path, dataset)


def load_scene(path: Path, in_memory: bool = True) -> Scene:
    """Read a scene written by `save_scene`; with `in_memory=False` its cube stays in the file.

    Raises:
        SceneError: The file is missing, empty, damaged, not written by `save_scene`, or holds no usable scene.
    """
    existing_file(path)
    if not h5py.is_hdf5(path):
        raise SceneError(f"{path} is no HDF5 file, so no file of save_scene; load its arrays with load_custom_scene.")
    with reading(path), h5py.File(path, "r") as file:
        require_sound_heaps(path)
        found = file.attrs.get("format")
        if found != FORMAT:
            raise SceneError(
                f"{path} has the format attribute {found!r} where a scene has {FORMAT!r}; "
                "write it with save_scene, or load its arrays with load_custom_scene and their keys."
            )
        values_of_labels, names_of_classes = (short(file, path, key) for key in ("label_values", "class_names"))
        names = dict(zip(values_of_labels.tolist(), (str(name, "utf-8") for name in names_of_classes), strict=True))
        return Scene(
            name=file.attrs["name"],
            source=values(path, own_dataset(file, path, "cube")) if in_memory else stored_cube(path, "cube"),
            ground_truth=values(path, own_dataset(file, path, "ground_truth")),
            class_names=names,
            wavelengths=short(file, path, "wavelengths") if "wavelengths" in file else None,
            rgb_bands=tuple(file.attrs["rgb_bands"].tolist()) if "rgb_bands" in file.attrs else None,
            licence=file.attrs["licence"],
            citation=file.attrs["citation"],
            georeference=Georeference.from_json(json.loads(file.attrs.get("georeference", "null"))),
        )
