"""Another learner asks: what it is fitted on, whose accuracies are kept, and that a killed run continues alike."""

from pathlib import Path

import numpy as np
import pytest

from hsi_al.acquisition.base import PoolView
from hsi_al.active.asking import STEP, Asker
from hsi_al.cli import composition
from hsi_al.config.schema import Config
from hsi_al.methods.lda import METHOD as LDA
from hsi_al.methods.registry import asker_config
from hsi_al.report.series import series_of
from tests.active.test_loop import (
    INITIAL,
    QUERY,
    ROUNDS,
    Ids,
    Killed,
    Killer,
    NearestMean,
    Records,
    classes_of,
    contents,
    features,
    start,
)
from tests.conftest import CommandLine, unfinish
from tests.test_run import curve_without_seconds, pool_arrays

RUN = Path("outputs/main/tiny/emp_svm/margin-by=lda/smoke-holdout/seed=0")


@pytest.mark.parametrize(("query", "step", "sizes"), [(10, 10, [10]), (5, 2, [2, 2, 1]), (3, 10, [3]), (4, 1, [1] * 4)])
def test_the_steps_of_a_query(query: int, step: int, sizes: list[int]) -> None:
    asker = Asker(NearestMean(), step)
    assert list(asker.sizes(query)) == sizes
    assert asker.steps(query) == len(sizes)


def asked_run(path: Path, step: int = 2, kind: str = "holdout", **settings: object) -> tuple[NearestMean, NearestMean]:
    """Play or continue a run; return its own learner and the one that asks, both new."""
    own, asking = NearestMean(), NearestMean()
    loop, first_round = start(path, kind=kind, learner=own, **settings)  # type: ignore[arg-type]
    loop.asker = Asker(asking, step)
    loop.run(first_round)
    return own, asking


@pytest.mark.parametrize("acquisition", ["entropy", "core_set"])
@pytest.mark.parametrize("kind", ["paper", "holdout"])
def test_the_asker_is_fitted_before_every_step_and_only_the_learner_is_tested(
    tmp_path: Path, kind: str, acquisition: str
) -> None:
    records = Records()
    own, asking = asked_run(tmp_path, kind=kind, acquisition=acquisition, observers=[records])
    assert [len(ids) for _, ids, _ in own.fits] == [INITIAL + round_ * QUERY for round_ in range(ROUNDS + 1)]
    steps = [INITIAL + round_ * QUERY + step for round_ in range(ROUNDS) for step in (0, 2, 4)]
    assert [len(ids) for _, ids, _ in asking.fits] == steps
    for round_, ids, labels in asking.fits:
        assert round_ == 0, "always from fresh"
        assert labels == classes_of(np.array(ids)).tolist()
    for one, other in zip(asking.fits, asking.fits[1:], strict=False):
        assert set(one[1]) < set(other[1])
    for record, (ids, predicted) in zip(records.records, own.predictions, strict=True):
        right = int((classes_of(np.array(ids)) == predicted).sum())
        assert np.trace(record.confusion_all) == right
        assert record.n_labelled == INITIAL + record.round * QUERY
    found = contents(tmp_path)
    assert found["next_round"] == len(found["curve"]) == ROUNDS + 1


def test_what_is_asked_is_what_the_asker_wants(tmp_path: Path) -> None:
    """The view holds the outputs of the asker for the candidates, and what the steps before have labelled."""
    seen: list[PoolView] = []

    class Watching:
        name, needs = "watching", frozenset({"probabilities_NC"})

        def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Ids:
            seen.append(view)
            return np.flatnonzero(~view.is_labelled)[:n]

    class Sure(NearestMean):
        def predict(self, pixel_ids: Ids):  # type: ignore[no-untyped-def]  # noqa: ANN202
            outputs = super().predict(pixel_ids)
            assert outputs.embeddings_ND is not None
            np.testing.assert_array_equal(outputs.embeddings_ND, features()[pixel_ids].astype(np.float32))
            return outputs

    own, asking = NearestMean(), Sure()
    loop, _ = start(tmp_path, kind="holdout", learner=own)
    loop.asker, loop.acquisition = Asker(asking, 2), Watching()
    loop.run()
    candidates = loop.split.candidates
    assert [ids for ids, _ in asking.predictions] == [candidates.tolist()] * len(seen)
    assert [int(view.is_labelled.sum()) for view in seen] == [len(ids) for _, ids, _ in asking.fits]
    for view, (_, ids, _), (_, predicted) in zip(seen, asking.fits, asking.predictions, strict=True):
        assert candidates[view.is_labelled].tolist() == ids
        assert view.outputs.predicted_class.tolist() == predicted


