"""The command line: `python -m hsi_al.run dataset=salinas backbone=densenet169`.

Hydra composes the configuration from conf/, then `hsi_al.job` builds and runs. Exit codes: 0 done, 2 bad input (one
sentence on stderr), 130 interrupted (the same command continues), 1 a bug (with its traceback).
"""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from hsi_al import jobs
from hsi_al.config import checked, register
from hsi_al.errors import ConfigurationError, HsiAlError
from hsi_al.explain import no_option, one_sentence

USER_ERRORS = (HsiAlError, HydraException, OmegaConfBaseException, OSError)
# The folder where the jobs of a multirun, maybe elsewhere, leave a file each: the run directory, or how it failed.
OUTCOMES_VARIABLE = "HSI_AL_OUTCOMES"
FAILED = "hsi_al: job "
# launcher -> a module that it needs, and the package that has it
LAUNCHERS = {
    "slurm": ("submitit", "hydra-submitit-launcher"),
    "concurrent": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
}
# What a single job failed with: raised inside Hydra, it would print lines of Hydra's own.
failures: list[Exception] = []


def configuration_folder() -> Path:
    """conf/ inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise HsiAlError(f"The configuration folder conf/ is missing beside {package}; install hsi_al again.")


def task(composed: Any) -> None:  # noqa: ANN401
    """One job; in a multirun a failing one says so at once, and the others go on."""
    hydra_config = HydraConfig.get()
    path = Path(hydra_config.runtime.output_dir)
    outcome, says, leaves_others = str(path), is_first_task(), False
    try:
        # Imports of torch and Lightning take seconds, so `--help` must not wait for them.
        if hydra_config.mode == RunMode.MULTIRUN:
            jobs.take_share(hydra_config.job.num, hydra_config.launcher.get("n_jobs", 1))
        from hsi_al import job

        job.run(checked(composed), path)
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
        outcome = f"{FAILED}{hydra_config.job.num} ({overrides}) failed: {explained(error)}"
        if says:
            print(outcome, file=sys.stderr)
    if hydra_config.mode == RunMode.MULTIRUN and says:
        with suppress(FileNotFoundError, KeyError):  # the sweep was stopped, but its jobs go on elsewhere
            (Path(os.environ[OUTCOMES_VARIABLE]) / f"{hydra_config.job.num:06d}").write_text(outcome)
    if leaves_others:
        sys.exit(1)  # the other processes of the run wait: SLURM ends them


def is_first_task() -> bool:
    """Whether this is not a later one of several processes that SLURM started for one run."""
    return os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1" or os.environ.get("SLURM_PROCID", "0") == "0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; default: those of the process.

    Returns:
        The exit code.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints its own traceback and exits with 1
    register()
    GlobalHydra.instance().clear()
    failures.clear()
    saved = sys.argv
    sys.argv = [saved[0], *(saved[1:] if argv is None else argv)]
    try:
        check_sweep(sys.argv[1:])
        launcher = launcher_of(sys.argv[1:])
        jobs.announce(launcher in ("joblib", "concurrent"), "trainer.accelerator=cpu" not in sys.argv)
        with outcomes_folder() as outcomes:
            with suppress_lost_jobs():
                hydra.main(version_base="1.3", config_path=str(configuration_folder()), config_name="config")(task)()
            texts = [file.read_text() for file in sorted(outcomes.iterdir())]
        failed = [text for text in texts if text.startswith(FAILED)]
        if len(finished := [Path(text) for text in texts if text not in failed]) > 1:
            print_summary(finished)
        if failed and launcher == "slurm":  # said on other machines, into their logs
            print("\n".join(failed), file=sys.stderr)
        if failed:
            raise HsiAlError(f"{len(failed)} job(s) of the multirun failed; the others went on.")
        if failures:
            raise failures[-1]
    except BrokenExecutor:
        print(
            "hsi_al: error: A job's process was killed, often for want of memory; take fewer jobs at once with "
            "hydra.launcher.n_jobs. The same command continues.",
            file=sys.stderr,
        )
        return 2
    except USER_ERRORS as error:
        if is_first_task() or not getattr(error, "known", True):
            print(f"hsi_al: error: {explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hsi_al: interrupted; run the same command to continue.", file=sys.stderr)
        return 130
    except SystemExit as exit_:  # argparse and Hydra's --help
        return exit_.code if isinstance(exit_.code, int) else 0
    finally:
        sys.argv = saved
    return 0


@contextmanager
def suppress_lost_jobs() -> Iterator[None]:
    """Turn what the launcher of SLURM jobs raises for one that left no result into a sentence about its log.

    Raises:
        HsiAlError: A job was ended from outside, or with an error of which it left no word.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("submitit"):
            raise
        if any(file.read_text().startswith(FAILED) for file in Path(os.environ[OUTCOMES_VARIABLE]).iterdir()):
            return  # it has left a word
        raise HsiAlError(
            f"A job ended without a result ({' '.join(str(error).split())[:300]}); its log lies in outputs/.submitit. "
            "The same command continues."
        ) from error


