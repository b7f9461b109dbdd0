"""Signals are noted wherever they come and obeyed at safe places; runs that they end continue to the same digits."""

import errno
import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hsi_al import interrupts
from hsi_al.cli.console import guarded
from hsi_al.methods.base import RefittedLearner
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.outputs import Outputs
from tests.active.test_loop import NearestMean, contents
from tests.active.test_loop import run as run_loop
from tests.conftest import CommandLine
from tests.methods.deep.test_learner import ALL, fit, learner
from tests.processes import Forked, start, wait_for
from tests.test_run import curve_without_seconds, pool_arrays

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def test_without_a_signal_nothing_happens() -> None:
    interrupts.check()
    with interrupts.listening():
        assert interrupts.noted() is None
        interrupts.check()
    with interrupts.at_once():
        interrupts.check()


@BOTH
def test_a_signal_waits_for_a_safe_place(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    reached = False
    with pytest.raises(interrupts.Interrupted) as caught, interrupts.listening():
        signal.raise_signal(number)
        reached = True
        assert interrupts.noted() == number
        interrupts.check()
    assert reached
    assert caught.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert signal.getsignal(number) is before
    assert interrupts.noted() is None


def test_a_signal_in_a_finaliser_is_not_lost() -> None:
    """Where Python would swallow KeyboardInterrupt."""

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Cycle()
    with interrupts.listening():
        gc.collect()
        with pytest.raises(interrupts.Interrupted):
            interrupts.check()


def test_an_inner_listener_changes_nothing() -> None:
    with interrupts.listening():
        with interrupts.listening():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(interrupts.Interrupted):
            interrupts.check()


def test_in_a_thread_nobody_listens() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interrupts.listening():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_handler_of_a_cluster_is_called_at_the_safe_place() -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: called.append(number))
    try:
        with interrupts.listening():
            signal.raise_signal(signal.SIGUSR2)
            assert called == []
            interrupts.check()
            assert called == [signal.SIGUSR2]
            interrupts.check()  # it returned, so the work goes on
            assert called == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_an_exit_by_such_a_handler_ends_the_work() -> None:
    """As submitit puts its job back into the queue."""
    before = signal.signal(signal.SIGUSR2, lambda number, frame: sys.exit(-1))
    try:
        with interrupts.listening(), pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGUSR2)
            interrupts.check()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.listening():
            signal.raise_signal(signal.SIGINT)
            assert interrupts.noted() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_whoever_waits_is_woken_at_once() -> None:
    with interrupts.listening(), pytest.raises(interrupts.Interrupted), interrupts.at_once():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")


def test_an_echo_of_a_signal_is_no_second_one_but_a_later_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(interrupts, "end_at_once", ended.append)
    now = 100.0
    monkeypatch.setattr("hsi_al.interrupts.time.monotonic", lambda: now)
    with interrupts.listening():
        signal.raise_signal(signal.SIGINT)
        now += 0.4
        signal.raise_signal(signal.SIGINT)
        assert ended == []
        now += 0.2
        signal.raise_signal(signal.SIGTERM)
        assert ended == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "hsi_al: interrupted; run the same command to continue.\n"),
        (lambda: signal.raise_signal(signal.SIGHUP), 129, "hsi_al: interrupted; run the same command to continue.\n"),
        (lambda: signal.raise_signal(signal.SIGINT), 130, "hsi_al: interrupted; run the same command to continue.\n"),
        (lambda: sys.exit(5), 5, ""),
        (lambda: sys.exit(), 0, ""),
        (lambda: sys.exit("a message"), 1, ""),
        (lambda: None, 0, ""),
    ],
)
def test_exit_codes(capsys: pytest.CaptureFixture[str], raised: Callable[[], object], code: int, says: str) -> None:
    assert guarded(raised) == code
    assert capsys.readouterr().err == says


def test_a_closed_terminal_ends_a_run_even_where_it_prints() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGHUP)
        raise OSError(errno.EIO, "Input/output error")  # what a print to it gives

    assert guarded(work) == 129


def test_nohup_keeps_a_run_alive() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert guarded(lambda: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)


def stubborn() -> int:
    """Looks at no signal."""

    def work() -> None:
        Path("ready").touch()
        time.sleep(60)

    return guarded(work)


@pytest.mark.slow
@BOTH
def test_a_second_signal_ends_a_process_that_looks_at_none(tmp_path: Path, number: signal.Signals) -> None:
    process = Forked(stubborn, [], tmp_path)
    wait_for(tmp_path / "ready", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.8)
    assert process.poll() is None
    for _ in range(10):  # a busy machine may take what comes together for one
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
            break
    assert process.returncode == 128 + number


SEED = int(os.environ.get("HSI_AL_SIGNAL_SEED", "0"))
KINDS = {
    "cold": ["protocol.warm_start=false"],
    "warm": ["protocol.warm_start=true"],
    "emp_svm": ["learner=emp_svm", "protocol.rounds=1"],
    "two_devices": ["trainer.devices=2", "protocol.rounds=1"],
}
SHOTS = 2 * int(os.environ.get("HSI_AL_SIGNALS", "1"))  # signals for each of them


def arguments_of(tiny_scene: list[str], kind: str) -> list[str]:
    kept = [argument for argument in tiny_scene if kind != "emp_svm" or not argument.startswith("backbone=")]
    return [*kept, "protocol.full_map=true", *KINDS[kind]]


