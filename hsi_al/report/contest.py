"""Contests: methods compared on the same scene, split and protocol, by paired differences on shared seeds and folds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from hsi_al.errors import RunDirectoryError
from hsi_al.report.series import Run, Series, Setting, Settings, Trial, distinct_names
from hsi_al.report.statistics import Paired, all_paired, aulc, holm, labels_to_reach, smallest_sign_flip

ALPHA = 0.05
NULL_MODEL = "nearest_label"  # learner that never looks at a spectrum
MANY = 8  # with more methods only the comparisons with the reference are shown
Scores = Mapping[str, Mapping[Trial, float]]
"""Method -> fold and seed -> percent."""


@dataclass(frozen=True)
class Difference:
    """The difference between two methods, row minus column, over the seeds and folds that both have.

    Attributes:
        row: Name of the first method.
        column: Name of the second method.
        trials: Folds and seeds on which both methods have a defined value.
        paired: Statistics of the differences on these, see `independent`; None without a shared seed.
        test: Test that `p` comes from, `t` or `sign-flip`.
        p: p value after Holm's correction for all comparisons made together; nan without a test.
    """

    row: str
    column: str
    trials: tuple[Trial, ...]
    paired: Paired | None
    test: str = ""
    p: float = float("nan")

    @property
    def separated(self) -> bool:
        """Whether the corrected p value is at most `ALPHA`."""
        return self.p <= ALPHA

    @property
    def verdict(self) -> str:
        """The result of the comparison in words."""
        if self.paired is None:
            return "no shared seed"
        if self.paired.n < 2:
            return "one fold: no test" if len(self.trials) > 1 else "one seed: no test"
        if not self.separated:
            return "not separated"
        return f"{self.row if self.paired.mean > 0 else self.column} higher ({self.test})"


@dataclass(frozen=True)
class Contest:
    """The methods that were run on the same scene with the same split and protocol.

    Attributes:
        name: Scene, protocol and split.
        methods: The runs of each method, one per fold and seed, by the method's name within the contest.
        measure: Column of curve.csv that is compared.
        reference: Name of the method that the others are compared with; None = no such method.
        undecided: Names of the methods of which each could be the reference, where there are several.
        question: The question that the test pixels ask, in words; empty where the split isn't known.
        null: Name of the method with the learner `NULL_MODEL`; of several the one with random queries or none; None =
            no such method.
    """

    name: str
    methods: dict[str, list[Run]]
    measure: str
    reference: str | None
    undecided: tuple[str, ...] = ()
    question: str = ""
    null: str | None = None

    @property
    def heading(self) -> str:
        """The question and the name."""
        return f"{self.question.capitalize()}: {self.name}" if self.question else self.name

    @property
    def several_folds(self) -> bool:
        """Whether there are runs of more than one fold."""
        return len({run.trial.fold for runs in self.methods.values() for run in runs}) > 1

    @cached_property
    def grid(self) -> list[int]:
        """Numbers of labels at which the measure is defined in every run that has any value of it, ascending."""
        known = [{*self.curve(run)[0]} for runs in self.methods.values() for run in runs]
        return sorted(set.intersection(*filter(None, known))) if any(known) else []

    @property
    def without(self) -> list[Run]:
        """The runs in which the measure is never defined."""
        return [run for runs in self.methods.values() for run in runs if not self.curve(run)[0]]

    @property
    def undefined(self) -> list[int]:
        """Numbers of labels that all runs have, but some without a value of the measure, ascending."""
        runs = [run for runs in self.methods.values() for run in runs]
        return sorted(set.intersection(*({row.n_labelled for row in run.rows} for run in runs)).difference(self.grid))

    def curve(self, run: Run, grid: Sequence[int] | None = None) -> tuple[list[int], list[float]]:
        """Return a run's numbers of labels and values of the measure in percent, where the measure is defined.

        With a grid, only the numbers of labels in it are returned.
        """
        points = [(row.n_labelled, 100 * float(getattr(row, self.measure))) for row in run.rows]
        kept = [(n, value) for n, value in points if (grid is None or n in grid) and not np.isnan(value)]
        return [n for n, _ in kept], [value for _, value in kept]

    def scores(self, value_of: Callable[[list[int], list[float]], float], grid: Sequence[int] | None) -> Scores:
        """Return a number per method and seed: `value_of` (labels, percent) of each run's curve, if it has any.

        With a grid, it is the curve on the grid, and runs without a value there are left out.
        """
        return {
            name: {
                run.trial: value_of(*curve)
                for run, curve in ((run, self.curve(run, grid)) for run in runs)
                if grid is None or curve[0]
            }
            for name, runs in self.methods.items()
        }

    @cached_property
    def quantities(self) -> dict[str, Scores]:
        """The scores that methods are tested on, by name.

        They are the value at the last common number of labels, and the area under the curve (AULC) over all common
        numbers of labels.
        """
        grid, found = self.grid, {}
        if grid:
            found[f"{grid[-1]} labels"] = self.scores(lambda _, values: values[-1], grid[-1:])
        if len(grid) > 1:
            found["AULC"] = self.scores(aulc, grid)
        return found

    @cached_property
    def gains(self) -> dict[str, Scores]:
        """How much each other method is above the null model, on the seeds that both have, by quantity; {} without it.

        Values are in percentage points.
        """
        return {
            f"{quantity} above {NULL_MODEL}": {
                name: by_trial(own, scores[self.null]) for name, own in scores.items() if name != self.null
            }
            for quantity, scores in self.quantities.items()
            if self.null is not None and len(self.methods) > 1
        }

    @cached_property
    def pairs(self) -> dict[str, list[Difference]]:
        """The comparisons of every pair of methods by quantity."""
        return {quantity: every_pair(scores, self.several_folds) for quantity, scores in self.quantities.items()}

    @cached_property
    def against_reference(self) -> dict[str, list[Difference]]:
        """The comparisons of each method with the reference by quantity; {} without a reference."""
        if self.reference is None:
            return {}
        by_fold = self.several_folds
        return {quantity: against(scores, self.reference, by_fold) for quantity, scores in self.quantities.items()}

    def comparisons(self, quantity: str) -> list[Difference]:
        """Return the comparisons to show: every pair, or with many methods each against the reference, if any."""
        shows_pairs = self.reference is None or len(self.methods) <= MANY
        return (self.pairs if shows_pairs else self.against_reference)[quantity]

    @cached_property
    def shared_seeds(self) -> list[int]:
        """The numbers of differences that pairs of methods are tested on, ascending: shared seeds, or folds."""
        found = set[int]()
        for scores in self.quantities.values():
            shared = [one.keys() & other.keys() for one, other in combinations(scores.values(), 2)]
            found |= {len(independent(dict.fromkeys(trials, 0.0), self.several_folds)) for trials in shared}
        return sorted(found)

    def reach(self, level: float) -> Scores:
        """Return the number of labels at which each run's own curve first reaches a level in percent."""
        return self.scores(lambda labels, values: labels_to_reach(labels, values, level), None)

    @property
    def rivals(self) -> list[str]:
        """The methods whose last accuracy the others have to reach: all, or with many methods only the reference."""
        if not self.grid or len(self.methods) < 2:
            return []
        return list(self.methods) if len(self.methods) <= MANY else [self.reference] if self.reference else []

    def reach_rival(self, rival: str) -> Scores:
        """Return the number of labels at which each method first reaches the rival's last common accuracy.

        This is the rival's accuracy on the same fold and seed at the last common number of labels.
        """
        ends = {run.trial: self.curve(run, self.grid[-1:])[1] for run in self.methods[rival]}
        return {
            name: {
                run.trial: labels_to_reach(*self.curve(run), ends[run.trial][0]) for run in runs if ends.get(run.trial)
            }
            for name, runs in self.methods.items()
        }


