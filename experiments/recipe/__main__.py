"""How each part of a training recipe changes the accuracy, with the same labels and the same number of epochs.

    python -m experiments.recipe OUT.json [--recipes plain,augment] [--seeds 0,1] [--dataset indian_pines]
                                 [--backbone densenet121] [--stem s2_pool] [--labels 480] [--epochs 32] [--threads 1]

Random candidates of split `holdout` are labelled, and the accuracy is measured on the other candidates. The split's
test pixels stay untouched, so that a recipe chosen here can be tested on them. OUT.json is written after every
training; trainings that it already holds are not repeated.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hsi_al.active.experiment import use_threads
from hsi_al.active.meta import device_name, git_commit
from hsi_al.files import replace_text
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.pool.initial import draw_initial
from hsi_al.pool.splits import divide_holdout
from hsi_al.randomness import generator
from hsi_al.report.contest_tables import markdown, over_seeds
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cosine": {"schedule": "cosine", "lr_warm_up": 0.1},
    "one_cycle": {"schedule": "one_cycle"},
    "augment": {"augment": True},
    "smoothing": {"label_smoothing": 0.1},
    "averaging": {"average_weights": 0.99},
    "batch_20": {"batch_size": 20},
    "batch_40": {"batch_size": 40},
}
Run = dict[str, Any]


def settings_of(recipe: str, base: DeepSettings) -> DeepSettings:
    """Return the settings of a recipe, which is one or more names of `PARTS` joined by +."""
    changes: dict[str, Any] = {}
    for part in recipe.split("+"):
        changes |= PARTS[part]
    return base.having(**changes)


def trained(scene: Scene, settings: DeepSettings, n_labels: int, seed: int) -> Run:
    """Train once; return the accuracy on the unlabelled candidates (a fraction), seconds, steps and device."""
    everything = scene.labelled_ids
    candidates = divide_holdout(everything, scene.labels_of(everything), generator(0, "split")).candidates
    ids = draw_initial(candidates, scene.labels_of(candidates), n_labels, "uniform", generator(seed, "initial"))
    learner = DeepLearner(scene.cube, scene.n_classes, candidates, settings)
    began = time.perf_counter()
    learner.fit(ids, scene.labels_of(ids), 0, generator(seed, "learner"))
    seconds, rest = time.perf_counter() - began, np.setdiff1d(candidates, ids)
    right = learner.predict(rest).predicted_class == scene.labels_of(rest)
    return {
        "accuracy": float(right.mean()),
        "seconds": seconds,
        "steps": learner.steps(n_labels, 0),
        "device": device_name(learner.device),
    }


def table(runs: list[Run]) -> str:
    """Format a Markdown table: each recipe's mean over seeds, and its difference from `plain` on the same seeds."""
    plain = {run["seed"]: run["accuracy"] for run in runs if run["recipe"] == "plain"}
    rows = [["recipe", "OA %", "minus plain", "seeds", "steps", "seconds"]]
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        own = [run for run in runs if run["recipe"] == recipe]
        differences = [100 * (run["accuracy"] - plain[run["seed"]]) for run in own if run["seed"] in plain]
        rows.append(
            [
                recipe,
                over_seeds([100 * run["accuracy"] for run in own]),
                over_seeds(differences) if recipe != "plain" and differences else "",
                str(len(own)),
                str(own[0]["steps"]),
                f"{np.mean([run['seconds'] for run in own]):.0f}",
            ]
        )
    return markdown(rows)


def flat(run: Run) -> Run:
    """Return a training with its network beside it, which earlier versions recorded in another place."""
    settings: dict[str, Any] = run["settings"]
    if isinstance(settings["backbone"], str):
        return settings | run
    backbone, protocol = settings["backbone"], settings["protocol"]
    stem = backbone["stem"] or protocol["stem"]
    return run | {"backbone": backbone["name"], "stem": stem, "epochs": protocol["epochs"]}


def main() -> None:
    """Do the trainings that OUT.json doesn't hold yet, add them to it, and print the table of all."""
    parser = argparse.ArgumentParser(prog="python -m experiments.recipe", description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file of the results")
    parser.add_argument("--recipes", default=",".join(PARTS), help="recipes, separated by commas")
    parser.add_argument("--seeds", default="0,1", help="seeds, separated by commas")
    parser.add_argument("--dataset", default="indian_pines", help="scene of the catalogue")
    parser.add_argument("--backbone", default="densenet121")
    parser.add_argument("--stem", default="s2_pool")
    parser.add_argument("--labels", type=int, default=480, help="labelled pixels of a training")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--threads", type=int, help="threads of torch (default: all cores)")
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args()
    recipes = given.recipes.split(",")
    if unknown := {part for recipe in recipes for part in recipe.split("+")} - PARTS.keys():
        parser.error(f"unknown recipe {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}, joined by +")
    use_threads(given.threads)
    base = DeepSettings().having(
        backbone=given.backbone, stem=given.stem, epochs=given.epochs, accelerator=given.accelerator
    )
    scene = load_catalogue_scene(given.dataset, None)
    runs: list[Run] = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    for seed in given.seeds.split(","):
        for recipe in recipes:
            settings = settings_of(recipe, base)
            about = {"recipe": recipe, "seed": int(seed), "dataset": given.dataset, "labels": given.labels}
            network = {"backbone": given.backbone, "stem": given.stem, "epochs": given.epochs}
            if any(about | network == {key: run.get(key) for key in about | network} for run in map(flat, runs)):
                continue
            about |= {"settings": asdict(settings)}
            done = trained(scene, settings, given.labels, int(seed))
            runs.append(about | done | {"commit": git_commit()})
            given.out.parent.mkdir(parents=True, exist_ok=True)
            replace_text(given.out, json.dumps(runs, indent=1))
            print(f"{recipe}, seed {seed}: {100 * done['accuracy']:.2f} %, {done['seconds']:.0f} s", flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
