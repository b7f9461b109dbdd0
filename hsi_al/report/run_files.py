"""What the figures need from a run directory, read and checked."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hsi_al.errors import RunDirectoryError

Ints = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]
MOST_PIXELS = 2**21  # of a map that are read and drawn: several times what a picture shows


@dataclass(frozen=True)
class Overlap:
    """Held-out pixels inside training patches of a side (None: a learner without patches), and all held-out ones."""

    patch_size: int | None
    initial: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)

    @property
    def last_percent(self) -> str:
        """Share after the last round so far, `-` without patches or held-out pixels."""
        inside, heldout = self.last
        return f"{100 * inside / heldout:.1f}" if self.patch_size is not None and heldout else "-"

    def sentence(self) -> str:
        """What a reader of the held-out accuracies must know."""
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
    """The title of a run, its class names by label value, its state (`running` or `finished`), and its learner.

    `stopped` says why a run ended before its last round, if it did. Runs of earlier versions don't say how test pixels
    and patches overlap.
    """

    title: str
    class_names: dict[int, str]
    state: str = "unknown"
    learner: str = ""
    overlap: Overlap | None = None
    stopped: str = ""


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices (rounds, C, C), rows = truth, columns = prediction, and the label values (C,)."""

    all: Ints
    heldout: Ints
    label_values: Ints


@dataclass(frozen=True)
class Pool:
    """Candidates (N,): pixel id = row * W + column, and the round of their label (-1 = unlabelled, 0 = initial)."""

    pixel_id: Ints
    labelled_at: Ints


@dataclass(frozen=True)
class Predictions:
    """Maps of label values (h, w), 0 = not predicted or background, and the false colour image (h, w, 3).

    They are `thinned` where the scene, of the given shape (H, W), is huge.
    """

    class_map: Ints
    ground_truth: Ints | None
    rgb: Image
    shape: tuple[int, int]


def read_meta(run_dir: Path) -> Meta:
    """Read title and class names from `meta.json`."""
    path = run_dir / "meta.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        names = {int(value): str(name) for value, name in meta["class_names"].items()}
        return Meta(
            str(meta.get("title", run_dir.name)),
            names,
            str(meta.get("state", "unknown")),
            str(meta.get("learner", "")),
            _overlap(meta.get("test_pixels_in_training_patches")),
            str((meta.get("stopped") or {}).get("reason", "")),
        )
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RunDirectoryError(
            f"{path} has no usable entry class_names or test_pixels_in_training_patches ({error})."
        ) from error


def _overlap(entry: dict[str, Any] | None) -> Overlap | None:
    if entry is None:
        return None
    if entry["patch_size"] is None:
        return Overlap(None)
    initial, last = ((int(entry[when]["inside"]), int(entry[when]["heldout"])) for when in ("initial", "last"))
    return Overlap(int(entry["patch_size"]), initial, last)


def read_confusions(run_dir: Path) -> Confusions:
    """Read `confusion.h5`."""
    path = run_dir / "confusion.h5"
    arrays = _arrays(path, {"all": 3, "heldout": 3, "label_values": 1})
    classes = len(arrays["label_values"])
    for name in ("all", "heldout"):
        shape = arrays[name].shape
        _require(shape[0] > 0 and shape[1:] == (classes, classes), path, f"{name} has shape {shape}, {classes} labels")
    return Confusions(**arrays)


def read_pool(run_dir: Path) -> Pool:
    """Read the pixels and their rounds from `pool.h5`."""
    path = run_dir / "pool.h5"
    arrays = _arrays(path, {"pixel_id": 1, "labelled_at": 1})
    _require(arrays["pixel_id"].shape == arrays["labelled_at"].shape, path, "pixel_id and labelled_at differ in length")
    return Pool(**arrays)


def read_predictions(run_dir: Path) -> Predictions | None:
    """Read `predictions.h5`; None where the protocol wrote none. A ground truth without any label counts as none."""
    path = run_dir / "predictions.h5"
    if not path.exists():
        return None
    arrays = _arrays(path, {"class_map": 2, "ground_truth": 2, "rgb": 3}, optional="ground_truth", read=thinned)
    rgb, class_map, ground_truth = arrays["rgb"], arrays["class_map"], arrays.get("ground_truth")
    _require(rgb.shape == (*class_map.shape, 3), path, f"rgb {rgb.shape} does not fit class_map {class_map.shape}")
    if ground_truth is not None:
        shape = ground_truth.shape
        _require(shape == class_map.shape, path, f"ground_truth {shape} does not fit class_map {class_map.shape}")
        ground_truth = ground_truth if ground_truth.any() else None
    with h5py.File(path, "r") as file:
        height, width = file["class_map"].shape
    return Predictions(class_map, ground_truth, rgb.astype(np.uint8), (height, width))


def thinning(height: int, width: int) -> int:
    """Every how many-th row and column of a map is enough for a picture."""
    return max(1, math.ceil(math.sqrt(height * width / MOST_PIXELS)))


def thinned(picture: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    """A map or image (H, W, ...) in an array or an HDF5 data set, (h, w, ...); see `thinning`."""
    height, width = (*picture.shape, 1, 1)[:2]
    step = thinning(height, width)
    if step == 1:
        return np.asarray(picture[()])
    rows = step * max(1, MOST_PIXELS // (step * width))  # part by part, since HDF5 is slow at steps
    return np.concatenate([picture[first : first + rows][::step, ::step] for first in range(0, height, rows)])


def whole(data: h5py.Dataset) -> npt.NDArray[Any]:
    """All of a data set."""
    return np.asarray(data[()])


def _arrays(
    path: Path,
    dimensions: dict[str, int],
    optional: str = "",
    read: Callable[[h5py.Dataset], npt.NDArray[Any]] = whole,
) -> dict[str, Ints]:
    """Read the named data sets as int64, each with its number of dimensions."""
    arrays = {}
    try:
        with h5py.File(path, "r") as file:
            for name in dimensions:
                if name in file or name != optional:
                    arrays[name] = read(file[name]).astype(np.int64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path} cannot be read: {error}.") from error
    for name, array in arrays.items():
        _require(array.ndim == dimensions[name], path, f"{name} has shape {array.shape}, not {dimensions[name]} axes")
    return arrays


def _require(fits: bool, path: Path, complaint: str) -> None:
    if not fits:
        raise RunDirectoryError(f"{path} is malformed: {complaint}.")
