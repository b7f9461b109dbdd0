"""Apply a finished run's model to a scene: `python -m hsi_al.predict RUN_DIRECTORY CUBE_FILE`.

Writes `class_map.h5` (label values, H x W) and `map.png`. The cube needs the bands of the training scene; it is scaled
by the training scene's minimum and maximum. For exit codes see `hsi_al.cli.console`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.experiment import use_threads
from hsi_al.active.run_directory import read_meta
from hsi_al.cli.console import guarded
from hsi_al.config.kept import load_kept
from hsi_al.errors import RunDirectoryError, SceneError
from hsi_al.files import replacing_hdf5
from hsi_al.methods.base import predicted_map
from hsi_al.methods.deep.learner import read_weights
from hsi_al.methods.registry import build_learner, require_network, settings_of
from hsi_al.methods.room import Task
from hsi_al.report.figures import draw_map
from hsi_al.scenes.readers import opened_rows
from hsi_al.scenes.scene import false_colour, is_scene_file
from hsi_al.scenes.stored import StoredCube
from hsi_al.terminal import printable


def predict(
    run_directory: Path, cube_file: Path, cube_key: str | None = None, accelerator: str = "auto"
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.uint8]]:
    """Classify every pixel of a cube with the network of a finished run, strip by strip.

    Cubes in HDF5 files (MATLAB 7.3 included) and .npy files may be larger than the memory.

    Args:
        run_directory: Directory of a finished run.
        cube_file: Cube (H, W, bands) in a .mat, .npy or HDF5 file.
        cube_key: Key of the cube; default: `cube` in a file of `save_scene`, else the only array in the file.
        accelerator: Device to compute on, which may differ from the run's: auto, cpu, gpu or mps.

    Returns:
        Label values (H, W), in the smallest unsigned integer type, and a false-colour picture (H, W, 3).

    Raises:
        RunDirectoryError: The run is not finished, or its files are damaged.
        SceneError: The cube can't be used, or has another number of bands than the run's scene.
        ConfigurationError: The run's learner keeps no network.
    """
    meta = read_meta(run_directory)
    if meta.get("state") != "finished":
        raise RunDirectoryError(f"{run_directory} holds no finished run; run it to its end first.")
    config = load_kept(run_directory / "config.yaml", settings_of)
    require_network(config)
    config.trainer.accelerator = accelerator
    label_values = np.array(sorted(int(value) for value in meta["class_names"]))
    label_values = label_values.astype(np.min_scalar_type(label_values[-1]))
    stopped = meta.get("stopped") or {"round": config.protocol.rounds}
    weights = run_directory / f"weights_{stopped['round']}.pt"
    low, high = read_weights(weights)["limits"].tolist()
    none = np.empty(0, np.int64)
    with opened_rows(cube_file, "cube" if cube_key is None and is_scene_file(cube_file) else cube_key) as rows:
        if len(rows.shape) != 3 or rows.shape[2] != meta["n_bands"]:
            raise SceneError(
                f"{cube_file} has shape {rows.shape}, but the run was trained on {meta['n_bands']} bands: give a "
                f"cube (rows, columns, {meta['n_bands']})."
            )
        cube = StoredCube(rows)
        learner = build_learner(Task(config, cube, len(label_values), none, limits=(low, high)))
        use_threads(None)
        learner.load(weights)
        height, width, _ = cube.shape
        classes = predicted_map(learner, height * width, len(label_values), none, none)
        return label_values[classes].reshape(height, width), false_colour(cube, meta["rgb_bands"])


def write_prediction(
    run_directory: Path, cube_file: Path, key: str | None, output: Path, accelerator: str
) -> list[Path]:
    """Classify a cube, write the class map and its picture to `output`, and return their paths.

    Raises:
        HsiAlError: As for `predict`.
        OSError: Files can't be written.
    """
    class_map, picture_of = predict(run_directory, cube_file, key, accelerator)
    output.mkdir(parents=True, exist_ok=True)
    with replacing_hdf5(output / "class_map.h5") as file:
        file.create_dataset("class_map", data=class_map.astype(np.uint16, copy=False), compression="gzip")
    meta = read_meta(run_directory)
    names = {int(value): name for value, name in meta["class_names"].items()}
    title = f"{cube_file.stem}, by {meta['title']}"
    return [output / "class_map.h5", draw_map(class_map, None, picture_of, names, title, output / "map.png")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hsi_al.predict", description=__doc__)
    parser.add_argument("run_directory", type=Path, help="directory of a finished run")
    parser.add_argument("cube_file", type=Path, help="cube (rows, columns, bands) in a .mat, .npy or HDF5 file")
    parser.add_argument("--key", help="key of the cube; default: the only array in the file")
    parser.add_argument("--output", type=Path, help="folder for the map; default: RUN_DIRECTORY/predictions/CUBE")
    parser.add_argument("--accelerator", default="auto", help="where to compute: auto (default), cpu, gpu or mps")
    given = parser.parse_args(argv)
    output = given.output or given.run_directory / "predictions" / given.cube_file.stem

    def work() -> None:
        for path in write_prediction(given.run_directory, given.cube_file, given.key, output, given.accelerator):
            print(printable(str(path)))

    return guarded(work, way_out="run the same command again")


if __name__ == "__main__":
    sys.exit(main())
