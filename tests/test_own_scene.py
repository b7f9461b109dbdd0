"""docs/own-scene.md, line by line, on an ENVI file and a shapefile made from Indian Pines."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from hsi_al.assess import main as assess
from hsi_al.predict import main as predict
from hsi_al.scenes.catalogue import load_catalogue_scene
from tests.conftest import CommandLine

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")

PAGE = Path(__file__).parent.parent / "docs" / "own-scene.md"
BANDS = range(0, 200, 10)


def commands() -> list[list[str]]:
    """The arguments of every `python -m` command of the page."""
    blocks = PAGE.read_text().split("```sh\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python -m")]


def write_field(folder: Path) -> dict[str, np.ndarray]:
    """Write field.hdr, field.img (BIL, big endian, tenths of a per mille) and training.shp; return what is in them."""
    import shapely
    from rasterio import features

    scene = load_catalogue_scene("indian_pines", None)
    cube = scene.cube[:, :, list(BANDS)].astype(">i2")
    cube[:3] = -9999
    cube.transpose(0, 2, 1).tofile(folder / "field.img")
    wavelengths = [0.4 + 0.01 * band for band in BANDS]
    bad = [0 if band == 50 else 1 for band in BANDS]
    (folder / "field.hdr").write_text(
        "ENVI\nsamples = 145\nlines = 145\nbands = 20\nheader offset = 0\n"
        "data type = 2\ninterleave = bil\nbyte order = 1\n"
        "map info = {UTM, 1, 1, 500000, 5000000, 20, 20, 16, North, WGS-84, units=Meters}\n"
        f"data ignore value = -9999\nreflectance scale factor = 10000\nwavelength units = Micrometers\n"
        f"wavelength = {{{', '.join(f'{value:.4f}' for value in wavelengths)}}}\nbbl = {{{', '.join(map(str, bad))}}}\n"
    )
    transform = rasterio.Affine(20, 0, 500000, 0, -20, 5000000)
    truth = scene.ground_truth.astype(np.uint8)
    shapes = [shape for shape in features.shapes(truth, transform=transform) if shape[1]]
    pyogrio.raw.write(
        folder / "training.shp",
        np.array([shapely.to_wkb(shapely.geometry.shape(shape)) for shape, _ in shapes], object),
        [np.array([scene.class_names[int(value)] for _, value in shapes], object)],
        ["crop"],
        geometry_type="Polygon",
        crs="EPSG:32616",
    )
    return {"truth": truth, "cube": cube}


def test_every_command_of_the_page(
    tmp_path: Path, command_line: CommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    made = write_field(tmp_path)
    look, run, apply, check, tell = commands()
    assert [given[0] for given in (look, run, apply)] == ["hsi_al.scenes", "hsi_al.run", "hsi_al.predict"]
    assert check[0] == tell[0] == "hsi_al.assess"
    from hsi_al.scenes.__main__ import main as describe

    assert describe(look[1:]) == 0
    said = capfd.readouterr().out
    for words in ("145 x 145", "EPSG:32616", "dataset.cube_file=field.hdr"):
        assert words in said, said
    done = command_line(*run[1:], "protocol.rounds=2")
    assert done.code == 0, done.err
    assert "435 of 21,025 pixels have no data" in done.out and "1 of 20 bands are bad" in done.out
    folder = tmp_path / "outputs" / "field"
    with rasterio.open(folder / "map.tif") as raster:
        class_map = raster.read(1)
        assert raster.crs.to_epsg() == 32616 and raster.transform.a == 20
    assert not class_map[:3].any() and class_map[3:].all()
    truth = made["truth"]
    names = [*sorted(set(load_catalogue_scene("indian_pines", None).class_names.values()))]
    assert class_map.max() <= len(names) == 9
    own = {
        value: 1 + names.index(name) for value, name in load_catalogue_scene("indian_pines", None).class_names.items()
    }
    expected = np.array([own.get(value, 0) for value in range(truth.max() + 1)])[truth]
    scored = (truth > 0) & (class_map > 0)
    assert np.mean(class_map[scored] == expected[scored]) > 0.6  # 40 labels; 0.27 would be the largest class
    with rasterio.open(folder / "uncertainty.tif") as raster:
        uncertainty = raster.read(1)
    assert (uncertainty[:3] == -1).all() and (uncertainty[3:] >= 0).all() and uncertainty.max() <= 1
    report = (folder / "report.html").read_text()
    assert f"{np.count_nonzero(class_map == 9):,}</td>" in report and "complete this map" in report
    meta, _, _, (values, texts) = pyogrio.raw.read(folder / "labels.gpkg", columns=["value", "name"])
    assert len(values) == 40 and meta["crs"] == "EPSG:32616"
    assert [names[value - 1] for value in values] == texts.tolist()
    scene = [given for given in run[1:] if not given.startswith(("acquisition", "hydra"))]
    assert command_line(*scene, "acquisition=random", "protocol.rounds=1", "hydra.run.dir=random").code == 0
    assert (tmp_path / "random" / "map.tif").exists() and not (tmp_path / "random" / "uncertainty.tif").exists()
    assert predict(apply[1:]) == 0
    with rasterio.open(tmp_path / "outputs" / "field-map" / "map.tif") as raster:
        assert np.array_equal(raster.read(1), class_map)
    with rasterio.open(tmp_path / "outputs" / "field-map" / "uncertainty.tif") as raster:
        assert np.allclose(raster.read(1), uncertainty)
    assert "Unknown: no label of this image" in (tmp_path / "outputs" / "field-map" / "report.html").read_text()
    assert assess(check[1:]) == 0
    path = tmp_path / tell[-1]
    meta, _, places, columns = pyogrio.raw.read(path)
    fields = dict(zip(meta["fields"], columns, strict=True))
    rows, columns = fields["row"], fields["column"]
    fields["class"] = expected[rows, columns].astype(float)  # 0 where nobody has been: can't tell
    pyogrio.raw.write(
        path, places, [*fields.values()], [*fields], layer="check", geometry_type="Point", crs=meta["crs"]
    )
    assert assess(tell[1:]) == 0
    found = json.loads((path.parent / "accuracy.json").read_text())
    known = expected[rows, columns] > 0
    assert found["n"] == len(rows) == 200 and found["skipped"] == np.count_nonzero(~known)
    pairs = list(zip(class_map[rows, columns][known], expected[rows, columns][known], strict=True))
    shares = [
        np.mean([true == value for shown, true in pairs if shown == value]) * np.mean(class_map[class_map > 0] == value)
        for value in range(1, 10)
    ]
    assert found["overall"]["estimate"] == pytest.approx(sum(shares))
    assert found["classes"][8]["name"] == names[8] == "Woods"
