"""Labels of a scene from a file: an array or raster (rows, columns), or points and polygons."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.checks import Labels, label_warnings, require_map, whole_labels
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.readers import opened_rows
from hsi_al.scenes.stored import BLOCK_BYTES, is_any_of
from hsi_al.scenes.vectors import alike_notices, drawn_labels

UNLABELLED = ("unlabel", "unclass", "background", "no data", "nodata", "none", "masked")  # first letters of names of 0


@dataclass
class Truth:
    """Labels of a scene.

    Attributes:
        labels: Label values, (H, W), 0 = unlabelled, in the smallest unsigned integer type.
        zero: The value that stands for the file's class 0; 0 = that is no class.
        names: Label value -> name, as far as the file has names.
        notices: What is suspicious, one sentence each.
        by_name: Whether the file has texts alone, which were numbered here.
    """

    labels: Labels
    zero: int = 0
    names: dict[int, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    by_name: bool = False


def vector_truth(
    path: Path, layer: str | None, label_field: str | None, where: Georeference | None, shape: tuple[int, int]
) -> Truth:
    """Draw points and polygons, see `vectors.drawn_labels`.

    Raises:
        SceneError: As `vectors.drawn_labels`.
    """
    drawn = drawn_labels(path, layer, label_field, where, shape)
    return Truth(drawn.labels, 0, drawn.names, drawn.notices, by_name=bool(drawn.names))


def read_labels(
    name: str,
    path: Path,
    key: str | None,
    cube: tuple[int, ...] | Rows,
    unlabelled: float = 0,
    ignored: Sequence[float] = (),
    where: Georeference | None = None,
) -> Truth:
    """Read a ground truth (H, W) block by block.

    Args:
        name: Name of the scene, for errors.
        path: File of the ground truth.
        key: Key of the ground truth; None = the only array of two or more dimensions.
        cube: The cube (H, W, B), or its shape.
        unlabelled: Value of unlabelled pixels in the file; unless it is 0, 0 is a class there.
        ignored: Values whose pixels count as unlabelled, too.
        where: Where the scene lies, if only the cube's shape is given; None = unknown.

    Returns:
        The labels. `zero` is `unlabelled` if that is a positive whole number, else one above all others.

    Raises:
        SceneError: The ground truth doesn't fit the cube or its grid, or holds values other than whole numbers from 0;
            else as `opened_rows`.
    """
    with opened_rows(path, key) as opened:
        return labels_in(name, opened, cube, unlabelled, ignored, where)


def labels_in(
    name: str,
    opened: Rows,
    cube: tuple[int, ...] | Rows,
    unlabelled: float = 0,
    ignored: Sequence[float] = (),
    where: Georeference | None = None,
) -> Truth:
    """Read a ground truth that is open, see `read_labels`.

    Raises:
        SceneError: As `read_labels`.
    """
    absent = (*ignored, unlabelled) if unlabelled else tuple(ignored)
    parts, zeros, notices = [], [], list[str]()
    rows = as_map(name, opened, notices)
    if isinstance(cube, Rows):
        shape, where, file = cube.shape, cube.georeference, str(cube.path)
    else:
        shape, file = cube, "the scene"
    require_grid(name, rows, where, shape, file)
    require_map(name, rows.shape, shape)
    # Many writers mark 0 as no data, also where a user knows that it is a class.
    if opened.is_raster and opened.no_data is not None and not (unlabelled and opened.no_data == 0):
        absent = (*absent, opened.no_data)
    for block in rows.blocks(BLOCK_BYTES):
        values = rows.read(*block)
        if absent:
            without = is_any_of(values, absent)
            zeros.append((values == 0) & ~without)
            values = np.where(without, values.dtype.type(0), values)
        parts.append(whole_labels(name, values))
    notices = [*opened.notices, *notices]
    stored, names = opened.dtype, dict(opened.class_names or {})
    labels = np.concatenate(parts)
    truth = Truth(labels, 0, {value: name for value, name in names.items() if value > 0 and name}, notices)
    if unlabelled:
        largest = int(labels.max(initial=0))
        truth.zero = int(unlabelled) if unlabelled > 0 and float(unlabelled).is_integer() else largest + 1
        kind = np.min_scalar_type(max(truth.zero, largest))
        truth.labels = np.where(np.concatenate(zeros), kind.type(truth.zero), labels.astype(kind))
        truth.names[truth.zero] = names.get(0, "class 0")
    elif zeros:
        truth.notices += zero_warnings(opened, sum(int(part.sum()) for part in zeros))
    truth.notices += label_warnings(truth.labels, stored, truth.zero)
    return truth


def zero_warnings(rows: Rows, count: int, way_out: str = "") -> list[str]:
    """Warn where pixels hold 0, which is no class, though their raster marks another value as no data.

    Args:
        rows: The raster.
        count: Pixels that hold 0.
        way_out: What to do if 0 is a class; default: the key that says so.
    """
    mark = rows.no_data if rows.is_raster else None
    name = (rows.class_names or {}).get(0, "").strip()
    if not count or not mark or name.casefold().startswith(UNLABELLED):
        return []
    # -1 stands for marks that the key can't hold, such as NaN: any value but 0 makes 0 a class.
    value = int(mark) if float(mark).is_integer() and abs(mark) < 2**31 else -1
    return [
        f"Warning: {count:,} pixels of {rows.path} hold 0{f' ({name})' if name else ''} and count as no class, though "
        f"the file marks {mark:g} as no data; if 0 is a class, {way_out or f'set dataset.unlabelled={value}'}."
    ]


def truth_shape(name: str, path: Path, key: str | None) -> tuple[int, ...]:
    """Return the shape of a ground truth as a map.

    Raises:
        SceneError: As `opened_rows`, or the array is no map.
    """
    with opened_rows(path, key) as opened:
        return as_map(name, opened, []).shape


def as_map(name: str, rows: Rows, notices: list[str]) -> Rows:
    """Give labels as (H, W): without an axis of length 1, and one-hot layers (H, W, C) as numbers from 1.

    Raises:
        SceneError: The array is a picture of colours or a flat vector.
    """
    shape = rows.shape
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        if shape[2] == 1:
            return replace(rows, shape=shape[:2], source=lambda lines, cols: rows.source(lines, cols)[:, :, 0])

        def first(lines: slice, cols: slice) -> NDArray[Any]:
            layer: NDArray[Any] = rows.source(slice(0, 1), lines)[0]
            return layer[:, cols]

        return replace(rows, shape=shape[1:], source=first)
    if len(shape) == 2 and 1 in shape and max(shape) > 1:
        raise SceneError(
            f"Scene {name!r}: the ground truth in {rows.path} is a flat vector of shape {shape}; reshape it to (rows, "
            "columns) and save it again."
        )
    if len(shape) != 3:
        return rows
    if is_one_hot(rows):

        def numbers(lines: slice, cols: slice) -> NDArray[Any]:
            layers = rows.source(lines, cols)
            return np.where(layers.any(axis=2), layers.argmax(axis=2) + 1, 0)

        notices.append(f"The ground truth of shape {shape} holds a layer for each class; they are numbered from 1.")
        return replace(rows, shape=shape[:2], dtype=np.dtype(np.int64), source=numbers)
    if shape[2] in (3, 4) and rows.dtype == np.uint8:
        raise SceneError(
            f"Scene {name!r}: the ground truth in {rows.path} is a picture of colours, shape {shape}; save the "
            "numbers of the classes instead (rows, columns), 0 = unlabelled."
        )
    return rows


def is_one_hot(rows: Rows) -> bool:
    """Return whether an array (H, W, C) holds 0 and 1 alone, at most one 1 in a pixel."""
    for block in rows.blocks(BLOCK_BYTES):
        layers = rows.read(*block)
        if not np.isin(layers, (0, 1)).all() or (layers.sum(axis=2) > 1).any():
            return False
    return True


def require_grid(name: str, truth: Rows, here: Georeference | None, shape: tuple[int, ...], file: str) -> None:
    """Raise SceneError if labels and cube are georeferenced and lie on different grids.

    Args:
        name: Name of the scene.
        truth: The labels.
        here: Where the cube lies; None = unknown.
        shape: Its shape.
        file: What it is called.
    """
    there = truth.georeference
    if here is None or there is None:
        return
    if truth.shape[:2] == shape[:2] and here.same_grid(there, (shape[0], shape[1])):
        return
    raise SceneError(
        f"Scene {name!r}: the labels lie on another grid than the cube. {truth.path}: {truth.shape[1]} x "
        f"{truth.shape[0]} pixels, {there}; {file}: {shape[1]} x {shape[0]} pixels, {here}. Resample the labels to the "
        "cube's grid by nearest neighbour, or give them as polygons."
    )


def joined(truth: Truth, test: Truth, named: str) -> tuple[Truth, NDArray[np.bool_]]:
    """Join the labels to learn from with those that only test.

    Text classes of points and polygons are numbered anew over both. A pixel that both label only tests.

    Args:
        truth: Labels to learn from.
        test: Labels that test.
        named: File of the latter, for notices.

    Returns:
        All labels, and which of them test, (H, W).

    Raises:
        SceneError: The test file labels no pixel, or one file has numbers without names and the other names.
    """
    if not test.labels.any():
        raise SceneError(f"{named} labels no pixel; give the test labels, or leave dataset.test_file out.")
    by_name = truth.by_name or test.by_name
    if by_name and not all(part.by_name or has_names(part) for part in (truth, test)):
        raise SceneError(
            f"The labels to learn from and those of {named} do not fit together: one has text classes, the other "
            "numbers without names of their own; use the same kind of field in both."
        )
    alike: list[str] = []
    if by_name:
        if not any(alike_notices(Path(named), part.names.values()) for part in (truth, test)):
            alike = alike_notices(Path(named), sorted({*truth.names.values(), *test.names.values()}))
        # Numbers that a file has stay; texts alone are numbered in alphabetical order.
        places = {text: value for part in (truth, test) if not part.by_name for value, text in part.names.items()}
        first = max(places.values(), default=0) + 1
        texts = sorted({*truth.names.values(), *test.names.values()} - places.keys())
        places |= {text: value for value, text in enumerate(texts, first)}
        truth, test = (
            renumbered(part, {value: places[text] for value, text in part.names.items()}) if part.by_name else part
            for part in (truth, test)
        )
    zero = max(truth.zero, test.zero)
    if zero and not by_name:
        others = {value for part in (truth, test) for value in np.unique(part.labels).tolist() if value != part.zero}
        zero = max(others) + 1 if zero in others else zero
        truth, test = (renumbered(part, {part.zero: zero}) if part.zero else part for part in (truth, test))
    tests, notices = test.labels > 0, [*truth.notices, *test.notices, *alike]
    both = tests & (truth.labels > 0)
    if both.any():
        differ = int((truth.labels[both] != test.labels[both]).sum())
        notices.append(
            f"Warning: {both.sum():,} pixels are labelled to learn from and to test; they only test"
            f"{f', and {differ:,} of them have two different labels' if differ else ''}."
        )
    kind = np.promote_types(truth.labels.dtype, test.labels.dtype)
    labels = np.where(tests, test.labels.astype(kind), truth.labels.astype(kind))
    return Truth(labels, zero, truth.names | test.names, notices), tests


def has_names(truth: Truth) -> bool:
    """Return whether every class of some labels has a name of its own."""
    has_all = {*np.unique(truth.labels).tolist()} - {0} <= truth.names.keys()
    return has_all and len({*truth.names.values()}) == len(truth.names)


def renumbered(truth: Truth, places: dict[int, int]) -> Truth:
    """Return labels with other values for some classes."""
    table = np.arange(max(int(truth.labels.max(initial=0)), *places, 0) + 1)
    table[list(places)] = list(places.values())
    labels = table[truth.labels]
    names = {places.get(value, value): text for value, text in truth.names.items()}
    return Truth(
        labels.astype(np.min_scalar_type(int(labels.max(initial=0)))),
        places.get(truth.zero, truth.zero),
        names,
        truth.notices,
    )
