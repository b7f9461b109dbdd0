"""Whether CNN-PPF falls short because of too little training: `python -m experiments.compared.ppf`.

It is trained for fewer epochs than with `learner.effort=short`.
"""

from collections.abc import Sequence
from dataclasses import replace

from experiments.compared.common import draw, said, write
from hsi_al.methods.cnn_ppf.learner import EFFORTS, PpfLearner, PpfSettings
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

SHORT = replace(EFFORTS["short"], least_steps=0)


def measure(
    scene: Scene, epochs: Sequence[int] = (1, 2), per_class: int = 200, settings: PpfSettings = SHORT
) -> list[list[str]]:
    """Return a header and one row per number of epochs in each stage."""
    drawn, rows = draw(scene, per_class), [["epochs in all", "OA all %", "OA held-out %"]]
    for count in epochs:
        learner = PpfLearner(scene.cube, scene.n_classes, replace(settings, epochs_per_stage=count), "cpu")
        learner.fit(drawn.ids, drawn.labels, 0, generator(0, "learner"))
        accuracies = drawn.accuracy(lambda ids, learner=learner: learner.predict(ids).predicted_class)  # type: ignore[misc]
        rows.append([str(settings.stages * count), *accuracies])
        said(rows)
    return rows


if __name__ == "__main__":
    write("ppf", "", measure(load_catalogue_scene("indian_pines", None)))