@pytest.mark.parametrize("after", range(ROUNDS))
def test_a_run_killed_after_any_round_continues_alike(tmp_path: Path, after: int) -> None:
    asked_run(tmp_path / "whole")
    with pytest.raises(Killed):
        asked_run(tmp_path / "killed", observers=[Killer(after)])
    asked_run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_every_step_draws_from_its_own_generators(tmp_path: Path) -> None:
    drawn: list[int] = []

    class Drawing(NearestMean):
        def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
            drawn.append(int(rng.integers(2**63)))
            super().fit(pixel_ids, labels, round_, rng)

    class Choosing:
        name, needs = "choosing", frozenset[str]()

        def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Ids:
            drawn.append(int(rng.integers(2**63)))
            return np.flatnonzero(~view.is_labelled)[:n]

    loop, _ = start(tmp_path, learner=Drawing())
    loop.asker, loop.acquisition = Asker(Drawing(), 2), Choosing()
    loop.run()
    assert len(drawn) == len(set(drawn)) == ROUNDS + 1 + 2 * 3 * ROUNDS


def test_one_step_a_query_of_the_same_learner_asks_what_it_would_ask_itself(tmp_path: Path) -> None:
    """Nearest means without noise need no generator, so that the asker's outputs are the learner's own."""

    class Calm(NearestMean):
        def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
            super().fit(pixel_ids, labels, round_, np.random.default_rng(3))

    pools = []
    for name, asker in (("alone", None), ("asked", Asker(Calm(), QUERY))):
        loop, _ = start(tmp_path / name, kind="holdout", learner=Calm())
        loop.asker = asker
        loop.run()
        pools.append(contents(tmp_path / name))
    assert pools[0] == pools[1]


def composed(*overrides: str) -> tuple[Config, str]:
    return composition.composed(list(overrides))


def test_names_and_default_keys() -> None:
    config, folder = composed(
        "acquisition=margin", "acquisition.min_distance=8", "acquisition.by=lda", "learner=emp_svm", "seed=1"
    )
    assert folder.endswith("/emp_svm/margin-min_distance=8-by=lda/paper-paper/seed=1")
    asking = asker_config(config)
    assert asking is not None and config.learner.name == "emp_svm"
    assert (
        asking.learner
        == composed("learner=lda", "acquisition=margin")[0].learner
        == LDA.settings(name="lda", method="lda")
    )
    assert asker_config(composed()[0]) is None
    assert STEP == 10


@pytest.fixture
def arguments(tiny_scene: list[str]) -> list[str]:
    kept = [
        argument for argument in tiny_scene if not argument.startswith(("backbone", "acquisition", "protocol.query"))
    ]
    small = ["learner=emp_svm", "learner.components=2", "learner.radii=[1]", "split=holdout", "protocol.query_size=8"]
    return [*kept, *small, "acquisition=margin", "acquisition.by=lda", "acquisition.by_step=3"]


