import csv
import json
import math
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hsi_al.errors import RunDirectoryError
from hsi_al.report.__main__ import main
from hsi_al.report.compare import (
    Curve,
    Point,
    arena_limits,
    comparison_figure,
    curve_of,
    final_table,
    first_of_each,
    without_common,
    write_comparison,
)
from hsi_al.report.contest import contests_of
from hsi_al.report.contest_tables import MEASURES, markdown, notes, percent, plain
from hsi_al.report.series import find_runs, series_of
from tests.report.fakes import make_fit, write_curve, write_h5, write_run


def write_titled(path: Path, acquisition: str, seed: int, shift: float = 0.0, state: str = "finished") -> Path:
    """A fake run whose OA is 0.60, 0.70, 0.80 plus a shift."""
    write_run(path)
    meta = json.loads((path / "meta.json").read_text())
    meta |= {"title": f"scene, net, {acquisition}, protocol demo, split paper, seed {seed}", "state": state}
    (path / "meta.json").write_text(json.dumps(meta))
    with (path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["oa_all"] = str(float(row["oa_all"]) + shift)
    with (path / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    make_fit(path)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_titled(tmp_path / "a" / "seed=0", "entropy", 0),
        write_titled(tmp_path / "a" / "seed=1", "entropy", 1, 0.02),
        write_titled(tmp_path / "b" / "seed=0", "random", 0, -0.1),
    ]


def curves_of(runs: list[Path]) -> list[Curve]:
    return [curve_of(entry) for entry in series_of(runs)]


def test_seeds_of_the_same_settings_are_averaged(runs: list[Path]) -> None:
    entropy, random = curves_of(runs)
    assert (entropy.name, random.name) == ("entropy", "random")
    assert [(point.n_labelled, point.n_seeds) for point in entropy.points] == [(4, 2), (7, 2), (10, 2)]
    assert [point.mean["oa_all"] for point in entropy.points] == pytest.approx([0.61, 0.71, 0.81])
    assert entropy.points[0].spread["oa_all"] == pytest.approx(0.02 / math.sqrt(2))
    assert math.isnan(random.points[0].spread["oa_all"])
    assert random.points[-1].mean["oa_all"] == pytest.approx(0.7)


def test_a_seed_that_stopped_early_ends_the_mean(runs: list[Path]) -> None:
    """Seed 1, the higher one, is done at 7 labels: the mean of the other alone would fall."""
    write_curve(runs[1], classes=3, rounds=1, heldout=True)
    (curve,) = curves_of(runs[:2])
    assert [(point.n_labelled, point.n_seeds) for point in curve.points] == [(4, 2), (7, 2), (10, 1)]
    assert final_table([curve])[1][1:3] == ["7", "2"]
    (axes,) = comparison_figure([curve]).axes
    assert list(axes.lines[0].get_xdata()) == [4, 7]  # type: ignore[arg-type]
    assert str(axes.lines[0].get_label()).endswith("(2 seeds)")


def test_unfinished_seeds_are_averaged_only_among_themselves(tmp_path: Path) -> None:
    finished = write_titled(tmp_path / "seed=0", "entropy", 0)
    begun = write_titled(tmp_path / "seed=1", "entropy", 1, 0.1, state="running")
    (curve,) = curves_of([finished, begun])
    assert [point.mean["oa_all"] for point in curve.points] == pytest.approx([0.6, 0.7, 0.8])
    (alone,) = curves_of([begun])
    assert alone.points[-1].mean["oa_all"] == pytest.approx(0.9)


def test_one_group_keeps_its_whole_name(runs: list[Path]) -> None:
    (curve,) = curves_of(runs[:2])
    assert curve.name == "scene, net, entropy, protocol demo, split paper"


def test_the_table_holds_the_last_points(runs: list[Path]) -> None:
    header, entropy, random = final_table(curves_of(runs))
    assert header[:4] == ["run", "labels", "seeds", "OA %"]
    assert entropy[:4] == ["entropy", "10", "2", "81.00 ± 1.41"]
    assert random[:4] == ["random", "10", "1", "70.00"]
    assert percent(math.nan, math.nan) == "-"


def test_the_figure_shows_mean_and_band(runs: list[Path]) -> None:
    (axes,) = comparison_figure(curves_of(runs)).axes
    assert [line.get_label() for line in axes.lines] == ["entropy (2 seeds)", "random (1 seed)"]
    assert np.asarray(axes.lines[0].get_ydata()) == pytest.approx([61, 71, 81])
    assert len({line.get_marker() for line in axes.lines}) == 2
    low, high = axes.collections[0].get_datalim(axes.transData).intervaly
    assert (low, high) == pytest.approx((61 - 1.4142, 81 + 1.4142), abs=1e-3)
    assert axes.get_ylabel() == "OA (%), mean ± standard deviation over seeds"
    (alone,) = comparison_figure(curves_of(runs[1:])).axes
    assert alone.get_ylabel() == "OA (%)"


def test_the_legend_hides_no_curve(runs: list[Path]) -> None:
    figure = comparison_figure(curves_of(runs))
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    (legend,), (axes,) = figure.legends, figure.axes
    assert [text.get_text() for text in legend.get_texts()] == ["entropy (2 seeds)", "random (1 seed)"]
    below = legend.get_window_extent()
    assert 0 <= below.y0 < below.y1 < axes.get_tightbbox().y0  # type: ignore[union-attr]


def test_runs_are_found_once(runs: list[Path], tmp_path: Path) -> None:
    assert find_runs([tmp_path, runs[0]]) == runs
    with pytest.raises(RunDirectoryError, match="holds no run"):
        find_runs([tmp_path / "a" / "seed=0" / "figures"])


def test_the_command_line(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(output)]) == 0
    assert "81.00 ± 1.41" in capsys.readouterr().out
    assert (output / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "| entropy | 10 | 2 | 81.00 ± 1.41 |" in (output / "comparison.md").read_text()
    with (output / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert float(rows[0]["oa_all_mean"]) == pytest.approx(0.61)
    assert main(["figures", str(runs[0])]) == 0
    assert (runs[0] / "figures" / "map.png").exists()
    write_titled(tmp_path / "c", "margin", 0, state="running")
    (tmp_path / "c" / "curve.csv").unlink()
    capsys.readouterr()
    assert main(["summary", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert str(runs[1]) in out
    assert "running" in out
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "c"), "--output", str(output)]) == 0
    assert f"Left out, no round committed yet: {tmp_path / 'c'}" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "c"), "--output", str(output)]) == 2
    assert "nothing to compare" in capsys.readouterr().err
    assert main(["summary", str(tmp_path / "nowhere")]) == 2
    assert "holds no run" in capsys.readouterr().err


