"""Products in files built here to their published layouts: EnMAP, DESIS, EMIT, AVIRIS, PRISMA, NEON and Tanager."""

import math
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.formats.emit import lookup_table
from hsi_al.scenes.readers import format_of, opened_rows, read_array
from tests.fakes import fake_cube
from tests.scenes.test_rasters import NORTH, seen, write_tif

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

CUBE = fake_cube()  # (6, 7, 5), uint16
NAME = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
CENTRES = (418.4, 902.2, 895.0, 1760.5, 2445.3)  # the detectors overlap
GAINS, OFFSETS = (1e-4, 1e-4, 2e-4, 1e-4, 1e-4), (0, 0, 0.5, 0, 0)


def metadata(n_bands: int = 5, head: str = "", expected: str = "1,2;3,5", wavelength: str = "") -> str:
    bands = "".join(
        f'<bandID number="{band + 1}"><wavelengthCenterOfBand>{wavelength or CENTRES[band]}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>7</FWHMOfBand><GainOfBand>{GAINS[band]}</GainOfBand>"
        f"<OffsetOfBand>{OFFSETS[band]}</OffsetOfBand></bandID>"
        for band in range(n_bands)
    )
    vnir, swir = expected.split(";")
    statistics = "".join(
        f'<bandID number="{band + 1}"><mean>{mean}</mean><stdDeviation>{deviation}</stdDeviation></bandID>'
        for band, (mean, deviation) in enumerate([(1, 2), (-1000000, 0), (3, 4), (5, 6), (7, 8)])
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<level_X><specific><backgroundValue>-32768</backgroundValue>'
        f"<vnirProductQuality><expectedChannelsList>{vnir}</expectedChannelsList></vnirProductQuality>"
        f"<swirProductQuality><expectedChannelsList>{swir}</expectedChannelsList></swirProductQuality>"
        f"<bandCharacterisation>{bands}</bandCharacterisation></specific>"
        f"<product><bandStatistics>{statistics}</bandStatistics></product></level_X>"
    )


