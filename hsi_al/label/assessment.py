"""How accurate a map is, and how large each class is, from a stratified random sample of it with reference labels.

P. Olofsson, G. M. Foody, M. Herold, S. V. Stehman, C. E. Woodcock, M. A. Wulder, "Good practices for estimating area
and assessing accuracy of land change", Remote Sensing of Environment 148 (2014) 42-57. Its notation: the strata are the
classes of the map; n_ij of the sampled pixels of map class i have the reference class j, n_i. of them were sampled; N_i
pixels are mapped as i, N in all, and W_i = N_i / N. Intervals are 1.96 standard errors to either side, cut at 0 and 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SessionError
from hsi_al.report.run_files import class_counts
from hsi_al.scenes.arrays import blocks

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
QUANTILE = 1.96  # of the normal distribution, for 95 %
MOST_EQUAL = 25  # pixels that every class gets before the rest is shared in proportion
LEAST = 2  # pixels of a class: a variance needs two
BLOCK = 2**20  # pixels of a map looked through at once
FEW_WRONG = 10  # wrong pixels of a sample; with fewer the intervals hold the true value less often than they say


@dataclass(frozen=True)
class Estimate:
    """An estimate with the half width of its 95 % interval; NaN where it can't be told."""

    value: float
    half: float

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate of a multiple."""
        return Estimate(self.value * factor, self.half * factor)

    def to_json(self, most: float = 1.0) -> dict[str, Any] | None:
        """Return `estimate` and `interval` [low, high], None where they can't be told; None without an estimate."""
        if not np.isfinite(self.value):
            return None
        known = np.isfinite(self.half)
        interval = [max(0.0, self.value - self.half), min(most, self.value + self.half)] if known else None
        return {"estimate": self.value, "interval": interval}


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


def accuracy_of(counts: NDArray[np.integer[Any]], mapped: NDArray[np.integer[Any]]) -> Accuracy:
    """Estimate accuracies and areas.

    Equations of the paper: p_ij = W_i n_ij / n_i. (4); overall accuracy (1) and its variance (5), user's accuracy (2)
    and (6), producer's accuracy (3) and (7) with the estimated area of (8), shares of the area (9) with their standard
    errors (10), which (11) scales to areas.

    Args:
        counts: n_ij, (C, C): rows are classes of the map, columns those of the reference.
        mapped: N_i, (C,). A class without mapped pixels has no sampled ones; it may be a reference class.

    Returns:
        The estimates. The variance of a stratum with a single sampled pixel is unknown, and so are the half widths that
        depend on it. A stratum that was mapped but has no sampled pixel makes every estimate NaN.
    """
    n_ij, pixels = counts.astype(np.float64), mapped.astype(np.float64)
    n_i, weights = n_ij.sum(axis=1), pixels / pixels.sum()
    there = pixels > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        within = n_ij / n_i[:, None]  # of the pixels mapped as i, the share that is j
        # Variance of a share within a stratum, the same term in (5), (6), (7) and (10).
        variance = within * (1 - within) / (n_i - 1)[:, None]
        p_ij = np.where(there[:, None], weights[:, None] * within, 0.0)
        variance = np.where(there[:, None], variance, 0.0)
        right, users = np.diag(p_ij), np.where(there, np.diag(within), np.nan)
        overall = Estimate(float(right.sum()), half(float((weights**2 * np.diag(variance)).sum())))
        shares, share_variance = p_ij.sum(axis=0), (weights[:, None] ** 2 * variance).sum(axis=0)
        producers = right / shares
        own = weights**2 * np.diag(variance)
        others = share_variance - own
        # (7), divided by N^2: weights stand for numbers of pixels, and shares for the estimated areas of (8).
        producer_variance = ((1 - producers) ** 2 * own + producers**2 * others) / shares**2
        user_variance = np.where(there, np.diag(variance), np.nan)
    return Accuracy(
        overall,
        [Estimate(float(value), half(float(v))) for value, v in zip(users, user_variance, strict=True)],
        [Estimate(float(value), half(float(v))) for value, v in zip(producers, producer_variance, strict=True)],
        [Estimate(float(value), half(float(v))) for value, v in zip(shares, share_variance, strict=True)],
    )


