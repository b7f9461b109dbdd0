"""Initial labels of another run: which they are, what is recorded, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import hsi_al
from hsi_al.active.inherited import asked_by
from hsi_al.active.loop import ActiveLearningLoop
from hsi_al.cli import composition
from hsi_al.config.schema import ProtocolConfig, name_with_labels
from hsi_al.manifest import digest
from hsi_al.report.series import series_of
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.test_run import curve_without_seconds, pool_arrays

Arguments = list[str]
SOURCE = Path("outputs/main/tiny/lda/margin/smoke-holdout/seed=0")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run that gives its labels is made once."""
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def scene(command_line: CommandLine, tiny_scene: Arguments, tmp_path: Path, once: Path, no_figures: None) -> Arguments:
    """Arguments of runs in the same split as `SOURCE`, which asked 12 + 2 x 4 labels."""
    gone = ("backbone", "acquisition", "protocol.initial")
    arguments = [*(argument for argument in tiny_scene if not argument.startswith(gone)), "split=holdout"]
    if not (once / "outputs").exists():
        asking = ["learner=lda", "acquisition=margin", "protocol.initial_size=12"]
        assert command_line(*arguments, *asking).code == 0
        shutil.copytree(tmp_path / "outputs", once / "outputs")
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return [*arguments, "learner=svm", "acquisition=entropy", "protocol.rounds=1"]


def labels_from(path: Path | str) -> str:
    return f'protocol.labels_from="{path}"'


def initial(run: Path) -> dict[int, int]:
    """Pixel ids and labels that a run began with."""
    pool = pool_arrays(run)
    return {
        i: label
        for i, at, label in zip(*(pool[k] for k in ("pixel_id", "labelled_at", "label")), strict=True)
        if not at
    }


@pytest.mark.parametrize(("first", "rounds"), [(None, 2), (20, 2), (16, 1), (12, 0)])
def test_the_first_labels_in_the_order_in_which_they_were_asked(
    command_line: CommandLine, scene: Arguments, first: int | None, rounds: int
) -> None:
    given = [labels_from(SOURCE), *([] if first is None else [f"protocol.labels_at={first}"])]
    outcome = command_line(*scene, *given, "seed=3")
    assert outcome.code == 0, outcome.err
    name = "smoke-from=lda-margin" + (f"-labels={first}" if first else "")
    run = Path(f"outputs/main/tiny/svm/entropy/{name}-holdout/seed=3")
    pool = pool_arrays(SOURCE)
    expected = {
        i: label
        for i, at, label in zip(pool["pixel_id"], pool["labelled_at"], pool["label"], strict=True)
        if 0 <= at <= rounds
    }
    assert initial(run) == expected and len(expected) == (first or 20)
    assert [row["n_labelled"] for row in curve_without_seconds(run)] == [str(len(expected)), str(len(expected) + 4)]
    found = json.loads((run / "meta.json").read_text())["labels_from"]
    assert (found["path"], found["labels"]) == (str(SOURCE), len(expected))
    assert found["sha256"] == digest(SOURCE / "pool.h5")
    assert found["asked_by"].startswith("lda margin smoke ")
    assert f"Labels: {len(expected)} + 1 x 4" in outcome.out


@pytest.mark.parametrize("draw", ["protocol.per_class=2", "protocol.min_per_class=9", "protocol.initial=kmeans"])
def test_what_a_protocol_says_of_its_draw_has_no_effect(
    command_line: CommandLine, scene: Arguments, tmp_path: Path, draw: str
) -> None:
    outcome = command_line(*scene, labels_from(SOURCE), draw, f"hydra.run.dir={tmp_path / 'drawn'}")
    assert outcome.code == 0, outcome.err
    assert "Labels: 20 + 1 x 4" in outcome.out
    assert len(initial(tmp_path / "drawn")) == 20


