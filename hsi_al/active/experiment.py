"""Play one run from its configuration: build its parts, run the active learning loop, write its files."""

import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from threadpoolctl import threadpool_limits

from hsi_al import interrupts
from hsi_al.active.loop import ActiveLearningLoop, timed
from hsi_al.active.map_files import write_maps
from hsi_al.active.meta import MetaFile, forget_peak_memory
from hsi_al.active.observers.base import Logger
from hsi_al.active.observers.console import announce, announce_scene, print_report, short_path
from hsi_al.active.observers.progress import ProgressDisplay
from hsi_al.active.parts import build_parts, build_scene
from hsi_al.active.run_directory import discard_uncommitted, exists, locked, refuse_foreign_files, remove_stale
from hsi_al.config.kept import differing_keys, keep_scaling, more_rounds, to_dict, to_yaml
from hsi_al.config.schema import Config, name_with_labels, name_with_variants, name_with_wrappers
from hsi_al.errors import HsiAlError, RunDirectoryError, SceneError, left_out
from hsi_al.files import replace_text
from hsi_al.manifest import read_manifest
from hsi_al.methods.base import Estimate, HasDraws
from hsi_al.methods.registry import check_method
from hsi_al.randomness import generator
from hsi_al.report.run_checks import check_data, check_labels, check_queries, check_run
from hsi_al.report.run_files import meta_entries
from hsi_al.report.tables import PlainConsole, print_table
from hsi_al.scenes.catalogue import CATALOGUE, data_folder, is_at_hand
from hsi_al.scenes.checksums import data_checksums
from hsi_al.scenes.scene import Scene
from hsi_al.terminal import warn
from hsi_al.training.ranks import (
    ALONE,
    Ranks,
    available_threads,
    check_devices,
    joined,
    run_in_processes,
    started_by_slurm,
)

Ids = NDArray[np.int64]
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)  # what a folder answers that can't be written
PHASES = ("acquisition", "logging", "I/O")  # of a run with any learner


def run(config: Config, path: Path) -> None:
    """Start or continue a run, or print the report of a finished one, in as many processes as `trainer.devices`.

    Args:
        config: Checked configuration.
        path: Run directory.

    Raises:
        HsiAlError: Bad input; the files of a new run without a committed round are removed.
        OSError: Files can't be written.
        Interrupted: A signal ended the run; the same call continues it.
    """
    check_method(config)
    devices = config.trainer.devices
    check_devices(config.trainer.accelerator, devices)
    if devices == 1:
        run_here(config, path)
    elif started_by_slurm() > 1:
        run_as_one(config, path)
    else:
        run_in_processes(devices, run_as_one, config, path)


def run_as_one(config: Config, path: Path) -> None:
    """Run in this process as one of the several that share the run."""
    with joined(config.trainer.accelerator, config.trainer.devices) as ranks:
        run_here(config, path, ranks)


def run_here(config: Config, path: Path, ranks: Ranks = ALONE) -> None:
    """Run in this process, one of `ranks`; only the first of them locks the run directory and writes to it."""
    console = PlainConsole(soft_wrap=True, quiet=not ranks.is_first)
    keep_scaling(path / "config.yaml", config)
    with ExitStack() as held:
        is_new, is_finished = ranks.from_first(lambda: opened(config, path, held))
        try:
            if is_finished:
                console.print(f"{short_path(path)} is finished already.")
                ranks.from_first(lambda: look_again(config, path, console))
            else:
                ranks.agreed(lambda: Experiment(config, path, console, ranks)).play()
            ranks.from_first(lambda: print_report(path, console))
        except (HsiAlError, OSError):
            if is_new and ranks.is_first:
                discard_uncommitted(path)
            raise


def opened(config: Config, path: Path, held: ExitStack) -> tuple[bool, bool]:
    """Lock the run directory until `held` is closed; return whether the run is new and whether it is finished.

    A finished run that is given more rounds isn't finished.
    A finished run in a folder that can't be written is opened without a lock, since nothing is written.

    Raises:
        RunDirectoryError: It is in use, damaged, or holds a run of another configuration or run files without a
            configuration.
        OSError: The folder can't be written.
    """
    refuse_foreign_files(path)
    try:
        held.enter_context(locked(path))
        remove_stale(path)
    except OSError as error:
        if error.errno not in READ_ONLY or meta_entries(path).get("state") != "finished":
            raise
    if not exists(path / "config.yaml"):
        return True, False
    check_run(path, weights=True)
    kept, manifest = path / "config.yaml", read_manifest(path)
    longer = more_rounds(kept, config)
    if different := differing_keys(kept, config, moved=bool(manifest and manifest.data), longer=longer):
        raise RunDirectoryError(
            f"{path} holds a run of another configuration: {', '.join(different)}; choose another "
            "hydra.run.dir or experiment.name, or delete it."
        )
    check_queries(path, config.protocol.query_size)
    return False, meta_entries(path).get("state") == "finished" and not longer


def look_again(config: Config, path: Path, console: Console) -> None:
    """Compare a finished run with its scene, if the scene is at hand, and draw the pictures if they are missing.

    Raises:
        RunDirectoryError: The run was made with other data.
        SceneError: The configuration names other files than the run was made with, and they can't be read.
    """
    manifest = read_manifest(path)
    if manifest is not None and manifest.data:
        try:
            if not is_at_hand_for(config):
                raise SceneError(f"{config.dataset.name} would have to be downloaded")
            check_scene(path, build_scene(config))
        except SceneError as error:
            if differing_keys(path / "config.yaml", config):
                raise
            console.print(f"The data were not compared with those of the run: {error}")
    if not (path / "figures" / "learning_curve.png").exists():
        draw(path)


def is_at_hand_for(config: Config) -> bool:
    """Return whether the scene of a configuration can be loaded without a download."""
    dataset = config.dataset
    return (
        dataset.cube_file is not None
        or dataset.name not in CATALOGUE
        or is_at_hand(dataset.name, data_folder(config.data_dir))
    )


def check_scene(path: Path, scene: Scene) -> dict[str, str]:
    """Compare a scene with the data and the labels of a run directory, and return its checksums.

    Raises:
        RunDirectoryError: The run was made with other data, or its labels are not those of the scene.
    """
    data = data_checksums(scene)
    check_data(path, scene.name, data)
    check_labels(path, scene.ground_truth)
    return data


def draw(path: Path) -> None:
    """Draw the figures of a run; loads matplotlib. A figure that can't be drawn costs a warning, never the run."""
    with left_out(f"The pictures of {short_path(path)}", warn):
        from hsi_al.report import figures

        figures.draw(path, warn=warn)


