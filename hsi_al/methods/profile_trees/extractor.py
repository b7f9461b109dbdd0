"""Multi-scale profiles: components of the spectra, their Gaussians, and the openings and closings of the first ones."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hsi_al import interrupts
from hsi_al.errors import LearnerError
from hsi_al.methods.noise import noise_covariance
from hsi_al.methods.profile_trees import TRUNCATE, ProfileTreesConfig, halo_of
from hsi_al.methods.strips import ByStrips, StripFeatures, spread, strips_of
from hsi_al.scenes.stored import Cube

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
MOST_SPECTRA = 2**17  # of a scene, evenly spread, from which its components come
MOST_SCALED = 2**18  # pixels, in whole strips evenly spread, from which noise, mean and deviation of the features come
AXES = {"pca": "principal components", "mnf": "minimum noise fraction"}
ROUNDING = 1e-6  # of a standard deviation in float32: a smaller one is none


class ProfileExtractor(ByStrips):
    """Features of a pixel at several scales, found once per scene and without labels.

    Bands are standardised. The features are their components (`component_axes`), the Gaussians of all components, and
    the openings and closings of the first components by squares; every feature is standardised, too. The scene is
    mirrored at its border. Whether the cube is in memory or in its file doesn't change a feature.

    Args:
        cube: (H, W, bands).
        settings: Components and scales.
        memory_gb: Largest size of the features of the whole scene that are kept, 10^9 bytes of float32.
        threads: Number of threads.

    Raises:
        LearnerError: The scene has fewer pixels than components.
    """

    def __init__(self, cube: Cube, settings: ProfileTreesConfig, memory_gb: float, threads: int = 1) -> None:
        height, width, _ = cube.shape
        if height * width <= settings.components:
            raise LearnerError(
                f"learner.components={settings.components} need a scene of more than {height * width} pixels; lower it."
            )
        self.cube, self.settings, self.memory_gb, self.threads = cube, settings, memory_gb, threads
        self.mean: Doubles = np.empty(0)  # of every band
        self.projection: Doubles = np.empty((0, 0))  # (bands, components)
        self.centre: Doubles = np.empty(0)  # of every feature
        self.scale: Doubles = np.empty(0)

    def describe(self) -> str:
        """Return components and scales."""
        settings = self.settings
        components, profiled = self._counts(self.cube.shape[2])
        parts = [f"{components} components of {self.cube.shape[2]} bands by {AXES[settings.transform]}"]
        if settings.sigmas:
            parts.append(f"Gaussians of {', '.join(f'{sigma:g}' for sigma in settings.sigmas)} pixels")
        if profiled and settings.radii:
            sides = ", ".join(str(2 * radius + 1) for radius in settings.radii)
            parts.append(f"openings and closings of the first {profiled} by squares of side {sides}")
        return f"multi-scale profiles ({'; '.join(parts)})"

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Learn components and scales from the scene at the first call; keep the features of the labelled pixels.

        Raises:
            LearnerError: No band varies.
            SceneError: The cube's file is damaged.
        """
        if self.strips is None:
            self.mean, self.projection = component_axes(self.cube, self.settings)
            self.centre, self.scale = np.zeros(self.n_features), np.ones(self.n_features)
            strips = self._opened()
            strips.progress = self.progress
            self.centre, self.scale = self._statistics(strips)
            strips.held = None
            if strips.fits:
                self._standardise(strips.table)
            self.strips = strips  # last of all: what is interrupted begins anew
        self.strips.keep(pixel_ids)

    @property
    def n_features(self) -> int:
        """Number of features, D."""
        components, profiled = self._counts(self.cube.shape[2])
        return components * (1 + len(self.settings.sigmas)) + profiled * 2 * len(self.settings.radii)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the features of another cube depend on, by name."""
        return {"mean": self.mean, "projection": self.projection, "centre": self.centre, "scale": self.scale}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take components and scales of another scene.

        Raises:
            LookupError: An array is missing.
            ValueError: They don't fit the bands of the cube or the settings.
        """
        mean, projection, centre, scale = (state[name] for name in ("mean", "projection", "centre", "scale"))
        n_bands = self.cube.shape[2]
        if mean.shape != (n_bands,) or projection.ndim != 2 or projection.shape[0] != n_bands:
            raise ValueError(f"it has components of {projection.shape} bands and numbers where the cube has {n_bands}")
        if not all(np.isfinite(array).all() for array in (mean, projection, centre, scale)) or not (scale > 0).all():
            raise ValueError("components or scales are no such numbers")
        self.mean, self.projection = mean, projection
        if not centre.shape == scale.shape == (self.n_features,):
            raise ValueError(f"it has {len(centre)} and {len(scale)} features, not {self.n_features}")
        self.centre, self.scale = centre, scale
        self.strips = self._opened()

    def _counts(self, n_bands: int) -> tuple[int, int]:
        components = int(self.projection.shape[1]) or min(self.settings.components, n_bands)
        return components, min(components, self.settings.profile_components)

    def _opened(self) -> StripFeatures:
        return StripFeatures(self.cube, self._computed, self.n_features, halo_of(self.settings), self.memory_gb)

    def _statistics(self, raw: StripFeatures) -> tuple[Doubles, Doubles]:
        """Return mean and standard deviation of every feature over strips spread evenly over the scene, (D,) each."""
        moments, count = np.zeros((2, raw.n_features)), 0
        for features in raw.some(MOST_SCALED):
            pixels = features.reshape(-1, raw.n_features)
            moments += [pixels.sum(axis=0, dtype=np.float64), np.square(pixels).sum(axis=0, dtype=np.float64)]
            count += len(pixels)
        mean, square = moments / count
        deviation = np.sqrt(np.maximum(0.0, square - mean**2))
        return mean, np.where(deviation > ROUNDING, deviation, 1.0)

    def _computed(self, values: Floats) -> Floats:
        """Return the features of consecutive rows (h, W, bands), which are overwritten; (h, W, D), not contiguous."""
        height, width, n_bands = values.shape
        spectra = values.reshape(-1, n_bands)
        spectra -= self.mean.astype(np.float32)
        maps = np.ascontiguousarray((spectra @ self.projection.astype(np.float32)).T).reshape(-1, height, width)
        features = np.empty((self.n_features, height, width), np.float32)
        centre, scale = self.centre.astype(np.float32), self.scale.astype(np.float32)

        def do(job: tuple[slice, Callable[[], Iterator[Floats]]]) -> None:
            places, found = job
            for number, feature in zip(range(len(features))[places], found(), strict=True):
                np.subtract(feature, centre[number], out=features[number])
                features[number] /= scale[number]

        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(do, self._jobs(maps)):
                interrupts.check()  # the jobs not begun are then cancelled
        return np.moveaxis(features, 0, -1)

    def _jobs(self, maps: Floats) -> Iterator[tuple[slice, Callable[[], Iterator[Floats]]]]:
        """Yield the places of features and what finds them from the components (components, H, W)."""
        yield slice(len(maps)), lambda: iter(maps)
        first = len(maps)
        for sigma in self.settings.sigmas:
            for map_ in maps:
                yield slice(first, first + 1), lambda map_=map_, sigma=sigma: iter([smoothed(map_, sigma)])  # type: ignore[misc]
                first += 1
        radii = self.settings.radii
        for map_ in maps[: self.settings.profile_components]:
            for start, opens in ((first, True), (first + 1, False)):
                places = slice(start, first + 2 * len(radii), 2)
                yield places, lambda map_=map_, opens=opens: by_squares(map_, radii, opens)  # type: ignore[misc]
            first += 2 * len(radii)

    def _standardise(self, features: Floats) -> None:
        """Subtract the centre of every feature (..., D) and divide by its scale, in place."""
        features -= self.centre.astype(np.float32)
        features /= self.scale.astype(np.float32)


