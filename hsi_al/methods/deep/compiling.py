"""The training step compiled by torch.compile: on a GPU one CUDA graph forward and one backward, replayed at once."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hsi_al.methods.deep.classifier import ActiveClassifier, Objective

Backend = str | Callable[..., Any]  # as torch.compile takes it
# Of a round from fresh weights: compiling takes a minute or two, and on a GPU a step saves some tens of milliseconds.
STEPS_THAT_PAY = 3000
REPLAYS = 3  # the first call compiles and warms up, the second records CUDA graphs, the third replays them


def pays(mode: str, device: torch.device, steps: int) -> bool:
    """Whether to compile: if told so, and by default on a GPU if a round from fresh weights has so many steps.

    On a CPU the convolutions take the time, and compiling them changes little (docs/architecture.md).
    """
    return mode == "on" or (mode == "auto" and device.type == "cuda" and steps >= STEPS_THAT_PAY)


def compile_step(module: ActiveClassifier, batch: tuple[Tensor, Tensor], backend: Backend = "inductor") -> float | None:
    """Let `module.compiled` stand in for its objective on batches of this size, if it can be compiled.

    Forward and backward are tried on the batch, each as often as it takes to record it, before and behind the detach
    epoch: whatever can go wrong does so here, and the run goes on uncompiled. Weights and statistics stay as they were.

    Args:
        module: On the device that trains, in the precision's context.
        batch: Patches (B, bands, P, P) in the layout of training, labels (B,).
        backend: Of torch.compile.

    Returns:
        Seconds that it took, or None where it failed; one printed line says why.
    """
    device, began = batch[0].device, time.perf_counter()
    # What an earlier run in this process compiled would count against torch's limit per function and hold memory.
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
        print(f"The training step can't be compiled ({reason_of(error)}); it runs as it is written.", flush=True)
        torch.compiler.reset()
        return None
    module.compiled, module.compiled_size = compiled, len(batch[1])
    return time.perf_counter() - began


def compiled_objective(module: ActiveClassifier, device: torch.device, backend: Backend) -> Objective:
    """The module's objective for one static shape; its result on a GPU lasts until the next call."""
    options = {"mode": "reduce-overhead"} if device.type == "cuda" and backend == "inductor" else {}
    compiled: Objective = torch.compile(module.objective, dynamic=False, fullgraph=True, backend=backend, **options)  # type: ignore[call-overload]
    if device.type != "cuda":
        return compiled

    def step(patches: Tensor, labels: Tensor, class_weights_C: Tensor | None, detached: bool) -> Tensor:
        # Loss and gradients of the step before may be overwritten: Lightning has copied the one and used the others.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(patches, labels, class_weights_C, detached)

    return step


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Put weights, statistics and mode back behind the block, in place, and drop the gradients."""
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    training = module.training
    try:
        yield
    finally:
        module.load_state_dict(kept)
        module.zero_grad()
        module.train(training)


def reason_of(error: BaseException) -> str:
    """The first line of what lies at the bottom of a chain of errors; torch wraps those of its backends."""
    while inner := getattr(error, "inner_exception", None) or error.__cause__:
        error = inner
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
