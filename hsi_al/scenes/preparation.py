"""What is done to the values of a cube before a learner sees them: no-data, outliers, offsets beyond float32."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.bands import ranges
from hsi_al.scenes.stored import StoredCube, is_any_of, windows

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
SAMPLE_PIXELS = 2**14
FEW = 10  # pixels with data of each window, in case that no evenly spaced one has data
PERCENTILES = (0.1, 99.9)
MARGIN = 0.25  # of the span of the percentiles, on each side of the robust limits
FEW_LACK = 0.05  # of the pixels, left out because of single bands, which isn't worth a warning
STRETCHED = 1.5  # times the span of the robust limits: a wider range is stretched by outliers
FLOAT32 = np.finfo(np.float32)
LEVELS = 2**14  # steps of float32 that the range of a cube has to span


@dataclass(frozen=True)
class Preparation:
    """Turn values of a file into those that learners see: clip, subtract and divide, replace missing ones.

    Attributes:
        no_data: Values that stand for missing data.
        clip: Limits of the values; None = unlimited.
        offset: Subtracted, one for all bands or one per band; empty = nothing is subtracted, and the type stays.
        scale: Divided by afterwards, as many.
        fill: Replaces missing values, one per band, in the scale of the result.
        blank: Whether a pixel with 0 in every band has no data.
    """

    no_data: tuple[float, ...] = ()
    clip: tuple[float, float] | None = None
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    fill: tuple[float, ...] = ()
    blank: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether every value stays as it is."""
        return self == Preparation()

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """The type of prepared values."""
        return np.dtype(np.float32) if self.offset else stored.newbyteorder("=")

    def __call__(self, window: NDArray[Any]) -> NDArray[Any]:
        """Prepare a window (h, w, B) of the cube; the result has the type `dtype`."""
        if self.changes_nothing:
            return window
        missing = self.missing(window)
        kind, prepared = self.dtype(window.dtype), window
        if self.clip is not None:
            low, high = (_within(limit, window.dtype) for limit in self.clip)
            prepared = np.clip(prepared, low, high)
        if self.offset:  # in double precision: float32 could not tell 2^30 from 2^30 + 50
            with np.errstate(invalid="ignore", over="ignore"):  # of missing values
                prepared = (prepared.astype(np.float64) - self.offset) / self.scale
            prepared = np.clip(prepared, -FLOAT32.max, FLOAT32.max)
        prepared = prepared.astype(kind)
        if missing is not None and missing.any():
            fill = np.asarray(self.fill)
            fill = np.rint(fill) if kind.kind in "iu" else fill
            prepared[missing] = np.broadcast_to(fill.astype(kind), window.shape)[missing]
        return prepared

    def missing(self, window: NDArray[Any]) -> Mask | None:
        """Which values of a window (h, w, B), as the file has them, are missing; None = no value can be."""
        if self.blank:
            empty = (window == 0).all(axis=2, keepdims=True)
            absent: Mask = is_any_of(window, self.no_data) | empty
            return absent
        return is_any_of(window, self.no_data) if self.no_data else None

    def to_json(self) -> dict[str, Any]:
        """The attributes as plain JSON, which has no NaN."""
        return {
            **({"blank": True} if self.blank else {}),
            "no_data": [str(value) for value in self.no_data],
            "clip": self.clip,
            **{name: list(getattr(self, name)) for name in ("offset", "scale", "fill")},
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Preparation":
        """Restore what `to_json` gave; {} = nothing is changed.

        Raises:
            LookupError, TypeError, ValueError: It is damaged.
        """
        if not kept:
            return cls()
        values = {name: tuple(float(value) for value in kept[name]) for name in ("no_data", "offset", "scale", "fill")}
        clip = None if kept["clip"] is None else tuple(float(value) for value in kept["clip"])
        if len(values["offset"]) != len(values["scale"]) or (clip is not None and len(clip) != 2):
            raise ValueError("its preparation is malformed")
        return cls(clip=clip, blank=kept.get("blank") is True, **values)


class EmptyBandsError(SceneError):
    """Every pixel lacks data, since some bands hold none in any pixel.

    Attributes:
        places: Places (from 0) of these bands among those of the cube.
    """

    def __init__(self, message: str, places: Sequence[int] = ()) -> None:
        """Take the message and the places of the bands; pickle gives the message alone, and the places afterwards."""
        super().__init__(message)
        self.places = tuple(places)


class Prepared(NamedTuple):
    """A prepared cube.

    Attributes:
        source: The cube (H, W, B), in memory or in its file.
        no_data: Pixels without data, (H, W); None = all pixels have data.
        preparation: What was done.
        notices: What a user has to know, one sentence each.
        sample: Prepared spectra of evenly spaced pixels with data, (n, B).
    """

    source: NDArray[Any] | StoredCube
    no_data: Mask | None
    preparation: Preparation
    notices: tuple[str, ...]
    sample: NDArray[Any]


@dataclass
class Survey:
    """What one pass over a cube finds.

    Attributes:
        low: Smallest value, missing ones left out.
        high: Largest value, likewise.
        missing: Pixels with a missing value in any band, (H, W).
        sample: Spectra of evenly spaced pixels with data, (n, B), n <= `SAMPLE_PIXELS`.
        flat: Value -> number of pixels that hold it in every band; left out for cubes of one or two bands.
        blank: Number of pixels with 0 in every band which count as missing.
        lacking: Number of pixels that hold a value of missing data in each band, (B,).
    """

    low: float
    high: float
    missing: Mask
    sample: Floats
    lacking: NDArray[np.int64]
    flat: dict[float, int] = field(default_factory=dict)
    blank: int = 0

    def values(self) -> Floats:
        """The sampled values without pixels that hold one value in every band, (m,), ascending."""
        whole = self.sample
        if self.flat:
            varying = whole[(whole != whole[:, :1]).any(axis=1)]
            whole = varying if len(varying) else whole
        return np.sort(whole, axis=None)


def prepared(
    name: str,
    cube: NDArray[Any] | StoredCube,
    no_data: Sequence[float],
    scaling: str,
    rim: bool = False,
    bands: Sequence[int] | None = None,
) -> Prepared:
    """Prepare a cube, in memory or in its file.

    Args:
        name: The scene's, for messages.
        cube: (H, W, B), as its file holds it.
        no_data: Values that stand for missing data, maybe NaN or infinities.
        rim: Whether pixels with 0 in every band have no data if any of them lies at the scene's border.
        bands: Numbers of its bands in their file, for messages; None = from 0.
        scaling: `minmax` leaves values as they are; `robust` clips outliers; `standard` clips outliers, then gives
            every band mean 0 and standard deviation 1; `auto` is `robust` if outliers stretch the range, else `minmax`.

    Raises:
        EmptyBandsError: No pixel has data, since some bands hold none.
        SceneError: No pixel has data; NaN, infinite or values beyond float32 that `no_data` doesn't name.
    """
    absent = tuple(no_data)
    found = survey(name, cube, absent, blank=None if rim else False, bands=bands)
    limits, notices = robust_limits(found.values(), found.low, found.high), []
    stretched = limits is not None and found.high - found.low > STRETCHED * (limits[1] - limits[0])
    clip = limits if scaling in ("robust", "standard") or (scaling == "auto" and stretched) else None
    preparation = _preparation(found, absent, clip, scaling == "standard", _dtype(cube))
    if stretched and limits is not None:
        notices.append(outliers(cube, found, limits, clip is not None, absent))
    notices += flat_pixels(found, clip or limits or (found.low, found.high), absent)
    if found.missing.any():
        empty = f" ({found.blank:,} of them 0 in every band, as at the border)" if found.blank else ""
        notices.append(
            f"{found.missing.sum():,} of {found.missing.size:,} pixels have no data{empty} and are left out."
        )
        notices += lacking_bands(found, bands)
    if clip is None and found.high - found.low > FLOAT32.max:
        raise SceneError(
            f"Scene {name!r}: the cube's values from {found.low:g} to {found.high:g} span more than float32 holds; "
            "name values that stand for missing data in dataset.no_data, or take dataset.scaling=robust."
        )
    mask = found.missing if found.missing.any() else None
    return Prepared(applied(cube, preparation), mask, preparation, tuple(notices), preparation(found.sample[None])[0])


def applied(cube: NDArray[Any] | StoredCube, preparation: Preparation) -> NDArray[Any] | StoredCube:
    """The prepared cube: a new one in memory, or one that prepares what it reads from its file."""
    if preparation.changes_nothing:
        return cube
    if isinstance(cube, StoredCube):
        return StoredCube(cube.rows, preparation)
    result = np.empty(cube.shape, preparation.dtype(cube.dtype))
    for first, window in windows(cube):
        result[first : first + len(window)] = preparation(window)
    return result


def lacking_bands(found: Survey, bands: Sequence[int] | None) -> list[str]:
    """Say which bands lack data in many pixels that others have, if `FEW_LACK` of the scene is left out for it."""
    n_pixels, usual = found.missing.size, float(np.median(found.lacking))
    if found.missing.sum() - found.blank - usual < FEW_LACK * n_pixels:
        return []
    places = np.flatnonzero(found.lacking > usual + FEW_LACK / 5 * n_pixels)
    if not len(places):
        return []
    numbers = ranges(places if bands is None else np.asarray(bands)[places])
    return [
        f"Warning: half of the bands lack data in {usual:,.0f} pixels at most, the bands {numbers} (from 0) in up to "
        f"{found.lacking.max():,}, which are left out because of them; if you can spare these bands, name the others "
        "in dataset.bands."
    ]


def survey(
    name: str,
    cube: NDArray[Any] | StoredCube,
    no_data: tuple[float, ...] = (),
    blank: bool | None = False,
    option: str = "dataset.no_data=[{}]",
    bands: Sequence[int] | None = None,
) -> Survey:
    """Look through a cube (H, W, B) once.

    Args:
        name: The scene's, for messages.
        cube: (H, W, B), as its file holds it.
        no_data: Values that stand for missing data.
        blank: Whether pixels with 0 in every band have no data; None = if one of them lies at the border, and the cube
            has more than two bands.
        option: How a user names values of missing data, for messages.
        bands: Numbers of the bands in their file, for messages; None = from 0.

    Raises:
        EmptyBandsError: No pixel has data, since some bands hold none.
        SceneError: No pixel has data; NaN, infinite or values beyond float32 that `no_data` doesn't name.
    """
    height, width, n_bands = cube.shape
    missing, step = np.zeros((height, width), bool), sample_step(height * width, width)
    empty, lacking = np.zeros_like(missing), np.zeros(n_bands, np.int64)
    limits, spectra, spare, flat = [], [], [], dict[float, int]()
    for first, window in windows(cube):
        absent = is_any_of(window, no_data) if no_data else None
        rows = slice(first, first + len(window))
        if isinstance(cube, StoredCube):
            require_numbers(f"{cube.rows.path}, rows {first} to {rows.stop - 1}", window, absent, option)
        else:
            require_numbers(f"Scene {name!r}", window, absent, option)
        if absent is not None:
            missing[rows] = absent.any(axis=2)
            lacking += np.count_nonzero(absent, axis=(0, 1))
        with np.errstate(invalid="ignore"):
            lows, highs = window.min(axis=2), window.max(axis=2)  # of pixels without data whatever there is
        with_data = ~missing[rows]
        if blank is not False and (blank or n_bands > 2):
            empty[rows] = with_data & (lows == 0) & (highs == 0)
        if (with_data & ~empty[rows]).any():
            inside = with_data & ~empty[rows]
            limits.append((lows[inside].min(), highs[inside].max()))
        if n_bands > 2:
            _count(flat, lows[with_data & (lows == highs)])
        taken = np.flatnonzero(with_data)
        spare.append(window.reshape(-1, n_bands)[np.flatnonzero(with_data & ~empty[rows])[:FEW]].astype(np.float64))
        taken = taken[(taken + first * width) % step == 0]
        spectra.append(window.reshape(-1, n_bands)[taken].astype(np.float64))
    border = empty[0].any() or empty[-1].any() or empty[:, 0].any() or empty[:, -1].any()
    blanks = int(empty.sum()) if blank or border else 0
    if blanks:
        missing |= empty
        flat.pop(0.0, None)
        spectra = [part[part.any(axis=1)] for part in spectra]
    elif empty.any():
        limits.append((0, 0))
    if not limits:
        values = ", ".join(f"{value:g}" for value in no_data)
        named = f" a value of missing data ({values}) in some band" if no_data else ""
        holds = f"{named}{' or' if named and blanks else ''}{' 0 in every band' if blanks else ''}"
        if 0 < len(places := np.flatnonzero(lacking == missing.size - blanks)) < n_bands:
            numbers = ranges(places if bands is None else np.asarray(bands)[places])
            raise EmptyBandsError(
                f"Scene {name!r}: {len(places)} of its {n_bands} bands hold no data in any pixel: {numbers} (from 0); "
                f"learn without them (dataset.bands), or correct {option.partition('=')[0]}.",
                places.tolist(),
            )
        raise SceneError(
            f"Scene {name!r}: every one of its {height * width:,} pixels holds{holds}; drop bands that hold nothing "
            f"else, or correct {option.partition('=')[0]}."
        )
    sample = np.concatenate(spectra)
    if not len(sample):  # few pixels of a large scene have data
        sample = np.concatenate([*spare, np.zeros((int(not any(map(len, spare))), n_bands))])
    lowest, highest = float(min(low for low, _ in limits)), float(max(high for _, high in limits))
    return Survey(lowest, highest, missing, sample, lacking, flat, blanks)


def sampled(cube: NDArray[Any]) -> NDArray[Any]:
    """Spectra of evenly spaced pixels of a cube (H, W, B) in memory, (n, B)."""
    height, width, n_bands = cube.shape
    return cube.reshape(-1, n_bands)[:: sample_step(height * width, width)]


def sample_step(n_pixels: int, width: int) -> int:
    """Every how many-th pixel is sampled: coprime to the width, or a sample would see few columns."""
    step = max(1, math.ceil(n_pixels / SAMPLE_PIXELS))
    while math.gcd(step, width) > 1:
        step += 1
    return step


def require_numbers(name: str, window: NDArray[Any], absent: Mask | None, option: str) -> None:
    """Raise SceneError if a window holds NaN, infinite or values beyond float32 that aren't absent."""
    if window.dtype.kind != "f":
        return
    wrong = ~np.isfinite(window)
    if window.dtype.itemsize > 4:
        wrong |= np.abs(window) > FLOAT32.max
    if absent is not None:
        wrong &= ~absent
    if wrong.any():
        examples = ",".join(f"{value:.9g}" for value in np.unique(window[wrong])[:3].tolist())
        not_numbers, infinite = np.isnan(window[wrong]).sum(), np.isinf(window[wrong]).sum()
        beyond = wrong.sum() - not_numbers - infinite
        raise SceneError(
            f"{name}: the cube holds {not_numbers:,} NaN, {infinite:,} infinite and "
            f"{beyond:,} values beyond float32, in {wrong.any(axis=2).sum():,} pixels and "
            f"{wrong.any(axis=(0, 1)).sum():,} bands; leave these pixels out with {option.format(examples)}, or drop "
            "the bands."
        )


def robust_limits(values: Floats, low: float, high: float) -> tuple[float, float] | None:
    """Limits that few outliers don't move: the percentiles and a quarter of their span on each side.

    Values at either end that stand farther from all others than these are from each other are left out before: a value
    for missing data that many pixels hold would move the percentiles.

    Args:
        values: A sample, ascending, (n,).
        low: Smallest of all values, which the limits don't exceed.
        high: Largest of all values.

    Returns:
        The limits; None if the sample holds the same value nearly everywhere.
    """
    values = without_loners(values)
    least, most = np.percentile(values, PERCENTILES).tolist()
    if least == most:
        return None
    margin = MARGIN * (most - least)
    return max(low, least - margin), min(high, most + margin)


def without_loners(values: Floats) -> Floats:
    """Ascending values without single values at either end that are far from all others."""
    for _ in range(4):
        least, most = values[0], values[-1]
        first = int(np.searchsorted(values, least, "right"))
        last = int(np.searchsorted(values, most, "left"))
        if last - first < len(values) // 2:
            break
        inner = values[first:last]
        span = float(np.subtract(*np.percentile(inner, (99, 1))))
        begin = first if inner[0] - least > span else 0
        end = last if most - inner[-1] > span else len(values)
        if (begin, end) == (0, len(values)):
            break
        values = values[begin:end]
    return values


def _count(flat: dict[float, int], values: NDArray[Any]) -> None:
    for value, number in zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True):
        flat[value] = flat.get(value, 0) + number


