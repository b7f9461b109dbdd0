"""Why is EMP+SVM better here than published? Its open choices, one at a time: `python -m experiments.emp_variants`.

Indian Pines (9 classes), 200 labels of every class, seed 0, the same draw and folds for all; writes
`experiments/results/emp_variants.md`. The SVM on principal components alone shows what the profiles add.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.files import replacing
from hsi_al.job import git_commit
from hsi_al.learners.emp import EmpExtractor, EmpSettings, principal_components
from hsi_al.learners.svm import GridSvm
from hsi_al.pool.initial import draw_per_class
from hsi_al.randomness import generator
from hsi_al.report.compare import markdown
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

RESULT = Path(__file__).parent / "results" / "emp_variants.md"
VARIANTS = {
    "as configured: 3 components, sides 3, 7, 11, 15, 19, plain": EmpSettings(),
    "by reconstruction": EmpSettings(reconstruction=True),
    "1 component": EmpSettings(n_components=1),
    "99 % of the variance": EmpSettings(n_components=0.99),
    "sides 3, 5, 7, 9": EmpSettings(radii=(1, 2, 3, 4)),
    "side 3 only": EmpSettings(radii=(1,)),
}


@dataclass(frozen=True)
class Draw:
    """Labelled pixels (n,) and their classes, and all others (m,) and theirs."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    rest: NDArray[np.int64]
    truth: NDArray[np.int64]


def drawn(scene: Scene, per_class: int, seed: int = 0) -> Draw:
    """The labels that `protocol=per_class` draws."""
    everything, names = scene.labelled_ids, list(scene.class_names.values())
    labels = scene.labels_of(everything)
    ids = draw_per_class(everything, labels, per_class, generator(seed, "initial"), False, names)
    rest = np.setdiff1d(everything, ids)
    return Draw(ids, scene.labels_of(ids), rest, scene.labels_of(rest))


def accuracy(features: NDArray[np.float32], draw: Draw, svm: GridSvm) -> tuple[float, float]:
    """OA in percent on all labelled pixels and on those not drawn, from features of the whole scene (H * W, D)."""
    svm.fit(features[draw.ids], draw.labels, generator(0, "learner"))
    right = [int((svm.predict(features[ids]) == truth).sum()) for ids, truth in
             ((draw.ids, draw.labels), (draw.rest, draw.truth))]  # fmt: skip
    return 100 * sum(right) / (len(draw.ids) + len(draw.rest)), 100 * right[1] / len(draw.rest)


def measure(scene: Scene, per_class: int = 200, svm: GridSvm | None = None) -> list[list[str]]:
    """Header and one row per variant."""
    draw, svm = drawn(scene, per_class), svm or GridSvm()
    tables = {name: EmpExtractor(scene.cube, settings).table for name, settings in VARIANTS.items()}
    tables["no profile: 3 components"] = principal_components(scene.cube, 3).reshape(3, -1).T
    rows = [["features", "D", "OA all %", "OA held-out %", "SVM"]]
    for name, table in tables.items():
        everything, heldout = accuracy(table, draw, svm)
        rows.append([name, str(table.shape[1]), f"{everything:.2f}", f"{heldout:.2f}", svm.parameters])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure on Indian Pines and write the table."""
    rows = measure(load_catalogue_scene("indian_pines", None, None))
    text = f"`python -m experiments.emp_variants`, Indian Pines, 9 classes, 200 labels each, seed 0, {git_commit()}\n\n"
    with replacing(RESULT) as temporary:
        temporary.write_text(text + markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
