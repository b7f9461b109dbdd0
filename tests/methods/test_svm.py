"""The SVM helper: grid, folds, probabilities, and the learner around it."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from sklearn.svm import SVC

from hsi_al.errors import LearnerError
from hsi_al.methods.svm import FeatureSvmLearner, GridSvm, extended, stratified_folds
from hsi_al.outputs import Progress

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


def blobs(n: int, spread: float = 0.3, seed: int = 0) -> tuple[Floats, Ids]:
    """Three Gaussian classes in the plane."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    return (centres[labels] + spread * rng.normal(size=(n, 2))).astype(np.float32), labels


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_grid_grows_by_two_octaves_behind_its_edge_up_to_its_bounds() -> None:
    grid = np.arange(-2, 9)
    assert extended(grid, 3).tolist() == grid.tolist()
    assert extended(grid, 8).tolist() == list(range(-2, 11))
    assert extended(grid, -2).tolist() == list(range(-4, 9))
    assert extended(np.arange(-6, 13), 12).tolist() == list(range(-6, 13))
    assert extended(np.arange(-6, 13), -6).tolist() == list(range(-6, 13))
    assert extended(np.array([0]), 0).tolist() == [0]


def test_folds_are_stratified_and_a_class_of_one_pixel_is_always_trained_on() -> None:
    labels = np.array([0] * 10 + [1] * 20 + [2])
    folds = stratified_folds(labels, 5, rng())
    assert len(folds) == 5
    tested = np.sort(np.concatenate([test for _, test in folds]))
    assert tested.tolist() == list(range(30))
    for train, test in folds:
        assert 30 in train and len(train) + len(test) == 31
        assert np.bincount(labels[test]).tolist() == [2, 4]
    assert len(stratified_folds(np.array([0, 0, 0, 1, 1]), 5, rng())) == 2
    assert stratified_folds(np.array([0, 1, 2]), 5, rng()) == []
    assert stratified_folds(np.array([1, 1, 1]), 5, rng()) == []


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_the_chosen_machine_is_that_of_scikit_learn_on_scaled_features(kernel: str) -> None:
    features, labels = blobs(60, spread=1.2)
    machine = GridSvm(kernel, 3)
    machine.fit(features, labels, rng())
    low, high = features.min(), features.max()
    assert machine.svm is not None
    twin = SVC(kernel=kernel, C=machine.svm.C, gamma=machine.svm.gamma).fit((features - low) / (high - low), labels)
    other, _ = blobs(200, spread=1.2, seed=1)
    assert (machine.predict(other) == twin.predict((other - low) / (high - low))).all()
    assert machine.parameters.startswith("C = ") and ("gamma" in machine.parameters) == (kernel == "rbf")


def test_search_prefers_what_generalises() -> None:
    """Two rings: a linear machine can't separate them, a narrow enough kernel can."""
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    radius = np.where(np.arange(80) % 2, 1.0, 2.0)
    rings = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    labels = np.arange(80) % 2
    machine = GridSvm("rbf", 5)
    machine.fit(rings, labels, rng())
    assert (machine.predict(rings) == labels).all()


