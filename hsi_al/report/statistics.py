"""Statistics of learning curves over several seeds: areas, labels needed and paired tests, as functions on arrays."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2**14  # sign flips: all of them up to 14 seeds, a random sample with more
MOST_NUMBERS = 2**22  # held at once by the sign flips of several sets of differences: 32 MiB
Floats = NDArray[np.float64]


def aulc(labels: ArrayLike, values: ArrayLike) -> float:
    """Return the area under a learning curve divided by its range of labels: the curve's mean height.

    The area is computed by the trapezoidal rule.

    Args:
        labels: Numbers of labels, ascending, (T,).
        values: Accuracies, (T,).

    Returns:
        The mean height in the unit of the values; nan for a single number of labels, which spans no range.
    """
    at, height = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    if len(at) < 2:
        return math.nan
    return float((np.diff(at) * (height[1:] + height[:-1]) / 2).sum() / (at[-1] - at[0]))


def labels_to_reach(labels: ArrayLike, values: ArrayLike, level: float) -> float:
    """Return the number of labels at which a curve first reaches a level, by linear interpolation.

    Args:
        labels: Numbers of labels, ascending, (T,).
        values: Accuracies, (T,); rounds in which it is NaN are left out.
        level: Accuracy to reach, in the unit of the values.

    Returns:
        The number of labels; the first of `labels` if the curve starts at the level or above (fewer might have been
        enough), infinity if it never reaches the level.
    """
    at, height = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    at, height = at[~np.isnan(height)], height[~np.isnan(height)]
    reached = np.flatnonzero(height >= level - 1e-9)  # 57 % as a fraction times 100 is a little less
    if not len(reached):
        return math.inf
    first = int(reached[0])
    if first == 0:
        return float(at[0])
    share = min(1.0, (level - height[first - 1]) / (height[first] - height[first - 1]))
    return float(at[first - 1] + share * (at[first] - at[first - 1]))


@dataclass(frozen=True)
class Paired:
    """Statistics of the differences between two methods, one difference per seed that both have.

    Attributes:
        n: Number of differences.
        mean: Mean of the differences.
        low: Lower end of Student's t interval of the mean; nan for fewer than two or for equal differences.
        high: Upper end of that interval.
        p_t: Two-sided p of the paired t test; nan for fewer than two differences, 1 for equal ones, whose spread of 0
            permits no test.
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


def all_paired(differences: Sequence[Sequence[float]]) -> list[Paired | None]:
    """Return the statistics of each of several sets of paired differences; None for an empty set.

    Sets of the same size are tested together, which takes a fraction of the time.
    """
    found: list[Paired | None] = [None] * len(differences)
    sizes = np.array([len(values) for values in differences])
    for n in np.unique(sizes[sizes > 0]):
        rows = max(1, MOST_NUMBERS // (int(n) * min(2 ** int(n), RESAMPLES)))
        places = np.flatnonzero(sizes == n)
        for part in np.split(places, range(rows, len(places), rows)):
            values = np.array([differences[place] for place in part], np.float64)
            for place, judged in zip(part, _paired(values), strict=True):
                found[place] = judged
    return found


def _paired(values: Floats) -> Iterator[Paired]:
    """Yield the statistics of each row of differences (m, n), n >= 1."""
    n, means = values.shape[1], values.mean(axis=1)
    counts = zip((values > 0).sum(axis=1).tolist(), (values == 0).sum(axis=1).tolist(), strict=True)
    low, high, p_t, p_sign = np.full((4, len(values)), math.nan)
    if n > 1:
        p_t[:], p_sign = 1.0, sign_flip(values)
        vary = values.std(axis=1) > 1e-12 * np.maximum(1.0, np.abs(means))  # others are equal up to rounding
        if vary.any():
            test = scipy.stats.ttest_1samp(values[vary], 0.0, axis=1)
            p_t[vary] = test.pvalue
            low[vary], high[vary] = test.confidence_interval(CONFIDENCE)
    numbers = np.stack([means, low, high, p_t, p_sign], axis=1).tolist()
    for row, (wins, ties) in zip(numbers, counts, strict=True):
        yield Paired(n, row[0], row[1], row[2], row[3], row[4], wins, ties)


def sign_flip(differences: Floats) -> Floats:
    """Return the two-sided p of the sign-flip permutation test of the mean of differences (n,) or (m, n), n >= 2.

    Up to n = 14 all 2^n sign patterns are used, beyond that 2^14 random ones.
    """
    test = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        axis=-1,
        random_state=0,
    )
    return np.asarray(test.pvalue, np.float64)


def smallest_sign_flip(n: int) -> float:
    """Return the smallest two-sided p that the sign-flip test can give n differences, reached if all signs agree."""
    return float(2.0 ** (1 - min(n, 14)))


def holm(p_values: ArrayLike) -> Floats:
    """Return p values (m,) after Holm's step-down correction; nan stays nan and doesn't count as a test.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    p = np.asarray(p_values, np.float64)
    corrected = np.full(len(p), math.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # argsort puts nan last
    steps = p[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected
