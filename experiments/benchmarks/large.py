"""Scenes larger than memory: cost per pixel and peak memory of runs on a cube that stays in its file.

The same is measured for reading and top-k selection alone.
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from experiments.benchmarks.measure import Row, command
from hsi_al.acquisition.ranking import highest
from hsi_al.active.meta import peak_memory_mb
from hsi_al.scenes.arrays import blocks
from hsi_al.scenes.stored import BLOCK_BYTES, stored_cube

WIDTH, N_BANDS, N_CLASSES = 1000, 32, 8
SPARSE_WIDTH, SPARSE_BANDS, TOP = 10_000, 4, 1000
ALLOWED_MB = 4096


def measure(
    sizes: tuple[int, int] = (100_000, 10_000_000), sparse: tuple[int, int] = (10_000_000, 100_000_000)
) -> list[Row]:
    """Compare seconds per pixel of a small and a large scene, and the peak memory (with imports) of the large one.

    `sizes` and `sparse` are the numbers of pixels of the scenes of runs, and of the sparse files.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_on(Path(folder), n) for n in sizes]
        tops = [top_of(Path(folder), n) for n in sparse]
    return [
        *rows_of("spectral, every pixel scored and a candidate", sizes, runs),
        *rows_of(f"I/O and the highest {TOP}, sparse file of {SPARSE_BANDS} bands", sparse, tops),
    ]


def rows_of(what: str, sizes: tuple[int, int], measured: list[tuple[float, int]]) -> list[Row]:
    """Return rows for cost and memory from (seconds per pixel, peak MB) of two sizes."""
    (few, _), (many, peak) = measured
    return [
        Row(
            f"seconds per pixel, {what}",
            f"{sizes[0]:,} pixels {1e6 * few:.2f} us",
            f"{sizes[1]:,} pixels {1e6 * many:.2f} us",
            many / few,
            "<= 1.2",
        ),
        Row(f"peak memory, {what}, {sizes[1]:,} pixels", "4 GB", f"{peak} MB", peak / ALLOWED_MB, "<= 1"),
    ]


def run_on(folder: Path, n_pixels: int) -> tuple[float, int]:
    """Return the least seconds per pixel to score and query in a middle round of a run, and its peak memory in MB."""
    scene, run = folder / f"{n_pixels}.h5", folder / f"run-{n_pixels}"
    write_scene(scene, n_pixels)
    arguments = [
        *("dataset=custom", f"dataset.cube_file='{scene}'", "dataset.cube_key=cube", "dataset.ground_truth_key=truth"),
        *("dataset.in_memory=false", "backbone=spectral", "acquisition=entropy", "trainer.accelerator=cpu"),
        *("protocol=smoke", "protocol.max_pixels=null", "protocol.full_map=true", "protocol.rounds=3"),
        f"hydra.run.dir='{run}'",
    ]
    command("hsi_al.run", *arguments)
    scene.unlink()
    with (run / "curve.csv").open(newline="", encoding="utf-8") as file:
        rounds = list(csv.DictReader(file))[1:-1]  # the first warms up, the last queries nothing
    seconds = min(float(row["seconds_predict"]) + float(row["seconds_query"]) for row in rounds)
    return seconds / n_pixels, int(json.loads((run / "meta.json").read_text(encoding="utf-8"))["peak_memory_mb"])


def write_scene(path: Path, n_pixels: int) -> None:
    """Write a chunked cube of noisy spectra and the class of every pixel to an HDF5 file, strip by strip."""
    rng = np.random.default_rng(0)
    spectra = rng.integers(1000, 8000, (N_CLASSES, N_BANDS))
    height = n_pixels // WIDTH
    with h5py.File(path, "w") as file:
        cube = file.create_dataset("cube", (height, WIDTH, N_BANDS), np.uint16, chunks=(min(20, height), 100, N_BANDS))
        truth = file.create_dataset("truth", (height, WIDTH), np.uint8, chunks=(min(100, height), WIDTH))
        for first, last in blocks(height, 500):
            rows, columns = np.mgrid[first:last, :WIDTH] // 50
            classes = (rows + columns) % N_CLASSES
            noise = rng.integers(0, 2000, (last - first, WIDTH, N_BANDS), dtype=np.uint16)
            cube[first:last] = spectra[classes] + noise
            truth[first:last] = classes + 1


def top_of(folder: Path, n_pixels: int) -> tuple[float, int]:
    """Run `main` below in a new interpreter on a sparse file; return seconds per pixel and peak memory in MB."""
    path, height = folder / f"sparse-{n_pixels}.h5", n_pixels // SPARSE_WIDTH
    with h5py.File(path, "w") as file:
        cube = file.create_dataset(
            "cube", (height, SPARSE_WIDTH, SPARSE_BANDS), np.uint16, chunks=(50, 1000, SPARSE_BANDS)
        )
        cube[height // 2, :TOP] = 1 + np.arange(TOP)[:, None]  # one chunk; all others read as 0
    seconds, peak = command("experiments.benchmarks.large", str(path)).split()
    return float(seconds) / n_pixels, int(peak)


def main() -> None:
    """In the child process: find the pixels of the highest mean over the bands, strip by strip.

    Print the seconds and the peak memory in MB.
    """
    began, rng = time.perf_counter(), np.random.default_rng(0)
    cube = stored_cube(Path(sys.argv[1]))
    height, width, _ = cube.shape
    best = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)  # pixel ids, scores, ties
    for first, last in cube.rows.blocks(BLOCK_BYTES):
        ids = np.arange(first * width, last * width)
        strip = ids, cube.read(first, last).mean(axis=2).ravel(), rng.integers(2**63, size=len(ids))
        joined = [np.concatenate(pair) for pair in zip(best, strip, strict=True)]
        chosen = highest(joined[1], joined[2], TOP)
        best = joined[0][chosen], joined[1][chosen], joined[2][chosen]
    if best[0].tolist() != (height // 2 * width + np.arange(TOP)[::-1]).tolist():
        raise RuntimeError("The pixels found are not those whose values were written.")
    print(time.perf_counter() - began, peak_memory_mb())


if __name__ == "__main__":
    main()
