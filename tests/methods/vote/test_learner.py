"""The vote against its members and Gaussians written out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, RunDirectoryError
from hsi_al.methods import strips
from hsi_al.methods.registry import build_learner, method_of, with_learner
from hsi_al.methods.room import Task
from hsi_al.methods.vote import VoteConfig, members_of
from hsi_al.methods.vote.learner import VoteLearner, smoothed
from hsi_al.predict import limits_in

EVERY = frozenset({"probabilities_NC", "embeddings_ND"})
HEIGHT, WIDTH = 17, 12
PIXELS = np.arange(HEIGHT * WIDTH)
LABELLED = np.random.default_rng(1).permutation(PIXELS)[:30]
LABELS = LABELLED % WIDTH // 4  # three classes side by side, of four that the scene has


def scene() -> NDArray[np.float32]:
    """Three classes side by side, under noise."""
    generator = np.random.default_rng(0)
    means = np.repeat(generator.normal(size=(3, 5)), 4, axis=0)
    return (means + generator.normal(0, 0.7, (HEIGHT, WIDTH, 5))).astype(np.float32)


SPECTRA: dict[str, Any] = {"windows": [3], "unit_length": True, "derivatives": True}


def vote(
    members: list[str], smooth: list[float], memory_gb: float = 1.0, needs: frozenset[str] = EVERY, full_at: int = 0
) -> VoteLearner:
    config = Config(learner=VoteConfig(name="vote", members=members, smooth=smooth, full_at=full_at, **SPECTRA))
    config.dataset.memory_gb, config.trainer.threads = memory_gb, 1
    learner = build_learner(Task(config, scene(), 4, PIXELS, needs))
    assert isinstance(learner, VoteLearner)
    return learner


def fitted(learner: Any, seed: int = 0) -> Any:
    learner.fit(LABELLED, LABELS, 0, np.random.default_rng(seed))
    return learner


def alone(name: str, seed: int) -> NDArray[np.float64]:
    """The probabilities of a learner on spectra by itself, for all pixels."""
    config = with_learner(Config(), name)
    config.learner = replace(config.learner, **SPECTRA)
    learner = build_learner(Task(config, scene(), 4, PIXELS, frozenset({"probabilities_NC"})))
    found = fitted(learner, seed).predict(PIXELS).probabilities_NC
    return np.asarray(found, np.float64)


def gaussian_mean(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """The Gaussian mean by its definition, cut at four deviations, the image mirrored with its border twice."""
    reach = int(4 * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    mirrored = [np.concatenate([np.arange(n), np.arange(n)[::-1]]) for n in (HEIGHT, WIDTH)]
    found = np.zeros_like(values)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            rows = mirrored[0][(row + steps) % (2 * HEIGHT)]
            columns = mirrored[1][(column + steps) % (2 * WIDTH)]
            found[row, column] = np.einsum("i,j,ijc->c", weights, weights, values[np.ix_(rows, columns)])
    return found


@pytest.mark.parametrize("sigma", [0.4, 1.5, 6])
def test_smoothing_is_a_gaussian_mean_that_keeps_the_sum(sigma: float) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(4), (HEIGHT, WIDTH))
    found = smoothed(values.astype(np.float32), sigma)
    np.testing.assert_allclose(found, gaussian_mean(values, sigma), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 7])
def test_probabilities_are_the_mean_of_the_members_each_smoothed_as_asked(seed: int) -> None:
    outputs = fitted(vote(["lda", "random_forest"], [2, 0]), seed).predict(PIXELS)
    # Every member has a generator of its own, drawn from that of the round.
    _, second = np.random.default_rng(seed).integers(2**63, size=2)
    lda = gaussian_mean(alone("lda", 0).reshape(HEIGHT, WIDTH, 4), 2).reshape(-1, 4)  # draws nothing that matters
    expected = (lda + alone("random_forest", int(second))) / 2
    np.testing.assert_allclose(outputs.probabilities_NC, expected, atol=1e-6)
    assert outputs.probabilities_NC is not None and not outputs.probabilities_NC[:, 3].any()  # a class without a label
    assert outputs.predicted_class.tolist() == outputs.probabilities_NC.argmax(axis=1).tolist()
    assert outputs.embeddings_ND is not None and outputs.embeddings_ND.shape == (len(PIXELS), 18)


def trees_alone(seed: int) -> VoteLearner:
    """A vote of one, fitted as the second member of a vote of this seed."""
    learner = vote(["profile_trees"], [0])
    drawn = int(np.random.default_rng(seed).integers(2**63, size=2)[1])
    learner.members[0].learner.fit(LABELLED, LABELS, 0, np.random.default_rng(drawn))
    learner.n_labelled = len(LABELLED)
    return learner


@pytest.mark.parametrize(("full_at", "weight"), [(0, 1.0), (1, 1.0), (30, 1.0), (31, 30 / 31), (120, 0.25)])
def test_a_member_on_spectra_counts_as_its_labels_allow(full_at: int, weight: float, tmp_path: Path) -> None:
    learner = fitted(vote(["lda", "profile_trees"], [0, 0], full_at=full_at))
    trees = trees_alone(0).predict(PIXELS).probabilities_NC
    assert trees is not None
    expected = (weight * alone("lda", 0) + trees) / (1 + weight)
    found = learner.predict(PIXELS).probabilities_NC
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-6)
    learner.save(tmp_path / "weights_0.h5")
    loaded = vote(["lda", "profile_trees"], [0, 0], full_at=full_at)
    loaded.load(tmp_path / "weights_0.h5")
    again = loaded.predict(PIXELS).probabilities_NC
    assert again is not None
    np.testing.assert_allclose(again, found, atol=1e-6)


def test_members_on_spectra_alone_always_count_fully() -> None:
    some, every = (
        fitted(vote(["lda", "svm"], [0, 1], full_at=full_at)).predict(PIXELS).probabilities_NC for full_at in (1000, 0)
    )
    np.testing.assert_array_equal(some, every)


def test_the_features_are_those_of_members_that_see_places() -> None:
    learner, trees = fitted(vote(["lda", "profile_trees"], [0, 0])), trees_alone(0)
    embeddings, features = learner.predict(PIXELS).embeddings_ND, trees.unlabelled_features(PIXELS)
    assert embeddings is not None and features is not None
    np.testing.assert_array_equal(embeddings, features)
    found = learner.doubts(LABELLED, LABELS)
    assert found is not None and found.shape == LABELS.shape
    expected = trees.members[0].learner.doubts(LABELLED, LABELS)
    assert expected is not None
    np.testing.assert_array_equal(found, expected)


def test_another_number_of_classes_keeps_the_features() -> None:
    learner = fitted(vote(["lda", "profile_trees"], [1, 0]))
    before = learner.predict(PIXELS).probabilities_NC
    features = learner.members[1].learner.extractor.strips
    learner.n_classes = 5
    after = fitted(learner).predict(PIXELS).probabilities_NC
    assert after is not None and after.shape == (len(PIXELS), 5) and not after[:, 4].any()
    np.testing.assert_array_equal(after[:, :4], before)
    assert features is not None and learner.members[1].learner.extractor.strips is features


def test_a_single_member_without_smoothing_is_that_learner() -> None:
    learner = fitted(vote(["lda"], [0]))
    outputs = learner.predict(PIXELS)
    np.testing.assert_array_equal(outputs.probabilities_NC, alone("lda", 0).astype(np.float32))
    assert outputs.probabilities_NC is not None and outputs.embeddings_ND is not None
    np.testing.assert_array_equal(learner.unlabelled_features(PIXELS), outputs.embeddings_ND)


def test_only_what_is_needed_is_given_and_nothing_for_no_pixel() -> None:
    learner = fitted(vote(["lda"], [1], needs=frozenset()))
    outputs = learner.predict(np.array([5, 3]))
    assert outputs.probabilities_NC is None and outputs.embeddings_ND is None and len(outputs.predicted_class) == 2
    assert len(learner.predict(np.empty(0, np.int64)).predicted_class) == 0


def test_one_class_and_one_label() -> None:
    learner = vote(["lda", "profile_trees"], [1, 0])
    learner.fit(LABELLED[:1], np.array([2]), 0, np.random.default_rng(0))
    outputs = learner.predict(PIXELS)
    assert (outputs.predicted_class == 2).all() and outputs.probabilities_NC is not None
    np.testing.assert_allclose(outputs.probabilities_NC[:, 2], 1, atol=1e-6)


def test_memory_changes_no_bit_and_a_new_fit_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of six rows with the rows around them, in any order of the pixels."""
    monkeypatch.setattr(strips, "STRIP_BYTES", 4 * WIDTH * 4 * 6)
    order = np.random.default_rng(3).permutation(PIXELS)
    whole, strip_by_strip = (fitted(vote(["lda", "svm"], [0.5, 0.4], memory_gb)) for memory_gb in (1.0, 0.0))
    assert [part.fits for part in whole.smoothed.values()] == [True, True]
    assert [len(part.strips) for part in strip_by_strip.smoothed.values()] == [3, 3]
    before = whole.predict(order).probabilities_NC
    np.testing.assert_array_equal(strip_by_strip.predict(order).probabilities_NC, before)
    for learner in (whole, strip_by_strip):
        learner.fit(LABELLED, 2 - LABELS, 1, np.random.default_rng(0))
        after = learner.predict(order).probabilities_NC
        assert np.abs(after[:, [2, 1, 0]] - before[:, :3]).max() < np.abs(after - before).max() / 4