def _dtype(cube: NDArray[Any] | StoredCube) -> np.dtype[Any]:
    return cube.rows.dtype if isinstance(cube, StoredCube) else cube.dtype


def _within(limit: float, kind: np.dtype[Any]) -> Any:  # noqa: ANN401
    """A limit as a number of the cube's type."""
    return int(limit) if kind.kind in "iu" else kind.type(limit)


def _preparation(
    found: Survey,
    no_data: tuple[float, ...],
    clip: tuple[float, float] | None,
    standardise: bool,
    kind: np.dtype[Any],
) -> Preparation:
    low, high = clip or (found.low, found.high)
    if clip is not None:
        low, high = clip = (math.floor(low), math.ceil(high)) if kind.kind in "iu" else clip
        clip = None if (low, high) == (found.low, found.high) else clip
    spectra = np.clip(found.sample, low, high)
    means = spectra.mean(axis=0)
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    if standardise:
        deviations = spectra.std(axis=0)
        offset, scale = tuple(means.tolist()), tuple(np.where(deviations > 0, deviations, 1.0).tolist())
    elif beyond_float32(kind, low, high):
        offset, scale = (low,), (1.0,)
    fill = (means - np.asarray(offset or 0.0)) / np.asarray(scale or 1.0)
    filled = tuple(fill.tolist()) if no_data or found.blank else ()
    return Preparation(no_data, clip, offset, scale, filled, blank=bool(found.blank))


