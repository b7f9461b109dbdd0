"""One run from its configuration: build, loop, report. No Hydra here."""

import os
import platform
import re
import resource
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from hsi_al.acquisition.base import Acquisition
from hsi_al.active.curve import RoundRecord
from hsi_al.active.loop import ActiveLearningLoop, timed
from hsi_al.active.observers import Logger, ProgressDisplay, duration
from hsi_al.active.run_directory import RunDirectory, discard_uncommitted, locked, read_meta, refuse_foreign_files
from hsi_al.active.stopping import Stopping
from hsi_al.active.tensorboard_observer import tensorboard_observer
from hsi_al.active.wandb_observer import WandbRun, wandb_observer
from hsi_al.build import acquisition_of, build_learner, build_scene, build_split, draw, training_patch
from hsi_al.config import Config, asked, differing_keys, to_dict, to_yaml
from hsi_al.errors import HsiAlError, RunDirectoryError
from hsi_al.files import replacing
from hsi_al.jobs import cores_here
from hsi_al.learners.base import Estimate, Learner, predicted_map
from hsi_al.learners.deep import DeepLearner
from hsi_al.learners.profiling import PhaseProfiler, phase_table
from hsi_al.learners.ranks import ALONE, Ranks, check_devices, joined, run_in_processes, started_by_slurm
from hsi_al.pool.label_pool import LabelPool
from hsi_al.pool.oracles import GroundTruthOracle
from hsi_al.pool.splits import Split
from hsi_al.randomness import generator
from hsi_al.report.contest_tables import markdown
from hsi_al.report.figures import draw as draw_figures
from hsi_al.report.run_files import read_meta as title_of
from hsi_al.report.tables import format_rounds, print_table, read_curve
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
PHASES = ("acquisition", "logging", "I/O")  # that every learner has


def run(config: Config, path: Path) -> None:
    """Run, continue, or only report a finished run, in as many processes as devices are asked for.

    Args:
        config: Checked configuration.
        path: Run directory.

    Raises:
        HsiAlError: Bad input; a run without a committed round leaves nothing behind.
        OSError: Files can't be written.
    """
    devices = config.trainer.devices
    check_devices(config.trainer.accelerator, devices)
    if devices == 1:
        run_here(config, path)
    elif started_by_slurm() > 1:
        run_as_one(config, path)
    else:
        run_in_processes(devices, run_as_one, config, path)


def run_as_one(config: Config, path: Path) -> None:
    """Run as one of several processes."""
    with joined(config.trainer.accelerator, config.trainer.devices) as ranks:
        run_here(config, path, ranks)


def run_here(config: Config, path: Path, ranks: Ranks = ALONE) -> None:
    """Run in this process, and the others if there are any; the first one holds the run directory and writes to it."""
    console = Console(soft_wrap=True, highlight=False, markup=False, quiet=not ranks.is_first)
    prepare_process(config.trainer.threads, ranks.size)
    with ExitStack() as held:
        is_new, is_finished = ranks.from_first(lambda: opened(config, path, held))
        try:
            if is_finished:
                console.print(f"{short_path(path)} is finished already.")
                if not (path / "figures" / "learning_curve.png").exists():
                    ranks.from_first(lambda: draw_figures(path))
            else:
                ranks.agreed(lambda: Job(config, path, console, ranks)).play()
            ranks.from_first(lambda: print_report(path, console))
        except (HsiAlError, OSError):
            if is_new and ranks.is_first:
                discard_uncommitted(path)
            raise


def opened(config: Config, path: Path, held: ExitStack) -> tuple[bool, bool]:
    """Lock the run directory as long as `held`, and say whether the run is new and whether it is finished.

    Raises:
        RunDirectoryError: It is in use, or holds something else.
    """
    held.enter_context(locked(path))
    refuse_foreign_files(path)
    is_new = not (path / "config.yaml").exists()
    for stale in path.glob(".*.tmp"):  # of a killed process
        stale.unlink()
    if not is_new and (different := differing_keys(path / "config.yaml", config)):
        raise RunDirectoryError(
            f"{path} holds a run of another configuration: {', '.join(different)}; choose another "
            "hydra.run.dir or experiment.name, or delete it."
        )
    return is_new, read_meta(path).get("state") == "finished"