class Experiment:
    """A run that is not finished.

    Args:
        config: Checked configuration.
        path: Run directory, locked.
        console: Console for all output.
        ranks: The processes that share the run.
    """

    def __init__(self, config: Config, path: Path, console: Console, ranks: Ranks = ALONE) -> None:
        self.began = time.monotonic()
        forget_peak_memory()
        self.config, self.path, self.console, self.ranks = config, path, console, ranks
        self.parts = build_parts(config, path, ranks, self.see)
        self.threads = use_threads(config.trainer.threads, ranks.size)
        self.meta = MetaFile(self.parts, self.threads, self.began)

    def see(self, scene: Scene) -> None:
        """Print the first line of the run, and refuse a scene with which it was not begun."""
        announce_scene(self.console, scene)
        self.data = check_scene(self.path, scene)

    def play(self) -> None:
        """Play the missing rounds, write maps and figures, and last of all the state `finished` in meta.json."""
        config, parts = self.config, self.parts
        learner, rounds, pool = parts.learner, parts.rounds, parts.pool
        latest, unasked = parts.first_round - 1, parts.unasked
        if latest >= 0 and learner.keeps_state and (learner.warm or latest == rounds or unasked):
            learner.load(parts.records.weights(latest))
        if unasked and parts.asker is None and isinstance(learner, HasDraws) and learner.draws_are_lost:
            raise RunDirectoryError(
                f"{self.path} was finished by an earlier version, which didn't keep the dropout masks that "
                f"acquisition={config.acquisition.name} asks by, so it can't be given more rounds; begin another run "
                f"with its labels: protocol.labels_from='{self.path}' in another hydra.run.dir."
            )
        estimate = self.ranks.from_first(self.begin)
        again = (latest == rounds and config.protocol.full_map) or (unasked and parts.asker is None)
        if again and not learner.keeps_state:
            learner.fit(pool.labelled_ids, pool.labels, latest, generator(config.seed, "learner", latest))
        loop = parts.loop()
        if unasked:
            self.ask_for_more(loop, latest)
        if config.trainer.profile and self.ranks.is_first:
            learner.profile_to(self.path / "trace.json")
        with (
            self.logged() as loggers,
            ProgressDisplay(
                self.console, rounds, estimate, parts.first_round, pool.n_labelled, config.protocol.query_size
            ) as display,
        ):
            learner.progress = display.on_part
            if parts.asker is not None:
                parts.asker.learner.progress = display.on_asking
            loop.observers = [display, self.meta, *loggers] if self.ranks.is_first else []
            loop.seconds["start"] = time.monotonic() - self.began
            loop.run(parts.first_round)
            if loop.stopped is not None:
                parts.stop(loop.stopped)
            if config.protocol.full_map:
                write_maps(parts, self.meta, loop.predicted_class, loop.seconds)
            with timed(loop.seconds, "logging"):
                self.ranks.from_first(lambda: self.show_results(loggers))
        interrupts.check()
        self.ranks.from_first(lambda: self.end(loop.seconds))

    def ask_for_more(self, loop: ActiveLearningLoop, latest: int) -> None:
        """Make up for the query that the latest round left out, because it was the last one when it was played."""
        records, pool, before = self.parts.records, self.parts.pool, self.parts.pool.n_labelled
        loop.query_after(latest)
        self.ranks.from_first(
            lambda: records.write_round(latest, (latest + 1, before), pool, self.parts.learner, last=False)
        )

    def begin(self) -> Estimate:
        """Write config.yaml and meta.json, print the summary of the run, and return its estimated time."""
        self.parts.records.remove_leftovers(self.parts.first_round)
        if self.parts.first_round:  # a finished run mustn't be kept with more rounds than it has
            self.meta.write("running")
        goes_on = self.parts.first_round <= self.parts.rounds
        if self.parts.unasked:
            self.console.print(
                f"{short_path(self.path)} was finished with round {self.parts.first_round - 1} and goes on to round "
                f"{self.parts.rounds}; its maps are made anew at the end."
            )
        self.parts.records.write_config(to_yaml(self.config), self.data, goes_on)
        self.meta.write("running")
        return announce(self.console, self.parts, self.threads)

    def show_results(self, loggers: Sequence[Logger]) -> None:
        """Draw the figures and pass them to the loggers; what fails costs a warning, never the run."""
        interrupts.check()
        draw(self.path)
        interrupts.check()
        for logger in loggers:
            with left_out(f"What {self.config.logger.name} shows at the end of a run", warn):
                logger.log_results()

    def end(self, seconds: dict[str, float]) -> None:
        """Write the profile if wanted, then the state `finished` in meta.json."""
        if self.config.trainer.profile:
            self.write_profile(seconds)
        self.meta.write("finished")

    @contextmanager
    def logged(self) -> Iterator[list[Logger]]:
        """Open the logger named by `logger.name`, yield it in a list (empty for `none`), and close it in any case."""
        opened_logger = {"wandb": self.in_wandb, "tensorboard": self.in_tensorboard}.get(self.config.logger.name)
        if opened_logger is None or not self.ranks.is_first:
            yield []
            return
        with opened_logger() as (logger, line):
            self.console.print(line)
            yield [logger]

    def in_tensorboard(self) -> AbstractContextManager[tuple[Logger, str]]:
        """Return a context with the TensorBoard logger and a line that says how to view its event files."""
        from hsi_al.active.observers.tensorboard_observer import tensorboard_observer

        return tensorboard_observer(self.parts.records, self.parts.scene.class_names, to_yaml(self.config))

    def in_wandb(self) -> AbstractContextManager[tuple[Logger, str]]:
        """Return a context with the W&B logger and a line that says where its run is."""
        from hsi_al.active.observers.wandb_observer import WandbRun, wandb_observer

        config, logger, parts = self.config, self.config.logger, self.parts
        acquisition = name_with_wrappers(config.acquisition)
        fold = f" fold={config.split.fold}" if config.split.fold else ""
        asked, folders = name_with_labels(config.protocol), self.path.parts
        of_run, of_group = (f"{asked}-{name_with_variants(s)}" for s in (config.split, replace(config.split, fold=0)))
        swept = folders[folders.index(of_run) + 1 : -1] if of_run in folders else ()  # such as protocol.query_size=5
        about = WandbRun(
            run_id=self.meta.wandb_id,
            name=f"{parts.method} {acquisition}{fold} seed={config.seed}",
            group=logger.group or " ".join([config.experiment.name, config.dataset.name, of_group, *swept]),
            job_type=f"{parts.method} {acquisition}",
            project=logger.project,
            entity=logger.entity,
            mode=logger.mode,
            tags=logger.tags,
            config=to_dict(config),
        )
        return wandb_observer(about, parts.records, parts.scene.class_names)

    def write_profile(self, seconds: dict[str, float]) -> None:
        """Write the seconds per phase of this call to `profile.md` and print them."""
        from hsi_al.report.contest_tables import markdown

        learner = self.parts.learner
        phases = {**learner.phases(), **dict.fromkeys(PHASES, 0.0), **seconds}
        table = phase_table(phases, time.monotonic() - self.began)
        replace_text(self.path / "profile.md", f"{self.parts.title()}, {learner.device}\n\n{markdown(table)}")
        print_table(table)


def phase_table(phases: dict[str, float], wall_seconds: float) -> list[list[str]]:
    """Return header and rows: seconds and share of each phase, of everything else, and of the whole call."""
    rows = {**phases, "everything else": max(0.0, wall_seconds - sum(phases.values())), "whole call": wall_seconds}
    return [
        ["phase", "seconds", "% of the call"],
        *(
            [name, f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.2g}", f"{100 * seconds / wall_seconds:.1f}"]
            for name, seconds in rows.items()
        ),
    ]


def use_threads(threads: int | None, processes: int = 1) -> int:
    """Set the number of CPU threads of this process and return it.

    Torch, if the learner uses it, and the linear algebra libraries must be imported already.

    Args:
        threads: Number of threads; None = `available_threads`.
        processes: Number of processes that share the run.
    """
    threads = threads or available_threads(processes)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    else:
        threadpool_limits(threads)
    if processes > 1:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # else Lightning would set another number
    return threads
