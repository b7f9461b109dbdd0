"""Helpers of the steps: sizes of a real and of a dry run, a learner on Indian Pines, and files of results."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsi_al.active.meta import device_name, git_commit
from hsi_al.files import replace_text
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
LOSS = frozenset({"predicted_loss_N"})


@dataclass(frozen=True)
class Sizes:
    """The sizes of all measurements; a dry run only shows that every step works.

    Attributes:
        networks: Backbone, stem and precisions of the timed training steps.
        epochs: Epochs of a timed fit.
        labels: Labelled pixels of a timed fit.
        accuracy_epochs: Epochs of a fit whose accuracy is measured.
        accuracy_labels: Labelled pixels of such a fit.
        seeds: Seeds of these fits.
        pool: Number of pixels scored.
        batches: Batch sizes of scoring that are measured beside the learner's own choice.
        concurrent: Numbers of runs that share the GPU.
        run: Overrides of the timed runs.
        backend: Backend of torch.compile.
        accelerator: Lightning's name of the accelerator.
    """

    networks: tuple[tuple[str, str, tuple[str, ...]], ...]
    epochs: int
    labels: int
    accuracy_epochs: int
    accuracy_labels: int
    seeds: tuple[int, ...]
    pool: int
    batches: tuple[int, ...]
    concurrent: tuple[int, ...]
    run: tuple[str, ...]
    backend: str = "inductor"
    accelerator: str = "gpu"


REAL = Sizes(
    networks=(
        ("densenet121", "s1", ("32-true", "tf32", "bf16-mixed")),
        ("resnet50", "s1", ("32-true", "bf16-mixed")),
    ),
    epochs=20,
    labels=160,
    accuracy_epochs=60,
    accuracy_labels=480,
    seeds=(0, 1),
    pool=9234,
    batches=(64, 256, 1024),
    concurrent=(1, 2, 4),
    run=(
        *("protocol.rounds=1", "protocol.full_map=false", "trainer.accelerator=gpu"),
        *("trainer.compile=on", "trainer.threads=4"),
    ),
)
DRY = Sizes(
    networks=(("lenet", "s1", ("32-true",)),),
    epochs=1,
    labels=20,
    accuracy_epochs=1,
    accuracy_labels=20,
    seeds=(0,),
    pool=60,
    batches=(16,),
    concurrent=(1, 2),
    run=(
        *("protocol=smoke", "protocol.rounds=1", "protocol.epochs=1", "protocol.max_pixels=60"),
        *("backbone=lenet", "acquisition=entropy", "trainer.accelerator=cpu", "trainer.threads=1"),
    ),
    backend="aot_eager",
    accelerator="cpu",
)


def indian_pines_learner(sizes: Sizes, n_labelled: int, **settings: Any) -> tuple[Scene, DeepLearner, Ids]:  # noqa: ANN401
    """Return Indian Pines, a deep learner on it, and random labelled pixels (n_labelled,), the same in every call."""
    scene = load_catalogue_scene("indian_pines", None)
    chosen = DeepSettings().having(accelerator=sizes.accelerator, **settings)
    needs = LOSS if chosen.backbone.name != "lenet" else frozenset({"probabilities_NC"})
    learner = DeepLearner(scene.cube, scene.n_classes, scene.labelled_ids, chosen, needs)
    learner.backend = sizes.backend
    ids = np.sort(np.random.default_rng(0).choice(scene.labelled_ids, n_labelled, replace=False))
    return scene, learner, ids


def with_precision(learner: DeepLearner, precision: str | None) -> None:
    """Set the precision of scoring; None = that of training."""
    learner.settings = learner.settings.having(predict_precision=precision)


def waited(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def write(path: Path, device: torch.device, rows: list[dict[str, Any]]) -> None:
    """Write rows, with device, versions and commit, as JSON, as a whole or not at all."""
    about = {
        "device": device_name(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "commit": git_commit(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps({"about": about, "rows": rows}, indent=1))
