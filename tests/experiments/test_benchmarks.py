"""The benchmarks run at tiny sizes; what they measure here says nothing."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import (
    acquisition,
    concurrent,
    delivery,
    large,
    layout,
    memory,
    peak,
    profiles,
    scoring,
    training,
)
from experiments.benchmarks.__main__ import main, table
from experiments.benchmarks.measure import Row, learner_on, medians, resident_memory, step_of, synthetic_cube
from hsi_al.methods.deep.learner import DeepSettings
from tests.processes import forked_run


def test_a_target_is_met_or_missed() -> None:
    def verdict(ratio: float, target: str) -> str:
        return Row("x", "", "", ratio, target).verdict

    assert [verdict(5.0, ">= 5"), verdict(4.99, ">= 5"), verdict(1.1, "<= 1.10"), verdict(1.11, "<= 1.10")] == [
        "yes",
        "NO",
        "yes",
        "NO",
    ]
    assert verdict(0.1, "") == ""
    assert table([Row("a", "b", "c", 1.234, ">= 1")]).splitlines()[-1] == "| a | b | c | 1.23 | >= 1 | yes |"


def test_both_sides_are_called_in_turn_and_the_first_calls_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, []
    seconds = iter([100, 200, 3, 5, 1, 9])  # reference, ours, reference, ...

    def work(name: str) -> None:
        nonlocal now
        calls.append(name)
        now += next(seconds)

    monkeypatch.setattr("experiments.benchmarks.measure.time.perf_counter", lambda: now)
    assert medians(lambda: work("reference"), lambda: work("ours"), 2) == (2, 7)
    assert calls == ["reference", "ours"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_in_use_grows_with_an_array() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 64 * 2**20) as fresh:  # an array could lie in memory that was freed before
        fresh.write(b"x" * len(fresh))
        assert 60 < resident_memory() - before < 140


def test_flops_are_two_per_multiply_add() -> None:
    # LeNet on 3 bands: two convolutions behind valid windows of 28 and 10 pixels, three FC layers.
    learner = learner_on(
        synthetic_cube(8, 8, 3),
        9,
        frozenset(),
        DeepSettings().having(backbone="lenet", patch_size=16, accelerator="cpu"),
    )
    first, second = 3 * 6 * 25 * 12**2, 6 * 16 * 25 * 2**2
    fully_connected = 16 * 120 + 120 * 84 + 84 * 9
    step, patch = peak.flops(learner)
    assert patch == 2 * (first + second + fully_connected)
    # Backward costs twice the forward, but nobody asks for the gradient of the patches.
    assert step == 10 * (3 * patch - 2 * first)


def test_a_step_by_itself_trains() -> None:
    learner = learner_on(
        synthetic_cube(8, 8, 3),
        9,
        frozenset(),
        DeepSettings().having(backbone="lenet", patch_size=16, accelerator="cpu"),
    )
    learner.module.eval()
    before = [parameter.clone() for parameter in learner.module.parameters()]
    step_of(learner, learner.module.adam())()
    assert learner.module.training
    assert all(not new.equal(old) for new, old in zip(learner.module.parameters(), before, strict=True))


def test_the_peak_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([4.0, 2.0])
    monkeypatch.setattr(peak, "seconds", lambda work: next(taken))
    assert peak.peak_flops(size=10, repeats=1) == 2 * 10**3 / 2.0


@pytest.mark.slow
def test_every_benchmark_runs() -> None:
    rows = delivery.measure(bands=(3,), batch_size=8, n_batches=2, repeats=1)
    rows += scoring.measure("resnet18", (("s2_pool", 1),), repeats=1)
    rows += training.measure((("resnet18", "s2_pool", 1), ("lenet", "s1", 1)), n_labelled=20, repeats=1)
    rows += layout.measure("resnet18", ("s2_pool",), n_steps=1, n_scored=8, repeats=1, n_bands=3)
    rows += peak.measure((("lenet", "s1"),), n_steps=1, n_scored=8, repeats=1)
    assert len(rows) == 2 + 1 + 2 + 6 + 2
    assert all(row.ratio > 0 for row in rows)


def test_acquisition_functions_are_measured_where_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"core_set": (600, 20, 30), "badge": (400, 12, 30), "n": 15, "n_classes": 5}
    rows = acquisition.measure(**small)  # type: ignore[arg-type]
    assert [row.name.split(",")[0] for row in rows] == ["core_set", "badge"]
    monkeypatch.setattr(acquisition, "explicit_badge", lambda view, n, rng: np.arange(n))
    with pytest.raises(RuntimeError, match="badge"):
        acquisition.measure(**small)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", forked_run)
    peak, growth = memory.measure((40, 40, 4), rounds=3, stems=("s2_pool",), backbone="spectral")
    assert 0 < peak.ratio < 1
    assert 0.5 < growth.ratio < 2


@pytest.mark.slow
def test_jobs_at_once_are_compared_with_jobs_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", forked_run)
    (row,) = concurrent.measure(n_jobs=1, runs_each=1, epochs=1, n_bands=3)
    assert row.ratio > 0
    assert "1 at once" in row.ours


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_scenes_are_measured_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", forked_run)
    run, top = large.run_on(tmp_path, 20_000), large.top_of(tmp_path, 1_000_000)
    cost, peak, *_ = large.rows_of("x", (1, 20_000), [run, run])
    assert (cost.ratio, cost.verdict, peak.verdict) == (1.0, "yes", "yes")
    assert 100 < run[1] < 2000
    assert 0 < top[0] < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_profiles_are_measured_where_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", forked_run)
    small = {"n_labels": 60, "large": (50, 60, 30), "n_candidates": 2000, "rounds": 1, "repeats": 1}
    rows = profiles.measure(**small, mapped=(300, 60, 12), lower=150)  # type: ignore[arg-type]
    assert len(rows) == 2 * 4 + 1 + 4 and all(row.ratio > 0 for row in rows)
    assert "196 features, Indian Pines (145x145x200)" in rows[0].name and "2,000 candidates" in rows[4].name
    strip = 4 * 60 * 300 * (12 + 2 * (12 * 5 + 8 * 2 * 6)) / 2**20  # a single one, of 12 bands and as many components
    assert rows[-3].reference.startswith(f"values and features of a strip, {strip:.0f} MB")
    monkeypatch.setattr(profiles.PlainRound, "__call__", lambda self, threads: np.arange(10))
    with pytest.raises(RuntimeError, match="select the same pixels"):
        profiles.measure(**small)  # type: ignore[arg-type]


def test_the_plain_round_keeps_its_picks_apart() -> None:
    # Pixels 0 to 19 of a row; the trees can't tell those between two labelled ones, 0 and 19, of the same features.
    features = np.zeros((20, 1), np.float32)
    features[0], features[19] = -1, 1
    ids = np.arange(20)
    plain = profiles.PlainRound(features, ids[[0, 19]], np.array([0, 1]), ids, ids, 20, 10, 3, 2)
    first, second = plain(threads=1).tolist()
    assert second - first >= 8


def test_an_unknown_benchmark_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="There is no benchmark speed; there are delivery, scoring"):
        main()


def test_windows_of_rasters() -> None:
    pytest.importorskip("rasterio")
    from experiments.benchmarks import windows

    rows = windows.measure((20, 30, 4), patches=2, repeats=1)
    assert len(rows) == 2 * len(windows.LAYOUTS) and all(row.target == "<= 1.2" for row in rows)