SETTINGS = """
dataset: {{name: {scene}}}
split: {{kind: holdout}}
protocol: {{name: {protocol}}}
learner: {{name: deep, method: deep-{method}}}
acquisition: {{name: {acquisition}}}
experiment: {{name: {experiment}}}
seed: {seed}
"""


def write_configured(path: Path, seed: int, title: str = "odd", **settings: str) -> Path:
    write_run(path, predictions=False)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | {"title": title, "state": "finished"}))
    known = {"scene": "s", "protocol": "p", "method": "net", "acquisition": "random", "experiment": "e"} | settings
    quoted = {key: json.dumps(value) for key, value in known.items() if key != "method"}
    (path / "config.yaml").write_text(SETTINGS.format(**quoted, method=known["method"], seed=seed))
    return path


def test_names_that_look_like_settings_are_names(tmp_path: Path) -> None:
    """Everything is read from config.yaml; titles and folders say something else."""
    odd = {
        "scene": ["seed corn", "seed 7", "random", "a, b, protocol x, split paper, seed 3", "split blocks"],
        "acquisition": ["seed 9", "protocol demo", "seed=1"],
        "protocol": ["seed 3", "split paper"],
        "experiment": ["seed", "seed=5"],
    }
    for key, names in odd.items():
        for name in names:
            folder = tmp_path / key / name
            for seed in (0, 1):
                write_configured(folder / f"seed={seed + 5}", seed, f"{name}, seed 8", **{key: name})
            (series,) = series_of(find_runs([folder]))
            assert [run.trial.seed for run in series.runs] == [0, 1]
            known = dict(series.settings)
            assert known["split.kind"] == "holdout" and series.has_fixed_test_set
            if key != "experiment":
                assert known[f"{'dataset' if key == 'scene' else key}.name"] == name
    scenes = series_of(find_runs([tmp_path / "scene"]))
    assert sorted(series.name for series in scenes) == sorted(odd["scene"])
    assert len(contests_of(scenes, None, None)) == len(odd["scene"])
    (alike,) = series_of([*find_runs([tmp_path / "experiment" / "seed"])])
    assert alike.name == "s, net, random, protocol p, split holdout"


