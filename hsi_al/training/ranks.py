"""The processes of one run, one per device: how they start and end, and how they exchange objects and errors.

torch is imported only inside the functions for several processes: a run in one process whose learner needs no torch
doesn't wait for the import.
"""

import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hsi_al import interrupts
from hsi_al.config.schema import MOST_THREADS
from hsi_al.errors import ConfigurationError, HsiAlError, LearnerError
from hsi_al.terminal import tolerate_encodings

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

T = TypeVar("T")
POLL_SECONDS = 0.2
# The processes are forked by a server process that has imported torch and Lightning once and never touches a GPU.
START_METHOD = "forkserver"
PRELOADED = ("lightning.pytorch", "hsi_al.active.experiment", "hsi_al.methods.deep.learner")
GRACE_SECONDS = 5  # how long the other processes may take to end before they are killed
# Errors that a process passes on to the others, which would otherwise wait for it.
TOLD = (HsiAlError, OSError)


@dataclass(frozen=True)
class Ranks:
    """This process's place among the processes of a run; only the first process writes files and prints.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        group: torch.distributed group over which Python objects are exchanged in main memory; None for a single
            process.
        environment: Lightning's description of the processes; None for a single process.
    """

    rank: int = 0
    size: int = 1
    group: Any = None
    environment: "ClusterEnvironment | None" = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def from_first(self, work: Callable[[], T]) -> T:
        """Call `work` in the first process only; every process returns its result or raises its error."""
        if self.size == 1:
            return work()
        told: list[Any] = [None, None]
        if self.is_first:
            try:
                told[0] = work()
            except TOLD as error:
                told[1] = error
        import torch
        import torch.distributed as dist

        dist.broadcast_object_list(told, src=0, group=self.group, device=torch.device("cpu"))
        if told[1] is not None:
            raise known(told[1])
        result: T = told[0]
        return result

    def agreed(self, work: Callable[[], T]) -> T:
        """Call `work` in every process and return its result.

        If it fails in any process, all of them raise the error of the failed process with the lowest rank.
        """
        if self.size == 1:
            return work()
        result: T | None = None
        failed: Exception | None = None
        try:
            result = work()
        except TOLD as error:
            failed = error
        for told in self.gathered(failed):
            if told is not None:
                raise known(told)
        return result  # type: ignore[return-value]

    def gathered(self, part: T) -> list[T]:
        """Return the parts of all processes by rank; every process gets the same list."""
        if self.size == 1:
            return [part]
        import torch.distributed as dist

        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part, group=self.group)
        return parts


ALONE = Ranks()


