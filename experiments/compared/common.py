"""What the variants share: the draw of `protocol=per_class`, accuracies, and the table under results/compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.meta import git_commit
from hsi_al.files import replacing
from hsi_al.methods.svm import GridSvm
from hsi_al.pool.initial import draw_per_class
from hsi_al.randomness import generator
from hsi_al.report.contest_tables import markdown
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
RESULTS = Path(__file__).parents[1] / "results" / "compared"


@dataclass(frozen=True)
class Draw:
    """Labelled pixels (n,) and their classes, and all others (m,) and theirs."""

    ids: Ids
    labels: Ids
    rest: Ids
    truth: Ids

    def accuracy(self, predict: Callable[[Ids], Ids]) -> list[str]:
        """OA in percent on all labelled pixels and on those not drawn."""
        drawn, rest = int((predict(self.ids) == self.labels).sum()), int((predict(self.rest) == self.truth).sum())
        everything = 100 * (drawn + rest) / (len(self.ids) + len(self.rest))
        return [f"{everything:.2f}", f"{100 * rest / len(self.rest):.2f}"]


def draw(scene: Scene, per_class: int, seed: int = 0) -> Draw:
    """The labels that `protocol=per_class` draws."""
    everything, names = scene.labelled_ids, list(scene.class_names.values())
    labels = scene.labels_of(everything)
    ids = draw_per_class(everything, labels, per_class, generator(seed, "initial"), False, names)
    rest = np.setdiff1d(everything, ids)
    return Draw(ids, scene.labels_of(ids), rest, scene.labels_of(rest))


def by_svm(features: NDArray[np.float32], drawn: Draw, svm: GridSvm) -> list[str]:
    """Accuracies of an SVM on features of the whole scene (H * W, D)."""
    svm.fit(features[drawn.ids], drawn.labels, generator(0, "learner"))
    return drawn.accuracy(lambda ids: svm.predict(features[ids]))


def write(name: str, arguments: str, rows: list[list[str]]) -> None:
    """Keep a table with its command, setting and commit."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = f"`python -m experiments.compared.{name}{arguments}`, Indian Pines, 9 classes, 200 labels of each, seed 0"
    with replacing(RESULTS / f"{name}.md") as temporary:
        temporary.write_text(f"{about}, {git_commit()}\n\n{markdown(rows)}", encoding="utf-8")


def said(rows: list[list[str]]) -> None:
    """Print the newest row."""
    print(" | ".join(rows[-1]), flush=True)
