"""CNN-PPF as a learner: pairs with neighbours, votes, odd sets of labels, determinism."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.cnn_ppf.learner import EFFORTS, PpfLearner, PpfSettings, majority, neighbours

Ids = NDArray[np.int64]
SMALL = PpfSettings(
    epochs_per_stage=1, stages=2, least_steps=70, batch_size=128, optimiser="adam", lr=3e-3, predict_batch_size=300
)
TINY = replace(SMALL, stages=1, least_steps=4)


def four_classes(side: int = 40, n_bands: int = 20) -> tuple[NDArray[np.float32], Ids]:
    """Quadrants of four classes with normal spectra, and the class of every pixel."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((side, side)) // (side // 2)
    truth = (2 * rows + columns).ravel()
    cube = rng.normal(rng.random((4, n_bands))[truth], 0.1)
    return cube.reshape(side, side, n_bands).astype(np.float32), truth


CUBE, TRUTH = four_classes()
ALL = np.arange(len(TRUTH))


def some(n_each: int, *classes: int) -> Ids:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.choice(np.flatnonzero(np.equal(TRUTH, c)), n_each, replace=False) for c in classes])


def fitted(pixel_ids: Ids, settings: PpfSettings = TINY, n_classes: int = 4, seed: int = 3) -> PpfLearner:
    learner = PpfLearner(CUBE, n_classes, settings, "cpu")
    learner.fit(pixel_ids, TRUTH[pixel_ids], 0, np.random.default_rng(seed))
    return learner


class SecondPixel(nn.Module):
    """Output c + 1 says how much the second pixel's band c holds; the output for different pixels wins always."""

    def forward(self, pairs: Tensor) -> Tensor:
        return torch.cat([torch.full((len(pairs), 1), 9.0), pairs[:, 1]], dim=1)


def test_separated_classes_are_found() -> None:
    found = fitted(some(10, 0, 1, 2, 3), SMALL).predict(ALL)
    assert (found.predicted_class == TRUTH).mean() > 0.95
    assert found.predicted_class.dtype == np.int64
    assert found.probabilities_NC is None


# Voting


@pytest.mark.parametrize(
    ("row", "column", "count"), [(0, 0, 8), (6, 8, 8), (0, 4, 14), (3, 8, 14), (3, 4, 24), (1, 1, 15)]
)
def test_neighbours_inside_the_image(row: int, column: int, count: int) -> None:
    ids, inside = neighbours(np.array([row * 9 + column]), 7, 9, 5)
    assert ids.shape == (1, 24)
    near = [
        r * 9 + c
        for r in range(max(0, row - 2), min(7, row + 3))
        for c in range(max(0, column - 2), min(9, column + 3))
        if (r, c) != (row, column)
    ]
    assert sorted(ids[inside].tolist()) == near
    assert len(near) == count


def test_majority_by_hand() -> None:
    votes = np.array([[2, 2, 1, 0], [3, 1, 3, 1], [0, 3, 3, 3], [2, 2, 2, 2]])
    valid = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    assert majority(votes, valid, 4).tolist() == [2, 1, 0, 2]  # the second is a tie


