"""How accurate a map is, and how large each class is, from a stratified random sample of it with reference labels.

P. Olofsson, G. M. Foody, M. Herold, S. V. Stehman, C. E. Woodcock, M. A. Wulder, "Good practices for estimating area
and assessing accuracy of land change", Remote Sensing of Environment 148 (2014) 42-57. Its notation: the strata are the
classes of the map; n_ij of the sampled pixels of map class i have the reference class j, n_i. of them were sampled; N_i
pixels are mapped as i, N in all, and W_i = N_i / N.

Estimates and standard errors are the paper's. Its intervals, 1.96 standard errors to either side, are too narrow for
good maps: a class without an error in the sample gets an interval without width. The intervals here hold the true value
about 95 times in 100 for good maps, too (`python -m experiments.intervals`), and become the paper's where errors are
many:

- A share p of a stratified sample has the interval of Wilson (1927) for n = p (1 - p) / v pixels, where v is its
  variance (the effective sample size of Korn and Graubard, Survey Methodology 24 (1998) 193-201). So that v is right
  where a stratum shows no error, its shares are those of the counts after `PSEUDO` more pixels in every stratum, of
  which the share that is right is that of the whole sample, (right + 1) / (sampled + 2). For the overall accuracy n is
  at most the size of the sample: where one class covers nearly the whole map and shows no error, v is too small.
- An area is what is mapped as the class, less what of that is wrong, more what is missing. The intervals of the latter
  two are joined as Zou and Donner do (Statistics in Medicine 27 (2008) 1693-1702).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SessionError
from hsi_al.report.palette import GREY
from hsi_al.report.run_files import class_counts
from hsi_al.scenes.arrays import blocks

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
QUANTILE = 1.96  # of the normal distribution, for 95 %
PSEUDO = 4.0  # pixels that every stratum's counts are increased by for variances, as in Agresti and Coull (1998)
MOST_EQUAL = 25  # pixels that every class gets before the rest is shared in proportion
LEAST = 2  # pixels of a class: a variance needs two
MOST_SAMPLE = 10_000  # pixels of an assessment: they tell the overall accuracy to about 1 point
BLOCK = 2**20  # pixels of a map looked through at once


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error and 95 % interval; NaN where they can't be told."""

    value: float
    error: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate of a multiple."""
        return Estimate(*(number * factor for number in (self.value, self.error, self.low, self.high)))

    def to_json(self) -> dict[str, Any] | None:
        """Return `estimate`, `standard_error` (None where it can't be told), `interval`; None without an estimate."""
        if not np.isfinite(self.value):
            return None
        error = self.error if np.isfinite(self.error) else None
        return {"estimate": self.value, "standard_error": error, "interval": [self.low, self.high]}


SOME, SWAPPED = 10, 0.1  # answers, and the share of right ones below which they may use other numbers
UNKNOWN = Estimate(*[float("nan")] * 4)


@dataclass(frozen=True)
class Accuracy:
    """What a sample says about a map of C classes.

    Attributes:
        overall: Overall accuracy: the share of the map's pixels whose class is right.
        users: User's accuracy per class: of the pixels mapped as this class, the share that is.
        producers: Producer's accuracy per class: of the pixels that are this class, the share that is mapped as it.
        shares: Share of the area that is this class, corrected for the errors of the map.
    """

    overall: Estimate
    users: list[Estimate]
    producers: list[Estimate]
    shares: list[Estimate]


class Shares(NamedTuple):
    """Shares of the map in which C classes of the map and of the reference meet, with their variances.

    Attributes:
        cells: p_ij, the share of the map that is mapped as i and is j, (C, C).
        variances: Those of p_ij, (C, C); strata are independent.
    """

    cells: Floats
    variances: Floats

    def overall(self) -> tuple[float, float]:
        """Return overall accuracy (1) and its variance (5)."""
        return float(np.trace(self.cells)), float(np.trace(self.variances))

    def producers(self) -> tuple[Floats, Floats]:
        """Return producer's accuracies (3), (C,), and their variances (7).

        The paper's (7) is divided by N^2: shares stand for numbers of pixels, estimated areas of (8) among them.
        """
        right, areas, own = np.diag(self.cells), self.cells.sum(axis=0), np.diag(self.variances)
        found = right / areas
        others = self.variances.sum(axis=0) - own
        return found, ((1 - found) ** 2 * own + found**2 * others) / areas**2


def shares_of(within: Floats, weights: Floats, free: Floats) -> Shares:
    """Return the shares (4) of the map.

    Args:
        within: Of the pixels mapped as i, the share that is j, (C, C).
        weights: W_i, (C,).
        free: What the variance of a share within stratum i is divided by, (C,).
    """
    there = weights[:, None] > 0
    cells = np.where(there, weights[:, None] * within, 0.0)
    variances = np.where(there, weights[:, None] ** 2 * within * (1 - within) / free[:, None], 0.0)
    return Shares(cells, variances)


def accuracy_of(counts: NDArray[np.integer[Any]], mapped: NDArray[np.integer[Any]]) -> Accuracy:
    """Estimate accuracies and areas.

    Equations of the paper: p_ij = W_i n_ij / n_i. (4); overall accuracy (1) and its variance (5), user's accuracy (2)
    and (6), producer's accuracy (3) and (7) with the estimated area of (8), shares of the area (9) with their standard
    errors (10), which (11) scales to areas. For the intervals see the module.

    Args:
        counts: n_ij, (C, C): rows are classes of the map, columns those of the reference.
        mapped: N_i, (C,). A class without mapped pixels has no sampled ones; it may be a reference class.

    Returns:
        The estimates. The variance of a stratum with a single sampled pixel is unknown, and so are the standard errors
        that depend on it; the intervals aren't. A stratum that was mapped but has no sampled pixel makes every estimate
        NaN.
    """
    n_ij, pixels = counts.astype(np.float64), mapped.astype(np.float64)
    n_i, weights = n_ij.sum(axis=1), pixels / pixels.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = shares_of(n_ij / n_i[:, None], weights, n_i - 1)
        more = shares_of(with_pseudo(n_ij) / (n_i[:, None] + PSEUDO), weights, n_i)
        right, users = np.diag(seen.cells), np.diag(n_ij) / n_i
        value, variance, share, share_variance = map(np.array, (*seen.overall(), *more.overall()))
        overall = estimated(value, variance, share, share_variance, float(n_ij.sum()))
        producers = estimated(*seen.producers(), *more.producers())
        user_errors = np.sqrt(np.diag(seen.variances)) / weights
        low, high = wilson(users, n_i)
        # Areas: what is mapped as a class and isn't it (wrong), what is the class and isn't mapped as it (missed).
        areas, errors = seen.cells.sum(axis=0), np.sqrt(seen.variances.sum(axis=0))
        wrong = np.where(weights > 0, [weights - right, weights * (1 - high), weights * (1 - low)], 0.0)
        missed = missed_share(seen.cells, more)
        below = np.hypot(missed[0] - missed[1], wrong[2] - wrong[0])
        above = np.hypot(missed[2] - missed[0], wrong[0] - wrong[1])
    return Accuracy(
        overall[0],
        listed(users, user_errors, low, high),
        producers,
        listed(areas, errors, np.maximum(areas - below, 0.0), np.minimum(areas + above, 1.0)),
    )


def with_pseudo(n_ij: Floats) -> Floats:
    """Return counts (C, C) with `PSEUDO` more pixels in each stratum, right as often as all are, wrong ones evenly."""
    size = len(n_ij)
    right = (np.trace(n_ij) + 1) / (n_ij.sum() + 2)
    added = np.full((size, size), (1 - right) / max(1, size - 1))
    np.fill_diagonal(added, right)
    found: Floats = n_ij + PSEUDO * added
    return found


def missed_share(cells: Floats, more: Shares) -> Floats:
    """Return the share of the map that is a class but mapped otherwise, and its interval, (3, C)."""
    parts = []
    for matrix in (cells, more.cells, more.variances):
        others = matrix.copy()
        np.fill_diagonal(others, 0.0)
        parts.append(others.sum(axis=0))
    seen, share, variance = parts
    return np.array([seen, *interval(seen, share, variance)])


def estimated(
    value: Floats, variance: Floats, share: Floats, share_variance: Floats, most: float = np.inf
) -> list[Estimate]:
    """Return estimates with these variances, (C,) or (); for share, its variance and `most` see `interval`."""
    return listed(value, np.sqrt(variance), *interval(value, share, share_variance, most))


def interval(seen: Floats, share: Floats, variance: Floats, most: float = np.inf) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % intervals of shares that are seen, for a sample as large as share and variance say.

    It is at most as large as `most`. A variance of 0 is that of what is certain: with one class mapped, every pixel of
    it is mapped as it.
    """
    low, high = wilson(seen, np.minimum(share * (1 - share) / variance, most))
    return np.where(variance == 0, seen, low), np.where(variance == 0, seen, high)


def listed(*columns: Floats) -> list[Estimate]:
    """Return the estimates whose values, errors, lower and upper ends are given, (C,) or () each."""
    return [Estimate(*row) for row in np.atleast_2d(np.stack(columns, axis=-1)).tolist()]


def wilson(shares: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return the ends of Wilson's 95 % intervals of shares seen in n pixels each."""
    z2 = QUANTILE**2
    centre = (shares + z2 / (2 * n)) / (1 + z2 / n)
    half = QUANTILE / (1 + z2 / n) * np.sqrt(shares * (1 - shares) / n + z2 / (4 * n * n))
    return np.minimum(np.maximum(centre - half, 0.0), shares), np.maximum(np.minimum(centre + half, 1.0), shares)


def require_sample(n: int) -> None:
    """Raise SessionError if so many pixels assess no map, or no person would ever have answered them."""
    if n < LEAST:
        raise SessionError(
            f"A sample of {n} pixels tells nothing; it takes {LEAST} or more of each class, such as 200 in all."
        )
    if n > MOST_SAMPLE:
        raise SessionError(
            f"A sample of {n:,} pixels is more than a person can check; take {MOST_SAMPLE:,} or fewer. 400 tell the "
            "overall accuracy of most maps to about 5 points or better, 1,000 to 3, 10,000 to 1."
        )


def allocated(mapped: Ids, n: int) -> Ids:
    """Share a sample among the classes of a map, (C,).

    Half of it, but at most `MOST_EQUAL` pixels a class, is shared equally, so that rare classes have an accuracy, too;
    the rest in proportion to their pixels, which serves the overall accuracy (section 5.1.2 of the paper). No class
    gets more pixels than it has.

    Args:
        mapped: Pixels of each class, (C,), some of which may be 0.
        n: Size of the sample.

    Raises:
        SessionError: It is less than two pixels a class.
    """
    there = np.flatnonzero(mapped)
    if n < LEAST * len(there):
        raise SessionError(
            f"A sample of {n} pixels is too small to assess a map of {len(there)} classes; take "
            f"{LEAST * len(there)} or more."
        )
    shares = np.zeros(len(mapped), np.int64)
    shares[there] = np.minimum(mapped[there], max(LEAST, min(MOST_EQUAL, n // (2 * len(there)))))
    while (rest := min(n, int(mapped.sum())) - int(shares.sum())) > 0:
        room = mapped - shares
        weights = np.where(room > 0, mapped, 0)
        exact = rest * weights / weights.sum()
        added = np.floor(exact).astype(np.int64)
        remainders = np.where(room > 0, exact - added, -1.0)
        added[np.argsort(-remainders, kind="stable")[: rest - added.sum()]] += 1
        added = np.minimum(added, room)  # what a full class can't take is shared again
        shares += added
    return shares


def drawn(classes: NDArray[np.unsignedinteger[Any]], n: int, rng: np.random.Generator) -> Ids:
    """Draw a stratified random sample of a map (N,), 0 = not mapped; pixel ids in random order.

    Raises:
        SessionError: It is too small for the classes of the map, or nothing is mapped.
    """
    mapped = class_counts(classes)
    if not mapped:
        raise SessionError("There is no map to assess yet; label pixels of two classes or more.")
    shares = allocated(np.array([*mapped.values()], np.int64), n).tolist()
    # Of each class the numbers of its drawn pixels, counted in the order of the map: ids of all pixels take too much.
    wanted = {
        value: np.sort(rng.choice(count, share, replace=False))
        for (value, count), share in zip(mapped.items(), shares, strict=True)
    }
    found, seen = [], dict.fromkeys(mapped, 0)
    for first, last in blocks(len(classes), BLOCK):
        part = classes[first:last]
        for value, count in class_counts(part).items():
            low, high = np.searchsorted(wanted[value], (seen[value], seen[value] + count))
            if low < high:
                found.append(first + np.flatnonzero(part == value)[wanted[value][low:high] - seen[value]])
            seen[value] += count
    return rng.permutation(np.concatenate(found)).astype(np.int64)


def report(
    mapped: Mapping[int, int],
    sample: Sequence[tuple[int, int | None]],
    n: int,
    names: Mapping[int, tuple[str, str]],
    hectares: float | None = None,
) -> dict[str, Any]:
    """Return the report of an assessment as the page shows it.

    Args:
        mapped: Label value -> pixels of the frozen map.
        sample: Label value of the map and reference label value (None = can't tell) of every pixel answered so far.
        n: Size of the sample.
        names: Label value -> name and colour.
        hectares: Area of a pixel; None = unknown.
    """
    values = sorted(names.keys() | mapped.keys())
    place = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(values), len(values)), np.int64)
    for shown, reference in sample:
        if reference is not None:
            counts[place[shown], place[reference]] += 1
    pixels = np.array([mapped.get(value, 0) for value in values], np.int64)
    without = [value for value, row in zip(values, counts, strict=True) if mapped.get(value, 0) and not row.sum()]
    kept = np.where(counts.sum(axis=1) > 0, pixels, 0)
    notes = notes_of(sample, n, [names[value][0] if value in names else str(value) for value in without])
    found = accuracy_of(counts, kept) if kept.any() else Accuracy(UNKNOWN, *[[UNKNOWN] * len(values)] * 3)
    total = float(kept.sum())
    # Ground that nobody has looked at may hold any amount of a class.
    users, producers, shares = (
        [UNKNOWN if value in without else one for value, one in zip(values, column, strict=True)]
        for column in (found.users, found.producers, found.shares)
    )
    told = int(counts.sum())
    if told >= SOME and np.trace(counts) < SWAPPED * told:
        notes.append("Nearly all answers differ from the map: are the numbers of the classes swapped?")
    return {
        "n": n,
        "answered": len(sample),
        "skipped": sum(reference is None for _, reference in sample),
        "overall": found.overall.to_json(),
        "classes": [
            {
                "value": value,
                "name": names[value][0] if value in names else str(value),
                "colour": names[value][1] if value in names else GREY,
                "n": int(counts[number].sum()),
                "users": users[number].to_json(),
                "producers": producers[number].to_json(),
                "mapped_share": float(pixels[number] / max(1, pixels.sum())),
                "area": shares[number].to_json(),
                "hectares": None if hectares is None else shares[number].scaled(total * hectares).to_json(),
            }
            for number, value in enumerate(values)
        ],
        "counts": counts.tolist(),
        "notes": notes,
    }


def notes_of(sample: Sequence[tuple[int, int | None]], n: int, without: Sequence[str]) -> list[str]:
    """Return what the numbers of a report mean, in sentences.

    Args:
        sample: As for `report`.
        n: Size of the sample.
        without: Names of the classes of the map of which no pixel has an answer.
    """
    notes = [
        "The pixels were drawn at random from every class of the map, and answered without seeing it: labels that the "
        "map was made from tell nothing here.",
        "User's accuracy: of the pixels mapped as a class, the share that is. Producer's accuracy: of the pixels that "
        "are a class, the share mapped as it. The area is corrected for the errors found.",
        "In about 95 of 100 samples the interval holds the true value, less often for single classes where one class "
        "covers nearly all of the map. That is the accuracy of this map of this scene, "
        "not of another map or place; an error in an answer counts as one of the map.",
    ]
    unsure = sum(reference is None for _, reference in sample)
    if len(sample) < n:
        notes.append(f"Only {len(sample)} of {n} pixels are answered: the numbers are preliminary.")
    if unsure:
        notes.append(
            f"{unsure} pixels that could not be told are left out; if they are wrong more often than others, the map "
            "is less accurate than these numbers."
        )
    if without:
        notes.append(
            f"No pixel mapped as {', '.join(without)} has an answer: the numbers are about the other classes, the "
            "estimated areas about the ground that is mapped as these."
        )
    return notes
