"""Spectra as features: standardised by the scene, averaged over windows, read strip by strip."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsi_al import interrupts
from hsi_al.config.schema import Config, SpectraConfig
from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.noise import noise_covariance
from hsi_al.methods.room import settings_in
from hsi_al.methods.strips import ByStrips, StripFeatures, spread, strips_of
from hsi_al.scenes.stored import Cube

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
ROUNDING = 1e-12  # of a mean: a smaller deviation is none
MOST_NOISY = 2**16  # pixels, in whole strips evenly spread, from which the noise of the features comes


def channels(values: Floats, settings: SpectraConfig) -> Doubles:
    """Return the channels that are standardised, (..., C): the bands, and if asked for their differences.

    Args:
        values: Spectra, (..., bands).
        settings: `unit_length` divides every spectrum by its Euclidean length, unless that is 0; `derivatives` appends
            the difference of each band from the one before, so that C = 2 * bands - 1.
    """
    spectra = values.astype(np.float64)
    if settings.unit_length:
        lengths = np.linalg.norm(spectra, axis=-1, keepdims=True)
        spectra /= np.where(lengths > 0, lengths, 1.0)
    return np.concatenate([spectra, np.diff(spectra, axis=-1)], axis=-1) if settings.derivatives else spectra


def statistics(cube: Cube, settings: SpectraConfig) -> tuple[Doubles, Doubles]:
    """Return mean and standard deviation of every channel over all pixels of a cube (H, W, bands), (C,) each.

    Strips are joined by the update of Chan, Golub and LeVeque (1983), which loses no digits where deviations are small
    beside means. A deviation within rounding is 0.

    Raises:
        SceneError: The cube's file is damaged.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for strip in strips_of(cube.shape):
        interrupts.check()
        values = channels(strip.read(cube), settings)
        values = values.reshape(-1, values.shape[-1])
        new, own = len(values), values.mean(axis=0)
        away = own - mean
        squares = squares + np.square(values - own).sum(axis=0) + np.square(away) * (count * new / (count + new))
        mean = mean + away * (new / (count + new))
        count += new
    deviation = np.sqrt(squares / count)
    return mean, np.where(deviation > ROUNDING * np.abs(mean), deviation, 0.0)


