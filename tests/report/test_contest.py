"""Methods against each other: fake runs whose accuracies are chosen, from their directories to the verdicts."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from hsi_al.errors import RunDirectoryError
from hsi_al.manifest import Manifest, sealed, write_manifest
from hsi_al.report.__main__ import main
from hsi_al.report.canvas import DPI, MOST_PIXELS
from hsi_al.report.compare import curve_of, final_table
from hsi_al.report.contest import Contest, Difference, contests_of, differences, every_pair
from hsi_al.report.contest_figure import contest_figure, extreme
from hsi_al.report.contest_tables import MEASURES, notes, reach_cell, savings_table, sections, wins_table
from hsi_al.report.series import Trial, counted, listed, series_of
from hsi_al.report.statistics import all_paired
from tests.report.fakes import write_run

LABELS = (160, 200, 240)
CURVES: dict[str, list[tuple[float, ...]]] = {  # method -> per seed the held-out OA in percent
    "entropy": [(80, 91, 95), (82, 90, 96.5), (80, 92, 97)],
    "random": [(80, 88, 90), (82, 87, 91), (80, 89, 91)],
    "margin": [(80, 91, 95), (82, 90, 96)],
}


def write_method(
    folder: Path,
    method: str,
    seed: int,
    values: Sequence[float],
    labels: Sequence[int] = LABELS,
    split: str = "holdout",
    config: str | None = None,
    **meta: object,
) -> Path:
    run = write_run(folder / method / f"seed={seed}", predictions=False)
    about = json.loads((run / "meta.json").read_text()) | {"state": "finished"}
    about["title"] = f"scene, net, {method}, protocol demo, split {split}, seed {seed}"
    (run / "meta.json").write_text(json.dumps(about | meta))
    with (run / "curve.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    with (run / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row.keys())
        writer.writeheader()
        for round_, (n, value) in enumerate(zip(labels, values, strict=True)):
            accuracy = {"oa_heldout": value / 100, "oa_all": (value + 1) / 100}
            writer.writerow(row | {"round": round_, "n_labelled": n} | accuracy)
    for name in ("confusion.h5", "pool.h5"):  # they would have to fit the curve, and comparisons don't read them
        (run / name).unlink()
    if config is not None:
        (run / "config.yaml").write_text(config)
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_method(tmp_path, method, seed, values)
        for method, seeds in CURVES.items()
        for seed, values in enumerate(seeds)
    ]


def contest_of(runs: Sequence[Path], measure: str | None = None, reference: str | None = None) -> Contest:
    (contest,) = contests_of(series_of(runs), measure, reference)
    return contest


def found_in(pairs: Sequence[Difference], row: str, column: str) -> Difference:
    return next(entry for entry in pairs if (entry.row, entry.column) == (row, column))


def seeded(values: Sequence[float]) -> dict[Trial, float]:
    """Give values to the seeds 0, 1, ... of fold 0."""
    return {Trial(0, seed): value for seed, value in enumerate(values)}


def test_values_and_differences_on_shared_seeds(runs: list[Path]) -> None:
    contest = contest_of(runs)
    assert (contest.reference, contest.measure, contest.grid) == ("random", "oa_heldout", list(LABELS))
    last, area = contest.quantities.values()
    assert list(last["margin"]) == [Trial(0, 0), Trial(0, 1)]
    assert last["entropy"] == pytest.approx(seeded([95, 96.5, 97]))
    assert area["random"][Trial(0, 0)] == pytest.approx((40 * 84 + 40 * 89) / 80)
    pairs = every_pair(last)
    against = found_in(pairs, "entropy", "random")
    assert against.trials == (Trial(0, 0), Trial(0, 1), Trial(0, 2))
    assert against.paired is not None and against.paired.mean == pytest.approx(5.5)
    assert against.paired.p_sign == pytest.approx(0.25)
    two = found_in(pairs, "random", "margin")
    assert two.trials == (Trial(0, 0), Trial(0, 1)) and two.paired is not None and two.paired.mean == pytest.approx(-5)
    assert two.verdict == "not separated"  # both -5: no spread to judge by
    tie = found_in(pairs, "entropy", "margin")
    assert tie.paired is not None and (tie.paired.wins, tie.paired.ties) == (1, 1)
    # t = 5.5 / (0.5 / sqrt(3)); p = 1 - t / sqrt(2 + t^2); three pairs
    t = 11 * math.sqrt(3)
    assert against.p == pytest.approx(3 * (1 - t / math.sqrt(2 + t * t)))
    assert against.verdict == "entropy higher (t)"
    assert wins_table(last)[1:] == [
        ["entropy", "-", "3/3", "1/2, 1 tie"],
        ["random", "0/3", "-", "0/2"],
        ["margin", "0/2, 1 tie", "2/2", "-"],
    ]


def test_a_winner_needs_the_corrected_test() -> None:
    scores = {"a": seeded([1.0, 2.0, 3.0]), "b": seeded([0.0] * 3)}
    (alone,) = every_pair(scores)
    assert alone.verdict == "not separated"  # p 0.074
    scores["a"] = seeded([2.0, 2.5, 3.0])
    (alone,) = every_pair(scores)
    assert alone.separated and alone.verdict == "a higher (t)"
    assert differences(scores, [("b", "a")])[0].verdict == "a higher (t)"
    many = every_pair(scores | {name: seeded([2.4 + i] * 3) for i, name in enumerate("cde")})
    assert found_in(many, "a", "b").verdict == "not separated"


def test_the_sign_flip_test_decides_where_it_can() -> None:
    six = {"a": seeded([0.1, 0.2, 0.3, 0.4, 0.5, 90.0]), "b": seeded([0.0] * 6)}
    (found,) = every_pair(six)
    assert found.test == "sign-flip" and found.p == pytest.approx(2 / 64)
    assert found.verdict == "a higher (sign-flip)"  # t says 0.36
    three = every_pair(six | {"c": seeded([1.0] * 6)})
    assert {entry.test for entry in three} == {"t"}  # 3 * 2/64 is above 0.05


def test_one_seed_and_no_shared_seed(tmp_path: Path) -> None:
    write_method(tmp_path, "entropy", 0, (80, 90, 95))
    write_method(tmp_path, "random", 0, (80, 88, 90))
    write_method(tmp_path, "margin", 1, (80, 88, 90))
    contest = contest_of(sorted(tmp_path.glob("*/seed=*")))
    pairs = every_pair(contest.quantities["240 labels"])
    assert found_in(pairs, "entropy", "random").verdict == "one seed: no test"
    assert found_in(pairs, "entropy", "margin").verdict == "no shared seed"
    assert any("share one seed or none are not tested" in note for note in notes(contest))
    assert not any("sign-flip" in note for note in notes(contest))
    contest_figure(contest)
    only = contest_of([tmp_path / "entropy" / "seed=0"])
    assert notes(only)[-1] == "One method: nothing to compare it with."
    assert len(list(sections(only, [90]))) == 1


def test_censored_levels(runs: list[Path]) -> None:
    contest = contest_of(runs)

    def cell(method: str, level: float) -> str:
        chosen = contest.methods[method]
        return reach_cell(contest, chosen, list(contest.reach(level)[method].values()))

    assert cell("random", 95) == "> 240 (3 of 3 seeds)"
    assert cell("entropy", 97) == "240 (1 of 3 seeds), > 240 (2 of 3 seeds)"
    assert cell("random", 80) == "≤ 160 (3 of 3 seeds)"
    assert cell("random", 82) == "169 ± 1 (2 of 3 seeds), ≤ 160 (1 of 3 seeds)"  # 170 and 168.9
    assert cell("margin", 95) == "237 ± 5"  # 240 and 233.3


def test_labels_for_what_a_rival_has_in_the_end(runs: list[Path], tmp_path: Path) -> None:
    contest = contest_of(runs)
    assert contest.rivals == ["entropy", "random", "margin"]
    # random ends at 90, 91, 91: entropy is there 40 * 10/11, 40 * 1/6.5 and 40 * 11/12 labels after 160, 200, 160
    expected = seeded([160 + 400 / 11, 200 + 40 / 6.5, 160 + 440 / 12])
    assert contest.reach_rival("random")["entropy"] == pytest.approx(expected)
    assert contest.reach_rival("entropy")["margin"] == seeded([240, math.inf])
    assert set(contest.reach_rival("margin")["random"]) == {(0, 0), (0, 1)}
    table = savings_table(contest)
    assert table[0] == ["method", "entropy", "random", "margin"]
    assert table[1] == ["entropy", "240 ± 0", "200 ± 6", "238 ± 2"]  # 196, 206, 197; 240 and 237
    assert table[2] == ["random", "> 240 (3 of 3 seeds)", "240 ± 0", "> 240 (2 of 2 seeds)"]
    assert table[3][1] == "240 (1 of 2 seeds), > 240 (1 of 2 seeds)"
    many = [write_method(tmp_path / "many", f"m{i}", 0, CURVES["margin"][0]) for i in range(9)]
    assert contest_of(many).rivals == []
    assert [len(row) for row in savings_table(contest_of([*many, *runs]))] == [2] * 13
    assert contest_of(runs[:3]).rivals == []


def test_different_grids_are_compared_where_they_meet(tmp_path: Path) -> None:
    write_method(tmp_path, "entropy", 0, (80, 85, 90, 92), (160, 180, 200, 240))
    write_method(tmp_path, "random", 0, (80, 88, 99), (160, 200, 280), stopped={"round": 2, "reason": "enough"})
    contest = contest_of(sorted(tmp_path.glob("*/seed=0")))
    assert contest.grid == [160, 200]
    assert contest.quantities["AULC"]["entropy"][Trial(0, 0)] == pytest.approx(85)
    said = notes(contest)
    assert "160 to 200; the longest run has 280." in said[0]
    assert any("stopped early: enough." in note for note in said)
    write_method(tmp_path, "margin", 0, (1, 2), (10, 20))
    (nothing,) = notes(contest_of(sorted(tmp_path.glob("*/seed=0"))))
    assert "no number of labels is common" in nothing


def test_arenas_and_measures(tmp_path: Path) -> None:
    write_method(tmp_path / "a", "entropy", 0, (80, 90, 95))
    write_method(tmp_path / "b", "entropy", 0, (80, 90, 95), split="paper")
    write_method(tmp_path / "b", "random", 0, (80, 90, 94), split="paper", state="running")
    held, everything = contests_of(series_of(sorted(tmp_path.glob("*/*/seed=0"))), None, None)
    assert (held.measure, everything.measure) == ("oa_heldout", "oa_all")
    assert list(everything.methods) == ["scene, net, entropy, protocol demo, split paper"]
    for measure in MEASURES:
        assert contest_of([tmp_path / "a" / "entropy" / "seed=0"], measure).measure == measure


def test_settings_that_titles_hide(tmp_path: Path) -> None:
    """Other keys make other methods, other test pixels another contest, other machines nothing."""
    text = "seed: {}\nacquisition:\n  subset: {}\nsplit:\n  seed: {}\ntrainer:\n  threads: {}\n"
    for folder, values in {"a": (0, 500, 0, 1), "b": (0, "null", 0, 1), "c": (0, 500, 7, 1)}.items():
        write_method(tmp_path / folder, "entropy", 0, (80, 90, 95), config=text.format(*values))
    write_method(tmp_path / "d", "entropy", 1, (80, 90, 95), config=text.format(1, 500, 0, 2))
    series = series_of(sorted(tmp_path.glob("*/*/seed=*")))
    assert [(entry.name, [run.trial.seed for run in entry.runs]) for entry in series] == [
        ("acquisition.subset=500, split.seed=0", [0, 1]),
        ("split.seed=0", [0]),
        ("acquisition.subset=500, split.seed=7", [0]),
    ]
    assert [len(contest.methods) for contest in contests_of(series, None, None)] == [2, 1]
    with_and_without = series_of([tmp_path / "a/entropy/seed=0", tmp_path / "b/entropy/seed=0"])
    assert [entry.name for entry in with_and_without] == ["acquisition.subset=500", "acquisition.subset=None"]
    (tmp_path / "a/entropy/seed=0/config.yaml").write_text("a: [")
    with pytest.raises(RunDirectoryError, match=r"config\.yaml is missing or corrupted"):
        series_of([tmp_path / "a/entropy/seed=0"])


def test_a_run_without_a_configuration_joins_no_method_that_it_may_not_be(tmp_path: Path) -> None:
    text = "acquisition:\n  subset: {}\n"
    runs = [write_method(tmp_path / "a", "entropy", 0, (80, 90, 95), config=text.format(500))]
    runs.append(write_method(tmp_path / "b", "entropy", 1, (80, 90, 95)))
    assert [[run.trial.seed for run in entry.runs] for entry in series_of(runs)] == [[0, 1]]  # it may well be
    runs.append(write_method(tmp_path / "c", "entropy", 0, (80, 90, 95), config=text.format(100)))
    assert [(entry.name, [run.trial.seed for run in entry.runs]) for entry in series_of(runs)] == [
        ("acquisition.subset=500", [0]),
        ("config.yaml=missing", [1]),
        ("acquisition.subset=100", [0]),
    ]


def test_labels_of_other_runs_are_no_configuration(tmp_path: Path) -> None:
    text = "acquisition:\n  subset: {}\n"
    source = {"path": "x", "sha256": "0", "asked_by": "trees 12345678", "labels": 10}
    runs = [
        write_method(tmp_path / str(seed), "entropy", seed, (80, 90, 95), config=config, labels_from=source)
        for seed, config in enumerate((text.format(500), text.format("null"), None))
    ]
    assert [[run.trial.seed for run in entry.runs] for entry in series_of(runs)] == [[0], [1], [2]]


@pytest.mark.parametrize("key", ["map.filter", "protocol.full_map"])
def test_what_is_done_with_the_map_makes_no_other_method(tmp_path: Path, key: str) -> None:
    group, name = key.split(".")
    runs = [
        write_method(tmp_path, "entropy", seed, (80, 90, 95), config=f"{group}:\n  {name}: {value}\n")
        for seed, value in enumerate(("null", "majority"))
    ]
    assert [len(entry.runs) for entry in series_of(runs)] == [2]


def test_labels_at_which_a_run_has_no_value_count_for_none(tmp_path: Path) -> None:
    for method, gain in (("entropy", 2), ("random", 0)):
        for seed in (0, 1):
            last = math.nan if (method, seed) == ("entropy", 1) else 95 + gain
            write_method(tmp_path, method, seed, (80 + gain, 90 + gain, last))
    contest = contest_of(sorted(tmp_path.glob("*/seed=*")))
    assert contest.grid == [160, 200] and contest.undefined == [240]
    assert contest.quantities["200 labels"]["entropy"] == {Trial(0, 0): 92.0, Trial(0, 1): 92.0}
    assert contest.quantities["AULC"]["random"] == {Trial(0, 0): 85.0, Trial(0, 1): 85.0}
    assert any("OA held-out isn't defined in all runs at 240 labels, so these" in note for note in notes(contest))
    write_method(tmp_path, "margin", 0, [math.nan] * 3)  # one without any ends no comparison of the others
    whole = contest_of(sorted(tmp_path.glob("*/seed=*")))
    assert whole.grid == [160, 200] and whole.quantities["200 labels"]["margin"] == {}
    assert found_in(whole.pairs["AULC"], "entropy", "random").paired is not None
    assert found_in(whole.pairs["AULC"], "entropy", "margin").verdict == "no shared seed"
    assert any("margin/seed=0 has no value of OA held-out" in note for note in notes(whole))
    assert next(iter(sections(whole, [90]))).table[2][0] == "margin" and savings_table(whole) and contest_figure(whole)


def test_a_wrapper_is_named_where_no_run_is_without_it(tmp_path: Path) -> None:
    text = "acquisition:\n  subset: null\n  min_distance: {}\n  class_balance: {}\n"
    for name, values in {"margin": (8, "true"), "entropy": (8, "false"), "random": ("null", "false")}.items():
        for seed in (0, 1):
            write_method(tmp_path, name, seed, (80, 90, 95), config=text.format(*values))
    assert {entry.name for entry in series_of(sorted(tmp_path.glob("*/seed=*")))} == {
        "margin, acquisition.class_balance=True, acquisition.min_distance=8",
        "entropy, acquisition.min_distance=8",
        "random",
    }


def test_a_run_older_than_a_key_counts_as_one_where_it_is_off(tmp_path: Path) -> None:
    old, new = "patch_size: 32\n", "patch_size: 32\nprotocol:\n  average_weights: {}\n  augment: false\n"
    for seed, config in enumerate((old, new.format("null"), new.format(0.99))):
        write_method(tmp_path, "entropy", seed, (80, 90, 95), config=config)
    series = series_of(sorted(tmp_path.glob("*/seed=*")))
    assert [(entry.name, [run.trial.seed for run in entry.runs]) for entry in series] == [
        ("protocol.average_weights=None", [0, 1]),
        ("protocol.average_weights=0.99", [2]),
    ]


def test_a_whole_name_is_a_reference_whatever_else_begins_like_it(tmp_path: Path) -> None:
    for distance in ("null", 8):
        for name in ("entropy", "random"):
            text = f"acquisition:\n  min_distance: {distance}\n"
            write_method(tmp_path / str(distance), name, 0, (80, 90, 95), config=text)
    runs = sorted(tmp_path.glob("*/*/seed=0"))
    assert contest_of(runs).reference == "random"
    for name in ("entropy", "entropy, acquisition.min_distance=8"):
        assert contest_of(runs, reference=name).reference == name
    with pytest.raises(RunDirectoryError, match="matches several methods"):
        contest_of(runs, reference="split holdout")


def write_split(folder: Path, method: str, trial: Trial, value: float, split: str, **keys: object) -> Path:
    """A run of split.kind `split`, of this version unless `fold` is None; other keys as given."""
    known = {"kind": split, "fold": trial.fold, **keys}
    patch = known.pop("patch_size", 32)
    lines = "".join(f"  {key}: {'null' if text is None else text}\n" for key, text in known.items())
    config = f"seed: {trial.seed}\npatch_size: {patch}\nsplit:\n{lines}"
    if known["fold"] is None:
        config = config.replace("  fold: null\n", "")
    return write_method(
        folder / f"fold={trial.fold}", method, trial.seed, (value - 2, value - 1, value), split=split, config=config
    )


def arenas(runs: Sequence[Path]) -> list[list[str]]:
    """Methods of each contest."""
    return [list(contest.methods) for contest in contests_of(series_of(runs), None, None)]


def test_test_pixels_are_the_same_within_a_contest(tmp_path: Path) -> None:
    """Guards, patches that decide the guard, fractions and kinds keep contests apart, also between methods."""
    first = Trial(0, 0)

    def of(split: str, entropy: dict[str, object], random: dict[str, object]) -> int:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        runs = [write_split(folder / "a", "entropy", first, 90, split, **entropy)]
        runs.append(write_split(folder / "b", "random", first, 90, split, **random))
        return len(arenas(runs))

    for split in ("blocks", "fields"):
        assert of(split, {"guard": 16}, {"guard": 16}) == 1
        assert of(split, {"guard": 16}, {"guard": None}) == of(split, {"guard": 16}, {"guard": 9}) == 2
        assert of(split, {"guard": 9, "patch_size": 16}, {"guard": 9, "patch_size": 9}) == 1
    assert of("blocks", {"guard": None, "patch_size": 16}, {"guard": None, "patch_size": 9}) == 2
    assert of("blocks", {"guard": None, "patch_size": 16}, {"guard": 16, "patch_size": 9}) == 1
    assert of("fields", {"guard": None, "patch_size": 16}, {"guard": None, "patch_size": 9}) == 1
    assert of("holdout", {"patch_size": 16}, {"patch_size": 9}) == 1
    assert of("holdout", {"fraction": 0.5}, {"fraction": 0.25}) == 2
    assert of("blocks", {"fold": None}, {}) == of("checkerboard", {}, {"fold": None}) == 2  # layouts of before
    assert of("holdout", {"fold": None}, {}) == of("blocks", {"fold": None}, {"fold": None}) == 1


def test_other_data_keep_contests_apart(tmp_path: Path) -> None:
    """Classes, labels, test sets and cubes, known by their checksums; places of files say nothing."""
    first = Trial(0, 0)

    def of(*runs: tuple[str, dict[str, str] | None, str]) -> list[list[str]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        paths = []
        for number, (method, data, dataset) in enumerate(runs):
            path = write_split(folder / str(number), method, first, 90, "holdout")
            with (path / "config.yaml").open("a") as file:
                file.write(f"dataset:\n  name: scene\n{dataset}")
            if data is not None:
                write_manifest(path, Manifest(data=data))
                (path / "meta.json").write_text(sealed(json.loads((path / "meta.json").read_text())))
            paths.append(path)
        return arenas(paths)

    whole = {"cube": "a" * 64, "ground_truth": "b" * 64}
    four = whole | {"ground_truth": "c" * 64}
    classes = "  classes: [5, 6]\n"
    together = [["entropy", "random"]]
    assert of(("entropy", whole, ""), ("random", whole, "")) == together
    assert len(of(("entropy", whole, ""), ("random", four, classes))) == 2
    assert len(of(("entropy", None, ""), ("random", None, classes))) == 2  # of versions without checksums
    assert len(of(("entropy", whole, ""), ("random", four, ""))) == 2
    assert len(of(("entropy", whole | {"test_set": "d" * 64}, ""), ("random", whole | {"test_set": "e" * 64}, ""))) == 2
    assert len(of(("entropy", whole, ""), ("random", whole | {"cube": "f" * 64}, ""))) == 2
    given = whole | {"test_set": "d" * 64}
    assert of(("entropy", given, ""), ("random", whole, "")) == together  # begun before test sets had checksums
    for data in (whole, None):
        assert of(("entropy", data, "  cube_file: a.h5\n"), ("random", data, "  cube_file: b.h5\n")) == together
    for key in ("memory_gb", "class_names", "rgb_bands"):
        assert of(("entropy", whole, f"  {key}: 1\n"), ("random", whole, f"  {key}: 2\n")) == together
    three = of(("entropy", whole, ""), ("random", whole, ""), ("entropy", four, classes))
    assert sorted(map(len, three)) == [1, 2]  # a run of other classes leaves the comparison of the others alone


@pytest.mark.parametrize("key", ["accelerator", "compile", "threads"])
def test_what_the_hardware_does_makes_no_other_method(tmp_path: Path, key: str) -> None:
    runs = []
    for seed, value in enumerate(("auto", "off")):
        path = write_split(tmp_path, "entropy", Trial(0, seed), 90, "holdout")
        with (path / "config.yaml").open("a") as config:
            config.write(f"trainer:\n  {key}: {value}\n")
        runs.append(path)
    (series,) = series_of(runs)
    assert [run.trial.seed for run in series.runs] == [0, 1]


def test_a_window_larger_than_the_patch_is_the_guard(tmp_path: Path) -> None:
    runs = [write_split(tmp_path, name, Trial(0, 0), 90, "blocks", patch_size=4) for name in ("random", "wide")]
    about = json.loads((runs[1] / "meta.json").read_text())
    about["test_pixels_in_training_patches"] = {"patch_size": 9} | {
        when: {"labels": 4, "inside": 0, "heldout": 8} for when in ("initial", "last")
    }
    (runs[1] / "meta.json").write_text(json.dumps(about))
    assert [entry.name for entry in series_of(runs)] == ["random, split.guard=4", "wide, split.guard=9"]
    assert len(arenas(runs)) == 2


def test_folds_are_pooled_as_seeds_are(tmp_path: Path) -> None:
    """Two seeds in each of three folds: means over six runs, tests over three folds."""
    gains = {Trial(0, 0): 4.0, Trial(0, 1): 2.0, Trial(1, 0): 6.0, Trial(1, 1): 6.5, Trial(2, 0): 1.0, Trial(2, 1): 1.0}
    runs = []
    for index, (trial, gain) in enumerate(gains.items()):
        runs.append(write_split(tmp_path, "random", trial, 80 + index, "fields"))
        runs.append(write_split(tmp_path, "entropy", trial, 80 + index + gain, "fields"))
    contest = contest_of(runs)
    assert contest.several_folds and contest.heading.startswith("Map ground without labels: scene, ")
    assert [run.trial for run in contest.methods["random"]] == list(gains)
    (found,) = every_pair(contest.quantities["240 labels"])
    folds = [3.0, 6.25, 1.0]
    sign = 1 if found.row == "entropy" else -1
    assert found.paired is not None and found.paired.n == 3 and found.trials == tuple(gains)
    assert sign * found.paired.mean == pytest.approx(np.mean(folds))
    half = 4.302652729911275 * np.std(folds, ddof=1) / math.sqrt(3)  # 97.5 % of Student's t with 2 degrees of freedom
    assert found.paired.high - found.paired.mean == pytest.approx(half)
    assert contest.shared_seeds == [3]
    assert any("0.25 with 3 folds" in note for note in notes(contest))
    assert any("Seeds of one fold share their test pixels" in note for note in notes(contest))
    table = next(iter(sections(contest, [50, 83]))).table
    row = next(row for row in table if row[0] == "random")
    assert row[1] == "fold 0: 0 1, fold 1: 0 1, fold 2: 0 1"
    assert row[2] == f"82.50 ± {np.std(range(6), ddof=1):.2f}"
    assert row[5].endswith("(3 of 6 runs)")  # 83, 84 and 85 come that far
    (one,) = [entry for entry in series_of(runs) if "random" in entry.name]
    assert final_table([curve_of(one)])[1][1:3] == ["240", "3 folds x 2 seeds"]
    alone = every_pair(contest_of(runs[:4]).quantities["240 labels"])[0]
    assert alone.paired is not None and alone.paired.n == 2  # one fold: its seeds
    # One method of fold 0 alone: its seeds share their test pixels, beside methods of all folds they are one value.
    for seed in (0, 1):
        runs.append(write_split(tmp_path, "margin", Trial(0, seed), 70 + seed, "fields"))
    some = contest_of(runs)
    (short,) = [one for one in some.pairs["240 labels"] if {one.row, one.column} == {"margin", "random"}]
    assert short.paired is not None and short.paired.n == 1 and short.verdict == "one fold: no test"
    assert any("Methods that share one fold or none" in note for note in notes(some))
    with pytest.raises(RunDirectoryError, match="are both fold 1, seed 0 of the same settings"):
        series_of([*runs, write_split(tmp_path / "again", "random", Trial(1, 0), 80, "fields")])


def test_trials_in_words() -> None:
    def trials(*pairs: tuple[int, int]) -> list[Trial]:
        return [Trial(*pair) for pair in pairs]

    assert [counted(t) for t in ([], trials((0, 0)), trials((2, 0), (2, 1)))] == ["0", "1", "2"]
    assert counted(trials((0, 0), (1, 0))) == "2 folds x 1 seed"
    assert counted(trials((0, 0), (1, 0), (1, 1))) == "3 runs of 2 folds"
    assert [listed(t) for t in ([], trials((0, 0), (0, 3)), trials((2, 1)))] == ["", "0 3", "fold 2: 1"]


def test_a_fold_is_read_from_a_title_too(tmp_path: Path) -> None:
    run = write_method(tmp_path, "entropy", 3, (80, 90, 95), split="fields, fold 2")
    (series,) = series_of([run])
    assert [run.trial for run in series.runs] == [Trial(2, 3)]
    assert series.question == "map ground without labels"


def test_questions_share_no_table_and_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, last in (("paper", 94), ("fields", 50), ("holdout", 95), ("blocks", 40)):
        for method in ("entropy", "random"):
            write_method(tmp_path / "runs" / split, method, 0, (10, 20, last), split=split)
    output = tmp_path / "out"
    assert main(["compare", str(tmp_path / "runs"), "--output", str(output)]) == 0
    pictures = {path.name for path in output.glob("comparison_[0-9].png")}
    assert pictures == {"comparison_1.png", "comparison_2.png"} and not (output / "comparison.png").exists()
    text = (output / "comparison.md").read_text()
    tables = dict(
        part.split("\n", 1) for part in text.split("## All runs, last number of labels that all seeds have: ")[1:]
    )
    assert set(tables) == {"complete this map", "map ground without labels"}
    for question, splits in (("complete this map", "paper holdout"), ("map ground without labels", "fields blocks")):
        shown = [line for line in tables[question].split("##")[0].splitlines() if "split " in line]
        assert sorted(line.split("split ")[1].split(" ")[0] for line in shown) == sorted(splits.split() * 2)
    assert "## Complete this map: scene, protocol demo, split paper: OA %" in text
    assert "## Map ground without labels: scene, protocol demo, split fields: OA held-out %" in text
    points = (output / "comparison.csv").read_text().splitlines()
    assert len(points) == 1 + 8 * 3
    assert "comparison_2.png" in capsys.readouterr().out


def test_a_seed_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_method(tmp_path / folder, "entropy", 0, (80, 90, 95))
    with pytest.raises(RunDirectoryError, match="are both seed 0 of the same settings"):
        series_of(sorted(tmp_path.glob("*/*/seed=0")))


def test_references(runs: list[Path], tmp_path: Path) -> None:
    assert contest_of(runs, reference="margin").reference == "margin"
    assert contest_of(runs[:3]).reference is None
    with pytest.raises(RunDirectoryError, match=r"No method is 'best'; .* one of: entropy, random, margin"):
        contest_of(runs, reference="best")


def test_the_command_line_writes_tables_tests_and_pictures(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = ["compare", *map(str, runs), "--output", str(output), "--levels", "90,96"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "labels to 96 %" in out and "entropy higher (t)" in out and "0.25 with 3 seeds" in out
    assert "not separated" in out and "divided by their range" in out
    text = (output / "comparison.md").read_text()
    assert "### 240 labels: against random (Holm over 2 tests)" in text
    numbers = "3 | +5.50 | +4.26 to +6.74 | 0.003 | 0.250 | 0.005"
    assert f"| entropy minus random | {numbers} | t | entropy higher (t) |" in text
    curves = (output / "comparison.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in curves[::3]] == ["entropy", "margin", "random"]  # the highest first
    with (output / "comparison_differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (3 + 2)
    assert rows[0]["row"] == "entropy" and float(rows[0]["mean"]) == pytest.approx(5.5)
    with (output / "comparison_seeds.csv").open() as file:
        values = {(row["method"], row["seed"], row["quantity"]): float(row["value"]) for row in csv.DictReader(file)}
    assert values["random", "0", "labels to 96 %"] == math.inf
    assert values["margin", "0", "labels to the last of random"] == pytest.approx(160 + 40 * 10 / 11)
    assert values["entropy", "0", "labels to 90 %"] == pytest.approx(160 + 40 * 10 / 11)
    picture = matplotlib.image.imread(output / "comparison_differences.png")
    assert picture.shape[1] > 900 and picture[..., :3].std() > 0.05
    for wrong in ("90,x", "0", "101"):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments[:-1], wrong])
        assert stopped.value.code == 2
    assert main([*arguments, "--reference", "nobody"]) == 2
    assert "No method is 'nobody'" in capsys.readouterr().err


def test_curves_are_ordered_within_a_contest(tmp_path: Path) -> None:
    for split, method, last in (("holdout", "entropy", 95), ("holdout", "random", 97), ("paper", "margin", 94)):
        write_method(tmp_path / split, method, 0, (80, 90, last), split=split)
    write_method(tmp_path / "paper", "random", 0, (80, 90, 99), split="paper")
    assert main(["compare", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "comparison.csv").read_text().splitlines()[1::3]
    assert [line.split('"')[1] for line in lines] == [
        "random, split holdout",
        "entropy, split holdout",
        "random, split paper",
        "margin, split paper",
    ]


def test_many_methods_are_compared_with_the_reference_alone(tmp_path: Path) -> None:
    gains = {f"method{i}": gain for i, gain in enumerate([3, 9, 1, 7, 5, 2, 8, 4])} | {"random": 0}
    for method, gain in gains.items():
        for seed in range(3):
            write_method(tmp_path, method, seed, (80, 82 + gain, 84 + gain + 0.1 * seed * (gain % 3)))
    contest = contest_of(sorted(tmp_path.glob("*/seed=*")))
    last, _ = contest.quantities
    shown = contest.comparisons(last)
    assert [entry.column for entry in shown] == ["random"] * 8
    assert [entry.row for entry in shown] == [f"method{i}" for i in (1, 6, 3, 4, 7, 0, 5, 2)]
    assert (
        len(list(sections(contest, [90]))) == 6
    )  # methods, labels to random, and for two quantities: against random, wins
    assert any("all pairs are in comparison_differences.csv only" in note for note in notes(contest))
    height = contest_figure(contest).get_figheight()
    assert height < 12
    without = Contest(contest.name, contest.methods, contest.measure, None)
    assert len(without.comparisons(last)) == 36
    assert contest_figure(without).get_figheight() > height


def test_a_picture_of_many_methods_shows_the_ends_and_no_matrix(tmp_path: Path) -> None:
    for index in range(40):
        write_method(tmp_path, f"method{index:02}" + "x" * 200, 0, (80, 82, 84 + index / 10))
    contest = contest_of(sorted(tmp_path.glob("*/seed=*")))
    figure = contest_figure(contest)
    assert figure.get_size_inches().max() * DPI < MOST_PIXELS
    assert len(figure.axes) == 2  # a panel for each quantity
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 30 and all("…" in label for label in labels)
    assert "the highest and lowest of 780 differences" in figure.get_suptitle()
    pairs = extreme(contest.pairs["AULC"])
    means = sorted(e.paired.mean for e in contest.pairs["AULC"] if e.paired is not None)
    shown = sorted(e.paired.mean for e in contest.pairs["AULC"] if e.paired is not None and (e.row, e.column) in pairs)
    assert shown == pytest.approx([*means[:15], *means[-15:]])
    some = replace(contest, methods=dict(list(contest.methods.items())[:20]))
    matrix = contest_figure(some).axes[1]
    assert len(matrix.get_yticklabels()) == 20 and {text.get_text() for text in matrix.texts} == {""}


def test_pairs_tested_together_are_as_if_tested_alone() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(0.3, 1, n).tolist() for n in (1, 2, 3, 3, 3, 5, 5, 16)] + [[], [0.0, 0.0], [0.2, 0.2, 0.2]]
    for values, found in zip(sets, all_paired(sets), strict=True):
        if not values:
            assert found is None
        else:
            (alone,) = all_paired([values])
            assert found is not None and alone is not None
            assert astuple(found) == pytest.approx(astuple(alone), nan_ok=True)


def null_run(folder: Path, acquisition: str, seed: int, values: Sequence[float], split: str = "holdout") -> Path:
    title = f"scene, nearest_label, {acquisition}, protocol demo, split {split}, seed {seed}"
    return write_method(folder / "null" / split, acquisition, seed, values, title=title)


def test_gains_over_the_null_model_are_paired_by_seed(runs: list[Path], tmp_path: Path) -> None:
    null = [null_run(tmp_path, "random", seed, values) for seed, values in ((0, (70, 80, 92)), (2, (71, 86, 93)))]
    contest = contest_of([*runs, *null])
    assert contest.null == "nearest_label, random"
    assert contest.reference == "net, random"  # not the null model, whose queries are random, too
    last, area = contest.gains.values()
    assert list(contest.gains) == ["240 labels above nearest_label", "AULC above nearest_label"]
    assert last == {
        "net, entropy": {Trial(0, 0): 3, Trial(0, 2): 4},
        "net, random": {Trial(0, 0): -2, Trial(0, 2): -2},
        "net, margin": {Trial(0, 0): 3},
    }
    # areas of seed 0: (40 * 84 + 40 * 89) / 80 and (40 * 75 + 40 * 86) / 80
    assert area["net, random"][Trial(0, 0)] == pytest.approx(86.5 - 80.5)
    table = next(sections(contest, [90.0])).table
    shown = {row[0]: row[4] for row in table}
    assert shown == {
        "method": "240 labels above nearest_label",
        "net, entropy": "+3.50 ± 0.71",
        "net, random": "-2.00 ± 0.00",
        "net, margin": "+3.00",
        "nearest_label, random": "-",
    }
    assert any(note.startswith("nearest_label, random never looks at a spectrum") for note in notes(contest))
    assert main(["compare", *map(str, [*runs, *null]), "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out/comparison_seeds.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "240 labels above nearest_label"]
    assert [(row["method"], row["seed"]) for row in rows][:2] == [("net, entropy", "0"), ("net, entropy", "2")]
    assert [float(row["value"]) for row in rows] == pytest.approx([3, 4, -2, -2, 3])
    assert "| 240 labels above nearest_label |" in (tmp_path / "out/comparison.md").read_text()


def test_without_a_null_model_nothing_is_said(runs: list[Path], tmp_path: Path) -> None:
    contest = contest_of(runs)
    assert contest.null is None and contest.gains == {}
    elsewhere = null_run(tmp_path, "random", 0, (70, 80, 92), split="blocks")
    one, other = contests_of(series_of([*runs, elsewhere]), None, None)
    assert one.gains == other.gains == {} and other.null is not None


def test_of_several_null_models_the_one_with_random_queries_counts(runs: list[Path], tmp_path: Path) -> None:
    far = null_run(tmp_path, "core_set", 0, (75, 85, 95))
    assert contest_of([*runs, far]).null == "nearest_label, core_set"
    plain = null_run(tmp_path, "random", 0, (70, 80, 92))
    contest = contest_of([*runs, far, plain])
    assert contest.null == "nearest_label, random"
    assert contest.gains["240 labels above nearest_label"]["nearest_label, core_set"] == {Trial(0, 0): 3}
    alone = contest_of([plain])
    assert alone.reference == alone.null is not None
    assert contest_of([*runs, null_run(tmp_path, "margin", 0, (1, 2, 3)), far]).null is None
