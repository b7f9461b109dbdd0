"""Apply a finished run's model to a scene: `python -m hsi_al.predict RUN_DIRECTORY CUBE_FILE`.

Writes `class_map.h5` (label values, H x W, and their names) and `map.png`; for a georeferenced cube also `map.tif` with
its style `map.qml`, `uncertainty.tif` and `report.html`. The cube needs the bands of the training scene; they are
matched by wavelength where both have them. It is scaled as the training scene was. For exit codes see
`hsi_al.cli.console`.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.active.experiment import use_threads
from hsi_al.active.meta import command_line, git_commit
from hsi_al.cli.console import complain, guarded
from hsi_al.config.kept import load_kept
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, SceneError, left_out
from hsi_al.files import replacing_hdf5, storable
from hsi_al.manifest import reading
from hsi_al.methods.base import predicted_map
from hsi_al.methods.registry import build_learner, require_network, settings_of
from hsi_al.methods.room import Task
from hsi_al.report.georeferenced import write_georeferenced
from hsi_al.report.map_report import REPORT, write_prediction_report
from hsi_al.report.maps import draw_map
from hsi_al.report.pages import Html, code, made_by
from hsi_al.report.run_checks import finished_run
from hsi_al.report.run_files import thinned, thinning
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.arrays import reading as reading_scene
from hsi_al.scenes.bands import matching_bands, of_bands, unlike_bands
from hsi_al.scenes.georeference import Georeference, require_geo
from hsi_al.scenes.preparation import Preparation, applied, survey
from hsi_al.scenes.readers import existing_file, opened_rows
from hsi_al.scenes.scene import false_colour, is_scene_file
from hsi_al.scenes.stored import StoredCube, reordered
from hsi_al.terminal import printable, warn

if TYPE_CHECKING:
    from hsi_al.scenes.formats.emit import LookupTable


# What a map has beside `class_map.h5`.
OF_A_MAP = ("map.tif", "map.tif.aux.xml", "map.qml", "uncertainty.tif", REPORT, "map.png")
OTHER_UNIT = 25  # times; reflectances are kept as shares, in percent, or times 1,000 or 10,000
OTHER_PIXELS = 1.2  # times the width; resampled images of one sensor differ by less


class Prediction(NamedTuple):
    """The map of a cube.

    Attributes:
        class_map: Label values, (H, W), in the smallest unsigned integer type; 0 where data are missing.
        uncertainty: See `methods.base.uncertainty_of`, (H, W), NaN where data are missing; None if the run's learner
            has no probabilities, or the cube isn't georeferenced.
        picture: False colour, thinned as `report.run_files.thinned` does.
        georeference: Where the cube lies; None = unknown.
    """

    class_map: NDArray[np.unsignedinteger[Any]]
    uncertainty: NDArray[np.float32] | None
    picture: NDArray[np.uint8]
    georeference: Georeference | None


def predict(
    run_directory: Path,
    cube_file: Path,
    cube_key: str | None = None,
    accelerator: str = "auto",
    no_data: Sequence[float] = (),
    force: bool = False,
    uncertainty_wanted: bool = False,
) -> Prediction:
    """Classify every pixel of a cube with the network of a finished run, strip by strip.

    Cubes in rasters, HDF5 files (MATLAB 7.3 included) and .npy files may be larger than the memory.

    Args:
        run_directory: Directory of a finished run.
        cube_file: Cube (H, W, bands) in any file that can be read.
        cube_key: Key of the cube; default: `cube` in a file of `save_scene`, else the only array in the file.
        accelerator: Device to compute on, which may differ from the run's: auto, cpu, gpu or mps.
        no_data: Values of missing data beside those of the run and of the file.
        force: Whether to map a cube whose values lie outside of those that the run was trained on, or whose file calls
            bands bad that the run needs.
        uncertainty_wanted: Whether to find the uncertainty of a cube that isn't georeferenced, too.

    Raises:
        RunDirectoryError: The run is not finished, or its files are damaged.
        SceneError: The cube can't be used, lacks bands of the run's scene, or has values outside of its range.
        ConfigurationError: The run's learner keeps no network.
    """
    meta = finished_run(run_directory)
    config = load_kept(run_directory / "config.yaml", settings_of)
    method = require_network(config)
    config.trainer.accelerator = accelerator
    use_precision(config)
    config.dataset.memory_gb = 0.0  # a map asks once for each pixel: to keep all features would gain nothing
    label_values = np.array(sorted(int(value) for value in meta["class_names"]))
    label_values = label_values.astype(np.min_scalar_type(label_values[-1]))
    stopped = meta.get("stopped") or {"round": config.protocol.rounds}
    weights = run_directory / f"weights_{stopped['round']}{method.state_suffix}"
    low, high = limits_in(weights)
    none = np.empty(0, np.int64)
    is_scene = cube_key is None and is_scene_file(cube_file)
    with opened_rows(cube_file, "cube" if is_scene else cube_key) as opened:
        as_given = is_scene or opened.is_raster or len(opened.shape) != 3
        rows = opened if as_given else reordered(opened, config.dataset.axes)
        n_bands = meta["n_bands"]
        if len(rows.shape) != 3:
            raise SceneError(
                f"{cube_file} has shape {rows.shape}, but the run was trained on {n_bands} bands: give a cube (rows, "
                f"columns, {n_bands})."
            )
        bands = matching_bands(rows, n_bands, meta.get("wavelengths"), meta.get("bands"), force)
        doubts = unlike_bands(rows, bands, meta.get("wavelengths")), other_pixels(rows, meta, method.window(config))
        for notice in (*rows.notices, *filter(None, doubts)):
            complain(notice)
        rows = of_bands(rows, bands)
        all_are_data = config.dataset.no_data is not None and not config.dataset.no_data  # whatever a file says
        own = () if rows.no_data is None or all_are_data else (rows.no_data,)
        kept = preparation_for(meta, run_directory / "meta.json", (*no_data, *own))
        stored, option = StoredCube(rows), "--no-data={}"
        found = survey(str(cube_file), stored, kept.no_data, kept.blank or None, option, bands)
        preparation = replace(kept, blank=bool(found.blank))
        unclipped = replace(preparation, clip=None)
        check_values(cube_file, unclipped(found.sample[None])[0], meta, (low, high), force)
        cube = applied(StoredCube(rows), preparation)
        georeference = rows.georeference if has_geo(rows.georeference) else None
        wanted = georeference is not None or uncertainty_wanted
        needs = method.provides & {"probabilities_NC"} if wanted else frozenset[str]()
        learner = build_learner(Task(config, cube, len(label_values), none, needs, limits=(low, high)))
        use_threads(None)
        learner.load(weights)
        height, width, _ = cube.shape
        uncertainty = np.full(height * width, np.nan, np.float32) if needs else None
        classes = predicted_map(learner, height * width, len(label_values), none, none, uncertainty)
        class_map = label_values[classes].reshape(height, width)
        class_map[found.missing] = 0
        if uncertainty is not None:
            uncertainty = uncertainty.reshape(height, width)
            uncertainty[found.missing] = np.nan
        picture = false_colour(cube, meta["rgb_bands"], thinning(height, width))
        picture[thinned(found.missing)] = 0
        return Prediction(class_map, uncertainty, picture, georeference)


def use_precision(config: Config) -> None:
    """Score in float32 where the run's half precision needs a GPU and there is none."""
    trainer = config.trainer
    half = [key for key in ("precision", "predict_precision") if getattr(trainer, key) == "16-mixed"]
    if not half:
        return
    import torch  # here, since few runs need it

    if trainer.accelerator == "cpu" or not torch.cuda.is_available():
        if (trainer.predict_precision or trainer.precision) == "16-mixed":
            complain("The run was scored in 16-mixed, which needs a GPU; here it is 32-true: some pixels may differ.")
        for key in half:
            setattr(trainer, key, "32-true")


def other_pixels(rows: Rows, meta: dict[str, Any], window: int | None) -> str | None:
    """Return a sentence if a cube's pixels are larger or smaller than those of the run's scene; None = alike, unknown.

    Args:
        rows: The opened cube (H, W, B).
        meta: Contents of the run's meta.json.
        window: Side of the surroundings that the run's learner looks at; None = unknown.
    """
    there = Georeference.from_json(meta.get("georeference"))
    if rows.georeference is None or there is None or window == 1:
        return None
    here_m, there_m = (where.scale((0, 0)) for where in (rows.georeference, there))
    if not here_m or not there_m or abs(math.log(here_m / there_m)) < math.log(OTHER_PIXELS):
        return None
    return (
        f"Warning: the pixels of {rows.path} are {here_m:.3g} m wide, those of the run's scene {there_m:.3g} m, and "
        f"the learner looks at a pixel's surroundings: resample it to {there_m:.3g} m, or check the map."
    )


def has_geo(georeference: Georeference | None) -> bool:
    """Return whether a georeferenced map can be written; warn if only the library for it is missing."""
    if georeference is None:
        return False
    if find_spec("rasterio") is None:
        complain("The map is written without its georeference: that needs rasterio; pip install 'hsi_al[geo]'.")
        return False
    return True


def limits_in(weights: Path) -> tuple[float, float]:
    """Return the smallest and largest prepared value of the scene that a learner's saved state was fitted to.

    Raises:
        RunDirectoryError: The file is missing or damaged.
    """
    if weights.suffix == ".h5":
        from hsi_al.methods.features import read_limits

        return read_limits(weights)
    from hsi_al.methods.deep.learner import read_weights  # loads torch

    low, high = read_weights(weights)["limits"].tolist()
    return low, high


