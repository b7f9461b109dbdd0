"""The command line: `python -m hsi_al.run dataset=salinas backbone=densenet169`.

Hydra composes the configuration from conf/, then `hsi_al.active.experiment` builds and plays the run. For exit codes
see `hsi_al.cli.console`.
"""

import os
import re
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hsi_al import interrupts
from hsi_al.cli import sweeps
from hsi_al.cli.arguments import options_first, parsed_arguments, parsed_overrides
from hsi_al.cli.composition import register
from hsi_al.cli.console import complain, guarded
from hsi_al.cli.explain import explained
from hsi_al.cli.folders import no_empty_folders
from hsi_al.cli.options_help import asked_for, help_text
from hsi_al.config.checks import checked
from hsi_al.config.folder import configuration_folder
from hsi_al.errors import ConfigurationError, HsiAlError
from hsi_al.terminal import tolerate_encodings

SCHEMA = re.compile(r"\S+_schema\b\s?")  # options of a group that no one chooses; the tab key would offer them
USER_ERRORS = (HsiAlError, HydraException, OmegaConfBaseException, OSError, YAMLError)
# Errors of single jobs, to be raised after Hydra has returned: raised inside, Hydra would add lines of its own.
failures: list[Exception] = []


def task(composed: Any) -> None:  # noqa: ANN401
    """Run one job; in a multirun a failure is reported at once, and the other jobs go on."""
    hydra_config = HydraConfig.get()
    path = Path(hydra_config.runtime.output_dir)
    outcome, says, leaves_others = str(path), is_first_task(), False
    try:
        tolerate_encodings()  # a sweep may run this job in a new process
        with interrupts.listening():
            if hydra_config.mode == RunMode.MULTIRUN:
                sweeps.end_with_sweep()
                sweeps.take_share(hydra_config.job.num, hydra_config.launcher.get("n_jobs", 1))
            from hsi_al.active import experiment  # `--help` must not wait for NumPy

            experiment.run(checked(composed), path)
            interrupts.check()
    except USER_ERRORS as error:
        leaves_others = not getattr(error, "known", True)
        says = says or leaves_others
        with suppress(OSError):
            from hsi_al.active.run_directory import remove_if_empty

            remove_if_empty(path)
        if composed.debug:
            traceback.print_exc()
        if hydra_config.mode == RunMode.RUN:
            failures.append(error)
            return
        overrides = " ".join(hydra_config.overrides.task)
        outcome = f"{sweeps.FAILED}{hydra_config.job.num} ({overrides}) failed: {explained(error)}"
        if says:
            complain(outcome)
    if hydra_config.mode == RunMode.MULTIRUN and says:
        with suppress(FileNotFoundError, KeyError):  # the sweep was stopped, but its jobs go on in other processes
            (Path(os.environ[sweeps.OUTCOMES_VARIABLE]) / f"{hydra_config.job.num:06d}").write_text(
                outcome, encoding="utf-8", errors="backslashreplace"
            )
    if leaves_others:
        sys.exit(1)  # SLURM then ends the run's other processes, which still wait


def is_first_task() -> bool:
    """Return False in all but the first of several processes that SLURM started for one run."""
    number = os.environ.get("SLURM_PROCID", "")
    return os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1" or not number.isdecimal() or int(number) == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; default: those of the process.

    Returns:
        The exit code.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own traceback and exits with 1
    saved = sys.argv
    sys.argv = [saved[0], *(saved[1:] if argv is None else argv)]
    try:
        return guarded(
            partial(start, sys.argv[1:]),
            USER_ERRORS,
            explained,
            lambda error: is_first_task() or not getattr(error, "known", True),
        )
    finally:
        sys.argv = saved


def start(argv: Sequence[str]) -> None:
    """Compose and run one job, or all jobs of a multirun; or print the help.

    Raises:
        HsiAlError: Bad input, or a job of the multirun failed.
        HydraException: A key or an option that doesn't exist.
        OSError: Files can't be written.
    """
    if (topic := asked_for(argv)) is not None:
        print(help_text(topic))
        return
    register()
    GlobalHydra.instance().clear()
    failures.clear()
    command = hydra.main(version_base="1.3", config_path=str(configuration_folder()), config_name="config")(task)
    given = parsed_arguments(argv)
    sys.argv[1:] = options_first(argv, given)
    if given.shell_completion:
        with redirect_stdout(StringIO()) as said:
            command()
        print(SCHEMA.sub("", said.getvalue()), end="")
        return
    overrides = parsed_overrides(given)
    with no_empty_folders(overrides):
        if given.multirun:
            run_sweep(command, given, overrides)
            return
        sweeps.announce(at_once=False, on_gpu=False)
        with composing():
            command()
        if failures:
            raise failures[-1]


@contextmanager
def composing() -> Iterator[None]:
    """Say in one sentence that files of the configuration name each other in a circle, where Hydra never ends.

    Raises:
        ConfigurationError: They do.
    """
    try:
        yield
    except RecursionError as error:
        if any(frame.name == task.__name__ for frame in traceback.extract_tb(error.__traceback__)):
            raise  # a bug of a job
        raise ConfigurationError(
            "A file of the configuration is, through its defaults, part of itself; mend or remove it."
        ) from None


def run_sweep(command: Callable[[], None], given: Namespace, overrides: Sequence[Override]) -> None:
    """Run all jobs of a multirun.

    Raises:
        HsiAlError: Bad input, or a job failed.
    """
    sweeps.check_sweep(overrides, given.config_dir)
    sys.argv += sweeps.own_folders(overrides, given.config_dir)
    launcher = sweeps.launcher_of(overrides)
    sweeps.announce(launcher in ("joblib", "concurrent"), "trainer.accelerator=cpu" not in given.overrides)
    waits = nullcontext() if launcher == "basic" else interrupts.at_once()  # jobs run in other processes
    with sweeps.outcomes_folder() as folder:
        with sweeps.suppress_lost_jobs(), waits, composing():
            command()
        texts = sweeps.outcomes_in(folder)
    failed = [text for text in texts if text.startswith(sweeps.FAILED)]
    if len(finished := [Path(text) for text in texts if text not in failed]) > 1:
        sweeps.print_summary(finished)
    if failed and launcher == "slurm":  # the jobs have printed this only into logs on their machines
        for text in failed:
            complain(text)
    if failed:
        raise HsiAlError(f"{len(failed)} job(s) of the multirun failed; the others went on.")


def entry_point() -> None:
    """Entry point of the installed command: run the command line and exit with its code."""
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
