"""A contest in words and cells: methods, differences, wins, and what the numbers mean."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hsi_al.report.contest import ALPHA, MANY, Contest, Difference, Scores, against, every_pair
from hsi_al.report.series import Run
from hsi_al.report.statistics import CONFIDENCE, smallest_sign_flip

MEASURES = ("oa_all", "aa_all", "kappa_all", "oa_heldout", "aa_heldout", "kappa_heldout")
NAMES = dict(zip(MEASURES, ("OA", "AA", "kappa", "OA held-out", "AA held-out", "kappa held-out"), strict=True))
Table = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A table under its title, a heading of some depth."""

    title: str
    table: Table
    depth: int = 3


def percent(mean: float, spread: float) -> str:
    """A mean with its spread, fractions, in percent; `-` where undefined."""
    return mean_and_spread(100 * mean, 100 * spread)


def mean_and_spread(mean: float, spread: float) -> str:
    """Two decimals; `-` where undefined."""
    if math.isnan(mean):
        return "-"
    return f"{mean:.2f}" + ("" if math.isnan(spread) else f" ± {spread:.2f}")


def over_seeds(values: Sequence[float]) -> str:
    """Mean and sample standard deviation of what is defined."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    return mean_and_spread(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else math.nan)


def sections(contest: Contest, levels: Sequence[float]) -> Iterator[Section]:
    """All tables of a contest."""
    quantities = contest.quantities()
    yield Section(f"{contest.name}: {NAMES[contest.measure]} %", methods_table(contest, quantities, levels), 2)
    if contest.rivals:
        title = f"Labels that the row needs for the column's {NAMES[contest.measure]} at {contest.grid[-1]} labels"
        yield Section(f"{title} (shared seeds; the column's own: when it was first there)", savings_table(contest))
    for name, scores in quantities.items():
        if contest.reference is not None and len(scores) > 1:
            found = against(scores, contest.reference)
            yield Section(f"{name}: against {contest.reference} ({family(found)})", differences_table(found))
        if 2 < len(scores) <= MANY or (contest.reference is None and len(scores) > 1):
            found = every_pair(scores)
            yield Section(f"{name}: every pair ({family(found)})", differences_table(found))
        if len(scores) > 1:
            yield Section(f"{name}: on how many shared seeds the row beats the column", wins_table(scores))


def family(found: Sequence[Difference]) -> str:
    """How many tests are corrected for."""
    n_tests = sum(len(entry.seeds) > 1 for entry in found)
    return f"Holm over {n_tests} test{'s' if n_tests > 1 else ''}" if n_tests else "no test"


def methods_table(contest: Contest, quantities: dict[str, Scores], levels: Sequence[float]) -> Table:
    """Header and one row per method: its quantities, the labels that levels take, the overlap of test and training."""
    header = ["method", "seed numbers", *(f"{name}" for name in quantities)]
    header += [f"labels to {level:g} %" for level in levels] + ["test in patches %"]
    rows = []
    for name, runs in contest.methods.items():
        cells = [over_seeds(list(scores[name].values())) for scores in quantities.values()]
        reached = [reach_cell(contest, runs, list(contest.reach(level)[name].values())) for level in levels]
        rows.append([name, " ".join(str(run.seed) for run in runs), *cells, *reached, overlap_cell(runs)])
    return [header, *rows]


def savings_table(contest: Contest) -> Table:
    """Header and one row per method: its labels for what each rival has at the end; the rival's own may be fewer."""
    rows = [[name] for name in contest.methods]
    for rival in contest.rivals:
        reached = contest.reach_rival(rival)
        for row, (name, runs) in zip(rows, contest.methods.items(), strict=True):
            shared = [run for run in runs if run.seed in reached[name]]
            row.append(reach_cell(contest, shared, list(reached[name].values())))
    return [["method", *contest.rivals], *rows]


def reach_cell(contest: Contest, runs: Sequence[Run], reached: Sequence[float]) -> str:
    """Labels over seeds; seeds that never got there, or were there from the start, are counted and not averaged."""
    curves = [contest.curve(run)[0] for run in runs]
    never = [labels[-1] for labels, n in zip(curves, reached, strict=True) if math.isinf(n) and labels]
    at_once = [n for labels, n in zip(curves, reached, strict=True) if labels and n == labels[0]]
    between = [n for labels, n in zip(curves, reached, strict=True) if not math.isinf(n) and n != labels[0]]
    parts = []
    for sign, bounds in (("≤", at_once), (">", never)):
        if bounds:
            bound = f"{sign} {max(bounds) if sign == '≤' else min(bounds):g}"
            parts.append(bound + ("" if len(runs) == 1 else f" ({len(bounds)} of {len(runs)} seeds)"))
    if between:
        spread = f" ± {np.std(between, ddof=1):.0f}" if len(between) > 1 else ""
        mean = f"{np.mean(between):.0f}{spread}"
        parts.insert(0, mean + (f" ({len(between)} of {len(runs)} seeds)" if parts else ""))
    return ", ".join(parts) or "-"


