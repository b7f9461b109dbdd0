"""ENVI files: a text header beside a file of raw numbers (BSQ, BIL or BIP).

Headers are often wrong, so they are read here and checked against the file first; GDAL then gets one written anew that
says what was understood, and reads the numbers and where they lie (rasterio, extra `geo`).
Fields: "ENVI Header Files", NV5 Geospatial documentation.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import ANY, Format, Rows, whole
from hsi_al.scenes.formats.raster import Described, Values, exact, holds, library, opened, raster_rows, with_no_data
from hsi_al.scenes.wavelengths import Centres, in_names, in_nm

DATA_SUFFIXES = (".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".bin")
TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
SPECTRA = "envi spectral library"
COMPLEX = {6: "complex64", 9: "complex128"}
INTERLEAVES = ("bsq", "bil", "bip")
MOST_HEADER = 2**24  # bytes; headers of thousands of bands have some 100 kB
MOST_SIZE, MOST_BANDS = 2**31 - 1, 2**16 - 1
PLACE = ("map info", "projection info", "coordinate system string")  # what GDAL reads itself
EXAMPLE = "as in 'samples = 100'"


@dataclass(frozen=True)
class Header:
    """What a header says about the layout of its data file.

    Attributes:
        path: The header.
        fields: Names in lower case -> text, that of braces without them.
    """

    path: Path
    fields: dict[str, str]

    def whole(self, name: str, default: int | None = None, least: int = 1, most: int = MOST_SIZE) -> int:
        """Return a field that is a whole number, also one written as 100.0.

        Raises:
            SceneError: It is missing without a default, no whole number, or out of range.
        """
        text = self.fields.get(name, "")
        if not text:
            if default is None:
                raise SceneError(f"{self.path} has no field {name!r}; add it, {EXAMPLE.replace('samples', name)}.")
            return default
        with suppress(ValueError, OverflowError):
            if (value := float(text)).is_integer() and least <= value <= most:
                return int(value)
        raise SceneError(
            f"{self.path}: the field {name!r} is {shown(text)} where a whole number from {least} to {most} is needed; "
            "correct it."
        )

    def listed(self, name: str) -> list[float] | None:
        """Return the numbers of a list in braces; None if there is none, or no number in it.

        Raises:
            ValueError: Something in it is no number.
        """
        words = [word for word in re.split(r"[,\s]+", self.fields.get(name, "")) if word]
        return [float(word) for word in words] or None


def shown(text: str) -> str:
    """Return a header's text for a message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def parsed(path: Path) -> Header:
    """Read the fields of a header; comments (lines from ";") are skipped, the last of fields of one name counts.

    Raises:
        SceneError: It is too large, no text, no ENVI header, or a list in it is never closed.
    """
    with path.open("rb") as file:
        content = file.read(MOST_HEADER + 1)
    if len(content) > MOST_HEADER:
        raise SceneError(f"{path} has more than {MOST_HEADER:,} bytes, so it is no ENVI header; name the header.")
    lines = iter(text_of(content).lstrip().splitlines())
    if next(lines, "").strip().upper() != "ENVI":
        raise SceneError(
            f"{path} is no ENVI header: its first line is not 'ENVI'; name the file of the data, or its header."
        )
    fields: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if line.lstrip().startswith(";") or not equals:
            continue
        name, value = " ".join(name.lower().split()), value.strip()
        if value.startswith("{"):
            value = braced(path, name, value[1:], lines)
        fields[name] = value
    return Header(path, fields)


def text_of(content: bytes) -> str:
    """Return the text of a header in UTF-8, UTF-16 or Latin 1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if content.startswith((b"E\0N\0", b"\0E\0N")):
        return content.decode("utf-16-le" if content.startswith(b"E") else "utf-16-be", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def braced(path: Path, name: str, begun: str, lines: Iterator[str]) -> str:
    """Return what lies between braces, over several lines."""
    parts = [begun]
    while "}" not in parts[-1]:
        line = next(lines, None)
        if line is None:
            raise SceneError(
                f"{path}: the braces of the field {name!r} are never closed; add a '}}' after its last value."
            )
        if not line.lstrip().startswith(";"):
            parts.append(line)
    parts[-1] = parts[-1].partition("}")[0]
    return "\n".join(parts).strip()


def header_beside(path: Path) -> Path | None:
    """Return the header of a data file: x.hdr or x.img.hdr for x.img; None if there is none."""
    for name in (path.name + ".hdr", path.stem + ".hdr", path.name + ".HDR", path.stem + ".HDR"):
        if (beside := path.with_name(name)) != path and is_header(beside):
            return beside
    return None


def is_header(path: Path) -> bool:
    """Whether a file begins as an ENVI header."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return text_of(file.read(64)).lstrip().upper().startswith("ENVI")