def write_enmap(folder: Path, text: str | None = None, cube: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    cube = CUBE.astype(np.int16) if cube is None else cube
    write_tif(folder / f"{NAME}-SPECTRAL_IMAGE.TIF", cube, NORTH, nodata=-32768)
    write_tif(folder / f"{NAME}-QL_QUALITY_CLOUD.TIF", cube[:, :, :1], NORTH)
    (folder / f"{NAME}-METADATA.XML").write_text(metadata() if text is None else text)
    return folder


DESIS = "DESIS-HSI-L2A-DT0489826624_003-20200823T165204-V0210"


def write_desis(folder: Path, n_bands: int = 5) -> Path:
    folder.mkdir(exist_ok=True)
    cube = CUBE.astype(np.int16)
    cube[2, 3] = -32768
    write_tif(folder / f"{DESIS}-SPECTRAL_IMAGE.tif", cube, NORTH, nodata=-32768)
    write_tif(folder / f"{DESIS}-QL_QUALITY.tif", cube[:, :, :1], NORTH)
    bands = "".join(
        f"<band><bandNumber>{band + 1}</bandNumber><wavelengthCenterOfBand>{400 + 2.5 * band}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><response>0.1,0.9</response>"
        f"<wavelengths>400,401</wavelengths><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>"
        for band in range(n_bands)
    )
    (folder / f"{DESIS}-METADATA.xml").write_text(
        "<hsi_doc><metadata><schema/></metadata><specific><sunZenithAngle>30</sunZenithAngle>"
        f"<bandCharacterisation>{bands}</bandCharacterisation>"
        "<interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation></specific></hsi_doc>"
    )
    return folder


def write_prisma(path: Path, level: str = "L2D", cubes: tuple[str, ...] = ("VNIR", "SWIR"), **attributes: Any) -> Path:
    vnir, swir = CUBE[:, :, :3], CUBE[:, :, 2:] + 1
    vnir[0, 0], swir[0, 0] = 0, 0  # no data
    vnir[1, 1, 0] = 0  # a reflectance at the lower end
    said: dict[str, Any] = {
        "List_Cw_Vnir": np.array([950.0, 500.0, 0.0], np.float32),
        "List_Cw_Swir": np.array([2400.0, 1000.0, 940.0], np.float32),
        "L2ScaleVnirMin": np.float32(0.0),
        "L2ScaleVnirMax": np.float32(0.5),
        "L2ScaleSwirMin": np.float32(-0.25),
        "L2ScaleSwirMax": np.float32(1.0),
        "Epsg_Code": np.int64(32632),
        "Product_ULcorner_easting": 500015.0,
        "Product_ULcorner_northing": 5399985.0,
        "Product_LRcorner_easting": 500015.0 + 6 * 30,
        "Product_LRcorner_northing": 5399985.0 - 5 * 30,
    }
    with h5py.File(path, "w") as file:
        file.attrs.update({name: value for name, value in (said | attributes).items() if value is not None})
        fields = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Data Fields")
        for name, cube in (("VNIR", vnir), ("SWIR", swir)):
            if name in cubes:
                fields[f"{name}_Cube"] = cube.transpose(0, 2, 1)  # rows, bands, columns
        file["HDFEOS/SWATHS/PRS_L2D_HCO/Geolocation Fields/Latitude"] = np.ones((6, 7), np.float32)
    return path


def write_emit(path: Path, leave_out: tuple[str, ...] = (), **replaced: Any) -> Path:
    cube = (CUBE / 10000).astype(np.float32)
    cube[5, 6] = -9999
    glt_x = np.array([[0, 1, 2, 7], [3, 0, 0, 1]], np.int32)
    glt_y = np.array([[0, 1, 6, 6], [2, 0, 0, 1]], np.int32)
    arrays = {
        "reflectance": cube,
        "sensor_band_parameters/wavelengths": np.array([381.0, 500, 1400, 1500, 2493], np.float32),
        "sensor_band_parameters/fwhm": np.full(5, 8.5, np.float32),
        "sensor_band_parameters/good_wavelengths": np.array([1, 1, 0, 1, 1], np.uint8),
        "location/glt_x": glt_x,
        "location/glt_y": glt_y,
        "location/lat": np.ones((6, 7)),
        **replaced,
    }
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if key not in leave_out:
                file.create_dataset(key, data=array)
        file["reflectance"].attrs["_FillValue"] = np.float32(-9999)
        file.attrs["geotransform"] = np.array([10.0, 0.5, 0, 50, 0, -0.5])
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()
    return path


def write_aviris(path: Path, leave_out: tuple[str, ...] = (), **replaced: Any) -> Path:
    cube = (CUBE / 10000).astype(np.float32)
    cube[5, 6] = -9999
    arrays = {
        "reflectance/reflectance": cube.transpose(2, 0, 1),
        "reflectance/wavelength": np.array([390.0, 500, 1400, 1500, 2493], np.float32),
        "reflectance/fwhm": np.full(5, 8.5, np.float32),
        "easting": 500_015.0 + 30 * np.arange(7),
        "northing": 5_399_985.0 - 30 * np.arange(6),
        **replaced,
    }
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if key not in leave_out:
                file.create_dataset(key, data=array)
        file["reflectance/reflectance"].attrs.update({"_FillValue": np.float32(-9999), "units": "unitless"})
        if "transverse_mercator" not in leave_out:  # a variable without a value, as NetCDF's libraries leave it
            about = file.create_dataset("transverse_mercator", (), "S1").attrs
            about.create("spatial_ref", [rasterio.crs.CRS.from_epsg(32632).to_wkt()], dtype=h5py.string_dtype())
    return path


MAP_INFO = (
    "UTM,  1.000,  1.000,       500000.00,       5400000.00,       30.000000,       30.000000,  32,  North,  WGS-84"
)


def write_neon(
    path: Path,
    map_info: str | None = MAP_INFO + ",  units=Meters, 0",
    epsg: Any = "32632",
    wavelength: Any = (400.0, 1340.0, 1390.5, 1445.0, 2500.0),
    windows: tuple[Any, Any] = ([1340, 1445], [1790, 1955]),
    cube: Any = None,
    **attributes: Any,
) -> Path:
    stored = CUBE.astype(np.int16) if cube is None else cube
    stored[5, 6] = -9999 if stored.dtype.kind != "u" else 0
    with h5py.File(path, "w") as file:
        top = file.create_group("SERC/Reflectance")
        top["Reflectance_Data"] = stored
        said = {"Scale_Factor": 10000.0, "Data_Ignore_Value": -9999.0} | attributes
        top["Reflectance_Data"].attrs.update({name: value for name, value in said.items() if value is not None})
        top.attrs.update({f"Band_Window_{number}_Nanometers": pair for number, pair in enumerate(windows, 1)})
        about = top.create_group("Metadata")
        about["Ancillary_Imagery/Slope"] = np.ones((6, 7), np.float32)
        about["Ancillary_Imagery/Weather_Quality_Indicator"] = np.ones((6, 7, 3), np.uint8)
        for key, value in (
            ("Spectral_Data/Wavelength", None if wavelength is None else np.array(wavelength, np.float32)),
            ("Spectral_Data/FWHM", np.full(5, 6, np.float32)),
            ("Coordinate_System/Map_Info", map_info),
            ("Coordinate_System/EPSG Code", epsg),
        ):
            if value is not None:
                about[key] = value
    return path


def write_tanager(path: Path, place: str = "HDFEOS/GRIDS/HYP", text: str | None = None, **attributes: Any) -> Path:
    cube = (CUBE / 10000).astype(np.float32)
    cube[5, 6] = -9999
    corners = "UpperLeftPointMtrs=(500000.000000,5400000.000000)\n\t\tLowerRightMtrs=(500210.000000,5399820.000000)"
    about = f'GROUP=GridStructure\n\tGROUP=GRID_1\n\t\tGridName="HYP"\n\t\tXDim=7\n\t\tYDim=6\n\t\t{corners}\n'
    said = {
        "wavelengths": np.array([376.4, 500, 1350, 1400, 2499]),
        "fwhm": np.full(5, 5.5),
        "good_wavelengths": np.array([1, 1, 0, 0, 1], np.uint8),
        "_FillValue": np.float32(-9999),
        "epsg_code": 32632,
        **attributes,
    }
    code = said.pop("epsg_code")
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"{place}/Data Fields")
        fields["surface_reflectance"] = cube.transpose(2, 0, 1)
        fields["surface_reflectance"].attrs.update({name: value for name, value in said.items() if value is not None})
        fields["nodata_pixels"] = (cube[:, :, 0] == -9999).astype(np.uint8)
        if code is not None:
            file[place].attrs["epsg_code"] = code
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(about if text is None else text)
    return path