def test_a_begun_run_needs_its_source_no_more(command_line: CommandLine, scene: Arguments, tmp_path: Path) -> None:
    arguments = [*scene, labels_from(SOURCE), "protocol.rounds=2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert command_line(*arguments, f"hydra.run.dir={whole}").code == 0
    with pytest.MonkeyPatch.context() as patch:
        commit = ActiveLearningLoop.commit

        def dying(self: ActiveLearningLoop, record: object, last: bool) -> None:
            commit(self, record, last)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        patch.setattr(ActiveLearningLoop, "commit", dying)
        assert command_line(*arguments, f"hydra.run.dir={cut}").code == 130
    assert len(curve_without_seconds(cut)) == 1
    shutil.rmtree(SOURCE)
    outcome = command_line(*arguments, f"hydra.run.dir={cut}")
    assert outcome.code == 0, outcome.err
    assert pool_arrays(cut) == pool_arrays(whole) and curve_without_seconds(cut) == curve_without_seconds(whole)
    metas = [json.loads((run / "meta.json").read_text())["labels_from"] for run in (cut, whole)]
    assert metas[0] == metas[1] and metas[0]["labels"] == 20
    assert command_line(*arguments, f"hydra.run.dir={cut}").code == 0


def test_seeds_with_labels_of_as_many_runs_are_one_method(command_line: CommandLine, scene: Arguments) -> None:
    asking = [argument for argument in scene if argument not in ("learner=svm", "acquisition=entropy")]
    assert (
        command_line(*asking[:-1], "learner=lda", "acquisition=margin", "protocol.initial_size=12", "seed=1").code == 0
    )
    parent = str(SOURCE.parent)
    assert command_line("-m", *scene, labels_from(parent + "/seed=${seed}"), "seed=0,1").code == 0
    other = [labels_from(SOURCE), "protocol.labels_at=12"]
    assert command_line(*scene, *other).code == 0
    runs = sorted(Path("outputs/main/tiny/svm").glob("*/*/seed=*"))
    found = series_of(runs)
    assert sorted([run.trial.seed for run in entry.runs] for entry in found) == [[0], [0, 1]]
    for entry in found:
        assert "protocol.labels_from" in {setting.key for setting in entry.settings}
    alone = series_of([run for run in runs if "labels=12" not in str(run)])
    assert len(alone) == 1 and "protocol.labels_from=lda margin smoke " in alone[0].name


def test_who_asked_is_the_same_for_seeds_and_another_for_other_settings() -> None:
    settings = {
        **{"learner.method": "deep-lenet", "acquisition.name": "margin", "acquisition.min_distance": "8"},
        **{"acquisition.by": "None", "protocol.name": "few", "protocol.rounds": "4", "seed": "0", "split.fold": "0"},
    }
    one = asked_by(settings)
    assert one.rpartition(" ")[0] == "lenet margin-min_distance=8 few"
    assert one == asked_by(settings | {"seed": "5", "split.fold": "2", "experiment.name": "mine", "data_dir": "/x"})
    assert one != asked_by(settings | {"protocol.rounds": "5"})
    assert one == asked_by(settings | {"protocol.labels_from": "runs/seed=0"})  # a path, other for every seed
    assert one != asked_by(settings, "svm random few 01234567")
    assert asked_by(settings | {"acquisition.by": "lda"}).startswith("lenet margin-min_distance=8-by=lda few ")


@pytest.mark.parametrize(
    ("path", "at", "name"),
    [
        (None, None, "few"),
        (
            "outputs/main/tiny/lda/margin-min_distance=8/few-holdout/seed=0",
            80,
            "few-from=lda-margin-min_distance=8-labels=80",
        ),
        ("/data/my run", None, "few-from=my_run"),
        ("x" * 200, None, "few-from=" + "x" * 60),
        ("seed=0", None, "few-from=seed=0"),
        ("/", None, "few-from=_"),
        ("a/b,c=d/..", None, "few-from="),
    ],
)
def test_the_name_says_whose_labels_they_are(path: str | None, at: int | None, name: str) -> None:
    assert name_with_labels(ProtocolConfig("few", labels_from=path, labels_at=at)) == name


def test_the_folder_says_whose_labels_they_are() -> None:
    given = ["protocol=few", labels_from("outputs/main/a/lda/margin/few-paper/seed=0"), "protocol.labels_at=20"]
    assert composition.composed(given)[1].endswith("/few-from=lda-margin-labels=20-paper/seed=0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            "protocol.labels_at=17",
            "asked whole queries and has 20 labels; the nearest numbers of labels that it had are 12, 16, 20.",
        ),
        ("protocol.labels_at=21", "has 20 labels"),
        ("protocol.labels_at=0", "protocol.labels_at=0 must be 1 or more"),
        ("split.seed=1", "labels of outputs/main/tiny/lda/margin/smoke-holdout/seed=0 are no candidates of this run"),
        ("split.fold=1", "are no candidates of this run, which may test on them; take the split of that run"),
        ("dataset.classes=[2,5]", "is a run of another scene than tiny or of other classes"),
        ("dataset.classes=[2,5]", "or map this scene with what that run has learnt: python -m hsi_al.predict <run>"),
        (
            "protocol.query_size=300",
            "20 + 1 x 300 = 320 labels, but tiny with split=holdout has 220 candidates; lower protocol.rounds, "
            "protocol.labels_at",
        ),
        ("protocol.labels_from=outputs", "protocol.labels_from=outputs holds no run with labels"),
        ("protocol.labels_from=nowhere", "protocol.labels_from=nowhere holds no run with labels"),
        ("protocol.labels_from=null protocol.labels_at=4", "protocol.labels_at=4 counts the labels of another run"),
    ],
)
def test_labels_that_cannot_be_taken_are_refused(
    command_line: CommandLine, scene: Arguments, changes: str, words: str
) -> None:
    before = {path for path in Path("outputs").rglob("*") if path.name != "lock"}
    given = changes.split()
    keys = {argument.partition("=")[0] for argument in given}
    kept = [argument for argument in [*scene, labels_from(SOURCE)] if argument.partition("=")[0] not in keys]
    outcome = command_line(*kept, *given)
    assert outcome.code == 2, outcome.out
    assert len(outcome.err.splitlines()) == 1 and words in outcome.err
    assert {path for path in Path("outputs").rglob("*") if path.name != "lock"} == before