def data_beside(path: Path) -> Path:
    """Return the data file of a header.

    Raises:
        SceneError: There is none, or there are several.
    """
    stem = path.with_suffix("")  # x.img.hdr: x.img
    names = [stem, *(stem.with_name(stem.name + end) for end in DATA_SUFFIXES)]
    names += [place.with_suffix(place.suffix.upper()) for place in names if place.suffix]
    found = [place for place in dict.fromkeys(names) if place.is_file()]
    if stem in found and stem.suffix.lower() in DATA_SUFFIXES:
        return stem
    if not found:
        raise SceneError(
            f"{path} has no data file beside it: {stem.name} without extension or with one of "
            f"{', '.join(DATA_SUFFIXES)}; put it there."
        )
    if len(found) > 1:
        listed = " and ".join(place.name for place in found)
        raise SceneError(f"{path} lies beside the data files {listed}; name the one to read in its place.")
    return found[0]


@dataclass(frozen=True)
class Layout:
    """How the numbers lie in a data file."""

    height: int
    width: int
    n_bands: int
    code: int
    interleave: str
    offset: int
    big_endian: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(TYPES[self.code])

    @property
    def end(self) -> int:
        """Byte after the last number."""
        return self.offset + self.height * self.width * self.n_bands * self.dtype.itemsize


def layout_of(header: Header) -> Layout:
    """Return the layout of the data file.

    Raises:
        SceneError: A field is missing, impossible or of a kind that isn't read.
    """
    fields, path = header.fields, header.path
    if header.whole("file compression", 0, 0, 9):
        raise SceneError(f"{path}: the data are compressed ('file compression'); write them without compression.")
    code = header.whole("data type", None, 0, 99)
    if code in COMPLEX:
        raise SceneError(
            f"{path}: the field 'data type' is {code}, {COMPLEX[code]}, where real numbers are needed; convert them."
        )
    if code not in TYPES:
        raise SceneError(
            f"{path}: the field 'data type' is {code}, which is none of ENVI's types "
            f"({', '.join(map(str, TYPES))}); correct it."
        )
    n_bands = header.whole("bands", most=MOST_BANDS)
    interleave = fields.get("interleave", "").lower() or ("bsq" if n_bands == 1 else "")
    if interleave not in INTERLEAVES:
        said = f"is {shown(interleave)}" if interleave else "is missing"
        raise SceneError(f"{path}: the field 'interleave' {said}; it has to be one of {', '.join(INTERLEAVES)}.")
    with suppress(ValueError):
        if any(header.listed("major frame offsets") or ()) or any(header.listed("minor frame offsets") or ()):
            raise SceneError(f"{path}: 'major frame offsets' and 'minor frame offsets' are not read; write it without.")
    return Layout(
        header.whole("lines"),
        header.whole("samples"),
        n_bands,
        code,
        interleave,
        header.whole("header offset", 0, 0, 2**62),
        header.whole("byte order", 0, 0, 1) == 1,
    )


def require_size(header: Header, data: Path, layout: Layout) -> list[str]:
    """Compare the size of the data file with the layout; return what a user has to know.

    Raises:
        SceneError: The file is too short.
    """
    present = data.stat().st_size
    if present < layout.end:
        raise SceneError(
            f"{data} has {present:,} bytes, but the {layout.height} lines, {layout.width} samples and {layout.n_bands} "
            f"bands of type {layout.dtype} of {header.path.name} take {layout.end:,}: it is truncated, or a field of "
            "the header is wrong; copy it again or correct that."
        )
    if present > layout.end:
        return [f"{data} has {present - layout.end:,} bytes more than its header declares; they are not read."]
    return []


