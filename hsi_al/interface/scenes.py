"""Loading scenes and dividing them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.active.parts import build_scene, divided, guard_of, reading_of, require_labels
from hsi_al.errors import ConfigurationError, SceneError
from hsi_al.interface.choices import LearnerChoice, as_learner
from hsi_al.interface.settings import configured, in_group, option_keys
from hsi_al.methods.own import Probabilistic
from hsi_al.pool.splits import Split
from hsi_al.scenes.catalogue import CATALOGUE
from hsi_al.scenes.custom import scene_of_arrays
from hsi_al.scenes.scene import Scene

IN_MEMORY = {"axes", "no_data", "scaling", "unlabelled", "ignore_labels", "bands", "memory_gb"}  # that arrays take, too


def load_scene(
    source: str | PathLike[str] | NDArray[Any],
    ground_truth: str | PathLike[str] | NDArray[Any] | None = None,
    *,
    name: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    classes: Sequence[int] | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    rgb_bands: Sequence[int] | None = None,
    wavelengths: ArrayLike | None = None,
    **options: Any,  # noqa: ANN401
) -> Scene:
    """Load a scene: by its name in the catalogue, from files, or from arrays.

    What is odd about the data is a Python warning, everything that was noticed is in `scene.notices`.

    Args:
        source: Name of a scene in the catalogue; or a file with a cube as `dataset=custom` takes it; or a cube
            (H, W, bands).
        ground_truth: File of the labels, an array, points or polygons; or labels (H, W), 0 = unlabelled.
        name: Name of the scene in titles; default: that of the catalogue or of the file.
        data_dir: Folder of the catalogue's files; default: the variable HSI_AL_DATA, else the user's cache.
        classes: Label values to keep; default: the catalogue's choice, or all.
        class_names: Label value -> name; or names in the order of `classes`, without these by ascending value.
        rgb_bands: Three bands of the false-colour picture, from 0.
        wavelengths: Band centres in nm, (bands,), of a cube in memory.
        options: Other keys `dataset.<name>` of the command line, such as `cube_key`, `axes`, `no_data`, `scaling`,
            `bands`, `ignore_labels`, `in_memory`.

    Raises:
        ConfigurationError: There is no such scene or option.
        SceneError: Files or arrays are no usable scene.
    """
    given: dict[str, Any]
    if isinstance(source, np.ndarray):
        given = {"classes": classes, "rgb_bands": rgb_bands}
        scene = _of_arrays(name or "scene", source, ground_truth, class_names, wavelengths, given, options)
    else:
        if wavelengths is not None or isinstance(ground_truth, np.ndarray):
            raise SceneError(
                f"{source} is read as the file says; read it yourself, and give cube, ground_truth and wavelengths as "
                "arrays."
            )
        folder = None if data_dir is None else str(data_dir)
        given = {"classes": classes, "rgb_bands": rgb_bands, "data_dir": folder}
        scene = _of_files(str(source), ground_truth, name, class_names, given, options)
    for notice in scene.notices:
        if notice.startswith("Warning: "):
            warnings.warn(notice.removeprefix("Warning: "), stacklevel=2)
    return scene


def _of_files(
    source: str,
    ground_truth: str | PathLike[str] | None,
    name: str | None,
    class_names: Mapping[int, str] | Sequence[str] | None,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Scene:
    keys = in_group("dataset", {key: value for key, value in {**given, **options}.items() if value is not None})
    if "dataset.data_dir" in keys:
        keys["data_dir"] = keys.pop("dataset.data_dir")
    in_catalogue = source in CATALOGUE
    looks_like_file = Path(source).suffix or len(Path(source).parts) > 1 or Path(source).exists()
    if in_catalogue or not looks_like_file:
        chosen = option_keys("dataset", source) | ({} if ground_truth is None else _truth(ground_truth))
        chosen |= {"dataset.name": source}
    else:
        chosen = option_keys("dataset", "custom")
        chosen |= {"dataset.name": name or Path(source).stem, "dataset.cube_file": source}
        chosen |= {} if ground_truth is None else _truth(ground_truth)
    mapping = isinstance(class_names, Mapping)
    afterwards = mapping and (in_catalogue or "labels" in options)  # where others say what the classes are
    if isinstance(class_names, Mapping) and not afterwards:
        chosen["dataset.class_names"] = {int(value): str(label) for value, label in class_names.items()}
    elif class_names is not None and not mapping:
        chosen["dataset.class_names"] = list(class_names)
    config = configured(chosen | keys)
    scene = replace(build_scene(config), settings=config.dataset)
    if isinstance(class_names, Mapping) and afterwards:
        scene = replace(scene, class_names=scene.class_names | dict(class_names))
    return scene if name is None else replace(scene, name=name)


def _truth(ground_truth: str | PathLike[str]) -> dict[str, str]:
    return {"dataset.ground_truth_file": str(ground_truth)}


def _of_arrays(
    name: str,
    cube: NDArray[Any],
    ground_truth: str | PathLike[str] | NDArray[Any] | None,
    class_names: Mapping[int, str] | Sequence[str] | None,
    wavelengths: ArrayLike | None,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Scene:
    if isinstance(ground_truth, str | PathLike):
        raise SceneError(
            f"The cube is an array, but the ground truth is the file {ground_truth}; give both as files, or both as "
            "arrays."
        )
    if unknown := options.keys() - IN_MEMORY:
        raise ConfigurationError(
            f"{' and '.join(sorted(unknown))} say nothing about arrays; of the keys of dataset these do: "
            f"{', '.join(sorted(IN_MEMORY))}."
        )
    chosen = option_keys("dataset", "custom") | {"dataset.name": name}
    keys = {key: value for key, value in {**given, **options}.items() if value is not None}
    dataset = configured(chosen | in_group("dataset", keys)).dataset
    reading = reading_of(dataset, in_memory=True)
    scene = scene_of_arrays(
        name, cube, ground_truth, dataset.classes, class_names, dataset.rgb_bands, wavelengths, reading
    )
    return replace(scene, settings=dataset)


def make_split(
    scene: Scene,
    kind: str = "holdout",
    *,
    learner: "str | LearnerChoice | Probabilistic | type[Probabilistic]" = "profile_trees",
    test: NDArray[np.bool_] | None = None,
    **options: Any,  # noqa: ANN401
) -> Split:
    """Divide the labelled pixels of a scene into candidates, which may be labelled, and test pixels.

    Args:
        scene: A scene with labels.
        kind: `paper`, `holdout`, `blocks`, `checkerboard`, `fields`, or `given` with `test`.
        learner: The learner, whose window is the default guard of `blocks` and `checkerboard`.
        test: Which pixels test, (H, W), for `kind="given"`.
        options: Other keys `split.<name>` of the command line: `seed`, `fold`, `fraction`, `block_size`, `guard`,
            `new_ground`; and `patch_size`, part of the default guard.

    Raises:
        ConfigurationError: There is no such split or option.
        PoolError: A side is left empty.
        SceneError: The scene has no labels, or `test` has another shape.
    """
    require_labels(scene)
    chosen, method = as_learner(learner).settled()
    if test is not None:
        mask = np.asarray(test)
        if mask.shape != (scene.height, scene.width) or mask.dtype != np.bool_:
            raise SceneError(
                f"test has shape {mask.shape} and type {mask.dtype}; a mask of shape {(scene.height, scene.width)} and "
                "type bool is needed."
            )
        scene = replace(scene, test_pixels=mask)
    keys = in_group("split", options)
    if others := sorted(key for key in keys if not key.startswith("split.") and key != "patch_size"):
        raise ConfigurationError(
            f"A scene is divided by keys of split, and by patch_size as their default guard; leave out "
            f"{' and '.join(others)} here."
        )
    keys = chosen | option_keys("split", kind) | keys
    config = configured(keys | {"dataset.name": scene.name}, method)
    split = divided(config, scene, method)
    if kind in ("blocks", "checkerboard"):  # the guard of this learner, whichever is tested with the split
        config.split.guard = guard_of(config, method)
    return replace(split, settings=config.split)
