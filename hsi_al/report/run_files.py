"""Readers of the files of a run directory that reports need; contents are checked."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hsi_al.manifest import NAME, read_sealed, reading
from hsi_al.scenes.georeference import Georeference

Ints = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]
COUNTED = {"inside", "heldout"}  # of the entry test_pixels_in_training_patches
MOST_PIXELS = 2**21  # most pixels of a map that are drawn: several times as many as a picture shows


@dataclass(frozen=True)
class Overlap:
    """How many held-out pixels lie inside the training patches of a run.

    Attributes:
        patch_size: Side of the patches in pixels; None for a learner without patches.
        initial: Held-out pixels inside patches and all held-out pixels, after the initial labels.
        last: The same two numbers after the last round so far.
    """

    patch_size: int | None
    initial: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)

    @property
    def last_percent(self) -> str:
        """Percentage after the last round so far; `-` without patches or held-out pixels."""
        inside, heldout = self.last
        return f"{100 * inside / heldout:.1f}" if self.patch_size is not None and heldout else "-"

    def sentence(self) -> str:
        """Return the overlap in words, which readers of the held-out accuracies need to know."""
        if self.patch_size is None:
            return "This learner cuts no training patches: no overlap to count, though its features may use neighbours."
        parts = [
            f"{inside:,} of {heldout:,}" + (f" ({100 * inside / heldout:.1f} %)" if heldout else "")
            for inside, heldout in (self.initial, self.last)
        ]
        return (
            f"Test pixels inside a training patch ({self.patch_size} x {self.patch_size}): {parts[0]} after the "
            f"initial labels, {parts[1]} after the last round."
        )


@dataclass(frozen=True)
class Meta:
    """The entries of a run's meta.json that reports use.

    Attributes:
        title: Title of the run, its settings separated by commas.
        class_names: Class names by label value.
        state: `running` or `finished`; `unknown` if the file doesn't say.
        learner: Description of the learner.
        overlap: Held-out pixels inside training patches; None for runs of versions that didn't count them.
        stopped: Why the run ended before its last round; empty if it didn't.
        filtered: Accuracies of the filtered map, by the names of the curve's columns; None without such a map.
        labels_by: Who asked the initial labels that come from another run; empty for a draw.
        georeference: Where the scene lies; None = unknown.
    """

    title: str
    class_names: dict[int, str]
    state: str = "unknown"
    learner: str = ""
    overlap: Overlap | None = None
    stopped: str = ""
    filtered: dict[str, float] | None = None
    labels_by: str = ""
    georeference: Georeference | None = None


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices of all rounds, rows = truth, columns = prediction.

    Attributes:
        all: Counts over all pixels with ground truth, (rounds, C, C).
        heldout: Counts over the held-out pixels, (rounds, C, C).
        label_values: Label value of each class, (C,).
    """

    all: Ints
    heldout: Ints
    label_values: Ints


@dataclass(frozen=True)
class Pool:
    """The candidates of a run.

    Attributes:
        pixel_id: row * W + column, (N,).
        labelled_at: Round in which the pixel was labelled, (N,): -1 = unlabelled, 0 = initial.
    """

    pixel_id: Ints
    labelled_at: Ints


@dataclass(frozen=True)
class Committed(Pool):
    """The candidates of a run with their labels.

    Attributes:
        label: Original label value, (N,): 0 = unlabelled.
        next_round: Number of committed rounds.
    """

    label: Ints
    next_round: int


@dataclass(frozen=True)
class Predictions:
    """Maps and image of a scene; in a scene of more than `MOST_PIXELS` pixels they are `thinned`.

    Attributes:
        class_map: Predicted label values, (h, w); 0 = not predicted.
        ground_truth: True label values, (h, w); 0 = background. None without any label.
        rgb: False colour image, (h, w, 3).
        shape: Shape (H, W) of the whole scene.
        filtered_map: Class map after a filter, (h, w); None without one.
    """

    class_map: Ints
    ground_truth: Ints | None
    rgb: Image
    shape: tuple[int, int]
    filtered_map: Ints | None = None


