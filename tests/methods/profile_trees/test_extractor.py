"""Multi-scale profiles: against scikit-learn and plain loops, by strips, on another cube."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import grey_closing, grey_opening
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from hsi_al import interrupts
from hsi_al.errors import LearnerError
from hsi_al.methods import strips
from hsi_al.methods.profile_trees import ProfileTreesConfig, extractor, halo_of
from hsi_al.methods.profile_trees.extractor import ProfileExtractor, by_squares, component_axes, sampled
from hsi_al.scenes.stored import Cube, stored_cube

Floats = NDArray[np.float32]
NONE = np.empty(0, np.int64)


def settings(**keys: Any) -> ProfileTreesConfig:
    small: dict[str, Any] = {"components": 3, "sigmas": [1.0], "profile_components": 2, "radii": [1, 2]}
    return ProfileTreesConfig(name="profile_trees", method="profile_trees", **(small | keys))


def fake_cube(height: int = 19, width: int = 14, n_bands: int = 5) -> Floats:
    """Bands that share structure, of which the fourth is constant."""
    rng = np.random.default_rng(0)
    cube = 100 + rng.normal(size=(height, width, 2)) @ rng.normal(size=(2, n_bands)) * 20
    cube += rng.normal(size=cube.shape)
    cube[:, :, 3] = 7
    return cube.astype(np.float32)


def features_of(cube: Cube, memory_gb: float = 1.0, threads: int = 1, **keys: Any) -> Floats:
    found = ProfileExtractor(cube, settings(**keys), memory_gb, threads)
    found.fit(NONE, NONE, np.random.default_rng(0))
    return found.features(np.arange(cube.shape[0] * cube.shape[1]))


def standard(values: NDArray[Any]) -> NDArray[Any]:
    flat = values.reshape(len(values), -1)
    found: NDArray[Any] = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    return found


def by_hand(map_: NDArray[Any], radius: int, first: Any, then: Any) -> NDArray[Any]:
    """Two rounds of minima or maxima over the square, by loops over its pixels, the map mirrored."""
    for most in (first, then):
        padded = np.pad(map_, radius, mode="symmetric")
        side, (height, width) = 2 * radius + 1, map_.shape
        map_ = most([padded[i : i + height, j : j + width] for i in range(side) for j in range(side)], axis=0)
    return map_


def test_features_are_components_gaussians_openings_and_closings() -> None:
    cube = fake_cube()
    height, width, _ = cube.shape
    flat = cube.reshape(-1, 5)[:, [0, 1, 2, 4]].astype(np.float64)
    components = PCA(3, svd_solver="full").fit_transform(StandardScaler().fit_transform(flat)).T
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    kernel /= kernel.sum()
    for number, found in enumerate(features_of(cube).T[:3]):
        assert found.mean() == pytest.approx(0, abs=1e-5) and found.std() == pytest.approx(1, rel=1e-5)
        sign = np.sign(found @ components[number])
        map_ = sign * components[number].reshape(height, width)
        padded = np.pad(map_, 4, mode="symmetric")
        rows = sum(weight * padded[i : i + height] for i, weight in enumerate(kernel))
        gaussian = sum(weight * rows[:, j : j + width] for j, weight in enumerate(kernel))
        expected = [(number, map_), (3 + number, gaussian)]
        if number < 2:
            for place, radius in enumerate((1, 2)):
                expected.append((6 + 4 * number + 2 * place, by_hand(map_, radius, np.min, np.max)))
                expected.append((7 + 4 * number + 2 * place, by_hand(map_, radius, np.max, np.min)))
        for column, map_expected in expected:
            np.testing.assert_allclose(features_of(cube)[:, column], standard(map_expected[None])[0], atol=2e-4)


@pytest.mark.parametrize("shape", [(30, 41), (5, 3), (1, 20), (20, 1), (1, 1)])
@pytest.mark.parametrize("radii", [[1, 3, 5, 7, 9, 12], [2], [4, 1, 4], [20, 3], []])
def test_openings_and_closings_are_those_of_scipy(shape: tuple[int, int], radii: list[int]) -> None:
    map_ = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for opens, theirs in ((True, grey_opening), (False, grey_closing)):
        found = list(by_squares(map_, radii, opens))
        assert len(found) == len(radii)
        for radius, ours in zip(radii, found, strict=True):
            np.testing.assert_array_equal(ours, theirs(map_, size=(2 * radius + 1,) * 2, mode="reflect"))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_cancels_the_features_of_a_strip(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    found = ProfileExtractor(fake_cube(), settings(sigmas=[1.0] * 500), 1.0, threads)
    done = []

    def smoothed(map_: Floats, sigma: float) -> Floats:
        done.append(sigma)
        if len(done) >= 3:
            time.sleep(0.002)  # the others must not end before the main thread looks
            monkeypatch.setattr(interrupts, "check", lambda: (_ for _ in ()).throw(interrupts.Interrupted(15)))
        return map_

    monkeypatch.setattr(extractor, "smoothed", smoothed)
    with pytest.raises(interrupts.Interrupted):
        found.fit(NONE, NONE, np.random.default_rng(0))
    assert 3 <= len(done) < 1500


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_a_first_look_that_was_interrupted_is_begun_anew(memory_gb: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)
    cube = fake_cube(40)
    found = ProfileExtractor(cube, settings(), memory_gb)
    checks = iter(range(60))  # of which the components take 40, the first look at the features the others

    def check() -> None:
        if next(checks, None) is None:
            raise interrupts.Interrupted(15)

    with monkeypatch.context() as patched, pytest.raises(interrupts.Interrupted):
        patched.setattr(interrupts, "check", check)
        found.fit(NONE, NONE, np.random.default_rng(0))
    assert len(found.centre)
    found.fit(NONE, NONE, np.random.default_rng(0))
    np.testing.assert_array_equal(found.features(np.arange(40 * 14)), features_of(cube, memory_gb))


@pytest.mark.parametrize("row_bytes", [1, 10**6])
@pytest.mark.parametrize(
    "keys", [{}, {"sigmas": []}, {"radii": []}, {"profile_components": 0}, {"transform": "mnf"}], ids=str
)
def test_features_are_the_same_wherever_the_cube_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_bytes: int, keys: dict[str, Any]
) -> None:
    cube = fake_cube(40)
    whole = features_of(cube, **keys)
    monkeypatch.setattr(strips, "STRIP_BYTES", row_bytes)
    np.save(tmp_path / "cube.npy", cube)
    stored = stored_cube(tmp_path / "cube.npy")
    found = [
        features_of(place, memory, threads, **keys)
        for place in (cube, stored)
        for memory, threads in ((0.0, 2), (1.0, 1))
    ]
    if keys.get("transform") != "mnf":  # the noise is that of pairs within a strip, and strips are others here
        np.testing.assert_allclose(found[0], whole, atol=1e-4)  # sums in another order
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_a_strip_sees_all_rows_that_its_features_depend_on() -> None:
    assert halo_of(settings()) == 4
    assert halo_of(settings(radii=[3])) == 6
    assert halo_of(settings(radii=[3], profile_components=0)) == 4
    assert halo_of(settings(sigmas=[], radii=[])) == 0
    assert halo_of(settings(sigmas=[8.0, 0.5])) == 32


def test_scale_and_components_of_large_scenes_come_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = fake_cube(60, 14)
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)
    monkeypatch.setattr(extractor, "MOST_SPECTRA", 100)
    every = sampled(cube)  # 840 pixels: every ninth
    np.testing.assert_array_equal(every, cube.reshape(-1, 5)[::9])
    monkeypatch.setattr(extractor, "MOST_SPECTRA", 60)  # every 14th would be a column: every 15th
    np.testing.assert_array_equal(sampled(cube), cube.reshape(-1, 5)[::15])
    monkeypatch.setattr(extractor, "MOST_SCALED", 400)  # every third of five strips of 12 rows: the second and the last
    features = features_of(cube).reshape(60, 14, -1)
    some = np.concatenate([features[12:24], features[48:]]).reshape(-1, features.shape[2])
    np.testing.assert_allclose(some.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(some.std(axis=0), 1, rtol=1e-4)


def noisy_cube() -> Floats:
    """Two fields whose means differ little in the first band, which is clean, and bands of much noise."""
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(30, 24, 4)) * [0.1, 1, 3, 9] + [100, 0, 0, 0]
    cube[:, 12:, 0] += 1
    cube[:, :, 3] += 2 * cube[:, :, 2]
    return cube.astype(np.float32)


def test_axes_have_the_largest_ratio_of_variance_to_noise() -> None:
    cube = noisy_cube()
    flat = cube.reshape(-1, 4).astype(np.float64)
    mean, axes = component_axes(cube, settings(components=4, transform="mnf"))
    components = ((flat - mean) @ axes).reshape(30, 24, 4)
    ratios = components.reshape(-1, 4).var(axis=0)
    assert (np.diff(ratios) < 0).all() and ratios[0] > 20 > 5 > ratios[1]
    # From the bands alone: eigenvalues of noise^-1 times covariance, with the half of the pairs that differ least.
    bands = (cube - mean) / flat.std(axis=0)
    pairs = np.concatenate([(bands[:, 1:] - bands[:, :-1]).reshape(-1, 4), (bands[1:] - bands[:-1]).reshape(-1, 4)])
    far = (pairs**2).sum(axis=1)
    pairs = pairs[far <= np.median(far)]
    noise = pairs.T @ pairs / len(pairs) / 2
    expected = np.linalg.eigvals(np.linalg.inv(noise) @ np.cov(bands.reshape(-1, 4).T, bias=True)).real
    np.testing.assert_allclose(ratios, sorted(expected)[::-1], rtol=1e-4)
    rescaled = component_axes(cube * np.array([1, 100, 0.01, 7], np.float32), settings(components=4, transform="mnf"))[
        1
    ]
    np.testing.assert_allclose(rescaled * [[1], [100], [0.01], [7]], axes, atol=1e-4)
    assert abs(np.corrcoef(components[:, :, 0].ravel(), np.arange(720) % 24 >= 12)[0, 1]) > 0.9
    by_variance = flat @ component_axes(cube, settings(components=4))[1][:, 0]
    assert abs(np.corrcoef(by_variance, np.arange(720) % 24 >= 12)[0, 1]) < 0.3


def test_without_pairs_that_differ_axes_are_principal_components() -> None:
    pillars = np.zeros((9, 9, 3), np.float32)
    pillars[2:6, 3:8] = [1, 2, 4]  # few pairs differ, all by the same
    single = np.array([[[1, 2, 3]], [[1, 2, 3]]], np.float32).repeat(5, axis=1)
    single[:, 2:] += [1, 0, 4]  # two colours, one border
    for cube in (pillars, single):
        mnf, pca = (component_axes(cube, settings(transform=kind))[1] for kind in ("mnf", "pca"))
        assert mnf.shape == pca.shape == (3, 1) and np.isfinite(mnf).all()
        assert np.corrcoef(mnf[:, 0] @ cube.reshape(-1, 3).T, pca[:, 0] @ cube.reshape(-1, 3).T)[0, 1] > 0.999


@pytest.mark.parametrize("transform", ["mnf", "pca"])
def test_no_more_components_than_bands_vary(transform: str) -> None:
    _, axes = component_axes(fake_cube(), settings(components=20, transform=transform))
    assert axes.shape == (5, 4) and not axes[3].any()
    doubled = np.repeat(fake_cube(n_bands=4)[:, :, :3], 2, axis=2)
    assert component_axes(doubled, settings(components=20, transform=transform))[1].shape == (6, 3)
    found = ProfileExtractor(fake_cube(), settings(components=20, profile_components=9, transform=transform), 1.0)
    words = {"mnf": "minimum noise fraction", "pca": "principal components"}[transform]
    assert f"5 components of 5 bands by {words}" in found.describe()
    found.fit(NONE, NONE, np.random.default_rng(0))
    assert found.n_features == 4 + 4 + 4 * 4
    assert (
        f"4 components of 5 bands by {words}" in found.describe()
        and "first 4 by squares of side 3, 5" in found.describe()
    )


def test_scenes_without_features_are_refused() -> None:
    with pytest.raises(LearnerError, match="need a scene of more than 4 pixels"):
        ProfileExtractor(fake_cube(2, 2), settings(components=4), 1.0)
    with pytest.raises(LearnerError, match="No band of the cube varies"):
        features_of(np.full((4, 5, 3), 9, np.float32))
    with pytest.raises(LearnerError, match="call fit first"):
        ProfileExtractor(fake_cube(), settings(), 1.0).features(NONE)


def test_another_cube_gets_the_scale_of_the_first() -> None:
    first, second = fake_cube(), 1.5 * fake_cube()[::-1] + 10
    learnt, other = ProfileExtractor(first, settings(), 1.0), ProfileExtractor(second, settings(), 1.0)
    learnt.fit(NONE, NONE, np.random.default_rng(0))
    other.restore(learnt.state())
    again = ProfileExtractor(first, settings(), 0.0)
    again.restore(learnt.state())
    ids = np.array([3, 77, 5])
    np.testing.assert_allclose(again.features(ids), learnt.features(ids), rtol=1e-6, atol=1e-6)
    component = (second.reshape(-1, 5) - learnt.mean) @ learnt.projection[:, 0]
    expected = (component[ids] - learnt.centre[0]) / learnt.scale[0]
    np.testing.assert_allclose(other.features(ids)[:, 0], expected, rtol=1e-4)
    for restored, fits in ((again, False), (other, True)):  # the memory granted, as after a fit
        assert restored.strips is not None and restored.strips.fits == fits


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": np.zeros(4)}, "bands"),
        ({"projection": np.zeros(5)}, "bands"),
        ({"scale": np.zeros(14)}, "no such numbers"),
        ({"centre": np.full(14, np.nan)}, "no such numbers"),
        ({"centre": np.zeros(13)}, "13 and 14 features, not 14"),
    ],
)
def test_damaged_states_are_refused(changes: dict[str, NDArray[Any]], words: str) -> None:
    learnt = ProfileExtractor(fake_cube(), settings(), 1.0)
    learnt.fit(NONE, NONE, np.random.default_rng(0))
    with pytest.raises(ValueError, match=words):
        ProfileExtractor(fake_cube(), settings(), 1.0).restore(learnt.state() | changes)
    with pytest.raises(LookupError):
        ProfileExtractor(fake_cube(), settings(), 1.0).restore({})
