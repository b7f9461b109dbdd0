"""Runs that end before their last round, and the same after a kill."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from hsi_al.active.stopping import STABLE_ROUNDS, Stopping, agreement_of
from hsi_al.predict import main as predict_main
from tests.active.test_loop import INITIAL, QUERY, Killed, Mortal, NearestMean, WarmNearestMean, contents, start
from tests.conftest import CommandLine, tiny_arrays, unfinish

NAN = float("nan")


def rows(*agreements: float, accuracy: float = 0.5) -> list[dict[str, float]]:
    return [{"oa_heldout": accuracy, "agreement": value} for value in agreements]


@pytest.mark.parametrize(
    ("agreements", "stops"),
    [
        ([NAN, 0.995, 0.992, 0.999], True),
        ([NAN, 0.5, 0.995, 0.992, 0.999], True),
        ([NAN, 0.995, 0.992], False),
        ([NAN, 0.995, 0.99, 0.999], False),  # above, not at
        ([NAN, 0.995, 0.995, 0.995, 0.5], False),
        ([NAN], False),
        ([], False),
    ],
)
def test_three_stable_rounds_in_a_row_stop(agreements: list[float], stops: bool) -> None:
    assert (Stopping(agreement=0.99).reason(rows(*agreements)) is not None) == stops
    assert Stopping().reason(rows(*agreements)) is None


def test_a_reached_accuracy_stops() -> None:
    for accuracy, stops in ((0.95, True), (0.96, True), (0.9499, False), (NAN, False)):
        reason = Stopping(accuracy=0.95).reason([{"oa_heldout": accuracy}])
        assert (reason is not None) == stops
        assert reason is None or "optimistic" in reason


def test_agreement_is_cohens_kappa() -> None:
    before, after = np.random.default_rng(0).integers(4, size=(2, 50))
    assert agreement_of(before, after, 4) == pytest.approx(cohen_kappa_score(before, after))
    assert np.isnan(agreement_of(None, after, 4))
    assert np.isnan(agreement_of(before[:0], after[:0], 4))
    ones = np.ones(5, np.int64)
    assert agreement_of(ones, ones, 4) == 1.0
    assert agreement_of(ones, 0 * ones, 4) == 0.0


class Constant(NearestMean):
    """Predicts the same from its second round on."""

    def next_means(self, fresh: NDArray[np.float64], round_: int) -> NDArray[np.float64]:
        return fresh if round_ == 0 else np.eye(3)


def stopping_run(path: Path, rule: Stopping, learner: NearestMean | None = None, kind: str = "holdout") -> None:
    """As a job does it: a rule that is met already starts no round."""
    loop, first_round = start(path, kind=kind, learner=learner, rounds=7)
    loop.stopping = rule
    if first_round and rule.reason(loop.records.rows):
        return
    loop.run(first_round)
    assert (loop.stopped is None) == (len(loop.records.rows) == 8)


def test_a_target_stops_before_its_query_and_leaves_weights(tmp_path: Path) -> None:
    stopping_run(tmp_path / "whole", Stopping())
    curve = contents(tmp_path / "whole")["curve"]
    assert len(curve) == 8 and "agreement" not in curve[0] and "pool/predicted" not in contents(tmp_path / "whole")
    accuracies = [float(row["oa_heldout"]) for row in curve]
    target = max(accuracies[1:4])
    last = next(index for index, value in enumerate(accuracies) if value >= target)
    learner = NearestMean()
    stopping_run(tmp_path / "stopped", Stopping(accuracy=target), learner)
    found = contents(tmp_path / "stopped")
    assert found["curve"] == curve[: last + 1]
    assert sum(at >= 0 for at in found["pool/labelled_at"]) == INITIAL + last * QUERY
    assert found["weights"] == learner.means.tobytes()
    stopping_run(tmp_path / "at once", Stopping(accuracy=0.0))
    assert contents(tmp_path / "at once")["curve"] == curve[:1]


@pytest.mark.parametrize("kind", ["paper", "holdout"])
def test_stable_predictions_stop(tmp_path: Path, kind: str) -> None:
    learner = Constant()
    stopping_run(tmp_path, Stopping(agreement=0.99), learner, kind)
    found = contents(tmp_path)
    last = 1 + STABLE_ROUNDS
    agreements = [float(row["agreement"]) for row in found["curve"]]
    assert np.isnan(agreements[0]) and agreements[1] < 0.99 and agreements[2:] == [1.0] * STABLE_ROUNDS
    assert len(agreements) == len(learner.fits) == last + 1
    ids = np.array(found["pool/pixel_id"])
    at = np.array(found["pool/labelled_at"])
    unlabelled = ids[(at < 0) | (at > 1)]
    first, second = (
        np.array(answers)[np.searchsorted(scored, unlabelled)] for scored, answers in learner.predictions[:2]
    )
    assert agreements[1] == pytest.approx(cohen_kappa_score(first, second))
    scored, answers = learner.predictions[-1]
    predicted = np.array([1, 3, 10])[np.array(answers)[np.searchsorted(scored, ids)]]
    assert found["pool/predicted"] == predicted.tolist()


class WarmConstant(Constant, WarmNearestMean):
    pass


@pytest.mark.parametrize("n", [1, 3, 4, 6, 7, 8, 14, 15, 18, 19, 20])
def test_a_stopping_run_killed_at_any_file_continues_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    rule = Stopping(agreement=0.99)
    stopping_run(tmp_path / "whole", rule, WarmConstant())
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Mortal(patch, n)
        stopping_run(tmp_path / "killed", rule, WarmConstant())
    stopping_run(tmp_path / "killed", rule, WarmConstant())
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    stopping_run(tmp_path / "killed", rule, WarmConstant())
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_stopped_run_is_finished_and_says_why(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    rule = ["split=holdout", "protocol.stop_at=0.01", "protocol.stop_when_stable=0.9", "protocol.rounds=4"]
    arguments = [*tiny_scene, *rule, "protocol.full_map=true", f"hydra.run.dir={run}"]
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert "Stops at a held-out OA of 1 %" in outcome.out and "Stopped early: held-out OA" in outcome.out
    meta = json.loads((run / "meta.json").read_text())
    assert meta["state"] == "finished" and meta["stopped"]["round"] == 0
    assert "optimistic" in meta["stopped"]["reason"]
    with (run / "curve.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["n_labelled"], row["agreement"]) == ("12", "nan")
    np.save(tmp_path / "same.npy", tiny_arrays()[0])
    assert predict_main([str(run), str(tmp_path / "same.npy")]) == 0
    with h5py.File(run / "predictions.h5") as file:
        before = file["class_map"][:]
    # killed between its last commit and its maps
    unfinish(run)
    (run / "predictions.h5").unlink()
    assert command_line(*arguments).code == 0
    assert json.loads((run / "meta.json").read_text())["stopped"] == meta["stopped"]
    with h5py.File(run / "predictions.h5") as file:
        assert np.array_equal(file["class_map"][:], before)
    assert "finished already" in command_line(*arguments).out


def test_a_target_without_fixed_test_pixels_is_refused(command_line: CommandLine, tiny_scene: list[str]) -> None:
    outcome = command_line(*tiny_scene, "protocol.stop_at=0.9")
    assert outcome.code == 2
    assert "protocol.stop_at=0.9 needs fixed test pixels" in outcome.err
    outcome = command_line(*tiny_scene, "split=holdout", "protocol.stop_at=95")
    assert outcome.code == 2
    assert "protocol.stop_at=95.0 must be between 0 and 1" in outcome.err
