"""Accuracies from confusion matrices, whose rows are the true classes."""

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


def accuracies(confusion_all: Counts, confusion_heldout: Counts) -> dict[str, float]:
    """Return OA, AA and kappa over all pixels and over the held-out pixels, by the names of curve.csv's columns."""
    found = {}
    for name, confusion in (("all", confusion_all), ("heldout", confusion_heldout)):
        found[f"oa_{name}"] = overall_accuracy(confusion)
        found[f"aa_{name}"] = average_accuracy(confusion)
        found[f"kappa_{name}"] = cohen_kappa(confusion)
    return found
