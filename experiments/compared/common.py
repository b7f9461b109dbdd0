"""Helpers of the variants: the training pixels of `protocol=per_class`, accuracies, and tables in results/compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.pool.initial import draw_per_class
from hsi_al.randomness import generator
from hsi_al.report.contest_tables import markdown
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
RESULTS = Path(__file__).parents[1] / "results" / "compared"


@dataclass(frozen=True)
class Draw:
    """The pixels with ground truth, divided into training and test pixels.

    Attributes:
        ids: Pixel ids of the training pixels, (n,).
        labels: Class indices of the training pixels, (n,).
        rest: Pixel ids of the test pixels, (m,).
        truth: Class indices of the test pixels, (m,).
    """

    ids: Ids
    labels: Ids
    rest: Ids
    truth: Ids

    def accuracy(self, predict: Callable[[Ids], Ids]) -> list[str]:
        """Return the OA in percent, as text, over all pixels with ground truth and over the test pixels."""
        drawn, rest = int((predict(self.ids) == self.labels).sum()), int((predict(self.rest) == self.truth).sum())
        everything = 100 * (drawn + rest) / (len(self.ids) + len(self.rest))
        return [f"{everything:.2f}", f"{100 * rest / len(self.rest):.2f}"]


def draw(scene: Scene, per_class: int, seed: int = 0) -> Draw:
    """Draw the training pixels as `protocol=per_class` does, `per_class` of each class."""
    everything, names = scene.labelled_ids, list(scene.class_names.values())
    labels = scene.labels_of(everything)
    ids = draw_per_class(everything, labels, per_class, generator(seed, "initial"), False, names)
    rest = np.setdiff1d(everything, ids)
    return Draw(ids, scene.labels_of(ids), rest, scene.labels_of(rest))


def by_svm(features: NDArray[np.float32], drawn: Draw, svm: GridSvm) -> list[str]:
    """Train an SVM on features of the whole scene (H * W, D) and return its accuracies, see `Draw.accuracy`."""
    svm.fit(features[drawn.ids], drawn.labels, generator(0, "learner"))
    return drawn.accuracy(lambda ids: svm.predict(features[ids]))


def write(name: str, arguments: str, rows: list[list[str]]) -> None:
    """Write a table to results/compared/NAME.md, below a line with its command, setting and commit."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = f"`python -m experiments.compared.{name}{arguments}`, Indian Pines, 9 classes, 200 labels of each, seed 0"
    replace_text(RESULTS / f"{name}.md", f"{about}, {git_commit()}\n\n{markdown(rows)}")


def said(rows: list[list[str]]) -> None:
    """Print the last row, as soon as it is measured."""
    print(" | ".join(rows[-1]), flush=True)