def test_another_scaling_is_the_same_scene_and_another_map_is_not(
    command_line: CommandLine, scene: Arguments, tmp_path: Path
) -> None:
    assert command_line(*scene, labels_from(SOURCE), "dataset.scaling=standard").code == 0
    truth = np.zeros((24, 26), np.uint8)
    truth[1:11, 1:12], truth[1:11, 14:25], truth[13:23, 2:25] = 2, 5, 9
    np.save(tmp_path / "other.npy", truth)
    kept = [argument for argument in scene if not argument.startswith("dataset.ground_truth_key")]
    outcome = command_line(*kept, labels_from(SOURCE), "dataset.ground_truth_file=other.npy", "seed=1")
    assert outcome.code == 2 and "is a run of another scene than tiny" in outcome.err


def test_an_unfinished_run_serves_and_a_damaged_one_does_not(command_line: CommandLine, scene: Arguments) -> None:
    unfinish(SOURCE)
    assert command_line(*scene, labels_from(SOURCE)).code == 0
    content = bytearray((SOURCE / "pool.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (SOURCE / "pool.h5").write_bytes(content)
    outcome = command_line(*scene, labels_from(SOURCE), "seed=1")
    assert outcome.code == 2 and "pool.h5 is missing or corrupted" in outcome.err


def test_labels_of_an_oracle_of_ones_own_are_refused(
    command_line: CommandLine, scene: Arguments, tmp_path: Path
) -> None:
    cube, truth = tiny_arrays()
    tiny = hsi_al.load_scene(cube, truth, name="tiny")
    numbers: dict[str, Any] = {"rounds": 1, "query_size": 4, "initial_size": 12, "threads": 1}

    def careless(pixel_ids: Any) -> Any:
        values = truth.ravel()[pixel_ids].copy()
        values[:2] = 9
        return values

    experiment = hsi_al.Experiment(tiny, "holdout", "lda", oracle=careless, **numbers)
    experiment.run()
    labelled = experiment.labelled
    wrong = int((labelled["label"] != truth.ravel()[labelled["pixel_id"]]).sum())
    experiment.save(tmp_path / "noisy")
    assert wrong > 0
    with pytest.raises(
        hsi_al.ConfigurationError, match=f"{wrong} of the 16 labels of noisy are not those of the ground"
    ):
        hsi_al.Experiment(tiny, "holdout", "lda", labels_from="noisy", **numbers | {"initial_size": None})
    kept = yaml.safe_load((tmp_path / "noisy" / "config.yaml").read_text())
    assert kept["oracle"]["name"] == "own"
    outcome = command_line(*scene, "oracle.name=own")
    assert outcome.code == 2 and "stands for a function that was given to hsi_al.Experiment" in outcome.err
