"""The majority filter of a class map, which regularises the finished map and is no part of the method."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al.accuracy import accuracies, confusion_matrix

Classes = NDArray[np.unsignedinteger[Any]]
Ids = NDArray[np.int64]


def majority(classes: Classes, n_classes: int, side: int, absent: NDArray[np.bool_] | None = None) -> Classes:
    """Return a class map in which every pixel has the most frequent class of the square around it.

    Of equally frequent classes a pixel keeps its own, else takes the first. Pixels beyond the border don't vote.

    Args:
        classes: Class indices, (H, W).
        n_classes: Number of classes.
        side: Odd side of the square, pixels.
        absent: Pixels without data, (H, W), which don't vote and keep their class.
    """
    kept = classes.copy()
    best = np.zeros(classes.shape, np.int64)
    votes_for_own = np.zeros(classes.shape, np.int64)
    for value in range(n_classes):
        votes = classes == value
        if absent is not None:
            votes &= ~absent
        if not votes.any():
            continue
        shares = uniform_filter(votes.astype(np.float64), side, mode="constant")
        counts = np.rint(shares * side**2).astype(np.int64)
        more = counts > best
        kept[more], best[more] = value, counts[more]
        votes_for_own[classes == value] = counts[classes == value]
    own = votes_for_own == best
    if absent is not None:
        own |= absent
    kept[own] = classes[own]
    return kept


def filtered_accuracies(
    classes: Classes, filtered: Classes, truth: Ids, scored_ids: Ids, heldout_ids: Ids, n_classes: int
) -> dict[str, float]:
    """Return OA, AA and kappa of the filtered map over all scored and over the held-out pixels, by the curve's names.

    Those that are undefined, for want of held-out pixels, are left out.

    Args:
        classes: Class map of the method, (H, W); gives the share of pixels that the filter changed.
        filtered: Filtered class map, (H, W).
        truth: Class indices of `scored_ids`, (n,).
        scored_ids: Pixel ids with a known class, ascending, (n,).
        heldout_ids: Those that test the learner, (m,).
        n_classes: Number of classes.
    """
    predicted, heldout = filtered.ravel()[scored_ids].astype(np.int64), np.searchsorted(scored_ids, heldout_ids)
    found = accuracies(
        confusion_matrix(truth, predicted, n_classes), confusion_matrix(truth[heldout], predicted[heldout], n_classes)
    )
    defined = {name: value for name, value in found.items() if not np.isnan(value)}
    return defined | {"changed": float(np.mean(classes != filtered))}
