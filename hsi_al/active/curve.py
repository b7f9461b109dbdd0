"""The learning curve: one record per round; all accuracies are computed from confusion matrices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def confusion_matrix(truth: Counts, predicted: Counts, n_classes: int) -> Counts:
    """Return the counts of (truth, prediction) pairs, (C, C); a row per true class."""
    pairs = n_classes * truth + predicted
    return np.bincount(pairs, minlength=n_classes**2).astype(np.int64).reshape(n_classes, n_classes)


def recalls(confusion: Counts) -> NDArray[np.float64]:
    """Return the recall (producer's accuracy) per class, (C,); nan for a class without true samples."""
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, np.diag(confusion) / np.maximum(totals, 1), np.nan)


def overall_accuracy(confusion: Counts) -> float:
    """OA = trace / N; nan without samples."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def average_accuracy(confusion: Counts) -> float:
    """AA = mean recall over the classes present in the truth; nan without samples."""
    recall = recalls(confusion)
    present = ~np.isnan(recall)
    return float(recall[present].mean()) if present.any() else float("nan")


def cohen_kappa(confusion: Counts) -> float:
    """Kappa = (OA - p_e) / (1 - p_e), p_e from the marginals; nan if p_e = 1 or without samples."""
    total = confusion.sum()
    if not total:
        return float("nan")
    expected = float(confusion.sum(axis=1) @ confusion.sum(axis=0)) / float(total) ** 2
    return float("nan") if expected == 1.0 else (overall_accuracy(confusion) - expected) / (1.0 - expected)


@dataclass(frozen=True)
class RoundRecord:
    """The results of one round.

    Attributes:
        round: 0 = initial labels only.
        n_labelled: Number of labels that the learner was trained on.
        confusion_all: Confusion matrix over candidates and test pixels, (C, C).
        confusion_heldout: Confusion matrix over test pixels; for `split=paper` over the candidates not yet labelled,
            (C, C).
        seconds_fit: Wall time of training.
        seconds_predict: Wall time of the prediction that serves both evaluation and acquisition.
        seconds_query: Wall time of selection and labelling.
        agreement: Cohen's kappa between the predictions of this and the previous round on the unlabelled pool, nan in
            round 0; None if no stopping rule needs it.
    """

    round: int
    n_labelled: int
    confusion_all: Counts
    confusion_heldout: Counts
    seconds_fit: float
    seconds_predict: float
    seconds_query: float
    agreement: float | None = None

    def row(self, label_values: Counts) -> dict[str, float]:
        """Return the row of curve.csv: accuracies as fractions, `agreement` if set, seconds, `recall_<label value>`.

        The recalls are those of `confusion_all`.

        Args:
            label_values: Original value of every class index, (C,).
        """
        row: dict[str, float] = {"round": self.round, "n_labelled": self.n_labelled}
        if self.agreement is not None:
            row["agreement"] = self.agreement
        for name, confusion in (("all", self.confusion_all), ("heldout", self.confusion_heldout)):
            row[f"oa_{name}"] = overall_accuracy(confusion)
            row[f"aa_{name}"] = average_accuracy(confusion)
            row[f"kappa_{name}"] = cohen_kappa(confusion)
        row |= {f"seconds_{part}": getattr(self, f"seconds_{part}") for part in ("fit", "predict", "query")}
        values = zip(label_values.tolist(), recalls(self.confusion_all).tolist(), strict=True)
        return row | {f"recall_{value}": recall for value, recall in values}
