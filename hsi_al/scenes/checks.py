"""Checks of a scene's cube, ground truth, wavelengths and colour bands; each SceneError names the way out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.config.schema import AXES
from hsi_al.errors import SceneError

Labels = NDArray[np.unsignedinteger[Any]]


def checked_cube(name: str, cube: ArrayLike) -> NDArray[Any]:
    """Return the cube (H, W, B) in C order and native byte order, with its number type unchanged.

    Raises:
        SceneError: The cube is not 3-D, is empty, holds no real numbers, NaN or infinite values, or the same spectrum
            everywhere.
    """
    array = finite_cube(name, cube)
    require_range(name, array.shape, array.min(), array.max())
    if array.shape[0] * array.shape[1] > 1 and all((row == array[0, 0]).all() for row in array):
        raise SceneError(
            f"Scene {name!r}: every pixel of the cube of shape {array.shape} has the same spectrum, so no learner can "
            "tell classes apart; check the cube's file, key and order of axes (rows, columns, bands)."
        )
    return array


def require_range(name: str, shape: tuple[int, ...], low: float, high: float) -> None:
    """Raise SceneError if all values of a cube of this shape are the same."""
    if low == high:
        raise SceneError(
            f"Scene {name!r}: every value of the cube of shape {shape} is {low}, "
            "so there is nothing to normalise; check the cube's file and key."
        )


def finite_cube(name: str, cube: ArrayLike) -> NDArray[Any]:
    """Return the cube as `checked_cube` does, but allow a constant one, such as a window of a larger cube.

    Raises:
        SceneError: The cube is not 3-D, is empty, holds no real numbers, NaN or infinite values.
    """
    array = np.asarray(cube)
    require_cube(name, array.shape, array.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SceneError(
            f"Scene {name!r}: the cube of shape {array.shape} holds {np.isnan(array).sum()} NaN and "
            f"{np.isinf(array).sum()} infinite values; drop their bands or replace the values before loading."
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def require_cube(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise SceneError if an array of this shape and type is no cube (H, W, B) of real numbers."""
    if dtype.kind not in "uif":
        raise SceneError(
            f"Scene {name!r}: the cube holds values of type {dtype}, real numbers are needed; "
            "convert it to an integer or floating type."
        )
    if len(shape) != 3 or 0 in shape:
        raise SceneError(
            f"Scene {name!r}: the cube has shape {shape}, a non-empty (height, width, bands) is needed; "
            "check the cube's file and key."
        )


def checked_ground_truth(name: str, ground_truth: ArrayLike, cube_shape: tuple[int, ...]) -> Labels:
    """Return the ground truth (H, W) in the smallest unsigned integer type; whole floating values (MATLAB) are allowed.

    Raises:
        SceneError: The ground truth is not 2-D, does not fit the cube, holds values other than whole numbers from 0,
            or labels one class alone.
    """
    array = np.asarray(ground_truth)
    require_map(name, array.shape, cube_shape)
    labels = whole_labels(name, array)
    if labels.any():
        require_classes(name, labels)
    return labels


def require_classes(name: str, labels: Labels) -> None:
    """Raise SceneError if a ground truth (H, W) labels fewer than two classes."""
    present = np.unique(labels[labels > 0])
    if present.size < 2:
        found = f"only the class {present[0]}" if present.size else "no class at all (every value is 0)"
        raise SceneError(
            f"Scene {name!r}: the ground truth of shape {labels.shape} labels {found}, two or more are needed; "
            "check dataset.ground_truth_file, dataset.ground_truth_key and dataset.classes."
        )


def require_map(
    name: str, shape: tuple[int, ...], cube_shape: tuple[int, ...], fitting: Sequence[str] | None = None
) -> None:
    """Raise SceneError if the shape of a ground truth isn't the (H, W) of the cube.

    `fitting` holds the orders of the cube's axes, such as BHW, that would fit; None = those of a cube in the order HWB.
    """
    if len(shape) != 2:
        raise SceneError(
            f"Scene {name!r}: the ground truth has shape {shape}, (height, width) is needed; "
            "check the ground truth's file and key."
        )
    if shape != cube_shape[:2]:
        if fitting is None:
            fitting = fitting_axes(cube_shape, shape)
        fits = " or ".join(f"dataset.axes={order}" for order in fitting)
        hint = f"{fits} would fit (H rows, W columns, B bands)" if fits else "check that both are of the same scene"
        raise SceneError(
            f"Scene {name!r}: the ground truth of shape {shape} does not fit the cube of shape {cube_shape}; {hint}."
        )


