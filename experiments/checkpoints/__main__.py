"""Accuracy along the epochs of a training from scratch: what choosing the epoch by test accuracy would gain.

    python -m experiments.checkpoints OUT.csv [--seeds 0,1,2] [--dataset indian_pines] [--backbone densenet121]
                                      [--stem s2_pool] [--labels 480] [--epochs 200] [--every 10]
                                      [--labels-from RUN] [--round 0] [--loss-prediction] [--augment] [--standardise]
                                      [--average 0.99] [--threads 1]

The labels and the training are those of `python -m hsi_al.run protocol=paper acquisition=none protocol.rounds=0` with
the same seed, and the last epoch is what that run reports: OA of all labelled pixels, the trained ones included.
OUT.csv gets a row for every scored epoch after each training; trainings that it already holds are not repeated. With
`--average` the same training is also scored with an exponential moving average of its weights, as a run predicts
under protocol.average_weights. `--augment` flips and rotates as protocol.augment does; `--standardise` gives every band
mean 0 and standard deviation 1, where a run scales all bands by the minimum and maximum of the cube.
"""

import argparse
import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsi_al.active.experiment import use_threads
from hsi_al.active.inherited import labels_of_run
from hsi_al.config.schema import SpectraConfig
from hsi_al.files import replacing
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.methods.spectra import statistics
from hsi_al.pool.initial import draw_initial
from hsi_al.randomness import generator
from hsi_al.report.contest_tables import markdown, over_seeds
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
COLUMNS = ("training", "seed", "epoch", "oa_all")
LATE = 3 / 4  # the last quarter of the epochs shows how much one epoch differs from the next


class Watcher:
    """Measures OA of all labelled pixels after every so many epochs; the training goes on as if it were not there.

    Args:
        learner: Learner in training; set its `progress` to this object.
        scene: Scene that it learns.
        every: Epochs between two measurements; the last epoch is measured, too.
        decay: That of the moving average of the weights, per step; None = there is none.

    Attributes:
        accuracies: OA (a fraction) by the number of finished epochs.
        averaged: The same with the averaged weights; empty without them.
    """

    def __init__(self, learner: DeepLearner, scene: Scene, every: int, decay: float | None = None) -> None:
        self.learner, self.scene, self.every, self.decay = learner, scene, every, decay
        self.truth = scene.labels_of(scene.labelled_ids)
        self.accuracies: dict[int, float] = {}
        self.averaged: dict[int, float] = {}
        self.mean: dict[str, Tensor] = {}  # of weights and of BN statistics, as Lightning's EMAWeightAveraging has it

    def __call__(self, text: str, part: float) -> None:
        """Measure if `part` of the training steps is a whole number of epochs that is to be measured."""
        epochs = self.learner.epochs(0)
        done = round(part * epochs)
        if self.decay is not None:
            self.average(self.decay)
        if abs(part * epochs - done) < 1e-9 and (done % self.every == 0 or done == epochs):
            self.accuracies[done] = float(np.mean(self.predicted() == self.truth))
            print(f"epoch {done}: {100 * self.accuracies[done]:.2f} %", flush=True)
            if self.decay is not None:
                module = self.learner.module
                before = {name: value.clone() for name, value in module.state_dict().items()}
                module.load_state_dict(before | self.mean)
                self.averaged[done] = float(np.mean(self.predicted() == self.truth))
                module.load_state_dict(before)

    def average(self, decay: float) -> None:
        """Take the weights of this step into the moving average."""
        for name, value in self.learner.module.state_dict().items():
            if not value.is_floating_point():
                continue
            if name in self.mean:
                self.mean[name].lerp_(value, 1 - decay)
            else:
                self.mean[name] = value.clone()

    def predicted(self) -> Ids:
        """Return the predicted classes of all labelled pixels; mode and BN statistics stay those of training."""
        module, gatherer = self.learner.module, self.learner.datamodule.gatherer
        module.eval()
        with torch.inference_mode():
            batches = torch.split(torch.from_numpy(self.scene.labelled_ids), self.learner.predict_batch_size)
            found = [module.predict_step((gatherer(batch),), 0)["predicted_class"] for batch in batches]
        module.train()
        return torch.cat(found).numpy()


def trained(
    scene: Scene,
    settings: DeepSettings,
    needs: frozenset[str],
    ids: Ids,
    rng: np.random.Generator,
    every: int,
    decay: float | None,
    limits: tuple[float, float] | None = None,
) -> tuple[dict[int, float], dict[int, float]]:
    """Train once on labelled pixel ids (n,), with random choices of `rng`.

    Values are scaled by `limits`, or by the smallest and the largest one of the cube.

    Returns:
        OA (a fraction) by epoch, and the same with averaged weights.
    """
    learner = DeepLearner(scene.cube, scene.n_classes, scene.labelled_ids, settings, needs, limits)
    learner.progress = watcher = Watcher(learner, scene, every, decay)
    learner.fit(ids, scene.labels_of(ids), 0, rng)
    return watcher.accuracies, watcher.averaged