def is_counts(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a table of whole numbers from 0."""
    return isinstance(value, dict) and all(type(number) is int and number >= 0 for number in value.values())


def is_class_names(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a table of names by whole label values above 0."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(
            key.isdecimal() and len(key) < 19 and int(key) > 0 and isinstance(name, str) for key, name in value.items()
        )
    )


def is_overlap(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is an entry `test_pixels_in_training_patches`."""
    if value is None:
        return True
    if not isinstance(value, dict) or value.get("patch_size", "") is None:
        return isinstance(value, dict)
    parts = (value.get("initial"), value.get("last"))
    return is_number(value.get("patch_size")) and all(is_counts(part) and set(part or ()) >= COUNTED for part in parts)


def is_number(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a whole number from 0."""
    return type(value) is int and value >= 0


def is_filtered(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a table of the accuracies of a filtered map, or None."""
    return value is None or (
        isinstance(value, dict)
        and {"oa_all", "changed"} <= value.keys()
        and all(type(number) in (int, float) and math.isfinite(number) for number in value.values())
    )


def is_statistics(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value holds two lists of as many finite numbers."""
    return (
        isinstance(value, list)
        and [type(part) for part in value] == [list, list]
        and len(value[0]) == len(value[1])
        and all(type(number) in (int, float) and math.isfinite(number) for number in (*value[0], *value[1]))
    )


def is_stop(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is an entry `stopped`: None, or a table of round and reason."""
    return value is None or (
        isinstance(value, dict) and is_number(value.get("round", 0)) and isinstance(value.get("reason"), str)
    )


def is_source(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is an entry `labels_from`: None, or a table of texts and a number of labels."""
    return value is None or (
        isinstance(value, dict)
        and is_number(value.get("labels"))
        and all(isinstance(value.get(name), str) for name in ("path", "sha256", "asked_by"))
    )


def is_georeference(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is None or what `Georeference.to_json` gives, with pixels that have an area."""
    try:
        found = Georeference.from_json(value)
        return found is None or math.isfinite(sum(found.inverse))
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return False


def is_spectrum(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a list of numbers, one for each band."""
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)


# The entries of meta.json that are read, each with its check.
ENTRIES: dict[str, Callable[[Any], bool]] = {
    "state": lambda value: value in ("running", "finished"),
    "title": lambda value: isinstance(value, str),
    "learner": lambda value: isinstance(value, str),
    "wandb_id": lambda value: isinstance(value, str),
    "class_names": is_class_names,
    "n_bands": is_number,
    "rgb_bands": lambda value: isinstance(value, list) and len(value) == 3 and all(map(is_number, value)),
    "bands": lambda value: value is None or (isinstance(value, list) and all(map(is_number, value))),
    "georeference": is_georeference,
    "wavelengths": lambda value: value is None or is_spectrum(value),
    "test_pixels_in_training_patches": is_overlap,
    "stopped": is_stop,
    "labels_from": is_source,
    "preparation": lambda value: isinstance(value, dict),
    "filtered_map": is_filtered,
    "band_statistics": is_statistics,
    "calls": is_number,
    "wall_seconds": lambda value: type(value) in (int, float) and 0 <= value < math.inf,
}


def meta_entries(run_dir: Path, *needed: str) -> dict[str, Any]:
    """Read `meta.json` as a table whose entries have the types that they should have; {} without the file.

    Args:
        run_dir: The run directory.
        needed: Entries without which the file is of no use.

    Raises:
        RunDirectoryError: The file can't be read or is damaged, or a needed entry or the whole file is missing.
    """
    path = run_dir / "meta.json"
    with reading(path):
        content = read_sealed(path, needs_seal=(run_dir / NAME).exists())
        if content is None and needed:
            raise ValueError("there is no such file")
        content = content or {}
        if wrong := [name for name in ENTRIES if name in content and not ENTRIES[name](content[name])]:
            raise ValueError(f"no usable entry {', '.join(wrong)}")
        if missing := [name for name in needed if name not in content]:
            raise ValueError(f"no entry {', '.join(missing)}")
        return content


def read_meta(run_dir: Path) -> Meta:
    """Read the entries of `meta.json` that reports use.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    meta = meta_entries(run_dir, "class_names")
    return Meta(
        meta.get("title", run_dir.name),
        {int(value): name for value, name in meta["class_names"].items()},
        meta.get("state", "unknown"),
        meta.get("learner", ""),
        _overlap(meta.get("test_pixels_in_training_patches")),
        (meta.get("stopped") or {}).get("reason", ""),
        meta.get("filtered_map"),
        (meta.get("labels_from") or {}).get("asked_by", ""),
        Georeference.from_json(meta.get("georeference")),
    )


def _overlap(entry: dict[str, Any] | None) -> Overlap | None:
    if entry is None:
        return None
    if entry["patch_size"] is None:
        return Overlap(None)
    initial, last = ((entry[when]["inside"], entry[when]["heldout"]) for when in ("initial", "last"))
    return Overlap(entry["patch_size"], initial, last)


def read_confusions(run_dir: Path) -> Confusions:
    """Read the confusion matrices from `confusion.h5`.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    path = run_dir / "confusion.h5"
    arrays = _arrays(path, {"all": 3, "heldout": 3, "label_values": 1})
    classes = len(arrays["label_values"])
    for name in ("all", "heldout"):
        shape = arrays[name].shape
        require(
            shape[0] > 0 and shape[1:] == (classes, classes), path, f"{name} has shape {shape} for {classes} classes"
        )
    return Confusions(**arrays)


def read_pool(run_dir: Path) -> Pool:
    """Read the candidates and the rounds of their labels from `pool.h5`.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    path = run_dir / "pool.h5"
    arrays = _arrays(path, {"pixel_id": 1, "labelled_at": 1})
    require(arrays["pixel_id"].shape == arrays["labelled_at"].shape, path, "pixel_id and labelled_at differ in length")
    return Pool(**arrays)


def read_label_counts(run_dir: Path) -> dict[int, int]:
    """Return how many pixels of each label value are labelled in `pool.h5`.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    label = _arrays(run_dir / "pool.h5", {"label": 1})["label"]
    values, counts = np.unique(label[label != 0], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def read_committed(run_dir: Path) -> Committed:
    """Read the candidates, their labels and the number of committed rounds from `pool.h5`.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    path = run_dir / "pool.h5"
    arrays = _arrays(path, {"pixel_id": 1, "labelled_at": 1, "label": 1})
    lengths = {len(array) for array in arrays.values()}
    require(len(lengths) == 1, path, "pixel_id, labelled_at and label differ in length")
    with reading(path), h5py.File(path) as file:
        return Committed(**arrays, next_round=int(file.attrs["next_round"]))


def read_predictions(run_dir: Path) -> Predictions | None:
    """Read the maps from `predictions.h5`; None where the run wrote no such file.

    Raises:
        RunDirectoryError: The file can't be read or is malformed.
    """
    path = run_dir / "predictions.h5"
    if not path.exists():
        return None
    extra = ("ground_truth", "filtered_map")
    arrays = _arrays(path, {"class_map": 2, "rgb": 3} | dict.fromkeys(extra, 2), optional=extra, read=thinned)
    rgb, class_map, ground_truth = arrays["rgb"], arrays["class_map"], arrays.get("ground_truth")
    require(rgb.shape == (*class_map.shape, 3), path, f"rgb {rgb.shape} does not fit class_map {class_map.shape}")
    for name in arrays.keys() & set(extra):
        shape = arrays[name].shape
        require(shape == class_map.shape, path, f"{name} {shape} does not fit class_map {class_map.shape}")
    ground_truth = ground_truth if ground_truth is not None and ground_truth.any() else None
    with reading(path), h5py.File(path, "r") as file:
        height, width = file["class_map"].shape
    return Predictions(class_map, ground_truth, rgb.astype(np.uint8), (height, width), arrays.get("filtered_map"))


def thinning(height: int, width: int) -> int:
    """Return the step n of thinning: a picture needs only every n-th row and column of a map."""
    return max(1, math.ceil(math.sqrt(height * width / MOST_PIXELS)))


def thinned(picture: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return every n-th row and column (`thinning`) of a map or image (H, W, ...), as (h, w, ...).

    The picture is an array or an HDF5 data set.
    """
    height, width = (*picture.shape, 1, 1)[:2]
    step = thinning(height, width)
    if step == 1:
        return np.asarray(picture[()])
    rows = step * max(1, MOST_PIXELS // (step * width))  # read in parts, since HDF5 is slow at strided reads
    return np.concatenate([picture[first : first + rows][::step, ::step] for first in range(0, height, rows)])


def class_counts(class_map: Any) -> dict[int, int]:  # noqa: ANN401
    """Return label value -> pixels of a map (H, W) or (N,), an array or an HDF5 data set; 0 = not mapped is no class.

    Part by part, so that the memory doesn't grow with the map.
    """
    found: Counter[int] = Counter()
    rows = max(1, MOST_PIXELS // math.prod(class_map.shape[1:]))
    for first in range(0, len(class_map), rows):
        values, counts = np.unique(class_map[first : first + rows], return_counts=True)
        found.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return {value: found[value] for value in sorted(found) if value}


def whole(data: h5py.Dataset) -> npt.NDArray[Any]:
    """Read a whole data set."""
    return np.asarray(data[()])


def _arrays(
    path: Path,
    dimensions: dict[str, int],
    optional: tuple[str, ...] = (),
    read: Callable[[h5py.Dataset], npt.NDArray[Any]] = whole,
) -> dict[str, Ints]:
    """Read data sets as int64 and check their numbers of dimensions, given by name; some may be optional."""
    arrays = {}
    with reading(path), h5py.File(path, "r") as file:
        for name in dimensions:
            if name in file or name not in optional:
                arrays[name] = read(file[name]).astype(np.int64)
    for name, array in arrays.items():
        require(array.ndim == dimensions[name], path, f"{name} has shape {array.shape}, not {dimensions[name]} axes")
    return arrays


def require(fits: bool, path: Path, complaint: str) -> None:
    """Raise RunDirectoryError with the complaint about a file unless it `fits`."""
    with reading(path):
        if not fits:
            raise ValueError(complaint)