def result_of(run: Path) -> tuple[object, ...]:
    return pool_arrays(run), curve_without_seconds(run), (run / "predictions.h5").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_runs_end_by_signals_at_any_moment_and_continue_to_the_same_digits(
    tiny_scene: list[str], tmp_path: Path, kind: str
) -> None:
    """Each run gets signals at random moments until one of its processes comes to the end, or all shots are fired."""
    arguments, rng = arguments_of(tiny_scene, kind), random.Random(f"{kind} {SEED}")
    whole = tmp_path / "whole"
    process = start([*arguments, f"hydra.run.dir={whole}"], tmp_path)
    wait_for(process.ready, process)
    began = time.monotonic()
    process.communicate(timeout=120)
    seconds = min(3.0, time.monotonic() - began)  # more on a busy machine, where nothing but waiting is gained
    assert process.returncode == 0
    shots, n_runs = 0, 0
    while shots < SHOTS:
        run, n_runs = tmp_path / f"run{n_runs}", n_runs + 1
        while True:
            process = start([*arguments, f"hydra.run.dir={run}"], tmp_path)
            if shots >= SHOTS:  # on a busy machine no round would come to its end
                _, err = process.communicate(timeout=120)
                assert process.returncode == 0, err
                break
            wait_for(process.ready, process)
            time.sleep(rng.uniform(0, seconds))
            number = rng.choice([signal.SIGINT, signal.SIGTERM])
            alive = process.poll() is None
            process.send_signal(number)
            sent = time.monotonic()
            out, err = process.communicate(timeout=20)
            if not alive or process.returncode == 0:
                assert process.returncode == 0, err
                break
            shots += 1
            assert time.monotonic() - sent < 10
            assert process.returncode == 128 + number, (out, err)
            assert err.strip().splitlines()[-1] == "hsi_al: interrupted; run the same command to continue."
            assert "Traceback" not in err and "Exception ignored" not in err
        assert json.loads((run / "meta.json").read_text())["state"] == "finished"
        assert result_of(run) == result_of(whole)


def test_a_sweep_in_one_process_drops_its_other_jobs(
    command_line: CommandLine, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsi_al.active.loop import ActiveLearningLoop

    commit = ActiveLearningLoop.commit

    def interrupted(self: ActiveLearningLoop, *given: object) -> None:
        commit(self, *given)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ActiveLearningLoop, "commit", interrupted)
    outcome = command_line("-m", *tiny_scene, "seed=0,1,2")
    assert outcome.code == 143
    assert outcome.err.strip() == "hsi_al: interrupted; run the same command to continue."
    assert [path.parent.name for path in Path("outputs").rglob("pool.h5")] == ["seed=0"]
    assert not list(Path().glob(".hsi_al-*"))


def test_folders_of_killed_sweeps_go_and_those_of_sweeps_at_work_stay(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    import filelock

    dead, alive = Path(".hsi_al-dead"), Path(".hsi_al-alive")
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "000000").write_text("outputs/x")
    with filelock.FileLock(alive / "lock"):
        outcome = command_line("-m", *tiny_scene, "seed=0", "protocol.rounds=0", "acquisition=none")
    assert outcome.code == 0, outcome.err
    assert not dead.exists()
    assert (alive / "000000").exists()


def test_a_prediction_is_interrupted_between_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hsi_al.methods.base import predicted_map

    class Signalled(NearestMean):
        parts = 0

        def predict(self, pixel_ids: np.ndarray) -> object:  # type: ignore[override]
            self.parts += 1
            signal.raise_signal(signal.SIGINT)
            return super().predict(pixel_ids)

    monkeypatch.setattr("hsi_al.methods.base.PART", 10)
    learner, none = Signalled(), np.empty(0, np.int64)
    with interrupts.listening(), pytest.raises(interrupts.Interrupted):
        predicted_map(learner, 100, 3, none, none)  # type: ignore[arg-type]
    assert learner.parts == 1


@pytest.mark.parametrize("during", ["fit", "predict"])
def test_training_and_scoring_stop_between_two_steps(during: str) -> None:
    deep = fit(learner(predict_batch_size=50))
    told: list[str] = []

    def signalled(text: str, part: float) -> None:
        told.append(text)
        signal.raise_signal(signal.SIGINT)  # Lightning itself stops at SIGTERM

    deep.progress = signalled
    with interrupts.listening(), pytest.raises(interrupts.Interrupted):
        _ = fit(deep) if during == "fit" else deep.predict(ALL)
    assert len(told) == 1


def test_a_search_stops_between_two_fits() -> None:
    labels = np.repeat([0, 1], 20)
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    with interrupts.listening(), pytest.raises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)
        GridSvm().fit(features, labels, np.random.default_rng(0))


def test_a_learner_stops_where_it_reports() -> None:
    with interrupts.listening(), pytest.raises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)
        RefittedLearner().report("representing", 0.5)


@pytest.mark.parametrize("when", ["fit", "predict"])
def test_a_round_in_which_a_signal_came_is_not_committed(tmp_path: Path, when: str) -> None:
    class Signalled(NearestMean):
        def fit(self, pixel_ids: np.ndarray, labels: np.ndarray, round_: int, rng: np.random.Generator) -> None:
            super().fit(pixel_ids, labels, round_, rng)
            self.signal("fit")

        def predict(self, pixel_ids: np.ndarray) -> Outputs:
            self.signal("predict")
            return super().predict(pixel_ids)

        def signal(self, place: str) -> None:
            if place == when and self.fits[-1][0] == 1:
                signal.raise_signal(signal.SIGINT)

    with interrupts.listening(), pytest.raises(interrupts.Interrupted):
        run_loop(tmp_path, learner=Signalled())
    assert contents(tmp_path)["next_round"] == 1


def test_a_process_ends_once_its_parent_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_parent", None)
    interrupts.end_with(os.getppid())
    interrupts.check()
    ended: list[int] = []
    monkeypatch.setattr(os, "getppid", lambda: 0)
    monkeypatch.setattr(os, "_exit", ended.append)
    interrupts.check()
    assert ended == [143]
