"""Why querying by predicted loss helps or fails: a normal run that also records statistics of every query.

    python experiments/loss_prediction/study.py CONDITION [key=value ...]

CONDITION says how pixels are queried:

    configured          by the acquisition function of the configuration
    true_loss           highest actual cross-entropy, which a perfect loss prediction would give
    entropy_with_head   highest entropy
    random_with_head    at random
    spread              highest predicted loss, no two pixels within 8 pixels of each other

All but `configured` train with the loss prediction module. The run is written to outputs/study/NAME/seed=N, where NAME
is the value of experiment.name, and its statistics beside it to seed=N.csv. They use the ground truth of unlabelled
pixels. `true_loss` also queries by it, so it is not a method but a bound.
"""

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr

from hsi_al.acquisition.base import Acquisition, PoolView, unlabelled_positions
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.acquisition.uncertainty import entropy_N
from hsi_al.active.experiment import Experiment
from hsi_al.active.meta import command_line
from hsi_al.cli.composition import composed
from hsi_al.config.schema import Config
from hsi_al.methods.deep.learner import DeepLearner

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
NEAR = 8  # pixels; two 32x32 patches this close share more than half of their content


def true_loss(view: PoolView, truth: Positions) -> Floats:
    """Return the actual cross-entropy of every candidate, (N,), from its true class index in `truth` (N,)."""
    assert view.outputs.probabilities_NC is not None
    right = view.outputs.probabilities_NC[np.arange(len(truth)), truth].astype(np.float64)
    return -np.log(np.maximum(right, np.finfo(np.float32).tiny))


def apart(view: PoolView, ranked: Positions, n: int) -> Positions:
    """Return the first positions of `ranked`, at most n, of which no two are within `NEAR` pixels of each other."""
    chosen: list[int] = []
    for position in ranked.tolist():
        rows, columns = view.row[chosen], view.column[chosen]
        distance = np.maximum(abs(rows - view.row[position]), abs(columns - view.column[position]))
        if not chosen or distance.min() > NEAR:
            chosen.append(position)
        if len(chosen) == n:
            break
    return np.array(chosen)


def area_under_roc(score: Floats, wrong: NDArray[np.bool_]) -> float:
    """Return the probability that a wrong pixel has a higher score than a right one; nan if either kind is missing."""
    n_wrong, n_right = int(wrong.sum()), int((~wrong).sum())
    if not n_wrong or not n_right:
        return float("nan")
    return float((rankdata(score)[wrong].sum() - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right))


@dataclass
class Watched:
    """An acquisition function that queries as a condition says and records statistics of every query.

    Attributes:
        condition: How pixels are queried, see the module.
        configured: Acquisition function of the configuration.
        truth: True class index of every candidate, (N,).
        path: CSV file of the statistics, one row per query.
    """

    condition: str
    configured: Acquisition
    truth: Positions
    path: Path

    @property
    def name(self) -> str:
        """The name of the condition."""
        return self.condition

    @property
    def needs(self) -> frozenset[str]:
        """The outputs that the configured acquisition function, the condition and the statistics read."""
        head = {"predicted_loss_N"} if self.condition != "configured" else set()
        return self.configured.needs | {"probabilities_NC"} | head

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Return the positions of n queried pixels and append a row of statistics to the file.

        Raises:
            ValueError: There is no such condition.
        """
        free = unlabelled_positions(view, n)
        loss = true_loss(view, self.truth)
        assert view.outputs.probabilities_NC is not None
        scores = {"true": loss, "entropy": entropy_N(view.outputs.probabilities_NC)}
        if view.outputs.predicted_loss_N is not None:
            scores["predicted"] = view.outputs.predicted_loss_N.astype(np.float64)
        ranked = {name: free[np.argsort(-score[free], kind="stable")] for name, score in scores.items()}
        match self.condition:
            case "configured":
                chosen = self.configured.select(view, n, rng)
            case "true_loss":
                chosen = ranked["true"][:n]
            case "entropy_with_head":
                chosen = ranked["entropy"][:n]
            case "random_with_head":
                chosen = build_acquisition("random").select(view, n, rng)
            case "spread":
                chosen = apart(view, ranked["predicted"], n)
            case _:
                raise ValueError(self.condition)
        wrong = view.outputs.predicted_class != self.truth
        row: dict[str, float] = {
            "n_labelled": int(view.is_labelled.sum()),
            "pool_wrong": float(wrong[free].mean()),
            "pool_loss_median": float(np.median(loss[free])),
            "labelled_loss_median": float(np.median(loss[view.is_labelled])),
            "labelled_loss_max": float(loss[view.is_labelled].max()),
        }
        for name in ("predicted", "entropy"):
            score = scores.get(name)
            row[f"spearman_{name}"] = float("nan") if score is None else spearmanr(score[free], loss[free]).statistic
            row[f"auroc_{name}"] = float("nan") if score is None else area_under_roc(score[free], wrong[free])
        queries = {"query": chosen} | {f"top_{name}": order[:n] for name, order in ranked.items()}
        for name in ("query", "top_predicted", "top_entropy", "top_true"):
            row |= {f"{name}_{key}": value for key, value in self.worth(view, queries.get(name), wrong, loss).items()}
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        return chosen

    def worth(
        self, view: PoolView, query: Positions | None, wrong: NDArray[np.bool_], loss: Floats
    ) -> dict[str, float]:
        """Return statistics of a query; nan for each if there is no query.

        They are the part of its pixels that were misclassified, their median loss, the part that has another queried
        pixel within `NEAR` pixels, the number of places (pixels farther apart than that), and the number of classes.
        """
        if query is None:
            return dict.fromkeys(("wrong", "loss", "near", "groups", "classes"), float("nan"))
        place = np.stack([view.row[query], view.column[query]], axis=1)
        close = squareform(pdist(place, "chebyshev")) <= NEAR
        return {
            "wrong": float(wrong[query].mean()),
            "loss": float(np.median(loss[query])),
            "near": float((close.sum(axis=1) > 1).mean()),
            "groups": len(apart(view, query, len(query))),
            "classes": len(np.unique(self.truth[query])),
        }


class WatchedExperiment(Experiment):
    """An experiment whose acquisition function is `Watched`."""

    def __init__(self, config: Config, path: Path, console: Console, condition: str) -> None:
        if condition not in ("configured", "random_with_head", "true_loss", "entropy_with_head", "spread"):
            sys.exit(f"There is no condition {condition}; --help lists them.")
        super().__init__(config, path, console)
        self.meta.command = command_line("experiments.loss_prediction.study")
        parts = self.parts
        truth = parts.scene.labels_of(parts.split.candidates)
        parts.acquisition = Watched(condition, parts.acquisition, truth, path.with_suffix(".csv"))
        assert isinstance(parts.learner, DeepLearner)
        parts.learner.module.wanted = parts.acquisition.needs
        title = parts.title() + ("" if condition == "configured" else f", asked by {condition}")
        parts.title = lambda: title  # type: ignore[method-assign]


def main() -> None:
    """Run one condition, or continue it."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    condition, *overrides = sys.argv[1:]
    config, _ = composed(overrides)
    if condition != "configured":  # attaches the loss prediction module, however pixels are queried
        config = replace(config, acquisition=replace(config.acquisition, name="loss_prediction"))
    path = Path("outputs/study") / config.experiment.name / f"seed={config.seed}"
    path.mkdir(parents=True, exist_ok=True)
    WatchedExperiment(config, path, Console(soft_wrap=True, highlight=False, markup=False), condition).play()


if __name__ == "__main__":
    main()
