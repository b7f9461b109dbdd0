"""Labels from one side, queries on the other: who is drawn, asked and tested, and which question that asks."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsi_al.acquisition.base import PoolView
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.asking import Asker
from hsi_al.active.parts import build_split
from hsi_al.config.schema import NEW_LABELS, question_of
from hsi_al.pool.splits import Split, divide_spatially, with_new_ground
from hsi_al.report.series import series_of
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene
from tests.active.test_loop import INITIAL, QUERY, ROUNDS, WIDTH, Ids, NearestMean, classes_of, start
from tests.active.test_parts import composed, folder_of
from tests.conftest import CommandLine, tiny_arrays
from tests.test_run import curve_without_seconds, pool_arrays

RUN = Path("outputs/main/tiny/lda/margin/smoke-blocks-guard=3-new_ground=0.5/seed=0")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load_catalogue_scene("indian_pines", None)


@pytest.mark.parametrize("kind", ["blocks", "fields", "checkerboard"])
@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_a_part_of_every_class_of_the_test_side_may_be_asked(kind: str, fraction: float, scene: Scene) -> None:
    given = (f"split={kind}", "split.guard=9", "protocol.initial_size=100", "protocol.rounds=0", "split.fold=1")
    plain = build_split(composed(*given), scene)
    split = build_split(composed(*given, f"split.new_ground={fraction}"), scene)
    assert plain.initial.tolist() == plain.asked.tolist() == plain.candidates.tolist() == split.initial.tolist()
    assert split.new_ground is not None
    assert np.union1d(split.asked, split.test).tolist() == plain.test.tolist()
    assert np.intersect1d(split.asked, split.test).size == 0
    assert np.union1d(split.initial, split.asked).tolist() == split.candidates.tolist()
    before, after = (np.bincount(scene.labels_of(ids), minlength=9) for ids in (plain.test, split.asked))
    assert after.tolist() == np.ceil(fraction * before).tolist()
    again = build_split(composed(*given, f"split.new_ground={fraction}", "seed=4"), scene)
    assert again.test.tolist() == split.test.tolist()
    other = build_split(composed(*given, f"split.new_ground={fraction}", "split.seed=1"), scene)
    assert other.test.tolist() != split.test.tolist()


def test_missing_classes_are_those_of_the_new_sides() -> None:
    ids, labels = np.arange(8), np.array([0, 0, 1, 1, 2, 2, 3, 3])
    split = Split("blocks", ids[:5], ids[5:])
    found = with_new_ground(split, labels, np.random.default_rng(0), 0.5)
    assert found.missing_in_candidates == () and found.missing_in_test == (0, 1, 2)
    assert found.asked.tolist() == [5, *found.asked.tolist()[1:]] and len(found.asked) == 2
    assert found.kind == "blocks" and found.initial.tolist() == ids[:5].tolist()


def loop_on_new_ground(path: Path, acquisition: str, asker: bool = False) -> tuple[Split, Ids, list[PoolView]]:
    """Play a run of the loop's tests whose last 30 labelled pixels are the other side; return its queries' pixels."""
    seen: list[PoolView] = []
    loop, _ = start(path, kind="paper")
    ids = loop.split.candidates
    split = with_new_ground(Split("blocks", ids[:-30], ids[-30:]), classes_of(ids), np.random.default_rng(0), 0.8)
    inner = build_acquisition(acquisition)

    class Watching:
        name, needs, picks = inner.name, inner.needs, inner.picks  # type: ignore[attr-defined]

        def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Ids:
            seen.append(view)
            assert (view.scores is not None) == (acquisition == "entropy")
            if view.scores is not None:  # those of the pixels that are shown
                learner = loop.learner if loop.asker is None else loop.asker.learner
                p = learner.predict(view.row * WIDTH + view.column).probabilities_NC
                assert p is not None
                np.testing.assert_allclose(view.scores, -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1), atol=1e-5)
            return inner.select(view, n, rng)

    pool = type(loop.pool)(split.candidates)
    pool.add(split.initial[:INITIAL], classes_of(split.initial[:INITIAL]), 0)
    loop = replace(loop, split=split, pool=pool, truth=classes_of(split.scored_ids), acquisition=Watching())
    loop.asker = Asker(NearestMean(), 2) if asker else None
    loop.run()
    return split, pool.candidates[pool.labelled_at > 0], seen


@pytest.mark.parametrize("asker", [False, True])
@pytest.mark.parametrize("acquisition", ["entropy", "random", "core_set"])
def test_queries_ask_and_see_the_new_ground_alone(tmp_path: Path, acquisition: str, asker: bool) -> None:
    split, asked, seen = loop_on_new_ground(tmp_path, acquisition, asker)
    assert len(asked) == ROUNDS * QUERY
    assert set(asked.tolist()) <= set(split.asked.tolist())
    first = seen[0]
    shown = np.sort(np.concatenate([split.initial[:INITIAL], split.asked]))
    assert (first.row * WIDTH + first.column).tolist() == shown.tolist()
    assert first.is_labelled.tolist() == np.isin(shown, split.initial).tolist()
    assert first.labels.tolist() == np.where(first.is_labelled, classes_of(shown), -1).tolist()
    assert len(first.outputs.predicted_class) == len(shown)
    assert [int(view.is_labelled.sum()) for view in seen] == sorted(int(view.is_labelled.sum()) for view in seen)


def test_the_name_the_folder_and_the_question() -> None:
    given = ("split=fields", "split.guard=9", "split.new_ground=0.5", "split.fold=1")
    assert folder_of(*given).endswith("/paper-fields-guard=9-new_ground=0.5-fold=1/seed=0")
    assert question_of("blocks", True) == NEW_LABELS
    assert [question_of(kind, False) for kind in ("holdout", "blocks", "?")] == [
        "complete this map",
        "map ground without labels",
        "",
    ]


@pytest.fixture
def arguments(tiny_scene: list[str]) -> list[str]:
    kept = [argument for argument in tiny_scene if not argument.startswith(("backbone", "acquisition"))]
    places = ["split=blocks", "split.block_size=5", "split.guard=3", "split.new_ground=0.5"]
    return [*kept, *places, "learner=lda", "acquisition=margin"]


@pytest.mark.usefixtures("no_figures")
def test_old_labels_of_another_run_and_queries_on_new_ground(command_line: CommandLine, arguments: list[str]) -> None:
    """The user story: a run on one side, whose labels begin another one that asks on the other side."""
    old = [argument for argument in arguments if "new_ground" not in argument]
    assert command_line(*old).code == 0
    source = Path(str(RUN).replace("-new_ground=0.5", ""))
    outcome = command_line(*arguments, f'protocol.labels_from="{source}"')
    assert outcome.code == 0, outcome.err
    assert "asks: map new ground with a handful of labels there" in outcome.out
    assert "split blocks new_ground=0.5, seed 0" in outcome.out
    run = Path(str(RUN).replace("smoke", "smoke-from=lda-margin"))
    before, after = pool_arrays(source), pool_arrays(run)
    old_ids = {i for i, at in zip(before["pixel_id"], before["labelled_at"], strict=True) if at >= 0}
    assert old_ids == {i for i, at in zip(after["pixel_id"], after["labelled_at"], strict=True) if at == 0}
    asked = {i for i, at in zip(after["pixel_id"], after["labelled_at"], strict=True) if at > 0}
    assert len(asked) == 8 and not asked & set(before["pixel_id"])
    assert [row["n_labelled"] for row in curve_without_seconds(run)] == ["20", "24", "28"]
    assert tiny_arrays()[1].ravel()[sorted(asked)].all()
    back = command_line(*old, f'protocol.labels_from="{run}"')
    assert back.code == 2 and "8 of the 28 labels" in back.err and "are no candidates of this run" in back.err

    series = series_of([source, run])
    assert [entry.question for entry in series] == ["map ground without labels", NEW_LABELS]
    assert [entry.question for entry in series_of([run])] == [NEW_LABELS]


@pytest.mark.usefixtures("no_figures")
def test_labels_that_lie_on_new_ground_already_cannot_be_asked_again(
    command_line: CommandLine, arguments: list[str], tmp_path: Path
) -> None:
    few = [argument for argument in arguments if not argument.startswith(("protocol.rounds", "protocol.query_size"))]
    first = [*few, "protocol.rounds=1", "hydra.run.dir=first"]
    refused = command_line(*first, "protocol.query_size=900")
    (new,) = map(int, re.findall(r"and (\d+) for the others", refused.err))
    assert new > 80 and command_line(*first, "protocol.query_size=80").code == 0
    more = [*few, "protocol.labels_from=first", "protocol.rounds=1", "hydra.run.dir=second"]
    outcome = command_line(*more, f"protocol.query_size={new - 79}")
    assert outcome.code == 2 and f"and {new - 80} for the others" in outcome.err, outcome.err
    assert not (tmp_path / "second").exists()
    assert command_line(*more, f"protocol.query_size={new - 80}").code == 0


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("initial", ["uniform", "kmeans"])
def test_the_first_labels_are_drawn_on_the_old_side(
    command_line: CommandLine, arguments: list[str], tmp_path: Path, initial: str
) -> None:
    sides = {}
    for name, given in (("new", arguments), ("old", [a for a in arguments if "new_ground" not in a])):
        assert command_line(*given, f"protocol.initial={initial}", f"hydra.run.dir={tmp_path / name}").code == 0
        pool = pool_arrays(tmp_path / name)
        sides[name] = [i for i, at in zip(pool["pixel_id"], pool["labelled_at"], strict=True) if at == 0]
    assert sides["new"] == sides["old"] and len(sides["old"]) == 12


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("split.new_ground=0", "split.new_ground=0.0 must be above 0 and below 1"),
        ("split.new_ground=1", "split.new_ground=1.0 must be above 0 and below 1"),
        ("split.new_ground=0.9999", "leaves no test pixels of tiny; lower split.new_ground"),
        ("split=holdout split.guard=null", "split.new_ground=0.5 asks where no initial label lies, but split=holdout"),
        ("split=paper split.guard=null", "but split=paper divides no ground; leave it out, or take split=blocks"),
        ("protocol.query_size=200", "asks for 12 initial labels and 2 x 200 = 400 on new ground"),
        ("protocol.initial_size=400", "candidates for the first and"),
    ],
)
def test_new_ground_that_cannot_be(
    command_line: CommandLine, arguments: list[str], tmp_path: Path, changes: str, words: str
) -> None:
    keys = {change.partition("=")[0] for change in changes.split()}
    outcome = command_line(*(a for a in arguments if a.partition("=")[0] not in keys), *changes.split())
    assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_the_guard_holds_for_the_side_of_the_initial_labels() -> None:
    ids, labels = np.arange(400), np.arange(400) % 2
    plain = divide_spatially(ids, labels, (20, 20), "blocks", np.random.default_rng(0), 6, 3)
    split = with_new_ground(plain, labels[plain.scored_ids], np.random.default_rng(0), 0.5)
    assert split.overlap(split.initial, (20, 20), 3)[0] == 0
    assert split.overlap(split.asked, (20, 20), 3)[0] > 0
