"""Extended morphological profiles (EMP): openings and closings of the principal components."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_closing, grey_dilation, grey_erosion, grey_opening
from sklearn.decomposition import PCA

from hsi_al.errors import ConfigurationError
from hsi_al.methods.emp_svm import EmpSvmConfig
from hsi_al.outputs import Progress

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


def rebuilt(marker: Floats, image: Floats) -> Floats:
    """The marker (H, W), dilated by 3x3 under the image until nothing changes."""
    while True:
        grown: Floats = np.minimum(grey_dilation(marker, size=(3, 3), mode="nearest"), image)
        if np.array_equal(grown, marker):
            return grown
        marker = grown


def opening(image: Floats, radius: int, reconstruction: bool = False) -> Floats:
    """Opening of an image (H, W) by the square of side 2 * radius + 1, the edge repeated outside."""
    size = (2 * radius + 1, 2 * radius + 1)
    if reconstruction:
        return rebuilt(grey_erosion(image, size=size, mode="nearest"), image)
    opened: Floats = grey_opening(image, size=size, mode="nearest")
    return opened


def closing(image: Floats, radius: int, reconstruction: bool = False) -> Floats:
    """Closing of an image (H, W) by the square of side 2 * radius + 1; the dual of `opening`."""
    if reconstruction:
        return -opening(-image, radius, True)
    size = (2 * radius + 1, 2 * radius + 1)
    closed: Floats = grey_closing(image, size=size, mode="nearest")
    return closed


def profile(image: Floats, radii: Sequence[int], reconstruction: bool = False) -> Floats:
    """The morphological profile: closings, largest first, the image, and openings.

    Args:
        image: (H, W).
        radii: Half-widths of the squares, ascending.
        reconstruction: By reconstruction; else plain.

    Returns:
        (2 * len(radii) + 1, H, W).
    """
    closings = [closing(image, radius, reconstruction) for radius in reversed(radii)]
    openings = [opening(image, radius, reconstruction) for radius in radii]
    return np.stack([*closings, image, *openings])


class EmpExtractor:
    """The profiles of a scene's principal components as features, computed once.

    Squares, half-widths 1 to 9 and plain openings and closings follow the active-learning paper's words; its numbers on
    Indian Pines are those of sides up to 9 (experiments/results/compared/emp.md). The classical EMP (Benediktsson et
    al., TGRS 2005) opens and closes by reconstruction. Three components are what the authors' code takes elsewhere.

    Args:
        cube: (H, W, bands).
        settings: See `EmpSvmConfig`.

    Raises:
        ConfigurationError: A number of components that the scene can't give, or radii that are no sizes.
    """

    once = True

    def __init__(self, cube: NDArray[np.generic], settings: EmpSvmConfig) -> None:
        height, width, n_bands = cube.shape
        n_components, most = whole_or_share(settings.components), min(n_bands, height * width)
        if isinstance(n_components, int) and not 1 <= n_components <= most:
            raise ConfigurationError(
                f"learner.components={n_components} can't be had from {n_bands} bands and {height * width} pixels: "
                f"take 1 to {most}."
            )
        if not settings.radii or min(settings.radii) < 1:
            raise ConfigurationError(
                f"learner.radii={list(settings.radii)} must be one or more half-widths of at least 1."
            )
        self.cube, self.settings, self.n_components = cube, settings, n_components
        self.progress: Progress | None = None

    def describe(self) -> str:
        """Components, sizes and kind of the profiles."""
        settings = self.settings
        share = isinstance(self.n_components, float)
        components = f"{self.n_components:.1%} of the variance" if share else f"{self.n_components} components"
        sides = ", ".join(str(2 * radius + 1) for radius in sorted(settings.radii))
        kind = "by reconstruction (the paper names plain ones)" if settings.reconstruction else "plain"
        return f"EMP of {components}, squares of side {sides}, openings and closings {kind}"

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Compute the features of the whole scene at the first call; nothing is learnt from the labels."""
        _ = self.table

    def features(self, pixel_ids: Ids) -> Floats:
        """Features of pixels, (n, (2 * radii + 1) * components), within [0, 1]."""
        found: Floats = self.table[pixel_ids]
        return found

    @cached_property
    def table(self) -> Floats:
        """Features of every pixel, scaled by one minimum and maximum over all, (H * W, D)."""
        components = principal_components(self.cube, self.n_components)
        profiles = []
        for done, component in enumerate(components):
            profiles.append(profile(component, sorted(self.settings.radii), self.settings.reconstruction))
            if self.progress is not None:
                self.progress(f"profile {done + 1}/{len(components)}", (done + 1) / len(components))
        stack = np.concatenate(profiles)
        low, high = stack.min(), stack.max()
        stack = (stack - low) / (high - low if high > low else np.float32(1))
        return np.ascontiguousarray(stack.reshape(len(stack), -1).T)


def principal_components(cube: NDArray[np.generic], n_components: int | float) -> Floats:
    """Images of a cube (H, W, bands) along its first principal axes, bands centred, not whitened: (n, H, W)."""
    height, width, n_bands = cube.shape
    pixels = cube.reshape(-1, n_bands).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):  # sklearn's shares of no variance, in a constant cube
        scores = PCA(n_components, svd_solver="full").fit_transform(pixels)
    return np.ascontiguousarray(scores.T.reshape(-1, height, width), dtype=np.float32)


def whole_or_share(components: float) -> int | float:
    """A number of components as an integer, or the share of the variance that they explain, below 1.

    Raises:
        ConfigurationError: It is neither.
    """
    if components <= 0:
        raise ConfigurationError(f"learner.components={components:g} is no number of components, nor a share above 0.")
    if components < 1:
        return components
    if not float(components).is_integer():
        raise ConfigurationError(f"learner.components={components} must be whole, or a share below 1.")
    return int(components)