def standardised(scene: Scene) -> Scene:
    """Return the scene with every band at mean 0 and standard deviation 1 over all pixels; a constant band is 0."""
    mean, deviation = statistics(scene.source, SpectraConfig(name="bands"))
    cube = (np.asarray(scene.cube, np.float64) - mean) / np.where(deviation > 0, deviation, 1)
    return replace(scene, source=cube.astype(np.float32))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file of this study; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[dict[str, str]]) -> str:
    """Format a Markdown table of each kind of training: OA of the last epoch, of the late ones and of the best one.

    Where a training was watched at its last epoch alone, or hardly before, the others are "-".
    """
    lines = [
        [
            *("training", "seeds", "epochs watched", "last epoch", "late epochs, mean", "late epochs, worst"),
            "best epoch watched, by test accuracy",
        ]
    ]
    for name in dict.fromkeys(row["training"] for row in rows):
        curves = [
            {
                int(row["epoch"]): 100 * float(row["oa_all"])
                for row in rows
                if (row["training"], row["seed"]) == (name, seed)
            }
            for seed in dict.fromkeys(row["seed"] for row in rows if row["training"] == name)
        ]
        late = [[oa for epoch, oa in curve.items() if epoch >= LATE * max(curve)] for curve in curves]
        watched = min(map(len, late)) > 1  # one late epoch tells nothing of the others
        lines.append(
            [
                re.sub(r" [0-9a-f]{8} asked", " asked", name),  # without the digest of the asking run's settings
                str(len(curves)),
                " to ".join(str(n) for n in sorted({min(map(len, curves)), max(map(len, curves))})),
                over_seeds([curve[max(curve)] for curve in curves]),
                over_seeds([float(np.mean(values)) for values in late]) if watched else "-",
                over_seeds([min(values) for values in late]) if watched else "-",
                over_seeds([max(curve.values()) for curve in curves]) if watched else "-",
            ]
        )
    return markdown(lines)


def main() -> None:
    """Do the trainings that OUT.csv doesn't hold yet, add them to it, and print the table of all."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checkpoints", description=__doc__)
    parser.add_argument("out", type=Path, help="CSV file of the results")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--dataset", default="indian_pines", help="scene of the catalogue")
    parser.add_argument("--backbone", default="densenet121")
    parser.add_argument("--stem", default="s2_pool")
    parser.add_argument("--labels", type=int, default=480, help="labelled pixels of a training")
    parser.add_argument("--labels-from", metavar="RUN", help="run directory whose first --labels labels are taken")
    parser.add_argument("--loss-prediction", action="store_true", help="train the loss prediction module, too")
    parser.add_argument("--round", type=int, default=0, help="round of a run whose weights and shuffling are drawn")
    parser.add_argument("--augment", action="store_true", help="flip and rotate every patch anew in every epoch")
    parser.add_argument("--standardise", action="store_true", help="give every band mean 0 and standard deviation 1")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--every", type=int, default=10, help="epochs between two measurements")
    parser.add_argument("--average", type=float, metavar="DECAY", help="score a moving average of the weights, too")
    parser.add_argument("--threads", type=int, help="threads of torch (default: all cores)")
    given = parser.parse_args()
    use_threads(given.threads)
    settings = DeepSettings().having(
        backbone=given.backbone, stem=given.stem, epochs=given.epochs, augment=given.augment, accelerator="cpu"
    )
    needs = frozenset({"predicted_loss_N"}) if given.loss_prediction else frozenset[str]()
    scene = load_catalogue_scene(given.dataset, None)
    everything, inherited = scene.labelled_ids, None
    if given.labels_from:
        inherited = labels_of_run(given.labels_from, given.labels, scene, everything)
    limits = None
    if given.standardise:
        scene, limits = standardised(scene), (0.0, 1.0)
    source = f"labels that {inherited.source['asked_by']} asked" if inherited else "random labels"
    name = f"{given.labels} {source}" + (", with loss prediction" if given.loss_prediction else "")
    name += f", drawn as in round {given.round}" if given.round else ""
    for key in ("dataset", "backbone", "stem", "epochs"):
        value = getattr(given, key)
        name += f", {key} {value}" if value != parser.get_default(key) else ""
    name += ", flipped and rotated" if given.augment else ""
    name += ", every band standardised" if given.standardise else ""
    averaged_name = f"{name}, weights averaged with decay {given.average:g}" if given.average else name
    rows = read_rows(given.out)
    for seed in given.seeds.split(","):
        if any((row["training"], row["seed"]) == (averaged_name, seed) for row in rows):
            continue
        if inherited:
            ids = inherited.pixel_ids
        else:
            rng = generator(int(seed), "initial")
            ids = draw_initial(everything, scene.labels_of(everything), given.labels, "uniform", rng)
        rng = generator(int(seed), "learner", given.round)
        found, averaged = trained(scene, settings, needs, ids, rng, given.every, given.average, limits=limits)
        rows = [row for row in rows if (row["training"], row["seed"]) != (name, seed)]
        rows += [
            {"training": training, "seed": seed, "epoch": str(epoch), "oa_all": f"{oa:.6f}"}
            for training, curve in ((name, found), (averaged_name, averaged))
            for epoch, oa in curve.items()
        ]
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(given.out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        print(f"{name}, seed {seed}: {100 * found[max(found)]:.2f} %", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
