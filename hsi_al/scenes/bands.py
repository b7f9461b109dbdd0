"""Which bands of a file are used, and which of another file's bands are the same."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows

Wanted = Sequence[int | Sequence[float]]
MOST_RANGES = 20


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending whole numbers such as 3, 7-9, the first `MOST_RANGES` runs of them."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return ", ".join(texts[:MOST_RANGES]) + (", ..." if len(texts) > MOST_RANGES else "")


def chosen_bands(rows: Rows, wanted: Wanted | None) -> list[int]:
    """Return the numbers (from 0) of the bands to use.

    Args:
        rows: The opened cube (H, W, B).
        wanted: Band numbers, in the order in which they are to be used; or ranges [from, to] of wavelengths in nm, both
            ends included; None = every band that the file doesn't mark as bad.

    Raises:
        SceneError: A band is named twice or isn't there, no band is left, or ranges are given for a file without
            wavelengths.
    """
    n_bands = rows.shape[2]
    if wanted is None:
        kept = [band for band in range(n_bands) if band not in rows.bad_bands]
        if not kept:
            raise SceneError(f"{rows.path} marks all its {n_bands} bands as bad; name those to use in dataset.bands.")
        return kept
    if not wanted:
        raise SceneError("dataset.bands=[] names no band; leave it out to use every band that the file calls good.")
    pairs = [entry for entry in wanted if not isinstance(entry, int)]
    numbers = [entry for entry in wanted if isinstance(entry, int)]
    if pairs and numbers:
        raise SceneError(
            f"dataset.bands={list(wanted)} mixes band numbers and ranges; give numbers such as [0,1,5], or "
            "ranges in nm such as [[400,1340],[1460,1790]]."
        )
    if numbers:
        return _numbered(rows, numbers)
    if rows.wavelengths is None:
        raise SceneError(
            f"dataset.bands={[list(pair) for pair in pairs]} names wavelengths, but {rows.path} has none; "
            f"give band numbers from 0 to {n_bands - 1} instead."
        )
    centres = np.asarray(rows.wavelengths)
    inside = np.zeros(n_bands, bool)
    for pair in pairs:
        if len(pair) != 2 or not pair[0] <= pair[1]:
            raise SceneError(f"dataset.bands: {list(pair)} is no range; write [from,to] in nm, such as [400,1340].")
        part = (centres >= pair[0]) & (centres <= pair[1])
        if not part.any():
            raise SceneError(
                f"dataset.bands: no band of {rows.path} lies from {pair[0]:g} to {pair[1]:g} nm; its bands reach from "
                f"{centres.min():g} to {centres.max():g} nm."
            )
        inside |= part
    inside[list(rows.bad_bands)] = False
    if not inside.any():
        raise SceneError(f"dataset.bands: {rows.path} marks all bands in these ranges as bad; give band numbers.")
    return [int(band) for band in np.flatnonzero(inside)]


def _numbered(rows: Rows, numbers: list[int]) -> list[int]:
    n_bands = rows.shape[2]
    beyond = [band for band in numbers if not 0 <= band < n_bands]
    if beyond:
        raise SceneError(
            f"dataset.bands names the band {beyond[0]}, but {rows.path} has {n_bands} bands; give numbers from 0 to "
            f"{n_bands - 1}."
        )
    if len(set(numbers)) < len(numbers):
        twice = next(band for band in numbers if numbers.count(band) > 1)
        raise SceneError(f"dataset.bands names the band {twice} twice; name it once.")
    return numbers


def of_bands(rows: Rows, bands: Sequence[int]) -> Rows:
    """Give some bands of a cube (H, W, B), in the order given; nothing is marked as bad any more."""
    everything = list(range(rows.shape[2]))
    if list(bands) == everything:
        return replace(rows, bad_bands=())
    first, n_bands = bands[0], len(bands)
    consecutive = list(bands) == everything[first : first + n_bands]
    part: Any = slice(first, first + n_bands) if consecutive else list(bands)

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        return rows.source(lines, columns)[:, :, part]

    place = {band: number for number, band in enumerate(bands)}
    shown = [place[band] for band in rows.rgb_bands or () if band in place]
    return replace(
        rows,
        shape=(*rows.shape[:2], n_bands),
        source=window,
        wavelengths=None if rows.wavelengths is None else tuple(rows.wavelengths[band] for band in bands),
        rgb_bands=(shown[0], shown[1], shown[2]) if len(shown) == 3 else None,
        bad_bands=(),
    )


def matching_bands(
    rows: Rows,
    n_bands: int,
    wavelengths: Sequence[float] | None,
    bands: Sequence[int] | None,
    bad_too: bool = False,
) -> list[int]:
    """Return the bands of a cube that are those of a run's scene, in the run's order.

    Where both know their wavelengths, these decide: of each wavelength the nearest band is taken, a good one before a
    bad one. Else a cube with as many bands as the run's file had gives those the run used, and one with as many as the
    run used is taken as it is.

    Args:
        rows: The opened cube (H, W, B).
        n_bands: Number of bands that the run used.
        wavelengths: Their centres in nm; None = unknown.
        bands: Their numbers in the run's file, followed by the number of bands of that file; None = unknown.
        bad_too: Whether bands may be taken that the cube's file marks as bad.

    Raises:
        SceneError: The cube lacks bands of the run, or its file marks some of them as bad.
    """
    if wavelengths is not None and rows.wavelengths is not None:
        found = _nearest(rows, np.asarray(wavelengths), np.asarray(rows.wavelengths))
    else:
        found = _by_number(rows, n_bands, bands)
    bad = [band for band in found if band in rows.bad_bands]
    if bad and not bad_too:
        centre = "" if rows.wavelengths is None else f" ({rows.wavelengths[bad[0]]:g} nm)"
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise SceneError(
            f"{rows.path} marks the band {bad[0]}{centre}{more} as bad, which the run was trained on: train one "
            "without, or use bad bands all the same with --force."
        )
    return found


def unlike_bands(rows: Rows, found: Sequence[int], wavelengths: Sequence[float] | None) -> str | None:
    """Return a sentence if bands that `matching_bands` found may be others than those of the run; None = they are.

    Args:
        rows: The opened cube (H, W, B).
        found: Numbers of the bands of the cube, in the run's order.
        wavelengths: Centres of the run's bands in nm; None = unknown.
    """
    if wavelengths is None:
        return None
    if rows.wavelengths is None:
        return (
            f"Warning: {rows.path} names no wavelengths: its bands are taken in their order as those of the run. The "
            "map is wrong if they are others."
        )
    away = np.abs(np.asarray(rows.wavelengths)[list(found)] - np.asarray(wavelengths))
    if away.max() <= max(1.0, tolerance_of(wavelengths) / 2):
        return None
    worst = int(away.argmax())
    return (
        f"Warning: bands of {rows.path} lie up to {away.max():.3g} nm from those of the run (that for "
        f"{wavelengths[worst]:g} nm): resample it to the run's wavelengths, or check the map."
    )


def tolerance_of(wavelengths: Sequence[float]) -> float:
    """Return how far a band may lie from one of the run: half as far as the run's bands from each other, or 1 nm."""
    order = np.sort(wavelengths)
    return max(1.0, float(np.median(np.diff(order))) / 2 if len(order) > 1 else 0.0)