@pytest.mark.usefixtures("no_figures")
def test_a_run_with_an_asker(command_line: CommandLine, arguments: list[str], tmp_path: Path) -> None:
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert "tiny, emp_svm, margin by lda, protocol smoke" in outcome.out
    assert "LDA with the scene's noise, fitted 3 times a query for 3 labels each" in outcome.out
    assert [row["n_labelled"] for row in curve_without_seconds(RUN)] == ["12", "20", "28"]
    whole = pool_arrays(RUN), curve_without_seconds(RUN)
    assert command_line(*arguments).code == 0  # finished already
    again = command_line(*arguments, f"hydra.run.dir={tmp_path / 'again'}")
    assert again.code == 0
    assert (pool_arrays(tmp_path / "again"), curve_without_seconds(tmp_path / "again")) == whole
    unfinish(RUN)
    assert command_line(*arguments).code == 0
    assert (pool_arrays(RUN), curve_without_seconds(RUN)) == whole
    alone = [argument for argument in arguments if ".by" not in argument]
    assert command_line(*alone).code == 0
    own = Path(str(RUN).replace("-by=lda", ""))
    assert pool_arrays(own) != whole[0]
    assert [entry.name for entry in series_of([RUN, own])] == [
        "acquisition.by=lda, acquisition.by_step=3",
        "acquisition.by=None, acquisition.by_step=None",
    ]


@pytest.mark.usefixtures("no_figures")
def test_the_first_labels_are_those_of_the_askers_features(
    command_line: CommandLine, arguments: list[str], tmp_path: Path
) -> None:
    given = ["protocol.initial=kmeans", "protocol.initial_on=features", "protocol.rounds=1"]
    asking = [argument for argument in arguments if argument != "acquisition.by=lda"]
    trees = [argument for argument in asking if not argument.startswith(("learner", "acquisition.by"))]
    runs = {
        "asked": [*asking, "acquisition.by=profile_trees"],
        "own": [*trees, "learner=profile_trees"],
        "spectra": [*trees, "learner=profile_trees", "protocol.initial_on=spectra"],
    }
    first = {}
    for name, words in runs.items():
        kept = given[:1] + given[2:] if name == "spectra" else given
        assert command_line(*words, *kept, f"hydra.run.dir={tmp_path / name}").code == 0
        pool = pool_arrays(tmp_path / name)
        first[name] = [i for i, at in zip(pool["pixel_id"], pool["labelled_at"], strict=True) if at == 0]
    assert first["asked"] == first["own"] != first["spectra"]
    outcome = command_line(*asking, *given, "acquisition.by=cnn3d", f"hydra.run.dir={tmp_path / 'none'}")
    assert (
        outcome.code == 2 and "protocol.initial_on=features: acquisition.by=cnn3d has no features before" in outcome.err
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            "acquisition.by=jcr",
            "acquisition.by=jcr can't give probabilities_NC, which acquisition=margin needs; choose",
        ),
        (
            "acquisition=loss_prediction",
            "acquisition.by=lda can't give predicted_loss_N, which acquisition=loss_prediction",
        ),
        ("acquisition.by=emp_svm", "acquisition.by=emp_svm is the run's own learner"),
        ("acquisition.by=trees/2", "acquisition.by=trees/2 is no learner; choose one of cae3d_svm"),
        ("acquisition.by_step=0", "acquisition.by_step=0 must be 1 or more"),
        ("acquisition.by=null", "acquisition.by_step=3 says how many labels another learner asks at once"),
        ("acquisition=random", "acquisition=random doesn't take acquisition.by and acquisition.by_step"),
        ("acquisition=none protocol.rounds=0", "acquisition=none doesn't take acquisition.by and acquisition.by_step"),
        ("learner=cnn3d trainer.devices=2", "acquisition.by=lda asks in one process, but trainer.devices=2"),
        ("learner=svm acquisition.by=emp_svm dataset.in_memory=false", "acquisition.by=emp_svm needs the whole cube"),
    ],
)
def test_what_cannot_ask_is_refused(
    command_line: CommandLine, arguments: list[str], tmp_path: Path, changes: str, words: str
) -> None:
    given = changes.split()
    keys = {argument.partition("=")[0] for argument in given}
    if "learner" in keys:
        keys |= {"learner.components", "learner.radii"}
    outcome = command_line(*(argument for argument in arguments if argument.partition("=")[0] not in keys), *given)
    assert outcome.code == 2, outcome.err
    assert len(outcome.err.splitlines()) == 1 and words in outcome.err
    assert not (tmp_path / "outputs").exists()
