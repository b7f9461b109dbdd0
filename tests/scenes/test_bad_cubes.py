"""Cubes that can't be read, through the command line: one sentence with file, field and way out; nothing of GDAL."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.scenes.__main__ import main
from tests.conftest import CommandLine
from tests.fakes import fake_cube, write_matlab5

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

from tests.scenes.test_products import metadata, write_emit, write_enmap, write_prisma  # noqa: E402
from tests.scenes.test_rasters import write_envi, write_tif  # noqa: E402

CUBE = fake_cube()
FORBIDDEN = (
    "Traceback",
    "GDAL",
    "CPLE",
    "ERROR ",
    "rasterio",
    "IReadBlock",
    "libtiff",
    "TIFF",
    "PROJ",
    "expat",
    "errno",
)

Make = Callable[[Path], Path]


def envi(more: str = "", cube: Any = CUBE, **replaced: str | None) -> Make:
    """An ENVI file with fields of its header exchanged (`_` stands for a space), or left out (None)."""
    fields = {name.replace("_", " "): value for name, value in replaced.items()}
    return lambda folder: write_envi(folder / "x.img", cube, replaced=fields, more=more).with_suffix(".hdr")


def rewritten(change: Callable[[bytes], bytes], name: str = "x.hdr") -> Make:
    def make(folder: Path) -> Path:
        write_envi(folder / "x.img")
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        return folder / "x.hdr"

    return make


def raw(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def without(name: str, named: str) -> Make:
    def make(folder: Path) -> Path:
        write_envi(folder / "x.img")
        (folder / name).unlink()
        return folder / named

    return make


def two_files(folder: Path) -> Path:
    write_envi(folder / "x.img")
    (folder / "x.dat").write_bytes(b"1")
    return folder / "x.hdr"


def cut_tif(folder: Path) -> Path:
    path = write_tif(folder / "x.tif", fake_cube(100, 100, 8), compress="deflate")
    path.write_bytes(path.read_bytes()[:40_000])
    return path


def huge_tif(folder: Path, tile: int = 0) -> Path:
    """A header that claims 2^30 x 2^30 pixels of 8 bits, in a single strip or in tiles of `tile` x `tile`."""
    pixels = ((256, 2**30), (257, 2**30), (258, 8), (259, 1), (262, 1))
    strip, tiles = (
        ((273, 8), (277, 1), (278, 2**30), (279, 9)),
        ((277, 1), (322, tile), (323, tile), (324, 8), (325, 9)),
    )
    tags = (*pixels, *(tiles if tile else strip))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (folder / "x.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4))
    return folder / "x.tif"


def vrt(source: str, head: str = "") -> Make:
    text = (
        f'{head}<VRTDataset rasterXSize="7" rasterYSize="6"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return raw("x.vrt", text.encode())


def below_a_file(folder: Path) -> Path:
    write_envi(folder / "x.img")
    return folder / "x.img" / "y.hdr"


def struct_of_text(folder: Path) -> Path:
    return write_matlab5(folder / "x.mat", {"hsi": {"note": "text"}})


CASES: dict[str, tuple[Make, str]] = {
    "no samples": (envi(samples=None), "x.hdr has no field 'samples'; add it, as in 'samples = 100'"),
    "no lines": (envi(lines=None), "x.hdr has no field 'lines'"),
    "no bands": (envi(bands=""), "x.hdr has no field 'bands'"),
    "no data type": (envi(data_type=None), "x.hdr has no field 'data type'"),
    "negative samples": (envi(samples="-7"), "x.hdr: the field 'samples' is '-7' where a whole number from 1"),
    "no lines at all": (envi(lines="0"), "'lines' is '0'"),
    "half a band": (envi(bands="4.5"), "'bands' is '4.5'"),
    "words": (envi(lines="six"), "'lines' is 'six'"),
    "not a number": (envi(lines="nan"), "'lines' is 'nan'"),
    "infinite": (envi(bands="inf"), "'bands' is 'inf'"),
    "a list": (envi(samples="{7, 7}"), "'samples' is '7, 7'"),
    "a long text": (envi(samples="7" * 400), "..."),
    "huge": (envi(samples="1000000000", lines="1000000000"), "1000000000 samples and 5 bands of type uint16"),
    "beyond 31 bits": (envi(samples="99999999999"), "'samples' is '99999999999'"),
    "too many bands": (envi(bands="100000"), "'bands' is '100000'"),
    "too short": (rewritten(lambda data: data[:-1], "x.img"), "x.img has 419 bytes, but"),
    "one line more": (envi(lines="7"), "the 7 lines, 7 samples and 5 bands of type uint16 of x.hdr take 490"),
    "wider type": (envi(data_type="5"), "is truncated, or a field of the header is wrong"),
    "unknown type": (envi(data_type="99"), "'data type' is 99, which is none of ENVI's types (1, 2,"),
    "text type": (envi(data_type="float"), "'data type' is 'float'"),
    "complex": (envi(data_type="6"), "'data type' is 6, complex64, where real numbers are needed"),
    "double complex": (envi(data_type="9"), "complex128"),
    "unknown interleave": (envi(interleave="bsx"), "'interleave' is 'bsx'; it has to be one of bsq, bil, bip"),
    "no interleave": (envi(interleave=None), "'interleave' is missing"),
    "byte order 7": (envi(byte_order="7"), "'byte order' is '7' where a whole number from 0 to 1"),
    "negative offset": (envi(header_offset="-1"), "'header offset' is '-1'"),
    "offset beyond": (envi(header_offset="4611686018427387904"), "but the 6 lines"),
    "compressed": (envi(file_compression="1"), "the data are compressed"),
    "frames": (envi(major_frame_offsets="{4, 4}"), "'major frame offsets'"),
    "open braces": (envi("wavelength = {1, 2,\n3"), "the braces of the field 'wavelength' are never closed"),
    "not ENVI": (rewritten(lambda text: text[5:]), "x.hdr is no ENVI header: its first line is not 'ENVI'"),
    "empty header": (rewritten(lambda text: b""), "x.hdr is empty (0 bytes)"),
    "only ENVI": (rewritten(lambda text: b"ENVI"), "x.hdr has no field"),
    "binary header": (rewritten(lambda text: bytes(range(256)) * 99), "x.hdr is no ENVI header"),
    "header without end": (rewritten(lambda text: text + b" " * 2**24), "more than 16,777,216 bytes"),
    "header of UTF-16 cut": (rewritten(lambda text: text.decode().encode("utf-16")[:41]), "has no field"),
    "header alone": (without("x.img", "x.hdr"), "x.hdr has no data file beside it: x without extension or with one of"),
    "data alone": (without("x.hdr", "x.img"), "x.img has no ENVI header beside it, x.hdr or x.img.hdr"),
    "two data files": (two_files, "lies beside the data files x.img and x.dat; name the one to read"),
    "empty data": (rewritten(lambda data: b"", "x.img"), "x.img has 0 bytes, but"),
    "below a file": (below_a_file, "x.img/y.hdr does not exist"),
    "cut picture": (cut_tif, "x.tif: rows 0 to 99 can't be read"),
    "picture of nothing": (raw("x.tif", b"II*\0\x08\0\0\0"), "x.tif can't be read as a raster"),
    "no bytes": (raw("x.tif", b""), "x.tif is empty (0 bytes)"),
    "text as picture": (raw("x.tif", b"hello" * 99), "x.tif can't be read as a raster"),
    "complex picture": (
        lambda f: write_tif(f / "x.tif", (CUBE * 1j).astype("c8")),
        "x.tif holds values of type complex64",
    ),
    "huge picture": (huge_tif, "x.tif: rows 0 to 0 can't be read"),
    "huge tiles": (lambda f: huge_tif(f, 2**20), "an array of shape (1048576, 1048576, 1) takes"),
    "page": (raw("x.tif", b"<!DOCTYPE html><html>404"), "x.tif is a web page"),
    "other driver": (raw("x.unheard", b"<GDAL_WMS><Service/></GDAL_WMS>"), "is a VRT"),
    "virtual, elsewhere": (vrt("/etc/passwd"), "x.vrt is a VRT: a list of other files, which is not followed"),
    "virtual, network": (vrt("/vsicurl/http://127.0.0.1:9/x.tif", '<?xml version="1.0"?>\n'), "is a VRT"),
    "struct of text": (struct_of_text, "0 numeric arrays of two or more dimensions"),
    "folder": (lambda folder: folder, "is a directory where a file is needed"),
    "archive": (raw("x.tar.gz", b"\x1f\x8b"), "x.tar.gz is an archive; unpack it"),
    "unknown": (raw("x.words", b"words"), "unknown extension '.words'"),
    "EnMAP of other bands": (lambda f: write_enmap(f / "p", metadata(4)), "describes 4 bands"),
    "PRISMA of one detector": (lambda f: write_prisma(f / "x.he5", cubes=("VNIR",)), "without SWIR_Cube"),
    "PRISMA L1": (lambda f: write_prisma(f / "x.he5", level="L1"), "without VNIR_Cube"),
    "EMIT of other bands": (
        lambda f: write_emit(f / "x.nc", **{"sensor_band_parameters/wavelengths": np.ones(3)}),  # type: ignore[arg-type]
        "has the shape (3,) for the 5 bands",
    ),
    "EMIT of two axes": (
        lambda f: write_emit(f / "x.nc", reflectance=CUBE[0]),
        "where rows, columns, bands are needed",
    ),
    "old NetCDF": (raw("x.nc", b"CDF\1" + bytes(60)), "NetCDF of version 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_names_file_field_and_way_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    make, words = CASES[case]
    path = make(tmp_path)
    before = sorted(place.name for place in tmp_path.rglob("*"))
    capfd.readouterr()
    assert main([str(path), "--picture", str(tmp_path / "picture.png")]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("hsi_al: error: ") and err.count("\n") == 1, err
    assert words in err and str(tmp_path) in err and err.endswith(".\n"), err
    said = err.replace(str(tmp_path), "")
    assert not any(word in said for word in FORBIDDEN), err
    assert len(said) < 600
    assert sorted(place.name for place in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("case", ["no samples", "too short", "cut picture", "virtual, network", "archive"])
@pytest.mark.parametrize("in_memory", ["true", "false", "auto"])
def test_a_run_says_the_same(tmp_path: Path, command_line: CommandLine, case: str, in_memory: str) -> None:
    make, words = CASES[case]
    folder = tmp_path / "data"
    folder.mkdir()
    path = make(folder)
    done = command_line(
        *("dataset=custom", "dataset.name=x", f"dataset.cube_file={path}", f"dataset.in_memory={in_memory}"),
        *("learner=nearest_label", "acquisition=random", "protocol=smoke"),
    )
    assert done.code == 2 and words in done.err and done.err.count("hsi_al: error: ") == 1, done.err
    assert not any(word in done.err.replace(str(tmp_path), "") for word in FORBIDDEN), done.err


READABLE: dict[str, tuple[Make, str]] = {
    "other number of wavelengths": (envi("wavelength = {1, 2}\n"), "'wavelength' has 2 values where 5 belong"),
    "other number of good bands": (envi("bbl = {1, 1}\n"), "'bbl' has 2 values where 5 belong"),
    "default bands beyond": (envi("default bands = {1, 2, 99}\n"), "'default bands' is 1, 2, 99"),
    "more bytes": (rewritten(lambda data: data + b"12", "x.img"), "has 2 bytes more than its header declares"),
    "a photograph": (
        lambda f: write_tif(f / "x.tif", (CUBE[:, :, :3] % 255).astype(np.uint8), photometric="RGB"),
        "holds red, green and blue of 8 bits",
    ),
    "EMIT without wavelengths": (
        lambda f: write_emit(f / "x.nc", leave_out=("sensor_band_parameters/wavelengths",)),
        "has no sensor_band_parameters/wavelengths",
    ),
}


@pytest.mark.parametrize("case", READABLE)
def test_what_is_odd_but_readable_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    make, words = READABLE[case]
    path = make(tmp_path)
    capfd.readouterr()
    assert main([str(path)]) == 0
    out, err = capfd.readouterr()
    assert err == "" and words in out
