r"""How much does DFSL's meta-training give here? See `python -m experiments.dfsl_variants SCENE ...`.

Indian Pines (9 classes), 200 labels of every class, seed 0: the SVM on an untrained embedding, on one meta-trained as
`learner.effort=short` on the scenes named (names, or files written by `save_scene`), and on one meta-trained on Indian
Pines itself, which knows the test labels: a bound for what better source scenes can give, and no method. Writes
`experiments/results/dfsl_variants.md`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.emp_variants import accuracy, drawn
from hsi_al.build import data_folder
from hsi_al.config import Config
from hsi_al.files import replacing
from hsi_al.job import git_commit
from hsi_al.learners.dfsl import EFFORTS, DfslExtractor, DfslSettings
from hsi_al.learners.svm import GridSvm
from hsi_al.learners.training import seeded
from hsi_al.randomness import generator
from hsi_al.report.compare import markdown
from hsi_al.scenes.catalogue import CATALOGUE, load_catalogue_scene
from hsi_al.scenes.scene import Scene, load_scene

RESULT = Path(__file__).parent / "results" / "dfsl_variants.md"


def embedded(
    scene: Scene, sources: Sequence[Scene], settings: DfslSettings, trained: bool
) -> tuple[NDArray[np.float32], DfslExtractor]:
    """Features of the labelled pixels in a table of the whole scene (H * W, D), and what made them."""
    extractor = DfslExtractor(scene.cube, sources, settings, "cpu")
    if trained:
        extractor.fit(scene.labelled_ids, scene.labels_of(scene.labelled_ids), generator(0, "features"))
    else:
        with seeded(0, extractor.device):
            extractor.embedding.reset_parameters()
    found = extractor.features(scene.labelled_ids)
    table = np.zeros((scene.height * scene.width, found.shape[1]), np.float32)
    table[scene.labelled_ids] = found
    return table, extractor


def without_last_row(scene: Scene) -> Scene:
    """Nearly the whole scene: the extractor refuses the very cube that it is to classify."""
    return replace(scene, cube=scene.cube[:-1], ground_truth=scene.ground_truth[:-1])


def measure(
    scene: Scene, sources: Sequence[Scene], per_class: int = 200, settings: DfslSettings = EFFORTS["short"]
) -> list[list[str]]:
    """Header and one row per embedding."""
    draw, svm = drawn(scene, per_class), GridSvm("rbf", 4)
    names = " and ".join(source.name for source in sources)
    cases = {
        "untrained": (sources, False),
        f"meta-trained on {names}": (sources, True),
        "meta-trained on the scene itself (a bound: knows the test labels)": ([without_last_row(scene)], True),
    }
    rows = [["embedding", "source classes", "episodes", "OA all %", "OA held-out %", "SVM"]]
    for name, (taken, trained) in cases.items():
        table, extractor = embedded(scene, taken, settings, trained)
        everything, heldout = accuracy(table, draw, svm)
        counts = [str(len(extractor.classes)), str(settings.episodes)] if trained else ["-", "-"]
        rows.append([name, *counts, f"{everything:.2f}", f"{heldout:.2f}", svm.parameters])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure on Indian Pines and write the table."""
    if not sys.argv[1:]:
        sys.exit("Name one source scene at least, such as salinas_a.")
    folder = data_folder(Config(data_dir=None))
    sources = [
        load_catalogue_scene(name, folder) if name in CATALOGUE else load_scene(Path(name)) for name in sys.argv[1:]
    ]
    rows = measure(load_catalogue_scene("indian_pines", None), sources)
    with replacing(RESULT) as temporary:
        temporary.write_text(
            f"`python -m experiments.dfsl_variants {' '.join(sys.argv[1:])}`, Indian Pines, 9 classes, 200 labels "
            f"each, seed 0, {git_commit()}\n\n{markdown(rows)}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
