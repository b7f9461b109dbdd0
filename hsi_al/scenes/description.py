"""What a file of a scene holds, in words: shape, bands, missing data, place, labels; for people who begin with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows, Variable, chosen, reading
from hsi_al.scenes.bands import chosen_bands, ranges
from hsi_al.scenes.checks import fitting_axes
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.readers import format_of, opened_rows
from hsi_al.scenes.scene import RGB_WAVELENGTHS_NM, is_scene_file, load_scene
from hsi_al.scenes.stored import BLOCK_BYTES, is_any_of, reordered
from hsi_al.scenes.truth import zero_warnings
from hsi_al.scenes.vectors import NAMED, described, is_vector

MOST_READ = 2**32  # bytes; of a larger cube evenly spaced blocks of rows are looked through
MOST_CLASSES = 1000  # an array (H, W) with more whole numbers is none of labels
LARGEST = 2**53  # of labels: from here on float64 lacks whole numbers
LAYER = "query"  # of a file that a labelling session writes
MOST_LISTED = 20  # classes and keys
PICTURE = 1500  # pixels a side, at most


@dataclass
class Description:
    """What a file holds.

    Attributes:
        lines: Name and text of what is known, in the order in which it is shown.
        notices: What is suspicious or has to be known, one sentence each.
        arguments: Key and value of the settings of a run on it; empty = it can't be run as it is.
        lacks_labels: Whether a run on it needs labels from another file, if it is to learn.
        n_labelled: Labelled pixels of each class, or points; empty = not known.
        picture: False colour (h, w, 3), missing data black; thinned to `PICTURE`.
        labels: Label values (h, w), thinned likewise, of a file of labels.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    lacks_labels: bool = False
    n_labelled: list[int] = field(default_factory=list)
    picture: NDArray[np.uint8] | None = None
    labels: NDArray[np.int64] | None = None

    def say(self, name: str, text: str) -> None:
        """Add a line."""
        self.lines.append((name, text))


def describe(path: Path, key: str | None = None) -> Description:
    """Look through a file of a cube or of labels once.

    Args:
        path: The file.
        key: Key of the array, or layer of points and polygons; None = the only one, or the one with three axes.

    Raises:
        SceneError: The file can't be read, or no array can be told from others.
    """
    if is_vector(path) and path.is_file():
        return of_features(path, key)
    if key is None and is_scene_file(path):
        return of_scene(path)
    found = Description()
    form = format_of(path)
    found.say("format", form.title or path.suffix.lower())
    labels_key = None
    if form.variables is not None:
        with reading(path):
            variables = form.variables(path)
        found.say("keys", listed([str(variable) for variable in variables]) or "none")
        if key is None:
            key, labels_key = guessed(variables)
            if key is None:
                if not any(variable.is_picture for variable in variables):
                    chosen(path, variables, None)
                found.say("next", "name one of the keys with --key")
                return found
        found.say("read", key)
    with opened_rows(path, key) as rows:
        shape = rows.shape
        if 0 in shape:
            raise SceneError(f"{path} holds no pixel: its shape is {shape}; name another file or key.")
        if len(shape) == 3 and shape[2] > 1:
            of_cube(found, path, rows, key if form.variables is not None else None, labels_key)
        elif len(shape) in (2, 3):
            of_labels(found, path, rows, key if form.variables is not None else None)
        else:
            found.say("shape", f"{shape}, {rows.dtype}: neither a cube (rows, columns, bands) nor labels")
    return found


def listed(names: Sequence[str]) -> str:
    """Return names separated by semicolons, the first `MOST_LISTED` of them."""
    more = f"; and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return "; ".join(names[:MOST_LISTED]) + more


def guessed(variables: Sequence[Variable]) -> tuple[str | None, str | None]:
    """Return the key of the only cube, else of the only array, and the key of the only labels that fit the cube."""
    arrays = [variable for variable in variables if variable.is_picture]
    cubes = [variable for variable in arrays if sum(size > 1 for size in variable.shape) == 3]
    if len(cubes) != 1:
        return (arrays[0].key if len(arrays) == 1 else None), None
    maps = [
        variable.key for variable in arrays if len(variable.shape) == 2 and fitting_axes(cubes[0].shape, variable.shape)
    ]
    return cubes[0].key, maps[0] if len(maps) == 1 else None


def of_scene(path: Path) -> Description:
    """Describe a file of `save_scene`."""
    scene = load_scene(path, in_memory=False)
    found = Description(arguments={"name": scene.name, "cube_file": str(path)})
    found.say("format", "scene file of hsi_al")
    found.say("size", f"{scene.height} x {scene.width} pixels (rows x columns), {scene.n_bands} bands")
    found.say("classes", listed([f"{value} {name}: {count:,}" for value, name, count in scene.class_counts]))
    found.picture = thinned(scene.false_colour())
    found.n_labelled = [count for _, _, count in scene.class_counts]
    return found


