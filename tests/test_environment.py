"""Environments that lack or garble something: no home directory, variables that are no numbers, another locale."""

import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hsi_al.active.meta import peak_memory_mb
from hsi_al.active.observers.wandb_observer import resolved_mode
from hsi_al.errors import ConfigurationError, HsiAlError, SceneError
from hsi_al.run import is_first_task
from hsi_al.scenes.catalogue import data_folder, expanded
from hsi_al.scenes.download import cache_folder
from hsi_al.training.ranks import available_threads, check_devices, number_from_environment, started_by_slurm
from tests.conftest import CommandLine

SLURM = ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID")
THREADS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")


@pytest.fixture(autouse=True)
def outside_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SLURM, *THREADS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "1e3", "²", "9" * 40, "0x1", "\x1b[31m"])
@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("SLURM_STEP_NUM_TASKS", started_by_slurm),
        ("SLURM_STEP_NUM_NODES", lambda: check_devices("cpu", 1)),
        ("OMP_NUM_THREADS", available_threads),
        ("SLURM_CPUS_PER_TASK", available_threads),
    ],
)
def test_variables_that_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch, name: str, reading: Callable[[], object], value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}=.* must be a whole number between"):
        reading()


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"])
def test_what_lightning_reads_of_slurm_is_checked_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    check_devices("cpu", 1)  # one process: nobody reads it
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigurationError, match=f"{name}=x"):
        check_devices("cpu", 2)


def test_numbers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in (("", 7), (" ", 7), ("3", 3), ("4,2", 4), (" 5 ", 5)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert number_from_environment("OMP_NUM_THREADS", 7) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert (available_threads(), available_threads(2)) == (6, 3)


@pytest.mark.parametrize(
    ("tasks", "number", "first"),
    [(None, None, True), ("1", "5", True), ("2", "0", True), ("2", "1", False), ("2", "", True), ("x", "y", True)],
)
def test_somebody_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tasks: str | None, number: str | None, first: bool
) -> None:
    for name, value in (("SLURM_STEP_NUM_TASKS", tasks), ("SLURM_PROCID", number)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert is_first_task() is first


@pytest.mark.parametrize(
    ("given", "mode"), [("online", "offline"), ("run", "offline"), ("dryrun", "offline"), ("disabled", "disabled")]
)
def test_modes_of_wandb(monkeypatch: pytest.MonkeyPatch, given: str, mode: str) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", given)
    assert resolved_mode("auto", "https://wandb.example.org")[0] == mode


def test_an_unknown_mode_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "junk")
    with pytest.raises(ConfigurationError, match="WANDB_MODE=junk is unknown; set online"):
        resolved_mode("auto", "https://wandb.example.org")
    assert resolved_mode("offline", "https://wandb.example.org")[0] == "offline"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and a user id without an entry."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME", "HSI_AL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_directory() -> None:
    readings: list[Callable[[], object]] = [
        partial(expanded, "~/x.npy"),
        partial(data_folder, "~/scenes"),
        cache_folder,
    ]
    for reading in readings:
        with pytest.raises(SceneError, match="home directory"):
            reading()
    assert expanded("x/~.npy") == Path("x/~.npy")


@pytest.mark.usefixtures("homeless", "no_figures")
def test_runs_need_no_home_directory(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line(*tiny_scene, "learner=emp_svm", "protocol.rounds=0", "acquisition=none")
    assert outcome.code == 0, outcome.err
    assert not Path("~").exists()
    outcome = command_line(*tiny_scene, "dataset.cube_file='~/x.npy'")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "The home directory in ~/x.npy can't be found" in outcome.err


def test_an_unknown_user() -> None:
    with pytest.raises(HsiAlError, match=r"home directory in ~nobody\.is\.here/x"):
        expanded("~nobody.is.here/x")


def test_the_memory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("Name: x\nVmHWM:\t  4096 kB\n")
    assert peak_memory_mb(status) == 4
    status.write_text("Name: x\n")  # a kernel that doesn't say
    assert (peak_memory_mb(status) or 0) > 10
    monkeypatch.setitem(sys.modules, "resource", None)  # not on a Unix
    assert peak_memory_mb(status) is None


@pytest.mark.usefixtures("no_figures")
def test_a_run_in_ascii(command_line: CommandLine, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    given = [argument for argument in tiny_scene if not argument.startswith("dataset.name")]
    names = ["dataset.name='Ödland'", "dataset.class_names=['Weißklee','日本','a\\x1b']"]
    outcome = command_line(*given, *names, "learner=emp_svm", "protocol.rounds=0", "acquisition=none")
    assert outcome.code == 0, outcome.err
    sys.stdout.flush()
    assert b"\\xd6dland: 24 x 26 pixels" in written.getvalue()
    assert next(Path("outputs").rglob("config.yaml")).read_text(encoding="utf-8").count("Weißklee") == 1
