"""The tables of a contest: methods, labels needed, differences and wins, and notes that explain the numbers."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hsi_al.report.contest import ALPHA, MANY, Contest, Difference, Scores, by_trial
from hsi_al.report.series import Run, counted, listed
from hsi_al.report.statistics import CONFIDENCE, smallest_sign_flip

MEASURES = ("oa_all", "aa_all", "kappa_all", "oa_heldout", "aa_heldout", "kappa_heldout")
NAMES = dict(zip(MEASURES, ("OA", "AA", "kappa", "OA held-out", "AA held-out", "kappa held-out"), strict=True))
Table = list[list[str]]
BAR = r"\|"  # a vertical bar within a cell of a Markdown table


@dataclass(frozen=True)
class Section:
    """A table with its title; `depth` is the level of the heading in Markdown."""

    title: str
    table: Table
    depth: int = 3


def percent(mean: float, spread: float) -> str:
    """Format a mean and its standard deviation, given as fractions, in percent; `-` where undefined."""
    return mean_and_spread(100 * mean, 100 * spread)


def mean_and_spread(mean: float, spread: float, sign: str = "-") -> str:
    """Format `mean ± spread` with two decimals, without a NaN spread; `-` where the mean is undefined.

    With `sign="+"` a positive mean has a sign, too.
    """
    if math.isnan(mean):
        return "-"
    return f"{mean:{sign}.2f}" + ("" if math.isnan(spread) else f" ± {spread:.2f}")


def over_seeds(values: Sequence[float], sign: str = "-") -> str:
    """Format the mean and sample standard deviation of the values that aren't NaN, as `mean_and_spread` does."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    return mean_and_spread(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else math.nan, sign)


def sections(contest: Contest, levels: Sequence[float]) -> Iterator[Section]:
    """Yield all tables of a contest; `levels` are in percent."""
    quantities = contest.quantities
    yield Section(f"{contest.heading}: {NAMES[contest.measure]} %", methods_table(contest, quantities, levels), 2)
    if contest.rivals:
        title = f"Labels that the row needs to reach the column's {NAMES[contest.measure]} at {contest.grid[-1]} labels"
        yield Section(f"{title} (shared seeds; same row and column: when first reached)", savings_table(contest))
    for name, scores in quantities.items():
        if contest.reference is not None and len(scores) > 1:
            found = contest.against_reference[name]
            yield Section(f"{name}: against {contest.reference} ({family(found)})", differences_table(found))
        if 2 < len(scores) <= MANY or (contest.reference is None and len(scores) > 1):
            found = contest.pairs[name]
            yield Section(f"{name}: every pair ({family(found)})", differences_table(found))
        if len(scores) > 1:
            yield Section(f"{name}: on how many shared seeds the row beats the column", wins_table(scores))


def family(found: Sequence[Difference]) -> str:
    """Say how many tests the p values are corrected for."""
    n_tests = sum(entry.paired is not None and entry.paired.n > 1 for entry in found)
    return f"Holm over {n_tests} test{'s' if n_tests > 1 else ''}" if n_tests else "no test"


def methods_table(contest: Contest, quantities: dict[str, Scores], levels: Sequence[float]) -> Table:
    """Return a header and one row per method.

    The columns are the seeds, the quantities, how far they are above the null model if there is one, the labels needed
    to reach each level, and the part of the test pixels that lie in training patches.
    """
    header = ["method", "seed numbers", *quantities, *contest.gains]
    header += [f"labels to {level:g} %" for level in levels] + ["test in patches %"]
    rows = []
    reaches = [contest.reach(level) for level in levels]
    for name, runs in contest.methods.items():
        cells = [over_seeds(list(scores[name].values())) for scores in quantities.values()]
        cells += [over_seeds(list(gain.get(name, {}).values()), "+") for gain in contest.gains.values()]
        reached = [reach_cell(contest, runs, list(reach[name].values())) for reach in reaches]
        rows.append([name, listed([run.trial for run in runs]), *cells, *reached, overlap_cell(runs)])
    return [header, *rows]


