"""Extended morphological profiles (EMP): openings and closings of the principal components."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_closing, grey_dilation, grey_erosion, grey_opening
from sklearn.decomposition import PCA

from hsi_al.errors import ConfigurationError
from hsi_al.methods.base import as_float32
from hsi_al.methods.emp_svm import EmpSvmConfig
from hsi_al.outputs import Progress

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
SQUARED = (1e-12, 1e12)  # magnitudes whose squares, and sums of many squares, float32 holds


def rebuilt(marker: Floats, image: Floats) -> Floats:
    """Reconstruct an image (H, W): dilate the marker by 3x3, limited by the image, until nothing changes."""
    while True:
        grown: Floats = np.minimum(grey_dilation(marker, size=(3, 3), mode="nearest"), image)
        if np.array_equal(grown, marker):
            return grown
        marker = grown


def opening(image: Floats, radius: int, reconstruction: bool = False) -> Floats:
    """Open an image (H, W) by the square of side 2 * radius + 1; outside of the image its edge is repeated."""
    size = (2 * radius + 1, 2 * radius + 1)
    if reconstruction:
        return rebuilt(grey_erosion(image, size=size, mode="nearest"), image)
    opened: Floats = grey_opening(image, size=size, mode="nearest")
    return opened


def closing(image: Floats, radius: int, reconstruction: bool = False) -> Floats:
    """Close an image (H, W) by the square of side 2 * radius + 1; the dual of `opening`."""
    if reconstruction:
        return -opening(-image, radius, True)
    size = (2 * radius + 1, 2 * radius + 1)
    closed: Floats = grey_closing(image, size=size, mode="nearest")
    return closed


def profile(image: Floats, radii: Sequence[int], reconstruction: bool = False) -> Floats:
    """Return the morphological profile: the closings, largest first, the image, and the openings, smallest first.

    Args:
        image: (H, W).
        radii: Half-widths of the squares, ascending.
        reconstruction: Whether openings and closings are by reconstruction; otherwise they are plain.

    Returns:
        (2 * len(radii) + 1, H, W).
    """
    closings = [closing(image, radius, reconstruction) for radius in reversed(radii)]
    openings = [opening(image, radius, reconstruction) for radius in radii]
    return np.stack([*closings, image, *openings])


class EmpExtractor:
    """Features of a pixel: the morphological profiles of the scene's principal components, computed once.

    Squares, half-widths 1 to 9 and plain openings and closings follow the text of the active-learning paper; its
    numbers on Indian Pines fit sides up to 9 instead (experiments/results/compared/emp.md). The classical EMP
    (Benediktsson et al., TGRS 2005) opens and closes by reconstruction. The authors' other code uses three components.

    Args:
        cube: (H, W, bands).
        settings: Components, kind and sizes of the profiles.

    Raises:
        ConfigurationError: There are more components than bands or pixels, `components` is no valid number, or `radii`
            is empty or holds a value below 1.
    """

    once = True

    def __init__(self, cube: NDArray[np.generic], settings: EmpSvmConfig) -> None:
        height, width, n_bands = cube.shape
        n_components, most = whole_or_share(settings.components), min(n_bands, height * width)
        if isinstance(n_components, int) and not 1 <= n_components <= most:
            raise ConfigurationError(
                f"learner.components={n_components} is too many for {n_bands} bands and {height * width} pixels: "
                f"take 1 to {most}."
            )
        if not settings.radii or min(settings.radii) < 1:
            raise ConfigurationError(
                f"learner.radii={list(settings.radii)} must be one or more half-widths of at least 1."
            )
        self.cube, self.settings, self.n_components = cube, settings, n_components
        self.progress: Progress | None = None

    def describe(self) -> str:
        """Return components, sizes and kind of the profiles."""
        settings = self.settings
        share = isinstance(self.n_components, float)
        components = f"{self.n_components:.1%} of the variance" if share else f"{self.n_components} components"
        sides = ", ".join(str(2 * radius + 1) for radius in sorted(settings.radii))
        if (most := max(self.cube.shape[:2])) < max(settings.radii):
            sides += f" (above {2 * most + 1} as {2 * most + 1}, which covers the scene)"
        kind = "by reconstruction (the paper names plain ones)" if settings.reconstruction else "plain"
        return f"EMP of {components}, squares of side {sides}, openings and closings {kind}"

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Compute the features of the whole scene at the first call; the labels are not used."""
        _ = self.table

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, (2 * len(radii) + 1) * components), within [0, 1]."""
        found: Floats = self.table[pixel_ids]
        return found

    @cached_property
    def table(self) -> Floats:
        """Features of all pixels, scaled to [0, 1] by one minimum and maximum over all features, (H * W, D)."""
        components = principal_components(self.cube, self.n_components)
        radii = [min(radius, max(self.cube.shape[:2])) for radius in sorted(self.settings.radii)]
        profiles = []
        for done, component in enumerate(components):
            profiles.append(profile(component, radii, self.settings.reconstruction))
            if self.progress is not None:
                self.progress(f"profile {done + 1}/{len(components)}", (done + 1) / len(components))
        stack = np.concatenate(profiles)
        low, high = stack.min(), stack.max()
        stack = (stack - low) / (high - low if high > low else np.float32(1))
        return np.ascontiguousarray(stack.reshape(len(stack), -1).T)


def principal_components(cube: NDArray[np.generic], n_components: int | float) -> Floats:
    """Return the first principal components of a cube (H, W, bands), (n, H, W); bands are centred, not whitened.

    Cubes whose squares float32 can't hold are divided by a power of two, which changes nothing but the unit.

    Raises:
        LearnerError: A value is NaN, infinite or beyond float32.
    """
    height, width, n_bands = cube.shape
    pixels = as_float32(cube).reshape(-1, n_bands)
    if not SQUARED[0] < (largest := float(np.abs(pixels).max())) < SQUARED[1]:
        pixels = np.ldexp(pixels, -np.frexp(largest)[1])
    with np.errstate(invalid="ignore", divide="ignore"):  # in a constant cube sklearn divides by a variance of 0
        scores = PCA(n_components, svd_solver="full").fit_transform(pixels)
    return np.ascontiguousarray(scores.T.reshape(-1, height, width), dtype=np.float32)


def whole_or_share(components: float) -> int | float:
    """Return a number of components as an integer, or the fraction of variance to explain, below 1, unchanged.

    Raises:
        ConfigurationError: The value is not positive, or above 1 and not whole.
    """
    if components <= 0:
        raise ConfigurationError(
            f"learner.components={components:g} must be a number of components, or a fraction of the variance above 0."
        )
    if components < 1:
        return components
    if not float(components).is_integer():
        raise ConfigurationError(
            f"learner.components={components} must be a whole number, or a fraction of the variance below 1."
        )
    return int(components)
