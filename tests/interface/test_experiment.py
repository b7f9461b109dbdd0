"""Experiments in memory are runs of the command line, and nothing is lost when a round fails."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import hsi_al
from hsi_al import interrupts
from tests.conftest import CommandLine, tiny_arrays

Ids = NDArray[np.int64]
NUMBERS: dict[str, Any] = {"rounds": 2, "query_size": 4, "initial_size": 12, "threads": 1}


@pytest.fixture(scope="module")
def tiny() -> hsi_al.Scene:
    return hsi_al.load_scene(*tiny_arrays(), name="tiny")


def run_directory(outputs: Path = Path("outputs")) -> Path:
    (found,) = {path.parent for path in outputs.rglob("meta.json")}
    return found


CASES = [
    ("profile_trees", "margin", "paper", {}, {}),
    ("profile_trees", "margin", "blocks", {"block_size": 6, "guard": 3}, {"min_distance": 3}),
    ("lda", "random", "holdout", {"fold": 1}, {}),
    ("lda", "margin", "holdout", {}, {"by": "profile_trees", "by_step": 3}),
    ("lda", "modified_breaking_ties", "checkerboard", {"block_size": 4, "guard": 1, "new_ground": 0.5}, {}),
]


@pytest.mark.parametrize(("learner", "acquisition", "kind", "split", "around"), CASES)
def test_the_command_line_gives_the_same_bits(
    command_line: CommandLine,
    tiny_scene: list[str],
    no_figures: None,
    learner: str,
    acquisition: str,
    kind: str,
    split: dict[str, Any],
    around: dict[str, Any],
) -> None:
    keys = [f"split.{key}={value}" for key, value in split.items()]
    keys += [f"acquisition.{key}={value}" for key, value in around.items()]
    files = [argument for argument in tiny_scene if argument.startswith("dataset")]
    numbers = [f"protocol.{key}={NUMBERS[key]}" for key in ("rounds", "query_size", "initial_size")]
    named = [f"learner={learner}", f"acquisition={acquisition}", f"split={kind}", "protocol=few", "seed=3"]
    outcome = command_line(*files, *named, *numbers, *keys, "trainer.threads=1")
    assert outcome.code == 0, outcome.err
    file = files[2].removeprefix("dataset.cube_file=")
    scene = hsi_al.load_scene(file, name="tiny", cube_key="cube", ground_truth_key="truth")
    experiment = hsi_al.Experiment(
        scene,
        hsi_al.make_split(scene, kind, learner=learner, **split),
        learner,
        hsi_al.make_acquisition(acquisition, **around),
        seed=3,
        **NUMBERS,
    )
    curve, path = experiment.run(), run_directory()
    with (path / "curve.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == list(curve) and len(rows) == 3
    for name, values in curve.items():
        if not name.startswith("seconds_"):
            np.testing.assert_array_equal(values, [float(row[name]) for row in rows], err_msg=name)
    with h5py.File(path / "pool.h5") as pool, h5py.File(path / "confusion.h5") as confusion:
        chosen = pool["labelled_at"][:] >= 0
        for name in ("pixel_id", "label", "labelled_at"):
            np.testing.assert_array_equal(experiment.labelled[name], pool[name][:][chosen])
        np.testing.assert_array_equal(experiment.split.candidates, pool["pixel_id"][:])
        for round_ in range(3):
            np.testing.assert_array_equal(experiment.confusion(True, round_), confusion["heldout"][round_])
            np.testing.assert_array_equal(experiment.confusion(False, round_), confusion["all"][round_])
    with h5py.File(path / "predictions.h5") as predictions:
        np.testing.assert_array_equal(experiment.class_map, predictions["class_map"][:])


def test_indian_pines_in_blocks_with_the_default_guard_as_on_the_command_line(
    command_line: CommandLine, no_figures: None
) -> None:
    keys = ["learner=lda", "acquisition=random", "split=blocks", "protocol=few", "protocol.rounds=1"]
    assert command_line(*keys, "protocol.full_map=false", "trainer.threads=1").code == 0
    experiment = hsi_al.Experiment("indian_pines", "blocks", "lda", "random", rounds=1, threads=1)
    curve = experiment.run()
    run = hsi_al.load_run(run_directory())
    assert run.curve["oa_heldout"].tolist() == curve["oa_heldout"].tolist()
    assert run.labelled["pixel_id"].tolist() == experiment.labelled["pixel_id"].tolist()
    own = hsi_al.make_split(experiment.scene, "blocks", learner="lda")
    assert own.test.tolist() == experiment.split.test.tolist()
    wider = hsi_al.make_split(experiment.scene, "blocks")  # the window of the trees is 65
    assert 0 < len(wider.test) < len(own.test)


def test_a_network_in_memory_is_that_of_the_command_line(
    command_line: CommandLine, tiny_scene: list[str], no_figures: None
) -> None:
    outcome = command_line(*tiny_scene, "backbone=small", "patch_size=5", "protocol.full_map=false")
    assert outcome.code == 0, outcome.err
    cube, truth = tiny_arrays()
    learner = hsi_al.make_learner("deep", backbone="small", patch_size=5, **{"trainer.accelerator": "cpu"})
    experiment = hsi_al.Experiment(
        hsi_al.load_scene(cube, truth), "paper", learner, "entropy", protocol="smoke", **NUMBERS, max_pixels=0 or 10**6
    )
    run = hsi_al.load_run(run_directory())
    assert experiment.run()["oa_all"].tolist() == run.curve["oa_all"].tolist()


def test_steps_are_the_whole(tiny: hsi_al.Scene) -> None:
    whole = hsi_al.Experiment(tiny, learner="lda", **NUMBERS).run()
    stepped = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    assert not stepped.finished and stepped.curve["round"].tolist() == []
    assert stepped.run(0)["round"].tolist() == []
    assert stepped.run(1)["round"].tolist() == [0]
    row = stepped.step()
    assert (row["round"], row["n_labelled"]) == (1, 16)
    assert [row["round"] for row in stepped] == [2]
    assert stepped.finished and stepped.curve["oa_all"].tolist() == whole["oa_all"].tolist()
    assert stepped.run()["round"].tolist() == [0, 1, 2]
    with pytest.raises(hsi_al.ConfigurationError, match="has played all its 3 rounds"):
        stepped.step()


def test_nothing_is_written(tiny: hsi_al.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    experiment.run()
    assert experiment.class_map.any() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, interrupts.Interrupted])
def test_a_round_that_fails_is_repeated_alike(tiny: hsi_al.Scene, error: type[BaseException]) -> None:
    truth, calls = tiny.ground_truth.ravel(), []

    def oracle(pixel_ids: Ids) -> Any:
        calls.append(pixel_ids.tolist())
        if len(calls) == 3:
            raise error(2)
        return truth[pixel_ids]

    undisturbed = hsi_al.Experiment(tiny, learner="lda", seed=0, **NUMBERS).run()
    experiment = hsi_al.Experiment(tiny, learner="lda", seed=0, oracle=oracle, **NUMBERS)
    experiment.step()
    before = {name: values.tolist() for name, values in experiment.labelled.items()}
    maps = experiment.class_map, experiment.uncertainty_map
    with pytest.raises(error):
        experiment.step()
    np.testing.assert_array_equal(experiment.class_map, maps[0])
    np.testing.assert_array_equal(experiment.uncertainty_map, maps[1])
    assert {name: values.tolist() for name, values in experiment.labelled.items()} == before
    assert experiment.curve["round"].tolist() == [0]
    assert experiment.run()["oa_all"].tolist() == undisturbed["oa_all"].tolist()
    assert calls[2] == calls[3]


def test_a_failure_after_the_pool_has_grown_is_taken_back(tiny: hsi_al.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", stop_when_stable=0.9, **NUMBERS)
    experiment.step()
    commit = type(experiment._parts.records).commit

    def late(*given: Any) -> None:
        commit(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(experiment._parts.records), "commit", late)
        experiment.step()
    assert len(experiment.labelled["label"]) == 16 and len(experiment.curve["round"]) == 1
    stopping = hsi_al.Experiment(tiny, learner="lda", stop_at=0.0, **NUMBERS)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(experiment._parts.records), "commit", late)
        stopping.step()
    assert stopping.stopped is None and not stopping.finished
    assert len(stopping.run()["round"]) == 1 and stopping.finished and "has reached" in str(stopping.stopped)
    again = hsi_al.Experiment(tiny, learner="lda", stop_when_stable=0.9, **NUMBERS)
    np.testing.assert_array_equal(experiment.run()["agreement"], again.run()["agreement"])


def test_a_warm_network_is_not_continued_after_an_interrupt(tiny: hsi_al.Scene) -> None:
    learner = hsi_al.make_learner("deep", backbone="small", patch_size=5, **{"trainer.accelerator": "cpu"})
    experiment = hsi_al.Experiment(tiny, learner=learner, protocol="smoke", oracle=lambda ids: ids * 0 + 2, **NUMBERS)
    experiment._loop.oracle = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        experiment.step()
    with pytest.raises(hsi_al.LearnerError, match="make the experiment anew"):
        experiment.step()


def test_what_a_warm_network_has_half_learnt_is_no_map(tiny: hsi_al.Scene, tmp_path: Path) -> None:
    learner = hsi_al.make_learner("deep", backbone="small", patch_size=5, **{"trainer.accelerator": "cpu"})
    experiment = hsi_al.Experiment(tiny, learner=learner, protocol="smoke", **NUMBERS)
    experiment.step()
    experiment._loop.oracle = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        experiment.step()
    for wanted in (lambda: experiment.class_map, experiment.plot_map, lambda: experiment.save(tmp_path / "run")):
        with pytest.raises(hsi_al.LearnerError, match="make the experiment anew"):
            wanted()
    assert len(experiment.curve["round"]) == 1 and not list(tmp_path.iterdir())


def test_a_wrong_oracle_teaches_wrong_labels_but_truth_judges(tiny: hsi_al.Scene) -> None:
    truth = tiny.ground_truth.ravel()
    swapped = {2: 5, 5: 2, 9: 9}
    experiment = hsi_al.Experiment(
        tiny, learner="lda", oracle=lambda ids: [swapped[value] for value in truth[ids].tolist()], **NUMBERS
    )
    curve, labelled = experiment.run(), experiment.labelled
    assert labelled["label"].tolist() == [swapped[value] for value in truth[labelled["pixel_id"]].tolist()]
    assert curve["recall_2"][-1] < 0.1 and curve["recall_9"][-1] > 0.9


ANSWERS: list[Callable[[Ids], Any]] = [lambda ids: 2, lambda ids: ids * 0 + 3, lambda ids: ["Oats"] * len(ids)]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_oracle_must_answer_with_label_values(tiny: hsi_al.Scene, answer: Callable[[Ids], Any]) -> None:
    with pytest.raises(hsi_al.PoolError, match=r"label values \[2, 5, 9\] for each"):
        hsi_al.Experiment(tiny, learner="lda", oracle=answer, **NUMBERS)


def test_maps(tiny: hsi_al.Scene) -> None:
    experiment = hsi_al.Experiment(tiny, learner="lda", acquisition="random", **NUMBERS)
    for early in (lambda: experiment.class_map, lambda: experiment.uncertainty_map, experiment.confusion):
        with pytest.raises(hsi_al.ConfigurationError, match="No round was played"):
            early()
    experiment.step()
    assert experiment.class_map.shape == (24, 26) and set(np.unique(experiment.class_map)) <= {2, 5, 9}
    with pytest.raises(hsi_al.LearnerError, match="acquisition=random reads none"):
        _ = experiment.uncertainty_map
    asked = hsi_al.Experiment(
        tiny, learner="lda", acquisition=hsi_al.make_acquisition("margin", by="random_forest"), **NUMBERS
    )
    asked.step()
    with pytest.raises(hsi_al.LearnerError, match=r"acquisition\.by=random_forest asks in its place; leave out by"):
        _ = asked.uncertainty_map
    certain = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
    certain.step()
    map_ = certain.uncertainty_map
    assert map_.shape == (24, 26) and 0 <= map_.min() <= map_.max() <= 1


def test_pixels_without_data_are_none_of_a_map() -> None:
    cube, truth = tiny_arrays()
    cube = cube.astype(np.float32)
    cube[5, 5] = -9999
    with pytest.warns(UserWarning, match="1 labelled pixels have no data"):
        scene = hsi_al.load_scene(cube, truth, no_data=[-9999])
    experiment = hsi_al.Experiment(scene, learner="lda", **NUMBERS)
    experiment.step()
    assert experiment.class_map[5, 5] == 0 and np.isnan(experiment.uncertainty_map[5, 5])
    assert (experiment.class_map == 0).sum() == np.isnan(experiment.uncertainty_map).sum() == 1


def test_plots_return_axes(tiny: hsi_al.Scene) -> None:
    import matplotlib.pyplot as plt

    with plt.rc_context({"backend": "agg"}):
        plt.switch_backend("agg")
        experiment = hsi_al.Experiment(tiny, learner="lda", **NUMBERS)
        experiment.run()
        axes = experiment.plot_curve()
        (line,) = axes.lines
        np.testing.assert_allclose(np.asarray(line.get_ydata()), 100 * experiment.curve["oa_heldout"])
        _, (left, right) = plt.subplots(1, 2)
        assert experiment.plot_map(left) is left and experiment.plot_queries(right) is right
        legend = left.get_legend()
        assert legend is not None and len(legend.get_texts()) == 3
        offsets = np.concatenate([np.asarray(dots.get_offsets()) for dots in right.collections])
        ids = experiment.labelled["pixel_id"]
        assert {tuple(place) for place in offsets.tolist()} == {(i % 26, i // 26) for i in ids.tolist()}
        plt.close("all")
