"""3DCAE as a feature extractor, on tiny scenes with tiny efforts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import mse_loss

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods import grid_svm
from hsi_al.methods.cae3d_svm import extractor as cae3d
from hsi_al.methods.cae3d_svm.extractor import EFFORTS, Cae3dExtractor, Cae3dSettings, Reconstruction
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.grid_svm import GridSvm
from tests.fakes import gaussian_cube

Ids = NDArray[np.int64]
TINY = Cae3dSettings(epochs=2, batch_size=4, lr=0.01, max_patches=8)
ALL = np.arange(36, dtype=np.int64)
LABELS = ALL % 3


def scene(n_bands: int = 7) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(100, 9000, (6, 6, n_bands)).astype(np.uint16)


def fitted(labels: Ids = LABELS, pixel_ids: Ids = ALL, seed: int = 3, settings: Cae3dSettings = TINY) -> Cae3dExtractor:
    extractor = Cae3dExtractor(scene(), settings, "cpu")
    extractor.fit(pixel_ids, labels, np.random.default_rng(seed))
    return extractor


# Patches


@pytest.mark.parametrize("n_bands", [7, 103, 200, 204])
def test_patches_hold_the_scene_by_its_maximum_in_the_slots_and_zeros_elsewhere(n_bands: int) -> None:
    cube = scene(n_bands)
    module = Reconstruction(cube, TINY)
    patches = module.patches(torch.tensor([14, 0]))
    assert patches.shape == (2, 1, 5, 5, 224)
    scaled = torch.from_numpy(cube.astype(np.float32)) / float(cube.max())
    torch.testing.assert_close(patches[0, 0][..., module.slots], scaled[0:5, 0:5])  # pixel 14 is row 2, column 2
    torch.testing.assert_close(patches[1, 0, 2, 2, module.slots], scaled[0, 0])
    torch.testing.assert_close(patches[1, 0, 1, 1, module.slots], scaled[0, 0])  # mirrored border
    assert int((patches[0, 0] != 0).any(dim=0).any(dim=0).sum()) == n_bands


def test_scenes_without_a_positive_value() -> None:
    for cube in (np.zeros((6, 6, 3)), np.full((6, 6, 3), -4.0)):
        assert Reconstruction(cube, TINY).patches(torch.tensor([3])).isfinite().all()


# Training


def test_labels_and_labelled_pixels_do_not_change_the_features() -> None:
    extractor = fitted()
    features = extractor.features(ALL)
    assert features.shape == (36, 432) and features.dtype == np.float32
    assert np.array_equal(fitted(labels=LABELS[::-1].copy()).features(ALL), features)
    assert np.array_equal(fitted(pixel_ids=ALL[:4], labels=LABELS[5:9]).features(ALL), features)
    assert not np.array_equal(fitted(seed=4).features(ALL), features)


def test_fit_depends_on_its_generator_alone_and_leaves_torchs() -> None:
    results = []
    for global_seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            state = torch.get_rng_state()
            results.append(fitted().features(ALL))
            assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(results[0], results[1])


def test_later_fits_reuse_the_first_training() -> None:
    extractor = fitted()
    features, psnr, calls = extractor.features(ALL), extractor.psnr, []
    extractor.progress = lambda text, part: calls.append(text)
    rng = np.random.default_rng(9)
    extractor.fit(ALL[:3], LABELS[:3], rng)
    assert not calls and rng.random() == np.random.default_rng(9).random()
    assert np.array_equal(extractor.features(ALL), features) and extractor.psnr == psnr


def test_batches_of_features(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = fitted()
    ids = np.array([35, 2, 2, 17, 0])
    whole = extractor.features(ALL)
    monkeypatch.setattr(cae3d, "CHUNK", 2)
    np.testing.assert_allclose(extractor.features(ids), whole[ids], rtol=1e-4, atol=1e-5)
    assert extractor.features(ALL[:0]).shape == (0, 432)


def test_progress_patches_and_steps() -> None:
    extractor = Cae3dExtractor(scene(), TINY, "cpu")
    seen: list[tuple[str, float]] = []
    extractor.progress = lambda text, part: seen.append((text, part))
    extractor.fit(ALL, LABELS, np.random.default_rng(0))
    assert seen == [("epoch 1/2", 0.25), ("epoch 1/2", 0.5), ("epoch 2/2", 0.75), ("epoch 2/2", 1.0)]
    assert (extractor.n_trained, replace_patches(None), replace_patches(1000)) == (8, 32, 32)


def replace_patches(max_patches: int | None) -> int:
    return Cae3dExtractor(scene(), replace(TINY, max_patches=max_patches), "cpu").n_trained


def test_the_loss_has_the_squares_of_the_kernels() -> None:
    ids = torch.arange(6)
    plain = Reconstruction(scene(), replace(TINY, weight_decay=0.0))
    decayed = Reconstruction(scene(), replace(TINY, weight_decay=0.5))
    decayed.load_state_dict(plain.state_dict())
    squares = sum(kernel.detach().square().sum() for kernel in plain.autoencoder.kernels())
    base = plain.training_step((ids,), 0).detach()
    patches = plain.patches(ids)
    torch.testing.assert_close(base, mse_loss(plain.autoencoder(patches), patches).detach())
    torch.testing.assert_close(decayed.training_step((ids,), 0).detach(), base + 0.5 * squares)


def test_the_output_can_start_at_the_data() -> None:
    module = Reconstruction(scene(), TINY)
    ids = torch.arange(36)
    module.start_at(ids)
    patches = module.patches(ids)
    rebuilt = module.autoencoder(patches).detach()
    torch.testing.assert_close(
        torch.stack([rebuilt.mean(), rebuilt.std()]), torch.stack([patches.mean(), patches.std()])
    )
    # With a rate of almost 0 the training leaves it there, and without the setting at the source's 1 and 0.
    still = replace(TINY, lr=1e-12)
    weights = [
        extractor.module.state_dict()["autoencoder.decoder.4.weight"].item()
        for extractor in (fitted(settings=still), fitted(settings=replace(still, start_at_data=True)))
    ]
    assert weights[0] == pytest.approx(1.0) and weights[1] == pytest.approx(patches.std().item(), rel=0.3)


def test_psnr_is_that_of_held_out_centre_spectra() -> None:
    extractor = fitted()
    trained = np.random.default_rng(3).permutation(36)[:8]
    rest = torch.from_numpy(np.setdiff1d(ALL, trained))
    module = extractor.module
    with torch.no_grad():
        patches = module.patches(rest)
        rebuilt = module.autoencoder(patches)
    error = (rebuilt - patches)[:, 0, 2, 2, :7].square().mean()
    assert extractor.psnr == pytest.approx(-10 * np.log10(error.item()), abs=1e-3)


def test_a_rate_that_diverges() -> None:
    extractor = Cae3dExtractor(scene(), replace(TINY, lr=float("inf")), "cpu")
    with pytest.raises(LearnerError, match="diverged"):
        extractor.fit(ALL, LABELS, np.random.default_rng(0))
    with pytest.raises(LearnerError, match="before it is trained"):
        extractor.features(ALL)


# Settings and text


def test_efforts() -> None:
    assert EFFORTS["paper"] == Cae3dSettings(200, 32, 0.01, None, 5e-4)
    assert EFFORTS["short"].max_patches == 20_000 and EFFORTS["short"].epochs < 200


def test_describe() -> None:
    extractor = Cae3dExtractor(scene(), TINY, "cpu")
    text = extractor.describe()
    assert "3DCAE, 353,547 parameters, 432 features, 2 epochs on 8 patches" in text
    assert "its source: 200 on 90 % of all pixels, batch 32, lr 0.01" in text and "PSNR" not in text
    assert "source" not in Cae3dExtractor(scene(), EFFORTS["paper"], "cpu").describe()
    extractor.psnr = 31.25
    assert "started" in Cae3dExtractor(scene(), EFFORTS["short"], "cpu").describe()
    assert extractor.describe() == f"{text}, PSNR 31.2 dB"


def test_errors() -> None:
    with pytest.raises(ConfigurationError, match="at most 224 bands"):
        Cae3dExtractor(np.ones((6, 6, 225)), TINY, "cpu")
    good = {"epochs": 1, "batch_size": 2, "max_patches": 2}
    Cae3dExtractor(scene(), Cae3dSettings(**good), "cpu")  # type: ignore[arg-type]
    for changes in ({"epochs": 0}, {"batch_size": 1}, {"max_patches": 1}, {"max_patches": 0}):
        with pytest.raises(ConfigurationError, match="3DCAE needs"):
            Cae3dExtractor(scene(), Cae3dSettings(**(good | changes)), "cpu")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"trainer\.accelerator"):
        Cae3dExtractor(scene(), TINY, "abacus")


# With the machine behind it


@pytest.mark.slow
def test_the_learner_separates_classes_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_svm, "GRID", np.arange(1, 5))  # a smaller search
    monkeypatch.setattr(cae3d, "TESTED", 8)
    cube, classes = gaussian_cube()
    order = np.random.default_rng(1).permutation(1600)
    labelled, tested = order[:60], order[60:460]
    settings = Cae3dSettings(epochs=1, batch_size=16, lr=0.01, max_patches=64)
    predicted = []
    for _ in range(2):
        learner = FeatureLearner(Cae3dExtractor(cube, settings, "cpu"), 4, GridSvm("rbf", 5), frozenset())
        learner.fit(labelled, classes[labelled], 0, np.random.default_rng(2))
        predicted.append(learner.predict(tested).predicted_class)
    assert (predicted[0] == classes[tested]).mean() > 0.95
    assert np.array_equal(predicted[0], predicted[1])
