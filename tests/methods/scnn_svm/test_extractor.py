"""S-CNN features: learning, odd sets of labels, determinism, progress."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.methods.scnn_svm.extractor import EFFORTS, PairBatches, ScnnExtractor, ScnnSettings
from hsi_al.methods.scnn_svm.network import pair_loss

Ids = NDArray[np.int64]
SMALL = ScnnSettings(epochs=6, steps=10, pairs=24, lr=3e-3)
TINY = replace(SMALL, epochs=2, steps=2, pairs=4)


def four_classes(noise: float, side: int = 40, n_bands: int = 20) -> tuple[NDArray[np.float32], Ids]:
    """Quadrants of four classes with normal spectra, and the class of every pixel."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((side, side)) // (side // 2)
    truth = (2 * rows + columns).ravel()
    cube = rng.normal(rng.random((4, n_bands))[truth], noise)
    return cube.reshape(side, side, n_bands).astype(np.float32), truth


CUBE, TRUTH = four_classes(0.1)
ALL = np.arange(len(TRUTH))


def some(n_each: int, *classes: int) -> Ids:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.choice(np.flatnonzero(np.equal(TRUTH, c)), n_each, replace=False) for c in classes])


def fitted(pixel_ids: Ids, settings: ScnnSettings = TINY, cube: NDArray[np.float32] = CUBE) -> ScnnExtractor:
    extractor = ScnnExtractor(cube, settings, "cpu")
    extractor.fit(pixel_ids, TRUTH[pixel_ids], np.random.default_rng(3))
    return extractor


def nearest(features: NDArray[np.float32], pixel_ids: Ids) -> float:
    """Accuracy of the class of the nearest labelled pixel, over the others."""
    rest = np.setdiff1d(ALL, pixel_ids)
    distances = np.square(features[rest, None] - features[pixel_ids]).sum(axis=2)
    return float((TRUTH[pixel_ids][distances.argmin(axis=1)] == TRUTH[rest]).mean())


def test_separated_classes_are_found_with_the_linear_svm() -> None:
    learner = FeatureLearner(ScnnExtractor(CUBE, SMALL, "cpu"), 4, GridSvm("linear", 5))
    pixel_ids = some(10, 0, 1, 2, 3)
    learner.fit(pixel_ids, TRUTH[pixel_ids], 0, np.random.default_rng(3))
    assert (learner.predict(ALL).predicted_class == TRUTH).mean() > 0.95


def test_nearest_neighbours_in_the_features_are_better_than_in_the_spectra() -> None:
    cube, _ = four_classes(noise=0.8)
    pixel_ids = some(15, 0, 1, 2, 3)
    raw = nearest(cube.reshape(len(ALL), -1), pixel_ids)
    untrained = nearest(fitted(pixel_ids, replace(SMALL, lr=0.0), cube).features(ALL), pixel_ids)
    trained = nearest(fitted(pixel_ids, SMALL, cube).features(ALL), pixel_ids)
    assert trained > max(raw, untrained) + 0.1


def test_training_lowers_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []

    def recorded(*args: Any) -> torch.Tensor:
        loss = pair_loss(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr("hsi_al.methods.scnn_svm.network.pair_loss", recorded)
    fitted(some(10, 0, 1, 2, 3), SMALL)
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) / 2


def test_features_have_length_1_and_do_not_depend_on_the_batch() -> None:
    extractor = ScnnExtractor(CUBE, TINY, "cpu")
    features = extractor.features(ALL[:600][::-1].copy())
    assert features.shape == (600, 128)
    assert features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    extractor.settings = replace(TINY, predict_batch_size=7)
    assert np.allclose(extractor.features(ALL[:20]), features[::-1][:20], atol=1e-5)
    assert extractor.features(np.empty(0, np.int64)).shape == (0, 128)


def test_batches_hold_pixel_ids() -> None:
    pixel_ids = some(3, 1, 2)
    batches = PairBatches(pixel_ids, TRUTH[pixel_ids], TINY, np.random.default_rng(0))
    first, second = list(batches)
    assert len(batches) == 2
    for pairs, same in (first, second):
        assert pairs.shape == (8, 2)
        assert np.isin(pairs.numpy(), pixel_ids).all()
        classes = TRUTH[pairs.numpy()]
        assert np.array_equal(classes[:, 0] == classes[:, 1], same.numpy())
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    "pixel_ids", [np.append(some(3, 0, 1), some(1, 3)), some(3, 2), some(1, 2), some(1, 0, 3)], ids=len
)
def test_odd_sets_of_labels(pixel_ids: Ids) -> None:
    learner = FeatureLearner(ScnnExtractor(CUBE, TINY, "cpu"), 4, GridSvm("linear", 5))
    learner.fit(pixel_ids, TRUTH[pixel_ids], 0, np.random.default_rng(0))
    assert set(learner.predict(ALL[::10]).predicted_class.tolist()) <= set(TRUTH[pixel_ids].tolist())


def test_fit_depends_on_its_generator_alone_and_starts_anew() -> None:
    features, extractor = [], ScnnExtractor(CUBE, TINY, "cpu")
    for global_seed, seed in ((1, 3), (2, 3), (2, 4)):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            extractor.fit(some(3, 0, 1), TRUTH[some(3, 0, 1)], np.random.default_rng(seed))
            assert torch.equal(torch.get_rng_state(), before)
        features.append(extractor.features(ALL[:50]))
    assert np.array_equal(features[0], features[1])
    assert not np.array_equal(features[1], features[2])


def test_progress() -> None:
    seen: list[tuple[str, float]] = []
    extractor = ScnnExtractor(CUBE, TINY, "cpu")
    extractor.progress = lambda text, part: seen.append((text, part))
    extractor.fit(some(3, 0, 1), TRUTH[some(3, 0, 1)], np.random.default_rng(0))
    assert seen == [("epoch 1/2", 0.25), ("epoch 1/2", 0.5), ("epoch 2/2", 0.75), ("epoch 2/2", 1.0)]


def test_centring_takes_the_mean_spectrum_of_the_scene_and_one_deviation() -> None:
    cube = CUBE[:20, :14] * 5 + 2
    extractor = ScnnExtractor(cube, TINY, "cpu")
    middle = extractor.module.gatherer(torch.arange(280))[:, :, 4, 4]
    centred = cube.reshape(280, -1) - cube.mean(axis=(0, 1))
    assert np.allclose(middle.numpy(), centred / centred.std(), atol=0.01)
    plain = ScnnExtractor(cube, replace(TINY, centred=False), "cpu").module.gatherer(torch.arange(280))[:, :, 4, 4]
    assert np.allclose(plain.numpy(), (cube.reshape(280, -1) - cube.min()) / np.ptp(cube), atol=1e-5)


def test_a_constant_cube_works() -> None:
    features = ScnnExtractor(np.full((9, 9, 4), 7, np.int16), TINY, "cpu").features(np.arange(3))
    assert np.isfinite(features).all()


def test_a_scene_smaller_than_the_patch() -> None:
    with pytest.raises(ConfigurationError, match="patch_size=9"):
        ScnnExtractor(CUBE[:3], TINY, "cpu")


def test_description() -> None:
    assert ScnnExtractor(np.zeros((9, 9, 200), np.float32), EFFORTS["paper"], "cpu").describe() == (
        "S-CNN, 205,632 parameters, 4,000 steps of 128 + 128 pairs "
        "(the source's architecture and training aren't known: a guess)"
    )
