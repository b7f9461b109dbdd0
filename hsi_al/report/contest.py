"""Methods against each other on the seeds that they share: values, paired differences, wins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from hsi_al.errors import RunDirectoryError
from hsi_al.report.series import Run, Series, distinct_names
from hsi_al.report.statistics import Paired, aulc, holm, labels_to_reach, paired, smallest_sign_flip

ALPHA = 0.05
MANY = 8  # methods beyond which every pair would be more than a reader reads
Scores = Mapping[str, Mapping[int, float]]
"""Method -> seed -> percent."""


@dataclass(frozen=True)
class Difference:
    """A method minus another.

    Attributes:
        row: The first method.
        column: The other.
        seeds: Those that both have.
        paired: Their differences, None without a shared seed.
        test: `t` or `sign-flip`: where `p` comes from.
        p: Corrected for the comparisons of its family (Holm); nan without a test.
    """

    row: str
    column: str
    seeds: tuple[int, ...]
    paired: Paired | None
    test: str = ""
    p: float = float("nan")

    @property
    def separated(self) -> bool:
        """Whether the corrected test tells the two apart."""
        return self.p <= ALPHA

    @property
    def verdict(self) -> str:
        """In words."""
        if self.paired is None:
            return "no shared seed"
        if self.paired.n < 2:
            return "one seed: no test"
        if not self.separated:
            return "not separated"
        return f"{self.row if self.paired.mean > 0 else self.column} higher ({self.test})"


@dataclass(frozen=True)
class Contest:
    """The methods of one scene, split and protocol.

    Attributes:
        name: Scene, protocol, split.
        methods: Runs by the method's name within the contest.
        measure: Column of curve.csv that is compared.
        reference: The method that the others are compared with, if any.
    """

    name: str
    methods: dict[str, list[Run]]
    measure: str
    reference: str | None

    @property
    def grid(self) -> list[int]:
        """Numbers of labels that every run has, ascending."""
        runs = [run for runs in self.methods.values() for run in runs]
        return sorted(set.intersection(*({row.n_labelled for row in run.rows} for run in runs)))

    def curve(self, run: Run, grid: Sequence[int] | None = None) -> tuple[list[int], list[float]]:
        """Numbers of labels and percent, where defined; on the grid only, or all."""
        points = [(row.n_labelled, 100 * float(getattr(row, self.measure))) for row in run.rows]
        kept = [(n, value) for n, value in points if (grid is None or n in grid) and not np.isnan(value)]
        return [n for n, _ in kept], [value for _, value in kept]

    def scores(self, value_of: Callable[[list[int], list[float]], float], grid: Sequence[int] | None) -> Scores:
        """A number per method and seed, made from its curve."""
        return {
            name: {run.seed: value_of(*self.curve(run, grid)) for run in runs} for name, runs in self.methods.items()
        }

    def quantities(self) -> dict[str, Scores]:
        """What methods are tested on: the end of the common range, and the area under the curve over it."""
        grid, found = self.grid, {}
        if grid:
            found[f"{grid[-1]} labels"] = self.scores(lambda _, values: values[-1] if values else np.nan, grid[-1:])
        if len(grid) > 1:
            found["AULC"] = self.scores(aulc, grid)
        return found

    def comparisons(self, scores: Scores) -> list[Difference]:
        """What is shown: every pair, or of many methods each against the reference, if there is one."""
        if self.reference is None or len(scores) <= MANY:
            return every_pair(scores)
        return against(scores, self.reference)

    def reach(self, level: float) -> Scores:
        """Labels that a level in percent takes, on each run's own curve."""
        return self.scores(lambda labels, values: labels_to_reach(labels, values, level), None)

    @property
    def rivals(self) -> list[str]:
        """The methods whose last accuracy the others have to reach: all, or among many methods the reference alone."""
        if not self.grid or len(self.methods) < 2:
            return []
        return list(self.methods) if len(self.methods) <= MANY else [self.reference] if self.reference else []

    def reach_rival(self, rival: str) -> Scores:
        """Labels for what the rival has on the same seed at the end of the common range, on the seeds of both."""
        ends = {run.seed: self.curve(run, self.grid[-1:])[1] for run in self.methods[rival]}
        return {
            name: {run.seed: labels_to_reach(*self.curve(run), ends[run.seed][0]) for run in runs if ends.get(run.seed)}
            for name, runs in self.methods.items()
        }


