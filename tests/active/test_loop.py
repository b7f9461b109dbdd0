"""The loop with learners that need no network; runs killed at every file that they replace continue bit for bit."""

import csv
import gc
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hsi_al.acquisition.base import PoolView
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.active.curve import RoundRecord
from hsi_al.active.loop import ActiveLearningLoop
from hsi_al.active.observers.base import Observer
from hsi_al.active.run_directory import RunDirectory
from hsi_al.errors import PoolExhaustedError
from hsi_al.files import replacing
from hsi_al.methods.base import Estimate, Learner
from hsi_al.outputs import Outputs, Progress
from hsi_al.pool.initial import draw_initial
from hsi_al.pool.label_pool import LabelPool
from hsi_al.pool.oracles import GroundTruthOracle
from hsi_al.pool.splits import Split, divide_holdout, divide_paper
from hsi_al.randomness import generator
from hsi_al.report.run_checks import check_run

Ids = NDArray[np.int64]
WIDTH, HEIGHT = 12, 10
LABEL_VALUES = np.array([1, 3, 10])
INITIAL, QUERY, ROUNDS = 8, 5, 3


def truth_map() -> Ids:
    """Original label values of all pixels, 0 = background, (H * W,)."""
    return np.random.default_rng(11).choice([0, 1, 3, 10], WIDTH * HEIGHT, p=[0.2, 0.4, 0.3, 0.1]).astype(np.int64)


def labelled_ids() -> Ids:
    return np.flatnonzero(truth_map())


def classes_of(pixel_ids: Ids) -> Ids:
    lookup = {0: -1, 1: 0, 3: 1, 10: 2}
    return np.array([lookup[value] for value in truth_map()[pixel_ids].tolist()], dtype=np.int64)


def features() -> NDArray[np.float64]:
    noise = np.random.default_rng(12).normal(size=(WIDTH * HEIGHT, 3))
    return noise + 2.0 * np.eye(4)[np.searchsorted([0, 1, 3, 10], truth_map())][:, :3]


class NearestMean:
    """Class means, shaken by the round's generator so that a wrong generator shows; remembers what it was asked."""

    provides = frozenset({"probabilities_NC", "predicted_loss_N", "embeddings_ND"})
    warm = False
    keeps_state = True
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.means = np.zeros((3, 3))
        self.fits: list[tuple[int, list[int], list[int]]] = []
        self.predictions: list[tuple[list[int], list[int]]] = []

    def describe(self) -> str:
        return "class means"

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        self.fits.append((round_, pixel_ids.tolist(), labels.tolist()))
        means = np.full((3, 3), 5.0)
        for value in np.unique(labels).tolist():
            means[value] = features()[pixel_ids[labels == value]].mean(axis=0)
        self.means = self.next_means(means + 0.3 * rng.normal(size=(3, 3)), round_)

    def next_means(self, fresh: NDArray[np.float64], round_: int) -> NDArray[np.float64]:
        return fresh

    def predict(self, pixel_ids: Ids) -> Outputs:
        chosen = features()[pixel_ids]
        distances = ((chosen[:, None, :] - self.means) ** 2).sum(axis=2)
        weights = np.exp(-distances + distances.min(axis=1, keepdims=True))
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        predicted = probabilities.argmax(axis=1)
        self.predictions.append((pixel_ids.tolist(), predicted.tolist()))
        loss = distances.min(axis=1)
        return Outputs(predicted, probabilities.astype(np.float32), loss.astype(np.float32), chosen.astype(np.float32))

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        return Estimate("nothing", [0.0] * len(sizes), 0.0)

    def profile_to(self, trace: Path) -> None: ...

    def phases(self) -> dict[str, float]:
        return {}

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(self.means.tobytes())

    def load(self, path: Path) -> None:
        self.means = np.frombuffer(path.read_bytes()).reshape(3, 3)


class WarmNearestMean(NearestMean):
    """Goes half the way from the means of the round before."""

    warm = True

    def next_means(self, fresh: NDArray[np.float64], round_: int) -> NDArray[np.float64]:
        return fresh if round_ == 0 else 0.5 * (self.means + fresh)


