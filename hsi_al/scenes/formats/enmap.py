"""EnMAP and DESIS L2A products as delivered: *SPECTRAL_IMAGE.TIF and *METADATA.XML, in a folder, a .zip or a .tar.

One of the two files may be named, too. Windows of a packed image are unpacked as they are read.

Values are reflectances: stored numbers times the gain of their band, plus its offset; the background value is missing
data. Bands keep the order of the file, in which the two detectors of EnMAP overlap; those that the product doesn't
expect, or that hold the background alone, are bad. Layouts: "EnMAP HSI Level 1B/1C/2A Product Specification" and "DESIS
L1B, L1C, L2A Product Specification" (DLR), as EnMAP-Box reads them. Tried on files built to the published layouts only.
"""

import itertools
import math
import re
import tarfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.etree import ElementTree

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import ANY, Format, Rows, whole
from hsi_al.scenes.formats.raster import Described, Values, library, opened, raster_rows, with_no_data
from hsi_al.scenes.plain_xml import DAMAGE, tree_in
from hsi_al.scenes.wavelengths import in_nm

MOST_XML, MOST_BANDS = 2**25, 2**12  # bytes; those of real products have about a million
BACKGROUND = -32768.0
PACKED = (".zip", ".tar")
ARCHIVES = (*PACKED, ".gz", ".tgz", ".bz2", ".xz", ".7z")
MOST_MEMBERS = 10_000  # of an archive