def described(header: Header, layout: Layout) -> Described:
    """Return what the optional fields say; one that makes no sense is ignored with a notice."""
    notices: list[str] = []

    def numbers(name: str, n: int | Sequence[int] | None = None) -> list[float] | None:
        try:
            found = header.listed(name)
        except ValueError:
            notices.append(
                f"Warning: {header.path}: the field {name!r} holds something that is no number; it is ignored."
            )
            return None
        counts = (n,) if isinstance(n, int) else n
        if found is not None and counts is not None and len(found) not in counts:
            notices.append(
                f"Warning: {header.path}: the field {name!r} has {len(found)} values where "
                f"{' or '.join(map(str, counts))} belong; it is ignored."
            )
            return None
        return found

    n = layout.n_bands
    wavelengths = numbers("wavelength", n)
    unit = header.fields.get("wavelength units", "")
    if wavelengths is not None:
        centres = in_nm(str(header.path), wavelengths, unit, n)
    else:
        names = header.fields.get("band names", "").split(",")
        centres = in_names(str(header.path), names) if len(names) == n else Centres(None)
    notices += centres.notices
    bad = tuple(band for band, good in enumerate(numbers("bbl", n) or ()) if not good)
    values = Values(
        tuple(numbers("data gain values", n) or (1.0,)),
        tuple(numbers("data offset values", n) or (0.0,)),
        divisor_of(header, numbers("reflectance scale factor", 1), notices),
    )
    if not all(map(math.isfinite, (*values.gain, *values.offset))) or 0 in values.gain:
        notices.append(
            f"Warning: {header.path}: 'data gain values' or 'data offset values' are impossible; both are ignored."
        )
        values = Values(divisor=values.divisor)
    if values.scaled:
        done = [
            *(
                ["times 'data gain values', plus 'data offset values'"]
                if values.gain != (1.0,) or any(values.offset)
                else []
            ),
            *([f"divided by the 'reflectance scale factor' {values.divisor:g}"] if values.divisor != 1 else []),
        ]
        notices.append(f"The values are the stored numbers {', '.join(done)} of {header.path}.")
    ignored = no_data_of(header, layout, numbers("data ignore value", 1), notices)
    no_data, values = with_no_data([ignored] * n, values)
    return Described(
        centres.values,
        bad,
        colour_bands(header, n, numbers("default bands", (1, 3)), notices),
        no_data,
        class_names(header),
        tuple(notices),
        values,
    )


def divisor_of(header: Header, factor: list[float] | None, notices: list[str]) -> float:
    """Return the number that reflectances are multiplied by in the file, 1 if none is given."""
    if factor is None or (math.isfinite(factor[0]) and factor[0] > 0):
        return 1.0 if factor is None else factor[0]
    notices.append(f"Warning: {header.path}: the field 'reflectance scale factor' is {factor[0]:g}; it is ignored.")
    return 1.0


def no_data_of(header: Header, layout: Layout, value: list[float] | None, notices: list[str]) -> float | None:
    """Return the stored number for missing data, if the type can hold it."""
    if value is None or holds(layout.dtype, value[0]):
        return None if value is None else exact(layout.dtype, value[0])
    notices.append(
        f"{header.path}: the field 'data ignore value' is {value[0]:g}, which the type {layout.dtype} can't hold; "
        "it is ignored."
    )
    return None


def colour_bands(
    header: Header, n_bands: int, found: list[float] | None, notices: list[str]
) -> tuple[int, int, int] | None:
    """Return the three bands (from 0) of the field "default bands"; one band alone is shown as grey."""
    if found is None:
        return None
    if not all(band.is_integer() and 1 <= band <= n_bands for band in found):
        listed = ", ".join(f"{band:g}" for band in found)
        notices.append(
            f"Warning: {header.path}: the field 'default bands' is {listed}, which are no bands from 1 to {n_bands}; "
            "it is ignored."
        )
        return None
    red, green, blue = (int(band) - 1 for band in (found * 3 if len(found) == 1 else found))
    return red, green, blue


def class_names(header: Header) -> dict[int, str] | None:
    """Return value -> name of a classification."""
    names = [name.strip() for name in header.fields.get("class names", "").split(",")]
    return dict(enumerate(names)) if any(names) else None


def files_of(path: Path) -> tuple[Header, Path]:
    """Return header and data file, of which one is named.

    Raises:
        SceneError: The other one is missing, there are several data files, or they are no image.
    """
    is_header_named = path.suffix.lower() == ".hdr"
    place = path if is_header_named else header_beside(path)
    if place is None:
        raise SceneError(
            f"{path} has no ENVI header beside it, {path.stem}.hdr or {path.name}.hdr, without which its numbers mean "
            "nothing; put it there, or name a file of another format by its usual extension."
        )
    header = parsed(place)
    if header.fields.get("file type", "").lower() == SPECTRA:
        raise SceneError(f"{place} describes a library of spectra, not an image; name the header of an image.")
    return header, data_beside(path) if is_header_named else path