def test_a_loaded_vote_predicts_as_the_saved_one(tmp_path: Path) -> None:
    saved = fitted(vote(["profile_trees", "lda"], [0, 1]))
    saved.save(tmp_path / "weights_0.h5")
    with h5py.File(tmp_path / "weights_0.h5") as file:  # readable without this package
        assert set(file) == {"profile_trees", "lda", "limits"}
        assert file["lda/labels"][:].tolist() == LABELS.tolist()
    assert limits_in(tmp_path / "weights_0.h5") == (scene().min(), scene().max())
    loaded = vote(["profile_trees", "lda"], [0, 1])
    loaded.load(tmp_path / "weights_0.h5")
    expected, found = saved.predict(PIXELS), loaded.predict(PIXELS)
    assert found.predicted_class.tolist() == expected.predicted_class.tolist()
    assert found.probabilities_NC is not None
    np.testing.assert_allclose(found.probabilities_NC, expected.probabilities_NC, atol=1e-6)
    with h5py.File(tmp_path / "weights_0.h5", "r+") as file:
        del file["lda/seed"]
    with pytest.raises(RunDirectoryError, match=r"weights_0\.h5 .*delete the run directory"):
        loaded.load(tmp_path / "weights_0.h5")


@pytest.mark.parametrize(
    ("members", "smooth", "side"),
    [(["lda"], [0], 3), (["lda", "svm"], [1, 3], 27), (["lda", "profile_trees"], [4, 0], 65)],
)
def test_the_window_is_the_widest_of_a_member_with_its_smoothing(
    members: list[str], smooth: list[float], side: int
) -> None:
    config = Config(learner=VoteConfig(name="vote", members=members, smooth=smooth))
    assert method_of(config).window(config) == side


@pytest.mark.parametrize(
    ("members", "smooth", "message"),
    [
        ([], [], r"learner\.members=\[\] must be one or more different learners"),
        (["lda", "lda"], [0, 0], r"learner\.members=\[lda,lda\] must be"),
        (["lda", "deep"], [0, 0], "choose among lda, profile_trees, random_forest, svm"),
        (["vote"], [0], r"learner\.members=\[vote\] must be"),
        (["nearest_label"], [0], "whose classifier is kept"),
        (["lda", "svm"], [4], r"learner\.smooth=\[4\] must have one number for each of learner\.members=\[lda,svm\]"),
    ],
)
def test_bad_input(members: list[str], smooth: list[float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        members_of(Config(learner=VoteConfig(name="vote", members=members, smooth=smooth)))