def beyond_float32(kind: np.dtype[Any], low: float, high: float) -> bool:
    """Whether float32 would round away differences of values between these, of this type."""
    largest = max(abs(low), abs(high))
    exact = kind.itemsize <= 4 and (kind.kind == "f" or largest <= 2**24)
    return not exact and high - low < LEVELS * float(np.spacing(np.float32(largest)))


def outliers(
    cube: NDArray[Any] | StoredCube,
    found: Survey,
    limits: tuple[float, float],
    clipped: bool,
    absent: Sequence[float],
) -> str:
    """Say which pixels stretch the range, how far, and what to do."""
    beyond = 0
    for first, window in windows(cube):
        outside = ((window < limits[0]) | (window > limits[1])).any(axis=2)
        beyond += int((outside & ~found.missing[first : first + len(window)]).sum())
    ends = [
        value for value, is_far in ((found.low, found.low < limits[0]), (found.high, found.high > limits[1])) if is_far
    ]
    extremes = " and ".join(f"{value:.9g}" for value in ends)
    times = (found.high - found.low) / (limits[1] - limits[0])
    remedy = "they are clipped" if clipped else "take dataset.scaling=robust to clip them"
    return (
        f"Warning: {beyond:,} of {found.missing.size:,} pixels lie outside of {limits[0]:.6g} to {limits[1]:.6g} (up "
        f"to {extremes}) and stretch the range of the values {times:.3g} times: {remedy}. If such a value stands for "
        f"missing data, leave its pixels out: {with_also(absent, ends)}."
    )


def flat_pixels(found: Survey, limits: tuple[float, float], absent: Sequence[float]) -> list[str]:
    """Say which value many pixels hold in every band, unless it was named as an outlier."""
    inside = {value: number for value, number in found.flat.items() if limits[0] <= value <= limits[1]}
    if not inside:
        return []
    value, number = max(inside.items(), key=lambda item: (item[1], -item[0]))
    if number < 2:
        return []
    return [
        f"Warning: {number:,} pixels hold the value {value:.9g} in every band; if it stands for missing data, leave "
        f"out all pixels that hold it in any band: {with_also(absent, [value])}."
    ]


def with_also(absent: Sequence[float], values: Sequence[float]) -> str:
    """Return the option that names further values of missing data, which takes the place of what the file says."""
    return f"dataset.no_data=[{','.join(f'{value:.9g}' for value in (*absent, *values))}]"