def test_enmap_as_some_browsers_save_it(tmp_path: Path) -> None:
    folder = write_enmap(tmp_path / "product")
    expected = seen(folder)[1]
    for name, kind in (
        (f"{NAME}-METADATA.XML", "METADATA.XML.XML"),
        (f"{NAME}-SPECTRAL_IMAGE.TIF", "SPECTRAL_IMAGE_COG.TIF"),
    ):
        (folder / name).rename(folder / f"{NAME}-{kind}")
    for path in (folder, folder / f"{NAME}-METADATA.XML.XML", folder / f"{NAME}-SPECTRAL_IMAGE_COG.TIF"):
        rows, values = seen(path)
        assert np.array_equal(values, expected, equal_nan=True) and rows.bad_bands == (1, 3)


@pytest.mark.parametrize("kind", ["stored.zip", "deflated.zip", "plain.tar"])
def test_enmap_as_it_is_delivered(tmp_path: Path, kind: str) -> None:
    folder = write_enmap(tmp_path / "product")
    expected, plain = seen(folder)[1], seen(folder)[0]
    path = tmp_path / kind
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            archive.add(folder, "inside/product")
    else:
        how = zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as packed:
            for file in folder.iterdir():
                packed.write(file, f"product/{file.name}")
    rows, values = seen(path)
    assert np.array_equal(values, expected, equal_nan=True)
    assert (rows.wavelengths, rows.bad_bands, rows.georeference) == (
        *(plain.wavelengths, plain.bad_bands, plain.georeference),
    )
    with opened_rows(path) as opened:
        assert np.array_equal(opened.read(2, 4, 1, 5), expected[2:4, 1:5], equal_nan=True)


def test_archives_without_a_whole_product(tmp_path: Path) -> None:
    folder = write_enmap(tmp_path / "product")
    path = tmp_path / "x.zip"
    for leave_out, said in (
        ("SPECTRAL", "without its ENMAP...SPECTRAL_IMAGE.TIF"),
        ("METADATA", "ENMAP...METADATA.XML"),
    ):
        with zipfile.ZipFile(path, "w") as packed:
            for file in folder.iterdir():
                if leave_out not in file.name:
                    packed.write(file, file.name)
        with pytest.raises(SceneError) as error:
            opened_rows(path)
        assert said in str(error.value) and "unpack it" in str(error.value)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match="is an archive; unpack it"):
        opened_rows(path)


