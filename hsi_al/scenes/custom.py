"""Loading of a scene of one's own from files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows, require_real
from hsi_al.scenes.bands import Wanted, chosen_bands, of_bands, ranges
from hsi_al.scenes.checks import checked_wavelengths, require_classes
from hsi_al.scenes.preparation import EmptyBandsError, Prepared, prepared
from hsi_al.scenes.readers import loaded_rows
from hsi_al.scenes.scene import Scene, is_scene_file, load_scene
from hsi_al.scenes.stored import StoredCube, arranged, cube_rows
from hsi_al.scenes.truth import Truth, as_map, joined, labels_in, read_labels, truth_shape, vector_truth
from hsi_al.scenes.vectors import is_vector


@dataclass(frozen=True)
class Reading:
    """How the arrays of a custom scene are read.

    Attributes:
        in_memory: Whether to read the whole cube into memory; False leaves it in its file.
        axes: Order of the cube's axes in its file: H rows, W columns, B bands.
        no_data: Values that stand for missing data; None = what the file says.
        scaling: See `hsi_al.scenes.preparation.prepared`.
        unlabelled: Value of unlabelled pixels; unless it is 0, 0 is a class.
        ignored: Label values whose pixels count as unlabelled, too.
        bands: Bands to use, see `bands.chosen_bands`.
        label_field: Field of points and polygons that holds the class; None = the only one.
        test_file: File of labels that only test; None = there is none.
        test_key: Key or layer of these labels.
        test_field: Their field of points and polygons; None = `label_field`.
    """

    in_memory: bool = True
    axes: str = "HWB"
    no_data: Sequence[float] | None = None
    scaling: str = "minmax"
    unlabelled: int = 0
    ignored: Sequence[int] = ()
    bands: Wanted | None = None
    label_field: str | None = None
    test_file: Path | None = None
    test_key: str | None = None
    test_field: str | None = None


OF_ARRAYS = {  # key -> what it says about arrays that a scene file has in their final form
    **{f"dataset.{name}": name for name in ("axes", "bands", "label_field")},
    **{f"dataset.{name}": name for name in ("test_file", "test_key", "test_field")},
    "dataset.ignore_labels": "ignored",
}


def load_custom_scene(
    name: str,
    cube_file: Path,
    cube_key: str | None = None,
    ground_truth_file: Path | None = None,
    ground_truth_key: str | None = None,
    classes: Sequence[int] | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    rgb_bands: Sequence[int] | None = None,
    reading: Reading = Reading(),
) -> Scene:
    """Load a custom scene from arrays in files, or from a file written by `save_scene`.

    Args:
        name: Name of the scene in messages and run files.
        cube_file: File of the cube (H, W, B); or a file written by `save_scene`, if `cube_key`, `ground_truth_file`
            and `ground_truth_key` are None.
        cube_key: Key of the cube; needed if the file holds several arrays.
        ground_truth_file: File of the ground truth (H, W), or of points and polygons; None = `cube_file` if there is
            a `ground_truth_key`, else the scene has no labels.
        ground_truth_key: Key of the ground truth; needed if its file holds several arrays. The layer of points and
            polygons.
        classes: Label values to keep, as the file has them; None keeps all.
        class_names: Label value -> name; or the names in the order of `classes`, without these by ascending value.
        rgb_bands: Bands (from 0) shown as red, green and blue in a false-colour picture.
        reading: How the arrays are read.

    Raises:
        SceneError: A file can't be read, its arrays are no usable scene, a class is absent, or the number of names
            differs from the number of classes.
    """
    cube_file = Path(cube_file)
    given = (cube_key, ground_truth_file, ground_truth_key)
    zero = 0
    if given == (None, None, None) and is_scene_file(cube_file):
        if odd := [key for key, name in OF_ARRAYS.items() if getattr(reading, name) != getattr(Reading, name)]:
            raise SceneError(
                f"{cube_file} is a scene file, which is taken as it is; leave out {' and '.join(odd)}, or name its "
                "arrays: dataset.cube_key=cube dataset.ground_truth_key=ground_truth."
            )
        scene = scaled(replace(load_scene(cube_file, reading.in_memory), name=name), reading)
    else:
        truth_file = ground_truth_file or (None if ground_truth_key is None else cube_file)
        scene, zero = _scene_of_files(name, cube_file, cube_key, truth_file, ground_truth_key, reading)
    return _described(scene, zero, classes, class_names, rgb_bands)


def scene_of_arrays(
    name: str,
    cube: NDArray[Any],
    ground_truth: NDArray[Any] | None = None,
    classes: Sequence[int] | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    rgb_bands: Sequence[int] | None = None,
    wavelengths: ArrayLike | None = None,
    reading: Reading = Reading(),
) -> Scene:
    """Make a scene of arrays in memory, as `load_custom_scene` does of those in files.

    Args:
        name: Name of the scene in messages and run files.
        cube: The cube (H, W, B), or in the order `reading.axes`.
        ground_truth: Labels (H, W); None = the scene has none.
        classes: Label values to keep; None keeps all.
        class_names: Label value -> name; or the names in the order of `classes`, without these by ascending value.
        rgb_bands: Bands (from 0) shown as red, green and blue.
        wavelengths: Band centres (B,) in nm, of all bands of `cube`.
        reading: What is done to the arrays; its entries about files are ignored.

    Raises:
        SceneError: The arrays are no usable scene, a class is absent, or the number of names differs from the number of
            classes.
    """
    held = _rows_of("cube", cube)
    if wavelengths is not None:
        held = replace(held, wavelengths=tuple(np.asarray(wavelengths, np.float64).tolist()))
    if ground_truth is None:
        scene, zero = _scene_of_rows(
            name, held, None, lambda rows: (Truth(np.zeros(rows.shape[:2], np.uint8)), None), reading
        )
    else:
        truth = _rows_of("ground_truth", ground_truth)

        def labels(rows: Rows) -> tuple[Truth, None]:
            found = labels_in(name, truth, rows, reading.unlabelled, reading.ignored)
            require_classes(name, found.labels)
            return found, None

        scene, zero = _scene_of_rows(name, held, as_map(name, truth, []).shape, labels, reading)
    return _described(scene, zero, classes, class_names, rgb_bands)


def _rows_of(name: str, array: NDArray[Any]) -> Rows:
    """An array in memory as an open one; `name` stands for its file in messages."""
    if np.ma.isMaskedArray(array):  # NumPy would drop the mask
        raise SceneError(
            f"{name}: masked arrays aren't read; give array.filled(value), with no_data=[value] for a cube, and 0 as "
            "the value for labels."
        )
    values = np.asarray(array)
    require_real(Path(name), None, values.dtype)
    return Rows(Path(name), values.shape, values.dtype, lambda rows, columns: values[rows, columns])


def _described(
    scene: Scene,
    zero: int,
    classes: Sequence[int] | None,
    class_names: Mapping[int, str] | Sequence[str] | None,
    rgb_bands: Sequence[int] | None,
) -> Scene:
    """The scene with what a user says about it; `zero` stands for the file's class 0."""
    values = set(scene.label_values.tolist())
    if classes is not None:
        scene = scene.keeping(zero if value == 0 else value for value in classes)
    described: dict[str, Any] = {} if rgb_bands is None else {"rgb_bands": rgb_bands}
    if class_names is not None:
        names = _named(scene, class_names, classes, zero)
        described["class_names"] = scene.class_names | names
        if values and (absent := sorted(set(names) - values - {0})):  # 0 may name the unlabelled pixels
            given = ", ".join("0" if value == zero else str(value) for value in absent)
            told = f"Warning: class_names names {given}, which no pixel has as its label."
            described["notices"] = (*scene.notices, told)
    return replace(scene, **described)