def smoothed(map_: Floats, sigma: float) -> Floats:
    """Return the Gaussian of a map (H, W), which is mirrored at its border."""
    found: Floats = gaussian_filter(map_, sigma, mode="reflect", truncate=TRUNCATE)
    return found


def by_squares(map_: Floats, radii: list[int], opens: bool) -> Iterator[Floats]:
    """Yield the openings or the closings of a map (H, W), mirrored at its border, by squares of side 2 * radius + 1.

    An opening is the maximum over the square of the minima over it, a closing the minimum of the maxima. Minima are
    exact, so that those over a large square may be found from those over a smaller one.
    """
    first, then = (np.minimum, np.maximum) if opens else (np.maximum, np.minimum)
    found, reached, extremes = {}, 0, map_
    for radius in sorted(set(radii)):
        extremes, reached = over_square(extremes, radius - reached, first), radius
        found[radius] = over_square(extremes, radius, then)
    for radius in radii:
        yield found[radius]


def over_square(map_: Floats, radius: int, extreme: np.ufunc) -> Floats:
    """Return the minimum or maximum of a map (H, W), mirrored at its border, over squares of side 2 * radius + 1.

    Each axis takes about log2 of the side steps over whole arrays: from those of n neighbours follow those of up to 2n.
    """
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius, radius)
        map_ = np.pad(map_, padding, mode="symmetric")
        reached, side = 1, 2 * radius + 1
        while reached < side:
            step = min(reached, side - reached)
            both = (map_[:-step], map_[step:]) if axis == 0 else (map_[:, :-step], map_[:, step:])
            map_, reached = extreme(*both), reached + step
    return map_