def test_runs_older_than_a_key_are_those_with_its_default(tmp_path: Path) -> None:
    write_configured(tmp_path / "old", 0)
    for seed, axes in ((1, "HWB"), (2, "BHW")):
        file = write_configured(tmp_path / axes, seed) / "config.yaml"
        kept = yaml.safe_load(file.read_text())
        kept["dataset"] |= {"axes": axes, "scaling": "minmax"}
        file.write_text(yaml.safe_dump(kept))
    trials = {series.name: [run.trial.seed for run in series.runs] for series in series_of(find_runs([tmp_path]))}
    assert trials == {"dataset.axes=HWB": [0, 1], "dataset.axes=BHW": [2]}


def test_the_default_reference_is_an_acquisition_function_not_a_scene_or_network(tmp_path: Path) -> None:
    write_configured(tmp_path / "a", 0, method="random", acquisition="entropy")
    write_configured(tmp_path / "b", 0, acquisition="margin")
    (contest,) = contests_of(series_of(find_runs([tmp_path])), None, None)
    assert contest.reference is None and contest.undecided == ()
    write_configured(tmp_path / "c", 0, acquisition="random")
    (contest,) = contests_of(series_of(find_runs([tmp_path])), None, None)
    assert contest.reference == "net, random"
    write_configured(tmp_path / "d", 0, method="other", acquisition="random")
    (contest,) = contests_of(series_of(find_runs([tmp_path])), None, None)
    assert contest.reference is None
    assert any("Several methods use random queries" in note for note in notes(contest))


def test_methods_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    write_configured(tmp_path / "a", 0, method="x", acquisition="y, protocol z", protocol="w")
    write_configured(tmp_path / "b", 0, method="x", acquisition="y", protocol="z, protocol w")
    assert [series.name for series in series_of(find_runs([tmp_path]))] == [
        "y, protocol z, protocol w",
        "y, protocol z, protocol w (2)",
    ]


def test_a_title_serves_where_the_configuration_lacks_a_key(tmp_path: Path) -> None:
    title = "a scene, of commas, net, margin, protocol demo, split blocks, seed 4"
    run = write_configured(tmp_path / "run", 0, title)
    (run / "config.yaml").write_text("acquisition: {name: entropy}\n")
    (series,) = series_of([run])
    assert series.name == "a scene, of commas, net, entropy, protocol demo, split blocks"
    assert series.runs[0].trial.seed == 4
    (run / "config.yaml").unlink()
    assert series_of([run])[0].name == "a scene, of commas, net, margin, protocol demo, split blocks"


def test_runs_that_share_no_number_of_labels_have_no_mean(tmp_path: Path) -> None:
    """Means of some runs at 4, of others at 5 labels, would be those of single runs."""
    runs = [write_titled(tmp_path / f"seed={seed}", "entropy", seed, seed / 10) for seed in (0, 1)]
    curve = (runs[1] / "curve.csv").read_text().replace("\n0,4,", "\n0,5,").replace("\n1,7,", "\n1,8,")
    (runs[1] / "curve.csv").write_text(curve.replace("\n2,10,", "\n2,11,"))
    (found,) = curves_of(runs)
    assert len(found.points) == 6 and found.common == []
    assert final_table([found])[1] == [found.name, "-", "2", "-", "-", "-", "-"]
    assert len(comparison_figure([found]).axes[0].lines) == 1
    told = write_comparison(runs, tmp_path / "out")
    assert any("have no number of labels in common" in note for note in told.notes)


