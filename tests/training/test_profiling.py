"""Seconds per phase add up, and the nested ones are counted once."""

import json
from pathlib import Path

import pytest

from hsi_al.active.experiment import phase_table
from hsi_al.training.profiling import PhaseProfiler
from tests.conftest import CommandLine


def test_what_the_optimiser_calls_is_not_counted_twice(tmp_path: Path) -> None:
    profiler = PhaseProfiler(tmp_path / "trace.json")
    profiler.recorded_durations = {
        "[LightningModule]ActiveClassifier.optimizer_step": [5.0, 5.0],
        "[LightningModule]ActiveClassifier.optimizer_zero_grad": [0.1],
        "[Strategy]SingleDeviceStrategy.training_step": [2.0, 1.0],
        "[Strategy]SingleDeviceStrategy.backward": [4.0],
        "[LightningModule]ActiveClassifier.on_after_backward": [9.0],
        "[LightningDataModule]HsiDataModule.on_after_batch_transfer": [0.5, 0.25],
        "[Strategy]SingleDeviceStrategy.predict_step": [7.0],
        "run_training_epoch": [100.0],
    }
    phases = profiler.phases()
    assert phases == {"gather": 0.75, "forward": 3.0, "backward": 4.0, "optimiser": 3.0, "scoring": 7.0}
    rows = phase_table({**phases, "I/O": 0.25}, 20.0)
    assert rows[1:] == [
        ["gather", "0.75", "3.8"],
        ["forward", "3.00", "15.0"],
        ["backward", "4.00", "20.0"],
        ["optimiser", "3.00", "15.0"],
        ["scoring", "7.00", "35.0"],
        ["I/O", "0.25", "1.2"],
        ["everything else", "2.00", "10.0"],
        ["whole call", "20.00", "100.0"],
    ]


def test_a_run_without_training_steps_has_no_trace(tmp_path: Path) -> None:
    profiler = PhaseProfiler(tmp_path / "trace.json")
    profiler.finish_trace()
    assert set(profiler.phases().values()) == {0.0}
    assert not (tmp_path / "trace.json").exists()


@pytest.mark.slow
def test_a_profiled_run_is_the_same_run(command_line: CommandLine, tiny_scene: list[str]) -> None:
    curves = []
    for profile in (True, False):
        outcome = command_line(*tiny_scene, f"trainer.profile={profile}", f"experiment.name=profile_{profile}")
        assert outcome.code == 0, outcome.err
        (curve,) = Path("outputs", f"profile_{profile}").rglob("curve.csv")
        curves.append([line.split(",")[:8] for line in curve.read_text().splitlines()])
    assert curves[0] == curves[1]
    (table,) = Path("outputs").rglob("profile.md")
    rows = dict(line.split(" | ")[:2] for line in table.read_text().splitlines()[4:])
    seconds = {name.removeprefix("| "): float(value) for name, value in rows.items()}
    phases = ["gather", "forward", "backward", "optimiser", "scoring", "acquisition", "logging", "I/O"]
    assert list(seconds)[:8] == phases
    assert all(seconds[name] > 0 for name in (*phases, "start"))
    whole = seconds.pop("whole call")
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.1)
    (trace,) = Path("outputs").rglob("trace.json")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert any("conv" in str(name) for name in names)


@pytest.mark.slow
def test_a_learner_without_a_network_has_its_phases_too(command_line: CommandLine, tiny_scene: list[str]) -> None:
    options = [option for option in tiny_scene if not option.startswith("backbone")]
    outcome = command_line(*options, "learner=emp_svm", "trainer.profile=true")
    assert outcome.code == 0, outcome.err
    (table,) = Path("outputs").rglob("profile.md")
    assert "| acquisition |" in table.read_text() and "| forward |" not in table.read_text()