def _named(
    scene: Scene, names: Mapping[int, str] | Sequence[str], classes: Sequence[int] | None, zero: int
) -> dict[int, str]:
    """Label value -> name, where `zero` stands for the file's class 0."""
    if not isinstance(names, Mapping):
        # The file's order: its class 0 comes first.
        values = sorted(scene.label_values.tolist(), key=lambda value: 0 if value == zero else value)
        values = values if classes is None else list(classes)
        if len(names) != len(values):
            raise SceneError(
                f"dataset.class_names holds {len(names)} names, but {scene.name} has the {len(values)} label values "
                f"{[0 if value == zero else value for value in values]}; give one name for each, in this order."
            )
        names = dict(zip(values, names, strict=True))
    return {zero if int(value) == 0 else int(value): label for value, label in names.items()}


def _scene_of_files(
    name: str, cube_file: Path, cube_key: str | None, truth_file: Path | None, truth_key: str | None, reading: Reading
) -> tuple[Scene, int]:
    """The scene, and the label value that stands for the file's class 0."""
    if is_vector(cube_file):
        raise SceneError(
            f"{cube_file} holds points or polygons, not a cube; give the image in dataset.cube_file, and this file in "
            "dataset.ground_truth_file."
        )
    truth_is_array = truth_file is not None and not is_vector(truth_file)
    shape = truth_shape(name, truth_file, truth_key) if truth_file is not None and truth_is_array else None
    rows = loaded_rows(cube_file, cube_key) if reading.in_memory else cube_rows(cube_file, cube_key)

    def labels(arranged_rows: Rows) -> tuple[Truth, NDArray[np.bool_] | None]:
        truth, tests = _labels(name, truth_file, truth_key, arranged_rows, reading)
        if truth_file is not None:
            require_classes(name, truth.labels)
        return truth, tests

    return _scene_of_rows(name, rows, shape, labels, reading)


