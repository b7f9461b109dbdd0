"""The page about few labels: means over seeds from recorded runs."""

from pathlib import Path

import numpy as np
import pytest

from experiments.few_labels import __main__ as few
from experiments.few_labels.__main__ import TABLES, Table, main, page, record
from hsi_al.report.archive import unpacked
from hsi_al.report.run_files import Meta
from hsi_al.report.series import Run, Trial
from hsi_al.report.tables import CurveRow
from tests.conftest import CommandLine, unfinish
from tests.test_run import curve_without_seconds


def test_tables_are_means_over_seeds_of_packed_runs(
    command_line: CommandLine, tiny_scene: list[str], no_figures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = [argument for argument in tiny_scene if not argument.startswith(("backbone", "patch_size", "acquisition"))]
    for learner in ("lda", "nearest_label"):
        for seed in (0, 1):
            run = f"hydra.run.dir=outputs/few_labels/tiny/{learner}/random/{seed}"
            outcome = command_line(*scene, f"learner={learner}", "acquisition=random", f"seed={seed}", run)
            assert outcome.code == 0, outcome.err
    monkeypatch.setattr(few, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(few, "PAGE", tmp_path / "page.md")
    tables = {name: Table("few_labels/tiny", "oa_heldout", (12, 20, 24)) for name in TABLES}
    monkeypatch.setattr(few, "TABLES", tables)
    assert main(["--record", "outputs"]) == 0
    lines = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| lda")]
    last = [
        float(curve_without_seconds(Path(f"outputs/few_labels/tiny/lda/random/{seed}"))[-1]["oa_heldout"])
        for seed in (0, 1)
    ]
    mean, spread = 100 * np.mean(last), 100 * np.std(last, ddof=1)
    cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert cells[1] == "2" and cells[3:5] == [f"{mean:.2f} ± {spread:.2f}", "-"]
    with unpacked([tmp_path / "recorded/few_labels.zip"]) as opened:
        assert not list(opened.folders[0].rglob("weights*"))
    before = page(tmp_path / "recorded")
    record(tmp_path / "nothing")
    assert page(tmp_path / "recorded") == before == (tmp_path / "page.md").read_text()


def test_the_page_is_that_of_the_recorded_runs() -> None:
    assert few.PAGE.read_text(encoding="utf-8") == page(few.RECORDED)


def row(n_labelled: int, accuracy: float, seconds: float = 1.0) -> CurveRow:
    accuracies = (accuracy, accuracy, accuracy, accuracy, accuracy, accuracy)
    return CurveRow(0, n_labelled, *accuracies, seconds, seconds, seconds, {})


def test_runs_of_one_name_are_one_row_and_only_those_with_a_shown_size_count() -> None:
    def run(*rows: CurveRow) -> Run:
        return Run(Path("run"), Trial(0, 0), Meta("", {}), list(rows))

    found = {
        "random": [run(row(160, 0.5)), run(row(480, 0.7)), run(row(480, 0.9)), run(row(50, 0.1, 100))],
        "asked": [run(row(160, 0.8), row(170, 0.6))],
        "elsewhere": [run(row(50, 0.9))],
    }
    lines = few.rows(Table("", "oa_all", (160, 240, 480)), found)
    assert lines[1:] == [  # best first, by the last number of labels
        ["random", "1 to 2", "50.00", "-", "80.00 ± 14.14", "3"],
        ["asked", "1", "80.00", "-", "-", "3"],
    ]


def test_unfinished_runs_count_as_far_as_they_are(
    command_line: CommandLine, tiny_scene: list[str], no_figures: None
) -> None:
    folder = "recorded/unfinished/claim/tiny"
    arguments = ["learner=lda", "acquisition=random", f"hydra.run.dir={folder}/run", "protocol.rounds=1"]
    scene = [argument for argument in tiny_scene if not argument.startswith(("backbone", "patch_size", "acquisition"))]
    assert command_line(*scene, *arguments).code == 0
    unfinish(Path(folder) / "run")
    found = few.runs_by_name(Table("claim/tiny", "oa_all"), Path("recorded"))
    assert [[len(run.rows) for run in runs] for runs in found.values()] == [[2]]
    assert few.runs_by_name(Table("other/tiny", "oa_all"), Path("recorded")) == {}


def test_rows_are_named_in_words_and_seconds_have_no_powers() -> None:
    source = "profile_trees margin-min_distance=8 few 0146310a"
    asked = f"protocol one_training, protocol.epochs=63, protocol.labels_at=480, protocol.labels_from={source}"
    assert few.worded(asked, {}) == "labels that profile_trees asked"
    assert few.worded("protocol one_training_480", {}) == few.worded("protocol random_160", {}) == "random labels"
    assert few.worded("vote, margin, protocol queries_2", {}) == "vote, margin"
    assert few.worded("vote, split fields", {}) == "vote, split fields"
    assert few.worded("lda, margin", {"lda": "shrunk"}) == "lda (shrunk), margin"
    assert few.worded("vote, lda", {"lda": "shrunk"}) == "vote, lda"
    asked = f"protocol one_training, protocol.epochs=63, protocol.labels_from={source.replace('profile_trees', 'lda')}"
    assert few.worded(asked, {}) == "labels that lda asked"
    assert few.worded("none, protocol random_480", {}) == "random labels"
    assert few.worded("loss_prediction, protocol paper", {}) == "asked by predicted loss, as in the paper"
    written = [few.rounded(seconds) for seconds in (0.0029, 1.26, 9.7, 13.4, 4600)]
    assert written == ["0.0029", "1.3", "9.7", "13", "4,600"]
