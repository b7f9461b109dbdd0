"""The learner that joins a feature extractor to a classifier, and the state that it keeps for other cubes."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.files import replacing_hdf5
from hsi_al.manifest import reading
from hsi_al.methods.base import RefittedLearner, require_finite
from hsi_al.methods.registry import method_of
from hsi_al.methods.room import Task
from hsi_al.outputs import Outputs, Progress
from hsi_al.randomness import generator
from hsi_al.scenes.formats.hdf5 import own_dataset, require_sound_heaps, values
from hsi_al.scenes.stored import Cube, value_range

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
CHUNK = 10_000  # pixels predicted at once
FOLDS = 5  # in which labels are held out when the others are asked about them
EXTRACTOR = "extractor"  # group of the extractor's arrays in a file of kept state


class Extractor(Protocol):
    """Turns pixels into features.

    Attributes:
        once: True if only the first `fit` learns, independently of the labels; False if every `fit` learns from scratch
            from the labelled pixels.
        progress: Called with the progress of `fit`, unless it is None.
    """

    once: bool
    progress: Progress | None

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Fit the extractor to labelled pixel ids (n,) and their class indices (n,)."""
        ...

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, D)."""
        ...

    def describe(self) -> str:
        """Return the name of the extractor, its size, and how it deviates from its source."""
        ...


@runtime_checkable
class KeptExtractor(Extractor, Protocol):
    """An extractor that can be applied to another cube of the same bands, for methods that declare `keeps_network`."""

    @property
    def n_features(self) -> int:
        """Number D of features, once it is fitted or restored."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `fit` has learnt, as arrays of one or more values by name."""
        ...

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take what `state` returned in place of a fit; the cube may be another one.

        Raises:
            LookupError: An array is missing.
            ValueError: An array doesn't fit the cube's bands or the settings.
        """
        ...


class Classifier(Protocol):
    """Tells classes from features."""

    def fit(self, features: Floats, labels: Ids, rng: np.random.Generator, calibrated: bool = False) -> None:
        """Learn from the features (n, D) of labelled pixels and their class indices (n,), n >= 1.

        Classes may have one label, and there may be one class only.

        Args:
            features: Features of the labelled pixels, (n, D).
            labels: Class indices, (n,).
            rng: Source of all random choices.
            calibrated: Whether `probabilities` will be asked for; what `predict` returns doesn't depend on it.
        """
        ...

    def predict(self, features: Floats) -> Ids:
        """Return the predicted class indices, (n,), of features (n, D)."""
        ...

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        """Return probabilities, (n, n_classes), of features (n, D); classes without a label get 0."""
        ...

    def describe(self) -> str:
        """Return the name of the classifier, such as "rbf SVM"."""
        ...

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the computations of a round with at most so many labelled and predicted pixels, as text."""
        ...


@dataclass(frozen=True)
class KeptState:
    """What a finished run keeps of a `FeatureLearner`: enough to fit its classifier again.

    Attributes:
        features: Features of the labelled pixels, (n, D).
        labels: Their class indices, (n,).
        seed: Seed of the generator that the classifier was fitted with.
        limits: Minimum and maximum of the cube.
        extractor: The extractor's own arrays by name.
    """

    features: Floats
    labels: Ids
    seed: int
    limits: tuple[float, float]
    extractor: dict[str, NDArray[Any]]

    def write(self, path: Path) -> None:
        """Write the state to an HDF5 file, completely or not at all.

        Raises:
            OSError: The folder can't be written, or the disk is full.
        """
        with replacing_hdf5(path) as file:
            self.write_into(file)

    def write_into(self, group: h5py.Group) -> None:
        """Write the arrays of the state into a group of an open HDF5 file."""
        own = {f"{EXTRACTOR}/{name}": array for name, array in self.extractor.items()}
        arrays = {"features": self.features, "labels": self.labels, "seed": [self.seed], "limits": self.limits, **own}
        for name, array in arrays.items():
            group.create_dataset(name, data=array, compression="gzip", fletcher32=True)


def read_limits(path: Path) -> tuple[float, float]:
    """Read minimum and maximum of the cube that the learner of a file of kept state was fitted to.

    Raises:
        RunDirectoryError: The file is missing or damaged.
    """
    with reading(path), h5py.File(path, "r") as file:
        require_sound_heaps(path)
        low, high = values(path, own_dataset(file, path, "limits")).tolist()
        return float(low), float(high)