def overlap_cell(runs: Sequence[Run]) -> str:
    """Mean share of the test pixels that lie in a training patch at the end; `-` where a run doesn't say."""
    shares = [run.meta.overlap.last_percent if run.meta.overlap else "-" for run in runs]
    return "-" if "-" in shares else f"{np.mean([float(share) for share in shares]):.1f}"


def differences_table(found: Sequence[Difference]) -> Table:
    """Header and one row per comparison, in percentage points."""
    header = ["comparison", "seeds", "difference", f"{100 * CONFIDENCE:g} % CI"]
    header += ["p t", "p sign-flip", "p Holm", "test", "result"]
    rows = []
    for entry in found:
        cells = [f"{entry.row} minus {entry.column}", str(len(entry.seeds))]
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
    """Three decimals, or that it is smaller."""
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def wins_table(scores: Scores) -> Table:
    """Header and one row per method: wins of shared seeds, ties named."""
    rows = [[name, *(win_cell(scores, name, other) for other in scores)] for name in scores]
    return [["row beats column", *scores], *rows]


def win_cell(scores: Scores, row: str, column: str) -> str:
    """`2/3`, `1/3, 1 tie`, or `-` without shared seeds."""
    wins, ties, n = win_counts(scores, row, column)
    if row == column or not n:
        return "-"
    return f"{wins}/{n}" + (f", {ties} tie{'s' if ties > 1 else ''}" if ties else "")


def win_counts(scores: Scores, row: str, column: str) -> tuple[int, int, int]:
    """Wins, ties and shared seeds."""
    shared = scores[row].keys() & scores[column].keys()
    found = [scores[row][seed] - scores[column][seed] for seed in shared]
    known = [value for value in found if not math.isnan(value)]
    return sum(value > 0 for value in known), sum(value == 0 for value in known), len(known)


def notes(contest: Contest) -> list[str]:
    """What the tables mean and what they can't say."""
    grid, runs = contest.grid, [run for found in contest.methods.values() for run in found]
    if not grid:
        return [f"{contest.name}: no number of labels is common to all runs, so nothing is compared."]
    ends = {run.rows[-1].n_labelled for run in runs}
    numbers = f"over the {len(grid)} numbers of labels" if len(grid) > 1 else "at the one number of labels"
    span = f"{grid[0]} to {grid[-1]}" if len(grid) > 1 else f"{grid[0]}"
    longer = f"; the longest run has {max(ends)}" if max(ends) > grid[-1] else ""
    about = f"{numbers} that all {len(runs)} runs have, {span}{longer}"
    lines = [f"{contest.name}: {NAMES[contest.measure]} {about}."]
    if contest.reference is None and sum("random" in name.split(", ") for name in contest.methods) > 1:
        lines.append("Several methods are random: --reference with a whole name tests the others against one of them.")
    lines += [f"{run.path} stopped early: {run.meta.stopped}." for run in runs if run.meta.stopped]
    if len(grid) > 1:
        lines.append(
            "AULC: area under the learning curve by the trapezoidal rule over these numbers of labels, divided by "
            "their range: the mean height of the curve, in percent."
        )
    else:
        lines.append("A single number of labels has no area under the curve.")
    lines.append(
        "Labels to a level, or to what a method has in the end: linear between rounds, on each run's own curve; > says "
        "how many seeds never got there within their labels, ≤ how many were there at their first."
    )
    return lines + test_notes(contest)


def test_notes(contest: Contest) -> list[str]:
    """How surely methods are told apart."""
    counts = sorted({len(entry.seeds) for scores in contest.quantities().values() for entry in every_pair(scores)})
    if not counts:
        return ["One method: nothing to compare it with."]
    lines = []
    if min(counts) < 2:
        lines.append("Methods that share one seed are not tested: a single difference says nothing about its spread.")
    tested = [n for n in counts if n > 1]
    if not tested:
        return lines
    floors = ", ".join(f"{smallest_sign_flip(n):.2g} with {n} seeds" for n in tested)
    if len(contest.methods) > MANY and contest.reference is not None:
        lines.append(f"Of {len(contest.methods)} methods every pair is in comparison_differences.csv only.")
    return [
        *lines,
        f"Differences are percentage points on the seeds that both methods have; the {100 * CONFIDENCE:g} % interval "
        "is Student's t on them, for one comparison by itself.",
        f"The smallest two-sided p that the exact sign-flip test can give is {floors}. Where that can't fall to "
        f"{ALPHA} after Holm's correction, the t test decides, which takes the differences to be normal.",
        f"A method is called higher only where the corrected p is at most {ALPHA}; all else is not separated, which is "
        "not the same as equal.",
    ]


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    header, *rows = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows]) + "\n"
