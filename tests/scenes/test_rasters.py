"""ENVI files and what GDAL reads, against arrays written by rasterio or by hand."""

import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.custom import load_custom_scene
from hsi_al.scenes.formats import raster
from hsi_al.scenes.formats.raster import pieces
from hsi_al.scenes.readers import loaded_rows, opened_rows, read_array
from tests.fakes import fake_cube

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # what tests write

CUBE = fake_cube()  # (6, 7, 5), uint16
UTM = "EPSG:32632"
NORTH = (30.0, 0.0, 500_000.0, 0.0, -30.0, 5_400_000.0)
ROTATED = (20.0, 8.0, 500_000.0, 8.0, -20.0, 5_400_000.0)
TYPES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
ORDERS = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}


def write_envi(
    path: Path,
    cube: NDArray[Any] = CUBE,
    interleave: str = "bsq",
    *,
    order: Literal["<", ">"] = "<",
    before: bytes = b"",
    after: bytes = b"",
    header: str = "{stem}.hdr",
    replaced: dict[str, str | None] | None = None,
    more: str = "",
) -> Path:
    """Write a cube (H, W, B) and its header by hand; `replaced` exchanges fields, None leaves one out."""
    height, width, n_bands = cube.shape
    fields: dict[str, str | None] = {
        "samples": str(width),
        "lines": str(height),
        "bands": str(n_bands),
        "header offset": str(len(before)),
        "file type": "ENVI Standard",
        "data type": str(TYPES[cube.dtype.str[1:]]),
        "interleave": interleave,
        "byte order": "1" if order == ">" else "0",
    }
    fields.update(replaced or {})
    stored = np.ascontiguousarray(cube.transpose(ORDERS[interleave]), cube.dtype.newbyteorder(order))
    path.write_bytes(before + stored.tobytes() + after)
    text = "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None)
    path.with_name(header.format(stem=path.stem, name=path.name)).write_text("ENVI\n" + text + more, encoding="utf-8")
    return path


def write_tif(path: Path, cube: NDArray[Any] = CUBE, transform: Any = None, **profile: Any) -> Path:
    tags = profile.pop("tags", {})
    place = {} if transform is None else {"transform": rasterio.Affine(*transform), "crs": UTM}
    height, width, count = cube.shape
    settings = {
        "driver": profile.pop("driver", "GTiff"),
        "height": height,
        "width": width,
        "count": count,
        "dtype": cube.dtype,
    }
    with rasterio.open(path, "w", **settings, **place, **profile) as file:
        file.write(cube.transpose(2, 0, 1))
        for band, tag in tags.items():
            file.update_tags(band, **tag)
    return path


