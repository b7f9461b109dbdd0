"""What learning curves over several seeds say, and how surely: pure functions on arrays."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2**14  # sign flips: exact up to 14 seeds, beyond that drawn
Floats = NDArray[np.float64]


def aulc(labels: ArrayLike, values: ArrayLike) -> float:
    """Area under a learning curve by the trapezoidal rule, divided by the range of labels: its mean height.

    Args:
        labels: Numbers of labels, ascending, (T,).
        values: Accuracies, (T,).

    Returns:
        In the unit of the values; nan for a single number of labels, which spans no range.
    """
    at, height = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    if len(at) < 2:
        return math.nan
    return float((np.diff(at) * (height[1:] + height[:-1]) / 2).sum() / (at[-1] - at[0]))


def labels_to_reach(labels: ArrayLike, values: ArrayLike, level: float) -> float:
    """Labels where a curve first reaches a level, linear between its points.

    Args:
        labels: Numbers of labels, ascending, (T,).
        values: Accuracies, (T,).
        level: In their unit.

    Returns:
        The first number of labels if the curve starts at the level or above (it may have been there before), infinity
        if it never gets there.
    """
    at, height = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    reached = np.flatnonzero(height >= level)
    if not len(reached):
        return math.inf
    first = int(reached[0])
    if first == 0:
        return float(at[0])
    share = (level - height[first - 1]) / (height[first] - height[first - 1])
    return float(at[first - 1] + share * (at[first] - at[first - 1]))


@dataclass(frozen=True)
class Paired:
    """Differences of two methods on the seeds that both have.

    Attributes:
        n: Number of differences.
        mean: Their mean.
        low: Lower end of Student's t interval of the mean, nan for fewer than two or for differences all equal.
        high: Its upper end.
        p_t: Two-sided p of the paired t test, nan for fewer than two; 1 for differences all equal, whose spread says
            nothing.
        p_sign: Two-sided p of the sign-flip permutation test, nan for fewer than two.
        wins: Differences above 0.
        ties: Differences of 0.
    """

    n: int
    mean: float
    low: float = math.nan
    high: float = math.nan
    p_t: float = math.nan
    p_sign: float = math.nan
    wins: int = 0
    ties: int = 0


def paired(differences: ArrayLike, confidence: float = CONFIDENCE) -> Paired:
    """Judge paired differences (n,), n >= 1."""
    found = np.asarray(differences, np.float64)
    n, mean = len(found), float(found.mean())
    wins, ties = int((found > 0).sum()), int((found == 0).sum())
    if n < 2:
        return Paired(n, mean, wins=wins, ties=ties)
    if found.std() <= 1e-12 * max(1.0, abs(mean)):  # nothing but rounding
        return Paired(n, mean, p_t=1.0, p_sign=sign_flip(found), wins=wins, ties=ties)
    test = scipy.stats.ttest_1samp(found, 0.0)
    low, high = test.confidence_interval(confidence)
    return Paired(n, mean, float(low), float(high), float(test.pvalue), sign_flip(found), wins, ties)


def sign_flip(differences: Floats) -> float:
    """Two-sided p of the mean under random signs (n,), n >= 2: of all 2^n, or beyond 14 of as many drawn."""
    test = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        random_state=0,
    )
    return float(test.pvalue)


def smallest_sign_flip(n: int) -> float:
    """The least two-sided p that the sign-flip test can give n differences: all signs alike, one way or the other."""
    return float(2.0 ** (1 - min(n, 14)))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down correction of p values (m,); nan stays nan and isn't counted.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    p = np.asarray(p_values, np.float64)
    corrected = np.full(len(p), math.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # nan is sorted behind all numbers
    steps = p[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected
