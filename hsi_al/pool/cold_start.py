"""Initial draws that use spectra but no labels: one pixel from each cluster."""

from collections.abc import Callable
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from hsi_al.errors import PoolExhaustedError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
COMPONENTS = 10
NEIGHBOURS = 20  # Hacohen et al. 2022


def central(features: Floats) -> int:
    """Return the index of the row nearest to the mean of all rows (n, D), the centre of a k-means cluster."""
    return int(((features - features.mean(axis=0)) ** 2).sum(axis=1).argmin())


def typical(features: Floats) -> int:
    """Return the index of the most typical row (n, D): smallest mean distance to its 20 nearest rows, or to n // 2.

    G. Hacohen, A. Dekel, D. Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets",
    ICML 2022, eq. (4): typicality is the inverse of that distance.
    """
    count = min(NEIGHBOURS, max(1, len(features) // 2), len(features) - 1)
    if count < 1:
        return 0
    distances, _ = NearestNeighbors(n_neighbors=count).fit(features).kneighbors()  # a row is not its own neighbour
    return int(distances.mean(axis=1).argmin())


COLD_STARTS: dict[str, Callable[[Floats], int]] = {"kmeans": central, "typiclust": typical}


def draw_cold(candidates: Ids, spectra: NDArray[np.generic], size: int, kind: str, rng: np.random.Generator) -> Ids:
    """Draw one pixel from each of `size` clusters of the candidates' spectra (k-means on 10 principal components).

    Args:
        candidates: Pixel ids, (N,).
        spectra: Spectra of the candidates, (N, B).
        size: Number of pixels to draw.
        kind: `kmeans`, the pixel nearest to the cluster's centre, or `typiclust`, the most typical one.
        rng: Seeds the clustering; draws the missing pixels if too few spectra differ to form `size` clusters.

    Returns:
        Pixel ids, ascending, (size,).

    Raises:
        PoolExhaustedError: `size` exceeds the number of candidates.
    """
    if size > len(candidates):
        raise PoolExhaustedError(
            f"{size} initial labels are more than the {len(candidates)} candidates; lower protocol.initial_size."
        )
    seed = int(rng.integers(2**31))
    # One thread: the rounding of sums depends on their number. Identical spectra cause warnings; see `missing` below.
    with threadpool_limits(1), np.errstate(invalid="ignore"), catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        n_components = min(COMPONENTS, *spectra.shape)
        features = PCA(n_components, svd_solver="full").fit_transform(np.asarray(spectra, np.float64))
        clusters = MiniBatchKMeans(size, n_init=3, random_state=seed).fit_predict(features)
        members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
        chosen = np.array([positions[COLD_STARTS[kind](features[positions])] for positions in members])
    rest = np.setdiff1d(np.arange(len(candidates)), chosen)
    missing = rng.choice(rest, size - len(chosen), replace=False)
    return np.sort(candidates[np.concatenate([chosen, missing])])