def test_a_single_number_of_labels_has_a_bar_for_the_spread() -> None:
    point = Point(160, 3, dict.fromkeys(MEASURES, 0.6), dict.fromkeys(MEASURES, 0.1))
    (axes,) = comparison_figure([Curve("a", [point])]).axes
    (bar,) = axes.collections
    assert np.asarray(bar.get_paths()[0].vertices)[:, 1].tolist() == pytest.approx([50, 70])


def test_pictures_of_an_earlier_comparison_do_not_stay(runs: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("comparison_1.png", "comparison_differences_2.png", "comparison_mine.png"):
        (folder / name).write_bytes(b"")
    write_comparison(runs, folder)
    assert {path.name for path in folder.glob("*.png")} == {
        "comparison.png",
        "comparison_differences.png",
        "comparison_mine.png",
    }


def test_names_are_shown_as_they_are() -> None:
    assert plain("| a <field> b*c* | < 0.001 |") == r"| a &lt;field> b\*c\* | < 0.001 |"
    names = ["learner.members=['lda', 'svm'], margin", "learner.members=['lda', 'trees'], margin"]
    assert without_common(names) == ["learner.members=['lda', 'svm']", "learner.members=['lda', 'trees']"]


def test_vertical_bars_stay_in_their_cell() -> None:
    assert markdown([["a|b", "c"], ["1", "|"]]) == "| a\\|b | c |\n|---|---|\n| 1 | \\| |\n"


def curves_in(arenas: list[int]) -> list[Curve]:
    accuracy = dict.fromkeys(MEASURES, 0.5)
    return [
        Curve(f"m{index} " + "x" * 5000, [Point(160, 1, accuracy, accuracy)], arena)
        for index, arena in enumerate(arenas)
    ]


def test_many_curves_have_a_panel_each() -> None:
    curves = curves_in([0] * 40 + [1] * 5)
    shown = first_of_each(curves, 24)
    assert [curve.name.split()[0] for curve in shown] == [f"m{i}" for i in [*range(19), *range(40, 45)]]
    figure = comparison_figure(curves, title="Complete this map")
    assert len(figure.axes) == 24 and figure.get_size_inches().max() < 14
    assert [len(axes.lines) for axes in figure.axes] == [40] * 19 + [5] * 5  # its own curve, and those of its arena
    assert max(len(axes.get_title()) for axes in figure.axes) < 70
    (heading,) = [text.get_text() for text in figure.texts]
    assert "1 seed" in heading and "21 more are in the tables" in heading.replace("\n", " ")
    assert len(comparison_figure(curves[:9]).axes) == 9 and len(comparison_figure(curves[:8]).axes) == 1
    assert first_of_each(curves[:20], 24) == curves[:20]


def test_names_in_panels_are_what_differs() -> None:
    names = ["a, lenet, margin, x=8", "a, lenet, entropy", "a, vgg, margin"]
    assert without_common(names) == ["lenet, margin, x=8", "lenet, entropy", "vgg, margin"]
    assert without_common(["a, b", "a, b"]) == ["b", "b"] and without_common(["a"]) == ["a"]


def test_limits_of_panels() -> None:
    accuracy = dict.fromkeys(MEASURES, 0.5)
    undefined = dict.fromkeys(MEASURES, float("nan"))
    flat = Curve("a", [Point(10, 1, accuracy, accuracy)])
    assert arena_limits([flat], "oa_all") == (49.5, 50.5)
    assert arena_limits([Curve("a", [Point(10, 1, undefined, undefined)])], "oa_all") == (-6.0, 106.0)


def test_a_comparison_of_many_methods_is_limited_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Image size of 1000x99999 pixels is too large")

    monkeypatch.setattr("hsi_al.report.compare.contest_figure", fail)
    monkeypatch.setattr("hsi_al.report.compare.comparison_figure", fail)
    method = "method {} " + "of a long name " * 9
    for index in range(65):
        run = write_configured(tmp_path / "runs" / f"{index}", 0, acquisition=method.format(index).strip())
        (run / "confusion.h5").unlink()  # it would have to fit the curve
    output = tmp_path / "out"
    assert main(["compare", str(tmp_path / "runs"), "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert f"and 5 more in {output / 'comparison.md'}" in printed.out
    assert f"66 columns: see {output / 'comparison.md'}" in printed.out
    rows = [line for line in printed.out.splitlines() if line.startswith("│ method 1 of")]
    assert rows and all("…" in row for row in rows)
    assert method.format(1).strip() in (output / "comparison.md").read_text()
    assert method.format(1).strip() in (output / "comparison.csv").read_text()
    assert not list(output.glob("*.png"))
    assert printed.err.count("hsi_al: warning: ") == 2 and "comparison_differences.png is left out" in printed.err


def test_pictures_of_a_read_only_run_go_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_titled(tmp_path / "kept" / "seed=0", "entropy", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hsi_al.report.__main__.os.access", lambda path, _: "kept" not in Path(path).parts)
    monkeypatch.setattr("hsi_al.report.__main__.draw", lambda run, folder, warn: [folder / "map.png"])
    for given in (Path("kept"), tmp_path / "kept"):
        assert main(["figures", str(given)]) == 0
        out = capsys.readouterr().out
        assert f"{given / 'seed=0'} is read-only: its pictures go to figures/kept/seed=0" in out
        assert "figures/kept/seed=0/map.png" in out
    for command in ("summary", "classes"):
        assert main([command, str(run)]) == 0
    for arguments in (["compare", str(run), "--output"], ["figures", str(run), "--output"], ["pack", ".", "--output"]):
        assert main([*arguments, "kept/new"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("hsi_al: error: kept/new") and error.endswith("name another place with --output.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_pictures_that_cannot_be_drawn_are_an_error_of_their_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsi_al.report.figures.save", lambda figure, path: path.write_bytes("no bytes"))
    assert main(["figures", str(write_titled(tmp_path / "run", "entropy", 0))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and lines[-1] == "hsi_al: error: 4 pictures can't be drawn."


@pytest.mark.parametrize(("classes", "lines"), [(16, 16), (200, 31)])
def test_the_classes_of_a_run(classes: int, lines: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", classes=classes, predictions=False)
    names = {str(value): f"{value} {'name ' * 40}end" for value in range(2, classes + 2)}
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps(meta | {"class_names": names}))
    every, tested = np.full((2, classes, classes), 7), np.zeros((2, classes, classes), int)
    tested[-1, 0, :2] = 6, 2
    write_h5(run / "confusion.h5", all=every, heldout=tested, label_values=np.arange(classes) + 2)
    label = np.array([2, 0, 3, 2, 0])
    write_h5(run / "pool.h5", pixel_id=np.arange(5), labelled_at=np.where(label > 0, 0, -1), label=label)
    with h5py.File(run / "pool.h5", "r+") as file:
        file.attrs["next_round"] = 2
    (run / "curve.csv").unlink()  # it would have to fit
    assert main(["classes", str(run)]) == 0
    said, above, *table = capsys.readouterr().out.splitlines()
    assert said == f"{run}: fake_scene, svm, seed 0"
    assert above == "Recall over the held-out pixels; colours as in the map:"
    assert len(table) == lines + 4 and max(map(len, table)) <= 80
    cells = [cell.strip() for cell in table[3].split("│")[1:-1]]
    assert cells[0] == "2" and cells[1].startswith("2 name") and cells[1].endswith("end") and "…" in cells[1]
    assert cells[2:] == ["██ #3366BB", f"{7 * classes:,}", "2", "75.0"]
    assert [cell.strip() for cell in table[4].split("│")[4:-1]] == [f"{7 * classes:,}", "1", "-"]
    assert (f"and {classes - 30} more" in table[-2]) == (classes > 30)


def test_a_reader_that_goes_away_ends_the_command_silently(
    runs: list[Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread:
        monkeypatch.setattr("sys.stdout", unread)
        assert main(["summary", *map(str, runs)]) == 141
    assert capfd.readouterr().err == ""
