"""Peak memory on a scene of Salinas' size, and growth of memory over the rounds; each in its own process."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import MEGABYTE, Row, command, resident_memory, synthetic_cube

SALINAS = (512, 217, 204)


def measure(
    shape: tuple[int, int, int] = SALINAS,
    rounds: int = 32,
    stems: tuple[str, ...] = ("s2_pool", "s1"),
    backbone: str = "densenet121",
) -> list[Row]:
    """Measure the peak memory of a run above that of the imports, and the memory of late rounds against early ones."""
    with tempfile.TemporaryDirectory() as folder:
        cube_file, truth_file = Path(folder) / "cube.npy", Path(folder) / "truth.npy"
        np.save(cube_file, synthetic_cube(*shape))
        np.save(truth_file, np.arange(shape[0] * shape[1]).reshape(shape[:2]) % 16 + 1)
        cube_megabytes = np.prod(shape) * 4 / MEGABYTE
        allowed = cube_megabytes + 1024
        rows = []
        for stem in stems:
            scene = scene_of(cube_file, truth_file, backbone)
            peak = child("peak", folder, *scene, f"protocol.stem={stem}", "protocol.rounds=1")
            rows.append(
                Row(
                    f"peak memory, {'x'.join(map(str, shape))} scene, {backbone}, stem {stem}",
                    f"cube (float32) + 1 GB = {allowed:.0f} MB",
                    f"{peak:.0f} MB above imports",
                    peak / allowed,
                    "<= 1",
                )
            )
        small_cube, small_truth = Path(folder) / "small.npy", Path(folder) / "small_truth.npy"
        np.save(small_cube, synthetic_cube(60, 60, 30))
        np.save(small_truth, np.arange(3600).reshape(60, 60) % 5 + 1)
        scene = scene_of(small_cube, small_truth, backbone)
        growth = child("growth", folder, *scene, f"protocol.rounds={rounds}", "protocol.query_size=10")
        rows.append(Row(f"memory after {rounds + 1} rounds", "after 3 rounds: 1", f"{growth:.3f}", growth, "<= 1.05"))
    return rows


def scene_of(cube_file: Path, truth_file: Path, backbone: str) -> list[str]:
    """Return the overrides of a short run on a custom scene, with the loss prediction module."""
    return [
        f"backbone={backbone}",
        "dataset=custom",
        f"dataset.cube_file='{cube_file}'",
        f"dataset.ground_truth_file='{truth_file}'",
        "protocol=smoke",
        "protocol.epochs=1",
        "trainer.accelerator=cpu",
    ]


def child(what: str, folder: str, *overrides: str) -> float:
    """Run `main` below in a new interpreter and return the number it prints."""
    return float(command("experiments.benchmarks.memory", what, folder, *overrides).splitlines()[-1])


def main() -> None:
    """In the child process: import everything, do the run, print one number.

    With `peak` the number is the peak memory above that of the imports in MB, with `growth` the memory after the last
    round divided by that after the third.
    """
    from rich.console import Console

    from hsi_al.active.curve import RoundRecord
    from hsi_al.active.experiment import Experiment
    from hsi_al.active.meta import MetaFile, peak_memory_mb
    from hsi_al.cli.composition import composed

    what, folder, *overrides = sys.argv[1:]
    after_rounds: list[float] = []

    class Weigher(MetaFile):
        def on_round(self, record: RoundRecord) -> None:
            after_rounds.append(resident_memory())

    config, _ = composed(overrides)
    path = Path(tempfile.mkdtemp(dir=folder))
    before = resident_memory()
    weighed = Experiment(config, path, Console(quiet=True))
    weighed.meta = Weigher(weighed.parts, weighed.threads, weighed.began)
    weighed.play()
    print((peak_memory_mb() or 0) - before if what == "peak" else after_rounds[-1] / after_rounds[2])


if __name__ == "__main__":
    main()
