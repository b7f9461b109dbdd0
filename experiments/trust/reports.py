"""Time and memory of reports on many runs: `python -m experiments.trust.reports [--summary 10000] [--compare 300]`.

The runs are made here: the files that a report reads, without a network. Each report is a process of its own.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from hsi_al.active.meta import git_commit
from hsi_al.config.kept import to_yaml
from hsi_al.config.schema import Config
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown
from hsi_al.report.tables import COLUMNS

RESULTS = Path(__file__).resolve().parents[1] / "results" / "trust"
SEEDS = 3  # of every method, as in most comparisons
ROUNDS = 9
CLASSES = 16


@dataclass(frozen=True)
class Cost:
    """What a report took.

    Attributes:
        command: The report.
        runs: Number of runs.
        methods: Number of methods among them.
        seconds: Wall time of the process, imports included.
        processor_seconds: The time of that in which it computed; the same on a busy machine.
        peak_mb: Its largest resident memory.
    """

    command: str
    runs: int
    methods: int
    seconds: float
    processor_seconds: float
    peak_mb: float


def write_runs(folder: Path, n_runs: int, seeds: int = SEEDS, rounds: int = ROUNDS, classes: int = CLASSES) -> Path:
    """Write the files of finished runs that `summary` and `compare` read: methods on one scene, each with its seeds."""
    config = Config()
    config.dataset.name, config.split.kind, config.protocol.name = "scene", "holdout", "short"
    config.learner.name = config.learner.method = config.backbone.name = "net"
    config.oracle.name, config.logger.name, config.experiment.name = "ground_truth", "none", "main"
    for method, seed in islice(product(range(-(-n_runs // seeds)), range(seeds)), n_runs):
        config.acquisition.name, config.seed = f"query_{method}" if method else "random", seed
        run = folder / config.acquisition.name / f"seed={seed}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        (run / "meta.json").write_text(json.dumps(meta_of(config, classes), indent=2), encoding="utf-8")
        write_curve(run, method, seed, rounds, classes)
    return folder


def meta_of(config: Config, classes: int) -> dict[str, object]:
    """Return the entries of meta.json that reports use."""
    title = f"scene, net, {config.acquisition.name}, protocol short, split holdout, seed {config.seed}"
    counts = {when: {"labels": 160, "inside": 900, "heldout": 1000} for when in ("initial", "last")}
    return {
        "state": "finished",
        "title": title,
        "learner": "net",
        "class_names": {str(value): f"class {value}" for value in range(1, classes + 1)},
        "test_pixels_in_training_patches": {"patch_size": 32, **counts},
    }


def write_curve(run: Path, method: int, seed: int, rounds: int, classes: int) -> None:
    """Write a rising curve that depends on method and seed."""
    with (run / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(f"recall_{value}" for value in range(1, classes + 1))])
        for at in range(rounds):
            accuracy = 1 - 0.4 / (1 + at) - 0.001 * (method * 7 % 89) - 0.002 * (seed * (method + 3) % 5)
            writer.writerow([at, 160 + 40 * at, *[accuracy] * 6, 60.0, 5.0, 0.5, *[accuracy] * classes])


def measure(sizes: Sequence[tuple[str, int, int]]) -> list[Cost]:
    """Make runs and report on them.

    Args:
        sizes: For each report its command (`summary` or `compare`), number of runs, and seeds of each method.
    """
    found = []
    for command, runs, seeds in sizes:
        with tempfile.TemporaryDirectory() as folder:
            made = write_runs(Path(folder) / "runs", runs, seeds)
            arguments = [command, str(made), *(["--output", f"{folder}/out"] if command == "compare" else [])]
            found.append(Cost(command, runs, -(-runs // seeds), *cost_of(["-m", "hsi_al.report", *arguments])))
    return found


def cost_of(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Return the seconds, processor seconds and peak memory in MB of a Python process whose output is thrown away.

    Linux counts the memory of the process that starts another one, too: the peak is at least that of this one.

    Raises:
        RuntimeError: It failed.
    """
    began = time.perf_counter()
    quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=[quiet])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {status}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak


def table(found: Sequence[Cost]) -> str:
    """Format costs as Markdown."""
    rows = [
        [
            c.command,
            f"{c.runs:,}",
            f"{c.methods:,}",
            f"{c.seconds:.1f}",
            f"{c.processor_seconds:.1f}",
            f"{c.peak_mb:.0f}",
        ]
        for c in found
    ]
    return markdown([["report", "runs", "methods", "seconds", "processor seconds", "peak MB"], *rows])


def main() -> None:
    """Print the table, and write it beside those of the other scripts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", type=int, default=10_000, help="runs of the summary")
    parser.add_argument("--compare", type=int, default=300, help="runs of the comparisons")
    given = parser.parse_args()
    sizes = [("summary", given.summary, SEEDS)]
    sizes += [("compare", given.compare, seeds) for seeds in (30, 10, SEEDS, 2, 1)]
    command = " ".join(["python -m experiments.trust.reports", *sys.argv[1:]])
    page = f"`{command}`, {git_commit()}\n\n{table(measure(sizes))}"
    print(page)
    RESULTS.mkdir(parents=True, exist_ok=True)
    replace_text(RESULTS / "reports.md", page)


if __name__ == "__main__":
    main()
