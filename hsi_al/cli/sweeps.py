"""Sweeps: what is refused before the first job, how jobs at once share a machine, and what became of each.

`hydra/launcher=concurrent` takes the number from here, unless `hydra.launcher.n_jobs` says one; the jobs of
`hydra/launcher=joblib` get their GPUs and shares here too.
"""

import json
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
from hydra.core.override_parser.overrides_parser import OverridesParser

from hsi_al.cli.composition import configuration_folder
from hsi_al.cli.explain import no_option
from hsi_al.errors import ConfigurationError, HsiAlError
from hsi_al.training.ranks import cores_here

GIB = 2**30
GPU_BYTES = 4 * GIB  # that a job is taken to need: the largest networks on the scenes of the catalogue
RAM_BYTES = 2 * GIB  # likewise, in the computer's memory
CONTEXT_BYTES = GIB // 2  # that CUDA itself takes for every process, outside of its share
# What the sweep's process tells its jobs: the GPUs as they were before the first job, and how many jobs at once.
GPUS_VARIABLE = "HSI_AL_GPUS"
JOBS_VARIABLE = "HSI_AL_JOBS"
# Which GPU this process, which may run several jobs one after the other, computes on.
TAKEN_VARIABLE = "HSI_AL_TAKEN_GPU"
# The folder where the jobs of a multirun, maybe elsewhere, leave a file each: the run directory, or how it failed.
OUTCOMES_VARIABLE = "HSI_AL_OUTCOMES"
OUTCOMES_PREFIX = ".hsi_al-"
FAILED = "hsi_al: job "
# launcher -> a module that it needs, and the package that has it
LAUNCHERS = {
    "slurm": ("submitit", "hydra-submitit-launcher"),
    "concurrent": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU before a sweep.

    Attributes:
        name: As CUDA_VISIBLE_DEVICES takes it.
        free: Memory that nobody uses, bytes.
        total: All of it, bytes.
    """

    name: str
    free: int
    total: int


def jobs_that_fit(gpus: Sequence[Gpu], cores: int, free_ram: int) -> int:
    """Jobs at once, one at least: a core and `RAM_BYTES` for each, and on GPUs `GPU_BYTES`.

    All GPUs get as many jobs as the fullest one has room for, since jobs take turns among them.
    """
    fitting = [cores, free_ram // RAM_BYTES]
    if gpus:
        fitting.append(len(gpus) * min(gpu.free // (GPU_BYTES + CONTEXT_BYTES) for gpu in gpus))
    return max(1, min(fitting))


def place(job: int, jobs: int, gpus: Sequence[Gpu]) -> tuple[Gpu, float]:
    """The GPU of a job among so many at once, and which part of all its memory the job may use."""
    turn = job % len(gpus)
    gpu, sharing = gpus[turn], max(1, len(range(turn, jobs, len(gpus))))
    return gpu, max(0.0, gpu.free / sharing - CONTEXT_BYTES) / gpu.total


def announce(at_once: bool, on_gpu: bool) -> None:
    """Before a sweep: measure, and leave word for its jobs; without jobs at once, forget what an earlier one left."""
    for variable in (GPUS_VARIABLE, JOBS_VARIABLE, TAKEN_VARIABLE):
        os.environ.pop(variable, None)
    if at_once:
        gpus = gpus_here() if on_gpu else []
        os.environ[GPUS_VARIABLE] = json.dumps([astuple(gpu) for gpu in gpus])
        os.environ[JOBS_VARIABLE] = str(jobs_that_fit(gpus, cores_here(), free_ram()))


def take_share(job: int, jobs: int) -> None:
    """In a job of a sweep with several at once: compute on one GPU, within its part of the memory.

    Raises:
        LearnerError: Nothing of the memory is free.

    A process keeps the GPU of its first job: CUDA doesn't let it change, and those at work stay spread evenly.
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


def gpus_here() -> list[Gpu]:
    """The NVIDIA GPUs that this process may use; asked without CUDA, which would take memory of each."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid,memory.free,memory.total", "--format=csv,noheader,nounits"]
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        if not os.environ["CUDA_VISIBLE_DEVICES"]:
            return []
        command.append(f"--id={os.environ['CUDA_VISIBLE_DEVICES']}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return parsed(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def parsed(lines: str) -> list[Gpu]:
    """What nvidia-smi says, a GPU a line: name, free and all memory in MiB."""
    rows = [line.split(",") for line in lines.splitlines() if line.strip()]
    return [Gpu(name.strip(), int(free) * 2**20, int(total) * 2**20) for name, free, total in rows]


def free_ram() -> int:
    """Memory that can be had without swapping, bytes; where the system doesn't say, as much as a job for every core."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 2**10
    return RAM_BYTES * cores_here()


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
        if any(text.startswith(FAILED) for text in outcomes_in(Path(os.environ[OUTCOMES_VARIABLE]))):
            return  # it has left a word
        raise HsiAlError(
            f"A job ended without a result ({' '.join(str(error).split())[:300]}); its log lies in outputs/.submitit. "
            "The same command continues."
        ) from error


def is_multirun(argv: Sequence[str]) -> bool:
    """Whether the command line asks for a sweep."""
    return bool({"-m", "--multirun"} & set(argv))


def launcher_of(argv: Sequence[str]) -> str:
    """The launcher of a multirun, `basic` unless hydra/launcher names another."""
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
    """An empty folder that the jobs of a multirun, maybe on other nodes of a cluster, find by `OUTCOMES_VARIABLE`.

    Folders that killed sweeps have left in the same place go: nobody holds their lock.
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
    """Remove the folders of sweeps that were killed."""
    for folder in place.glob(f"{OUTCOMES_PREFIX}*"):
        try:
            with filelock.FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder)
        except (filelock.Timeout, OSError):  # a sweep at work, or another user's
            continue


def outcomes_in(folder: Path) -> list[str]:
    """What the jobs have left, in their order."""
    return [file.read_text() for file in sorted(folder.iterdir()) if file.name != "lock"]


def print_summary(finished: Sequence[Path]) -> None:
    """A line per run of a multirun; jobs that failed have said so."""
    from hsi_al.report.compare import summary
    from hsi_al.report.tables import print_table

    here = Path.cwd()
    print_table(summary([path.relative_to(here) if path.is_relative_to(here) else path for path in finished]))