class SpectraExtractor(ByStrips):
    """Features of a pixel: the means of the standardised spectra over one or more windows around it.

    Every channel has mean 0 and standard deviation 1 over the scene; channels that are constant there are left out.
    Outside of the scene its edge is repeated. Whether the cube is in memory or in its file doesn't change a feature.

    Args:
        cube: (H, W, bands).
        settings: Windows, and what is done to spectra.
        memory_gb: Largest size of the features of the whole scene that are kept, 10^9 bytes of float32.
        with_noise: Whether `fit` finds the noise of the features, too.

    Attributes:
        noise: Covariance of the noise of the features, (D, D), see `_noise`; empty without `with_noise`.

    Raises:
        ConfigurationError: There is no window, an even one, or one larger than the scene.
    """

    def __init__(self, cube: Cube, settings: SpectraConfig, memory_gb: float, with_noise: bool = False) -> None:
        windows, most = settings.windows, min(cube.shape[:2])
        if not windows or any(window % 2 == 0 for window in windows):
            raise ConfigurationError(f"learner.windows={list(windows)} must be one or more odd sides of windows.")
        if max(windows) > most:
            raise ConfigurationError(
                f"learner.windows={list(windows)} holds windows larger than the scene of {cube.shape[0]} x "
                f"{cube.shape[1]} pixels; take {most} at most."
            )
        self.cube, self.settings, self.memory_gb, self.with_noise = cube, settings, memory_gb, with_noise
        self.noise: Doubles = np.empty((0, 0))
        self.mean: Doubles = np.empty(0)
        self.deviation: Doubles = np.empty(0)

    def describe(self) -> str:
        """Return windows and channels."""
        settings = self.settings
        kind = "spectra of length 1" if settings.unit_length else "spectra"
        kind += " and their differences" if settings.derivatives else ""
        sides = ", ".join(f"{window} x {window}" for window in settings.windows)
        means = "" if max(settings.windows) == 1 else f", averaged over {sides} pixels"
        return f"{kind} of {self.cube.shape[2]} bands, standardised{means}"

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Find mean and deviation of every channel at the first call; keep the features of the labelled pixels.

        Raises:
            LearnerError: No channel varies.
            SceneError: The cube's file is damaged.
        """
        if self.strips is None:
            self._standardise(*statistics(self.cube, self.settings))
        assert self.strips is not None
        self.strips.progress = self.progress
        if self.with_noise and not len(self.noise):
            self.noise = self._noise(self.strips)
        self.strips.keep(pixel_ids)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.settings.windows) * int((self.deviation > 0).sum())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return mean and deviation of every channel, (C,) each, 0 for a channel that is left out, and the noise."""
        state = {"mean": self.mean, "deviation": self.deviation}
        return state | {"noise": self.noise} if self.with_noise else state

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take mean and deviation of another scene.

        Raises:
            LookupError: One is missing.
            ValueError: They don't fit the bands of the cube or the settings.
        """
        mean, deviation = state["mean"], state["deviation"]
        n_channels = channels(np.zeros((1, self.cube.shape[2]), np.float32), self.settings).shape[1]
        if not mean.shape == deviation.shape == (n_channels,):
            raise ValueError(f"it has {len(mean)} and {len(deviation)} channels where the cube has {n_channels}")
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and deviation.min() >= 0):
            raise ValueError("means or deviations are no such numbers")
        self._standardise(mean, deviation)
        if self.with_noise:
            self.noise = state["noise"]
            if self.noise.shape != (self.n_features, self.n_features) or not np.isfinite(self.noise).all():
                raise ValueError(f"its noise isn't that of {self.n_features} features")

    def _noise(self, strips: StripFeatures) -> Doubles:
        """Return the covariance of the noise of the features.

        The means over windows of side w around two neighbours share all but one of w columns, so that they differ by
        less than two means without a pixel in common; the covariance is w times as large. What the noise of two windows
        has in common is hardly seen that way: with several windows they count as nearly independent.
        """
        chosen = spread(strips.strips, strips.width, MOST_NOISY)
        n_pixels = sum(strip.last - strip.first for strip in chosen) * strips.width
        found = noise_covariance(strips.some(MOST_NOISY), n_pixels)
        sides = np.repeat(self.settings.windows, self.n_features // len(self.settings.windows))
        return found * np.sqrt(np.outer(sides, sides))

    def _standardise(self, mean: Doubles, deviation: Doubles) -> None:
        if not deviation.any():
            raise LearnerError(
                "No band of the cube varies"
                + (" with learner.unit_length=true" if self.settings.unit_length else "")
                + ", so that no class can be told from it; take other bands or another scene."
            )
        self.mean, self.deviation = mean, deviation
        halo = max(self.settings.windows) // 2
        self.strips = StripFeatures(self.cube, self._computed, self.n_features, halo, self.memory_gb)

    def _computed(self, values: Floats) -> Floats:
        """Return the features of consecutive rows (h, W, bands), (h, W, D)."""
        varies = self.deviation > 0
        standard = (channels(values, self.settings)[..., varies] - self.mean[varies]) / self.deviation[varies]
        found: list[Doubles] = [
            standard if side == 1 else uniform_filter(standard, size=(side, side, 1), mode="nearest")
            for side in self.settings.windows
        ]
        return np.concatenate([part.astype(np.float32) for part in found], axis=-1)


def extractor_of(config: Config, cube: Cube, with_noise: bool = False) -> SpectraExtractor:
    """Return the extractor for a run with a learner on spectra, which also finds their noise if asked for.

    Raises:
        ConfigurationError: The windows don't fit the scene.
    """
    return SpectraExtractor(cube, settings_in(config, SpectraConfig), config.dataset.memory_gb, with_noise)