def test_enmap_by_folder_metadata_or_image(tmp_path: Path) -> None:
    cube = CUBE.astype(np.int16)
    cube[2, 3] = -32768
    folder = write_enmap(tmp_path / "product", cube=cube)
    expected = np.where(cube == -32768, np.nan, cube * GAINS + OFFSETS)
    for path in (folder, folder / f"{NAME}-METADATA.XML", folder / f"{NAME}-SPECTRAL_IMAGE.TIF"):
        rows, values = seen(path)
        assert np.allclose(values, expected, rtol=1e-6, equal_nan=True) and values.dtype == np.float32
        assert rows.wavelengths == CENTRES and math.isnan(rows.no_data or 0)
        assert rows.bad_bands == (1, 3)  # only background; not expected
        assert rows.georeference is not None and rows.georeference.transform == NORTH
    assert read_array(folder / f"{NAME}-QL_QUALITY_CLOUD.TIF").shape == (6, 7, 1)


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (metadata(head=BOMB), "it defines a document type"),
        (metadata(4), "describes 4 bands (bandCharacterisation), but the image has 5"),
        (metadata(wavelength="none"), "wavelengthCenterOfBand of band 1 is 'none'"),
        (metadata()[:900], "is no readable XML"),
        ("", "is no readable XML"),
    ],
)
def test_enmap_metadata_that_are_no_use(tmp_path: Path, text: str, words: str) -> None:
    folder = write_enmap(tmp_path / "product", text)
    with pytest.raises(SceneError) as caught:
        read_array(folder)
    assert words in str(caught.value) and "METADATA.XML" in str(caught.value) and "\n" not in str(caught.value)


def test_enmap_products_that_are_incomplete_several_or_packed(tmp_path: Path) -> None:
    folder = write_enmap(tmp_path / "product")
    image, xml = folder / f"{NAME}-SPECTRAL_IMAGE.TIF", folder / f"{NAME}-METADATA.XML"
    other = folder / f"{NAME[:-1]}Y-METADATA.XML"
    other.write_text(xml.read_text())
    with pytest.raises(SceneError, match="several EnMAP products"):
        read_array(folder)
    assert read_array(xml).shape == CUBE.shape
    other.unlink()
    image.rename(tmp_path / "elsewhere")
    with pytest.raises(SceneError, match=r"SPECTRAL_IMAGE\.TIF of this EnMAP product is missing"):
        read_array(folder)
    for name in ("x.tar.gz", "x.zip"):
        (tmp_path / name).write_bytes(b"PK\3\4")
        with pytest.raises(SceneError, match="is an archive; unpack it"):
            read_array(tmp_path / name)