class Records:
    def __init__(self) -> None:
        self.records: list[RoundRecord] = []

    def on_round(self, record: RoundRecord) -> None:
        self.records.append(record)


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` and no exit code."""


class Killer:
    """Kills a run once it has committed a round."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_round(self, record: RoundRecord) -> None:
        if record.round == self.after:
            raise Killed


def split_of(kind: str) -> Split:
    ids = labelled_ids()
    return divide_paper(ids) if kind == "paper" else divide_holdout(ids, classes_of(ids), generator(0, "split"))


def start(
    path: Path,
    kind: str = "paper",
    acquisition: str = "entropy",
    learner: Learner | None = None,
    observers: Sequence[Observer] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> tuple[ActiveLearningLoop, int]:
    """A loop out of new objects and the round that it starts with, as a new process makes them."""
    split, learner = split_of(kind), learner or NearestMean()
    directory, pool = RunDirectory(path, LABEL_VALUES), LabelPool(split.candidates)
    ids = labelled_ids()
    oracle = GroundTruthOracle(ids, classes_of(ids))
    first_round = directory.restore(pool)
    if first_round == 0:
        labels = classes_of(split.candidates)
        initial = draw_initial(split.candidates, labels, INITIAL, "uniform", generator(seed, "initial"))
        pool.add(initial, oracle.label(initial), 0)
    elif learner.warm or first_round > rounds:
        learner.load(directory.weights(first_round - 1))
    loop = ActiveLearningLoop(
        split,
        classes_of(split.scored_ids),
        3,
        WIDTH,
        pool,
        learner,
        build_acquisition(acquisition),
        oracle,
        directory,
        rounds,
        QUERY,
        seed,
        observers,
    )
    return loop, first_round


def run(path: Path, **settings: Any) -> ActiveLearningLoop:
    loop, first_round = start(path, **settings)
    loop.run(first_round)
    return loop


def contents(path: Path) -> dict[str, Any]:
    """All that a run has committed, but for the times it took."""
    with h5py.File(path / "pool.h5") as file:
        found: dict[str, Any] = {f"pool/{name}": file[name][:].tolist() for name in file}
        found["next_round"] = int(file.attrs["next_round"])
    with h5py.File(path / "confusion.h5") as file:
        found |= {f"confusion/{name}": file[name][:].tolist() for name in file}
    with (path / "curve.csv").open(newline="") as file:
        found["curve"] = [
            {name: value for name, value in row.items() if not name.startswith("seconds_")}
            for row in csv.DictReader(file)
        ]
    last = path / f"weights_{found['next_round'] - 1}.pt"
    found["weights"] = last.read_bytes() if last.exists() else None
    return found


LEARNERS = {"cold": NearestMean, "warm": WarmNearestMean}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for name, learner in LEARNERS.items():
        path = tmp_path_factory.mktemp(name)
        run(path, learner=learner())
        found[name] = contents(path)
    return found


@pytest.mark.parametrize("acquisition", ["entropy", "random", "loss_prediction"])
@pytest.mark.parametrize("kind", ["paper", "holdout"])
def test_a_whole_run(tmp_path: Path, kind: str, acquisition: str) -> None:
    learner, records = NearestMean(), Records()
    loop = run(tmp_path, kind=kind, acquisition=acquisition, learner=learner, observers=[records])
    pool, split = loop.pool, loop.split

    assert [fit[0] for fit in learner.fits] == list(range(ROUNDS + 1))
    assert [len(fit[1]) for fit in learner.fits] == [INITIAL + QUERY * round_ for round_ in range(ROUNDS + 1)]
    for round_, ids, labels in learner.fits:
        known = (pool.labelled_at >= 0) & (pool.labelled_at <= round_)
        assert ids == pool.candidates[known].tolist()
        assert labels == classes_of(np.array(ids)).tolist()
    assert pool.n_labelled == INITIAL + ROUNDS * QUERY
    assert np.bincount(pool.labelled_at + 1)[1:].tolist() == [INITIAL, *[QUERY] * ROUNDS]
    assert set(pool.labelled_ids.tolist()) <= set(split.candidates.tolist())

    assert [ids for ids, _ in learner.predictions] == [split.scored_ids.tolist()] * (ROUNDS + 1)
    assert loop.predicted_class is not None
    assert loop.predicted_class.tolist() == learner.predictions[-1][1]
    assert [record.round for record in records.records] == list(range(ROUNDS + 1))
    assert [record.n_labelled for record in records.records] == [len(fit[1]) for fit in learner.fits]
    for record, (ids, predicted) in zip(records.records, learner.predictions, strict=True):
        trained_on = set(pool.candidates[(pool.labelled_at >= 0) & (pool.labelled_at <= record.round)].tolist())
        everything, heldout = np.zeros((3, 3), np.int64), np.zeros((3, 3), np.int64)
        for pixel, truth, answer in zip(ids, classes_of(np.array(ids)).tolist(), predicted, strict=True):
            everything[truth, answer] += 1
            is_test = pixel in split.test if kind == "holdout" else pixel not in trained_on
            heldout[truth, answer] += is_test
        assert record.confusion_all.tolist() == everything.tolist()
        assert record.confusion_heldout.tolist() == heldout.tolist()
        assert min(record.seconds_fit, record.seconds_predict, record.seconds_query) >= 0


def test_what_is_scored(tmp_path: Path) -> None:
    assert split_of("paper").scored_ids.tolist() == labelled_ids().tolist()
    loop = run(tmp_path, kind="holdout", rounds=0)
    assert loop.split.scored_ids.tolist() == labelled_ids().tolist()
    assert len(loop.split.test) > 0


def test_the_most_wanted_are_asked_with_their_places(tmp_path: Path) -> None:
    """In a holdout split, positions among candidates, scored pixels and pixel ids all differ."""

    class Watching:
        name, needs, queries = "watching", frozenset({"embeddings_ND"}), True

        def __init__(self) -> None:
            self.views: list[PoolView] = []
            self.labels: list[list[int]] = []

        def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Ids:
            self.views.append(view)
            self.labels.append(view.labels.tolist())
            assert n == QUERY
            return np.flatnonzero(~view.is_labelled)[-n:][::-1]

    loop, first_round = start(tmp_path, kind="holdout")
    watching = Watching()
    loop.acquisition = watching
    before = loop.pool.labelled_ids
    loop.run(first_round)
    candidates = loop.split.candidates
    assert len(watching.views) == ROUNDS
    view = watching.views[0]
    assert view.is_labelled.tolist() == np.isin(candidates, before).tolist()
    assert view.outputs.embeddings_ND is not None
    assert np.array_equal(view.outputs.embeddings_ND, features()[candidates].astype(np.float32))
    places = list(zip(view.row.tolist(), view.column.tolist(), strict=True))
    assert places == [divmod(pixel, WIDTH) for pixel in candidates.tolist()]
    free = [pixel for pixel in candidates.tolist() if pixel not in before]
    asked = loop.pool.candidates[loop.pool.labelled_at == 1].tolist()
    assert asked == free[-QUERY:]
    for round_, seen in enumerate(watching.views):
        known = (loop.pool.labelled_at >= 0) & (loop.pool.labelled_at <= round_)
        assert seen.is_labelled.tolist() == known.tolist()
        assert watching.labels[round_] == np.where(known, classes_of(candidates), -1).tolist()


def test_no_query_rounds_train_once(tmp_path: Path) -> None:
    learner = NearestMean()
    loop = run(tmp_path, learner=learner, rounds=0, acquisition="none")
    assert len(learner.fits) == len(learner.predictions) == 1
    assert loop.pool.n_labelled == INITIAL
    found = contents(tmp_path)
    assert (found["next_round"], len(found["curve"])) == (1, 1)
    assert found["weights"] is not None


def test_a_query_that_the_pool_cannot_meet_ends_the_run_and_keeps_the_commits(tmp_path: Path) -> None:
    loop, first_round = start(tmp_path, rounds=1000)
    with pytest.raises(PoolExhaustedError):
        loop.run(first_round)
    assert contents(tmp_path)["next_round"] == (len(loop.split.candidates) - INITIAL) // QUERY


def test_the_heldout_of_an_exhausted_pool_is_empty(tmp_path: Path) -> None:
    records = Records()
    loop, first_round = start(tmp_path, observers=[records], rounds=1)
    loop.query_size = len(loop.split.candidates) - INITIAL
    loop.run(first_round)
    assert loop.pool.unlabelled_ids.tolist() == []
    assert records.records[1].confusion_heldout.sum() == 0
    assert contents(tmp_path)["curve"][1]["oa_heldout"] == "nan"


def test_the_same_seed_labels_the_same_pixels(tmp_path: Path) -> None:
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed, acquisition="random")
        found[name] = contents(tmp_path / name)
    assert found["a"] == found["b"]
    assert found["a"]["pool/labelled_at"] != found["c"]["pool/labelled_at"]


def test_every_round_draws_from_its_own_generators(tmp_path: Path) -> None:
    """A learner's numbers depend on seed and round alone: not on the strategy, and not on where the process began."""

    class Fitting(NearestMean):
        def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
            drawn[f"fit {round_}"] = int(rng.integers(2**63))
            super().fit(pixel_ids, labels, round_, rng)

    class Asking:
        name, needs, queries = "asking", frozenset[str](), True

        def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Ids:
            drawn[f"query {view.is_labelled.sum()}"] = int(rng.integers(2**63))
            return np.flatnonzero(~view.is_labelled)[:n]

    def numbers(folder: str, seed: int, **settings: Any) -> dict[str, int]:
        drawn.clear()
        loop, first_round = start(tmp_path / folder, learner=Fitting(), seed=seed, **settings)
        if folder.startswith("asking"):
            loop.acquisition = Asking()
        loop.run(first_round)
        return dict(drawn)

    drawn: dict[str, int] = {}
    asking = numbers("asking", 0)
    assert len(asking) == len(set(asking.values())) == 2 * ROUNDS + 1
    assert set(asking.values()).isdisjoint(numbers("asking too", 1).values())
    fits = {name: number for name, number in asking.items() if name.startswith("fit")}
    assert numbers("entropy", 0) == numbers("random", 0, acquisition="random") == fits


def test_all_acquisitions_start_from_the_same_labels(tmp_path: Path) -> None:
    drawn = []
    for name in ("entropy", "random", "margin"):
        pool = run(tmp_path / name, acquisition=name).pool
        drawn.append(pool.candidates[pool.labelled_at == 0].tolist())
    assert drawn[0] == drawn[1] == drawn[2]


def test_observers_hear_of_committed_rounds_only(tmp_path: Path) -> None:
    committed: list[tuple[int, int, int]] = []

    class Reader:
        def on_round(self, record: RoundRecord) -> None:
            found = contents(tmp_path)
            committed.append((record.round, found["next_round"], len(found["curve"])))

    both = Records()
    run(tmp_path, observers=[Reader(), both])
    assert committed == [(round_, round_ + 1, round_ + 1) for round_ in range(ROUNDS + 1)]
    assert len(both.records) == ROUNDS + 1


@pytest.mark.parametrize("mode", LEARNERS)
@pytest.mark.parametrize("after", range(ROUNDS + 1))
def test_a_run_stopped_between_rounds_continues_alike(
    tmp_path: Path, uninterrupted: dict[str, dict[str, Any]], mode: str, after: int
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, learner=LEARNERS[mode](), observers=[Killer(after)])
    learner, records = LEARNERS[mode](), Records()
    loop, first_round = start(tmp_path, learner=learner, observers=[records])
    assert first_round == after + 1
    loop.run(first_round)
    assert [fit[0] for fit in learner.fits] == list(range(after + 1, ROUNDS + 1))
    assert [record.round for record in records.records] == list(range(after + 1, ROUNDS + 1))
    assert contents(tmp_path) == uninterrupted[mode]


@pytest.mark.parametrize("mode", LEARNERS)
def test_a_finished_run_is_not_run_again(tmp_path: Path, uninterrupted: dict[str, dict[str, Any]], mode: str) -> None:
    trained = run(tmp_path, learner=LEARNERS[mode]()).learner
    learner = LEARNERS[mode]()
    loop = run(tmp_path, learner=learner)
    assert len(learner.fits) == len(learner.predictions) == 0
    assert loop.predicted_class is None
    ids = labelled_ids()
    assert learner.predict(ids).predicted_class.tolist() == trained.predict(ids).predicted_class.tolist()
    assert contents(tmp_path) == uninterrupted[mode]


def test_warm_weights_of_earlier_rounds_go(tmp_path: Path) -> None:
    run(tmp_path, learner=WarmNearestMean())
    assert [path.name for path in tmp_path.glob("weights_*")] == [f"weights_{ROUNDS}.pt"]


class Mortal:
    """A process that dies at its n-th file replacement: from then on it changes no file, not even to clean up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_at: int, *, after_replacing: bool = False) -> None:
        self.replaced: list[str] = []
        self.dead = False
        replace, unlink = Path.replace, Path.unlink

        def mortal_replace(path: Path, target: Path) -> Path:
            self.check()
            self.dead = len(self.replaced) + 1 == dies_at
            if self.dead and not after_replacing:
                raise Killed
            self.replaced.append(target.name)
            replace(path, target)
            self.check()
            return target

        def mortal_unlink(path: Path, missing_ok: bool = False) -> None:
            self.check()
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "replace", mortal_replace)
        monkeypatch.setattr(Path, "unlink", mortal_unlink)
        monkeypatch.setattr(os, "getpid", lambda: 10**7 + dies_at)  # its temporary files stay under another name

    def check(self) -> None:
        if self.dead:
            raise Killed


FILES = {"cold": 4 * (ROUNDS + 1) + 1, "warm": 5 * (ROUNDS + 1)}


@pytest.mark.parametrize("mode", LEARNERS)
def test_the_number_of_files_that_a_run_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """If it were another one, the kills below would miss some."""
    with monkeypatch.context() as patch:
        process = Mortal(patch, dies_at=10**6)
        run(tmp_path, learner=LEARNERS[mode]())
    assert len(process.replaced) == FILES[mode]


@pytest.mark.parametrize("after_replacing", [False, True])
@pytest.mark.parametrize(("mode", "n"), [(mode, n) for mode, count in FILES.items() for n in range(1, count + 1)])
def test_a_run_killed_at_any_file_continues_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, dict[str, Any]],
    mode: str,
    n: int,
    after_replacing: bool,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        process = Mortal(patch, n, after_replacing=after_replacing)
        run(tmp_path, learner=LEARNERS[mode]())
    assert after_replacing or list(tmp_path.glob(".*.tmp")), "the kill has left its temporary file"
    check_run(tmp_path, weights=True)
    loop, first_round = start(tmp_path, learner=LEARNERS[mode]())
    assert first_round == process.replaced.count("pool.h5"), "pool.h5 is the commit point"
    loop.run(first_round)
    assert contents(tmp_path) == uninterrupted[mode]


@pytest.mark.parametrize("mode", LEARNERS)
def test_a_run_killed_again_and_again_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, dict[str, Any]], mode: str
) -> None:
    """Every process dies within its second commit, each time a little later."""
    lives = 0
    for lives in range(1, 10):
        with monkeypatch.context() as patch:
            Mortal(patch, dies_at=5 + lives % 5)
            try:
                run(tmp_path, learner=LEARNERS[mode]())
                break
            except Killed:
                pass
    assert 2 < lives < 9
    assert contents(tmp_path) == uninterrupted[mode]


class Cyclic(NearestMean):
    """Leaves something behind in every fit that only the garbage collector can free, as a Trainer does."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[weakref.ref[Cycle]] = []

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        super().fit(pixel_ids, labels, round_, rng)
        self.left.append(weakref.ref(Cycle()))


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_a_round_leaves_no_cycles_behind(tmp_path: Path) -> None:
    learner = Cyclic()
    gc.disable()
    try:
        run(tmp_path, learner=learner)
    finally:
        gc.enable()
    assert len(learner.left) == ROUNDS + 1
    assert all(left() is None for left in learner.left)
