"""Learners of a caller's own, which keep scikit-learn's contract: `fit` and `predict_proba`, on any features."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from hsi_al.config.schema import LearnerConfig, SpectraConfig
from hsi_al.errors import LearnerError
from hsi_al.methods.base import ROUNDING, require_finite
from hsi_al.methods.features import Extractor, FeatureLearner
from hsi_al.methods.posterior import PosteriorClassifier
from hsi_al.methods.room import Method, Task, largest_window
from hsi_al.methods.spectra import extractor_of
from hsi_al.outputs import Progress
from hsi_al.randomness import generator

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
# Features of all pixels, (H * W, D) or (H, W, D); or a function that computes them from the cube (H, W, bands).
Features = ArrayLike | Callable[[NDArray[Any]], ArrayLike]


@runtime_checkable
class Probabilistic(Protocol):
    """A classifier by scikit-learn's contract."""

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Any:  # noqa: ANN401
        """Learn from features (n, D) and class indices (n,)."""
        ...

    def predict_proba(self, X: NDArray[Any]) -> Any:  # noqa: ANN401
        """Return probabilities (n, classes of `y`), columns in the order of `classes_`, else ascending."""
        ...


class OwnClassifier(PosteriorClassifier):
    """A classifier by scikit-learn's contract, fitted anew in every round.

    Wherever it has a parameter `random_state` that is None, it gets a seed of the round. It gets copies of the
    features, which it may change.

    Args:
        model: The classifier, which stays as it is, or its class.
    """

    def __init__(self, model: Probabilistic | type[Probabilistic]) -> None:
        super().__init__()
        self.template = model
        self.order: Ids = np.empty(0, np.int64)

    def describe(self) -> str:
        """Return the name of the class."""
        return name_of_model(self.template)

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the computations of a round, as text."""
        return f"{self.describe()} on up to {n_labelled:,} labels a round, then {n_predicted:,} pixels"

    def fitted(self, features: Floats, labels: Ids, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return the model.

        Raises:
            LearnerError: Its classes are not those of the labels.
        """
        model = fresh(self.template, rng)
        model.fit(features.copy(), labels.copy())
        classes = np.asarray(getattr(model, "classes_", self.classes))
        if sorted(classes.tolist()) != self.classes.tolist():
            raise LearnerError(
                f"{self.describe()} was fitted to the class indices {self.classes.tolist()}, but its classes_ are "
                f"{classes.tolist()}; let fit take the classes from y."
            )
        self.order = np.argsort(classes)
        return model

    def shares(self, features: Floats) -> NDArray[np.floating]:
        """Return the probabilities, (n, classes with a label), of features (n, D).

        Raises:
            LearnerError: They have another shape, are NaN or infinite, or don't lie from 0 to 1 with a sum of 1.
        """
        found = np.asarray(self.model.predict_proba(features.copy()), np.float64)
        if found.shape != (len(features), len(self.classes)):
            raise LearnerError(
                f"{self.describe()}.predict_proba returned an array of shape {found.shape} for {len(features)} pixels "
                f"and {len(self.classes)} classes; it must have a row for each pixel and a column for each class."
            )
        require_finite(found, f"The probabilities of {self.describe()}")
        # Others give a map, too, but their margins, entropies and uncertainties mean nothing.
        sums = found.sum(axis=1)
        if len(found) and (found.min() < -ROUNDING or np.abs(sums - 1).max() > ROUNDING):
            raise LearnerError(
                f"{self.describe()}.predict_proba returned values from {found.min():.3g} to {found.max():.3g}, whose "
                f"sums over the classes reach from {sums.min():.3g} to {sums.max():.3g}; probabilities lie from 0 to 1 "
                "and sum to 1."
            )
        ordered: NDArray[np.floating] = found[:, self.order].clip(0.0, 1.0)
        return ordered


def name_of_model(model: object) -> str:
    """Return the name of a model's class."""
    return model.__name__ if isinstance(model, type) else type(model).__name__


def fresh(model: Any, rng: np.random.Generator) -> Any:  # noqa: ANN401
    """Return an unfitted copy of a model, or an object of its class, with seeds where `random_state` is None."""
    made = model() if isinstance(model, type) else clone(model) if hasattr(model, "get_params") else deepcopy(model)
    if hasattr(made, "get_params"):
        unset = sorted(
            name
            for name, value in made.get_params().items()
            if name.split("__")[-1] == "random_state" and value is None
        )
        made.set_params(**{name: int(rng.integers(2**31)) for name in unset})
    elif getattr(made, "random_state", 0) is None:
        made.random_state = int(rng.integers(2**31))
    return made


class TableExtractor:
    """Features that are there already.

    Args:
        table: Features of all pixels of the scene, (H * W, D).
    """

    once = True
    progress: Progress | None = None

    def __init__(self, table: Floats) -> None:
        self.table = table

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Do nothing: there is nothing to learn."""

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, D)."""
        return self.table[pixel_ids]

    def describe(self) -> str:
        """Return the number of features."""
        return f"{self.table.shape[1]} features of one's own"


def table_of(features: Features, cube: NDArray[Any]) -> Floats:
    """Return the features of all pixels, (H * W, D).

    Raises:
        LearnerError: They have another shape, or are no real numbers.
    """
    values = np.asarray(features(cube) if callable(features) else features)
    height, width = cube.shape[:2]
    if values.ndim == 3 and values.shape[:2] == (height, width):
        values = values.reshape(height * width, -1)
    if values.ndim != 2 or len(values) != height * width or not values.shape[1] or values.dtype.kind not in "buif":
        raise LearnerError(
            f"The features have shape {values.shape} and type {values.dtype}; a scene of {height} x {width} pixels "
            f"needs real numbers of shape ({height * width}, D) or ({height}, {width}, D)."
        )
    return values.astype(np.float32, copy=False)


def own_method(model: Probabilistic | type[Probabilistic], features: Features | None = None) -> Method:
    """Return the declaration of a learner of the caller's own.

    Args:
        model: A classifier by scikit-learn's contract, or its class.
        features: Features of all pixels, or a function of the cube; None = standardised spectra, by the keys of
            `SpectraConfig`.

    Raises:
        LearnerError: The model lacks `fit` or `predict_proba`.
    """
    name = name_of_model(model)
    for needed in ("fit", "predict_proba"):
        if not callable(getattr(model, needed, None)):
            raise LearnerError(
                f"{name} has no {needed}; a learner of your own needs fit(X, y) and predict_proba(X), as classifiers "
                "of scikit-learn have them (SVC with probability=True)."
            )

    def build(task: Task) -> FeatureLearner:
        extractor: Extractor
        if features is None:
            extractor = extractor_of(task.config, task.cube)
        else:
            extractor = TableExtractor(table_of(features, task.array))
        seed = int(generator(task.config.seed, "features").integers(2**63))
        return FeatureLearner(extractor, task.n_classes, OwnClassifier(model), task.needs, seed)

    return Method(
        name,
        name,
        LearnerConfig if features is not None else SpectraConfig,
        build,
        provides=FeatureLearner.provides,
        window=largest_window if features is None else lambda config: None,
        in_windows=features is None,
        compared=False,
    )