def test_desis_as_it_is_delivered(tmp_path: Path) -> None:
    folder = write_desis(tmp_path / "product")
    expected = CUBE / 10000
    expected[2, 3] = np.nan
    with zipfile.ZipFile(tmp_path / f"{DESIS}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in folder.iterdir():
            packed.write(file, file.name)
    for path in (
        *(folder, folder / f"{DESIS}-METADATA.xml", folder / f"{DESIS}-SPECTRAL_IMAGE.tif", tmp_path / f"{DESIS}.zip"),
    ):
        rows, values = seen(path)
        assert np.allclose(values, expected, rtol=1e-6, equal_nan=True) and values.dtype == np.float32
        assert rows.wavelengths == (400, 402.5, 405, 407.5, 410) and rows.bad_bands == ()
        assert rows.georeference is not None and rows.georeference.transform == NORTH
        assert format_of(path).title == "DESIS L2A"
    assert format_of(write_enmap(tmp_path / "other")).title == "EnMAP L2A"


def test_enmap_and_desis_in_one_folder(tmp_path: Path) -> None:
    folder = write_desis(write_enmap(tmp_path / "both"))
    for path, title in (
        (folder, "EnMAP L2A"),
        (folder / f"{NAME}-SPECTRAL_IMAGE.TIF", "EnMAP L2A"),
        (folder / f"{DESIS}-SPECTRAL_IMAGE.tif", "DESIS L2A"),
    ):
        assert format_of(path).title == title and seen(path)[1].dtype == np.float32
    (folder / f"{DESIS}-METADATA.xml").unlink()
    assert np.array_equal(read_array(folder / f"{DESIS}-SPECTRAL_IMAGE.tif")[:2], CUBE[:2])
    assert format_of(folder).title == "EnMAP L2A" and read_array(folder).shape == CUBE.shape


def test_desis_products_that_are_no_use(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="describes 4 bands"):
        read_array(write_desis(tmp_path / "product", 4))
    (tmp_path / "product" / f"{DESIS}-METADATA.xml").unlink()
    with pytest.raises(SceneError, match=r"the file DESIS\.\.\.METADATA.XML of this DESIS product is missing"):
        read_array(tmp_path / "product")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.write(tmp_path / "product" / f"{DESIS}-SPECTRAL_IMAGE.tif", f"a/{DESIS}-SPECTRAL_IMAGE.tif")
    with pytest.raises(SceneError, match=r"a product of DESIS without its DESIS\.\.\.METADATA.XML"):
        read_array(tmp_path / "x.zip")
    # without its metadata the image is any raster
    assert np.array_equal(read_array(tmp_path / "product" / f"{DESIS}-SPECTRAL_IMAGE.tif")[:2], CUBE[:2])


def test_prisma_joins_the_detectors_by_wavelength(tmp_path: Path) -> None:
    rows, values = seen(write_prisma(tmp_path / "PRS_L2D_STD.he5"))
    assert rows.wavelengths == (500, 940, 950, 1000, 2400)
    stored = np.stack([CUBE[:, :, 1], CUBE[:, :, 4] + 1, CUBE[:, :, 0], CUBE[:, :, 3] + 1, CUBE[:, :, 2] + 1], axis=2)
    stored = stored.astype(np.float64)
    stored[1, 1, 2] = 0
    low, high = np.array([0, -0.25, 0, -0.25, -0.25]), np.array([0.5, 1, 0.5, 1, 1])
    expected = low + stored * (high - low) / 65535
    expected[0, 0] = np.nan
    assert np.allclose(values, expected, rtol=1e-5, atol=1e-7, equal_nan=True) and values.dtype == np.float32
    assert math.isnan(rows.no_data or 0) and rows.notices == ()
    assert rows.georeference is not None and rows.georeference.transform == pytest.approx(NORTH)
    assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632


def test_prisma_arrays_by_key(tmp_path: Path) -> None:
    path = write_prisma(tmp_path / "PRS_L2D_STD.he5")
    key = "HDFEOS/SWATHS/PRS_L2D_HCO/Geolocation Fields/Latitude"
    assert read_array(path, key).shape == (6, 7)
    with opened_rows(path, key) as rows:
        assert not rows.is_raster and rows.shape == (6, 7)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"cubes": ("VNIR",)}, "without SWIR_Cube"),
        ({"cubes": ("SWIR",)}, "without VNIR_Cube"),
        ({"List_Cw_Swir": None}, "List_Cw_Swir of this PRISMA product is missing"),
        ({"List_Cw_Vnir": np.ones(9)}, "has 9 wavelengths for the 3 bands"),
        ({"List_Cw_Vnir": np.zeros(3)}, "make no sense"),
        ({"L2ScaleSwirMax": np.float32(-1)}, "make no sense"),
        ({"L2ScaleSwirMax": "much"}, "L2ScaleSwirMax of this PRISMA product is missing or no number"),
        ({"level": "L2C"}, "level L2C; download L2D"),
    ],
)
def test_prisma_products_that_are_no_use(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    path = write_prisma(tmp_path / "PRS.he5", **changed)
    if changed.get("level"):
        with h5py.File(path, "r+") as file:
            del file["HDFEOS/SWATHS/PRS_L2D_HCO"]
    with pytest.raises(SceneError) as caught:
        read_array(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"Epsg_Code": np.int64(1)}, {"Epsg_Code": None}, {"Product_LRcorner_easting": 0.0}]
)
def test_prisma_products_that_lie_nowhere_are_read(tmp_path: Path, changed: dict[str, Any]) -> None:
    rows, _ = seen(write_prisma(tmp_path / "PRS.he5", **changed))
    assert rows.georeference is None and len(rows.notices) == 1