def seen(path: Path) -> tuple[Rows, NDArray[Any]]:
    """What the file says, and its values, which have to be the same by windows, whole and in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return looked_at(path)


def looked_at(path: Path) -> tuple[Rows, NDArray[Any]]:
    with opened_rows(path) as rows:
        whole = rows.read(0, rows.shape[0])
        assert whole.shape == rows.shape and whole.dtype == rows.dtype and whole.flags.c_contiguous
        assert np.array_equal(rows.read(2, 5, 1, 4), whole[2:5, 1:4], equal_nan=True)
        assert rows.read(3, 3).shape == (0, *rows.shape[1:])
        assert np.array_equal(rows.read(5, 6, 6), whole[5:6, 6:], equal_nan=True)
    assert np.array_equal(read_array(path), whole, equal_nan=True)
    held = loaded_rows(path)
    assert np.array_equal(held.read(1, 3), whole[1:3], equal_nan=True)
    assert (held.wavelengths, held.no_data is None) == (rows.wavelengths, rows.no_data is None)
    assert (held.georeference, held.bad_bands, held.is_raster) == (rows.georeference, rows.bad_bands, True)
    return rows, whole


@pytest.mark.parametrize("interleave", ORDERS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", TYPES)
def test_envi_in_any_order_and_type(tmp_path: Path, interleave: str, order: Literal["<", ">"], kind: str) -> None:
    cube = (CUBE % 200).astype(kind)
    rows, values = seen(write_envi(tmp_path / "x.img", cube, interleave, order=order, before=b"#" * 13))
    assert np.array_equal(values, cube) and values.dtype == np.dtype(kind)
    assert rows.notices == () and rows.no_data is None and rows.georeference is None


@pytest.mark.parametrize(
    ("name", "header", "named"),
    [
        ("x.img", "{stem}.hdr", "x.hdr"),
        ("x.img", "{name}.hdr", "x.img.hdr"),
        ("x.IMG", "{stem}.hdr", "x.hdr"),
        ("x", "{stem}.hdr", "x.hdr"),
        ("x.dat", "{stem}.hdr", "x.hdr"),
        ("x.raw", "{stem}.HDR", "x.HDR"),
        ("a.b.bsq", "{stem}.hdr", "a.b.hdr"),
        ("x y#?.bin", "{stem}.hdr", "x y#?.hdr"),
        ("x.rfl", "{name}.hdr", "x.rfl.hdr"),
        ("x_rfl.2", "{stem}.hdr", "x_rfl.2"),
    ],
)
def test_header_or_data_may_be_named(tmp_path: Path, name: str, header: str, named: str) -> None:
    data = write_envi(tmp_path / name, header=header)
    for path in (data, tmp_path / named):
        rows, values = seen(path)
        assert np.array_equal(values, CUBE) and rows.path == path


def test_optional_fields_may_be_missing_empty_commented_or_floats(tmp_path: Path) -> None:
    replaced = {"samples": "7.0", "bands": " 5.0 ", "header offset": None, "file type": None, "byte order": ""}
    more = "; wavelength = {1}\ndescription = {\n a = b, {c\n; d }\n}\nsensor type =\nnonsense\n"
    more += "BBL = {1, 1.0,\n 0,\n;x\n1, 0.0}"
    rows, values = seen(write_envi(tmp_path / "x.img", replaced=replaced, more=more, after=b"12345"))
    assert np.array_equal(values, CUBE)
    assert rows.bad_bands == (2, 4) and rows.wavelengths is None
    (notice,) = rows.notices
    assert "5 bytes more" in notice


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_headers_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    data = write_envi(tmp_path / "x.img", more="description = {Müsli}\nwavelength units = nm\nwavelength={1,2,3,4,5}\n")
    header = data.with_suffix(".hdr")
    header.write_text(header.read_text(encoding="utf-8"), encoding=encoding)
    for path in (header, data):
        rows, values = seen(path)
        assert np.array_equal(values, CUBE) and rows.wavelengths == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("unit", "given", "nm", "words"),
    [
        ("Nanometers", (450, 550.5, 650, 800, 2400), (450, 550.5, 650, 800, 2400), ""),
        ("Micrometers", (0.45, 0.55, 0.65, 0.8, 2.4), (450, 550, 650, 800, 2400), ""),
        ("um", (0.45, 0.55, 0.65, 0.8, 2.4), (450, 550, 650, 800, 2400), ""),
        ("cm-1", (1e4, 8e3, 5e3, 4e3, 2e3), (1000, 1250, 2000, 2500, 5000), ""),
        ("Index", (1, 2, 3, 4, 5), None, "the unit 'Index'"),
        ("GHz", (1, 2, 3, 4, 5), None, "the unit 'GHz'"),
        ("", (0.45, 0.55, 0.65, 0.8, 2.4), (450, 550, 650, 800, 2400), "read as micrometres"),
        ("Unknown", (450, 550, 650, 800, 2400), (450, 550, 650, 800, 2400), "read as nm"),
        ("", (1, 2, 3, 4, 50), None, "no length"),
        ("nm", (450, 550), None, "has 2 values where 5 belong"),
        ("nm", (450, 550, -1, 2, 3), None, "no positive numbers"),
    ],
)
def test_wavelengths_become_nm(
    tmp_path: Path, unit: str, given: tuple[float, ...], nm: tuple[float, ...] | None, words: str
) -> None:
    more = f"wavelength units = {unit}\nwavelength = {{{', '.join(map(str, given))}}}\n"
    rows, _ = seen(write_envi(tmp_path / "x.img", more=more))
    assert rows.wavelengths == nm
    assert (rows.notices == ()) is (not words) and words in " ".join(rows.notices)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("default bands = {0, 2, 3}", "'default bands' is 0, 2, 3"),
        ("default bands = {1, 2, 60}", "no bands from 1 to 5"),
        ("default bands = {1, 2}", "2 values where 1 or 3 belong"),
        ("bbl = {1, 0}", "'bbl' has 2 values where 5 belong"),
        ("bbl = {1, good, 1, 1, 1}", "no number"),
        ("wavelength = {a, b, c, d, e}", "no number"),
        ("reflectance scale factor = 0", "'reflectance scale factor' is 0"),
        ("reflectance scale factor = many", "no number"),
        ("data gain values = {1, 2}", "'data gain values' has 2 values"),
        ("data gain values = {1, 2, 0, 1, 1}", "impossible"),
        ("data ignore value = -9999", "'data ignore value' is -9999, which the type uint16 can't hold"),
        ("data ignore value = none", "no number"),
    ],
)
def test_optional_fields_that_make_no_sense_are_ignored_with_a_notice(tmp_path: Path, field: str, words: str) -> None:
    rows, values = seen(write_envi(tmp_path / "x.img", more=field + "\n"))
    assert np.array_equal(values, CUBE)
    assert (rows.no_data, rows.bad_bands, rows.rgb_bands, rows.wavelengths) == (None, (), None, None)
    (notice,) = rows.notices
    assert words in notice and notice.count("\n") == 0 and "x.hdr" in notice


def test_wavelengths_in_the_band_names_of_envi(tmp_path: Path) -> None:
    names = [f"Band {band} ({0.4 + 0.1 * band:.1f} Micrometers)" for band in range(5)]
    rows, _ = seen(write_envi(tmp_path / "x.img", more=f"band names = {{\n {', '.join(names)}}}\n"))
    assert rows.wavelengths == (400, 500, 600, 700, 800)
    assert "400 to 800 nm, are those in the names of its bands" in rows.notices[0]
    own = "wavelength = {1, 2, 3, 4, 5}\nwavelength units = um\n"
    rows, _ = seen(write_envi(tmp_path / "x.img", more=f"{own}band names = {{{', '.join(names)}}}\n"))
    assert rows.wavelengths == (1000, 2000, 3000, 4000, 5000)
    for other in (["Band 1, of blue", *names[1:]], ["a", "b", "c", "d", "e"]):
        rows, _ = seen(write_envi(tmp_path / "x.img", more=f"band names = {{{', '.join(other)}}}\n"))
        assert rows.wavelengths is None and rows.notices == ()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Resize (Band {n}:cube 10nm.img) ({n}50.2 nm)", (150.2, 250.2, 350.2, 450.2, 550.2)),
        ("{n}00 nm", (100, 200, 300, 400, 500)),
        ("Colour ({n}00-{n}50 nm)", None),
        ("{n}00 nm to {n}50 nm", None),
        ("FWHM 5 nm; centre {n}50 nm", None),
        ("band {n} of a cube of 10 nm", None),
    ],
)
def test_lengths_in_band_names_that_are_no_centres(tmp_path: Path, name: str, found: tuple[float, ...] | None) -> None:
    names = ", ".join(name.format(n=n) for n in range(1, 6))
    rows, _ = seen(write_envi(tmp_path / "x.img", more=f"band names = {{{names}}}\n"))
    assert rows.wavelengths == found
    assert ("one wavelength for several bands" in " ".join(rows.notices)) is ("10 nm" in name)


@pytest.mark.parametrize("named", ["x.hdr", "x.sli"])
def test_a_library_of_spectra_is_no_image(tmp_path: Path, named: str) -> None:
    write_envi(tmp_path / "x.sli", replaced={"file type": "ENVI Spectral Library"})
    with pytest.raises(SceneError, match=r"x\.hdr describes a library of spectra, not an image"):
        opened_rows(tmp_path / named)


def test_default_bands_classes_and_an_ignored_value(tmp_path: Path) -> None:
    more = "default bands = {5.0, 3, 1}\ndata ignore value = 17\nclass names = {Unclassified, corn,\n oats}\n"
    rows, values = seen(write_envi(tmp_path / "x.img", more=more))
    assert rows.rgb_bands == (4, 2, 0) and rows.no_data == 17 and rows.notices == ()
    assert rows.class_names == {0: "Unclassified", 1: "corn", 2: "oats"}
    assert np.array_equal(values, CUBE)
    rows, _ = seen(write_envi(tmp_path / "x.img", more="default bands = 2\ndata ignore value = nan", cube=CUBE / 2))
    assert rows.rgb_bands == (1, 1, 1) and math.isnan(rows.no_data or 0)


@pytest.mark.parametrize("interleave", ORDERS)
def test_scale_factors_are_applied_and_missing_values_become_nan(tmp_path: Path, interleave: str) -> None:
    cube = CUBE.astype(np.int16)
    cube[1, 2] = -9999
    cube[3, 3, 1] = -9999
    more = "reflectance scale factor = 10000\ndata ignore value = -9999\n"
    rows, values = seen(write_envi(tmp_path / "x.img", cube, interleave, more=more))
    expected = np.where(cube == -9999, np.nan, cube / 10000)
    assert rows.dtype == np.float32 and math.isnan(rows.no_data or 0)
    assert np.array_equal(values, expected.astype(np.float32), equal_nan=True)
    assert "'reflectance scale factor' 10000" in rows.notices[0]


def test_gains_and_offsets_are_applied_per_band(tmp_path: Path) -> None:
    more = "data gain values = {1, 2, 0.5, 1, 4}\ndata offset values = {0, -3, 1, 0, 100}\n"
    rows, values = seen(write_envi(tmp_path / "x.img", more=more))
    assert np.array_equal(values, CUBE * [1, 2, 0.5, 1, 4] + [0, -3, 1, 0, 100])
    assert rows.no_data is None and values.dtype == np.float32


@pytest.mark.parametrize("transform", [NORTH, ROTATED])
def test_where_an_envi_file_lies_is_what_rasterio_wrote(tmp_path: Path, transform: tuple[float, ...]) -> None:
    with rasterio.open(
        tmp_path / "x.img", "w", driver="ENVI", height=6, width=7, count=5, dtype="uint16", crs=UTM,
        transform=rasterio.Affine(*transform), interleave="bil",
    ) as file:  # fmt: skip
        file.write(CUBE.transpose(2, 0, 1))
    rows, values = seen(tmp_path / "x.hdr")
    assert np.array_equal(values, CUBE)
    assert rows.georeference is not None
    assert rows.georeference.transform == pytest.approx(transform)
    assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632


@pytest.mark.parametrize(
    "place",
    [
        "map info = {UTM, 1, 1}",
        "map info = {UTM, x, y, z, 1, 2, 3, 9, North, WGS-84}",
        "map info = {UTM, 1, 1, 500000, 5400000, 30, 30, 61, North, WGS-84}",
        "map info = {UTM, 1, 1, 500000, 5400000, 30, 30, 32, Middle, WGS-84}",
        "map info = {UTM, 1, 1, 500000, 5400000, 0, 30, 32, North, WGS-84}",
        "map info = {UTM, 1, 1, nan, 5400000, 30, 30, 32, North, WGS-84}",
        "geo points = {1, 1, 50, 10, 7, 6, 49, 11}",
    ],
)
def test_a_place_that_is_none_is_said(tmp_path: Path, place: str) -> None:
    rows, _ = seen(write_envi(tmp_path / "x.img", more=place + "\n"))
    assert rows.georeference is None
    (notice,) = rows.notices
    assert f"'{place.partition(' =')[0]}'" in notice


@pytest.mark.parametrize("said", ["-3.40282e+38", "-3.4028235e+38", "-3.4028234663852886e+38"])
def test_the_smallest_float_is_found_however_it_is_written(tmp_path: Path, said: str) -> None:
    cube = CUBE.astype(np.float32)
    cube[2, 3] = np.finfo(np.float32).min
    for path in (
        write_envi(tmp_path / "a.img", cube, more=f"data ignore value = {said}\n"),
        write_envi(tmp_path / "b.img", cube, more=f"data ignore value = {said}\nreflectance scale factor = 2\n"),
        write_tif(tmp_path / "c.tif", cube, nodata=float(said) if "823" in said else -3.4028235e38),
    ):
        scene = load_custom_scene("x", path)
        assert scene.no_data is not None and np.argwhere(scene.no_data).tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("tie", "size", "angle", "warned"),
    [
        ("1, 1", "30, 30", "rotation=30", False),
        ("1, 1", "30, 30", "rotation=0", False),
        ("10.5, 3", "30, 20", "units=Meters", False),
        ("10.5, 3", "30, 30", "rotation=30", True),
        ("1, 1", "30, 20", "rotation=-12.5", True),
    ],
)
def test_turned_grids_that_programs_read_differently(
    tmp_path: Path, tie: str, size: str, angle: str, warned: bool
) -> None:
    more = f"map info = {{UTM, {tie}, 500000, 5400000, {size}, 32, North, WGS-84, {angle}}}\n"
    path = write_envi(tmp_path / "a.img", more=more)
    with opened_rows(path) as rows, rasterio.open(path) as seen:
        assert rows.georeference is not None
        assert rows.georeference.transform == pytest.approx(tuple(seen.transform)[:6])
        assert ("check where maps of it lie" in " ".join(rows.notices)) == warned


def test_a_system_that_is_none_leaves_the_grid(tmp_path: Path) -> None:
    more = "map info = {Arbitrary, 1, 1, 7, 9, 2, 2, 0, North}\ncoordinate system string = {garbage}\n"
    rows, _ = seen(write_envi(tmp_path / "x.img", more=more))
    assert rows.georeference is not None and rows.georeference.transform == (2, 0, 7, 0, -2, 9)


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"BIGTIFF": "YES"},
                                     {"interleave": "pixel", "compress": "deflate"}])  # fmt: skip
@pytest.mark.parametrize("transform", [NORTH, ROTATED, None])
def test_geotiff(tmp_path: Path, profile: dict[str, Any], transform: tuple[float, ...] | None) -> None:
    rows, values = seen(write_tif(tmp_path / "x.tif", transform=transform, nodata=3, **profile))
    assert np.array_equal(values, CUBE) and values.dtype == np.uint16
    assert rows.no_data == 3 and rows.notices == ()
    if transform is None:
        assert rows.georeference is None
    else:
        assert rows.georeference is not None and rows.georeference.transform == transform
        assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632


@pytest.mark.parametrize("name", ["x.TIF", "x", "x.unheard-of", "x.dat", "x.mat"])
def test_a_tiff_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    write_tif(tmp_path / "x.tif").rename(tmp_path / name)
    assert np.array_equal(seen(tmp_path / name)[1], CUBE)


def test_another_raster_is_known_by_its_content(tmp_path: Path) -> None:
    write_tif(tmp_path / "x.img", driver="HFA")
    assert np.array_equal(seen(tmp_path / "x.img")[1], CUBE)
    (tmp_path / "x.img").rename(tmp_path / "x.erdas")
    assert np.array_equal(seen(tmp_path / "x.erdas")[1], CUBE)


@pytest.mark.parametrize(
    ("tags", "nm"),
    [
        ({"wavelength": "{value}", "wavelength_units": "Micrometers"}, True),
        ({"WAVELENGTH": "{value}", "WavelengthUnits": "um"}, True),
        ({"WAVELENGTH": "{value} um"}, True),
        ({"CENTRAL_WAVELENGTH_UM": "{value}"}, True),
        ({"other": "{value}"}, False),
    ],
)
def test_wavelengths_of_the_bands_of_a_geotiff(tmp_path: Path, tags: dict[str, str], nm: bool) -> None:
    given = {band: {k: v.format(value=band * 0.1 + 0.3) for k, v in tags.items()} for band in range(1, 6)}
    given[2]["bbl"] = "0"
    rows, _ = seen(write_tif(tmp_path / "x.tif", tags=given))
    assert rows.wavelengths == (pytest.approx((400, 500, 600, 700, 800)) if nm else None)
    assert rows.bad_bands == (1,) and rows.notices == ()


@pytest.mark.parametrize("listed", ["400, 500,600 ,700,800", "{400, 500,\n 600, 700, 800}"])
@pytest.mark.parametrize(("domain", "unit"), [("ENVI", "wavelength units"), (None, "wavelength_units")])
def test_wavelengths_that_a_geotiff_lists_for_all_bands(
    tmp_path: Path, listed: str, domain: str | None, unit: str
) -> None:
    path = write_tif(tmp_path / "x.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns=domain, **{"wavelength": listed, unit: "Nanometers", "bbl": "{1, 1, 0, 1, 0}"})
    rows, _ = seen(path)
    assert rows.wavelengths == (400, 500, 600, 700, 800) and rows.bad_bands == (2, 4) and rows.notices == ()
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns=domain, **{"wavelength": "400, 500", "bbl": "1, 0"})
    rows, _ = seen(path)
    assert rows.wavelengths is None and rows.bad_bands == ()
    assert "gives 2 wavelengths for 5 bands; they are ignored" in rows.notices[0]
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns=domain, wavelength="{a, b, c, d, e}")
    assert "wavelengths that are no numbers" in seen(path)[0].notices[0]


def test_the_domain_of_envi_counts_before_others(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(wavelength_units="Index")
        file.update_tags(ns="ENVI", **{"wavelength": "{1, 2, 3, 4, 5}", "wavelength units": "um"})
    rows, _ = seen(path)
    assert rows.wavelengths == (1000, 2000, 3000, 4000, 5000) and rows.notices == ()


def test_wavelengths_of_bands_by_metadata_and_by_description(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", tags={band: {"wavelength": f"{band}00 nm"} for band in (1, 2)})
    with rasterio.open(path, "r+") as file:
        file.descriptions = ["", "", "300 nm", "400 nm", "500 nm"]
    assert seen(path)[0].wavelengths == (100, 200, 300, 400, 500)


def test_wavelengths_of_bands_in_the_domain_of_envi(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif")
    with rasterio.open(path, "r+") as file:
        for band in range(1, 6):
            file.update_tags(
                band, ns="ENVI", **{"wavelength": str(band), "wavelength units": "um", "bbl": "01"[band != 2]}
            )
    rows, _ = seen(path)
    assert rows.wavelengths == (1000, 2000, 3000, 4000, 5000) and rows.bad_bands == (1,) and rows.notices == ()


def test_wavelengths_in_descriptions(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif")
    with rasterio.open(path, "r+") as file:
        file.descriptions = [f"Band {band} ({450.2 + band} nm)" for band in range(1, 6)]
    assert seen(path)[0].wavelengths == pytest.approx([450.2 + band for band in range(1, 6)])
    with rasterio.open(path, "r+") as file:
        file.set_band_description(3, "the third")
    rows, _ = seen(path)
    assert rows.wavelengths is None and "4 wavelengths for 5 bands" in rows.notices[0]


def with_alpha(path: Path, cube: NDArray[Any], band: int) -> Path:
    write_tif(path, cube)
    with rasterio.open(path, "r+") as file:
        kind = rasterio.enums.ColorInterp
        file.colorinterp = [kind.alpha if place == band else kind.undefined for place in range(cube.shape[2])]
    return path


def test_an_alpha_band_at_the_end_is_a_mask(tmp_path: Path) -> None:
    alpha = np.full((6, 7, 1), 65535, np.uint16)
    alpha[0, :3] = 0
    rows, values = seen(with_alpha(tmp_path / "x.tif", np.concatenate([CUBE, alpha], axis=2), 5))
    assert rows.shape == CUBE.shape and values.dtype == np.float32 and math.isnan(rows.no_data or 0)
    assert np.array_equal(values, np.where(alpha == 0, np.nan, CUBE), equal_nan=True)
    assert "the last band, 6" in rows.notices[0]


def test_an_alpha_band_among_others_is_a_band(tmp_path: Path) -> None:
    rows, values = seen(with_alpha(tmp_path / "x.tif", CUBE, 1))
    assert np.array_equal(values, CUBE) and values.dtype == np.uint16
    assert "band 2 " in rows.notices[0]


@pytest.mark.parametrize("internal", [True, False])
def test_the_mask_of_a_dataset(tmp_path: Path, internal: bool) -> None:
    path, valid = write_tif(tmp_path / "x.tif"), np.ones((6, 7), bool)
    valid[2, 4:] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(valid)
    assert (tmp_path / "x.tif.msk").exists() is not internal
    values = seen(path)[1]
    assert np.array_equal(values, np.where(valid[:, :, None], CUBE, np.nan), equal_nan=True)
    if not internal:
        (tmp_path / "x.tif.msk").write_text('<VRTDataset rasterXSize="7" rasterYSize="6"/>')
        with pytest.raises(SceneError, match=r"x\.tif\.msk is no TIFF"):
            read_array(path)


def test_scales_and_offsets_of_a_geotiff(tmp_path: Path) -> None:
    cube = CUBE.astype(np.int32)
    cube[0, 0, 0] = -1
    path = write_tif(tmp_path / "x.tif", cube, nodata=-1)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 1, 2, 1, 1), (0, 10, 0, 0, 0)
    rows, values = seen(path)
    expected = np.where(cube == -1, np.nan, cube * [0.5, 1, 2, 1, 1] + [0, 10, 0, 0, 0])
    assert np.array_equal(values, expected, equal_nan=True) and values.dtype == np.float64
    assert "times the scale" in rows.notices[0] and math.isnan(rows.no_data or 0)


def test_no_data_that_the_type_cannot_hold_or_that_is_nan(tmp_path: Path) -> None:
    rows, values = seen(write_tif(tmp_path / "x.tif", (CUBE / 2).astype(np.float32), nodata=math.nan))
    assert math.isnan(rows.no_data or 0) and values.dtype == np.float32 and rows.notices == ()
    assert raster.holds(np.dtype("f4"), 1e300) and not raster.holds(np.dtype("u1"), -9999)
    assert not raster.holds(np.dtype("i2"), 0.5) and not raster.holds(np.dtype("i2"), math.nan)


def test_control_points_alone_are_said(tmp_path: Path) -> None:
    points = [
        rasterio.control.GroundControlPoint(row=r, col=c, x=10 + c, y=50 - r) for r, c in ((0, 0), (0, 6), (5, 0))
    ]
    rows, _ = seen(write_tif(tmp_path / "x.tif", gcps=points, crs="EPSG:4326"))
    assert rows.georeference is None and "control points" in rows.notices[0]


def test_texts_of_gdal_that_are_no_utf8_are_not_shown() -> None:
    shown: list[Any] = []
    hook = raster.without_gdal(shown.append)
    wrong = UnicodeDecodeError("utf-8", b"\xe5", 0, 1, "invalid")
    for error, place in (
        (wrong, "rasterio._env.log_error"),
        (wrong, "mine"),
        (ValueError(), "rasterio._env.log_error"),
    ):
        hook(SimpleNamespace(exc_value=error, object=place))
    assert [(type(seen.exc_value), seen.object) for seen in shown] == [
        (UnicodeDecodeError, "mine"),
        (ValueError, "rasterio._env.log_error"),
    ]
    raster.library(Path("a.tif"))
    raster.library(Path("a.tif"))
    assert getattr(sys.unraisablehook, "leaves_out_gdal", False)


def test_a_system_without_a_place_is_said(tmp_path: Path) -> None:
    rows, _ = seen(write_tif(tmp_path / "x.tif", crs="EPSG:4326"))
    assert rows.georeference is None and "but not where it lies in it" in rows.notices[0]
    assert seen(write_tif(tmp_path / "y.tif"))[0].notices == ()


@pytest.mark.parametrize(
    ("transform", "is_one"),
    [
        (NORTH, True),
        (ROTATED, True),
        ((0.0, 1e-6, 180.0, 1e-6, 0.0, 90.0), True),
        ((1e-7, 0.0, -180.0, 0.0, 1e-7, 90.0), True),
        ((2.0, 0.0, 1e308, 0.0, -2.0, 5e6), False),
        ((1e-300, 0.0, 5e5, 0.0, -2.0, 5e6), False),
        ((1e200, 0.0, 5e5, 0.0, -2.0, 5e6), False),
        ((2.0, 2.0, 5e5, 2.0, 2.0, 5e6), False),
        ((2.0, 0.0, math.nan, 0.0, -2.0, 5e6), False),
        ((2.0, 0.0, 5e5, 0.0, math.inf, 5e6), False),
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), False),
    ],
)
def test_transforms_that_are_places(transform: tuple[float, ...], is_one: bool) -> None:
    assert raster.is_place(transform) == is_one


def test_a_place_beyond_all_numbers_is_not_used(tmp_path: Path) -> None:
    for x, size in (("1e308", "2"), ("500000", "2e-300")):
        more = f"map info = {{UTM, 1, 1, {x}, 5000000, {size}, 2, 32, North, WGS-84}}\n"
        rows, _ = seen(write_envi(tmp_path / "x.img", more=more))
        assert rows.georeference is None and "without area" in " ".join(rows.notices)


def test_a_picture_is_read_with_a_warning(tmp_path: Path) -> None:
    picture = (CUBE[:, :, :3] % 250).astype(np.uint8)
    rows, values = seen(write_tif(tmp_path / "x.tif", picture, photometric="RGB"))
    assert np.array_equal(values, picture) and rows.rgb_bands == (0, 1, 2)
    assert "Warning" in rows.notices[0] and "no spectra" in rows.notices[0]
    write_tif(tmp_path / "x.png", picture, driver="PNG")
    assert np.array_equal(seen(tmp_path / "x.png")[1], picture)


def test_a_single_band_keeps_its_axis(tmp_path: Path) -> None:
    rows, values = seen(write_tif(tmp_path / "x.tif", CUBE[:, :, :1]))
    assert rows.shape == (6, 7, 1) and np.array_equal(values, CUBE[:, :, :1])


@pytest.mark.parametrize("block", [(1, 50), (16, 16), (3, 50), (64, 64), (7, 10)])
@pytest.mark.parametrize("window", [((0, 40), (0, 50)), ((5, 33), (11, 47)), ((39, 40), (0, 1)), ((16, 32), (16, 32))])
def test_pieces_cover_a_window_once_and_keep_blocks_together(
    monkeypatch: pytest.MonkeyPatch, block: tuple[int, int], window: Any
) -> None:
    monkeypatch.setattr(raster, "PIECE_BYTES", 2000)
    count = np.zeros((40, 50), int)
    (top, bottom), (left, right) = window
    for rows, columns in pieces((top, bottom), (left, right), block, 4):
        assert rows.start < rows.stop and columns.start < columns.stop
        count[rows, columns] += 1
        whole_blocks = block[0] * block[1] * 4
        assert (rows.stop - rows.start) * (columns.stop - columns.start) * 4 <= max(2000, whole_blocks)
        assert rows.start in (top, rows.start // block[0] * block[0])
        assert columns.start in (left, columns.start // block[1] * block[1])
    expected = np.zeros((40, 50), int)
    expected[top:bottom, left:right] = 1
    assert np.array_equal(count, expected)


def test_without_rasterio_one_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_envi(tmp_path / "x.img"), write_tif(tmp_path / "y.tif"), tmp_path / "x.hdr"]
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    for path in paths:
        with pytest.raises(SceneError, match=r"needs rasterio to be read: pip install 'hsi_al\[geo\]'\.$"):
            read_array(path)
    (tmp_path / "z.txt").write_text("words")
    with pytest.raises(SceneError, match="unknown extension"):
        read_array(tmp_path / "z.txt")


Damage = Callable[[Path], Path]


def cut(path: Path) -> Path:
    write_tif(path / "x.tif", np.arange(200 * 200 * 3, dtype=np.uint32).reshape(200, 200, 3), compress="deflate")
    content = (path / "x.tif").read_bytes()
    (path / "x.tif").write_bytes(content[: len(content) // 2])
    return path / "x.tif"


def garbage(path: Path) -> Path:
    (path / "x.tif").write_bytes(b"II*\0" + bytes(range(256)) * 4)
    return path / "x.tif"


def complex_(path: Path) -> Path:
    return write_tif(path / "x.tif", (CUBE * 1j).astype(np.complex64))


def vrt(path: Path) -> Path:
    (path / "x.vrt").write_text(
        '<VRTDataset rasterXSize="7" rasterYSize="6"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="0">/vsicurl/http://127.0.0.1:9/x.tif</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    return path / "x.vrt"


def unknown(path: Path) -> Path:
    (path / "x.unheard-of").write_bytes(b"\1\2\3" * 99)
    return path / "x.unheard-of"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "x.tif: rows 0 to 199 can't be read"),
        (garbage, "x.tif can't be read as a raster"),
        (complex_, "complex64"),
        (vrt, "x.vrt is a VRT: a list of other files"),
        (unknown, "unknown extension '.unheard-of'; supported are .asc"),
    ],
)
def test_damaged_rasters_give_one_sentence_and_nothing_of_gdal(
    tmp_path: Path, damage: Damage, words: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = damage(tmp_path)
    capfd.readouterr()
    caplog.clear()
    with caplog.at_level(logging.DEBUG), pytest.raises(SceneError) as caught:
        read_array(path)
    message = str(caught.value)
    assert words in message and str(path) in message and "\n" not in message and message.endswith(".")
    assert not any(word in message for word in ("GDAL", "CPLE", "Rasterio", "IReadBlock"))
    assert capfd.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize("interleave", ORDERS)
def test_a_file_that_shrinks_while_it_is_open(
    tmp_path: Path, interleave: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_envi(tmp_path / "x.img", fake_cube(200, 100, 5), interleave)
    with opened_rows(path) as rows:
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(SceneError, match=r"x\.img has 1,000 bytes, but"):
            rows.read(150, 200)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["ENVI", "GTiff"])
def test_threads_read_a_raster_one_after_the_other(tmp_path: Path, kind: str) -> None:
    """GDAL mixes up pixels, or ends the process, where two threads read an open dataset at once."""
    if kind == "ENVI":
        write_envi(tmp_path / "cube.img")
        place, driver = tmp_path / "cube.img", "ENVI"
    else:
        place, driver = tmp_path / "cube.tif", "GTiff"
        with rasterio.open(
            place, "w", driver=driver, height=6, width=7, count=5, dtype="uint16", nodata=3, compress="deflate"
        ) as file:
            file.write(CUBE.transpose(2, 0, 1))
    dataset = raster.opened(place, drivers=[driver])
    now, most = 0, 0

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(dataset, name)

        def read(self, *args: Any, **options: Any) -> Any:
            nonlocal now, most
            now += 1
            most = max(most, now)
            time.sleep(0.005)
            found = dataset.read(*args, **options)
            now -= 1
            return found

    about = raster.Described(values=raster.Values(divisor=2.0)) if kind == "GTiff" else raster.Described()
    with raster.raster_rows(place, Watched(), range(5), about) as rows, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda row: rows.read(row % 6, row % 6 + 1), range(24)))
    assert most == 1
    expected = CUBE / np.float32(2) if kind == "GTiff" else CUBE
    assert all(np.array_equal(part[0], expected[row % 6]) for row, part in enumerate(parts))
