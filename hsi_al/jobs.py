"""Several jobs of a sweep at once on one machine: how many fit, and which GPU and share of its memory each gets.

`hydra/launcher=concurrent` takes the number from here, unless `hydra.launcher.n_jobs` says one; the jobs of
`hydra/launcher=joblib` get their GPUs and shares here too.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

GIB = 2**30
GPU_BYTES = 4 * GIB  # that a job is taken to need: the largest networks on the scenes of the catalogue
RAM_BYTES = 2 * GIB  # likewise, in the computer's memory
CONTEXT_BYTES = GIB // 2  # that CUDA itself takes for every process, outside of its share
# What the sweep's process tells its jobs: the GPUs as they were before the first job, and how many jobs at once.
GPUS_VARIABLE = "HSI_AL_GPUS"
JOBS_VARIABLE = "HSI_AL_JOBS"
# Which GPU this process, which may run several jobs one after the other, computes on.
TAKEN_VARIABLE = "HSI_AL_TAKEN_GPU"


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

    from hsi_al.learners.training import fitting_memory

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


def cores_here() -> int:
    """Cores given to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_ram() -> int:
    """Memory that can be had without swapping, bytes; where the system doesn't say, as much as a job for every core."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 2**10
    return RAM_BYTES * cores_here()