def _scene_of_rows(
    name: str,
    rows: Rows,
    shape: tuple[int, ...] | None,
    labels: Callable[[Rows], tuple[Truth, NDArray[np.bool_] | None]],
    reading: Reading,
) -> tuple[Scene, int]:
    """The scene of an open cube, and the label value that stands for class 0.

    Args:
        name: Name of the scene.
        rows: The cube as it is held.
        shape: Shape of the labels; None = unknown.
        labels: Function of the arranged cube that returns its labels, and which of them only test.
        reading: How the arrays are read.
    """
    no_data = reading.no_data
    if no_data is None:
        no_data = () if rows.no_data is None else (rows.no_data,)
    whole, said = arranged(name, rows, reading.axes, shape)
    notices = list(whole.notices)
    if whole.wavelengths is not None:
        checked_wavelengths(name, whole.wavelengths, whole.shape[2])
    chosen = chosen_bands(whole, reading.bands)
    if reading.bands is None and len(chosen) < whole.shape[2]:
        n_bad = whole.shape[2] - len(chosen)
        said.append(f"{n_bad} of {whole.shape[2]} bands are bad, says the file; they are left out.")

    def prepared_bands(numbers: list[int]) -> tuple[Rows, Prepared]:
        part = of_bands(whole, numbers)
        raw = StoredCube(part)
        cube = part.read(0, raw.shape[0]) if reading.in_memory else raw
        return part, prepared(name, cube, no_data, reading.scaling, reading.no_data is None, numbers)

    truth, tests = labels(of_bands(whole, chosen))
    empty: list[int] = []
    try:
        rows, found = prepared_bands(chosen)
    except EmptyBandsError as error:
        if reading.bands is not None and isinstance(reading.bands[0], int):
            raise
        empty = [chosen[place] for place in error.places]
    if empty:  # not inside of `except`, which keeps the cube in memory
        chosen = [band for band in chosen if band not in empty]
        rows, found = prepared_bands(chosen)
        said.append(
            f"{len(empty)} of {whole.shape[2]} bands hold no data in any pixel: {ranges(empty)} (from 0); they are "
            "left out."
        )
    notices += [*said, *found.notices, *truth.notices]
    if truth.zero:
        notices.append(
            f"The label 0 is a class here; run files and maps hold it as {truth.zero}, since 0 marks unlabelled pixels."
        )
    wavelengths = None if rows.wavelengths is None else np.asarray(rows.wavelengths)
    bands = None if chosen == list(range(whole.shape[2])) else (*chosen, whole.shape[2])
    scene = Scene(
        name,
        found.source,
        truth.labels,
        truth.names,
        wavelengths=wavelengths,
        rgb_bands=rows.rgb_bands,
        georeference=rows.georeference,
        bands=bands,
        test_pixels=tests,
    )
    return _prepared_scene(scene, found, notices), truth.zero


