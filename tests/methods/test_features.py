"""The learner that joins an extractor to a classifier, and the state that it keeps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import LearnerError, RunDirectoryError
from hsi_al.methods.features import FeatureLearner, read_state
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.outputs import Progress
from tests.methods.fakes import Floats, Ids, blobs, rng


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
    monkeypatch.setattr("hsi_al.methods.features.CHUNK", 7)
    features, labels = blobs(60)
    ids = np.random.default_rng(1).permutation(60)
    told: list[tuple[str, float]] = []
    learners = [
        FeatureLearner(Table(features), 3, GridSvm(), needs)
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
    assert told[:2] == [("table", 0.5), ("rbf SVM", 0.5)]
    assert told[-1] == ("scoring", 1.0)
    assert learners[0].describe() == "a table, rbf SVM"
    assert "121 x 5 SVM fits" in learners[0].estimate(ids, labels, [(0, 60)], 10, 10).work
    assert not learners[0].estimate(ids, labels, [], 10, 10).measured


def test_what_is_learnt_once_does_not_depend_on_the_round() -> None:
    features, labels = blobs(12)
    drawn: dict[bool, list[float]] = {}
    for once in (True, False):
        for seed, round_ in ((0, 1), (0, 2), (5, 2)):
            learner = FeatureLearner(table := Table(features, once), 3, GridSvm("linear", 2), frozenset(), seed)
            learner.fit(np.arange(12), labels, round_, np.random.default_rng(round_))
            drawn.setdefault(once, []).append(table.drawn)
    assert drawn[True][0] == drawn[True][1] != drawn[True][2]
    assert drawn[False][0] != drawn[False][1] == drawn[False][2]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(wrong: float) -> None:
    features, labels = blobs(12)
    learner = FeatureLearner(Table(features), 3, GridSvm("linear", 2))
    learner.fit(np.arange(12), labels, 0, rng())
    features[5, 1] = wrong
    assert len(learner.predict(np.arange(5)).predicted_class) == 5
    with pytest.raises(LearnerError, match="features of the linear SVM hold NaN or infinite"):
        learner.predict(np.arange(12))
    with pytest.raises(LearnerError, match="features of the linear SVM hold NaN or infinite"):
        learner.fit(np.arange(12), labels, 1, rng())


@dataclass
class Shifted(Table):
    """An extractor that learns a shift of all features, and can take it along."""

    shift: Floats = field(default_factory=lambda: np.zeros(2, np.float32))

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        super().fit(pixel_ids, labels, rng)
        self.shift = self.table[pixel_ids].mean(axis=0)

    def features(self, pixel_ids: Ids) -> Floats:
        return self.table[pixel_ids] - self.shift

    @property
    def n_features(self) -> int:
        return len(self.shift)

    def state(self) -> dict[str, NDArray[Any]]:
        return {"shift": self.shift}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        if state["shift"].shape != (2,):
            raise ValueError("no shift")
        self.shift = state["shift"]


@dataclass
class Drawing:
    """A classifier whose every prediction is what it drew when it was fitted."""

    n_classes: int = 10**6
    drawn: int = -1
    labels: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    features: Floats = field(default_factory=lambda: np.empty((0, 2), np.float32))

    def fit(self, features: Floats, labels: Ids, rng: np.random.Generator, calibrated: bool = False) -> None:
        self.drawn, self.labels, self.features = int(rng.integers(self.n_classes)), labels, features

    def predict(self, features: Floats) -> Ids:
        return np.full(len(features), self.drawn)

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        return np.full((len(features), n_classes), 1 / n_classes, np.float32)

    def describe(self) -> str:
        return "drawing"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        return f"{n_labelled} {n_predicted}"


CUBE = np.arange(60, dtype=np.float64).reshape(5, 6, 2) - 7


def keeping(features: Floats, n_classes: int = 3) -> tuple[FeatureLearner, Shifted, Drawing]:
    extractor, classifier = Shifted(features), Drawing()
    return FeatureLearner(extractor, n_classes, classifier, cube=CUBE), extractor, classifier


def test_a_learner_that_keeps_no_state_gives_its_parts_the_generator_of_the_round(tmp_path: Path) -> None:
    features, labels = blobs(12)
    table, classifier, twin = Table(features), Drawing(), rng()
    learner = FeatureLearner(table, 3, classifier)
    learner.fit(np.arange(12), labels, 0, rng())
    assert table.drawn == twin.random() and classifier.drawn == twin.integers(10**6)
    assert not learner.keeps_state
    learner.save(tmp_path / "weights_0.h5")
    learner.load(tmp_path / "weights_0.h5")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_loaded_learner_predicts_as_the_saved_one(seed: int, tmp_path: Path) -> None:
    features, labels = blobs(30)
    ids = np.array([28, 3, 11, 20, 7])
    saved, extractor, classifier = keeping(features)
    saved.fit(ids, labels[ids], 2, np.random.default_rng(seed))
    assert saved.keeps_state and classifier.drawn not in (-1, np.random.default_rng(seed).integers(10**6))
    saved.save(tmp_path / "weights_2.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["weights_2.h5"]
    with h5py.File(tmp_path / "weights_2.h5") as file:  # readable without this package
        assert np.array_equal(file["features"][:], features[ids] - features[ids].mean(axis=0))
        assert file["labels"][:].tolist() == labels[ids].tolist()
        assert file["limits"][:].tolist() == [-7.0, 52.0]
        assert file["seed"][:].tolist() == [np.random.default_rng(seed).integers(2**63)]
    loaded, restored, again = keeping(features)
    loaded.load(tmp_path / "weights_2.h5")
    assert np.array_equal(restored.shift, extractor.shift)
    assert again.drawn == classifier.drawn and np.array_equal(again.features, classifier.features)
    assert np.array_equal(loaded.predict(ids).predicted_class, saved.predict(ids).predicted_class)
    loaded.save(tmp_path / "copy.h5")  # a run that continues before its map commits nothing, but could
    assert (tmp_path / "copy.h5").read_bytes() == (tmp_path / "weights_2.h5").read_bytes()


def edited(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("features", None, "features"),
        ("features", np.zeros((4, 2)), "have labels of shape"),
        ("features", np.full((5, 2), np.nan), "no finite numbers"),
        ("features", np.zeros((5, 3)), "3 features, not 2"),
        ("features", np.zeros(5), "have labels of shape"),
        ("labels", np.full(5, 3), "more than 3 classes"),
        ("labels", np.full(5, -1), "have labels"),
        ("labels", ["a"] * 5, ""),
        ("seed", [1, 2], ""),
        ("limits", [0.0], ""),
        ("extractor/shift", None, "shift"),
        ("extractor/shift", [0.0], "no shift"),
        ("extractor", None, "shift"),
        ("extractor", h5py.SoftLink("/labels"), ""),
        ("features", h5py.ExternalLink("other.h5", "/features"), "link"),
    ],
)
def test_state_that_can_not_be_loaded(name: str, value: Any, reason: str, tmp_path: Path) -> None:
    features, labels = blobs(30)
    path = tmp_path / "weights_0.h5"
    learner, _, _ = keeping(features)
    learner.fit(np.arange(5), labels[:5], 0, rng())
    learner.save(path)
    edited(path, name, value)
    with pytest.raises(RunDirectoryError, match=r"weights_0\.h5 .*delete the run directory") as caught:
        keeping(features)[0].load(path)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "empty", "halved", "scratched", "text"])
def test_damaged_state(damage: str, tmp_path: Path) -> None:
    features, labels = blobs(30)
    path = tmp_path / "weights_0.h5"
    learner, _, _ = keeping(features)
    learner.fit(np.arange(5), labels[:5], 0, rng())
    learner.save(path)
    content = path.read_bytes()
    with h5py.File(path) as file:
        start = file["features"].id.get_chunk_info(0).byte_offset
    damaged = {
        "empty": b"",
        "halved": content[: len(content) // 2],
        "scratched": content[: start + 6] + b"\xff\xff" + content[start + 8 :],
        "text": b"no state",
    }
    path.unlink()
    if damage in damaged:
        path.write_bytes(damaged[damage])
    with pytest.raises(RunDirectoryError, match=r"weights_0\.h5 .*delete the run directory"):
        read_state(path)