@dataclass
class Job:
    """A run that is not finished."""

    config: Config
    path: Path
    console: Console
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        config = self.config
        self.began = time.monotonic()
        self.earlier = read_meta(self.path)
        self.wandb_id: str = self.earlier.get("wandb_id") or secrets.token_hex(4)
        self.scene: Scene = build_scene(config)
        self.split: Split = build_split(config, self.scene)
        self.acquisition: Acquisition = acquisition_of(config)
        self.learner: Learner = build_learner(
            config, self.scene, self.split.candidates, self.acquisition.needs, self.ranks
        )
        self.directory = RunDirectory(self.path, self.scene.label_values)
        self.pool = LabelPool(self.split.candidates)
        self.oracle = GroundTruthOracle(self.scene.labelled_ids, self.scene.labels_of(self.scene.labelled_ids))
        self.first_round = self.directory.restore(self.pool)
        self.stopping = Stopping(config.protocol.stop_at, config.protocol.stop_when_stable)
        self.rounds = config.protocol.rounds
        self.stopped: dict[str, Any] | None = None
        if 0 < self.first_round <= self.rounds and (reason := self.stopping.reason(self.directory.rows)):
            self.stop(reason)
        if self.first_round == 0:
            initial = draw(config, self.scene, self.split.candidates)
            self.pool.add(initial, self.oracle.label(initial), 0)

    def play(self) -> None:
        """Run the missing rounds, then write maps, figures, and last of all `finished`."""
        config, learner, rounds = self.config, self.learner, self.rounds
        if self.first_round and learner.keeps_state and (learner.warm or self.first_round > rounds):
            learner.load(self.directory.weights(self.first_round - 1))
        estimate = self.ranks.from_first(self.begin)
        if self.first_round > rounds and not learner.keeps_state and config.protocol.full_map:
            learner.fit(self.pool.labelled_ids, self.pool.labels, rounds, generator(config.seed, "learner", rounds))
        loop = ActiveLearningLoop(
            self.split,
            self.scene.labels_of(self.split.scored_ids),
            self.scene.n_classes,
            self.scene.width,
            self.pool,
            learner,
            self.acquisition,
            self.oracle,
            self.directory,
            rounds,
            config.protocol.query_size,
            config.seed,
            stopping=self.stopping,
            ranks=self.ranks,
        )
        if config.trainer.profile and self.ranks.is_first and isinstance(learner, DeepLearner):
            learner.profiler = PhaseProfiler(self.path / "trace.json")
        with (
            self.logged() as observers,
            ProgressDisplay(
                self.console, rounds, estimate, self.first_round, self.pool.n_labelled, config.protocol.query_size
            ) as display,
        ):
            learner.progress = display.on_part
            loop.observers = [display, self, *observers] if self.ranks.is_first else []
            loop.seconds["start"] = time.monotonic() - self.began
            loop.run(self.first_round)
            if loop.stopped is not None:
                self.stop(loop.stopped)
            if config.protocol.full_map:
                self.write_maps(loop)
            with timed(loop.seconds, "logging"):
                self.ranks.from_first(lambda: self.show_results(observers))
        self.ranks.from_first(lambda: self.end(loop.seconds))

    def begin(self) -> Estimate:
        """Write what is known before the first round, and announce it."""
        with replacing(self.path / "config.yaml") as temporary:
            temporary.write_text(to_yaml(self.config))
        self.directory.write_meta(self.meta("running"))
        return self.announce()

    def show_results(self, observers: Sequence[Logger]) -> None:
        """Draw the figures and show them elsewhere."""
        draw_figures(self.path)
        for observer in observers:
            observer.log_results()

    def end(self, seconds: dict[str, float]) -> None:
        """Write what is left, and last of all `finished`."""
        if self.config.trainer.profile:
            self.write_profile(seconds)
        self.directory.write_meta(self.meta("finished"))

    def stop(self, reason: str) -> None:
        """The last committed round is the last one."""
        self.rounds = len(self.directory.rows) - 1
        self.stopped = {"round": self.rounds, "reason": reason}

    @contextmanager
    def logged(self) -> Iterator[list[Logger]]:
        """The logger that is asked for, if any; it is closed whatever happens."""
        config, logger = self.config, self.config.logger
        if logger.name == "none" or not self.ranks.is_first:
            yield []
            return
        if logger.name == "tensorboard":
            with tensorboard_observer(self.directory, self.scene.class_names, to_yaml(config)) as (board, line):
                self.console.print(line)
                yield [board]
            return
        asks = asked(config.acquisition)
        about = WandbRun(
            run_id=self.wandb_id,
            name=f"{self.method} {asks} seed={config.seed}",
            group=logger.group
            or f"{config.experiment.name} {config.dataset.name} {config.protocol.name}-{config.split.kind}",
            job_type=asks,
            project=logger.project,
            entity=logger.entity,
            mode=logger.mode,
            tags=logger.tags,
            config=to_dict(config),
        )
        with wandb_observer(about, self.directory, self.scene.class_names) as (observer, line):
            self.console.print(line)
            yield [observer]

    def on_round(self, record: RoundRecord) -> None:
        """Keep the wall time of a run that may be killed."""
        self.directory.write_meta(self.meta("running"))

    def announce(self) -> Estimate:
        """Say what will be done and how long it takes here, measured."""
        config, scene, protocol = self.config, self.scene, self.config.protocol
        say = self.console.print
        say(
            f"{scene.name}: {scene.height} x {scene.width} pixels, {scene.n_bands} bands, {scene.n_classes} classes, "
            f"{len(scene.labelled_ids):,} labelled pixels" + (f", licence: {scene.licence}" if scene.licence else "")
        )
        say(f"{self.title()}; learner: {self.learner.describe()}")
        for side, missing in self.missing().items():
            if missing:
                names = ", ".join(scene.class_names[value] for value in missing)
                say(f"{len(missing)} classes without {side} pixels in this split, left out of AA there: {names}")
        if self.split.kind in ("blocks", "checkerboard"):
            say("No training patch holds a test pixel; patches of both sides may share background pixels.")
        remaining = range(self.first_round, self.rounds + 1)
        initial = self.pool.n_labelled - self.first_round * protocol.query_size
        if self.first_round > self.rounds:  # nothing is asked behind the last round
            initial += protocol.query_size
        sizes = [(round_, initial + round_ * protocol.query_size) for round_ in remaining]
        say(
            f"Labels: {initial} + {protocol.rounds} x {protocol.query_size} = "
            f"{initial + protocol.rounds * protocol.query_size} of {len(self.split.candidates):,} "
            "candidates" + (f"; continuing at round {self.first_round}" if self.first_round else "")
        )
        n_scored, n_pixels = len(self.split.scored_ids), scene.height * scene.width
        n_mapped = n_pixels - (n_scored if sizes else 0) if protocol.full_map else 0
        estimate = self.learner.estimate(self.pool.labelled_ids, self.pool.labels, sizes, n_scored, n_mapped)
        if config.learner.name == "deep" and protocol.batch_size > initial and self.first_round == 0:
            say(f"Batches of {protocol.batch_size} are clamped to the {initial} labels at first.")
        seconds = f": about {duration(estimate.total_seconds)}" if estimate.measured else ""
        processes = f" in {self.ranks.size} processes" if self.ranks.size > 1 else ""
        threads = f"with {torch.get_num_threads()} threads{' each' if processes else ''}"
        say(
            f"Work: {estimate.work}{seconds} on {self.learner.device.type if processes else self.learner.device}"
            f"{processes} {threads}"
        )
        for line in self.stopping.describe():
            say(line)
        say(f"Run directory: {short_path(self.path)}")
        return estimate

    def missing(self) -> dict[str, list[int]]:
        """Label values that a side of the split lacks."""
        sides = {"candidates": self.split.missing_in_candidates, "test": self.split.missing_in_test}
        return {side: [int(self.scene.label_values[index]) for index in missing] for side, missing in sides.items()}

    @property
    def method(self) -> str:
        """The network's or the learner's name."""
        return self.config.learner.method.removeprefix("deep-")

    def title(self) -> str:
        """What tells this run from others."""
        config = self.config
        return (
            f"{config.dataset.name}, {self.method}, {config.acquisition.name}, "
            f"protocol {config.protocol.name}, split {config.split.kind}, seed {config.seed}"
        )

    def overlap(self) -> dict[str, Any]:
        """Held-out pixels that lie in a training patch, at first and now; `patch_size` None without patches."""
        patch_size, shape, pool = training_patch(self.config), (self.scene.height, self.scene.width), self.pool
        found: dict[str, Any] = {"patch_size": patch_size}
        if patch_size is not None:
            for when, labelled in (("initial", pool.labelled_at == 0), ("last", pool.is_labelled)):
                inside, heldout = self.split.overlap(pool.candidates[labelled], shape, patch_size)
                found[when] = {"labels": int(labelled.sum()), "inside": inside, "heldout": heldout}
        return found

    def write_maps(self, loop: ActiveLearningLoop) -> None:
        """Predict the pixels that the last round did not, and write the maps of the whole scene."""
        scene = self.scene
        none, predicted = np.empty(0, np.int64), loop.predicted_class
        known = (none, none) if predicted is None else (self.split.scored_ids, predicted)
        classes = predicted_map(self.learner, scene.height * scene.width, scene.n_classes, *known)
        values = scene.label_values.astype(scene.ground_truth.dtype)[classes].reshape(scene.height, scene.width)
        with timed(loop.seconds, "I/O"):
            write = self.directory.write_predictions
            self.ranks.from_first(lambda: write(values, scene.ground_truth, scene.false_colour()))

    def write_profile(self, seconds: dict[str, float]) -> None:
        """Seconds per phase of this call, as `profile.md`."""
        profiler = self.learner.profiler if isinstance(self.learner, DeepLearner) else None
        phases = {**(profiler.phases() if profiler else {}), **dict.fromkeys(PHASES, 0.0), **seconds}
        if profiler:
            profiler.finish_trace()
        table = phase_table(phases, time.monotonic() - self.began)
        with replacing(self.path / "profile.md") as temporary:
            temporary.write_text(f"{self.title()}, {self.learner.device}\n\n{markdown(table)}")
        print_table(table)

    def meta(self, state: str) -> dict[str, Any]:
        """What meta.json says; `wall_seconds` adds up over continued calls."""
        scene, earlier = self.scene, self.earlier
        return {
            "state": state,
            "title": self.title(),
            "wandb_id": self.wandb_id,
            "n_bands": scene.n_bands,
            "rgb_bands": list(scene.colour_bands),
            "loss_prediction": "predicted_loss_N" in self.acquisition.needs,
            "class_names": {str(value): name for value, name in scene.class_names.items()},
            "missing_classes": self.missing(),
            "stopped": self.stopped,
            "learner": self.learner.describe(),
            "test_pixels_in_training_patches": self.overlap(),
            "command": shlex.join([Path(sys.executable).name, "-m", "hsi_al.run", *sys.argv[1:]]),
            "git_commit": git_commit(),
            "versions": {name: version(name) for name in ("hsi_al", "torch", "lightning", "numpy")}
            | {"python": platform.python_version()},
            "machine": f"{platform.system()} {platform.machine()}",
            "device": device_name(self.learner.device),
            "devices": self.ranks.size,
            "threads": torch.get_num_threads(),
            "calls": earlier.get("calls", 0) + 1,
            "wall_seconds": earlier.get("wall_seconds", 0.0) + time.monotonic() - self.began,
            "peak_memory_mb": peak_memory_mb(),
        }