def rows(path: Path, key: str | None) -> Rows:
    """Open the data for reading in windows; a key is ignored.

    Raises:
        SceneError: Header or data file are missing or don't fit, or rasterio isn't installed.
    """
    library(path)
    header, data = files_of(path)
    layout = layout_of(header)
    notices = require_size(header, data, layout)
    about = described(header, layout)
    dataset = dataset_of(data, layout, place_of(header, notices))
    try:
        found = raster_rows(path, dataset, range(layout.n_bands), about)
    except BaseException:
        dataset.close()
        raise

    def window(lines: slice, columns: slice) -> NDArray[Any]:
        read = found.source(lines, columns)
        with suppress(FileNotFoundError):  # what is open can be read although its name is gone
            require_size(header, data, layout)  # GDAL gives zeros for what has been cut off meanwhile
        return read

    return replace(found, source=window, notices=(*notices, *found.notices))


def place_of(header: Header, notices: list[str]) -> dict[str, str]:
    """Return the fields that say where the data lie; GDAL would read anything else there as some place, too."""
    place = {name: header.fields[name] for name in PLACE if header.fields.get(name)}
    if not place.get("map info"):
        if header.fields.get("geo points"):
            notices.append(
                f"{header.path} places the data by 'geo points' alone, which are not used; warp it to a grid."
            )
        return {}
    words = [word.strip() for word in place["map info"].split(",")]
    numbers = [math.nan]
    with suppress(ValueError):
        numbers = [float(word) for word in words[1:7]]
    makes_sense = len(numbers) == 6 and all(map(math.isfinite, numbers)) and 0 not in numbers[4:]
    if words[0].upper() == "UTM":
        zone, half = [*words[7:9], "", ""][:2]
        makes_sense &= zone.isdecimal() and 1 <= int(zone) <= 60 and half.lower() in ("north", "south")
    if makes_sense:
        if is_turned(words[7:]) and (numbers[:2] != [1.0, 1.0] or abs(numbers[4]) != abs(numbers[5])):
            notices.append(
                f"Warning: {header.path}: 'map info' turns a grid whose tie point is not its first corner (1, 1), or "
                "whose pixels are oblong; programs differ there, and it is read as by GDAL and QGIS: check where maps "
                "of it lie."
            )
        return place
    notices.append(
        f"Warning: {header.path}: the field 'map info' is {shown(place['map info'])}, which is no place; correct it "
        "for maps that lie where the data lie."
    )
    return {}


def is_turned(words: Sequence[str]) -> bool:
    """Return whether the words of "map info" name a rotation."""
    for word in words:
        name, _, angle = word.partition("=")
        with suppress(ValueError):
            if name.strip().lower() == "rotation" and float(angle) % 90 != 0:
                return True
    return False


def dataset_of(data: Path, layout: Layout, place: dict[str, str]) -> Any:  # noqa: ANN401
    """Open the data file with a header written anew, in a folder that is removed at once: the file stays open."""
    said = {
        "samples": layout.width,
        "lines": layout.height,
        "bands": layout.n_bands,
        "header offset": layout.offset,
        "file type": "ENVI Standard",
        "data type": layout.code,
        "interleave": layout.interleave,
        "byte order": int(layout.big_endian),
        **{name: f"{{{' '.join(text.split())}}}" for name, text in place.items()},
    }
    with TemporaryDirectory(prefix="hsi_al-") as folder:
        link = Path(folder) / "data.img"
        link.symlink_to(data.absolute())
        text = "\n".join(f"{name} = {value}" for name, value in said.items())
        link.with_suffix(".hdr").write_text(f"ENVI\n{text}\n", encoding="utf-8")
        return opened(data, link, ["ENVI"])


def has_header(path: Path) -> bool:
    """Return whether a file is an ENVI header, or lies beside its own."""
    return is_header(path) if path.suffix.lower() == ".hdr" else header_beside(path) is not None


FORMATS = (
    Format(ANY, whole(rows), rows, has_header, order=3, title="ENVI"),
    Format((".hdr", *DATA_SUFFIXES), whole(rows), rows, order=9),  # says what is missing
)
