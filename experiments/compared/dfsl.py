"""How much does DFSL's meta-training give? `python -m experiments.compared.dfsl SCENE ...` (names or scene files).

The SVM on an untrained embedding, on one meta-trained as `learner.effort=short` on the scenes named, and on one
meta-trained on Indian Pines itself, which knows the test labels: a bound for what better source scenes can give, and
no method.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.compared.common import by_svm, draw, said, write
from hsi_al.methods.dfsl_svm.extractor import EFFORTS, DfslExtractor, DfslSettings
from hsi_al.methods.svm import GridSvm
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import CATALOGUE, data_folder, load_catalogue_scene
from hsi_al.scenes.scene import Scene, load_scene
from hsi_al.training.trainer import seeded

BOUND = "meta-trained on the scene itself (a bound: knows the test labels)"


def embedded(extractor: DfslExtractor, scene: Scene, trained: bool) -> NDArray[np.float32]:
    """Features of the labelled pixels in a table of the whole scene, (H * W, D)."""
    if trained:
        extractor.fit(scene.labelled_ids, scene.labels_of(scene.labelled_ids), generator(0, "features"))
    else:
        with seeded(0, extractor.device):
            extractor.embedding.reset_parameters()
    found = extractor.features(scene.labelled_ids)
    table = np.zeros((scene.height * scene.width, found.shape[1]), np.float32)
    table[scene.labelled_ids] = found
    return table


def without_last_row(scene: Scene) -> Scene:
    """Nearly the whole scene: the extractor refuses the very cube that it is to classify."""
    return replace(scene, source=scene.cube[:-1], ground_truth=scene.ground_truth[:-1])


def measure(
    scene: Scene, sources: Sequence[Scene], per_class: int = 200, settings: DfslSettings = EFFORTS["short"]
) -> list[list[str]]:
    """Header and one row per embedding."""
    drawn, svm = draw(scene, per_class), GridSvm("rbf", 4)
    names = " and ".join(source.name for source in sources)
    cases = {
        "untrained": (sources, False),
        f"meta-trained on {names}": (sources, True),
        BOUND: ([without_last_row(scene)], True),
    }
    rows = [["embedding", "source classes", "episodes", "OA all %", "OA held-out %", "SVM"]]
    for name, (taken, trained) in cases.items():
        extractor = DfslExtractor(scene.cube, taken, settings, "cpu")
        accuracies = by_svm(embedded(extractor, scene, trained), drawn, svm)
        counts = [str(len(extractor.classes)), str(settings.episodes)] if trained else ["-", "-"]
        rows.append([name, *counts, *accuracies, svm.parameters])
        said(rows)
    return rows


def main(names: Sequence[str]) -> None:
    """Measure on Indian Pines and write the table."""
    if not names:
        sys.exit("Name one source scene at least, such as salinas_a.")
    folder = data_folder(None)
    sources = [load_catalogue_scene(name, folder) if name in CATALOGUE else load_scene(Path(name)) for name in names]
    write("dfsl", f" {' '.join(names)}", measure(load_catalogue_scene("indian_pines", None), sources))


if __name__ == "__main__":
    main(sys.argv[1:])