def fitting_axes(cube_shape: tuple[int, ...], truth_shape: tuple[int, ...]) -> list[str]:
    """Orders of the axes of a cube (three sizes) in which its rows and columns are those of the ground truth."""
    if len(cube_shape) != 3:
        return []
    return [axes for axes in AXES if (cube_shape[axes.index("H")], cube_shape[axes.index("W")]) == truth_shape]


def whole_labels(name: str, array: NDArray[Any]) -> Labels:
    """Return labels of any real type in the smallest unsigned integer type that holds them.

    Raises:
        SceneError: A value is no whole number from 0.
    """
    if array.dtype.kind not in "buif":
        raise SceneError(
            f"Scene {name!r}: the ground truth holds values of type {array.dtype}, whole numbers are needed; "
            "check the ground truth's file and key."
        )
    if array.dtype.kind in "bu" and array.dtype.itemsize < 8:
        return _compact(array)
    with np.errstate(invalid="ignore"):  # NaN and huge values differ after the cast and are refused below
        labels = array.astype(np.int64)
    wrong = (labels != array) | (labels < 0)
    if wrong.any():
        examples = ", ".join(str(value) for value in np.unique(array[wrong])[:5])
        raise SceneError(
            f"Scene {name!r}: the ground truth holds {wrong.sum()} labels that are no whole numbers from 0 "
            f"(such as {examples}); give every class a positive whole number and the background 0."
        )
    return _compact(labels)


def require_distinct(name: str, class_names: Mapping[int, str]) -> None:
    """Raise SceneError if two label values have the same class name."""
    owner: dict[str, int] = {}
    for value, label in class_names.items():
        if label in owner:
            raise SceneError(
                f"Scene {name!r}: the label values {owner[label]} and {value} are both named {label!r}; "
                "give each class a name of its own."
            )
        owner[label] = value


def label_warnings(ground_truth: Labels, stored: np.dtype[Any], zero: int = 0) -> list[str]:
    """Say which label values look like marks of unlabelled pixels.

    Args:
        ground_truth: Label values (H, W), 0 = unlabelled.
        stored: Type of the values in their file; its largest one is a usual mark.
        zero: The value that stands for the file's class 0, which is no mark; 0 = that is no class.
    """
    marks = {255, 65535, int(np.iinfo(stored).max) if stored.kind in "iu" else 255}
    values, counts = np.unique(ground_truth[ground_truth > 0], return_counts=True)
    rim = np.concatenate([ground_truth[0], ground_truth[-1], ground_truth[:, 0], ground_truth[:, -1]])
    warnings = []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        share, on_rim = count / ground_truth.size, float(np.mean(rim == value))
        if value == zero:
            continue
        if value in marks:
            why = f"is a usual mark of unlabelled pixels, but {count:,} pixels count as a class of it"
        elif share > 0.5 and on_rim > 0.9:
            why = f"covers {share:.0%} of the scene and {on_rim:.0%} of its rim, as unlabelled ground does"
        else:
            continue
        warnings.append(
            f"Warning: the label {value} {why}; to leave them out, set dataset.ignore_labels=[{value}], or "
            f"dataset.unlabelled={value} if 0 is a class."
        )
    return warnings


def _compact(labels: NDArray[Any]) -> Labels:
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))), copy=False)


def checked_wavelengths(name: str, wavelengths: ArrayLike, n_bands: int) -> NDArray[np.float64]:
    """Return the band centres (B,) in nm as float64.

    Raises:
        SceneError: There is not exactly one finite wavelength per band.
    """
    array = np.asarray(wavelengths, dtype=np.float64)
    if array.shape != (n_bands,) or not np.isfinite(array).all():
        raise SceneError(
            f"Scene {name!r}: wavelengths of shape {array.shape} do not give one finite value for each of the "
            f"{n_bands} bands; correct or omit them."
        )
    return array


def checked_rgb_bands(name: str, rgb_bands: Sequence[int], n_bands: int) -> tuple[int, int, int]:
    """Return the red, green and blue band numbers, counted from 0.

    Raises:
        SceneError: They are not three, or one is not a band of the cube.
    """
    bands = tuple(int(band) for band in rgb_bands)
    if len(bands) != 3 or min(bands) < 0 or max(bands) >= n_bands:
        raise SceneError(
            f"Scene {name!r}: rgb_bands={bands} are not three bands from 0 to {n_bands - 1}; correct or omit them."
        )
    return bands
