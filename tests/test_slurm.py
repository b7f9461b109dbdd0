"""Sweeps on a real SLURM, where there is one (experiments/cluster/start_slurm.sh starts one)."""

import csv
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.processes import start, wait_for
from tests.test_run import pool_arrays


def there_is_slurm() -> bool:
    if find_spec("submitit") is None:
        return False
    return shutil.which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not there_is_slurm(),
        reason="no SLURM (experiments/cluster/start_slurm.sh starts one), or no hydra-submitit-launcher",
    ),
]
SLURM = ["-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2"]


def local(tiny_scene: list[str]) -> list[str]:
    return [option for option in tiny_scene if not option.startswith(("acquisition", "trainer.threads"))]


def rows(run: Path) -> list[list[str]]:
    with (run / "curve.csv").open(newline="") as file:
        return [[cell for name, cell in row.items() if not name.startswith("seconds")] for row in csv.DictReader(file)]


def test_a_sweep_ends_with_a_summary_and_a_failing_job_is_named(tmp_path: Path, tiny_scene: list[str]) -> None:
    process = start([*SLURM, *local(tiny_scene), "acquisition=none,entropy,random"], tmp_path)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 2, err
    said = [line for line in err.splitlines() if line.startswith("hsi_al: ")]
    assert "acquisition=none never queries" in said[0]
    assert said[-1] == "hsi_al: error: 1 job(s) of the multirun failed; the others went on."
    for acquisition in ("entropy", "random"):
        run = f"outputs/main/tiny/deep-lenet/{acquisition}/smoke-paper/seed=0"
        assert f"{run} " in out
        assert '"threads": 1' in (tmp_path / run / "meta.json").read_text()


def test_a_run_on_several_devices_is_one_job_of_several_processes(tmp_path: Path, tiny_scene: list[str]) -> None:
    two = ["hydra.launcher.tasks_per_node=2", "trainer.devices=2", "protocol.rounds=1"]
    process = start([*SLURM, *two, *local(tiny_scene), "acquisition=none,entropy"], tmp_path)
    _, err = process.communicate(timeout=400)
    assert process.returncode == 2, err
    said = [line for line in err.splitlines() if line.startswith("hsi_al: ")]
    assert len(said) == 2 and "acquisition=none never queries" in said[0]
    run = "outputs/main/tiny/deep-lenet/entropy/smoke-paper/seed=0"
    assert '"devices": 2' in (tmp_path / run / "meta.json").read_text()
    one = start(["acquisition=entropy", "protocol.rounds=1", *local(tiny_scene), "hydra.run.dir=one"], tmp_path)
    one.communicate(timeout=300)
    assert one.returncode == 0
    assert pool_arrays(tmp_path / run) == pool_arrays(tmp_path / "one")


@pytest.mark.parametrize(("tasks", "epochs"), [(1, 300), (2, 20)])
def test_a_pre_empted_job_is_put_back_and_continues_alike(
    tmp_path: Path, tiny_scene: list[str], tasks: int, epochs: int
) -> None:
    options = [
        *local(tiny_scene),
        "acquisition=entropy",
        "protocol.rounds=12",
        f"protocol.epochs={epochs}",
        f"protocol.warm_epochs={epochs}",
        f"trainer.devices={tasks}",
    ]
    undisturbed = start([*options, "experiment.name=undisturbed", "trainer.threads=1"], tmp_path)
    process = start([*SLURM, f"hydra.launcher.tasks_per_node={tasks}", *options], tmp_path)
    run = tmp_path / "outputs/main/tiny/deep-lenet/entropy/smoke-paper/seed=0"
    wait_for(run / "pool.h5", process)
    jobs = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["scancel", "--signal=USR2", jobs.split()[0]], check=True)
    deadline = time.monotonic() + 60
    while (
        "RUNNING"
        in subprocess.run(["squeue", "--noheader", "--format=%T"], capture_output=True, text=True, check=True).stdout
    ):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    done = len(rows(run))
    assert done < 13
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0
    assert len(rows(run)) == 13
    assert rows(run) == rows(tmp_path / "outputs/undisturbed/tiny/deep-lenet/entropy/smoke-paper/seed=0")
    assert '"calls": 2' in (run / "meta.json").read_text()
