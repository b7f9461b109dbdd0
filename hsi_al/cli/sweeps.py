"""Sweeps: checks before the first job, sharing of a machine by concurrent jobs, and the outcome of each job.

This module sets the number of concurrent jobs of `hydra/launcher=concurrent`, unless `hydra.launcher.n_jobs` is given.
It also assigns GPUs and shares of their memory to the jobs of that launcher and of `hydra/launcher=joblib`.
"""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import filelock
import yaml
from hydra.core.override_parser.types import Override, RangeSweep

from hsi_al import interrupts
from hsi_al.cli.composition import options_of_group
from hsi_al.config.folder import configuration_folder
from hsi_al.config.schema import WRAPPERS
from hsi_al.config.sentences import no_option
from hsi_al.errors import ConfigurationError, HsiAlError
from hsi_al.memory import free_memory
from hsi_al.training.ranks import cores_here

GIB = 2**30
GPU_BYTES = 4 * GIB  # GPU memory reserved for a job: enough for the largest networks on the scenes of the catalogue
RAM_BYTES = 2 * GIB  # main memory reserved for a job
CONTEXT_BYTES = GIB // 2  # GPU memory that CUDA takes for every process, beside the share of the job
# Set by the sweep's process for its jobs: the GPUs with their memory before the first job, and the number of concurrent
# jobs.
GPUS_VARIABLE = "HSI_AL_GPUS"
JOBS_VARIABLE = "HSI_AL_JOBS"
# Id of the process of a sweep with concurrent jobs, which end when it has ended.
SWEEP_VARIABLE = "HSI_AL_SWEEP"
# Number of the first job of this process, which may run several in turn: it determines the GPU of them all.
TAKEN_VARIABLE = "HSI_AL_TAKEN_GPU"
# Folder where every job of a multirun, also on another node, leaves a file: its run directory or its error message.
OUTCOMES_VARIABLE = "HSI_AL_OUTCOMES"
MOST_JOBS = 10**5  # of a range, which Hydra would hold in memory
OUTCOMES_PREFIX = ".hsi_al-"
FAILED = "hsi_al: job "
SUBDIR = "hydra.sweep.subdir"
# Keys that the folder of a run is named by, see conf/config.yaml.
IN_FOLDER = {
    *(
        "seed",
        "experiment.name",
        "dataset.name",
        "learner.method",
        "backbone.name",
        "acquisition.name",
        "protocol.name",
    ),
    *(f"acquisition.{name}" for name in WRAPPERS),
    *("protocol.labels_from", "protocol.labels_at", "split.kind", "split.guard", "split.new_ground", "split.fold"),
}
# launcher -> a module that it needs, and the package to install for it
LAUNCHERS = {
    "slurm": ("submitit", "hydra-submitit-launcher"),
    "concurrent": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU as found before a sweep.

    Attributes:
        name: UUID, as CUDA_VISIBLE_DEVICES accepts it.
        free: Unused memory, bytes.
        total: Total memory, bytes.
    """

    name: str
    free: int
    total: int


def jobs_that_fit(gpus: Sequence[Gpu], cores: int, free_ram: int) -> int:
    """Return the number of concurrent jobs, at least one: each takes a core and `RAM_BYTES`, on GPUs also `GPU_BYTES`.

    All GPUs get as many jobs as the fullest one has room for, since jobs take turns among them.
    """
    fitting = [cores, free_ram // RAM_BYTES]
    if gpus:
        fitting.append(len(gpus) * min(gpu.free // (GPU_BYTES + CONTEXT_BYTES) for gpu in gpus))
    return max(1, min(fitting))


def place(job: int, jobs: int, gpus: Sequence[Gpu]) -> tuple[Gpu, float]:
    """Return the GPU of a job and the fraction of its total memory that the job may use.

    Args:
        job: Number of the job; jobs take turns among the GPUs.
        jobs: Number of concurrent jobs.
        gpus: The GPUs of the sweep.
    """
    turn = job % len(gpus)
    gpu, sharing = gpus[turn], max(1, len(range(turn, jobs, len(gpus))))
    return gpu, max(0.0, gpu.free / sharing - CONTEXT_BYTES) / gpu.total


def announce(at_once: bool, on_gpu: bool) -> None:
    """Set the environment variables that tell concurrent jobs the GPUs and their number; delete those of a past sweep.

    Args:
        at_once: Whether jobs run concurrently; if not, the variables are only deleted.
        on_gpu: Whether jobs may use GPUs.
    """
    for variable in (GPUS_VARIABLE, JOBS_VARIABLE, TAKEN_VARIABLE, SWEEP_VARIABLE):
        os.environ.pop(variable, None)
    if at_once:
        os.environ[SWEEP_VARIABLE] = str(os.getpid())
        gpus = gpus_here() if on_gpu else []
        os.environ[GPUS_VARIABLE] = json.dumps([astuple(gpu) for gpu in gpus])
        os.environ[JOBS_VARIABLE] = str(jobs_that_fit(gpus, cores_here(), free_memory()))


def take_share(job: int, jobs: int) -> None:
    """Restrict a job of a sweep with concurrent jobs to one GPU and to a share of its memory.

    Raises:
        LearnerError: The GPU has no free memory.

    A process keeps the GPU of its first job: CUDA doesn't let it change, and the processes stay spread evenly.
    """
    gpus = [Gpu(*values) for values in json.loads(os.environ.get(GPUS_VARIABLE, "[]"))]
    if not gpus or jobs == 1:
        return
    job = int(os.environ.setdefault(TAKEN_VARIABLE, str(job)))
    gpu, fraction = place(job, jobs if jobs > 0 else cores_here(), gpus)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu.name
    import torch

    from hsi_al.training.trainer import fitting_memory

    if torch.cuda.is_available():
        with fitting_memory():
            torch.cuda.set_per_process_memory_fraction(fraction)


def end_with_sweep() -> None:
    """Let a job of a sweep with concurrent jobs end at the next safe point once the process of the sweep has ended."""
    sweep = os.environ.get(SWEEP_VARIABLE)
    if sweep is not None and str(os.getpid()) != sweep:
        interrupts.end_with(int(sweep))


def gpus_here() -> list[Gpu]:
    """Return the NVIDIA GPUs that this process may use, by nvidia-smi: CUDA would take memory on each of them."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid,memory.free,memory.total", "--format=csv,noheader,nounits"]
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        if not os.environ["CUDA_VISIBLE_DEVICES"]:
            return []
        command.append(f"--id={os.environ['CUDA_VISIBLE_DEVICES']}")
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True)
        return parsed(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def parsed(lines: str) -> list[Gpu]:
    """Parse the output of nvidia-smi: a GPU per line with its UUID, free and total memory in MiB."""
    rows = [line.split(",") for line in lines.splitlines() if line.strip()]
    return [Gpu(name.strip(), int(free) * 2**20, int(total) * 2**20) for name, free, total in rows]


@contextmanager
def suppress_lost_jobs() -> Iterator[None]:
    """Turn an error of the SLURM launcher (submitit), raised for a job without a result, into a sentence about its log.

    Raises:
        HsiAlError: A job ended without a result and without having reported an error.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("submitit"):
            raise
        if any(text.startswith(FAILED) for text in outcomes_in(Path(os.environ[OUTCOMES_VARIABLE]))):
            return  # the job has reported its error
        raise HsiAlError(
            f"A job ended without a result ({' '.join(str(error).split())[:300]}); its log lies in outputs/.submitit. "
            "The same command continues."
        ) from error


def launcher_of(overrides: Sequence[Override]) -> str:
    """Return the launcher of a multirun: that of `hydra/launcher=`, else `basic`."""
    named = [str(override.value()) for override in overrides if override.key_or_group == "hydra/launcher"]
    return named[-1] if named else "basic"


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def check_sweep(overrides: Sequence[Override], config_dir: str | None = None) -> None:
    """Check a multirun before its first job: Hydra would find an unknown option only when it reaches that job.

    Args:
        overrides: The `key=value` arguments.
        config_dir: The user's own folder of configurations.

    Raises:
        ConfigurationError: A swept group has no such option, or the launcher isn't installed or can't run a job on
            several devices.
    """
    launcher = launcher_of(overrides)
    module, package = LAUNCHERS.get(launcher, ("hydra", "hydra-core"))
    if not is_installed(module):
        raise ConfigurationError(f"hydra/launcher={launcher} needs a package: pip install {package}.")
    for override in overrides:
        if override.key_or_group == "trainer.devices" and str(override.value()) != "1" and launcher != "slurm":
            raise ConfigurationError(
                f"{override.input_line} divides one run among devices, which in a sweep needs hydra/launcher=slurm; "
                "leave out -m, or leave out trainer.devices: hydra/launcher=concurrent spreads jobs over devices."
            )
        value = override.value()
        if override.key_or_group == "hydra.run.dir":
            raise ConfigurationError(
                f"{override.input_line} names the folder of a single run; in a sweep take hydra.sweep.dir for the "
                "folder of all, and hydra.sweep.subdir for that of each."
            )
        if isinstance(value, RangeSweep) and length(value) > MOST_JOBS:
            raise ConfigurationError(f"{override.input_line} gives more than {MOST_JOBS} jobs; shorten it.")
        options = options_of_group(override.key_or_group, config_dir)
        if not options or not (override.is_choice_sweep() or override.is_range_sweep()):
            continue
        for name in override.sweep_string_iterator():
            if name not in options:
                raise ConfigurationError(no_option(override.key_or_group, name, options))


def own_folders(overrides: Sequence[Override], config_dir: str | None = None) -> list[str]:
    """Return the argument that gives every run of a multirun a folder of its own; none is needed where all have one.

    What is swept over and isn't part of the name of a run's folder becomes one, such as `protocol.query_size=5`.

    Args:
        overrides: The `key=value` arguments.
        config_dir: The user's own folder of configurations.
    """
    keys = [str(override.key_or_group) for override in overrides if override.is_sweep_override()]
    unnamed = [key for key in keys if key not in IN_FOLDER and not options_of_group(key, config_dir)]
    if not unnamed or any(override.key_or_group == SUBDIR for override in overrides):
        return []
    usual = yaml.safe_load((configuration_folder() / "config.yaml").read_text(encoding="utf-8"))
    *places, last = usual["hydra"]["sweep"]["subdir"].split("/")
    own = (f"{key}=${{in_folder:${{{key}}}}}" for key in unnamed)
    return [f'{SUBDIR}="{"/".join([*places, *own, last])}"']


def length(sweep: RangeSweep) -> float:
    """Return the number of values of `range(start, stop, step)`."""
    assert sweep.start is not None and sweep.stop is not None
    return (sweep.stop - sweep.start) / sweep.step if sweep.step else math.inf


@contextmanager
def outcomes_folder() -> Iterator[Path]:
    """Make an empty folder for the outcomes of a multirun; jobs, also on other nodes, find it by `OUTCOMES_VARIABLE`.

    Folders of killed sweeps in the same place are removed; they are known by a lock that no process holds.
    """
    here = Path.cwd() if os.access(Path.cwd(), os.W_OK) else None
    if here is not None:
        remove_abandoned(here)
    with TemporaryDirectory(prefix=OUTCOMES_PREFIX, dir=here) as folder, filelock.FileLock(Path(folder, "lock")):
        os.environ[OUTCOMES_VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[OUTCOMES_VARIABLE]


def remove_abandoned(place: Path) -> None:
    """Remove the outcome folders of killed sweeps in `place`."""
    for folder in place.glob(f"{OUTCOMES_PREFIX}*"):
        try:
            with filelock.FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder)
        except (filelock.Timeout, OSError):  # its sweep is running, or it is another user's
            continue


def outcomes_in(folder: Path) -> list[str]:
    """Return the outcome of every job, in the order of the jobs: its run directory or its error message."""
    return [file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()) if file.name != "lock"]


def print_summary(finished: Sequence[Path]) -> None:
    """Print a table with a line per finished run of a multirun; failed jobs have printed their errors already."""
    from hsi_al.report.compare import summary
    from hsi_al.report.tables import print_table

    here = Path.cwd()
    print_table(summary([path.relative_to(here) if path.is_relative_to(here) else path for path in finished]))
