"""The measurement of reports on many runs at toy size: its runs are read like real ones."""

from pathlib import Path

import pytest

from experiments.trust import reports
from hsi_al.report.__main__ import main
from hsi_al.report.series import find_runs, series_of


def test_the_runs_are_methods_with_their_seeds(tmp_path: Path) -> None:
    found = series_of(find_runs([reports.write_runs(tmp_path / "runs", 5, seeds=2, rounds=2, classes=2)]))
    assert {series.name: [run.trial.seed for run in series.runs] for series in found} == {
        "random": [0, 1],
        "query_1": [0, 1],
        "query_2": [0],
    }
    assert all(run.meta.state == "finished" and len(run.rows) == 2 for series in found for run in series.runs)


def test_each_report_is_measured_on_runs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(arguments: list[str]) -> tuple[float, float, float]:
        assert arguments[:2] == ["-m", "hsi_al.report"]
        assert main(arguments[2:]) == 0
        return 61.25, 1.0, 2.0

    monkeypatch.setattr(reports, "cost_of", in_this_process)
    assert reports.table(reports.measure([("summary", 3, 2), ("compare", 4, 1)])).splitlines()[2:] == [
        "| summary | 3 | 2 | 61.2 | 1.0 | 2 |",
        "| compare | 4 | 4 | 61.2 | 1.0 | 2 |",
    ]


def test_a_process_that_fails_is_no_measurement() -> None:
    seconds, processor_seconds, peak = reports.cost_of(["-S", "-c", "x = b'x' * 2**26"])
    assert 0 < processor_seconds < 5 and seconds > 0 and peak > 64
    with pytest.raises(RuntimeError, match="ended with status"):
        reports.cost_of(["-S", "-c", "raise SystemExit(2)"])