def of_features(path: Path, layer: str | None) -> Description:
    """Describe points and polygons: their layers, or the one that is named, and the fields that may hold classes.

    Raises:
        SceneError: The file can't be read, or has no such layer.
    """
    found, layers = Description(), described(path)
    shown = [one for one in layers if layer in (None, one.name)]
    if layer is not None and not shown:
        raise SceneError(f"{path} has no layer {layer!r}; it has {', '.join(one.name for one in layers) or 'none'}.")
    found.say("format", f"points and polygons ({path.suffix.lower()})")
    for one in shown:
        found.say("layer", f"{one.name}: {one.n_features:,} features ({one.kind}), {one.crs}")
        for name, values in one.fields.items():
            each = listed([f"{value}: {count:,}" for value, count in sorted(values.items())])
            found.say("field", f"{name}: {each if len(values) <= MOST_LISTED else f'{len(values):,} different values'}")
    if not shown:
        found.say("layer", "none")
    elif [one.name for one in shown] == [LAYER] and "pixel_id" in shown[0].fields:
        found.say(
            "next", "questions of a session: answer them in QGIS, then python -m hsi_al.label SCENE --labels FILE"
        )
    elif len(shown) == 1 or path.suffix.lower() in NAMED:
        found.arguments = {"name": plain_name(path), "cube_file": "CUBE", "ground_truth_file": str(path)}
        found.arguments |= {"ground_truth_key": shown[0].name} if len(shown) == 1 < len(layers) else {}
        if shown[0].class_field is None:
            # A field of classes has few values, and most of them more than once.
            likely = [name for name, values in shown[0].fields.items() if MOST_LISTED >= len(values) < values.total()]
            found.arguments["label_field"] = likely[0] if len(likely) == 1 else "FIELD"
        chosen = found.arguments.get("label_field", shown[0].class_field)
        if chosen in shown[0].fields and shown[0].kind in ("Point", "table"):
            found.n_labelled = list(shown[0].fields[chosen].values())
    else:
        found.say("next", "name one of the layers with --key")
    return found


def of_cube(found: Description, path: Path, rows: Rows, key: str | None, labels_key: str | None) -> None:
    """Describe a cube; `key` and `labels_key` are those of its file, None where they aren't needed."""
    axes, labels = "HWB", None
    if labels_key is not None:
        with opened_rows(path, labels_key) as opened:
            labels = opened.shape
        fitting = fitting_axes(rows.shape, labels)
        axes = axes if axes in fitting or not fitting else fitting[0]
    rows = reordered(rows, axes)
    height, width, n_bands = rows.shape
    size = rows.dtype.itemsize * math.prod(rows.shape)
    found.say(
        "size",
        f"{height} x {width} pixels (rows x columns), {n_bands} bands, {rows.dtype}, {size / 1e6:,.1f} MB in memory",
    )
    of_wavelengths(found, rows)
    seen = survey(rows)
    no_data = named_no_data(rows, seen)
    if seen.empty:
        found.say(
            "empty bands", f"{len(seen.empty)} of {n_bands}: {ranges(seen.empty)} (from 0); a run leaves them out"
        )
        rows = replace(rows, bad_bands=(*rows.bad_bands, *seen.empty))
        seen = survey(rows)
    found.say("no data", missing_text(rows, seen))
    if seen.low is not None and seen.high is not None:
        found.say("values", f"{seen.low:.6g} to {seen.high:.6g}" + seen.where)
    of_place(found, rows.georeference, height, width)
    found.notices += rows.notices
    found.picture = seen.picture
    arguments = {"name": plain_name(path), "cube_file": str(path)}
    if key is not None:
        arguments["cube_key"] = key
    if axes != "HWB":
        arguments["axes"] = axes
    elif not rows.is_raster and labels is None:
        found.notices.append("The axes are taken as rows, columns, bands; if they are others, set dataset.axes.")
    if no_data:
        arguments["no_data"] = no_data
    if labels_key is not None:
        arguments["ground_truth_key"] = labels_key
        with opened_rows(path, labels_key) as opened:
            values, counts = counted(opened)
        if values is not None:
            found.say("labels", f"{labels_key}: {classes_text(values, counts, None)}")
            found.n_labelled = counts[values != 0].tolist()
    found.arguments, found.lacks_labels = arguments, labels_key is None


def of_wavelengths(found: Description, rows: Rows) -> None:
    """Say which wavelengths the bands have, and which of them are bad."""
    if rows.wavelengths is None:
        found.say("wavelengths", "unknown")
    else:
        centres = rows.wavelengths
        order = "" if list(centres) == sorted(centres) else ", not in ascending order"
        found.say("wavelengths", f"{min(centres):g} to {max(centres):g} nm{order}")
    if rows.bad_bands:
        found.say("bad bands", f"{len(rows.bad_bands)} of {rows.shape[2]}: {ranges(rows.bad_bands)} (from 0)")
    if rows.rgb_bands is not None:
        found.say("shown bands", ", ".join(map(str, rows.rgb_bands)) + " (red, green, blue; from 0)")


