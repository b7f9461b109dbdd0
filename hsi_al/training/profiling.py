"""Profile of training and scoring: seconds per phase, and a trace of a few steps (`trainer.profile=true`)."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.profilers import SimpleProfiler

TRACED = range(3, 6)  # training steps in the trace; the earlier ones warm up


class PhaseProfiler(SimpleProfiler):
    """Lightning profiler that adds up the seconds of each phase and traces a few training steps.

    It waits for the GPU before and after every action, so that the time of GPU work counts for the action that
    launched it; this slows the run down.

    Args:
        trace: File to write the trace to, in the format of chrome://tracing and Perfetto.
    """

    def __init__(self, trace: Path) -> None:
        super().__init__()
        self.trace = trace
        self.steps = 0
        self.tracer: Any = None

    def start(self, action_name: str) -> None:
        """Start timing an action, once the GPU has finished all earlier work."""
        synchronise()
        if action_name == "run_training_batch":
            self.steps += 1
            if self.steps == TRACED[0]:
                self.tracer = torch.profiler.profile()
                self.tracer.start()
        super().start(action_name)

    def stop(self, action_name: str) -> None:
        """Add the time since `start` to the action, once the GPU has finished its work."""
        synchronise()
        super().stop(action_name)
        self.recorded_durations[action_name][:] = [sum(self.recorded_durations[action_name])]  # one sum only
        if action_name == "run_training_batch" and self.steps == TRACED[-1] and self.tracer is not None:
            self.finish_trace()

    def finish_trace(self) -> None:
        """Write the trace, if one is being recorded."""
        if self.tracer is not None:
            self.tracer.stop()
            self.tracer.export_chrome_trace(str(self.trace))
            self.tracer = None

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase: gather (patches), forward, backward, optimiser, scoring."""
        forward, backward = self._sum(".training_step"), self._sum("Strategy.backward")
        return {
            "gather": self._sum(".on_after_batch_transfer"),
            "forward": forward,
            "backward": backward,
            "optimiser": max(0.0, self._sum(".optimizer_step") - forward - backward),  # Lightning's step calls both
            "scoring": self._sum(".predict_step"),
        }

    def _sum(self, ending: str) -> float:
        return sum(sum(times) for name, times in self.recorded_durations.items() if name.endswith(ending))


def synchronise() -> None:
    """Wait until the GPU has finished its work, if this process uses one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
