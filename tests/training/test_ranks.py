"""Several processes train and score as one does, and none is left waiting."""

import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from torch.multiprocessing.spawn import ProcessExitedException

from hsi_al import interrupts
from hsi_al.errors import ConfigurationError, HsiAlError, LearnerError, RunDirectoryError
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.training.ranks import ALONE, Ranks, check_devices, joined, run_in_processes
from hsi_al.training.trainer import build_trainer, fitting_memory
from tests.conftest import CommandLine
from tests.fakes import gaussian_cube
from tests.processes import start
from tests.test_run import TINY_RUN, pool_arrays

SPAWN = import_module("torch.multiprocessing.spawn")  # the package has a function of this name
NEEDS = frozenset({"predicted_loss_N", "probabilities_NC"})
IDS = np.arange(12) * 131  # batches of 10 and 2: five pairs don't divide by two, one pair leaves a process without


def fitted(ranks: Ranks) -> dict[str, np.ndarray]:
    """Weights, statistics and outputs after two rounds from fresh weights, with everything that makes a loss."""
    cube, classes = gaussian_cube()
    settings = DeepSettings().having(
        backbone="resnet18",
        stem="s2_pool",
        epochs=1,
        detach=None,
        class_weights="balanced",
        accelerator="cpu",
        augment=True,
        label_smoothing=0.1,
        average_weights=0.9,
        precision="64-true",  # Adam makes as large a step of a gradient that is only rounding
    )
    learner = DeepLearner(cube, 4, np.arange(1600), settings, NEEDS, ranks=ranks)
    learner.datamodule.gatherer.double()
    for round_ in (0, 1):
        learner.fit(IDS, classes[IDS], round_, np.random.default_rng(round_))
    outputs = learner.predict(np.arange(5))
    assert learner.predict(np.arange(1)).predicted_class.shape == (1,)
    assert outputs.probabilities_NC is not None and outputs.predicted_loss_N is not None
    weights = {name: value.numpy() for name, value in learner.module.state_dict().items()}
    return weights | {"probabilities": outputs.probabilities_NC, "predicted_loss": outputs.predicted_loss_N}


def in_each(folder: Path) -> None:
    """Fit together; then errors that all learn of, and at last one that leaves the other process waiting."""
    torch.set_num_threads(1)
    with joined("cpu", 2) as ranks:
        for name, value in {"result": ranks.rank, "place": ranks.from_first(lambda: ranks.rank)}.items():
            (folder / f"{name}{ranks.rank}").write_text(str(value))
        np.savez(folder / f"fitted{ranks.rank}.npz", **fitted(ranks))  # type: ignore[arg-type]

        def fail() -> None:
            raise RunDirectoryError(f"said by {ranks.rank}")

        with pytest.raises(RunDirectoryError, match="said by 0"):
            ranks.from_first(fail)
        with pytest.raises(RunDirectoryError, match="said by 1"):
            ranks.agreed(lambda: fail() if ranks.rank else None)
        (folder / f"agreed{ranks.rank}").touch()
        if ranks.rank:
            raise LearnerError("no memory in one of them")
        dist.barrier()


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_an_error_of_one_ends_both(tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match="no memory in one of them"):
        run_in_processes(2, in_each, tmp_path)
    assert [(tmp_path / f"place{rank}").read_text() for rank in (0, 1)] == ["0", "0"]
    assert all((tmp_path / f"agreed{rank}").exists() for rank in (0, 1))
    first, second = (np.load(tmp_path / f"fitted{rank}.npz") for rank in (0, 1))
    one = fitted(ALONE)
    assert set(one) == set(first.files)
    for name, value in one.items():
        assert np.array_equal(first[name], second[name]), name
        assert np.allclose(first[name], value, rtol=1e-5, atol=1e-6), name