def contests_of(series: Sequence[Series], measure: str | None, reference: str | None) -> list[Contest]:
    """Put series into contests; unfinished runs take no part.

    Args:
        series: See `series_of`.
        measure: A column of curve.csv; None = held-out OA where the test set is fixed, else OA over all pixels.
        reference: Name of a method, or one of its settings such as an acquisition function; None = `random`, if there.

    Raises:
        RunDirectoryError: No contest has a method named as the reference, or one contest has several.
    """
    arenas: dict[tuple[str, ...], list[Series]] = {}
    for entry in series:
        finished = [run for run in entry.runs if run.meta.state != "running"]
        if finished:
            arenas.setdefault(entry.arena, []).append(replace(entry, runs=finished))
    contests = [_contest(arena, entries, measure, reference) for arena, entries in arenas.items()]
    if reference is not None and contests and all(contest.reference is None for contest in contests):
        names = ", ".join(dict.fromkeys(name for contest in contests for name in contest.methods))
        raise RunDirectoryError(f"No method is {reference!r}; --reference takes one of: {names}.")
    return contests


def _contest(arena: tuple[str, ...], entries: Sequence[Series], measure: str | None, reference: str | None) -> Contest:
    names = distinct_names([entry.settings for entry in entries])
    wanted = reference or "random"
    answering = [names[entry.settings] for entry in entries if wanted in entry.settings]
    known = [wanted] if wanted in names.values() else answering
    if reference is not None and len(known) > 1:
        raise RunDirectoryError(f"{reference!r} is several methods: {'; '.join(known)}. Give one whole name.")
    chosen = measure or ("oa_heldout" if entries[0].has_fixed_test_set else "oa_all")
    methods = {names[entry.settings]: entry.runs for entry in entries}
    return Contest(", ".join(arena), methods, chosen, known[0] if len(known) == 1 else None)


def differences(scores: Scores, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """Compare pairs of methods on their shared seeds; all pairs together are the family that is corrected for.

    The test of a pair depends on its number of seeds alone, never on its values: the exact sign-flip test where it can
    reach 5 % after the correction, else the t test, which takes the differences to be normal.
    """
    found = []
    for row, column in pairs:
        shared = sorted(scores[row].keys() & scores[column].keys())
        values = [scores[row][seed] - scores[column][seed] for seed in shared]
        seeds = tuple(seed for seed, value in zip(shared, values, strict=True) if not np.isnan(value))
        known = [value for value in values if not np.isnan(value)]
        found.append(Difference(row, column, seeds, paired(known) if known else None))
    n_tests = sum(len(entry.seeds) > 1 for entry in found)
    tests = ["sign-flip" if smallest_sign_flip(len(e.seeds)) * n_tests <= ALPHA else "t" for e in found]
    p_values = [
        float("nan") if e.paired is None else e.paired.p_t if test == "t" else e.paired.p_sign
        for e, test in zip(found, tests, strict=True)
    ]
    corrected = holm(p_values).tolist()
    return [replace(e, test=test, p=p) for e, test, p in zip(found, tests, corrected, strict=True)]


def every_pair(scores: Scores) -> list[Difference]:
    """Each method against each other one, once."""
    return differences(scores, list(combinations(scores, 2)))


def against(scores: Scores, reference: str) -> list[Difference]:
    """Each method against the reference, the highest first."""
    found = differences(scores, [(name, reference) for name in scores if name != reference])
    return sorted(found, key=lambda entry: -np.inf if entry.paired is None else entry.paired.mean, reverse=True)