def contests_of(series: Sequence[Series], measure: str | None, reference: str | None) -> list[Contest]:
    """Divide series into contests, one per scene, split and protocol; unfinished runs are left out.

    Args:
        series: Groups of runs, see `series_of`.
        measure: Column of curve.csv; None = held-out OA where the test set is fixed, else OA over all pixels.
        reference: Name of a method, or one of its settings such as an acquisition function; None = `random`, if it was
            run.

    Raises:
        RunDirectoryError: No contest has a method that matches the reference, or one contest has several.
    """
    arenas: dict[Settings, list[Series]] = {}
    for entry in series:
        finished = [run for run in entry.runs if run.meta.state != "running"]
        if finished:
            arenas.setdefault(entry.arena, []).append(replace(entry, runs=finished))
    contests = [_contest(arena, entries, measure, reference) for arena, entries in arenas.items()]
    if reference is not None and contests and all(contest.reference is None for contest in contests):
        names = ", ".join(dict.fromkeys(name for contest in contests for name in contest.methods))
        raise RunDirectoryError(f"No method is {reference!r}; --reference takes one of: {names}.")
    return contests


def _contest(arena: Settings, entries: Sequence[Series], measure: str | None, reference: str | None) -> Contest:
    names = distinct_names([entry.settings for entry in entries])
    known = matching("random", names, "acquisition.name") if reference is None else answering(reference, names)
    known = ["random"] if reference is None and "random" in known else known  # the one without anything around it
    null = null_among(names)
    if reference is None and len(known) > 1:
        known = [name for name in known if name != null]
    if reference is not None and len(known) > 1:
        raise RunDirectoryError(
            f"--reference {reference!r} matches several methods: {'; '.join(known)}. Give the whole name of one."
        )
    chosen = measure or ("oa_heldout" if entries[0].has_fixed_test_set else "oa_all")
    methods = {names[entry.settings]: entry.runs for entry in entries}
    name = ", ".join(setting.text for setting in arena)
    decided, undecided = (known[0], ()) if len(known) == 1 else (None, tuple(known))
    return Contest(name, methods, chosen, decided, undecided, entries[0].question, null)


