import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hsi_al.errors import RunDirectoryError
from hsi_al.report.__main__ import main
from hsi_al.report.compare import comparison_figure, curves_of, final_table
from hsi_al.report.contest_tables import percent
from hsi_al.report.series import find_runs
from tests.report.fakes import write_curve, write_run


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
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_titled(tmp_path / "a" / "seed=0", "entropy", 0),
        write_titled(tmp_path / "a" / "seed=1", "entropy", 1, 0.02),
        write_titled(tmp_path / "b" / "seed=0", "random", 0, -0.1),
    ]


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