def savings_table(contest: Contest) -> Table:
    """Return a header and one row per method: the labels it needs to reach each rival's last common accuracy.

    A rival itself may have reached this accuracy with fewer labels, before its curve fell again.
    """
    rows = [[name] for name in contest.methods]
    for rival in contest.rivals:
        reached = contest.reach_rival(rival)
        for row, (name, runs) in zip(rows, contest.methods.items(), strict=True):
            shared = [run for run in runs if run.trial in reached[name]]
            row.append(reach_cell(contest, shared, list(reached[name].values())))
    return [["method", *contest.rivals], *rows]


def reach_cell(contest: Contest, runs: Sequence[Run], reached: Sequence[float]) -> str:
    """Format the numbers of labels needed, one per run, as mean ± standard deviation over the runs.

    Runs that never reached the level (inf), or had reached it at their first number of labels, are counted but not
    averaged.
    """
    curves, seeds = [contest.curve(run)[0] for run in runs], "runs" if contest.several_folds else "seeds"
    never = [labels[-1] for labels, n in zip(curves, reached, strict=True) if math.isinf(n) and labels]
    at_once = [n for labels, n in zip(curves, reached, strict=True) if labels and n == labels[0]]
    between = [n for labels, n in zip(curves, reached, strict=True) if not math.isinf(n) and n != labels[0]]
    parts = []
    for sign, bounds in (("≤", at_once), (">", never)):
        if bounds:
            bound = f"{sign} {max(bounds) if sign == '≤' else min(bounds):g}"
            parts.append(bound + ("" if len(runs) == 1 else f" ({len(bounds)} of {len(runs)} {seeds})"))
    if between:
        spread = f" ± {np.std(between, ddof=1):.0f}" if len(between) > 1 else ""
        mean = f"{np.mean(between):.0f}{spread}"
        parts.insert(0, mean + (f" ({len(between)} of {len(runs)} {seeds})" if parts else ""))
    return ", ".join(parts) or "-"


def overlap_cell(runs: Sequence[Run]) -> str:
    """Format the mean percentage of test pixels in training patches after the last round; `-` if a run has none."""
    shares = [run.meta.overlap.last_percent if run.meta.overlap else "-" for run in runs]
    return "-" if "-" in shares else f"{np.mean([float(share) for share in shares]):.1f}"


def differences_table(found: Sequence[Difference]) -> Table:
    """Return a header and one row per comparison; differences are in percentage points."""
    header = ["comparison", "seeds", "difference", f"{100 * CONFIDENCE:g} % CI"]
    header += ["p t", "p sign-flip", "p Holm", "test", "result"]
    rows = []
    for entry in found:
        cells = [f"{entry.row} minus {entry.column}", counted(entry.trials)]
        if entry.paired is None:
            rows.append([*cells, *["-"] * 6, entry.verdict])
            continue
        judged = entry.paired
        interval = "-" if math.isnan(judged.low) else f"{judged.low:+.2f} to {judged.high:+.2f}"
        p_values = [p_text(judged.p_t), p_text(judged.p_sign), p_text(entry.p)]
        test = "-" if math.isnan(entry.p) else entry.test
        rows.append([*cells, f"{judged.mean:+.2f}", interval, *p_values, test, entry.verdict])
    return [header, *rows]


def p_text(p: float) -> str:
    """Format a p value with three decimals, or as `< 0.001`; `-` for NaN."""
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def wins_table(scores: Scores) -> Table:
    """Return a header and one row per method: its wins against each other method, see `win_cell`."""
    rows = [[name, *(win_cell(scores, name, other) for other in scores)] for name in scores]
    return [["row beats column", *scores], *rows]


def win_cell(scores: Scores, row: str, column: str) -> str:
    """Format the wins on shared seeds, such as `2/3` or `1/3, 1 tie`; `-` without shared seeds."""
    wins, ties, n = win_counts(scores, row, column)
    if row == column or not n:
        return "-"
    return f"{wins}/{n}" + (f", {ties} tie{'s' if ties > 1 else ''}" if ties else "")


def win_counts(scores: Scores, row: str, column: str) -> tuple[int, int, int]:
    """Return the numbers of wins, ties and shared seeds, without seeds whose difference is NaN."""
    known = by_trial(scores[row], scores[column]).values()
    return sum(value > 0 for value in known), sum(value == 0 for value in known), len(known)