@pytest.mark.slow
def test_the_command_line_with_two_devices_asks_for_the_same_pixels(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    options = [*tiny_scene, "protocol.rounds=1", "trainer.profile=true"]
    one = command_line(*options, f"hydra.run.dir={tmp_path / 'one'}")
    two = start([*options, f"hydra.run.dir={tmp_path / 'two'}", "trainer.devices=2"], tmp_path)
    out, err = two.communicate(timeout=120)
    assert (one.code, two.returncode) == (0, 0), err
    assert pool_arrays(tmp_path / "one") == pool_arrays(tmp_path / "two")
    assert out.count("round 1/1") == 1 and "in 2 processes with 1 threads each" in out
    for run, devices in (("one", 1), ("two", 2)):
        assert f'"devices": {devices}' in (tmp_path / run / "meta.json").read_text()
        table = (tmp_path / run / "profile.md").read_text()
        phases = ("gather", "forward", "backward", "optimiser", "scoring", "acquisition", "logging", "I/O")
        assert all(f"\n| {phase} | " in table for phase in phases)
    again = command_line(*options, f"hydra.run.dir={tmp_path / 'one'}", "trainer.devices=2")
    assert again.code == 2
    assert "trainer.devices (1 -> 2)" in again.err


def test_a_process_asks_for_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def spying(*given: Any, **more: Any) -> Any:
        asked.append(more["ranks"])
        return build_trainer(*given, **more)

    monkeypatch.setattr("hsi_al.methods.deep.learner.build_trainer", spying)
    ranks = Ranks(1, 2, environment=LightningEnvironment())
    DeepLearner(gaussian_cube()[0], 4, IDS, DeepSettings().having(backbone="lenet", accelerator="cpu"), ranks=ranks)
    assert asked and all(given is ranks for given in asked)


def test_alone_nothing_is_exchanged() -> None:
    assert ALONE.from_first(lambda: 3) == ALONE.agreed(lambda: 3) == 3
    assert ALONE.gathered("part") == ["part"]
    assert ALONE.is_first


class Recorded:
    """A process that only keeps what is done to it."""

    pid = 4711

    def __init__(self, done: list[str], exitcode: int | None = None) -> None:
        self.done, self.exitcode = done, exitcode

    def join(self, seconds: float) -> None: ...

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        self.done.append("kill")


class FakeContext:
    """Processes that are never there, or that only keep what is done to them."""

    def __init__(self, error: BaseException, *processes: Any) -> None:
        self.error, self.processes = error, processes or (Recorded([]),)

    def join(self, timeout: float, grace_period: float) -> bool:
        raise self.error


def test_a_killed_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ProcessExitedException("gone", 1, 4711, -9, "SIGKILL")
    monkeypatch.setattr(SPAWN, "start_processes", lambda *_, **__: FakeContext(error))
    with pytest.raises(LearnerError, match=r"Process 2 of 2 was ended by SIGKILL.*lower trainer\.devices"):
        run_in_processes(2, print)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_to_the_first_process_once_and_the_rest_is_killed(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    done: list[str] = []

    class Working(FakeContext):
        """Its first process ends at the third look, by the signal."""

        looks = 0

        def join(self, timeout: float, grace_period: float) -> bool:
            self.looks += 1
            if self.looks == 1:
                signal.raise_signal(number)
            if self.looks == 3:
                raise self.error
            return False

    context = Working(ProcessExitedException("gone", 0, 4711, 128 + number), Recorded(done), Recorded(done))
    monkeypatch.setattr(SPAWN, "start_processes", lambda *_, **__: context)
    monkeypatch.setattr(os, "kill", lambda pid, sent: done.append(f"{pid} {signal.Signals(sent).name}"))
    with interrupts.listening(), pytest.raises(interrupts.Interrupted) as caught:
        run_in_processes(2, print)
    assert caught.value.signal_number == number
    assert done == [f"4711 {number.name}", "kill", "kill"]


def test_a_first_process_that_was_asked_to_end_by_itself_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ProcessExitedException("gone", 1, 4711, 2)  # the other one, which then has nobody to talk to
    context = FakeContext(error, Recorded([], exitcode=143), Recorded([]))
    monkeypatch.setattr(SPAWN, "start_processes", lambda *_, **__: context)
    with pytest.raises(interrupts.Interrupted) as caught:
        run_in_processes(2, print)
    assert caught.value.exit_code == 143


@pytest.mark.parametrize(
    ("there", "accelerator", "devices", "refused"),
    [(0, "cpu", 9, False), (2, "gpu", 2, False), (2, "gpu", 3, True), (0, "auto", 2, False), (1, "auto", 2, True)],
)
def test_more_gpus_than_there_are_are_refused(
    monkeypatch: pytest.MonkeyPatch, there: int, accelerator: str, devices: int, refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    if refused:
        with pytest.raises(ConfigurationError, match=f"trainer.devices={devices} is more than the {there} device"):
            check_devices(accelerator, devices)
    else:
        check_devices(accelerator, devices)


def test_the_processes_of_slurm_must_be_as_many_as_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    check_devices("cpu", 2)
    for devices in (1, 3):
        with pytest.raises(ConfigurationError, match=f"tasks_per_node={devices}"):
            check_devices("cpu", devices)
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    with pytest.raises(HsiAlError, match="2 node"):
        check_devices("cpu", 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainer.devices=0"], "trainer.devices=0 must be 1 or more"),
        (["trainer.devices=6"], "in batches of 10; take 5 at most, or a larger protocol.batch_size"),
        (["trainer.devices=2", "trainer.accelerator=gpu"], "is more than the"),
        (["trainer.devices=2", "learner=emp_svm"], "but learner=emp_svm takes one device"),
        (["-m", "trainer.devices=2", "seed=0,1"], "leave out -m"),
        (["-m", "trainer.devices=1,2", "hydra/launcher=joblib"], "hydra/launcher=concurrent"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    command_line: CommandLine, tiny_scene: list[str], arguments: list[str], words: str
) -> None:
    outcome = command_line(*tiny_scene, *arguments)
    assert outcome.code == 2
    assert words in outcome.err and outcome.err.count("\n") == 1
    assert not Path("outputs").exists() or not list(Path("outputs").rglob("*.*"))
    assert not TINY_RUN.exists()


def test_used_up_memory_is_one_sentence() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ):
        with pytest.raises(LearnerError, match=r"run fewer jobs at once \(hydra\.launcher\.n_jobs\)"), fitting_memory():
            raise error
    with pytest.raises(RuntimeError, match="a bug"), fitting_memory():
        raise RuntimeError("a bug")