def _by_number(rows: Rows, n_bands: int, bands: Sequence[int] | None) -> list[int]:
    found = rows.shape[2]
    if bands is not None and found == bands[-1]:
        return list(bands[:-1])
    if found == n_bands:
        return list(range(found))
    whole = "" if bands is None else f", or all {bands[-1]} bands of such a file"
    raise SceneError(
        f"{rows.path} has shape {rows.shape}, but the run was trained on {n_bands} bands: give a cube (rows, columns, "
        f"{n_bands}){whole}."
    )


def _nearest(rows: Rows, wanted: NDArray[Any], there: NDArray[Any]) -> list[int]:
    """Of each wavelength the nearest band that none before took, as far away as `tolerance_of` allows."""
    tolerance = tolerance_of(wanted.tolist())
    bad = np.isin(np.arange(len(there)), rows.bad_bands)
    free, found = np.ones(len(there), bool), list[int]()
    for centre in wanted.tolist():
        away = np.abs(there - centre)
        if away.min() > tolerance:
            raise SceneError(
                f"{rows.path} has no band near {centre:g} nm, which the run was trained on: its nearest is at "
                f"{there[away.argmin()]:g} nm, and {tolerance:.3g} nm are allowed; give a cube of the same sensor."
            )
        # Detectors overlap, so that two bands may have one wavelength: the first in the file is that of the first.
        near = np.flatnonzero(free & (away <= tolerance))
        if not near.size:
            raise SceneError(
                f"{rows.path} has {len(there)} bands from {there.min():g} to {there.max():g} nm, fewer in places than "
                f"the {len(wanted)} that the run was trained on; give a cube of the same sensor."
            )
        near = near[~bad[near]] if not bad[near].all() else near
        found.append(int(near[away[near].argmin()]))
        free[found[-1]] = False
    return found