def print_report(path: Path, console: Console) -> None:
    """The table of rounds and the pictures of a finished run."""
    meta = title_of(path)
    console.print(meta.title)
    print_table(format_rounds(read_curve(path)))
    if meta.stopped:
        console.print(f"Stopped early: {meta.stopped}.")
    if meta.overlap is not None:
        console.print(meta.overlap.sentence())
    for picture in sorted((path / "figures").glob("*.png")):
        console.print(short_path(picture))


def short_path(path: Path) -> str:
    """Relative to the working directory where that is shorter to read."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def prepare_process(threads: int | None, processes: int = 1) -> None:
    """Compute with so many threads, by default all, or the share of one of several processes."""
    torch.set_num_threads(threads or available_threads(processes))
    if processes > 1:
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # else Lightning would choose again


def available_threads(processes: int = 1) -> int:
    """OMP_NUM_THREADS if set, else what SLURM gave, else the cores given to this process and those beside it."""
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(given) > 0:
        return int(given)
    if (given := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdigit() and int(given) > 0:
        return max(1, int(given) // (processes if started_by_slurm() == 1 else 1))
    return max(1, cores_here() // processes)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the process was started from
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) // 2**10  # type: ignore[index]
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


@cache
def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, with a plus if it was changed; None elsewhere."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():  # an installed package inside somebody else's repository
        return None
    describe = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        described = subprocess.run(describe, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
