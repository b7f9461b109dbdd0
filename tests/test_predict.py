"""A finished run's network on other cubes: units, missing data, label values, names of outputs."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al import predict
from hsi_al.config.schema import Config
from hsi_al.errors import SceneError
from hsi_al.methods.base import Learner
from hsi_al.methods.registry import build_learner
from hsi_al.methods.room import Method, Task
from hsi_al.predict import check_values, main, other_pixels, use_precision
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.preparation import Preparation
from tests.conftest import CommandLine, tiny_arrays


@pytest.fixture
def run(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, no_figures: None) -> Path:
    """A finished run on labels of which one needs more than 16 bits."""
    cube, truth = tiny_arrays()
    with h5py.File(tmp_path / "field.h5", "w") as file:
        file["cube"], file["truth"] = cube, np.where(truth == 9, 65536, truth.astype(np.uint32))
    scene = [argument for argument in tiny_scene if not argument.startswith("dataset.cube_file")]
    short = [
        "protocol.rounds=0",
        "protocol.epochs=40",
        "acquisition=none",
        f"dataset.cube_file={tmp_path / 'field.h5'}",
    ]
    outcome = command_line(*scene, *short, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    return tmp_path / "run"


def saved(folder: Path, cube: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "tile.npy", cube)
    return folder / "tile.npy"


def read(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.asarray(file["class_map"][:])


def test_values_in_another_unit(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cube = tiny_arrays()[0].astype(np.float64)
    for changed, words, code in (
        (cube / 1000, "lie outside of the range of the run's scene", 2),
        (cube * 1000, "lie outside of the range of the run's scene", 2),
        (cube + 0.7 * np.ptp(cube), "lie mostly outside of the range of the run's scene", 0),
    ):
        assert main([str(run), str(saved(tmp_path / "unit", changed))]) == code
        assert words in capfd.readouterr().err
    capfd.readouterr()
    assert main([str(run), str(saved(tmp_path / "unit", cube / 1000)), "--force"]) == 0
    assert "Warning" in capfd.readouterr().err
    marked = cube.copy()
    marked[0, :13] = cube.min() - 3 * np.ptp(cube)  # 2 % of the pixels, whose mark nobody has named
    for name, same in (("same", cube), ("marked", marked)):
        assert main([str(run), str(saved(tmp_path / name, same))]) == 0
        assert "Warning" not in capfd.readouterr().err


def test_a_map_of_another_cube_replaces_none_of_a_run(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name for path in run.iterdir()}
    assert main([str(run), str(saved(tmp_path / "same", tiny_arrays()[0])), "--output", str(run)]) == 2
    assert "is a run directory, whose own map this would replace" in capfd.readouterr().err
    assert {path.name for path in run.iterdir()} == before
    check = tmp_path / "map-check"  # or an exported session
    check.mkdir()
    (check / "report.html").write_text("of an accuracy check")
    assert main([str(run), str(tmp_path / "same"), "--output", str(check)]) == 2
    assert "holds report.html of something else" in capfd.readouterr().err
    assert (check / "report.html").read_text() == "of an accuracy check"


def test_half_precision_of_a_gpu_is_left_where_there_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    config = Config()
    config.trainer.accelerator, config.trainer.predict_precision = "cpu", "16-mixed"
    use_precision(config)
    assert (config.trainer.precision, config.trainer.predict_precision) == ("32-true", "32-true")
    assert "16-mixed, which needs a GPU" in capfd.readouterr().err
    config.trainer.precision = "16-mixed"  # of the training alone
    use_precision(config)
    assert config.trainer.precision == "32-true" and not capfd.readouterr().err
    config.trainer.precision = "bf16-mixed"
    use_precision(config)
    assert config.trainer.precision == "bf16-mixed" and not capfd.readouterr().err


def test_a_map_needs_no_more_memory_than_a_strip(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    granted = []

    def spied(task: Task, method: Method | None = None) -> Learner:
        granted.append(task.config.dataset.memory_gb)
        return build_learner(task, method)

    monkeypatch.setattr(predict, "build_learner", spied)
    assert main([str(run), str(saved(tmp_path / "same", tiny_arrays()[0]))]) == 0
    assert granted == [0.0]


def test_a_mean_spectrum_far_away(capfd: pytest.CaptureFixture[str]) -> None:
    meta = {"band_statistics": [[4.0, 5.0, 6.0], [0.5, 1.0, 0.0]]}
    spectra = np.array([[2.0, 1.0, 6.0], [3.0, 2.0, 6.0]])  # 3, 3.5 and 0 deviations below
    check_values(Path("a.npy"), spectra, meta, (0.0, 10.0), force=False)
    assert not capfd.readouterr().err
    check_values(Path("a.npy"), spectra - [0.5, 0.0, 0.0], meta, (0.0, 10.0), force=False)
    assert "its mean spectrum is 3.5 standard deviations away" in capfd.readouterr().err


def test_another_unit_within_the_range(capfd: pytest.CaptureFixture[str]) -> None:
    """A scene whose smallest value is 0 has every cube of a smaller unit inside of its range."""
    means, deviations = np.array([1000.0, 2000.0, 3000.0]), np.array([400.0, 900.0, 1500.0])
    meta = {"band_statistics": [means.tolist(), deviations.tolist()]}
    spectra = means + np.array([[-0.5], [0.5]]) * deviations
    for factor, refused in ((1e-4, True), (1e-2, True), (0.1, False), (1.0, False)):
        if refused:
            with pytest.raises(SceneError, match=r"in every band: is it in another unit\?.*--force"):
                check_values(Path("a.npy"), spectra * factor, meta, (0.0, 10000.0), force=False)
        check_values(Path("a.npy"), spectra * factor, meta, (0.0, 10000.0), force=True)
        assert ("in every band" in capfd.readouterr().err) == refused
    dark = spectra * [0.3, 0.001, 0.001]  # water is dark in the infrared alone
    check_values(Path("a.npy"), dark, meta, (0.0, 10000.0), force=False)
    standard = meta | {
        "band_statistics": [[0.0] * 3, [1.0] * 3],
        "preparation": Preparation(offset=tuple(means), scale=tuple(deviations)).to_json(),
    }
    with pytest.raises(SceneError, match="in every band"):
        check_values(Path("a.npy"), (spectra * 1e-4 - means) / deviations, standard, (-3.0, 3.0), force=False)
    check_values(Path("a.npy"), (spectra - means) / deviations, standard, (-3.0, 3.0), force=False)


def test_missing_data_are_named_by_the_option_of_this_command(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cube = tiny_arrays()[0].astype(np.float64)
    cube[3, 4] = np.nan
    path = saved(tmp_path / "nan", cube)
    assert main([str(run), str(path)]) == 2
    assert "with --no-data=nan, or" in capfd.readouterr().err
    assert main([str(run), str(path), "--no-data=nan"]) == 0
    path = saved(tmp_path / "none", np.full_like(cube, -9999.0))
    assert main([str(run), str(path), "--no-data=-9999"]) == 2
    said = capfd.readouterr().err
    assert "holds a value of missing data (-9999) in some band; " in said and "or correct --no-data." in said


def test_pixels_that_are_data_whatever_the_file_says(
    tmp_path: Path, command_line: CommandLine, no_figures: None, capfd: pytest.CaptureFixture[str]
) -> None:
    rasterio = pytest.importorskip("rasterio")
    cube, truth = tiny_arrays()
    height, width, n_bands = cube.shape
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 500000, 0, -2, 5000000)}
    with rasterio.open(
        "a.tif", "w", "GTiff", width, height, n_bands, dtype=cube.dtype.name, nodata=int(cube[0, 0, 0]), **place
    ) as file:
        file.write(cube.transpose(2, 0, 1))
    np.save("truth.npy", truth)
    scene = ("dataset=custom", "dataset.cube_file=a.tif", "dataset.ground_truth_file=truth.npy")
    few = ("learner=lda", "protocol=few", "protocol.rounds=0", "acquisition=none", "protocol.initial=uniform")
    for no_data, all_mapped in ((("dataset.no_data=[]",), True), ((), False)):
        done = command_line(*scene, *few, *no_data, f"hydra.run.dir=run{all_mapped}")
        assert done.code == 0, done.err
        assert main([f"run{all_mapped}", "a.tif"]) == 0, capfd.readouterr().err
        assert read(tmp_path / f"run{all_mapped}" / "predictions" / "a" / "class_map.h5").all() == all_mapped


def test_a_file_is_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("x")
    assert main([str(tmp_path / "run"), str(tmp_path / "cube.npy")]) == 2
    assert "is a file where the directory of a run is needed" in capfd.readouterr().err


def test_label_values_beyond_16_bits_and_missing_data(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cube = tiny_arrays()[0].astype(np.float32)
    assert main([str(run), str(saved(tmp_path / "whole", cube))]) == 0
    whole = read(run / "predictions/tile/class_map.h5")
    assert set(np.unique(whole)) == {2, 5, 65536}
    cube[20, 3] = np.nan
    capfd.readouterr()
    assert main([str(run), str(saved(tmp_path / "part", cube))]) == 2
    assert "leave these pixels out" in capfd.readouterr().err
    out = tmp_path / "out"
    assert main([str(run), str(tmp_path / "part/tile.npy"), "--no-data=-5,nan", "--output", str(out)]) == 0
    part = read(out / "class_map.h5")
    assert part[20, 3] == 0 and np.count_nonzero(part == 0) == 1
    assert np.mean(part == whole) > 0.95


def test_maps_of_files_of_one_name_lie_apart(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cube, _ = tiny_arrays()
    places = {}
    for folder, part in (("2018", cube), ("2019", cube[:20]), ("a/2019", cube[:18]), ("b/2019", cube[:16])):
        assert main([str(run), str(saved(tmp_path / folder, part))]) == 0
        captured = capfd.readouterr()
        assert "replaced" not in captured.err
        places[folder] = Path(captured.out.splitlines()[0]).parent
        assert len(read(places[folder] / "class_map.h5")) == len(part)
    names = [place.name for place in places.values()]
    assert names == ["tile", "2019-tile", "2019-tile-2", "2019-tile-3"]
    assert main([str(run), str(tmp_path / "2019/tile.npy")]) == 0
    captured = capfd.readouterr()
    assert Path(captured.out.splitlines()[0]).parent == places["2019"]
    assert f"The earlier map in {places['2019']} is replaced." in captured.err


def test_a_map_of_emit_is_placed_on_the_ground(tmp_path: Path, command_line: CommandLine) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    cube, truth = tiny_arrays()
    np.save("truth.npy", truth)
    rows, columns = np.divmod(np.random.default_rng(0).permutation(624)[:320].reshape(16, 20), 26)
    with h5py.File("scene.nc", "w") as file:
        file["reflectance"] = cube.astype(np.float32)
        file["sensor_band_parameters/wavelengths"] = np.linspace(400, 2400, 6)
        empty = np.arange(320).reshape(16, 20) % 7 == 0
        file["location/glt_x"] = np.where(empty, 0, columns + 1).astype(np.int32)
        file["location/glt_y"] = np.where(empty, 0, rows + 1).astype(np.int32)
        file.attrs["geotransform"] = np.array([10.0, 0.5, 0, 50, 0, -0.5])
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()
    scene = ("dataset=custom", "dataset.cube_file=scene.nc", "dataset.ground_truth_file=truth.npy")
    few = ("learner=lda", "protocol=few", "protocol.rounds=1", "acquisition=random", "hydra.run.dir=run")
    assert command_line(*scene, *few).code == 0
    assert main(["run", "scene.nc", "--on-ground", "--output", "out"]) == 0
    with h5py.File("out/class_map.h5") as file:
        class_map = np.asarray(file["class_map"])
    with rasterio.open("out/map.tif") as raster:
        assert raster.crs.to_epsg() == 4326 and raster.transform.c == 10
        assert np.array_equal(raster.read(1), np.where(empty, 0, class_map[rows, columns]))
    with rasterio.open("out/uncertainty.tif") as raster:
        assert np.array_equal(raster.read(1) == -1, empty)
    pages = [Path("run/report.html"), Path("out/report.html")]
    assert [page.exists() for page in pages] == [False, True]  # the run itself lies nowhere
    assert main(["run", "scene.nc", "--output", "out"]) == 0  # as it was recorded: of no place
    assert {path.name for path in Path("out").iterdir()} == {"class_map.h5", "map.png"}
    assert main(["run", "scene.nc", "--on-ground", "--output", "out"]) == 0
    on_ground = np.where(empty, 0, class_map[rows, columns])
    assert f"<td>{np.count_nonzero(on_ground == 5)}</td>" in pages[1].read_text()
    assert main(["run", "truth.npy", "--on-ground"]) == 2


UTM = 'PROJCS["a",GEOGCS["b",UNIT["degree",0.0174532925199433]],UNIT["metre",1]]'
FEET = UTM.replace('"metre",1', '"foot",0.3048')
MERCATOR = (
    'PROJCS["m",GEOGCS["b",DATUM["d",SPHEROID["s",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Mercator_1SP"],PARAMETER["central_meridian",0],'
    'PARAMETER["scale_factor",1],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)
DEGREES = 'GEOGCS["b",UNIT["degree",0.0174532925199433]]'


@pytest.mark.parametrize(
    ("crs", "width", "window", "warned"),
    [
        (UTM, 20.0, 65, False),
        (UTM, 10.0, 65, True),
        (UTM, 40.0, None, True),
        (UTM, 10.0, 1, False),  # each pixel alone
        (UTM, 22.0, 65, False),
        (FEET, 20 / 0.3048, 65, False),
        (FEET, 20.0, 65, True),  # 6.1 m
        (DEGREES, 20 / 111_320, 65, False),
        (MERCATOR, 10.0, 65, False),  # on the ground 20 m at the equator alone
        ("", 5.0, 65, False),
    ],
)
def test_pixels_of_another_size_are_told(crs: str, width: float, window: int | None, warned: bool) -> None:
    def placed(crs: str, width: float) -> Georeference:
        return Georeference(crs, (width, 0.0, 0.0, 0.0, -width, 0.0))

    def source(lines: slice, columns: slice) -> np.ndarray:
        return np.zeros((1, 1, 1))

    cube = Rows(Path("tile.tif"), (4, 4, 1), np.dtype(float), source, georeference=placed(crs, width))
    meta = {"georeference": placed(UTM, 20.0).to_json()}
    told = other_pixels(cube, meta, window)
    assert (told is not None) == warned
    if told is not None:
        assert "tile.tif" in told and "20 m" in told
    assert other_pixels(cube, {"georeference": None}, window) is None and other_pixels(cube, {}, window) is None
    assert other_pixels(replace(cube, georeference=None), meta, window) is None
