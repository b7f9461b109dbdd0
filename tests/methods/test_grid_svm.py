"""The SVM helper: grid, folds, probabilities."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.svm import SVC

from hsi_al.methods.grid_svm import GridSvm, extended, stratified_folds
from tests.methods.fakes import Floats, Ids, blobs, rng


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


@pytest.mark.parametrize(("kernel", "calibrated"), [("rbf", False), ("linear", True)])
def test_the_only_pixel_of_a_class_is_recognised_where_folds_cannot_tell(
    kernel: str, calibrated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All candidates get every fold right, and the smallest C never predicts the class of one pixel."""
    monkeypatch.setattr("hsi_al.methods.grid_svm.GRID", np.arange(-2, 7, 2))
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
    monkeypatch.setattr("hsi_al.methods.grid_svm.GRID", np.arange(2, 4))
    monkeypatch.setattr("hsi_al.methods.grid_svm.LOWEST", 1)
    monkeypatch.setattr("hsi_al.methods.grid_svm.HIGHEST", 3)
    fits, plain = list[int](), SVC.fit

    def counted(self: SVC, features: Floats, labels: Ids) -> SVC:
        fits.append(len(labels))
        return plain(self, features, labels)

    monkeypatch.setattr(SVC, "fit", counted)
    features, labels = blobs(60, spread=1.5)
    machine = GridSvm(kernel, 5)
    machine.fit(features, labels, rng())
    axes = 2 if kernel == "rbf" else 1
    assert fits.pop() == 60  # the last one is the SVM that predicts
    assert set(fits) == {48} and len(fits) % 5 == 0
    said = f"{2**axes} x 5 SVM fits a round on up to 60 labels, or up to {3**axes} x 5 if the best lies on an edge"
    assert machine.work(60, 0).startswith(said)
    assert 2**axes <= len(fits) // 5 <= 3**axes
    assert machine.parameters
