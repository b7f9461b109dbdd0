"""Compilation of the training step by torch.compile: on a GPU into one CUDA graph forward and one backward."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hsi_al.methods.deep.classifier import ActiveClassifier, Objective

Backend = str | Callable[..., Any]  # as torch.compile takes it
# In a round from fresh weights: compiling takes a minute or two and, on a GPU, saves some tens of milliseconds a step.
STEPS_THAT_PAY = 3000
REPLAYS = 3  # the first call compiles and warms up, the second records CUDA graphs, the third replays them


def pays(mode: str, device: torch.device, steps: int) -> bool:
    """Return whether to compile the training step.

    On a CPU the convolutions take the time, and compiling them changes little (docs/architecture.md).

    Args:
        mode: `trainer.compile`; `on` always compiles, `auto` on a GPU from `STEPS_THAT_PAY` steps on.
        device: Device that trains.
        steps: Training steps of a round from fresh weights.
    """
    return mode == "on" or (mode == "auto" and device.type == "cuda" and steps >= STEPS_THAT_PAY)


def compile_step(module: ActiveClassifier, batch: tuple[Tensor, Tensor], backend: Backend = "inductor") -> float | None:
    """Compile the objective of the module for batches of this size and store it as `module.compiled`.

    Forward and backward are run on the batch until the CUDA graphs are recorded, with the ranking loss attached to the
    backbone and detached from it. So every failure happens here; the module then stays uncompiled, and one printed line
    says why. The weights and BN statistics are left unchanged.

    Args:
        module: Module on the device that trains; call this in the context of the training precision.
        batch: Patches (B, bands, P, P) in the memory layout of training, labels (B,).
        backend: Backend of torch.compile.

    Returns:
        Seconds that the compilation took, or None if it failed.
    """
    device, began = batch[0].device, time.perf_counter()
    # Compilations of an earlier run in this process would count towards torch's limit per function and hold memory.
    torch.compiler.reset()
    detachable = module.loss_prediction is not None and module.plan.detach_epoch is not None
    try:
        compiled = compiled_objective(module, device, backend)
        with unchanged(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module.train()
            for detached in (False, True) if detachable else (False,):
                for _ in range(REPLAYS):
                    loss = compiled(*batch, module.plan.class_weights_C, detached)
                    loss.backward()  # type: ignore[no-untyped-call]
                    module.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except Exception as error:  # compilers, drivers and torch itself fail in many ways
        print(f"The training step can't be compiled ({reason_of(error)}); it runs uncompiled.", flush=True)
        torch.compiler.reset()
        return None
    module.compiled, module.compiled_size = compiled, len(batch[1])
    return time.perf_counter() - began


def compiled_objective(module: ActiveClassifier, device: torch.device, backend: Backend) -> Objective:
    """Return the module's objective, compiled for one static shape; on a GPU the next call overwrites its result."""
    options = {"mode": "reduce-overhead"} if device.type == "cuda" and backend == "inductor" else {}
    compiled: Objective = torch.compile(module.objective, dynamic=False, fullgraph=True, backend=backend, **options)  # type: ignore[call-overload]
    if device.type != "cuda":
        return compiled

    def step(patches: Tensor, labels: Tensor, class_weights_C: Tensor | None, detached: bool) -> Tensor:
        # The previous step's memory may be overwritten: Lightning has copied its loss and used its gradients.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(patches, labels, class_weights_C, detached)

    return step


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Restore the module's weights, BN statistics and mode after the block, in place, and clear the gradients."""
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    training = module.training
    try:
        yield
    finally:
        module.load_state_dict(kept)
        module.zero_grad()
        module.train(training)


def reason_of(error: BaseException) -> str:
    """Return the first line of the innermost error of a chain: torch wraps the errors of its backends."""
    while inner := getattr(error, "inner_exception", None) or error.__cause__:
        error = inner
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
