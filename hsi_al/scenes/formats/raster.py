"""Rasters that GDAL reads (rasterio, extra `geo`): GeoTIFF, BigTIFF, ERDAS Imagine, JPEG 2000, PNG and others.

A file may come from anybody: only drivers whose pixels lie in the file itself are allowed, no network, no VRT. GDAL's
messages are never shown; what it raises becomes a SceneError of one sentence.
"""

import logging
import math
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError, system_error
from hsi_al.scenes.arrays import ANY, Format, Rows, require_memory, require_real, whole
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.plain_xml import DAMAGE, tree_in
from hsi_al.scenes.wavelengths import Centres, in_names, in_nm, named_in, of_bands

# Formats whose pixels lie in the file; those of lists and links (VRT, ERS, PCIDSK, WMS, ...) could name any other file.
DRIVERS = {
    "GTiff": (".tif", ".tiff", ".gtif", ".btf"),
    "HFA": (".img",),
    "JP2OpenJPEG": (".jp2", ".j2k"),
    "EHdr": (".bil", ".flt"),
    "AAIGrid": (".asc",),
    "RST": (".rst",),
    "SAGA": (".sdat",),
    "LAN": (".lan", ".gis"),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
SUFFIXES = tuple(dict.fromkeys(suffix for driver in DRIVERS.values() for suffix in driver))
SHARED = (".img", ".bil")  # with ENVI, whose header decides
CACHE_BYTES = 2**27
# Without the folder's list GDAL still finds the .aux.xml and .ovr of a file, by their names.
OPTIONS = {"GDAL_CACHEMAX": CACHE_BYTES, "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "VSI_CACHE": False}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PIECE_BYTES = 2**25
MOST_XML = 2**22  # bytes of class names
MOST_BANDS = 2**16
MISSING = "needs rasterio to be read: pip install 'hsi_al[geo]'"


def library(path: Path) -> Any:  # noqa: ANN401
    """Return the module `rasterio`, quiet.

    Raises:
        SceneError: It isn't installed.
    """
    try:
        import rasterio
    except ImportError:
        raise SceneError(f"{path} {MISSING}.") from None
    if (log := logging.getLogger("rasterio")).level <= logging.CRITICAL:
        log.setLevel(logging.CRITICAL + 1)  # it repeats what GDAL writes
    if not getattr(sys.unraisablehook, "leaves_out_gdal", False):
        sys.unraisablehook = without_gdal(sys.unraisablehook)
    return rasterio


def without_gdal(shown: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return a hook for exceptions that nobody can catch, without those of texts of GDAL that are no UTF-8.

    Args:
        shown: The hook for all others.
    """

    def hook(unraisable: Any) -> None:  # noqa: ANN401
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and "rasterio" in str(unraisable.object)):
            shown(unraisable)

    hook.leaves_out_gdal = True  # type: ignore[attr-defined]
    return hook


@contextmanager
def gdal(path: Path, what: str, guarded: bool = True) -> Iterator[Any]:
    """Give rasterio in an environment without network and with a small cache; what fails inside is a SceneError.

    Args:
        path: The file.
        what: What goes wrong then, after the path, such as " can't be opened".
        guarded: Whether GDAL may write messages or open files; reading raw numbers does neither, and is faster without.
    """
    rasterio = library(path)
    with warnings.catch_warnings() if guarded else nullcontext(), rasterio.Env(**OPTIONS) if guarded else nullcontext():
        if guarded:
            warnings.simplefilter("ignore")  # not georeferenced, no metadata, ...
        try:
            yield rasterio
        except (rasterio.errors.RasterioError, rasterio.errors.CRSError, rasterio._err.CPLE_BaseError) as error:
            if system_error(error):
                raise
            raise SceneError(f"{path}{what}: it is damaged, truncated or not what its name says; {AGAIN}.") from error


def wkt_of_epsg(path: Path, code: int) -> str | None:
    """Return the coordinate reference system that a file names by its EPSG code; None if rasterio doesn't know it."""
    try:
        with gdal(path, " names an unknown coordinate reference system") as rasterio:
            return str(rasterio.crs.CRS.from_epsg(code).to_wkt())
    except SceneError:
        return None


AGAIN = "download or write it again"


@dataclass(frozen=True)
class Values:
    """What turns stored numbers into values: (stored * gain + offset) / divisor, NaN where there is no data.

    Attributes:
        gain: One per band (B,), or a single one.
        offset: Likewise.
        divisor: Number by which the result is divided.
        absent: Stored numbers that stand for missing data, one per band; None = none; NaN = none in this band.
        masked: Whether the file has a mask of its own for missing pixels.
        alpha: Number (from 1) of the band that is this mask, 0 where there is no data; None = none.
    """

    gain: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    divisor: float = 1.0
    absent: tuple[float, ...] | None = None
    masked: bool = False
    alpha: int | None = None

    @property
    def scaled(self) -> bool:
        """Whether values differ from stored numbers."""
        return any(gain != 1 for gain in self.gain) or any(map(bool, self.offset)) or self.divisor != 1

    def convert(self, stored: NDArray[Any], mask: NDArray[np.bool_] | None, values: NDArray[Any]) -> None:
        """Write the values of stored numbers (h, w, B) into `values`; `mask` (h, w) is true where there is no data."""
        values[...] = stored
        kind = values.dtype.type
        if any(gain != 1 for gain in self.gain):
            values *= np.asarray(self.gain, kind)
        if any(map(bool, self.offset)):
            values += np.asarray(self.offset, kind)
        if self.divisor != 1:
            values /= kind(self.divisor)
        if self.absent is not None:
            values[stored == np.asarray(self.absent).astype(np.result_type(stored, np.float32))] = np.nan
        if mask is not None:
            values[mask] = np.nan


@dataclass(frozen=True)
class Described:
    """What a file says about its bands, beside their values; the fields are those of `Rows`."""

    wavelengths: tuple[float, ...] | None = None
    bad_bands: tuple[int, ...] = ()
    rgb_bands: tuple[int, int, int] | None = None
    no_data: float | None = None
    class_names: dict[int, str] | None = None
    notices: tuple[str, ...] = ()
    values: Values = field(default_factory=Values)
    class_colours: dict[int, tuple[int, int, int]] | None = None


def opened(path: Path, place: Path | None = None, drivers: Sequence[str] = tuple(DRIVERS)) -> Any:  # noqa: ANN401
    """Open a raster with rasterio.

    Args:
        path: The file, for errors.
        place: Where GDAL finds it; None = at `path`.
        drivers: Drivers that may read it.

    Raises:
        SceneError: GDAL can't read it.
    """
    with gdal(path, " can't be read as a raster") as rasterio:
        # `rasterio.open` takes one driver only, and a text with a scheme for an address.
        return rasterio.DatasetReader(Path(place or path).absolute(), driver=list(drivers), sharing=False)


def raster_rows(path: Path, dataset: Any, bands: Sequence[int], about: Described) -> Rows:  # noqa: ANN401
    """Give the chosen bands of an open dataset of rasterio as `Rows` (H, W, B), which close it.

    Several threads may read them, and wait for each other: GDAL mixes up pixels, or ends the process, where two read an
    open dataset at once.

    Args:
        path: The file.
        dataset: The dataset.
        bands: Bands that are read, from 0.
        about: What is known of them.

    Raises:
        SceneError: The numbers are complex.
    """
    for name in sorted(set(dataset.dtypes)):
        if "complex" in name:
            require_real(path, None, np.dtype("c8"))
    stored_type = np.result_type(*(dataset.dtypes[band] for band in bands))
    values = about.values
    changed = values.scaled or values.masked or values.absent is not None
    absent = changed and (values.masked or values.absent is not None)
    kind = np.result_type(stored_type, np.float32) if changed else stored_type
    indexes = [band + 1 for band in bands]
    height, width, block = dataset.height, dataset.width, dataset.block_shapes[0]
    # A block is unpacked as a whole, of all bands where they lie together.
    together = dataset.count if dataset.interleaving is not None and dataset.interleaving.name == "pixel" else 1
    block_bytes = math.prod(block) * stored_type.itemsize * together
    require_memory(path, (*block, together), block_bytes, "write it in tiles (gdal_translate -co TILED=YES)")
    lock = threading.Lock()

    def window(rows: slice, columns: slice) -> NDArray[Any]:
        (top, bottom, _), (left, right, _) = rows.indices(height), columns.indices(width)
        shape = (max(0, bottom - top), max(0, right - left), len(bands))
        require_memory(path, shape, math.prod(shape) * kind.itemsize, "set dataset.in_memory=false, or free memory")
        result = np.empty(shape, kind)
        if not result.size:
            return result
        where = f": rows {top} to {bottom - 1} can't be read"
        with lock, gdal(path, where, guarded=dataset.driver != "ENVI"):
            if not changed:
                # GDAL writes into the band-last array itself, which is what BIP files are read fast by.
                whole = ((top, bottom), (left, right))
                dataset.read(indexes, window=whole, out=result.transpose(2, 0, 1))
                return result
            pixel_bytes = len(bands) * stored_type.itemsize
            for part_rows, part_columns in pieces((top, bottom), (left, right), block, pixel_bytes):
                part = ((part_rows.start, part_rows.stop), (part_columns.start, part_columns.stop))
                stored = np.empty(
                    (part_rows.stop - part_rows.start, part_columns.stop - part_columns.start, shape[2]), stored_type
                )
                dataset.read(indexes, window=part, out=stored.transpose(2, 0, 1))
                mask = None
                if values.masked:
                    mask = (
                        dataset.read(values.alpha, window=part)
                        if values.alpha
                        else dataset.read_masks(indexes[0], window=part)
                    ) == 0
                place = (
                    slice(part_rows.start - top, part_rows.stop - top),
                    slice(part_columns.start - left, part_columns.stop - left),
                )
                values.convert(stored, mask, result[place])
        return result

    where, said = georeference_of(dataset)
    return Rows(
        path,
        (height, width, len(bands)),
        kind,
        window,
        dataset.close,
        no_data=math.nan if absent else about.no_data,
        notices=(*about.notices, *(f"{path} {sentence}" for sentence in said)),
        wavelengths=about.wavelengths,
        bad_bands=about.bad_bands,
        rgb_bands=about.rgb_bands,
        georeference=where,
        is_raster=True,
        class_names=about.class_names,
        class_colours=about.class_colours,
    )


def pieces(
    rows: tuple[int, int], columns: tuple[int, int], block: tuple[int, int], pixel_bytes: int
) -> Iterator[tuple[slice, slice]]:
    """Cut a window into pieces of at most `PIECE_BYTES`, along the blocks of the file, so that each is unpacked once.

    Args:
        rows: First and last row (exclusive).
        columns: First and last column (exclusive).
        block: Height and width of the file's blocks.
        pixel_bytes: Size of a pixel's values.
    """
    high, wide = block
    across = columns[1] - columns[0]
    if wide < across and high * across * pixel_bytes > PIECE_BYTES:
        across = max(1, PIECE_BYTES // (high * wide * pixel_bytes)) * wide
    down = max(1, PIECE_BYTES // max(1, high * across * pixel_bytes)) * high
    top = rows[0]
    while top < rows[1]:
        bottom = min(rows[1], (top // high) * high + down)
        left = columns[0]
        while left < columns[1]:
            right = min(columns[1], (left // wide) * wide + across) if across < columns[1] - columns[0] else columns[1]
            yield slice(top, bottom), slice(left, right)
            left = right
        top = bottom


def is_place(transform: Sequence[float]) -> bool:
    """Return whether a transform (in the order of `Georeference`) has pixels with an area that numbers can tell."""
    a, b, c, d, e, f = transform
    sides, away = (math.hypot(a, d), math.hypot(b, e)), math.hypot(c, f)
    area = abs(a * e - b * d)
    return (
        away < 1e15 and min(sides) > 1e-13 * max(1.0, away) and area > 1e-6 * sides[0] * sides[1] and max(sides) < 1e15
    )


def georeference_of(dataset: Any) -> tuple[Georeference | None, list[str]]:  # noqa: ANN401
    """Return where a dataset lies, and what a user has to know about it, as sentences after the file's name."""
    transform = tuple(float(value) for value in tuple(dataset.transform)[:6])
    try:
        crs = dataset.crs.to_wkt() if dataset.crs else ""
    except Exception:  # rasterio has several types for a system that PROJ can't read
        crs = ""
    if dataset.transform.is_identity:
        if dataset.gcps[0] or dataset.rpcs:
            return None, [
                "is located by control points alone, which are not used; warp it to a grid (gdalwarp) for maps that "
                "lie where it lies."
            ]
        return None, ["names a coordinate reference system, but not where it lies in it."] if crs else []
    if not is_place(transform):
        return None, ["has a geotransform without area, which is not used; correct it for maps that lie somewhere."]
    a, b, c, d, e, f = transform
    return Georeference(crs, (a, b, c, d, e, f)), []


def described(path: Path, dataset: Any) -> tuple[list[int], Described]:  # noqa: ANN401
    """Return the bands of a dataset that hold values (from 0), and what it says about them."""
    from rasterio.enums import ColorInterp, MaskFlags

    colours, notices = dataset.colorinterp, list[str]()
    bands = list(range(dataset.count))
    transparent = [band for band in bands if colours[band] == ColorInterp.alpha]
    # Writers mark the band after the first as transparency when they know no better: only the last one can be meant.
    has_alpha = transparent == bands[-1:] and dataset.count > 1
    if has_alpha:
        bands.pop()
        notices.append(
            f"{path} marks the last band, {dataset.count}, as transparency (alpha): it is read as the mask of pixels "
            "without data and is no band of the cube."
        )
    elif transparent:
        listed = " and ".join(str(band + 1) for band in transparent)
        notices.append(
            f"{path} marks band {listed} as transparency (alpha), but not the last one: it is read as a band."
        )
    centres = band_centres(path, dataset, bands)
    red_green_blue = [
        bands.index(colours.index(colour)) if colour in colours else None
        for colour in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    ]
    red, green, blue = red_green_blue
    rgb = None if red is None or green is None or blue is None else (red, green, blue)
    if rgb is not None and len(bands) == 3 and set(dataset.dtypes) == {"uint8"}:
        notices.append(
            f"Warning: {path} holds red, green and blue of 8 bits, as a picture or photograph does, and no spectra; "
            "check that it is the cube."
        )
    if dataset.subdatasets:
        notices.append(
            f"Warning: {path} holds {len(dataset.subdatasets)} images, of which the first is read; if each is a band, "
            "write them as the bands of one image."
        )
    flags = [dataset.mask_flag_enums[band] for band in bands]
    values = Values(
        tuple(float(dataset.scales[band]) for band in bands),
        tuple(float(dataset.offsets[band]) for band in bands),
        masked=has_alpha or any(MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag for flag in flags),
        alpha=dataset.count if has_alpha else None,
    )
    if not all(map(math.isfinite, (*values.gain, *values.offset))) or 0 in values.gain:
        notices.append(f"Warning: {path} gives scale factors that are 0 or no numbers; stored numbers are read.")
        values = Values(masked=values.masked, alpha=values.alpha)
    if values.scaled:
        notices.append(f"The values of {path} are its stored numbers times the scale of each band, plus its offset.")
    numbers = no_data_of(path, dataset, bands, notices)
    no_data, values = with_no_data(numbers, values)
    marks = words_of(tags_of(dataset).get("bbl", ""))
    of_all = len(marks) == dataset.count
    good = [marks[band] if of_all else tags_of(dataset, band).get("bbl", "1") for band in bands]
    bad = tuple(place for place, text in enumerate(good) if text.strip() in ("0", "0.0"))
    names, colours = (class_names(path), class_colours(dataset)) if len(bands) == 1 else (None, None)
    return bands, Described(centres.values, bad, rgb, no_data, names, (*notices, *centres.notices), values, colours)


def class_names(path: Path) -> dict[int, str] | None:
    """Return the names of the values of a raster's only band, which GDAL keeps in the file `.aux.xml` beside it.

    A file that can't be understood says nothing, as for GDAL.
    """
    beside = path.with_name(f"{path.name}.aux.xml")
    try:
        if not beside.is_file() or beside.stat().st_size > MOST_XML:
            return None
        listed = tree_in(beside.read_bytes()).findall("PAMRasterBand[@band='1']/CategoryNames/Category")
    except (OSError, *DAMAGE):
        return None
    return {value: one.text for value, one in enumerate(listed) if one.text} or None


def class_colours(dataset: Any) -> dict[int, tuple[int, int, int]] | None:  # noqa: ANN401
    """Return the colour table of a raster's only band; None without one."""
    try:
        table = dataset.colormap(1)
    except ValueError:  # there is none
        return None
    return {value: (red, green, blue) for value, (red, green, blue, _) in table.items()}


def no_data_of(path: Path, dataset: Any, bands: Sequence[int], notices: list[str]) -> list[float | None]:  # noqa: ANN401
    """Return the stored number for missing data of each band; one that the type can't hold is left out and noticed."""
    found: list[float | None] = []
    for band in bands:
        value, kind = dataset.nodatavals[band], np.dtype(dataset.dtypes[band])
        if value is not None and not holds(kind, value):
            sentence = f"{path} names the no-data value {value:g}, which its type {kind} can't hold: it is ignored."
            notices += [] if sentence in notices else [sentence]
            value = None
        found.append(None if value is None else exact(kind, float(value)))
    return found


def with_no_data(numbers: Sequence[float | None], values: Values) -> tuple[float | None, Values]:
    """Return the stored number for missing data, if it is all that marks it; else values with NaN in its place.

    Args:
        numbers: Stored number for missing data of each band.
        values: What is done to stored numbers.
    """
    first, absent = numbers[0], tuple(math.nan if value is None else value for value in numbers)
    shared = all(value == first or (value != value and first != first) for value in numbers)  # NaN differs from NaN
    if shared and not values.scaled and not values.masked:
        return first, values
    return None, values if all(value is None for value in numbers) else replace(values, absent=absent)


def exact(kind: np.dtype[Any], value: float) -> float:
    """Return a stored number as its type holds it: the smallest of float32 is often written as -3.40282e+38."""
    largest = float(np.finfo(np.float32).max)
    return math.copysign(largest, value) if kind == np.float32 and 0.9999 < abs(value) / largest < 1.0001 else value


def holds(kind: np.dtype[Any], value: float) -> bool:
    """Whether a type of numbers has a value."""
    if kind.kind == "f":
        return True
    if not math.isfinite(value) or not float(value).is_integer():
        return False
    limits = np.iinfo(kind)
    return limits.min <= value <= limits.max


def band_centres(path: Path, dataset: Any, bands: Sequence[int]) -> Centres:  # noqa: ANN401
    """Return the band centres from the metadata of the bands, else of the file, else from the bands' descriptions."""
    of_all = tags_of(dataset)
    names = [dataset.descriptions[band] for band in bands]
    own = [centre_of(dataset, band, of_all) for band in bands]
    if any(one is not None for one in own):
        every = [one or named_in(name or "") for one, name in zip(own, names, strict=True)]
        return of_bands(str(path), [one for one in every if one is not None], len(bands))
    words = words_of(of_all.get("wavelength", ""))
    if not words:
        return in_names(str(path), names)
    place = f"{path}, in 'wavelength',"
    if len(words) != dataset.count:
        return in_nm(place, [math.nan] * len(words), "", dataset.count)
    try:
        return in_nm(place, [float(words[band]) for band in bands], unit_in(of_all), len(bands))
    except ValueError:
        return Centres(None, (f"Warning: {place} gives wavelengths that are no numbers; they are ignored.",))


def tags_of(dataset: Any, band: int | None = None) -> dict[str, str]:  # noqa: ANN401
    """Return the metadata of a band (from 0), or of the file, also those in ENVI's domain; names in lower case."""
    number = 0 if band is None else band + 1
    whole = {**dataset.tags(number), **dataset.tags(number, ns="ENVI")}
    return {key.lower().replace(" ", "_"): value for key, value in whole.items()}


def words_of(text: str) -> list[str]:
    """Return the entries of a list in metadata, with or without brackets, as ENVI and EnMAP-Box write it."""
    return re.findall(r"[^\s,{}\[\]]+", text)


def unit_in(*places: dict[str, str]) -> str:
    """Return the unit of wavelengths that metadata name, by the first place that does; empty = none."""
    names = ("wavelength_units", "wavelengthunits", "wavelength_unit", "wavelengthunit")
    return next((place[name] for place in places for name in names if name in place), "")


def centre_of(dataset: Any, band: int, of_all: dict[str, str]) -> tuple[float, str] | None:  # noqa: ANN401
    """Return number and unit of a band's wavelength in its metadata; None if they don't say it."""
    tags = tags_of(dataset, band)
    imagery = {key.lower(): value for key, value in dataset.tags(band + 1, ns="IMAGERY").items()}
    for name, given in (
        ("wavelength", ""),
        ("centre_wavelength", ""),
        ("center_wavelength", ""),
        ("wavelength_nm", "nm"),
        ("central_wavelength_um", "um"),
    ):
        text = tags.get(name) or imagery.get(name)
        if text is None:
            continue
        named = named_in(text)
        if named is not None:
            return named
        try:
            value = float(text)
        except ValueError:
            continue
        return value, given or unit_in(tags, of_all)
    return None


def rows(path: Path, key: str | None) -> Rows:
    """Open a raster for reading in windows; a key is ignored.

    Raises:
        SceneError: GDAL can't read it, or rasterio isn't installed.
    """
    library(path)
    require_own_pixels(path)
    dataset = opened(path)
    try:
        with gdal(path, " can't be read as a raster"):
            bands, about = described(path, dataset)
            return raster_rows(path, dataset, bands, about)
    except BaseException:
        dataset.close()
        raise


def require_own_pixels(path: Path) -> None:
    """Refuse files beside a raster that GDAL would take for its mask or overviews, and that are no TIFF."""
    for suffix in (".msk", ".ovr"):
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            with beside.open("rb") as file:
                if file.read(4) not in TIFF:
                    raise SceneError(f"{beside} is no TIFF, so it can't be the mask of {path.name}; move it elsewhere.")


def opens(path: Path) -> bool:
    """Return whether GDAL knows a file of an unusual extension."""
    try:
        opened(path).close()
    except SceneError:
        return False
    return True


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as a TIFF."""
    with path.open("rb") as file:
        return file.read(4) in TIFF


def is_list(path: Path) -> bool:
    """Refuse a VRT, which is a list of other files."""
    with path.open("rb") as file:
        head = file.read(2**10).lstrip(b"\xef\xbb\xbf \r\n\t")
    if not head.startswith(b"<") or not any(root in head for root in (b"<VRT", b"<GDAL_")):
        return False
    raise SceneError(
        f"{path} is a VRT: a list of other files, which is not followed; write its pixels into one file with "
        f"gdal_translate {path.name} {path.stem}.tif."
    )


FORMATS = (
    Format(ANY, whole(rows), rows, is_list, order=-9),
    Format(ANY, whole(rows), rows, is_tiff, order=-8, title="GeoTIFF"),
    Format(tuple(suffix for suffix in SUFFIXES if suffix not in SHARED), whole(rows), rows, order=2, title="raster"),
    Format(SHARED, whole(rows), rows, opens, order=5, title="raster"),
    Format(ANY, whole(rows), rows, opens, order=8, title="raster"),
)
