"""Classifiers by scikit-learn's contract as learners."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hsi_al
from hsi_al.methods.own import OwnClassifier, fresh, table_of
from tests.conftest import tiny_arrays

Floats = NDArray[Any]
NUMBERS: dict[str, Any] = {"rounds": 1, "query_size": 4, "initial_size": 12, "threads": 1}


@pytest.fixture(scope="module")
def tiny() -> hsi_al.Scene:
    return hsi_al.load_scene(*tiny_arrays())


class NearestMean:
    """No scikit-learn in it: a class mean per class, and shares that fall with the distance."""

    def fit(self, X: Floats, y: Floats) -> "NearestMean":
        assert not hasattr(self, "means"), "a fitted one was fitted again"
        self.classes_ = np.unique(y)[::-1]  # in an order of its own
        self.means = np.stack([X[y == value].mean(axis=0) for value in self.classes_])
        return self

    def predict_proba(self, X: Floats) -> Floats:
        away = -((X[:, None] - self.means) ** 2).sum(axis=2)
        shares = np.exp(away - away.max(axis=1, keepdims=True))
        normal: Floats = shares / shares.sum(axis=1, keepdims=True)
        return normal


@pytest.mark.parametrize("model", [NearestMean, NearestMean()])
def test_the_first_round_by_hand(tiny: hsi_al.Scene, model: Any) -> None:
    experiment = hsi_al.Experiment(tiny, "holdout", model, initial="uniform", seed=0, **NUMBERS)
    ids = experiment.labelled["pixel_id"]
    labels = experiment.labelled["label"]
    experiment.step()
    spectra = tiny.cube.reshape(-1, 6).astype(float)
    spectra = (spectra - spectra.mean(axis=0)) / spectra.std(axis=0)
    means = np.stack([spectra[ids[labels == value]].mean(axis=0) for value in (2, 5, 9)])
    nearest = np.array([2, 5, 9])[((spectra[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)]
    assert experiment.class_map.ravel().tolist() == nearest.tolist()
    test = experiment.split.test
    right = (nearest[test] == tiny.ground_truth.ravel()[test]).mean()
    assert experiment.curve["oa_heldout"][0] == pytest.approx(right, abs=1e-12)


def test_features_are_an_array_a_picture_or_a_function_of_the_cube(tiny: hsi_al.Scene) -> None:
    bands = tiny.cube[..., :3].astype(float)
    curves = [
        hsi_al.Experiment(tiny, learner=hsi_al.make_learner(GaussianNB(), features=features), **NUMBERS).run()
        for features in (bands, bands.reshape(-1, 3), lambda cube: cube[..., :3].astype(float))
    ]
    assert curves[0]["oa_all"].tolist() == curves[1]["oa_all"].tolist() == curves[2]["oa_all"].tolist()
    whole = hsi_al.Experiment(tiny, learner=GaussianNB(), **NUMBERS).run()
    assert whole["oa_all"].tolist() != curves[0]["oa_all"].tolist()


def test_spectra_take_the_keys_of_learners_on_spectra(tiny: hsi_al.Scene) -> None:
    smooth = hsi_al.make_learner(GaussianNB(), windows=[5])
    learner = hsi_al.Experiment(tiny, learner=smooth, **NUMBERS)._parts.learner
    assert "averaged over 5 x 5 pixels" in learner.describe() and "GaussianNB" in learner.describe()
    with pytest.raises(hsi_al.ConfigurationError, match="There is no key windows in learner"):
        hsi_al.make_learner(GaussianNB(), features=np.zeros((624, 2)), windows=[5])
    blocks = [
        hsi_al.make_split(
            tiny, "blocks", block_size=8, learner=hsi_al.make_learner(GaussianNB(), windows=[n], patch_size=1)
        )
        for n in (1, 7)
    ]
    assert len(blocks[1].test) < len(blocks[0].test)


def test_seeds_of_the_run_decide_what_is_random(tiny: hsi_al.Scene) -> None:
    forest = RandomForestClassifier(5)
    pictures = [
        hsi_al.Experiment(tiny, learner=forest, seed=seed, **NUMBERS).run()["kappa_all"].tolist() for seed in (0, 0, 1)
    ]
    assert pictures[0] == pictures[1] != pictures[2]
    assert forest.random_state is None and not hasattr(forest, "classes_")
    drawn = [fresh(make_pipeline(StandardScaler(), RandomForestClassifier()), np.random.default_rng(0)) for _ in "ab"]
    assert drawn[0][-1].random_state == drawn[1][-1].random_state is not None
    assert fresh(RandomForestClassifier(random_state=7), np.random.default_rng(0)).random_state == 7


def test_a_single_class_is_never_fitted() -> None:
    classifier = OwnClassifier(LogisticRegression())
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    classifier.fit(features, np.array([1, 1, 1]), np.random.default_rng(0))
    assert classifier.predict(features).tolist() == [1, 1, 1]
    assert classifier.probabilities(features, 3).tolist() == [[0, 1, 0]] * 3


class Broken(NearestMean):
    def __init__(self, what: str) -> None:
        self.what = what

    def fit(self, X: Floats, y: Floats) -> "Broken":
        super().fit(X, y)
        if self.what == "classes":
            self.classes_ = np.arange(len(self.classes_)) + 1
        return self

    def predict_proba(self, X: Floats) -> Floats:
        found = super().predict_proba(X)
        if self.what == "shape":
            found = found[:, :-1]
        if self.what == "nan":
            found[0, 0] = np.nan
        if self.what == "logarithms":
            found = np.log(found + 1e-9)
        if self.what == "scores":
            found = 3 * found
        if self.what == "differences":  # they sum to 1
            found = found + np.array([-0.5, 0.0, 0.5])
        return found


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("classes", r"class indices \[0, 1, 2\], but its classes_ are \[1, 2, 3\]"),
        ("shape", r"Broken.predict_proba returned an array of shape \(440, 2\) for 440 pixels and 3 classes"),
        ("nan", "The probabilities of Broken hold NaN or infinite values"),
        ("logarithms", r"Broken.predict_proba returned values from -\S+ to .*lie from 0 to 1"),
        ("scores", "sums over the classes reach from 3 to 3; probabilities lie from 0 to 1 and sum to 1"),
        ("differences", r"values from -\S+ to .*sums over the classes reach from 1 to 1;"),
    ],
)
def test_what_a_model_gives_is_checked(tiny: hsi_al.Scene, what: str, says: str) -> None:
    experiment = hsi_al.Experiment(tiny, "paper", Broken(what), initial="per_class", per_class=3, **NUMBERS)
    with pytest.raises(hsi_al.LearnerError, match=says):
        experiment.step()


def test_probabilities_in_half_precision_and_of_no_pixel() -> None:
    model = OwnClassifier(NearestMean)
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    model.fit(features, np.array([0, 0, 1, 1, 2, 2]), np.random.default_rng(0))
    exact, whole = model.probabilities(features, 3), model.model.predict_proba
    model.latest, model.model.predict_proba = None, lambda X: whole(X).astype(np.float16)
    assert np.allclose(model.probabilities(features, 3), exact, atol=1e-3)
    assert model.probabilities(features[:0], 3).shape == (0, 3)


@pytest.mark.parametrize(
    "features", [np.zeros((5, 2)), np.zeros(6), np.zeros((6, 0)), np.full((6, 1), "x"), np.zeros((3, 2, 4))]
)
def test_features_that_do_not_fit_are_refused(features: Floats) -> None:
    with pytest.raises(hsi_al.LearnerError, match=r"needs real numbers of shape \(6, D\) or \(2, 3, D\)"):
        table_of(features, np.zeros((2, 3, 4)))
    assert table_of(np.zeros((2, 3, 4)), np.zeros((2, 3, 9))).shape == (6, 4)


def test_infinite_features_are_refused(tiny: hsi_al.Scene) -> None:
    features = np.zeros((624, 2))
    features[:, 1] = np.nan
    with pytest.raises(hsi_al.LearnerError, match="The features of the GaussianNB hold NaN"):
        hsi_al.Experiment(tiny, learner=hsi_al.make_learner(GaussianNB(), features=features), **NUMBERS)


def test_the_window_of_an_own_learner_guards_a_split_that_is_named(tiny: hsi_al.Scene) -> None:
    learner = hsi_al.make_learner(GaussianNB(), windows=[7], patch_size=1)
    blocks: dict[str, Any] = {"split.block_size": 8}
    named = hsi_al.Experiment(tiny, "blocks", learner, **NUMBERS, **blocks).split
    made = hsi_al.make_split(tiny, "blocks", learner=learner, block_size=8)
    assert named.test.tolist() == made.test.tolist() != []
    rows, columns = np.divmod(made.test, 26)
    near = [
        abs(rows - row) + abs(columns - column) for row, column in zip(*np.divmod(made.candidates, 26), strict=True)
    ]
    assert min(distance.min() for distance in near) > 3  # half of the window


class Centring(NearestMean):
    """Changes the features that it gets."""

    def fit(self, X: Floats, y: Floats) -> "Centring":
        super().fit(X, y)
        X[:] = 7
        y[:] = 0
        return self

    def predict_proba(self, X: Floats) -> Floats:
        found = super().predict_proba(X)
        X -= X.mean(axis=1, keepdims=True)
        return found


def test_a_model_that_changes_its_input_changes_no_query(tiny: hsi_al.Scene) -> None:
    asked = [
        hsi_al.Experiment(tiny, learner=model, acquisition="core_set", **NUMBERS) for model in (NearestMean, Centring)
    ]
    for experiment in asked:
        experiment.run()
    assert asked[0].labelled["pixel_id"].tolist() == asked[1].labelled["pixel_id"].tolist()
    assert asked[0].labelled["label"].tolist() == asked[1].labelled["label"].tolist()


class Shaken(NearestMean):
    random_state: int | None = None

    def predict_proba(self, X: Floats) -> Floats:
        rng = np.random.default_rng(self.random_state)
        shares = rng.random((len(X), 3))
        shaken: Floats = shares / shares.sum(axis=1, keepdims=True)
        return shaken


def test_a_seed_comes_to_any_random_state(tiny: hsi_al.Scene) -> None:
    curves = [
        hsi_al.Experiment(tiny, learner=Shaken, seed=seed, **NUMBERS).run()["oa_all"].tolist() for seed in (0, 0, 1)
    ]
    assert curves[0] == curves[1] != curves[2]
    fixed = Shaken()
    fixed.random_state = 5
    assert fresh(fixed, np.random.default_rng(0)).random_state == 5


def test_probabilities_a_little_below_zero_serve_every_function(tiny: hsi_al.Scene) -> None:
    class Rounded(NearestMean):
        def predict_proba(self, X: Floats) -> Floats:
            found = super().predict_proba(X)
            found[:, 0] = -1e-9
            found[:, 1] = 1 + 1e-9 - found[:, 2]
            return found

    experiment = hsi_al.Experiment(tiny, learner=Rounded, acquisition="entropy", **NUMBERS)
    assert experiment.run()["n_labelled"].tolist() == [12, 16]