def is_multirun(argv: Sequence[str]) -> bool:
    """Whether the command line asks for a sweep."""
    return bool({"-m", "--multirun"} & set(argv))


def launcher_of(argv: Sequence[str]) -> str:
    """The launcher that a multirun is asked for."""
    asked = [argument.partition("=")[2] for argument in argv if argument.startswith("hydra/launcher=")]
    return asked[-1] if asked and is_multirun(argv) else "basic"


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent can't
        return False


def check_sweep(argv: Sequence[str]) -> None:
    """Refuse an unknown option of a multirun before its first job runs; Hydra would compose one job at a time.

    Raises:
        ConfigurationError: A swept group has no such option, the launcher isn't installed, or can't divide runs.
    """
    if not is_multirun(argv):
        return
    launcher = launcher_of(argv)
    module, package = LAUNCHERS.get(launcher, ("hydra", "hydra-core"))
    if not is_installed(module):
        raise ConfigurationError(f"hydra/launcher={launcher} needs a package: pip install {package}.")
    parser = OverridesParser.create()
    for override in parser.parse_overrides([argument for argument in argv if not argument.startswith("-")]):
        if override.key_or_group == "trainer.devices" and str(override.value()) != "1" and launcher != "slurm":
            raise ConfigurationError(
                f"{override.input_line} divides one run among devices, which sweeps do with hydra/launcher=slurm "
                "alone; leave out -m, or leave out trainer.devices: hydra/launcher=concurrent spreads jobs over them."
            )
        options = [path.stem for path in (configuration_folder() / override.key_or_group).glob("*.yaml")]
        if not options or not override.is_choice_sweep():
            continue
        for name in override.sweep_string_iterator():
            if name not in options:
                raise ConfigurationError(no_option(override.key_or_group, name, options))


@contextmanager
def outcomes_folder() -> Iterator[Path]:
    """An empty folder that the jobs of a multirun, maybe on other nodes of a cluster, find by `OUTCOMES_VARIABLE`."""
    here = Path.cwd() if is_multirun(sys.argv) and os.access(Path.cwd(), os.W_OK) else None
    with TemporaryDirectory(prefix=".hsi_al-", dir=here) as folder:
        os.environ[OUTCOMES_VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[OUTCOMES_VARIABLE]


def print_summary(finished: Sequence[Path]) -> None:
    """A line per run of a multirun; jobs that failed have said so."""
    from hsi_al.report.compare import summary
    from hsi_al.report.tables import print_table

    here = Path.cwd()
    print_table(summary([path.relative_to(here) if path.is_relative_to(here) else path for path in finished]))


def explained(error: BaseException) -> str:
    """The sentence of our own errors, a readable one for Hydra's and the system's."""
    if isinstance(error, HsiAlError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place, reason = error.filename or "the run directory", " ".join(str(error.strerror or error).split())
        return f"{reason}: {place}; free space, or choose another path such as hydra.run.dir."
    return one_sentence(error, schema_of_keys())


def schema_of_keys() -> Any:  # noqa: ANN401
    """All keys with their defaults, for naming the siblings of an unknown one; the learner is that of the command."""
    from omegaconf import OmegaConf

    from hsi_al.config import LEARNERS, Config

    asked = [argument.removeprefix("learner=") for argument in sys.argv[1:] if argument.startswith("learner=")]
    schema = LEARNERS.get(asked[-1] if asked else "deep", LEARNERS["deep"])
    return OmegaConf.structured(Config(learner=schema()))


def entry_point() -> None:
    """For the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
