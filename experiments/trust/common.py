"""What the scripts share: a tiny scene, commands with limits, results to compare, and the page of a script."""

import argparse
import csv
import faulthandler
import json
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from experiments.trust.processes import PRELOADED, Forked, command
from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "trust"
SECONDS = 60.0  # that a command may take on an idle machine
MEMORY = 3 * 2**30  # bytes that a command may add to its address space
SCENE = (
    *("dataset=custom", "dataset.name=tiny", "dataset.cube_key=cube", "dataset.ground_truth_key=truth"),
    "dataset.cube_file=tiny.mat",
)
ARGUMENTS = (
    *("protocol=smoke", "protocol.initial_size=12", "protocol.query_size=4", "protocol.max_pixels=null"),
    *("patch_size=16", "backbone=lenet", "acquisition=entropy", "trainer.threads=1", "trainer.accelerator=cpu"),
)
# Entries of meta.json that differ between equal runs.
MEASURED = ("wall_seconds", "peak_memory_mb", "command", "calls", "wandb_id", "git_commit", "checksum")


@dataclass(frozen=True)
class Trial:
    """One thing that was tried.

    Attributes:
        kind: Row of the table.
        outcome: Column of the table.
        what: What was done and what came of it, for the list of failures.
        number: Number with which `--only` repeats it.
    """

    kind: str
    outcome: str
    what: str
    number: int


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, negative if a signal killed it; None if it was still at work at its time limit.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
        seconds: Its wall time.
    """

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def outcome(self) -> str:
        """`exit 0`, `one sentence`, `too slow`, or what is wrong with the end."""
        if self.code is None:
            return "too slow"
        if "Traceback" in self.err or self.code not in (0, 2):
            return "traceback or exit code"
        if self.code == 0:
            return "exit 0"
        lines = self.err.strip().splitlines()
        if not lines or not lines[-1].startswith("hsi_al: error: ") or len(lines[-1]) > 5000:
            return "no sentence"
        return "one sentence" if all(line.startswith("hsi_al: ") for line in lines) else "no sentence"

    def __str__(self) -> str:
        last = (self.err.strip() or self.out.strip()).splitlines()[-1:]
        return f"exit {self.code} after {self.seconds:.1f} s: {''.join(last)[:300]}"

    @property
    def told(self) -> str:
        """This with the end of a traceback, or with where the process was when it took too long."""
        part = self.err.strip()[:1500] if self.code is None else self.err.strip()[-700:]
        return f"{self}; stderr: {part!r}"


def tiny_scene() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return a cube (24, 26, 6) of three classes with spectra of their own, and its ground truth (24, 26)."""
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 26), dtype=np.uint8)
    truth[1:11, 1:12], truth[1:11, 14:25], truth[13:23, 2:24] = 2, 5, 9
    cube = rng.uniform(100, 900, size=(10, 6))[truth] + rng.normal(0, 20, size=(24, 26, 6))
    return cube.clip(0).astype(np.uint16), truth


def write_tiny(folder: Path) -> None:
    """Write the tiny scene where `SCENE` looks for it."""
    cube, truth = tiny_scene()
    scipy.io.savemat(folder / "tiny.mat", {"cube": cube, "truth": truth})


@contextmanager
def place() -> Iterator[Path]:
    """Yield an empty folder, deep enough that no `../..` leads out of what is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="hsi_al_trust-") as folder:
        path = Path(folder) / "a" / "b" / "c"
        path.mkdir(parents=True)
        yield path


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a user without data, key or network, whose caches lie in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HSI_AL", "WANDB", "SLURM"))}
    caches = {name: str(folder / "cache") for name in ("XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")}
    threads = {"OMP_NUM_THREADS": "1", "WANDB_DATA_DIR": str(folder / "cache")}
    return kept | caches | threads | {"HSI_AL_DOWNLOAD_BASE": "http://127.0.0.1:9/"}


def patience(seconds: float = SECONDS) -> float:
    """Return so many seconds, multiplied on a busy machine by the processes that share a core."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def limited(memory: int | None, work: Callable[..., int], *arguments: str) -> int:
    """Do a command's work in a process that can't add more than `memory` bytes to its address space."""
    faulthandler.register(signal.SIGQUIT)
    if memory is not None and Path("/proc/self/statm").exists():  # elsewhere what is there can't be told
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return work(*arguments)


def undrawn(*arguments: str) -> int:
    """`python -m hsi_al.run` without its pictures, which take longest."""
    import hsi_al.active.experiment

    hsi_al.active.experiment.draw = lambda path: None
    return command(*arguments)


