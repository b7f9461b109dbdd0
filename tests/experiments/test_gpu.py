"""The GPU script's parts that need no GPU, and that it says so where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.gpu import runs, steps
from experiments.gpu.__main__ import report
from experiments.gpu.common import DRY, write

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "gpu" / "measure.sh"


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    done = script(str(tmp_path / "results"))
    assert (done.returncode, done.stderr) == (2, "torch finds no GPU here; --dry shows that the steps work.\n")
    assert not (tmp_path / "results").exists()
    assert script("--wet").returncode == 2


def test_the_protocol_is_extrapolated_from_the_second_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "curve.csv").write_text("n_labelled,seconds_fit,seconds_predict\n160,99,9\n170,34,2\n")

    class Finished:
        def wait(self) -> int:
            return 0

    monkeypatch.setattr(runs, "start", lambda *_: Finished())
    (row,) = runs.protocol(DRY, tmp_path)
    # 3,400 steps took 34 s; 211,200 steps and 33 times 2 s.
    assert row["ms a step"] == pytest.approx(10)
    assert row["steps"] == 211_200
    assert row["hours of the paper's protocol"] == pytest.approx((2112 + 66) / 3600)


def test_results_become_one_table_each(tmp_path: Path) -> None:
    write(tmp_path / "a.json", torch.device("cpu"), [{"x": 1.23456, "y": True}, {"x": 2.0, "z": "s"}])
    assert json.loads((tmp_path / "a.json").read_text())["rows"][1] == {"x": 2.0, "z": "s"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    text = report(tmp_path)
    assert "## a\n\ndevice cpu" in text
    assert "| 1.235 | True |  |" in text and "| 2 |  | s |" in text


@pytest.mark.slow
def test_a_dry_step_compares_both_ways() -> None:
    (row,), device = steps.measure(DRY)
    assert device.type == "cpu"
    assert row["compiled"] and row["graphs made in later rounds"] == 0 and row["same class"] == 1