def null_among(names: Mapping[Settings, str]) -> str | None:
    """Return the method with the null model; of several the only one with random queries or none; else None."""
    found = {settings: name for settings, name in names.items() if Setting("learner.method", NULL_MODEL) in settings}
    plain = [name for acquisition in ("random", "none") for name in matching(acquisition, found, "acquisition.name")]
    known = plain if len(found) > 1 else [*found.values()]
    return known[0] if len(known) == 1 else None


def answering(reference: str, names: Mapping[Settings, str]) -> list[str]:
    """Return the methods that a reference stands for: of this name, acquisition function, or any other setting."""
    if reference in names.values():
        return [reference]
    return matching(reference, names, "acquisition.name") or matching(reference, names)


def matching(text: str, names: Mapping[Settings, str], *keys: str) -> list[str]:
    """Return the names of the methods with a setting of this text, of one of the keys if any are given."""
    return [
        name
        for settings, name in names.items()
        if any(setting.text == text and (setting.key in keys or not keys) for setting in settings)
    ]


def differences(scores: Scores, pairs: Sequence[tuple[str, str]], by_fold: bool = False) -> list[Difference]:
    """Compare pairs of methods on their shared seeds; p values are corrected for all these pairs together (Holm).

    `by_fold` is that of `independent`.

    The choice of a pair's test depends on its number of differences only, never on their values: the sign-flip
    test where it can give 5 % after the correction, else the t test, which assumes normally distributed differences.
    """
    by_pair = {(row, column): by_trial(scores[row], scores[column]) for row, column in pairs}
    judged = all_paired([independent(values, by_fold) for values in by_pair.values()])
    found = [
        Difference(row, column, tuple(values), entry)
        for ((row, column), values), entry in zip(by_pair.items(), judged, strict=True)
    ]
    counts = [0 if entry.paired is None else entry.paired.n for entry in found]
    n_tests = sum(n > 1 for n in counts)
    tests = ["sign-flip" if smallest_sign_flip(n) * n_tests <= ALPHA else "t" for n in counts]
    p_values = [
        float("nan") if e.paired is None else e.paired.p_t if test == "t" else e.paired.p_sign
        for e, test in zip(found, tests, strict=True)
    ]
    corrected = holm(p_values).tolist()
    return [replace(e, test=test, p=p) for e, test, p in zip(found, tests, corrected, strict=True)]


def by_trial(row: Mapping[Trial, float], column: Mapping[Trial, float]) -> dict[Trial, float]:
    """Return row minus column by shared fold and seed, ascending, where both are defined."""
    values = {trial: row[trial] - column[trial] for trial in sorted(row.keys() & column.keys())}
    return {trial: value for trial, value in values.items() if not math.isnan(value)}


def independent(values: Mapping[Trial, float], by_fold: bool = False) -> list[float]:
    """Return the differences that a test takes: those of the seeds of one fold, or of several folds the mean of each.

    With `by_fold`, where other methods of a contest have several folds, it is the mean of one fold, too.

    Seeds of one fold share their test pixels. Tests that took each of them for a draw of its own, beside those of other
    folds, would find differences that hold for these test pixels alone.
    """
    folds: dict[int, list[float]] = {}
    for trial in sorted(values):
        folds.setdefault(trial.fold, []).append(values[trial])
    if len(folds) == 1 and not by_fold:
        return next(iter(folds.values()))
    return [float(np.mean(own)) for own in folds.values()]


def every_pair(scores: Scores, by_fold: bool = False) -> list[Difference]:
    """Compare every pair of methods once."""
    return differences(scores, list(combinations(scores, 2)), by_fold)


def against(scores: Scores, reference: str, by_fold: bool = False) -> list[Difference]:
    """Compare each method with the reference; the highest mean difference comes first."""
    found = differences(scores, [(name, reference) for name in scores if name != reference], by_fold)
    return sorted(found, key=lambda entry: -np.inf if entry.paired is None else entry.paired.mean, reverse=True)
