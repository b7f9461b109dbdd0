"""Where the seconds of training and scoring go (`trainer.profile=true`)."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.profilers import SimpleProfiler

TRACED = range(3, 6)  # training steps in the trace: the first ones warm up


class PhaseProfiler(SimpleProfiler):
    """Adds up Lightning's actions as phases, and traces a few training steps.

    On a GPU it waits at the borders of every action, so that work is counted where it was launched; that makes the run
    itself slower.

    Args:
        trace: File of the trace, in the format of chrome://tracing and Perfetto.
    """

    def __init__(self, trace: Path) -> None:
        super().__init__()
        self.trace = trace
        self.steps = 0
        self.tracer: Any = None

    def start(self, action_name: str) -> None:
        """Note the time, when the GPU has done what was asked before."""
        synchronise()
        if action_name == "run_training_batch":
            self.steps += 1
            if self.steps == TRACED[0]:
                self.tracer = torch.profiler.profile()
                self.tracer.start()
        super().start(action_name)

    def stop(self, action_name: str) -> None:
        """Add the time since the start."""
        synchronise()
        super().stop(action_name)
        self.recorded_durations[action_name][:] = [sum(self.recorded_durations[action_name])]  # not a number per step
        if action_name == "run_training_batch" and self.steps == TRACED[-1] and self.tracer is not None:
            self.finish_trace()

    def finish_trace(self) -> None:
        """Write the trace, if one is being taken."""
        if self.tracer is not None:
            self.tracer.stop()
            self.tracer.export_chrome_trace(str(self.trace))
            self.tracer = None

    def phases(self) -> dict[str, float]:
        """Seconds: gather, forward, backward, optimiser, scoring."""
        forward, backward = self._sum(".training_step"), self._sum("Strategy.backward")
        return {
            "gather": self._sum(".on_after_batch_transfer"),
            "forward": forward,
            "backward": backward,
            "optimiser": max(0.0, self._sum(".optimizer_step") - forward - backward),  # it calls both
            "scoring": self._sum(".predict_step"),
        }

    def _sum(self, ending: str) -> float:
        return sum(sum(times) for name, times in self.recorded_durations.items() if name.endswith(ending))


def synchronise() -> None:
    """Wait for the GPU, if there is one in use."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