def ended(
    folder: Path,
    arguments: Sequence[str],
    work: Callable[..., int] = command,
    memory: int | None = MEMORY,
    seconds: float = SECONDS,
    enough: Callable[[str], bool] = lambda out: False,
) -> Ended:
    """Do a command's work in a process of its own, in `folder`, and return how it ended.

    It is killed, and its exit code is None, after `patience(seconds)`, or once `enough` is true of its stdout.
    """
    with tempfile.TemporaryDirectory() as written:
        began = time.monotonic()
        env = environment(folder.parents[1] / "home")
        process = Forked(limited, [memory, work, *arguments], folder, Path(written), env)
        while process.poll() is None and time.monotonic() - began < patience(seconds):
            process.process.join(1)
            if enough(process.out.read_text(errors="replace", encoding="utf-8")):
                break
        if (code := process.poll()) is None:
            process.send_signal(signal.SIGQUIT)  # where it is now, for the list of failures
            process.process.join(1)
        process.kill()
        process.process.join()
        out, err = (path.read_text(errors="replace", encoding="utf-8") for path in (process.out, process.err))
        return Ended(code, out, err, time.monotonic() - began)


def run_results(run: Path) -> dict[str, Any]:
    """Return what a run found, but for what is measured: pool, curve, confusion matrices, maps, meta.json."""
    found: dict[str, Any] = {}
    for name in ("pool.h5", "confusion.h5", "predictions.h5"):
        if (run / name).exists():
            with h5py.File(run / name) as file:
                found |= {f"{name}/{key}": file[key][()].tolist() for key in file}
    with (run / "curve.csv").open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    found["curve.csv"] = [{key: row[key] for key in row if not key.startswith("seconds")} for row in rows]
    meta = json.loads((run / "meta.json").read_text(encoding="utf-8"))
    found["meta.json"] = {key: value for key, value in meta.items() if key not in MEASURED}
    found["config.yaml"] = (run / "config.yaml").read_text(encoding="utf-8")
    return found


def differing(found: dict[str, Any], right: dict[str, Any]) -> str:
    """Return the names of the results that differ, or an empty text."""
    return ", ".join(sorted(name for name in found.keys() | right.keys() if found.get(name) != right.get(name)))


def table(trials: Sequence[Trial], outcomes: Sequence[str]) -> str:
    """Return a Markdown table: a row per kind and one of all, a column per outcome."""
    columns = [*outcomes, *sorted({trial.outcome for trial in trials} - set(outcomes))]
    rows = [["", "tried", *columns]]
    for kind in [*dict.fromkeys(trial.kind for trial in trials), None]:
        own = [trial for trial in trials if kind in (None, trial.kind)]
        counts = Counter(trial.outcome for trial in own)
        rows.append([kind or "**all**", str(len(own)), *(str(counts[outcome]) for outcome in columns)])
    return markdown(rows)


def failures(trials: Sequence[Trial], wrong: Sequence[str], repeat: str) -> list[str]:
    """Return a line of Markdown per failure, one of trials that failed together, with the command that repeats it."""
    lines = [
        f"- {trial.kind}, {trial.outcome}: {trial.what} Repeat: `{repeat} --only {trial.number}`"
        for trial in trials
        if trial.outcome in wrong
    ]
    return list(dict.fromkeys(lines))


def hardware() -> str:
    """Return processor, cores, memory and system in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{(models or [platform.processor()])[0]}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )


def main(
    name: str,
    about: str,
    measure: Callable[[int, int, int | None], list[Trial]],
    outcomes: Sequence[str],
    wrong: Sequence[str],
    n: int,
    told: str = "",
) -> None:
    """Measure, print and write `results/trust/<name>.md`; the exit code is 1 if there is a failure.

    Args:
        name: Name of the script.
        about: Its docstring, for `--help` and the page.
        measure: Gives the trials for n, seed, and the number of the only trial or None.
        outcomes: Columns of the table, in order.
        wrong: Those that are failures; any outcome not among `outcomes` is one, too.
        n: Number of trials by default.
        told: Kind of the trials whose details are told whatever came of them.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.trust.{name}", description=about)
    parser.add_argument("--n", type=int, default=n, help="how many trials (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default: %(default)s)")
    parser.add_argument("--only", type=int, help="repeat this trial alone, and write no page")
    given = parser.parse_args()
    multiprocessing.set_forkserver_preload([*PRELOADED, "experiments.trust.warm"])
    began = time.monotonic()
    trials = measure(given.n, given.seed, given.only)
    bad = [*wrong, *sorted({trial.outcome for trial in trials} - set(outcomes))]
    listed = failures(trials, bad, f"python -m experiments.trust.{name} --n {given.n} --seed {given.seed}")
    if given.only is not None:
        print("\n".join(f"{trial.kind}, {trial.outcome}: {trial.what}" for trial in trials))
        sys.exit(bool(listed))
    page = (
        f"# {name}\n\n{about.strip()}\n\n`python -m experiments.trust.{name} --n {given.n} --seed {given.seed}`, "
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {git_commit()}, {hardware()}, "
        f"{time.monotonic() - began:.0f} s.\n\n{table(trials, outcomes)}\n\n"
        + "".join(f"{trial.kind}: {trial.what}\n\n" for trial in trials if trial.kind == told)
        + f"Failures: {sum(trial.outcome in bad for trial in trials)} of {len(trials)}.\n"
        + "".join(f"\n{line}" for line in listed)
    )
    print(page)
    RESULTS.mkdir(parents=True, exist_ok=True)
    replace_text(RESULTS / f"{name}.md", page.rstrip() + "\n")
    sys.exit(bool(listed))
