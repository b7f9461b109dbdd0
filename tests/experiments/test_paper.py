"""Figures and tables of the paper, from made-up runs whose numbers are known, and once from real ones."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.paper.__main__ import main
from experiments.paper.artefacts import build
from experiments.paper.cells import ARTEFACTS, MODES, Cell, Plan, command, published, published_for
from experiments.paper.tables import Value, agreement, as_latex, as_markdown, marked, measures, paper_table
from hsi_al.config.kept import to_yaml
from hsi_al.errors import RunDirectoryError
from hsi_al.report.maps import maps_figure
from tests.config.test_tree import composed
from tests.processes import ForkedPopen
from tests.report.fakes import write_h5
from tests.report.test_figures import SIXTEEN, assert_apart

SHORT = {"protocol": "short", "learner.effort": "short"}
ALL = np.array([[8, 2], [1, 9]])  # recalls 80 and 90 %, OA 85 %, kappa 70 %
HELDOUT = np.array([[3, 1], [0, 0]])  # recall 75 %, none, OA 75 %


def plan(folder: Path, scene: str = "indian_pines", **changes: str) -> Plan:
    return Plan((f"dataset={scene}",), (0, 1), {**SHORT, **changes}, outputs=folder)


def write_finished(run: Path, shift: int = 0, labels: int = 480, state: str = "finished", maps: bool = True) -> Path:
    """One round, with `shift` more right answers in the first class; label values 2 and 3."""
    run.mkdir(parents=True)
    counts = ALL + np.array([[shift, -shift], [0, 0]])
    write_h5(run / "confusion.h5", all=counts[None], heldout=HELDOUT[None], label_values=np.array([2, 3]))
    oa = counts.diagonal().sum() / 20  # with as many pixels of both classes, chance agrees on half of them
    accuracies = [oa, (counts[0, 0] / 10 + 0.9) / 2, 2 * oa - 1, 0.75, 0.75, 0.0]
    names = ["oa_all", "aa_all", "kappa_all", "oa_heldout", "aa_heldout", "kappa_heldout"]
    row = {"round": 0, "n_labelled": labels, **dict(zip(names, accuracies, strict=True))}
    row |= dict.fromkeys(["seconds_fit", "seconds_predict", "seconds_query"], 0.5)
    row |= {"recall_2": counts[0, 0] / 10, "recall_3": 0.9}
    (run / "curve.csv").write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    meta = {"title": run.name, "class_names": {"2": "Corn", "3": "Rye"}, "state": state, "learner": "a learner"}
    (run / "meta.json").write_text(json.dumps(meta))
    if maps:
        truth = np.array([[2, 3, 0], [0, 2, 3]])
        rgb = np.zeros((2, 3, 3), np.uint8)
        write_h5(run / "predictions.h5", class_map=np.full((2, 3), 2), ground_truth=truth, rgb=rgb)
    return run


def cell(artefact: str, name: str) -> Cell:
    return next(cell for cell in ARTEFACTS[artefact] if cell.name == name)


# The published numbers


@pytest.mark.parametrize(
    ("scene", "counts"),
    [
        ("pavia_university", [6631, 18649, 2099, 3064, 1345, 5029, 1330, 3682, 947]),
        ("indian_pines", [1428, 830, 483, 730, 478, 972, 2455, 593, 1265]),
        (
            "salinas",
            [2009, 3726, 1976, 1394, 2678, 3959, 3579, 11271, 6203, 3278, 1068, 1927, 916, 1070, 7268, 1807],
        ),
    ],
)
def test_published_rows_give_the_published_totals(scene: str, counts: list[int]) -> None:
    known = published(scene)
    classes = [row for row, key in known if key == "jcr" and row.isdigit()]
    weights = dict(zip(sorted(classes, key=int), counts, strict=True))
    odd = {"cnn_ppf", "cnn3d", "emp_svm"}  # in print, these don't agree with their own rows
    for key in {key for _, key in known} - odd:
        recalls = {row: known[row, key] for row in classes}
        assert np.mean(list(recalls.values())) == pytest.approx(known["aa", key], abs=0.011)
        overall = sum(recalls[row] * weights[row] for row in classes) / sum(counts)
        assert overall == pytest.approx(known["oa", key], abs=0.011)
    assert known["n", "active"] == 480
    assert known["n", "jcr"] == 200 * len(classes)
    assert {cell.key for cell in ARTEFACTS["table"] if cell.key} == {key for _, key in known}


def test_other_scenes_have_no_published_numbers() -> None:
    assert published("salinas_a") == {}


# Cells and runs


def test_cells_are_the_papers() -> None:
    assert len(ARTEFACTS["fig4"]) == 8
    assert [cell.name for cell in ARTEFACTS["maps"]][-2:] == ["Nearest label", "Active+DenseNet121"]
    assert len(ARTEFACTS["maps"]) == 9  # the paper's eight, and the null model
    assert [cell.name for cell in ARTEFACTS["table"]][-2:] == ["Active+DenseNet121", "Random+DenseNet121"]
    commands = {command(plan(Path()).options(cell, "short", 0)) for cells in ARTEFACTS.values() for cell in cells}
    assert len(commands) == 8 + 5 + 7 + 1  # the network of the table is Fig. 5's, asked for in the same words


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_every_cell_composes_as_the_paper_has_it(artefact: str) -> None:
    everywhere = plan(Path(), "salinas", protocol="paper")
    for cell in ARTEFACTS[artefact]:
        config = composed(*everywhere.options(cell, "paper", 3))
        assert (config.dataset.name, config.seed, config.split.kind) == ("salinas", 3, "paper")
        if "experiment=table" in cell.options:
            assert (config.protocol.per_class, config.protocol.rounds) == (200, 0)
            assert config.acquisition.name == "none"
        else:
            assert (config.protocol.initial_size, config.protocol.rounds, config.protocol.query_size) == (160, 32, 10)


def test_fig4_and_fig5_share_the_active_network() -> None:
    one, other = ARTEFACTS["fig4"][0], ARTEFACTS["fig5"][0]
    assert plan(Path("x")).column(one).missing != plan(Path("x")).column(other).missing
    config = [composed(*options[:-1]) for options in (plan(Path()).column(c).missing[0] for c in (one, other))]
    assert config[0] == config[1]


def test_unfinished_runs_are_missing_and_named(tmp_path: Path) -> None:
    jcr = cell("table", "JCR")
    run = tmp_path / "paper/indian_pines/jcr/none/per_class-paper/seed=1"
    write_finished(run, state="running")
    column = plan(tmp_path).column(jcr)
    assert column.runs == ()
    assert command(column.missing[1]).endswith("experiment=table learner=jcr dataset=indian_pines seed=1")
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps({**meta, "state": "finished"}))
    column = plan(tmp_path).column(jcr)
    assert column.runs == (run,) and len(column.missing) == 1


def test_a_more_thorough_run_is_taken_a_less_thorough_one_is_not(tmp_path: Path) -> None:
    cnn = cell("table", "3D-CNN")
    write_finished(tmp_path / "paper/indian_pines/cnn3d-hamida-paper/none/per_class-paper/seed=0")
    assert plan(tmp_path).column(cnn).mode == "paper"
    thorough = tmp_path / "paper/indian_pines/deep-densenet121/loss_prediction"
    write_finished(thorough / "short-paper/seed=0")
    active = cell("table", "Active+DenseNet121")
    assert plan(tmp_path).column(active).mode == "short"
    strict = plan(tmp_path, protocol="warm").column(active)
    assert (strict.mode, strict.runs) == ("warm", ())
    write_finished(thorough / "paper-paper/seed=0")
    assert plan(tmp_path).column(active).mode == plan(tmp_path, protocol="warm").column(active).mode == "paper"
    assert all("protocol=short" in options for options in plan(tmp_path).column(active).missing)
    write_finished(thorough / "short-paper/seed=1")  # one seed of `paper` hides no two of `short`
    assert (plan(tmp_path).column(active).mode, plan(tmp_path).column(active).missing) == ("short", ())
    write_finished(thorough / "paper-paper/seed=1")
    assert (plan(tmp_path).column(active).mode, plan(tmp_path).column(active).missing) == ("paper", ())
    assert MODES["learner.effort"] == ("paper", "short")


def test_runs_made_with_other_options_are_named(tmp_path: Path) -> None:
    jcr = cell("table", "JCR")
    run = write_finished(tmp_path / "paper/indian_pines/jcr/none/per_class-paper/seed=1")
    config = composed("experiment=table", "learner=jcr", "dataset=indian_pines", "seed=1", "patch_size=16")
    (run / "config.yaml").write_text(to_yaml(config))
    assert plan(tmp_path).column(jcr).differing == ("patch_size (16 -> 32)",)
    notes = build("table", plan(tmp_path), tmp_path / "out").notes
    assert "JCR: made with other options than asked for: patch_size (16 -> 32)." in notes
    (run / "config.yaml").write_text(to_yaml(replace(config, patch_size=32)))
    assert plan(tmp_path).column(jcr).differing == ()


def test_other_splits_are_beside_no_published_values() -> None:
    assert published_for(["dataset=salinas"])["oa", "jcr"] == 98.85
    assert published_for(["dataset=salinas", "split=holdout"]) == {}


def test_a_command_survives_the_shell() -> None:
    assert command(["a=[b,c]", "d=e f"]) == "python -m hsi_al.run 'a=[b,c]' 'd=e f'"


# Tables


@pytest.fixture
def three_runs(tmp_path: Path) -> Path:
    """JCR with two seeds, Active+DenseNet121 with one."""
    jcr = tmp_path / "paper/indian_pines/jcr/none/per_class-paper"
    write_finished(jcr / "seed=0", labels=1800)
    write_finished(jcr / "seed=1", shift=2, labels=1800)
    write_finished(tmp_path / "paper/indian_pines/deep-densenet121/loss_prediction/short-paper/seed=0")
    return tmp_path


def test_measures_are_those_of_the_confusion_matrix(tmp_path: Path) -> None:
    run = write_finished(tmp_path / "run")
    assert measures(run, "all") == pytest.approx({"2": 80, "3": 90, "oa": 85, "aa": 85, "kappa": 70})
    heldout = measures(run, "heldout")
    assert (heldout["2"], heldout["oa"]) == (75, 75) and math.isnan(heldout["3"])


def test_values_are_means_with_spread_beside_what_was_published(three_runs: Path) -> None:
    where = plan(three_runs)
    columns = [where.column(cell) for cell in ARTEFACTS["table"]]
    table = paper_table(columns, published("indian_pines"), "all")
    rows = dict(table.rows)
    assert list(rows) == ["1 Corn (10)", "2 Rye (10)", "OA (%)", "AA (%)", "kappa (%)"]
    jcr, active = rows["OA (%)"][1], rows["OA (%)"][8]
    assert (jcr.mean, jcr.spread) == pytest.approx((90, stdev([85, 95])))
    assert (jcr.ours, jcr.beside, jcr.best) == ("90.00 ± 7.07", "98.04 (-8.04)", True)
    assert (active.ours, active.beside, active.best) == ("85.00", "99.75 (-14.75)", False)
    assert (rows["OA (%)"][0].ours, rows["OA (%)"][0].beside) == ("-", "93.95")
    assert rows["1 Corn (10)"][1].beside == "96.50 (-6.50)"  # label value 2
    assert [value.best for value in rows["2 Rye (10)"]] == [False, True, *[False] * 6, True, False]  # a draw
    heldout = dict(paper_table(columns, published("indian_pines"), "heldout").rows)
    assert all(math.isnan(value.published) for values in heldout.values() for value in values)
    assert heldout["2 Rye"][1].ours == "-"
    text = as_markdown(table)
    assert "| OA (%) | -<br>93.95 | **90.00 ± 7.07**<br>98.04 (-8.04) |" in text
    assert "| N | - | 1800 |" in text and "| seeds | 0 | 2 |" in text
    assert r"OA (\%) & - & \textbf{90.00 $\pm$ 7.07} &" in as_latex(table)


def test_only_printed_digits_decide_what_is_best() -> None:
    assert [value.best for value in marked([Value(99.994), Value(99.9901), Value(math.nan), Value(0)])] == [
        True,
        True,
        False,
        False,
    ]
    assert not any(value.best for value in marked([Value(math.nan)]))


def test_reproduced_means_within_the_band(three_runs: Path) -> None:
    where = plan(three_runs)
    columns = [where.column(cell("table", name)) for name in ("JCR", "Active+DenseNet121", "Random+DenseNet121")]
    known = {("oa", "jcr"): 91.5, ("oa", "active"): 83.49, ("n", "jcr"): 1800.0, ("n", "active"): 480.0}
    assert [row[2:] for row in agreement(paper_table(columns, known, "all"), known)[1:]] == [
        ["90.00 ± 7.07", "91.50", "-1.50", "± 1.5", "yes"],
        ["85.00", "83.49", "+1.51", "± 1.5", "higher"],
    ]
    other = {**known, ("n", "jcr"): 450.0}  # with fewer labels nothing is said
    assert [row[0] for row in agreement(paper_table(columns, other, "all"), other)[1:]] == ["Active+DenseNet121"]


def test_the_table_from_the_command_line(three_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--protocol", "short", "--effort", "short", "--runs", str(three_runs), "--output"]
    code = main(["table", "dataset=indian_pines", "--seeds", "0,1", *arguments, str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert code == 0
    assert "90.00 ± 7.07*" in out and "98.04 (-8.04)" in out
    assert "Missing: DFSL+SVM: python -m hsi_al.run experiment=table learner=dfsl_svm" in out
    assert "JCR: a learner." in out and "Baumgardner" in out
    again = next(line for line in out.splitlines() if line.startswith("Reproduce: "))
    assert again.endswith("table dataset=indian_pines --seeds 0,1 --protocol short --effort short")
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "JCR" and row["row"] == "OA (%)"]
    assert [(row["pixels"], row["mean"], row["published"], row["difference"]) for row in rows] == [
        ("all", "90.0000", "98.0400", "-8.0400"),
        ("heldout", "75.0000", "", ""),
    ]
    assert ",N,JCR,paper,2,1800," in (tmp_path / "out" / "table.csv").read_text()
    assert again in (tmp_path / "out" / "table.md").read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.md", "table.csv", "table.tex"}


def test_what_cannot_be_recovered_is_a_footnote(tmp_path: Path) -> None:
    for method in ("cnn3d-hamida-short", "scnn_svm-short"):
        write_finished(tmp_path / f"paper/indian_pines/{method}/none/per_class-paper/seed=0")
    notes = build("table", plan(tmp_path), tmp_path / "out").notes
    assert "3D-CNN: a learner; which 3-D CNN the paper compares with can't be recovered." in notes
    assert "S-CNN+SVM: a learner; the layers of the paper's S-CNN can't be recovered." in notes


# Figures


def test_curves_of_one_protocol_and_the_published_end(three_runs: Path, tmp_path: Path) -> None:
    built = build("fig5", plan(three_runs), tmp_path / "out")
    ((heading, rows),) = built.tables
    assert heading == "Indian Pines, 9 classes, protocol short"
    assert rows[1][:3] == ["Active+DenseNet121", "480", "1"]
    assert "Published OA of Active+DenseNet121 at 480 labels: 99.75 %." in built.notes
    assert sum(note.startswith("Missing: ") for note in built.notes) == 9
    assert (tmp_path / "out" / "fig5.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "out" / "fig5.png").read_bytes().startswith(b"\x89PNG")


def test_maps_hold_the_ground_truth_once_and_every_method(
    three_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def keep(maps: dict[str, np.ndarray], names: dict[int, str], title: str) -> Figure:
        drawn.append(maps_figure(maps, names, title))
        return drawn[-1]

    monkeypatch.setattr("experiments.paper.artefacts.maps_figure", keep)
    built = build("maps", plan(three_runs), tmp_path / "out")
    assert [axes.get_title() for axes in drawn[0].axes] == [
        "(a) ground truth\n",
        "(b) JCR\n1800 labels, OA 85.00 %",
        "(c) Active+DenseNet121, short\n480 labels, OA 85.00 %",
    ]
    assert [path.name for path in built.files] == ["maps.png", "maps.pdf"]
    assert drawn[0].texts[0].get_text() == "Indian Pines, 9 classes, seed 0, OA over all labelled pixels"


def test_runs_without_maps_are_an_error(tmp_path: Path) -> None:
    write_finished(tmp_path / "paper/indian_pines/jcr/none/per_class-paper/seed=0", maps=False)
    with pytest.raises(RunDirectoryError, match="holds no map"):
        build("maps", plan(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("shape", [(145, 145), (610, 340), (512, 217), (83, 86), (140, 80), (40, 400)])
def test_nothing_overlaps_among_ten_maps(shape: tuple[int, int]) -> None:
    labels = np.resize(np.arange(17), shape)
    captions = [f"({letter}) Active+DenseNet121\n3200 labels, OA 100.00 %" for letter in "abcdefghij"]
    figure = maps_figure(dict.fromkeys(captions, labels), SIXTEEN, "A scene, seed 0, OA over all labelled pixels")
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure.texts[0].get_window_extent()]
    assert_apart([box for box in boxes if box is not None], figure)
    assert len(figure.axes) == 10


# The command line


def test_nothing_finished_names_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fig4", "dataset=salinas", "--runs", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "No run of fig4 is finished" in error
    assert "python -m hsi_al.run experiment=fig4 backbone=resnet152 dataset=salinas protocol=paper seed=0" in error
    assert not (tmp_path / "out").exists()


def test_a_wrong_scene_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "dataset=salina"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "salinas" in error


@pytest.mark.slow
def test_missing_runs_are_made_once_and_failures_named(
    tmp_path: Path, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.paper.__main__.subprocess.Popen", ForkedPopen)
    keep = ("MaxEntropy+LeNet", "MaxEntropy+EMP+SVM")
    monkeypatch.setitem(ARTEFACTS, "fig5", tuple(cell for cell in ARTEFACTS["fig5"] if cell.name in keep))
    scene = [
        option
        for option in tiny_scene
        if not option.startswith(("backbone", "acquisition", "patch_size", "protocol=", "protocol.in"))
    ]
    arguments = ["fig5", *scene, "--protocol", "smoke"]
    assert main([*arguments, "protocol.initial_size=12"]) == 0
    out = capfd.readouterr().out
    assert "Run 2 of 2: " in out and "Missing" not in out
    assert (tmp_path / "outputs/paper/tiny/fig5.png").exists()
    assert main([*arguments, "protocol.initial_size=12"]) == 0
    assert "Run 1" not in capfd.readouterr().out
    assert main([*arguments, "split.fraction=7", "split=holdout"]) == 2
    assert capfd.readouterr().err == "experiments.paper: error: split.fraction=7.0 must be above 0 and below 1.\n"
    assert main([*arguments, "protocol.initial_size=9999", "split=holdout"]) == 2
    err = capfd.readouterr().err
    assert err.count("asks for 9999 + ") == 2 and "No run of fig5 is finished" in err


def test_an_interruption_stops_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[list[str]] = []

    class Interrupted:
        def __init__(self, arguments: list[str]) -> None:
            calls.append(arguments)

        def wait(self) -> int:
            return 130

    monkeypatch.setattr("experiments.paper.__main__.subprocess.Popen", Interrupted)
    assert main(["fig5", "dataset=salinas", "--output", "nowhere"]) == 130
    assert len(calls) == 1 and "the same command continues" in capsys.readouterr().err


def test_make_knows_every_artefact() -> None:
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    targets = re.search(r"^((?:\w+ )*\w+): \.venv/\.ok +## The paper's", makefile, re.MULTILINE)
    assert targets and targets[1].split() == list(ARTEFACTS)
