"""The file meta.json of a run: its state, the machine, versions, time and memory."""

import platform
import re
import secrets
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from hsi_al.active.curve import RoundRecord
from hsi_al.active.parts import Parts
from hsi_al.active.run_directory import RunDirectory
from hsi_al.report.run_files import meta_entries
from hsi_al.version import VERSION


class MetaFile:
    """Observer that rewrites meta.json after every round, so that even a killed run has its wall time recorded.

    Args:
        parts: The parts of the run.
        threads: Number of CPU threads that it uses.
        began: Start of this call, in seconds of `time.monotonic`.
        command: How the run was started; None = by the command line of this process.
    """

    def __init__(self, parts: Parts[RunDirectory], threads: int, began: float, command: str | None = None) -> None:
        self.parts, self.threads, self.began = parts, threads, began
        self.command = command or command_line("hsi_al.run")
        self.earlier = meta_entries(parts.records.path)
        self.filtered: dict[str, float] | None = self.earlier.get("filtered_map")
        self.wandb_id: str = self.earlier.get("wandb_id") or secrets.token_hex(4)

    def on_round(self, record: RoundRecord) -> None:
        """Write the wall time so far, with the state `running`."""
        self.write("running")

    def write(self, state: str) -> None:
        """Write meta.json with the given state, `running` or `finished`; `wall_seconds` sums all calls of the run."""
        parts, earlier = self.parts, self.earlier
        scene = parts.scene
        parts.records.write_meta(
            {
                "state": state,
                "title": parts.title(),
                "wandb_id": self.wandb_id,
                "n_bands": scene.n_bands,
                "rgb_bands": list(scene.colour_bands),
                "bands": None if scene.bands is None else list(scene.bands),
                "georeference": None if scene.georeference is None else scene.georeference.to_json(),
                "wavelengths": None if scene.wavelengths is None else scene.wavelengths.tolist(),
                "preparation": scene.preparation.to_json(),
                "band_statistics": [values.tolist() for values in scene.band_statistics],
                "loss_prediction": parts.asker is None and "predicted_loss_N" in parts.acquisition.needs,
                "class_names": {str(value): name for value, name in scene.class_names.items()},
                "missing_classes": parts.missing(),
                "stopped": parts.stopped,
                "filtered_map": self.filtered,
                "learner": parts.learner.describe(),
                "labels_from": parts.labels_from,
                "asker": None if parts.asker is None else parts.asker.learner.describe(),
                "test_pixels_in_training_patches": parts.overlap(),
                "command": self.command,
                "git_commit": git_commit(),
                "versions": {"hsi_al": VERSION}
                | {name: version(name) for name in ("torch", "lightning", "numpy")}
                | {"python": platform.python_version()},
                "machine": f"{platform.system()} {platform.machine()}",
                "device": device_name(parts.learner.device),
                "devices": parts.ranks.size,
                "threads": self.threads,
                "calls": earlier.get("calls", 0) + 1,
                "wall_seconds": earlier.get("wall_seconds", 0.0) + time.monotonic() - self.began,
                "peak_memory_mb": max(earlier.get("peak_memory_mb") or 0, peak_memory_mb() or 0) or None,
            }
        )


def command_line(module: str) -> str:
    """Return the command that this process was started with, given the module of the package that it runs."""
    return shlex.join([Path(sys.executable).name, "-m", module, *sys.argv[1:]])


def device_name(device: object) -> str:
    """Return the name of a GPU or processor, given a device whose `str` is as in torch: `cuda:0`, `cpu`."""
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        return torch.cuda.get_device_name(str(device))
    return f"{kind} ({platform.processor() or platform.machine()})"


def forget_peak_memory() -> None:
    """Let `peak_memory_mb` count from now on, where Linux allows it: jobs of a sweep may share this process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> int | None:
    """Return the peak resident memory of this process so far, MiB; None where the system doesn't say.

    Neither its children nor the memory of a GPU count.
    """
    # getrusage includes the peak of the process that forked this one
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))):
        return int(found[1]) // 2**10
    try:
        import resource
    except ModuleNotFoundError:  # not on a Unix
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


@cache
def git_commit() -> str | None:
    """Return the git commit of the checkout that holds this package, with `+` if it has changes; None without one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():  # an installed package inside somebody else's repository
        return None
    # Not `describe --dirty`, which writes the index and leaves its lock when it is stopped.
    describe = ("describe", "--always", "--abbrev=12", "--exclude=*")
    status = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    try:
        commit, changes = (
            subprocess.run(
                ["git", *command],
                cwd=folder,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=10,
                check=True,
            ).stdout.strip()
            for command in (describe, status)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if commit and changes else commit or None