def half(variance: float) -> float:
    """Return the half width of the 95 % interval of an estimate with this variance."""
    return float(QUANTILE * np.sqrt(max(variance, 0.0))) if np.isfinite(variance) else float("nan")


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
    single = [value for value, row in zip(values, counts, strict=True) if mapped.get(value, 0) and row.sum() == 1]
    named = [[names[value][0] if value in names else str(value) for value in some] for some in (without, single)]
    notes = notes_of(sample, n, *named)
    if not kept.any():
        nothing = [Estimate(float("nan"), float("nan"))] * len(values)
        found = Accuracy(nothing[0], nothing, nothing, nothing)
    else:
        found = accuracy_of(counts, kept)
    right, wrong = (
        [
            names[value][0]
            for number, value in enumerate(values)
            if value in names and (found.users[number].value, found.users[number].half) == (share, 0)
        ]
        for share in (1, 0)
    )
    if right:
        notes.append(
            f"Where no sampled pixel was wrong ({', '.join(right)}), the interval has no width; of n pixels without "
            "an error, up to about 3 / n may be wrong all the same."
        )
    if wrong:
        notes.append(
            f"Where every sampled pixel was wrong ({', '.join(wrong)}), the interval has no width; of n such pixels, "
            "up to about 3 / n may be right all the same."
        )
    total = float(kept.sum())
    return {
        "n": n,
        "answered": len(sample),
        "skipped": sum(reference is None for _, reference in sample),
        "overall": found.overall.to_json(),
        "classes": [
            {
                "value": value,
                "name": names[value][0] if value in names else str(value),
                "colour": names[value][1] if value in names else "#888888",
                "n": int(counts[number].sum()),
                "users": found.users[number].to_json(),
                "producers": found.producers[number].to_json(),
                "mapped_share": float(pixels[number] / max(1, pixels.sum())),
                "area": found.shares[number].to_json(),
                "hectares": None
                if hectares is None
                else found.shares[number].scaled(total * hectares).to_json(float("inf")),
            }
            for number, value in enumerate(values)
        ],
        "counts": counts.tolist(),
        "notes": notes,
    }


def notes_of(
    sample: Sequence[tuple[int, int | None]], n: int, without: Sequence[str], single: Sequence[str] = ()
) -> list[str]:
    """Return what the numbers of a report mean, in sentences.

    Args:
        sample: As for `report`.
        n: Size of the sample.
        without: Names of the classes of the map of which no pixel has an answer.
        single: Names of those of which one pixel has.
    """
    notes = [
        "The pixels were drawn at random from every class of the map, and answered without seeing it; labels that the "
        "map was made from are not counted.",
        "User's accuracy: of the pixels mapped as a class, the share that is. Producer's accuracy: of the pixels that "
        "are a class, the share mapped as it. The area is corrected for the errors found.",
        "In 95 of 100 large samples the interval holds the true value. That is the accuracy of this map of this scene, "
        "not of another map or place; an error in an answer counts as one of the map.",
    ]
    unsure = sum(reference is None for _, reference in sample)
    if len(sample) < n:
        notes.append(f"Only {len(sample)} of {n} pixels are answered: the numbers are preliminary.")
    wrong = sum(reference not in (None, shown) for shown, reference in sample)
    if sample and wrong < FEW_WRONG:
        notes.append(
            f"Only {wrong} of the pixels were wrong. With fewer than {FEW_WRONG} the intervals are too narrow: they "
            "miss the true value more often than 5 times in 100. Check more pixels before you quote them."
        )
    if unsure:
        notes.append(
            f"{unsure} pixels that could not be told are left out; if they are wrong more often than others, the map "
            "is less accurate than these numbers."
        )
    if single:
        notes.append(
            f"Of the pixels mapped as {', '.join(single)} only one has an answer, which tells no interval; check more "
            "pixels."
        )
    if without:
        notes.append(f"No pixel mapped as {', '.join(without)} has an answer: the numbers are about the other classes.")
    return notes