def test_probabilities_sum_to_one_are_zero_without_labels_and_fit_the_truth() -> None:
    features, labels = blobs(90, spread=0.9)
    classes = np.array([0, 2, 3])[labels]
    machine = GridSvm("rbf", 3)
    machine.fit(features, classes, rng(), calibrated=True)
    other, truth = blobs(300, spread=0.9, seed=1)
    found = machine.probabilities(other, 5)
    assert found.shape == (300, 5)
    assert found.sum(axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    assert (found[:, [1, 4]] == 0).all()
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    density = np.exp(-((other[:, None] - centres) ** 2).sum(axis=2) / (2 * 0.9**2))
    best = log_loss(truth, density / density.sum(axis=1, keepdims=True))  # no classifier does better
    mine = found[:, [0, 2, 3]].astype(np.float64)
    assert log_loss(truth, mine / mine.sum(axis=1, keepdims=True)) < best + 0.15
    assert (found.argmax(axis=1) == np.array([0, 2, 3])[truth]).mean() > 0.9


@pytest.mark.slow
def test_few_and_single_pixels_of_a_class_are_handled() -> None:
    features, labels = blobs(31)
    labels = labels.copy()
    labels[30] = 3
    machine = GridSvm("rbf", 5)
    machine.fit(features, labels, rng(), calibrated=True)
    assert set(machine.predict(features)) >= {0, 1, 2}
    assert np.isfinite(machine.probabilities(features, 4)).all()
    lonely = GridSvm("rbf", 5)
    lonely.fit(features[:3], np.array([0, 1, 2]), rng(), calibrated=True)
    assert lonely.predict(features[:3]).tolist() == [0, 1, 2]
    assert lonely.probabilities(features[:3], 3).tolist() == np.eye(3).tolist()
    one = GridSvm("rbf", 5)
    one.fit(features[:4], np.full(4, 2), rng(), calibrated=True)
    assert one.predict(features).tolist() == [2] * 31
    assert one.parameters == "one class"
    constant = GridSvm("rbf", 2)
    constant.fit(np.ones((8, 2), np.float32), np.arange(8) % 2, rng())
    assert len(constant.predict(np.ones((3, 2), np.float32))) == 3


@dataclass
class Table:
    """An extractor that looks features up."""

    table: Floats
    once: bool = False
    progress: Progress | None = None
    drawn: float = 0.0

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        self.drawn = rng.random()
        if self.progress is not None:
            self.progress("table", 1.0)

    def features(self, pixel_ids: Ids) -> Floats:
        return self.table[pixel_ids]

    def describe(self) -> str:
        return "a table"


@pytest.mark.slow
def test_the_learner_gives_what_was_declared_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.methods.svm.CHUNK", 7)
    features, labels = blobs(60)
    ids = np.random.default_rng(1).permutation(60)
    told: list[tuple[str, float]] = []
    learners = [
        FeatureSvmLearner(Table(features), 3, GridSvm(), needs)
        for needs in (frozenset(), frozenset({"probabilities_NC", "embeddings_ND"}))
    ]
    for learner in learners:
        learner.progress = lambda text, part: told.append((text, part))
        learner.fit(ids[:30], labels[ids[:30]], 0, rng())
        outputs = learner.predict(ids)
        assert (outputs.predicted_class == labels[ids]).all()
        assert len(learner.predict(ids[:0]).predicted_class) == 0
    probabilities = learners[1].predict(ids).probabilities_NC
    assert learners[0].predict(ids).probabilities_NC is None
    assert np.array_equal(learners[1].predict(ids).embeddings_ND, features[ids])  # type: ignore[arg-type]
    assert learners[0].predict(ids).embeddings_ND is None
    assert probabilities is not None and (probabilities.argmax(axis=1) == labels[ids]).all()
    assert told[:2] == [("table", 0.5), ("SVM", 0.5)]
    assert told[-1] == ("scoring", 1.0)
    assert learners[0].describe() == "a table, rbf SVM"
    assert "121 x 5 SVM fits" in learners[0].estimate(ids, labels, [(0, 60)], 10, 10).work
    assert not learners[0].estimate(ids, labels, [], 10, 10).measured


def test_what_is_learnt_once_does_not_depend_on_the_round() -> None:
    features, labels = blobs(12)
    drawn: dict[bool, list[float]] = {}
    for once in (True, False):
        for seed, round_ in ((0, 1), (0, 2), (5, 2)):
            learner = FeatureSvmLearner(table := Table(features, once), 3, GridSvm("linear", 2), frozenset(), seed)
            learner.fit(np.arange(12), labels, round_, np.random.default_rng(round_))
            drawn.setdefault(once, []).append(table.drawn)
    assert drawn[True][0] == drawn[True][1] != drawn[True][2]
    assert drawn[False][0] != drawn[False][1] == drawn[False][2]


@pytest.mark.parametrize(("kernel", "calibrated"), [("rbf", False), ("linear", True)])
def test_the_only_pixel_of_a_class_is_recognised_where_folds_cannot_tell(
    kernel: str, calibrated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All candidates get every fold right, and the smallest C never predicts the class of one pixel."""
    monkeypatch.setattr("hsi_al.methods.svm.GRID", np.arange(-2, 7, 2))
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [1.2, 1.2]])
    labels = np.array([0] * 12 + [1] * 12 + [2] * 12 + [3])
    features = (centres[labels] + 0.05 * rng().normal(size=(37, 2))).astype(np.float32)
    machine = GridSvm(kernel, 5)
    machine.fit(features, labels, rng(), calibrated)
    assert machine.predict(features).tolist() == labels.tolist()
    assert machine.svm is not None
    scaled = (features - features.min()) / (features.max() - features.min())
    smoother = SVC(kernel=kernel, C=machine.svm.C / 4, gamma=machine.svm.gamma).fit(scaled, labels)
    assert 3 not in smoother.predict(scaled)  # it takes no more than it needs


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_a_search_fits_as_often_as_it_says_and_never_more_without_single_pixels(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsi_al.methods.svm.GRID", np.arange(2, 4))
    monkeypatch.setattr("hsi_al.methods.svm.LOWEST", 1)
    monkeypatch.setattr("hsi_al.methods.svm.HIGHEST", 3)
    fits, plain = list[int](), SVC.fit

    def counted(self: SVC, features: Floats, labels: Ids) -> SVC:
        fits.append(len(labels))
        return plain(self, features, labels)

    monkeypatch.setattr(SVC, "fit", counted)
    features, labels = blobs(60, spread=1.5)
    learner = FeatureSvmLearner(Table(features), 3, machine := GridSvm(kernel, 5))
    learner.fit(np.arange(60), labels, 0, rng())
    axes = 2 if kernel == "rbf" else 1
    assert fits.pop() == 60  # the last one is the SVM that predicts
    assert set(fits) == {48} and len(fits) % 5 == 0
    said = f"{2**axes} x 5 SVM fits a round on up to 60 labels, or up to {3**axes} x 5 if the best lies on an edge"
    assert learner.work(60, 0).startswith(said)
    assert 2**axes <= len(fits) // 5 <= 3**axes
    assert machine.parameters


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(wrong: float) -> None:
    features, labels = blobs(12)
    learner = FeatureSvmLearner(Table(features), 3, GridSvm("linear", 2))
    learner.fit(np.arange(12), labels, 0, rng())
    features[5, 1] = wrong
    assert len(learner.predict(np.arange(5)).predicted_class) == 5
    with pytest.raises(LearnerError, match="features of the linear SVM hold NaN or infinite"):
        learner.predict(np.arange(12))
    with pytest.raises(LearnerError, match="features of the linear SVM hold NaN or infinite"):
        learner.fit(np.arange(12), labels, 1, rng())
