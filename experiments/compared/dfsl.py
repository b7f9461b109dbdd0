"""How much DFSL's meta-training adds to DFSL+SVM: `python -m experiments.compared.dfsl SCENE ...`.

A SCENE is a name of the catalogue or a scene file. The SVM is trained on an untrained embedding, on one meta-trained
on the given scenes (as `learner.effort=short`), and on one meta-trained on Indian Pines itself. The last one has seen
the test labels: it is not a method, but bounds what better source scenes can give.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.compared.common import by_svm, draw, said, write
from hsi_al.methods.dfsl_svm.extractor import EFFORTS, DfslExtractor, DfslSettings
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import CATALOGUE, data_folder, load_catalogue_scene
from hsi_al.scenes.scene import Scene, load_scene
from hsi_al.training.trainer import seeded

BOUND = "meta-trained on the scene itself (a bound: knows the test labels)"


def embedded(extractor: DfslExtractor, scene: Scene, trained: bool) -> NDArray[np.float32]:
    """Return the embeddings of the pixels with ground truth in a table of the whole scene, (H * W, D), zero elsewhere.

    Without `trained` the embedding has fresh weights.
    """
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
    """Return the scene without its last row: the extractor refuses the cube it classifies as a source scene."""
    return replace(scene, source=scene.cube[:-1], ground_truth=scene.ground_truth[:-1])


def measure(
    scene: Scene, sources: Sequence[Scene], per_class: int = 200, settings: DfslSettings = EFFORTS["short"]
) -> list[list[str]]:
    """Return a header and one row per embedding."""
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
        sys.exit("Name at least one source scene, such as salinas_a.")
    folder = data_folder(None)
    sources = [load_catalogue_scene(name, folder) if name in CATALOGUE else load_scene(Path(name)) for name in names]
    write("dfsl", f" {' '.join(names)}", measure(load_catalogue_scene("indian_pines", None), sources))


if __name__ == "__main__":
    main(sys.argv[1:])