def preparation_for(meta: dict[str, Any], path: Path, no_data: Sequence[float]) -> Preparation:
    """The preparation of the run's scene, with the values of missing data of another cube.

    Raises:
        RunDirectoryError: The run's meta.json is damaged.
    """
    values = tuple(no_data)
    with reading(path):
        kept = Preparation.from_json(meta.get("preparation", {}))
        means = meta.get("band_statistics", [[0.0] * meta["n_bands"]])[0]
    return replace(kept, no_data=kept.no_data + values, fill=kept.fill or tuple(means))


def check_values(
    cube_file: Path, spectra: NDArray[Any], meta: dict[str, Any], limits: tuple[float, float], force: bool
) -> None:
    """Compare the values of a cube with those of the run's scene.

    Args:
        cube_file: File of the cube.
        spectra: Prepared spectra of some of its pixels, (n, bands).
        meta: Contents of the run's meta.json; runs of earlier versions have no `band_statistics`.
        limits: Smallest and largest prepared value of the run's scene.
        force: Whether a cube outside of them is mapped all the same.

    Raises:
        SceneError: The values lie outside of the limits, or are many times smaller or larger in every band.
    """
    least, most = np.percentile(spectra, (1, 99)).tolist()
    apart = most < limits[0] or least > limits[1]
    inside = float(np.mean((spectra >= limits[0]) & (spectra <= limits[1])))
    where = (
        f"{cube_file}: the values from {least:.4g} to {most:.4g} (1st to 99th percentile) lie {{}} the range of the "
        f"run's scene, {limits[0]:.4g} to {limits[1]:.4g}: is it in another unit?"
    )
    if apart and not force:
        raise SceneError(f"{where.format('outside of')} Convert it, or map it all the same with --force.")
    if (times := times_the_run(spectra, meta)) is not None:
        other = (
            f"{cube_file}: the values are {times:.3g} times those of the run's scene or "
            f"{'less' if times < 1 else 'more'} in every band: is it in another unit?"
        )
        if not force:
            raise SceneError(f"{other} Convert it, or map it all the same with --force.")
        complain(f"Warning: {other}")
    elif inside < 0.5:
        complain(f"Warning: {where.format('mostly outside of')}")
    elif "band_statistics" in meta:
        means, deviations = np.asarray(meta["band_statistics"])
        away = float(np.median(np.abs(spectra.mean(axis=0) - means) / np.where(deviations > 0, deviations, 1.0)))
        if away > 3:
            complain(
                f"Warning: {cube_file}: its mean spectrum is {away:.1f} standard deviations away from that of the "
                "run's scene (median over bands): is it in another unit?"
            )


def times_the_run(spectra: NDArray[Any], meta: dict[str, Any]) -> float | None:
    """Return how many times the mean of a cube is that of the run's scene, in the band where they differ least.

    Args:
        spectra: Prepared spectra of some of its pixels, (n, bands).
        meta: Contents of the run's meta.json.

    Returns:
        The factor, if it is beyond `OTHER_UNIT` in every band, as a change of the unit makes it; else None.
    """
    if "band_statistics" not in meta:
        return None
    kept = Preparation.from_json(meta.get("preparation", {}))
    offset, scale = np.asarray(kept.offset or 0.0), np.asarray(kept.scale or 1.0)
    here, there = (np.abs(means * scale + offset) for means in (meta["band_statistics"][0], spectra.mean(axis=0)))
    factors = there[here > 0] / here[here > 0]
    if len(factors) and factors.max() < 1 / OTHER_UNIT:
        return float(factors.max())
    return float(factors.min()) if len(factors) and factors.min() > OTHER_UNIT else None


