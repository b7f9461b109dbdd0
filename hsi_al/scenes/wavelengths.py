"""Band centres in whatever unit a file gives them, as nanometres."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

# Spellings in files -> nanometres per unit; wave numbers (1/cm) are inverted instead.
UNITS = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(
        ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1e3
    ),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e6),
    **dict.fromkeys(("angstrom", "angstroms"), 0.1),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e9),
}
WAVE_NUMBERS = ("cm-1", "1/cm", "cm^-1", "wavenumber", "wavenumbers")
# What optical sensors record, for numbers without a unit; the two ranges don't overlap.
MICROMETRES, NANOMETRES = (0.2, 20.0), (200.0, 20_000.0)
RANGE = re.compile(r"\d\s*(nm|um|µm|μm)?\s*(-|\u2013|to|\.\.+)\s*$", re.IGNORECASE)  # "450-" before "515 nm"
NAMED = re.compile(r"(\d+(?:[.,]\d+)?)\s*(nm|nanomet\w+|um|µm|μm|microns?|micromet\w+|cm-1)\b", re.IGNORECASE)


class Centres(NamedTuple):
    """Band centres in nm, or None with the reason, and what a user has to know about them."""

    values: tuple[float, ...] | None
    notices: tuple[str, ...] = ()


def in_nm(place: str, values: Sequence[float], unit: str, n_bands: int) -> Centres:
    """Convert the band centres of a file to nm.

    Numbers without a unit are taken as micrometres if all lie in 0.2 to 20, as nm if all lie in 200 to 20,000, and a
    notice says so; numbers in a unit that is no length, such as ENVI's "Index", are left out.

    Args:
        place: What holds them, for the notices.
        values: As many as the file gives.
        unit: Unit as the file writes it; empty = it names none.
        n_bands: Number of bands.
    """
    way_out = "correct the file to choose bands by wavelength"
    if len(values) != n_bands:
        return Centres(
            None,
            (f"Warning: {place} gives {len(values)} wavelengths for {n_bands} bands; they are ignored: {way_out}.",),
        )
    if not all(math.isfinite(value) and value > 0 for value in values):
        return Centres(None, (f"Warning: {place} gives wavelengths that are no positive numbers; {way_out}.",))
    name = unit.strip().lower()
    if name in UNITS:
        # nine digits are enough, and 0.45 um then are 450 nm and not 450.00000000000006
        return Centres(tuple(float(f"{value * UNITS[name]:.9g}") for value in values))
    if name in WAVE_NUMBERS:
        return Centres(tuple(float(f"{1e7 / value:.9g}") for value in values))
    if name in ("", "unknown"):
        for (low, high), factor, read_as in ((MICROMETRES, 1e3, "micrometres"), (NANOMETRES, 1.0, "nm")):
            if all(low <= value <= high for value in values):
                notice = (
                    f"{place} names no unit for its wavelengths, {values[0]:g} to {values[-1]:g}: read as {read_as}."
                )
                return Centres(tuple(float(f"{value * factor:.9g}") for value in values), (notice,))
    return Centres(
        None, (f"Warning: {place} gives its wavelengths in the unit {unit!r}, which is no length; {way_out}.",)
    )


def in_names(place: str, names: Sequence[str | None]) -> Centres:
    """Return the band centres that the descriptions of bands name, with a notice; none if no description names one.

    Descriptions may name other lengths, too: what can't be the centres of different bands is left out.
    """
    found = [named for name in names if (named := named_in(name or "")) is not None]
    centres = of_bands(place, found, len(names))
    if centres.values is None:
        return centres
    if len(set(centres.values)) < len(centres.values):
        return Centres(
            None, (f"Warning: {place} names one wavelength for several bands in their names, which are ignored.",)
        )
    low, high = min(centres.values), max(centres.values)
    told = f"The wavelengths of {place}, {low:g} to {high:g} nm, are those in the names of its bands."
    return Centres(centres.values, (*centres.notices, told))


def of_bands(place: str, found: Sequence[tuple[float, str]], n_bands: int) -> Centres:
    """Return the band centres in nm of numbers with units, one for each band; nothing is said if there are none."""
    units = sorted({unit.strip().lower() for _, unit in found})
    if len(units) > 1:
        return Centres(
            None, (f"Warning: {place} gives wavelengths in several units ({', '.join(units)}); they are ignored.",)
        )
    return in_nm(place, [value for value, _ in found], units[0], n_bands) if units else Centres(None)


def named_in(text: str) -> tuple[float, str] | None:
    """Return number and unit of a wavelength in a band's description, such as "Band 1 (450.2 nm)".

    Of several the one in brackets at the end; None if there is none, or a range.
    """
    every = list(NAMED.finditer(text))
    last = [found for found in every if text[found.end() :].strip() in (")", "]")]
    found = every[0] if len(every) == 1 else last[0] if last else None
    if found is None or RANGE.search(text[: found.start()]):
        return None
    return float(found[1].replace(",", ".")), found[2]