def read_state(path: Path, group: str = "") -> KeptState:
    """Read the state that `KeptState.write` wrote, or `write_into` a group of this name.

    Raises:
        RunDirectoryError: The file is missing or damaged.
    """
    with reading(path), h5py.File(path, "r") as file:
        require_sound_heaps(path)
        own_names = file.get(f"{group}/{EXTRACTOR}", ())
        names = ["features", "labels", "seed", "limits", *(f"{EXTRACTOR}/{name}" for name in own_names)]
        arrays = {name: values(path, own_dataset(file, path, f"{group}/{name}")) for name in names}
        features, labels = arrays["features"].astype(np.float32), arrays["labels"].astype(np.int64)
        (seed,), (low, high) = arrays["seed"].tolist(), arrays["limits"].tolist()
        if features.ndim != 2 or labels.shape != features.shape[:1] or not features.size or labels.min() < 0:
            raise ValueError(f"features of shape {features.shape} have labels of shape {labels.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features are no finite numbers")
        own = {name.partition("/")[2]: array for name, array in arrays.items() if "/" in name}
        return KeptState(features, labels, int(seed), (float(low), float(high)), own)


class FeatureLearner(RefittedLearner):
    """A feature extractor followed by a classifier.

    Args:
        extractor: Turns pixels into features.
        n_classes: Number of classes.
        classifier: Tells classes from the features.
        needs: Optional fields of `Outputs` that `predict` has to fill in.
        seed: Seed of an extractor that learns once, so that a continued run has the features of an uninterrupted run.
        cube: The cube (H, W, bands), of a learner that keeps its state for other cubes; its extractor must be a
            `KeptExtractor`. None = no state is kept.
    """

    provides = frozenset({"probabilities_NC", "embeddings_ND"})

    def __init__(
        self,
        extractor: Extractor,
        n_classes: int,
        classifier: Classifier,
        needs: frozenset[str] = frozenset(),
        seed: int = 0,
        cube: Cube | None = None,
    ) -> None:
        self.extractor, self.n_classes, self.classifier = extractor, n_classes, classifier
        self.needs, self.seed, self.cube = needs, seed, cube
        self.keeps_state = cube is not None
        self.fitted: tuple[Floats, Ids, int] | None = None  # what the classifier was fitted to, if state is kept

    def describe(self) -> str:
        """Return the descriptions of the extractor and the classifier."""
        return f"{self.extractor.describe()}, {self.classifier.describe()}"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the work of the classifier."""
        return self.classifier.work(n_labelled, n_predicted)

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Fit the extractor, then the classifier on its features.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        # Only a learner that keeps its state draws a seed, so that the others keep the results that they always had.
        seed = int(rng.integers(2**63)) if self.keeps_state else None
        self.extractor.progress = lambda text, part: self.report(text, part / 2)  # the other half is the classifier's
        self.extractor.fit(pixel_ids, labels, np.random.default_rng(self.seed) if self.extractor.once else rng)
        features = self._features(pixel_ids)
        self._fit_classifier(features, labels, rng if seed is None else np.random.default_rng(seed))
        if seed is not None:
            self.fitted = features, labels, seed

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict classes by the classifier, and return probabilities and features (as embeddings) if needed.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        if len(pixel_ids) == 0:
            return Outputs(np.empty(0, np.int64))
        parts = list(self._predicted(pixel_ids))
        return Outputs(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def unlabelled_features(self, pixel_ids: Ids) -> Floats | None:
        """Return the features of pixel ids (n,), (n, D), if the extractor learns without labels; else None.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        if not self.extractor.once:
            return None
        none = np.empty(0, np.int64)
        self.extractor.fit(none, none, np.random.default_rng(self.seed))
        return self._features(pixel_ids)

    def doubts(self, pixel_ids: Ids, labels: Ids) -> Floats | None:
        """Return how much each label is doubted by the others: 1 - its probability where it is not learnt from.

        The labels are dealt to five parts, evenly and class by class; the classifier is fitted to four and asked about
        the fifth. What `fit` has learnt stays, and the same labels give the same doubts. A wrong label is among the
        highest doubts unless labels of its wrong class with similar features support it; a high doubt may as well be a
        right label of a kind that has no other.

        Args:
            pixel_ids: Labelled pixel ids, (n,).
            labels: Their class indices, (n,).

        Returns:
            Doubts from 0 to 1, (n,); NaN for the only label of a class, about which the others can't say anything.
            None if the features depend on labels, and were learnt from those in question.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        features = self.unlabelled_features(pixel_ids)
        if features is None:
            return None
        rng, classifier = np.random.default_rng(self.seed), copy(self.classifier)
        parts, found = dealt(labels, FOLDS, rng), np.full(len(labels), np.nan, np.float32)
        several = np.isin(labels, np.flatnonzero(np.bincount(labels) > 1))
        for part in np.unique(parts[several]):
            interrupts.check()
            asked = (parts == part) & several
            classifier.fit(features[parts != part], labels[parts != part], rng, calibrated=True)
            probabilities = classifier.probabilities(features[asked], self.n_classes)
            found[asked] = 1 - probabilities[np.arange(len(probabilities)), labels[asked]]
        return found

    def save(self, path: Path) -> None:
        """Write the state to an HDF5 file, completely or not at all; nothing if this learner keeps none.

        Raises:
            OSError: The folder can't be written, or the disk is full.
        """
        if (state := self.kept()) is not None:
            state.write(path)

    def kept(self) -> KeptState | None:
        """Return the state of a fitted learner that keeps one, else None."""
        if self.cube is None or self.fitted is None:
            return None
        assert isinstance(self.extractor, KeptExtractor)
        return KeptState(*self.fitted, value_range(self.cube), self.extractor.state())

    def load(self, path: Path, group: str = "") -> None:
        """Restore the extractor that `save` wrote, and fit the classifier again to the features kept.

        Args:
            path: HDF5 file.
            group: Group of the file that the state is in.

        Raises:
            RunDirectoryError: The file is missing, damaged or of another learner.
        """
        if self.cube is None:
            return
        assert isinstance(self.extractor, KeptExtractor)
        state = read_state(path, group)
        with reading(path):
            if state.labels.max() >= self.n_classes:
                raise ValueError(f"it has labels of more than {self.n_classes} classes")
            self.extractor.restore(state.extractor)
            if state.features.shape[1] != self.extractor.n_features:
                raise ValueError(f"it has {state.features.shape[1]} features, not {self.extractor.n_features}")
        self.fitted = state.features, state.labels, state.seed
        self._fit_classifier(state.features, state.labels, np.random.default_rng(state.seed))

    def _fit_classifier(self, features: Floats, labels: Ids, rng: np.random.Generator) -> None:
        self.report(self.classifier.describe(), 0.5)
        self.classifier.fit(features, labels, rng, "probabilities_NC" in self.needs)

    def _features(self, pixel_ids: Ids) -> Floats:
        features = self.extractor.features(pixel_ids)
        require_finite(features, f"The features of the {self.classifier.describe()}")
        return features

    def _predicted(self, pixel_ids: Ids) -> Iterator[dict[str, NDArray[Any]]]:
        for start in range(0, len(pixel_ids), CHUNK):
            features = self._features(pixel_ids[start : start + CHUNK])
            outputs: dict[str, NDArray[Any]] = {"predicted_class": self.classifier.predict(features)}
            if "probabilities_NC" in self.needs:
                outputs["probabilities_NC"] = self.classifier.probabilities(features, self.n_classes)
            if "embeddings_ND" in self.needs:
                outputs["embeddings_ND"] = features
            yield outputs
            self.report("scoring", min(1.0, (start + CHUNK) / len(pixel_ids)))


def dealt(labels: Ids, parts: int, rng: np.random.Generator) -> Ids:
    """Return the part, 0 to `parts` - 1, that each of n labels is dealt to, (n,).

    They are shuffled, then dealt like cards class by class: parts, and each class in them, differ by one label at most.
    """
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % parts
    return found


def feature_learner(task: Task, extractor: Extractor, classifier: Classifier) -> FeatureLearner:
    """Build the learner of a run; it keeps its state if its method declares `keeps_network`.

    An extractor that learns once gets a seed that depends on the run's seed alone.
    """
    seed = int(generator(task.config.seed, "features").integers(2**63))
    cube = task.cube if method_of(task.config).keeps_network else None
    return FeatureLearner(extractor, task.n_classes, classifier, task.needs, seed, cube)