def cores_here() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_threads(processes: int = 1) -> int:
    """Return OMP_NUM_THREADS if set, else this process's share of the CPUs given by SLURM or of the usable cores.

    Raises:
        ConfigurationError: An environment variable for it holds no number of threads.
    """
    if given := number_from_environment("OMP_NUM_THREADS", 0, 0, MOST_THREADS):
        return given
    if given := number_from_environment("SLURM_CPUS_PER_TASK", 0, 0, MOST_THREADS):
        return max(1, given // (processes if started_by_slurm() == 1 else 1))
    return max(1, cores_here() // processes)


def started_by_slurm() -> int:
    """Return how many processes `srun` started for this job step; 1 outside SLURM."""
    return number_from_environment("SLURM_STEP_NUM_TASKS", 1)


def number_from_environment(name: str, default: int, least: int = 1, most: int = 10**4) -> int:
    """Return the whole number in an environment variable, the first of a list (4,2); `default` without one.

    Raises:
        ConfigurationError: It holds something else, or a number that isn't between `least` and `most`.
    """
    given = os.environ.get(name, "").partition(",")[0].strip() or str(default)
    if not re.fullmatch(r"[0-9]{1,18}", given) or not least <= int(given) <= most:
        raise ConfigurationError(
            f"The environment variable {name}={given} must be a whole number between {least} and {most}; unset it, or "
            "set it to one."
        )
    return int(given)


def check_devices(accelerator: str, devices: int) -> None:
    """Check that this machine has enough devices, and that SLURM started one process per device.

    Raises:
        ConfigurationError: There are fewer devices than `devices`, SLURM started another number of processes, or it
            started them on several nodes, or its variables hold no numbers.
    """
    tasks, nodes = started_by_slurm(), number_from_environment("SLURM_STEP_NUM_NODES", 1)
    if tasks > 1:
        for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"):  # Lightning reads them
            number_from_environment(name, 0, least=0, most=10**12)
    if tasks not in (1, devices) or nodes > 1:
        raise ConfigurationError(
            f"SLURM started {tasks} processes on {nodes} node(s), but "
            f"trainer.devices={devices}: use one node and hydra.launcher.tasks_per_node={devices}."
        )
    if devices == 1 or (kind := kind_of(accelerator)) == "cpu":
        return
    import torch

    there = torch.cuda.device_count() if kind == "cuda" else 1
    if devices > there:
        raise ConfigurationError(
            f"trainer.devices={devices} is more than the {there} device(s) that trainer.accelerator={accelerator} "
            "finds here; lower it, or use trainer.accelerator=cpu."
        )


def kind_of(accelerator: str) -> str:
    """Return `cuda`, `mps` or `cpu`: the kind of device that Lightning chooses for an accelerator's name."""
    if accelerator in ("cuda", "mps", "cpu"):
        return accelerator
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() or accelerator == "gpu" else "cpu"


@contextmanager
def joined(accelerator: str, size: int) -> Iterator[Ranks]:
    """Connect to the other processes of the run, in a process started by `run_in_processes` or SLURM.

    Args:
        accelerator: Name of Lightning's accelerator.
        size: Number of processes.

    Raises:
        LearnerError: The other processes can't be reached.
    """
    import torch
    import torch.distributed as dist
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    environment: ClusterEnvironment
    if started_by_slurm() > 1:
        # The sweep's launcher requeues interrupted jobs itself, so Lightning must not.
        environment = SLURMEnvironment(auto_requeue=False)
        rank = environment.global_rank()
    else:
        environment = LightningEnvironment()
        rank = environment.local_rank()
    on_gpu = kind_of(accelerator) == "cuda"
    if on_gpu:
        torch.cuda.set_device(environment.local_rank())
    address = f"tcp://{environment.main_address}:{environment.main_port}"
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", init_method=address, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LearnerError(f"The {size} processes of the run can't meet at {address}: {reason}") from error
    try:
        # Objects travel over a separate gloo group: NCCL would move them through the GPUs.
        yield Ranks(rank, size, dist.new_group(backend="gloo"), environment)
    except TOLD as error:
        error.known = getattr(error, "known", False)  # type: ignore[union-attr]
        raise
    finally:
        dist.destroy_process_group()


def known(error: Exception) -> Exception:
    """Mark an error as raised in every process; an unmarked error is raised in one while the others wait for it."""
    error.known = True  # type: ignore[attr-defined]
    return error


def run_in_processes(size: int, work: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
    """Call `work(*arguments)` in `size` new processes and wait for them; if one fails, end the others.

    The calling process only watches, so that it never hangs in an exchange with a process that has died.

    Raises:
        HsiAlError: `work` raised it in one of the processes, or (LearnerError) a process was killed.
        OSError: `work` raised it in one of the processes.
        Interrupted: This process got a signal to end, and passed it on to the others.
    """
    from lightning.fabric.plugins.environments.lightning import find_free_network_port
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(find_free_network_port()), NODE_RANK="0")
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it would name each process it ends
    multiprocessing.set_forkserver_preload([*PRELOADED])
    told = multiprocessing.get_context(START_METHOD).SimpleQueue()
    # The start waits for the server's imports, and reaches no safe place meanwhile; a fork is done at once.
    with nullcontext() if START_METHOD == "fork" else interrupts.at_once():
        context = start_processes(  # type: ignore[no-untyped-call]
            _begin,
            (told, Path.cwd(), dict(os.environ), work, arguments),
            nprocs=size,
            join=False,
            start_method=START_METHOD,
        )
    try:
        asked = False
        while not context.join(timeout=POLL_SECONDS, grace_period=GRACE_SECONDS):
            if not asked and (number := interrupts.noted()) is not None and context.processes[0].is_alive():
                os.kill(context.processes[0].pid, number)  # the first process commits, so it ends at a safe place
                asked = True
    except (ProcessExitedException, ProcessRaisedException) as error:
        interrupts.check()  # after a signal the others fail because the first process has ended
        context.processes[0].join(GRACE_SECONDS)
        if (code := context.processes[0].exitcode or 0) > 128:
            raise interrupts.Interrupted(code - 128) from None
        if not told.empty():
            raise told.get() from None
        if isinstance(error, ProcessRaisedException):
            raise
        raise LearnerError(
            f"Process {error.error_index + 1} of {size} was ended by {error.signal_name or 'the system'}, often for "
            "lack of memory; lower trainer.devices or the batch sizes. The same command continues the run."
        ) from None
    finally:
        for process in context.processes:
            process.kill()


def _begin(
    rank: int,
    told: Any,  # noqa: ANN401
    folder: Path,
    variables: dict[str, str],
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """Call `work` in a new process: its errors go to the watching process, with which this process ends.

    Only the first process reacts to signals; the others ignore them.
    """
    os.chdir(folder)  # a forked process inherits the server's folder and environment, not those of its parent
    os.environ.clear()
    os.environ.update(variables)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["LOCAL_RANK"] = str(rank)
    interrupts.forget()
    tolerate_encodings()
    if rank > 0:
        for number in interrupts.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    with interrupts.listening():
        try:
            work(*arguments)
        except TOLD as error:
            told.put(error)
            sys.exit(2)
        except interrupts.Interrupted as interrupt:
            sys.exit(interrupt.exit_code)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