def _labels(
    name: str, truth_file: Path | None, truth_key: str | None, rows: Rows, reading: Reading
) -> tuple[Truth, NDArray[np.bool_] | None]:
    """The labels, and which of them only test; None = no file says so."""
    if truth_file is None:
        if reading.test_file is not None:
            raise SceneError(
                "dataset.test_file holds labels that only test; give those to learn from in dataset.ground_truth_file."
            )
        return Truth(np.zeros(rows.shape[:2], np.uint8)), None
    files = [file for file in (truth_file, reading.test_file) if file is not None]
    if reading.label_field is not None and not any(map(is_vector, files)):
        raise SceneError(
            f"dataset.label_field={reading.label_field} names a field of points or polygons, but {truth_file} is none "
            "of them; leave it out."
        )
    if reading.test_field is not None and not (reading.test_file and is_vector(reading.test_file)):
        raise SceneError(
            f"dataset.test_field={reading.test_field} names a field of points or polygons in dataset.test_file, which "
            "there isn't; leave it out."
        )
    truth = _labels_of(name, truth_file, truth_key, rows, reading)
    if reading.test_file is None:
        return truth, None
    own = replace(reading, label_field=reading.test_field or reading.label_field)
    try:
        test = _labels_of(name, reading.test_file, reading.test_key, rows, own)
    except SceneError as error:
        raise SceneError(str(error).replace("dataset.label_field", "dataset.test_field")) from error
    return joined(truth, test, str(reading.test_file))


def _labels_of(name: str, path: Path, key: str | None, rows: Rows, reading: Reading) -> Truth:
    if is_vector(path):
        if reading.unlabelled:
            raise SceneError(
                f"dataset.unlabelled={reading.unlabelled} goes with labels in an array; of the features of {path} "
                "those with class 0 have none: leave it out, and give classes numbers from 1 or names."
            )
        drawn = vector_truth(path, key, reading.label_field, rows.georeference, (rows.shape[0], rows.shape[1]))
        ignored = [] if drawn.names else list(reading.ignored)  # text classes have numbers of our own
        return replace(drawn, labels=drawn.labels * ~np.isin(drawn.labels, ignored))
    return read_labels(name, path, key, rows, reading.unlabelled, reading.ignored)


def scaled(scene: Scene, reading: Reading) -> Scene:
    """The scene with the values of its cube prepared."""
    if reading.no_data is None and reading.scaling == "minmax":
        return scene
    found = prepared(scene.name, scene.source, reading.no_data or (), reading.scaling)
    return _prepared_scene(replace(scene, source=found.source), found, found.notices)


def _prepared_scene(scene: Scene, found: Prepared, notices: Sequence[str]) -> Scene:
    if found.no_data is not None and (lost := int((scene.ground_truth[found.no_data] > 0).sum())):
        if lost == np.count_nonzero(scene.ground_truth):
            raise SceneError(
                f"Scene {scene.name!r}: all {lost:,} labelled pixels have no data, so nothing is left to learn from; "
                "check dataset.no_data, and that cube and labels are of the same scene."
            )
        notices = [*notices, f"Warning: {lost:,} labelled pixels have no data and count as unlabelled."]
    return replace(
        scene,
        no_data=found.no_data,
        preparation=found.preparation,
        notices=tuple(notices),
        sample=found.sample,
    )