def of_place(found: Description, where: Georeference | None, height: int, width: int) -> None:
    """Say where a grid lies."""
    if where is None:
        found.say("place", "unknown: maps of it lie nowhere")
        return
    corners = [where.at(row, column) for row in (0, height) for column in (0, width)]
    (left, right), (bottom, top) = ((min(axis), max(axis)) for axis in zip(*corners, strict=True))
    found.say("place", str(where))
    found.say("bounds", f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}")


@dataclass
class Seen:
    """What one pass over a cube finds.

    Attributes:
        pixels: Number of pixels looked through.
        missing: Of these, pixels with the file's no-data value in a good band.
        undeclared: Pixels with NaN or infinite values that the file doesn't declare as missing.
        infinite: Whether some of these are infinite.
        zeros: Pixels that are 0 in all bands.
        empty: Good bands (from 0) without data in any pixel, while others have some.
        low: Smallest value of pixels with data.
        high: Largest one.
        where: What was left out, for a text.
        picture: See `Description`.
    """

    pixels: int = 0
    missing: int = 0
    undeclared: int = 0
    infinite: bool = False
    zeros: int = 0
    empty: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    where: str = ""
    picture: NDArray[np.uint8] | None = None


def survey(rows: Rows) -> Seen:
    """Look through a cube once, or through evenly spaced blocks of its rows if it has more than `MOST_READ`."""
    seen, good = Seen(), chosen_bands(replace(rows, bad_bands=without_all(rows)), None)
    height, width, n_bands = rows.shape
    shown, step = shown_bands(rows, good), math.ceil(max(height, width) / PICTURE)
    blocks = list(rows.blocks(BLOCK_BYTES))
    every = math.ceil(rows.dtype.itemsize * math.prod(rows.shape) / MOST_READ)
    if every > 1:
        seen.where = f" (in 1 of {every} rows)"
    channels = np.zeros((len(range(0, height, step)), len(range(0, width, step)), 3))
    there = np.zeros(channels.shape[:2], bool)
    lacking = np.zeros(len(good), np.int64)
    for first, last in blocks[::every]:
        interrupts.check()
        window = rows.read(first, last)
        values = window if len(good) == n_bands else window[:, :, good]
        absent: NDArray[np.bool_] = np.zeros(values.shape, bool)
        if rows.no_data is not None:
            absent = is_any_of(values, (rows.no_data,))
        missing = np.asarray(absent.any(axis=2))
        if values.dtype.kind == "f":
            absent |= ~np.isfinite(values)
            strange = absent.any(axis=2) & ~missing
            seen.undeclared += int(strange.sum())
            seen.infinite |= bool(np.isinf(values[strange]).any())
        else:
            strange = np.zeros(missing.shape, bool)
        lacking += np.count_nonzero(absent, axis=(0, 1))
        with_data = ~missing & ~strange
        seen.pixels += missing.size
        seen.missing += int(missing.sum())
        seen.zeros += int((with_data & ~values.any(axis=2)).sum())
        if with_data.any():
            low, high = float(values[with_data].min()), float(values[with_data].max())
            seen.low = low if seen.low is None else min(seen.low, low)
            seen.high = high if seen.high is None else max(seen.high, high)
        lines = np.arange(-(-first // step) * step, last, step)
        channels[lines // step] = window[lines - first, ::step][:, :, shown]
        there[lines // step] = with_data[lines - first, ::step]
    seen.picture = stretched(channels, there)
    empty = np.flatnonzero(lacking == seen.pixels - seen.zeros)  # whose zeros are mostly a border without data
    seen.empty = tuple(good[place] for place in empty) if lacking.max(initial=0) > 0 and len(empty) < len(good) else ()
    return seen


def named_no_data(rows: Rows, seen: Seen) -> str:
    """Return the values that a user has to name as missing data, with that of the file; empty = the file says it."""
    if not seen.undeclared:
        return ""
    own = [] if rows.no_data is None else [f"{rows.no_data:.9g}"]
    return f"[{','.join([*own, 'nan', *(['inf', '-inf'] if seen.infinite else [])])}]"


def without_all(rows: Rows) -> tuple[int, ...]:
    """Return the bad bands, or none if all are bad."""
    return rows.bad_bands if len(rows.bad_bands) < rows.shape[2] else ()


def shown_bands(rows: Rows, good: Sequence[int]) -> list[int]:
    """Return the bands shown as red, green and blue: the file's, else of the good ones by wavelength or by place."""
    if rows.rgb_bands is not None:
        return list(rows.rgb_bands)
    if rows.wavelengths is not None:
        centres = np.asarray(rows.wavelengths)[list(good)]
        return [good[int(np.abs(centres - colour).argmin())] for colour in RGB_WAVELENGTHS_NM]
    return [good[int(share * len(good))] for share in (0.75, 0.5, 0.25)]


def stretched(channels: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture (h, w, 3), each channel from its 2nd to its 98th percentile; what isn't there is black."""
    picture = np.zeros(channels.shape, np.uint8)
    if there.any():
        low, high = np.percentile(channels[there], (2, 98), axis=0)
        span = np.where(high > low, high - low, 1.0)
        picture[there] = np.rint(255 * np.clip((channels[there] - low) / span, 0, 1))
    return picture


def thinned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return every n-th row and column, so that at most `PICTURE` are left."""
    step = math.ceil(max(picture.shape[:2]) / PICTURE)
    return picture[::step, ::step]


def missing_text(rows: Rows, seen: Seen) -> str:
    """Return how many pixels hold no data."""
    parts = []
    if rows.no_data is not None:
        parts.append(f"{rows.no_data:g} in {share(seen.missing, seen.pixels)}")
    if seen.undeclared:
        parts.append(f"NaN or infinite, as the file doesn't declare, in {share(seen.undeclared, seen.pixels)}")
    if seen.zeros:
        parts.append(f"0 in all bands in {share(seen.zeros, seen.pixels)}")
    return ("; ".join(parts) or "none declared, none seen") + seen.where


def share(part: int, whole: int) -> str:
    """Return a number of pixels with its share."""
    return f"{part:,} of {whole:,} pixels ({100 * part / max(1, whole):.3g} %)"


def of_labels(found: Description, path: Path, rows: Rows, key: str | None) -> None:
    """Describe an array (H, W) or (H, W, 1) that may hold labels."""
    height, width = rows.shape[:2]
    found.say("size", f"{height} x {width} pixels (rows x columns), {rows.dtype}")
    of_place(found, rows.georeference, height, width)
    found.notices += rows.notices
    values, counts = counted(rows)
    if values is None:
        found.say("values", f"more than {MOST_CLASSES} or no whole numbers: neither a cube nor labels")
        return
    found.say("labels", classes_text(values, counts, rows.class_names))
    found.n_labelled = counts[values != 0].tolist()
    if rows.no_data is not None:
        found.say("no data", f"{rows.no_data:g}")
    found.notices += zero_warnings(rows, int(counts[values == 0].sum()))
    step = math.ceil(max(height, width) / PICTURE)
    parts = [rows.read(row, row + 1)[:, ::step].reshape(1, -1) for row in range(0, height, step)]
    shown = np.concatenate(parts)
    found.labels = np.where(is_label(rows, shown), shown, shown.dtype.type(0)).astype(np.int64)
    arguments = {"name": plain_name(path), "cube_file": "CUBE", "ground_truth_file": str(path)}
    found.arguments = arguments | ({"ground_truth_key": key} if key else {})


def is_label(rows: Rows, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values of an array may be labels: numbers other than a raster's no-data value."""
    there: NDArray[np.bool_] = np.isfinite(values)
    if rows.is_raster and rows.no_data is not None:
        there &= ~is_any_of(values, (rows.no_data,))
    return there


def counted(rows: Rows) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the labels in an array and how often each occurs; None if its values are no labels."""
    totals: dict[int, int] = {}
    for first, last in rows.blocks(BLOCK_BYTES):
        interrupts.check()
        window: Any = rows.read(first, last)
        values, counts = np.unique(window[is_label(rows, window)], return_counts=True)
        if len(values) > MOST_CLASSES or (values.dtype.kind == "f" and (values != np.floor(values)).any()):
            return None, np.zeros(0, np.int64)
        if len(values) and (values[0] < -LARGEST or values[-1] > LARGEST):
            return None, np.zeros(0, np.int64)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            totals[int(value)] = totals.get(int(value), 0) + count
        if len(totals) > MOST_CLASSES:
            return None, np.zeros(0, np.int64)
    order = sorted(totals)
    return np.array(order, np.int64), np.array([totals[value] for value in order], np.int64)


def classes_text(values: NDArray[np.int64], counts: NDArray[np.int64], names: dict[int, str] | None) -> str:
    """Return label values, their names where known, and how many pixels each has."""
    texts = []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        name = f" {names[value]}" if names and value in names else " (unlabelled)" if value == 0 else ""
        texts.append(f"{value}{name}: {count:,}")
    return listed(texts)


def plain_name(path: Path) -> str:
    """Return a name for the folder of a run, from that of a file."""
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in path.stem)
    return kept.strip("-")[:40] or "scene"