def test_emit_in_the_geometry_of_the_sensor(tmp_path: Path) -> None:
    rows, values = seen(write_emit(tmp_path / "EMIT_L2A_RFL.nc"))
    assert np.array_equal(values[:5], (CUBE / 10000).astype(np.float32)[:5])
    assert rows.wavelengths == (381, 500, 1400, 1500, 2493) and rows.bad_bands == (2,)
    assert rows.no_data == -9999 and rows.georeference is None and "geometry of the sensor" in rows.notices[0]
    assert read_array(tmp_path / "EMIT_L2A_RFL.nc", "location/lat").shape == (6, 7)


def test_the_lookup_table_of_emit_places_pixels(tmp_path: Path) -> None:
    table = lookup_table(write_emit(tmp_path / "x.nc"))
    assert table.georeference.transform == (0.5, 0, 10, 0, -0.5, 50)
    assert "4326" in table.georeference.crs
    labels = np.arange(42).reshape(6, 7)
    # x counts columns and y rows of the cube, both from 1; 0 = nothing there
    assert table.placed(labels, -1).tolist() == [[-1, 0, 5 * 7 + 1, 5 * 7 + 6], [1 * 7 + 2, -1, -1, 0]]
    assert np.array_equal(table.placed(CUBE, 0)[0, 3], CUBE[5, 6])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"leave_out": ("location/glt_x",)}, "lacks location/glt_x"),
        ({"location/glt_x": np.full((2, 4), 8, np.int32)}, "beyond the 6 x 7"),
        ({"location/glt_x": np.full((2, 4), -8, np.int32)}, "beyond the 6 x 7"),
        ({"location/glt_x": np.ones((3, 4), np.int32)}, "no two tables of one shape"),
    ],
)
def test_lookup_tables_that_are_no_use(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(SceneError, match=words):
        lookup_table(write_emit(tmp_path / "x.nc", **changed))


def test_emit_without_wavelengths_is_read_with_a_warning(tmp_path: Path) -> None:
    rows, _ = seen(write_emit(tmp_path / "x.nc", leave_out=("sensor_band_parameters/wavelengths",)))
    assert rows.wavelengths is None and "no sensor_band_parameters/wavelengths" in rows.notices[1]
    wrong: dict[str, Any] = {"sensor_band_parameters/wavelengths": np.ones(4)}
    with pytest.raises(SceneError, match=r"has the shape \(4,\) for the 5 bands"):
        opened_rows(write_emit(tmp_path / "y.nc", **wrong))


def test_aviris_reflectance(tmp_path: Path) -> None:
    path = write_aviris(tmp_path / "AV320240905t204343_000_L2A_OE_f576f24d_RFL_ORT.nc")
    rows, values = seen(path)
    assert np.array_equal(values[:5], (CUBE / 10000).astype(np.float32)[:5]) and (values[5, 6] == -9999).all()
    assert rows.wavelengths == (390, 500, 1400, 1500, 2493) and rows.no_data == -9999 and rows.notices == ()
    assert rows.georeference is not None and rows.georeference.transform == pytest.approx(NORTH)
    assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632
    assert format_of(path).title == "AVIRIS L2A" and read_array(path, "reflectance/reflectance").shape == (5, 6, 7)
    with h5py.File(path, "r+") as file:
        file["crs"] = 0
        file["crs"].attrs["crs_wkt"] = np.bytes_(rasterio.crs.CRS.from_epsg(32633).to_wkt())
        file["reflectance/reflectance"].attrs["grid_mapping"] = "crs"
        file["reflectance/wavelength"].attrs["units"] = "um"
        file[b"\xff"] = 1
    rows, _ = seen(path)
    assert rows.georeference is not None and "33N" in rows.georeference.crs
    assert rows.wavelengths == pytest.approx([390e3, 500e3, 1400e3, 1500e3, 2493e3])
    with h5py.File(path, "r+") as file:
        del file["reflectance/reflectance"].attrs["grid_mapping"], file["transverse_mercator"]
    assert seen(path)[0].georeference is not None  # another variable names the system


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"easting": np.arange(6.0)}, "easting doesn't place the 7 pixels"),
        ({"northing": np.array([0.0, 1, 2, 3, 4, 6])}, "northing is no even grid"),
        ({"northing": np.zeros(6)}, "northing is no even grid"),
        ({"northing": np.array([0.0, 1, 2, np.nan, 4, 5])}, "northing is no even grid"),
        ({"leave_out": ("transverse_mercator",)}, "names no coordinate reference system"),
    ],
)
def test_aviris_products_that_lie_nowhere_are_read(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    rows, _ = seen(write_aviris(tmp_path / "a.nc", **changed))
    assert rows.georeference is None and len(rows.notices) == 1 and words in rows.notices[0]


def test_aviris_products_that_are_no_use(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"reflectance/wavelength": np.ones(4)}
    with pytest.raises(SceneError, match=r"has the shape \(4,\) for the 5 bands"):
        opened_rows(write_aviris(tmp_path / "a.nc", **wrong))
    with opened_rows(write_aviris(tmp_path / "a.nc", ("northing",)), "reflectance/reflectance") as rows:
        assert not rows.is_raster  # any NetCDF file
    assert format_of(write_emit(tmp_path / "b.nc")).title == "EMIT L2A"


def test_neon_reflectance(tmp_path: Path) -> None:
    rows, values = seen(write_neon(tmp_path / "NEON_D02_SERC_DP3_500000_5400000_reflectance.h5"))
    expected = CUBE.astype(np.int16) / 10000
    expected[5, 6] = np.nan
    assert np.allclose(values, expected, rtol=1e-6, equal_nan=True) and values.dtype == np.float32
    assert rows.wavelengths == (400, 1340, 1390.5, 1445, 2500) and rows.bad_bands == (1, 2, 3)
    assert math.isnan(rows.no_data or 0) and rows.is_raster and rows.notices == ()
    assert rows.georeference is not None and rows.georeference.transform == pytest.approx(NORTH)
    assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632
    path = tmp_path / "NEON_D02_SERC_DP3_500000_5400000_reflectance.h5"
    assert read_array(path, "SERC/Reflectance/Metadata/Ancillary_Imagery/Slope").shape == (6, 7)
    assert np.array_equal(read_array(path, "SERC/Reflectance/Reflectance_Data")[:5], CUBE[:5])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"Scale_Factor": None}, "Scale_Factor of Reflectance_Data is missing or no positive number"),
        ({"Scale_Factor": 0.0}, "dataset.cube_key=SERC/Reflectance/Reflectance_Data"),
        ({"Scale_Factor": "much"}, "no positive number"),
        ({"Scale_Factor": 1e-45}, "no positive number"),
        ({"cube": np.ones((6, 7), np.int16)}, r"has the shape \(6, 7\) where rows, columns, bands"),
        ({"wavelength": (400.0, 500.0)}, r"has the shape \(2,\) for the 5 bands"),
    ],
)
def test_neon_products_that_are_no_use(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(SceneError, match=words) as caught:
        read_array(write_neon(tmp_path / "a.h5", **changed))
    assert "a.h5" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"map_info": None}, "Map_Info is no upright grid"),
        ({"map_info": "UTM, 1, 1, 2"}, "Map_Info is no upright grid"),
        ({"map_info": MAP_INFO.replace("30.000000,  32", "0,  32")}, "no upright grid"),
        ({"map_info": MAP_INFO + ", rotation=12.5"}, "no upright grid"),
        ({"epsg": "1"}, "EPSG:1 is unknown"),
        ({"epsg": None}, "EPSG: is unknown"),
        ({"epsg": "UTM"}, "EPSG:UTM is unknown"),
        ({"epsg": "3" * 5000}, "EPSG:33333333333333333333 is unknown"),
    ],
)
def test_neon_products_that_lie_nowhere_are_read(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    rows, _ = seen(write_neon(tmp_path / "a.h5", **changed))
    assert rows.georeference is None and len(rows.notices) == 1 and words in rows.notices[0]


def test_neon_products_that_say_less(tmp_path: Path) -> None:
    rows, values = seen(write_neon(tmp_path / "a.h5", wavelength=None, windows=("many", [1, 2, 3]), epsg=32632))
    assert rows.wavelengths is None and rows.bad_bands == () and "no SERC/Reflectance/Metadata" in rows.notices[0]
    assert rows.georeference is not None and np.isnan(values[5, 6]).all()
    shifted = MAP_INFO.replace("1.000,  1.000,       500000.00,       5400000.00", "3.0, 2.0, 500060, 5399970")
    rows, values = seen(write_neon(tmp_path / "a.h5", map_info=shifted + ", rotation=0", Data_Ignore_Value=None))
    assert rows.georeference is not None and rows.georeference.transform == pytest.approx(NORTH)
    assert values[5, 6].tolist() == pytest.approx([-0.9999] * 5)  # nothing says that it is no reflectance


@pytest.mark.parametrize("kind", ["i4", "f8", "u2", "f4"])
def test_neon_numbers_of_other_types(tmp_path: Path, kind: str) -> None:
    rows, values = seen(write_neon(tmp_path / "a.h5", cube=CUBE.astype(kind), Data_Ignore_Value=None))
    assert values.dtype == rows.dtype == np.float32
    assert np.allclose(values[:5], CUBE[:5] / 10000)


def test_a_file_that_only_looks_like_one_of_neon_is_any_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["SERC/Reflectance/Reflectance_Data"] = CUBE
    with opened_rows(tmp_path / "a.h5") as rows:
        assert not rows.is_raster and np.array_equal(rows.read(0, 6), CUBE)


def test_tanager_reflectance(tmp_path: Path) -> None:
    path = write_tanager(tmp_path / "20250514_193937_64_4001_ortho_sr_hdf5.h5")
    rows, values = seen(path)
    assert np.array_equal(values[:5], (CUBE / 10000).astype(np.float32)[:5]) and (values[5, 6] == -9999).all()
    assert rows.wavelengths == (376.4, 500, 1350, 1400, 2499) and rows.bad_bands == (2, 3)
    assert rows.no_data == -9999 and rows.notices == () and format_of(path).title == "Tanager"
    assert rows.georeference is not None and rows.georeference.transform == pytest.approx(NORTH)
    assert rasterio.crs.CRS.from_wkt(rows.georeference.crs).to_epsg() == 32632
    assert read_array(path, "HDFEOS/GRIDS/HYP/Data Fields/nodata_pixels").sum() == 1
    rows, _ = seen(write_tanager(path, good_wavelengths=None, wavelengths=None))
    assert rows.wavelengths is None and rows.bad_bands == () and "names no wavelengths" in rows.notices[0]
    with h5py.File(path, "r+") as file:
        file.move("HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance", "HDFEOS/GRIDS/HYP/Data Fields/toa_radiance")
    assert seen(path)[0].shape == (6, 7, 5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"text": ""}, "StructMetadata.0 names no corners of a grid"),
        ({"text": "UpperLeftPointMtrs=(5,5)\nLowerRightMtrs=(5,1)"}, "names no corners of a grid"),
        ({"text": "UpperLeftPointMtrs=(a,b)\nLowerRightMtrs=(c,d)"}, "names no corners of a grid"),
        ({"text": "UpperLeftPointMtrs=(0,nan)\nLowerRightMtrs=(7,inf)"}, "names no corners of a grid"),
        ({"epsg_code": None}, "epsg_code is missing or unknown"),
        ({"epsg_code": "UTM"}, "epsg_code is missing or unknown"),
        ({"epsg_code": math.nan}, "epsg_code is missing or unknown"),
        ({"epsg_code": 1}, "epsg_code is missing or unknown"),
    ],
)
def test_tanager_products_that_lie_nowhere_are_read(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    rows, _ = seen(write_tanager(tmp_path / "a.h5", **changed))
    assert rows.georeference is None and len(rows.notices) == 1 and words in rows.notices[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wavelengths": np.ones(4)}, "wavelengths has 4 numbers for the 5 bands"),
        ({"good_wavelengths": "all"}, "good_wavelengths has 0 numbers for the 5 bands"),
        ({"place": "HDFEOS/SWATHS/HYP"}, "in the geometry of the sensor; download the orthorectified one"),
    ],
)
def test_tanager_products_that_are_no_use(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(SceneError, match=words) as caught:
        read_array(write_tanager(tmp_path / "a.h5", **changed))
    assert "a.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_netcdf_of_version_3_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nc").write_bytes(b"CDF\1" + bytes(100))
    with pytest.raises(SceneError, match="NetCDF of version 3"):
        read_array(tmp_path / "x.nc")
