"""The processes of one run, one per device: who is first, what it says to the others, how they start and end.

torch is imported where several processes need it: a run in one process that computes without it never waits for it.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hsi_al import interrupts
from hsi_al.errors import ConfigurationError, HsiAlError, LearnerError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

T = TypeVar("T")
POLL_SECONDS = 0.2
# A server that has imported torch and Lightning once forks the processes; it never touches a GPU.
START_METHOD = "forkserver"
PRELOADED = ("lightning.pytorch", "hsi_al.active.experiment", "hsi_al.methods.deep.learner")
GRACE_SECONDS = 5  # in which the other processes may end by themselves
# What a process tells the others instead of leaving them waiting.
TOLD = (HsiAlError, OSError)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run; the first one alone writes files and prints.

    Attributes:
        rank: Which of them this one is, from 0.
        size: How many there are.
        group: Over which they exchange objects, in the processors' memory; None if there is one.
        environment: What Lightning is to know about them; None if there is one.
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
        """Do something in the first process; all get its result, or raise its error."""
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
        """Do the same thing in every process; if it fails in one, all raise the first one's error."""
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
        """What each process gives, in their order, in all of them."""
        if self.size == 1:
            return [part]
        import torch.distributed as dist

        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part, group=self.group)
        return parts


ALONE = Ranks()


def cores_here() -> int:
    """Cores given to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def started_by_slurm() -> int:
    """How many processes `srun` started for this job step; 1 outside of SLURM."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def check_devices(accelerator: str, devices: int) -> None:
    """Refuse more devices than there are, and processes that don't match those of SLURM.

    Raises:
        ConfigurationError: Say how many there are.
    """
    if (tasks := started_by_slurm()) not in (1, devices) or int(os.environ.get("SLURM_STEP_NUM_NODES", "1")) > 1:
        raise ConfigurationError(
            f"SLURM started {tasks} processes on {os.environ.get('SLURM_STEP_NUM_NODES', '1')} node(s), but "
            f"trainer.devices={devices}: give one node, and hydra.launcher.tasks_per_node={devices}."
        )
    if devices == 1 or (kind := kind_of(accelerator)) == "cpu":
        return
    import torch

    there = torch.cuda.device_count() if kind == "cuda" else 1
    if devices > there:
        raise ConfigurationError(
            f"trainer.devices={devices} is more than the {there} device(s) that trainer.accelerator={accelerator} "
            "finds here; lower it, or take trainer.accelerator=cpu."
        )


def kind_of(accelerator: str) -> str:
    """`cuda`, `mps` or `cpu`: what Lightning takes for a name of an accelerator."""
    if accelerator in ("cuda", "mps", "cpu"):
        return accelerator
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() or accelerator == "gpu" else "cpu"


@contextmanager
def joined(accelerator: str, size: int) -> Iterator[Ranks]:
    """Meet the other processes of the run, in one that `started` or SLURM has made.

    Raises:
        LearnerError: They can't be reached.
    """
    import torch
    import torch.distributed as dist
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    environment: ClusterEnvironment
    if started_by_slurm() > 1:
        # The launcher of the sweep puts jobs back into the queue, so Lightning must not.
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
        # Objects travel over a group of their own: NCCL would move them through the GPUs.
        yield Ranks(rank, size, dist.new_group(backend="gloo"), environment)
    except TOLD as error:
        error.known = getattr(error, "known", False)  # type: ignore[union-attr]
        raise
    finally:
        dist.destroy_process_group()


def known(error: Exception) -> Exception:
    """An error that all processes have; one that only one of them has leaves the others waiting."""
    error.known = True  # type: ignore[attr-defined]
    return error


def run_in_processes(size: int, work: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
    """Call `work(*arguments)` in so many new processes, wait, and end all of them if one fails.

    This process only watches, so that it never hangs in an exchange with one that is gone.

    Raises:
        HsiAlError: Raised in one of them, or one was killed.
        OSError: Raised in one of them.
        Interrupted: The process was asked to end; so were the others.
    """
    from lightning.fabric.plugins.environments.lightning import find_free_network_port
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(find_free_network_port()), NODE_RANK="0")
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it would name every process that it ends
    multiprocessing.set_forkserver_preload([*PRELOADED])
    told = multiprocessing.get_context(START_METHOD).SimpleQueue()
    with interrupts.at_once():  # it waits for the imports
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
                os.kill(context.processes[0].pid, number)  # the first one commits, so it ends at a safe place
                asked = True
    except (ProcessExitedException, ProcessRaisedException) as error:
        interrupts.check()  # the others fail when the first one leaves
        context.processes[0].join(GRACE_SECONDS)
        if (code := context.processes[0].exitcode or 0) > 128:
            raise interrupts.Interrupted(code - 128) from None
        if not told.empty():
            raise told.get() from None
        if isinstance(error, ProcessRaisedException):
            raise
        raise LearnerError(
            f"Process {error.error_index + 1} of {size} was ended by {error.signal_name or 'the system'}, often for "
            "want of memory; take fewer with trainer.devices, or smaller batches. The same command continues."
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
    """In a new process: tell errors to the watching one and end with it; the first process obeys signals for all."""
    os.chdir(folder)  # the server that forks processes keeps what it was started with
    os.environ.clear()
    os.environ.update(variables)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["LOCAL_RANK"] = str(rank)
    interrupts.forget()
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