class Mission(NamedTuple):
    """What tells the products of one mission from those of another.

    Attributes:
        name: Its name, for people; in capitals all files begin with it.
        band: Element of a band in `bandCharacterisation`.
        gain: Element of a band that holds its gain.
        offset: Element of a band that holds its offset.
    """

    name: str
    band: str
    gain: str
    offset: str

    def sorted_out(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return which names are those of metadata files and of images of this mission."""
        endings = (r"METADATA\.XML(\.XML)?", r"SPECTRAL_IMAGE(_COG)?\.TIFF?")
        wanted = [re.compile(f"(.*/)?{self.name}[^/]*{ending}", re.IGNORECASE) for ending in endings]
        every = sorted(names)
        return [name for name in every if wanted[0].fullmatch(name)], [n for n in every if wanted[1].fullmatch(n)]


ENMAP = Mission("EnMAP", "bandID", "GainOfBand", "OffsetOfBand")
DESIS = Mission("DESIS", "band", "gainOfBand", "offsetOfBand")


def files_in(mission: Mission, folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the metadata files and of the images in a folder."""
    return mission.sorted_out(place.name for place in folder.iterdir() if place.is_file())


def members_of(path: Path) -> dict[str, int]:
    """Return the files of an archive by name, with their sizes; {} for what is no readable .zip or .tar."""
    with suppress(zipfile.BadZipFile, tarfile.TarError, OSError):
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as packed:
                return {item.filename: item.file_size for item in packed.infolist()[:MOST_MEMBERS]}
        with tarfile.open(path, "r:") as archive:
            return {item.name: item.size for item in itertools.islice(archive, MOST_MEMBERS) if item.isreg()}
    return {}


def is_packed(mission: Mission, path: Path) -> bool:
    """Return whether a path is an archive with a product in it."""
    return path.suffix.lower() in PACKED and path.is_file() and any(mission.sorted_out(members_of(path)))


def is_product(mission: Mission, path: Path) -> bool:
    """Return whether a path is a product: its folder, archive, metadata, or its image with metadata beside it."""
    if is_packed(mission, path):
        return True
    if path.is_dir():
        return any(files_in(mission, path))
    metadata, images = mission.sorted_out([path.name])
    return bool(metadata or (images and files_in(mission, path.parent)[0]))


def files_of(mission: Mission, path: Path) -> tuple[Path, Path]:
    """Return metadata and image of a product.

    Raises:
        SceneError: One of them is missing, or there are several products.
    """
    folder, name = path if path.is_dir() else path.parent, mission.name
    metadata, images = files_in(mission, folder)
    if not path.is_dir():  # of several products in the folder the one that is named
        product = path.name.upper().partition("-METADATA")[0].partition("-SPECTRAL_IMAGE")[0]
        metadata = [file for file in metadata if file.upper().startswith(product)]
        images = [file for file in images if file.upper().startswith(product)]
    for found, what in ((metadata, "METADATA.XML"), (images, "SPECTRAL_IMAGE.TIF")):
        if not found:
            raise SceneError(
                f"{path}: the file {name.upper()}...{what} of this {name} product is missing; unpack all of it."
            )
        if len(found) > 1:
            raise SceneError(f"{path} holds several {name} products; name the ...METADATA.XML of one of them.")
    return folder / metadata[0], folder / images[0]


def content_of(mission: Mission, path: Path) -> tuple[Path, bytes | None, Path]:
    """Return the place of the metadata, their content (None = too large), and where GDAL finds the image.

    Raises:
        SceneError: One of the two is missing, or there are several products.
    """
    if not is_packed(mission, path):
        metadata, beside = files_of(mission, path)
        return metadata, metadata.read_bytes() if metadata.stat().st_size <= MOST_XML else None, beside
    members, name = members_of(path), mission.name
    found = mission.sorted_out(members)
    for names, what in zip(found, ("METADATA.XML", "SPECTRAL_IMAGE.TIF"), strict=True):
        if len(names) != 1:
            has = f"several {name} products" if names else f"a product of {name} without its {name.upper()}...{what}"
            raise SceneError(f"{path} holds {has}; unpack it, and name the ...METADATA.XML of one product.")
    (text,), (image_name,) = found
    small, content = members[text] <= MOST_XML, None
    if path.suffix.lower() == ".zip":
        if small:
            with zipfile.ZipFile(path) as packed, packed.open(text) as member:
                content = member.read(MOST_XML)
        # In braces, since the two slashes of an absolute path would become one in a Path.
        inside = f"/vsizip/{{{path.resolve()}}}/{image_name}"
    else:
        with tarfile.open(path, "r:") as archive:
            image = archive.getmember(image_name)
            file = archive.extractfile(text) if small else None
            content = None if file is None else file.read(MOST_XML)
        # GDAL's own reader of .tar knows no names as long as those of EnMAP in a folder.
        inside = f"/vsisubfile/{image.offset_data}_{image.size},{path.resolve()}"
    return path / text, content, Path(inside)


def tree_of(path: Path, content: bytes | None) -> ElementTree.Element:
    """Read XML without definitions.

    Args:
        path: The file, for errors.
        content: What it holds; None = too much.

    Raises:
        SceneError: It is too large, damaged, or defines entities.
    """
    if content is None:
        raise SceneError(
            f"{path} has more than {MOST_XML:,} bytes, so it is no metadata of a product; download it again."
        )
    try:
        return tree_in(content)
    except DAMAGE as error:
        cause = " ".join(str(error).split())
        raise SceneError(f"{path} is no readable XML ({cause}); download it again.") from error


def described(mission: Mission, path: Path, content: bytes | None, n_bands: int) -> Described:
    """Return what the metadata, a file with this content, say about the bands of the image.

    Raises:
        SceneError: They describe another number of bands, or one without wavelength or gain.
    """
    root = tree_of(path, content)
    bands = root.findall(f".//bandCharacterisation/{mission.band}")
    if len(bands) != n_bands:
        raise SceneError(
            f"{path} describes {len(bands)} bands (bandCharacterisation), but the image has {n_bands}; unpack the "
            "product again, so that both are of one."
        )

    def numbers(name: str, default: float | None = None) -> tuple[float, ...]:
        values = []
        for number, band in enumerate(bands, start=1):
            text = (band.findtext(name) or "").strip()
            try:
                values.append(default if default is not None and not text else float(text))
            except ValueError:
                values.append(math.nan)
            if not math.isfinite(values[-1]):
                raise SceneError(f"{path}: {name} of band {number} is {text!r}, no number; download the product again.")
        return tuple(values)

    centres = in_nm(str(path), numbers("wavelengthCenterOfBand"), "nm", n_bands)
    values = Values(numbers(mission.gain), numbers(mission.offset, 0.0))
    background = BACKGROUND
    with suppress(ValueError):
        background = float(root.findtext("specific/backgroundValue") or background)
    no_data, values = with_no_data([background] * n_bands, values)
    notices = [*centres.notices]
    if values.scaled:
        notices.append(f"The values are the stored numbers times the gain, plus the offset, of {path}.")
    return Described(centres.values, bad_bands(root, n_bands), no_data=no_data, notices=tuple(notices), values=values)


def bad_bands(root: ElementTree.Element, n_bands: int) -> tuple[int, ...]:
    """Return the bands (from 0) that the product doesn't expect, or whose statistics are those of the background."""
    expected: set[int] = set()
    for detector in ("vnir", "swir"):
        text = root.findtext(f"specific/{detector}ProductQuality/expectedChannelsList") or ""
        expected |= {int(word) for word in re.findall(r"\d+", text)}
    bad = {band for band in range(n_bands) if expected and band + 1 not in expected}
    for place, band in enumerate(root.findall("product/bandStatistics/bandID")[:n_bands]):
        deviation, mean = (band.findtext(name, "").strip() for name in ("stdDeviation", "mean"))
        if (deviation, mean) == ("0", "-1000000"):
            bad.add(place)
    return tuple(sorted(bad))


def rows(mission: Mission, path: Path, key: str | None) -> Rows:
    """Open the image for reading in windows; a key is ignored.

    Raises:
        SceneError: A file of the product is missing or damaged, or rasterio isn't installed.
    """
    library(path)
    metadata, content, image = content_of(mission, path)
    dataset = opened(image if image.exists() else path, image, drivers=["GTiff"])
    try:
        about = described(mission, metadata, content, dataset.count)
        return raster_rows(path, dataset, range(dataset.count), about)
    except BaseException:
        dataset.close()
        raise


def refuse(path: Path, key: str | None) -> NoReturn:
    """Refuse an archive: windows of what is packed can't be read without unpacking what lies before.

    Raises:
        SceneError: Always.
    """
    raise SceneError(f"{path} is an archive; unpack it, and name the folder or file inside.")


FORMATS = (
    *(
        Format(
            ANY,
            whole(partial(rows, mission)),
            partial(rows, mission),
            partial(is_product, mission),
            order=-10,
            folders=True,
            title=f"{mission.name} L2A",
        )
        for mission in (ENMAP, DESIS)
    ),
    Format(ANY, refuse, refuse, lambda path: path.suffix.lower() in ARCHIVES),
)
