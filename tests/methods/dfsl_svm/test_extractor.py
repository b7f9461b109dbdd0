"""DFSL on tiny scenes: what it cuts out, which episodes it draws, what it learns from and what it never looks at."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods import grid_svm
from hsi_al.methods.dfsl_svm.extractor import EFFORTS, DfslExtractor, DfslSettings, Episodes, Windows, resampled
from hsi_al.methods.dfsl_svm.network import episode_loss
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.scenes.scene import Scene

SMALL = DfslSettings(episodes=3, way=4, queries=3, bands=33, pixels_per_class=20, batch_size=50)
EVERYWHERE = np.arange(40 * 40)


def synthetic(seed: int, side: int, n_bands: int, classes: int, noise: float = 0.1) -> Scene:
    """Columns of classes with a spectrum each, in 16-bit counts; the last row is background."""
    rng = np.random.default_rng(seed)
    truth = np.broadcast_to(1 + np.arange(side) * classes // side, (side, side)).copy()
    spectra = rng.random((classes + 1, n_bands))
    cube = 1000 * (2 + spectra[truth] + rng.normal(0, noise, (side, side, n_bands)))
    truth[-1] = 0
    return Scene(f"scene {seed}", cube.astype(np.uint16), truth, {})


SOURCES = [synthetic(1, 12, 40, 3), synthetic(2, 14, 33, 4)]
TARGET = synthetic(3, 40, 45, 4)


def extractor(settings: DfslSettings = SMALL, sources: list[Scene] = SOURCES, **changes: Any) -> DfslExtractor:
    return DfslExtractor(TARGET.cube, sources, replace(settings, **changes), "cpu")


def fitted(seed: int = 5, **changes: Any) -> DfslExtractor:
    found = extractor(**changes)
    found.fit(EVERYWHERE[:4], EVERYWHERE[:4], np.random.default_rng(seed))
    return found


def weights(dfsl: DfslExtractor) -> NDArray[np.float32]:
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in dfsl.embedding.parameters()])


# Patches


@pytest.mark.parametrize("shape", [(7, 6, 40), (3, 11, 40), (1, 2, 40)])
def test_windows_are_the_reflected_surroundings_scaled_over_the_used_bands(shape: tuple[int, int, int]) -> None:
    cube = np.random.default_rng(0).integers(0, 5000, shape).astype(np.uint16)
    cube[..., 33:] = 60_000  # the bands behind the used ones have no say
    found = Windows(cube, 33, 9)(np.arange(shape[0] * shape[1]))
    assert found.shape == (shape[0] * shape[1], 33, 9, 9)
    assert found.dtype == np.float32
    used = cube[..., :33].astype(np.float64)
    scaled = (used - used.min()) / (used.max() - used.min())
    padded = np.pad(scaled, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    for pixel in range(len(found)):
        row, column = divmod(pixel, shape[1])
        np.testing.assert_allclose(
            found[pixel].transpose(1, 2, 0), padded[row : row + 9, column : column + 9], atol=1e-6
        )


def test_short_spectra_are_interpolated_linearly() -> None:
    spectra = np.random.default_rng(0).random((2, 3, 5)).astype(np.float32)
    expected = [[np.interp(np.linspace(0, 4, 33), np.arange(5), spectrum) for spectrum in row] for row in spectra]
    np.testing.assert_allclose(resampled(spectra, 33), expected, atol=1e-6)
    assert resampled(spectra, 5) is spectra
    assert (resampled(spectra[..., :1], 4) == spectra[..., :1]).all()
    assert Windows(spectra, 40, 9)(np.arange(6)).shape == (6, 40, 9, 9)


def test_a_scene_without_contrast_in_the_used_bands_gives_zeros() -> None:
    assert not Windows(np.full((3, 3, 40), 7), 33, 9)(np.arange(9)).any()


# Episodes


def test_episodes_draw_distinct_classes_and_pixels() -> None:
    # Patch value = 100 * class + pixel.
    values = (100 * np.arange(6)[:, None] + np.arange(10)).astype(np.float32)
    patches = np.broadcast_to(values[:, :, None, None, None], (6, 10, 2, 3, 3)).copy()
    settings = DfslSettings(episodes=20, shots=2, queries=3, pixels_per_class=10)
    episodes = Episodes(patches, 4, settings, seed=1)
    drawn = list(episodes)
    assert len(drawn) == len(episodes) == 20
    seen = set()
    for support, queries in drawn:
        assert support.shape == (4, 2, 2, 3, 3)
        assert queries.shape == (4, 3, 2, 3, 3)
        pixels = torch.cat([support, queries], dim=1)[:, :, 0, 0, 0].numpy().astype(int)
        assert ((pixels // 100) == pixels[:, :1] // 100).all()
        assert len(set((pixels[:, 0] // 100).tolist())) == 4
        assert all(len(set(row)) == 5 for row in pixels.tolist())
        seen |= set(pixels.ravel().tolist())
    assert len(seen) == 60
    assert all(torch.equal(one[1], other[1]) for one, other in zip(drawn, episodes, strict=True))
    other = next(iter(Episodes(patches, 4, settings, seed=2)))
    assert not torch.equal(other[0], drawn[0][0])


def test_the_paper_and_the_short_effort() -> None:
    paper = EFFORTS["paper"]
    assert (paper.episodes, paper.way, paper.shots, paper.queries) == (10_000, 20, 1, 19)
    assert (paper.bands, paper.patch_size, paper.lr, paper.pixels_per_class) == (100, 9, 1e-3, 200)
    short = EFFORTS["short"]
    assert replace(short, episodes=10_000, queries=19) == paper
    assert short.episodes * short.way * (1 + short.queries) <= 40_000  # about 8 ms a patch


def test_only_classes_with_enough_pixels_are_drawn_from() -> None:
    # 12 columns of 3 classes hold 44 pixels each; 14 of 4 hold 52, 39, 52 and 39.
    assert len(extractor().classes) == 7
    assert len(extractor(pixels_per_class=40).classes) == 5
    assert len(extractor(pixels_per_class=52).classes) == 2
    assert (extractor().way, extractor(way=20).way) == (4, 7)
    scene = extractor()
    patches = scene._drawn(np.random.default_rng(0))
    assert patches.shape == (7, 20, 33, 9, 9)
    for drawn, (source, value) in zip(
        patches, [(SOURCES[0], v) for v in (1, 2, 3)] + [(SOURCES[1], v) for v in (1, 2, 3, 4)], strict=True
    ):
        own = Windows(source.cube, 33, 9)(np.flatnonzero(source.ground_truth == value))
        places = [int(np.flatnonzero((own == patch).all(axis=(1, 2, 3)))[0]) for patch in drawn]
        assert len(set(places)) == 20


# Learning


def test_the_meta_training_depends_on_its_generator_alone() -> None:
    results = []
    for global_seed, seed in ((1, 3), (2, 3), (2, 4)):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            dfsl = extractor()
            state = torch.get_rng_state()
            dfsl.fit(EVERYWHERE[: global_seed + 2], EVERYWHERE[: global_seed + 2], np.random.default_rng(seed))
            assert torch.equal(torch.get_rng_state(), state)
            results.append(weights(dfsl))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])


def test_the_first_weights_come_from_the_generator_too() -> None:
    first, other = (weights(fitted(seed=seed, lr=0.0, episodes=1)) for seed in (5, 6))
    assert not np.array_equal(first, other)


def test_later_fits_keep_the_embedding_and_draw_as_much() -> None:
    dfsl = extractor()
    seen: list[tuple[str, float]] = []
    dfsl.progress = lambda text, part: seen.append((text, part))
    first, later = np.random.default_rng(3), np.random.default_rng(3)
    dfsl.fit(EVERYWHERE[:9], EVERYWHERE[:9] % 4, first)
    assert [text for text, _ in seen] == ["meta-training"] * 3
    assert [part for _, part in seen] == pytest.approx([1 / 3, 2 / 3, 1])
    before, features = weights(dfsl), dfsl.features(EVERYWHERE[:5])
    dfsl.fit(EVERYWHERE[3:6], EVERYWHERE[:3], later)
    assert len(seen) == 3
    assert np.array_equal(weights(dfsl), before)
    assert np.array_equal(dfsl.features(EVERYWHERE[:5]), features)
    assert first.integers(2**63) == later.integers(2**63)


def test_features_come_in_the_order_of_the_pixels_whatever_the_batch() -> None:
    dfsl = fitted()
    pixel_ids = np.random.default_rng(0).permutation(EVERYWHERE)[:120]
    features = dfsl.features(pixel_ids)
    assert features.shape == (120, 32)
    assert features.dtype == np.float32
    assert dfsl.features(pixel_ids[:0]).shape == (0, 32)
    one_by_one = np.concatenate([dfsl.features(pixel_ids[[place]]) for place in (0, 49, 50, 119)])
    np.testing.assert_allclose(features[[0, 49, 50, 119]], one_by_one, rtol=1e-4, atol=1e-5)


def test_meta_training_lowers_the_loss_of_the_source_classes() -> None:
    pixels = np.arange(0, 13, 4) * 14 + np.array([[1], [5], [8], [12]])  # a column for each class
    patches = torch.from_numpy(Windows(SOURCES[1].cube, 33, 9)(pixels.ravel()))
    losses = []
    for lr in (0.0, 3e-3):
        dfsl = fitted(sources=SOURCES[1:], lr=lr, episodes=12)
        with torch.inference_mode():
            features = dfsl.embedding(patches).unflatten(0, (4, 4))
        losses.append(float(episode_loss(features[:, :1], features[:, 1:])))
    assert losses[1] < 0.5 * losses[0]


def test_separated_classes_are_found_with_an_svm_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("GRID", np.arange(1, 4)), ("LOWEST", 1), ("HIGHEST", 3)):  # the whole grid takes seconds
        monkeypatch.setattr(grid_svm, name, value)
    learner = FeatureLearner(extractor(episodes=30), 4, GridSvm("rbf", 4))
    rng = np.random.default_rng(0)
    labels = TARGET.ground_truth.ravel() - 1
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == value), 15, replace=False) for value in range(4)])
    learner.fit(chosen, labels[chosen], 0, rng)
    tested = rng.choice(TARGET.labelled_ids, 300, replace=False)
    predicted = learner.predict(tested).predicted_class
    assert (predicted == labels[tested]).mean() > 0.95
    assert learner.describe().startswith("DFSL, 43,544 parameters, ")


# What it says and what it refuses


def test_description_names_the_sources_and_the_deviations() -> None:
    described = extractor().describe()
    assert "7 classes of scene 1, scene 2 (the paper: Houston, Botswana, KSC and Chikusei)" in described
    assert "3 episodes of 4 classes with 3 queries (the paper: 10,000 of 20 with 19)" in described
    assert "interpolated" not in described
    assert "45 bands interpolated to 60" in extractor(bands=60).describe()
    assert "(the paper: 10,000 of" not in extractor(episodes=10_000).describe()


def test_without_usable_sources_it_says_how_to_name_them() -> None:
    for sources, pixels in (([], 20), (SOURCES, 53), (SOURCES[:1], 45)):
        with pytest.raises(LearnerError, match=r"learner\.source_scenes=\[\.\.\.\]\.$"):
            extractor(sources=sources, pixels_per_class=pixels)
    one_class = SOURCES[0].keeping([1, 2])
    one_class.ground_truth[one_class.ground_truth == 2] = 0
    with pytest.raises(LearnerError, match=r"scene 1 has 1; name more"):
        extractor(sources=[one_class])


def test_the_scene_to_classify_is_no_source() -> None:
    copied = replace(TARGET, source=TARGET.cube.copy(), name="copy")
    with pytest.raises(LearnerError, match="'copy' is the one to classify"):
        extractor(sources=[*SOURCES, copied])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes 1 \\+ 20 pixels of a class"):
        replace(SMALL, queries=20)
    with pytest.raises(ConfigurationError, match="too small for DFSL"):
        extractor(bands=32)
    with pytest.raises(ConfigurationError, match="accelerator=abacus"):
        DfslExtractor(TARGET.cube, SOURCES, SMALL, "abacus")
