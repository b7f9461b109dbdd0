"""Time of a training step through Lightning against a hand-written loop that computes the same."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from experiments.benchmarks.measure import Row, learner_on, medians, synthetic_cube
from hsi_al.methods.deep.learner import DeepSettings
from hsi_al.methods.deep.loss_prediction import ranking_loss

NEEDS = frozenset({"predicted_loss_N"})


def measure(
    cases: tuple[tuple[str, str, int], ...] = (
        ("densenet121", "s1", 1),
        ("densenet121", "s2", 2),
        ("densenet121", "s2_pool", 4),
        ("lenet", "s1", 20),
    ),
    n_labelled: int = 160,
    repeats: int = 3,
) -> list[Row]:
    """Measure milliseconds per step (batch 10) on a scene of Indian Pines' size; cases are (backbone, stem, epochs)."""
    return [compare(backbone, stem, epochs, n_labelled, repeats) for backbone, stem, epochs in cases]


def compare(backbone: str, stem: str, epochs: int, n_labelled: int, repeats: int) -> Row:
    """Measure one network; the reference has its patches in memory and shuffles an index."""
    ids = np.arange(n_labelled)
    labels = ids % 9
    settings = DeepSettings().having(backbone=backbone, stem=stem, accelerator="cpu", epochs=epochs, detach=None)
    needs = NEEDS if backbone != "lenet" else frozenset[str]()
    learner = learner_on(synthetic_cube(145, 145, 200), 9, needs, settings)
    module = learner.module
    patches = learner.datamodule.gatherer(torch.from_numpy(ids)).contiguous(memory_format=torch.channels_last)
    classes = torch.from_numpy(labels)

    def by_hand() -> None:
        module.reset_parameters()
        module.train()
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
        for _ in range(epochs):
            order = torch.randperm(n_labelled)
            for start in range(0, n_labelled, settings.protocol.batch_size):
                chosen = order[start : start + settings.protocol.batch_size]
                logits, taps = module.backbone(patches[chosen])
                loss_B = cross_entropy(logits, classes[chosen], reduction="none")
                loss = loss_B.mean()
                if module.loss_prediction is not None:
                    loss = loss + ranking_loss(module.loss_prediction(taps), loss_B, 1.0)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    rng = np.random.default_rng(0)
    theirs, mine = medians(by_hand, lambda: learner.fit(ids, labels, 0, rng), repeats)
    steps = learner.steps(n_labelled, 0)
    return Row(
        f"training step, {backbone}" + (f", stem {stem}" if backbone != "lenet" else ""),
        f"by hand {1e3 * theirs / steps:.1f} ms",
        f"{1e3 * mine / steps:.1f} ms",
        mine / theirs,
        "<= 1.10" if backbone != "lenet" else "",
    )