def test_prediction_is_the_vote_of_the_pairs_with_all_neighbours() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 3, (6, 7))
    cube = np.eye(20, dtype=np.float32)[values]
    learner = PpfLearner(cube, 20, replace(TINY, predict_batch_size=5), "cpu")
    learner.module.network = SecondPixel()  # type: ignore[assignment]
    expected = []
    for row, column in np.ndindex(6, 7):
        window = values[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        counts = np.bincount(window.ravel(), minlength=3)
        counts[values[row, column]] -= 1
        expected.append(int(counts.argmax()))
    order = rng.permutation(42)
    assert learner.predict(order).predicted_class.tolist() == np.array(expected)[order].tolist()


def test_neither_classes_without_labels_nor_the_output_for_different_pixels_win() -> None:
    learner = fitted(some(4, 0, 2))
    last = learner.module.network.layers[-2]
    assert isinstance(last.bias, Tensor)
    last.bias.data[[0, 2, 4]] = 99.0
    assert set(learner.predict(ALL[::10]).predicted_class.tolist()) <= {0, 2}


def test_inside_a_constant_region_the_pair_of_equals_decides() -> None:
    learner = PpfLearner(np.concatenate([CUBE, np.full_like(CUBE, 0.3)]), 4, TINY, "cpu")
    inner = np.arange(45 * 40, 75 * 40)
    pair = learner.module(torch.from_numpy(np.stack([inner[:1], inner[:1]], axis=1))).detach()
    assert (learner.predict(inner).predicted_class == int(pair[0, 1:].argmax())).all()


def test_nothing_to_predict() -> None:
    assert fitted(some(2, 0, 1)).predict(np.empty(0, np.int64)).predicted_class.shape == (0,)


# Training


def test_what_the_network_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[tuple[Tensor, Tensor]] = []

    def record(module: Any, loader: Any, epochs: int, *_: Any) -> None:
        batches.extend(loader)
        assert (module.epochs_per_stage, epochs) == (2, 6)

    monkeypatch.setattr("hsi_al.methods.cnn_ppf.learner.train", record)
    pixel_ids = some(5, 1, 3)
    fitted(pixel_ids, replace(TINY, epochs_per_stage=2, stages=3, least_steps=0, batch_size=32))
    pairs, outputs = (torch.cat(column).numpy() for column in zip(*batches, strict=True))
    assert [len(chosen) for chosen, _ in batches] == [32, 32, 6]
    first, second = TRUTH[pairs].T
    assert np.isin(pairs, pixel_ids).all()
    assert np.array_equal(outputs, np.where(first == second, first + 1, 0))
    assert np.bincount(outputs).tolist() == [30, 0, 20, 0, 20]
    assert (outputs[:32] == 0).any()  # shuffled: they were last


def test_few_pairs_get_more_epochs() -> None:
    learner = PpfLearner(CUBE, 4, PpfSettings(epochs_per_stage=4, least_steps=100, batch_size=10), "cpu")
    assert learner.epochs_per_stage(1000) == 4
    assert learner.epochs_per_stage(45) == 20
    assert learner.epochs_per_stage(1) == 100


@pytest.mark.parametrize(
    ("pixel_ids", "classes"),
    [
        (np.append(some(4, 0, 1), some(1, 3)), {0, 1, 3}),  # a class with one pixel, one absent
        (some(4, 2), {2}),
        (some(1, 2), {2}),
        (some(1, 1, 2), {1, 2}),
    ],
)
def test_odd_sets_of_labels(pixel_ids: Ids, classes: set[int]) -> None:
    found = fitted(pixel_ids).predict(ALL[::10]).predicted_class
    assert set(found.tolist()) <= classes


def test_the_only_pixel_of_a_class_is_learned() -> None:
    pixel_ids = some(1, 0, 1, 2, 3)
    assert (fitted(pixel_ids, replace(SMALL, stages=1)).predict(ALL[::7]).predicted_class == TRUTH[::7]).mean() > 0.7


def test_fit_depends_on_its_generator_alone_and_starts_anew() -> None:
    states = []
    learner = PpfLearner(CUBE, 4, TINY, "cpu")
    for global_seed, seed in ((1, 3), (2, 3), (2, 4)):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            learner.fit(some(4, 0, 1), TRUTH[some(4, 0, 1)], 1, np.random.default_rng(seed))
            assert torch.equal(torch.get_rng_state(), before)
        states.append(torch.cat([weight.detach().flatten() for weight in learner.module.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def test_progress_of_fitting_and_scoring() -> None:
    seen: list[tuple[str, float]] = []
    learner = PpfLearner(CUBE, 4, TINY, "cpu")
    learner.progress = lambda text, part: seen.append((text, part))
    pixel_ids = some(4, 0, 1)
    learner.fit(pixel_ids, TRUTH[pixel_ids], 0, np.random.default_rng(0))
    assert [text for text, _ in seen] == ["epoch 1/4", "epoch 2/4", "epoch 3/4", "epoch 4/4"]
    assert [part for _, part in seen] == [0.25, 0.5, 0.75, 1.0]
    seen.clear()
    learner.predict(ALL[:700])
    assert seen == [("scoring", 300 / 700), ("scoring", 600 / 700), ("scoring", 1.0)]


# Settings


def test_scaling_is_global() -> None:
    spectra = PpfLearner(CUBE * 7 - 3, 4, TINY, "cpu").module.spectra
    expected = (CUBE - CUBE.min()) / (CUBE.max() - CUBE.min())
    assert np.allclose(spectra.numpy(), expected.reshape(-1, 20), atol=1e-5)


def test_a_constant_cube_and_integers_work() -> None:
    learner = PpfLearner(np.full((3, 3, 20), 7, np.int16), 2, TINY, "cpu")
    assert not learner.module.spectra.any()


@pytest.mark.parametrize("neighbourhood", [1, 4])
def test_bad_windows(neighbourhood: int) -> None:
    with pytest.raises(ConfigurationError, match=f"neighbourhood={neighbourhood} must be odd"):
        PpfLearner(CUBE, 4, replace(TINY, neighbourhood=neighbourhood), "cpu")


def test_a_scene_of_one_pixel() -> None:
    with pytest.raises(ConfigurationError, match="one pixel"):
        PpfLearner(CUBE[:1, :1], 4, TINY, "cpu")


def test_too_few_bands() -> None:
    with pytest.raises(ConfigurationError, match="5 bands"):
        PpfLearner(CUBE[..., :5], 4, TINY, "cpu")


def test_description_and_work() -> None:
    learner = PpfLearner(np.zeros((3, 3, 200), np.float32), 9, EFFORTS["paper"], "cpu")
    assert learner.describe() == "CNN-PPF, 58,710 parameters, 900 epochs of batch 256 with sgd"
    # 401,400 pairs are 1,568 steps an epoch.
    assert learner.work(1800, 9234).startswith("about 1,411,200 training steps of 256 pairs")
    assert "221,616 pairs to score" in learner.work(1800, 9234)
    short = PpfLearner(CUBE, 4, EFFORTS["short"], "cpu").describe()
    assert "(source: 900 of 256 with sgd)" in short
    assert "padded" in short


def test_the_paper_effort_is_the_demo() -> None:
    settings = EFFORTS["paper"]
    assert (settings.stages, settings.epochs_per_stage, settings.batch_size) == (3, 300, 256)
    assert (settings.optimiser, settings.lr, settings.momentum, settings.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert (settings.partners, settings.neighbourhood) == (3, 5)


def test_outputs_that_are_no_numbers_and_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = PpfLearner(np.random.default_rng(0).random((4, 5, 50)), 2, PpfSettings(1, 1), "cpu")
    learner.fit(np.arange(6), np.arange(6) % 2, 0, np.random.default_rng(0))
    with torch.no_grad():
        learner.module.network.layers[-2].bias.fill_(torch.nan)  # type: ignore[operator]
    with pytest.raises(LearnerError, match="outputs of CNN-PPF hold NaN or infinite"):
        learner.predict(np.arange(6))
    monkeypatch.setattr("hsi_al.methods.cnn_ppf.learner.MOST_PAIRS", 11)
    with pytest.raises(LearnerError, match="6 labels give 12, and 11 at most"):
        learner.fit(np.arange(6), np.arange(6) % 2, 0, np.random.default_rng(0))