def write_prediction(
    run_directory: Path,
    cube_file: Path,
    key: str | None,
    output: Path | None,
    accelerator: str,
    no_data: Sequence[float] = (),
    force: bool = False,
    on_ground: bool = False,
) -> list[Path]:
    """Classify a cube, write the class map and its picture to `output`, and return their paths.

    Without `output` they go to a folder of their own in the run directory.

    Raises:
        HsiAlError: As for `predict`; `on_ground` for a file without the lookup table (GLT) of an EMIT product.
        OSError: Files can't be written.
    """
    if output is not None and (output / "meta.json").exists():
        raise ConfigurationError(
            f"--output {output} is a run directory, whose own map this would replace; choose another folder."
        )
    there = [name for name in OF_A_MAP if output is not None and (output / name).exists()]
    if output is not None and there and not (output / "class_map.h5").exists():
        raise ConfigurationError(
            f"--output {output} holds {there[0]} of something else, which this would replace; choose another folder."
        )
    table = placed_by(cube_file) if on_ground else None
    found = predict(run_directory, cube_file, key, accelerator, no_data, force, on_ground)
    class_map = found.class_map
    output = output or folder_for(run_directory / "predictions", cube_file)
    output.mkdir(parents=True, exist_ok=True)
    if (output / "class_map.h5").exists():
        complain(f"The earlier map in {output} is replaced.")
        for name in OF_A_MAP:  # not all of which this cube may give
            (output / name).unlink(missing_ok=True)
    meta = finished_run(run_directory)
    names = {int(value): name for value, name in meta["class_names"].items()}
    kind = np.result_type(class_map, np.uint16)
    with replacing_hdf5(output / "class_map.h5") as file:
        file.create_dataset("class_map", data=class_map.astype(kind, copy=False), compression="gzip")
        file["label_values"], file["class_names"] = list(names), storable(names.values())
        file.attrs["cube_file"] = str(cube_file.resolve())
    title = f"{cube_file.stem}, by {meta['title']}"
    written = [output / "class_map.h5"]
    on_grid, uncertainty, where = class_map, found.uncertainty, found.georeference
    if table is not None:
        on_grid, where = table.placed(class_map, 0), table.georeference
        uncertainty = None if uncertainty is None else table.placed(uncertainty, np.nan)
    if where is not None:
        written += write_georeferenced(output, on_grid, uncertainty, where, names)
        done = [Html(f"Command: {code(command_line('hsi_al.predict'))}"), made_by(git_commit())]
        with left_out(str(output / REPORT), warn):
            written.append(write_prediction_report(output / REPORT, cube_file, run_directory, on_grid, where, done))
    with left_out(str(output / "map.png"), warn):
        shown, shape = thinned(class_map), (class_map.shape[0], class_map.shape[1])
        written.append(
            draw_map(shown, None, found.picture, names, title, output / "map.png", found.georeference, shape)
        )
    return written


def placed_by(cube_file: Path) -> "LookupTable":
    """Read the table that places the pixels of an EMIT product on the ground.

    Raises:
        SceneError: The file is no EMIT product, its table is damaged, or the library for the map is missing.
    """
    from hsi_al.scenes.formats.emit import is_product, lookup_table

    require_geo("--on-ground")
    existing_file(cube_file)
    with reading_scene(cube_file):
        if not is_product(cube_file):
            raise SceneError(
                f"--on-ground needs the lookup table of an EMIT product, and {cube_file} is none; leave it out."
            )
        return lookup_table(cube_file)


def folder_for(place: Path, cube_file: Path) -> Path:
    """The folder for the map of a cube: named after its file, and told apart from maps of other files of this name."""
    stem, parent = cube_file.stem, cube_file.resolve().parent.name
    for name in chain((stem, f"{parent}-{stem}"), (f"{parent}-{stem}-{number}" for number in count(2))):
        if not (place / name / "class_map.h5").exists() or made_from(place / name) == str(cube_file.resolve()):
            return place / name
    raise AssertionError


def made_from(folder: Path) -> str:
    """The cube file whose map is in a folder, as `write_prediction` noted it; empty if it didn't."""
    try:
        with h5py.File(folder / "class_map.h5") as file:
            return str(file.attrs.get("cube_file", ""))
    except OSError:
        return ""


def numbers(text: str) -> list[float]:
    """Parse numbers separated by commas, such as `-9999,nan`."""
    return [float(part) for part in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hsi_al.predict", description=__doc__)
    parser.add_argument("run_directory", type=Path, help="directory of a finished run")
    parser.add_argument(
        "cube_file", type=Path, help="cube (rows, columns, bands): ENVI, GeoTIFF, .mat, .npy, HDF5, ..."
    )
    parser.add_argument("--key", help="key of the cube; default: the only array in the file")
    parser.add_argument("--output", type=Path, help="folder for the map; default: RUN_DIRECTORY/predictions/CUBE")
    parser.add_argument("--accelerator", default="auto", help="where to compute: auto (default), cpu, gpu or mps")
    parser.add_argument(
        "--no-data", type=numbers, default=[], metavar="VALUES", help="values of missing data: --no-data=-9999,nan"
    )
    parser.add_argument(
        "--force", action="store_true", help="map a cube with values the run has never seen, or bad bands"
    )
    parser.add_argument("--on-ground", action="store_true", help="place the map of an EMIT product on the ground (GLT)")
    given = parser.parse_args(argv)

    def work() -> None:
        for path in write_prediction(
            given.run_directory,
            given.cube_file,
            given.key,
            given.output,
            given.accelerator,
            given.no_data,
            given.force,
            given.on_ground,
        ):
            print(printable(str(path)))

    return guarded(work, way_out="run the same command again")


if __name__ == "__main__":
    sys.exit(main())