def component_axes(cube: Cube, settings: ProfileTreesConfig) -> tuple[Doubles, Doubles]:
    """Return the mean of every band, (bands,), and the axes of the components, (bands, components).

    The projection of a centred spectrum on an axis is its component; the largest loading of an axis is positive. With
    `transform=pca` the axes are those of the largest variance of the standardised bands, with `mnf` of the largest
    ratio of variance to noise (minimum noise fraction, Green et al. 1988), whose components have noise of variance 1.
    There are at most as many axes as bands that vary, and none that explains no variance.

    Raises:
        LearnerError: No band varies.
        SceneError: The cube's file is damaged.
    """
    spectra = sampled(cube)  # up to 10^8 numbers, therefore changed in place
    mean, deviation = spectra.mean(axis=0), spectra.std(axis=0)
    varies = deviation > 1e-12 * np.abs(mean)
    if not varies.any():
        raise LearnerError(
            "No band of the cube varies, so that no class can be told from it; take other bands or another scene."
        )
    standard = spectra if varies.all() else spectra[:, varies]
    standard -= mean[varies]
    standard /= deviation[varies]
    noise = noise_of(cube, varies, deviation) if settings.transform == "mnf" else None
    ratios, axes = scipy.linalg.eigh(standard.T @ standard / len(standard), noise)
    kept = np.flatnonzero(ratios > 1e-9 * ratios[-1])[::-1][: settings.components]
    axes = axes[:, kept]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(kept))])
    projection = np.zeros((len(mean), len(kept)))
    projection[varies] = axes / deviation[varies][:, None]
    return mean, projection


def noise_of(cube: Cube, varies: NDArray[np.bool_], deviation: Doubles) -> Doubles:
    """Return the covariance of the noise of the standardised bands that vary."""
    width, chosen = cube.shape[1], spread(strips_of(cube.shape), cube.shape[1], MOST_SCALED)
    scale = deviation[varies].astype(np.float32)
    rows = (np.divide(strip.read(cube)[:, :, varies], scale, dtype=np.float32) for strip in chosen)
    return noise_covariance(rows, sum(strip.last - strip.first for strip in chosen) * width)


def sampled(cube: Cube) -> Doubles:
    """Return every k-th spectrum of a cube (H, W, bands), at most `MOST_SPECTRA`, (n, bands), strip by strip."""
    height, width, n_bands = cube.shape
    step = max(1, -(-height * width // MOST_SPECTRA))
    while step > 1 and width % step == 0:  # else the sample would be a few columns
        step += 1
    found = []
    for strip in strips_of(cube.shape):
        interrupts.check()
        first = -strip.first * width % step
        found.append(strip.read(cube).reshape(-1, n_bands)[first::step].astype(np.float64))
    return np.concatenate(found)