def notes(contest: Contest) -> list[str]:
    """Return sentences that explain the tables of a contest and their limits."""
    grid, runs = contest.grid, [run for found in contest.methods.values() for run in found]
    if not grid:
        nothing = f"{contest.name}: no number of labels is common to all runs, so nothing is compared."
        return [nothing, *gaps_note(contest)]
    ends = {run.rows[-1].n_labelled for run in runs}
    numbers = f"over the {len(grid)} numbers of labels" if len(grid) > 1 else "at the one number of labels"
    span = f"{grid[0]} to {grid[-1]}" if len(grid) > 1 else f"{grid[0]}"
    longer = f"; the longest run has {max(ends)}" if max(ends) > grid[-1] else ""
    whose = f"all {len(runs)} runs have" if len(runs) > 1 else "its run has"
    about = f"{NAMES[contest.measure]} {numbers} that {whose}, {span}{longer}"
    lines = [f"{contest.name}: {about}.", *gaps_note(contest)]
    if contest.several_folds:
        lines.append(
            "Means and spreads are over folds (divisions into candidates and test pixels) and seeds together. Seeds of "
            "one fold share their test pixels, so that a test takes the mean difference of each fold as one value."
        )
    if len(contest.undecided) > 1:
        lines.append(
            "Several methods use random queries, so none is the reference; --reference with the whole name of one "
            "tests the others against it."
        )
    lines += [f"{run.path} stopped early: {run.meta.stopped}." for run in runs if run.meta.stopped]
    if len(grid) > 1:
        lines.append(
            "AULC: area under the learning curve by the trapezoidal rule over these numbers of labels, divided by "
            "their range: the mean height of the curve, in percent."
        )
    else:
        lines.append("A single number of labels has no area under the curve.")
    if contest.null is not None:
        lines.append(
            f"{contest.null} never looks at a spectrum: it predicts the class of the nearest labelled pixel. What a "
            "method has above it, in percentage points on shared seeds, isn't due to remembered places alone."
        )
    lines.append(
        "The labels needed for a level, or for a method's last accuracy, are interpolated linearly between the rounds "
        "of each run; > counts the seeds that never reached it, ≤ those that had reached it at their first round."
    )
    return lines + test_notes(contest)


def gaps_note(contest: Contest) -> list[str]:
    """Say which numbers of labels are left out since a run has no value there."""
    measure = NAMES[contest.measure]
    never = [f"{run.path} has no value of {measure}, so it is left out." for run in contest.without]
    if not (left := contest.undefined) or not contest.grid:
        return never
    shown = ", ".join(map(str, left[:5])) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    return [*never, f"{contest.name}: {measure} isn't defined in all runs at {shown} labels, so these are left out."]


def test_notes(contest: Contest) -> list[str]:
    """Return sentences about the tests: seeds, intervals, smallest possible p values, correction."""
    counts = contest.shared_seeds
    if not counts:
        return ["One method: nothing to compare it with."]
    lines, seeds = [], "folds" if contest.several_folds else "seeds"
    if min(counts) < 2:
        one = "fold" if contest.several_folds else "seed"
        said = "a single difference says nothing about its spread"
        lines.append(f"Methods that share one {one} or none are not tested: {said}.")
    tested = [n for n in counts if n > 1]
    if not tested:
        return lines
    floors = ", ".join(f"{smallest_sign_flip(n):.2g} with {n} {seeds}" for n in tested)
    if len(contest.methods) > MANY and contest.reference is not None:
        lines.append(f"With {len(contest.methods)} methods, all pairs are in comparison_differences.csv only.")
    return [
        *lines,
        f"Differences are in percentage points, on the seeds that both methods have; the {100 * CONFIDENCE:g} % "
        "interval is Student's t interval of their mean, not corrected for the number of comparisons.",
        f"The smallest two-sided p that the sign-flip test (exact up to 14 seeds) can give is {floors}. Where it stays "
        f"above {ALPHA} after Holm's correction, the t test decides, which assumes normally distributed differences.",
        f"A method is called higher only where the corrected p is at most {ALPHA}; all else is not separated, which is "
        "not the same as equal.",
    ]


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is, whatever names it holds."""
    return re.sub(r"<(?=[\w/!?])", "&lt;", text).replace("*", r"\*")


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Format a table, header first, as Markdown."""
    header, *rows = [f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows]) + "\n"
