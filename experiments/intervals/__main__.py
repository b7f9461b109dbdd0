"""How often the intervals of an accuracy check hold the true value: `python -m experiments.intervals`.

Maps are made up: class shares from a log-normal distribution, error rates that differ among classes (log-normal), and
errors that go to some classes more than to others (Dirichlet). In other maps one class covers 98 %, and the rest, in
equal parts, is wrong ten times as often. Each map is sampled again and again as a session does.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.label.assessment import QUANTILE, Accuracy, Estimate, accuracy_of, allocated
from hsi_al.report.contest_tables import markdown

OUT = Path(__file__).resolve().parents[1] / "results" / "intervals"
CLASSES, SIZES, ACCURACIES = (3, 9, 16), (50, 100, 300, 1000), (0.8, 0.94, 0.99, 0.998)
LARGEST, WORSE = 0.98, 10.0  # share of the class that covers nearly all, and errors of the others as multiples of its
MAPS, SAMPLES, PIXELS = 8, 200, 20_000
KINDS = ("overall", "users", "producers", "shares")


class MadeUp(NamedTuple):
    """A map of C classes whose truth is known.

    Attributes:
        mapped: Pixels of each class, (C,).
        within: Of the pixels mapped as i, the share that is j, (C, C).
    """

    mapped: NDArray[np.int64]
    within: NDArray[np.float64]

    def truth(self) -> dict[str, NDArray[np.float64]]:
        """Return the true value of every estimate, (1,) or (C,)."""
        cells = self.mapped[:, None] / self.mapped.sum() * self.within
        areas = cells.sum(axis=0)
        right = np.diag(cells)
        return {
            "overall": np.array([right.sum()]),
            "users": np.diag(self.within),
            "producers": right / areas,
            "shares": areas,
        }


def made_up(n_classes: int, accuracy: float, rng: np.random.Generator, uneven: bool = False) -> MadeUp:
    """Make a map of about this overall accuracy; `uneven` = one class covers `LARGEST` of it."""
    sizes, wrong = np.exp(rng.normal(0, 1, n_classes)), np.exp(rng.normal(0, 1, n_classes))
    if uneven:
        sizes = np.array([LARGEST, *np.full(n_classes - 1, (1 - LARGEST) / (n_classes - 1))])
        wrong = np.array([1.0, *np.full(n_classes - 1, WORSE)])
    mapped = np.maximum(20, sizes / sizes.sum() * PIXELS).astype(np.int64)
    wrong = np.minimum(wrong * (1 - accuracy) / (wrong @ mapped / mapped.sum()), 0.9)
    within = np.diag(1 - wrong)
    for number, share in enumerate(wrong):
        others = np.arange(n_classes) != number
        within[number, others] = share * rng.dirichlet(np.full(n_classes - 1, 0.5))
    return MadeUp(mapped, within)


def held(map_: MadeUp, n: int, samples: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return for every kind of estimate how often an interval holds the truth, and its mean width.

    Returns:
        (2, 2) each: rows are the package's intervals and 1.96 standard errors to either side; columns are share and
        width. Estimates that can't be told are left out.
    """
    truth, share = map_.truth(), allocated(map_.mapped, n)
    found: dict[str, list[list[list[float]]]] = {kind: [] for kind in KINDS}
    for _ in range(samples):
        counts = np.stack([rng.multinomial(size, row) for size, row in zip(share, map_.within, strict=True)])
        accuracy = accuracy_of(counts, map_.mapped)
        for kind in KINDS:
            for one, true in zip(estimates(accuracy, kind), truth[kind].tolist(), strict=True):
                half = QUANTILE * one.error
                ends = (one.low, one.high), (max(0.0, one.value - half), min(1.0, one.value + half))
                if np.isfinite(ends).all():
                    found[kind].append([[low - 1e-12 <= true <= high + 1e-12, high - low] for low, high in ends])
    return {kind: np.mean(parts, axis=0) for kind, parts in found.items()}


def estimates(accuracy: Accuracy, kind: str) -> list[Estimate]:
    """Return the estimates of a kind."""
    found = getattr(accuracy, kind)
    return found if isinstance(found, list) else [found]


def main() -> None:
    """Simulate, print and write the table."""
    rows = [["classes", "largest", "pixels", "map's OA", "overall", "user's", "producer's", "area"]]
    for uneven, n_classes, n, accuracy in product((False, True), CLASSES, SIZES, ACCURACIES):
        if n < 2 * n_classes:
            continue
        rng = np.random.default_rng([n_classes, n, round(1000 * accuracy)])
        maps = [held(made_up(n_classes, accuracy, rng, uneven), n, SAMPLES, rng) for _ in range(MAPS)]
        means = [100 * np.mean([one[kind] for one in maps], axis=0) for kind in KINDS]
        cells = [f"**{own[0]:.0f}** ({own[1]:.1f}); {plain[0]:.0f} ({plain[1]:.1f})" for own, plain in means]
        rows.append([str(n_classes), f"{LARGEST:.0%}" if uneven else "", str(n), f"{100 * accuracy:g}", *cells])
        print(rows[-1], flush=True)
    about = (
        f"`python -m experiments.intervals`, commit {git_commit()}: {MAPS} made-up maps a row, {SAMPLES} samples each, "
        "drawn as an accuracy check draws them. In bold how many of 100 intervals held the true value, and in brackets "
        "their mean width in percentage points; after the semicolon the same for 1.96 standard errors to either side, "
        "the intervals of Olofsson et al. (2014). They should be 95. Where a largest class is named it covers "
        f"{LARGEST:.0%} of every map, and the others are wrong {WORSE:g} times as often."
    )
    OUT.mkdir(exist_ok=True)
    replace_text(OUT / "README.md", f"# Do the intervals hold?\n\n{about}\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
