"""Initial draws that use spectra or features but no labels: one pixel from each cluster."""

from collections.abc import Callable
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from hsi_al.errors import PoolExhaustedError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
COMPONENTS = 10
NEIGHBOURS = 20  # Hacohen et al. 2022
MOST_CLUSTERED = 2**16  # candidates, at random, whose features form the clusters


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


def draw_cold(
    candidates: Ids,
    vectors: NDArray[np.generic],
    size: int,
    kind: str,
    rng: np.random.Generator,
    features: bool = False,
) -> Ids:
    """Draw one pixel from each of `size` clusters of the candidates.

    Spectra are reduced to 10 principal components and clustered by mini-batches; features are clustered as they are.

    Args:
        candidates: Pixel ids, (N,).
        vectors: Spectra or features of the candidates, (N, D).
        size: Number of pixels to draw.
        kind: `kmeans`, the pixel nearest to the cluster's centre, or `typiclust`, the most typical one.
        rng: Seeds the clustering; draws the missing pixels if too few vectors differ to form `size` clusters.
        features: Whether the vectors are a learner's features.

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
    if features and len(candidates) > max(size, MOST_CLUSTERED):
        some = np.sort(rng.choice(len(candidates), max(size, MOST_CLUSTERED), replace=False))
        candidates, vectors = candidates[some], vectors[some]
    # One thread: the rounding of sums depends on their number. Identical vectors cause warnings; see `missing` below.
    with threadpool_limits(1), np.errstate(invalid="ignore"), catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        if features:
            points = np.asarray(vectors, np.float64)
            clusters = KMeans(size, n_init=3, random_state=seed).fit_predict(points)
        else:
            n_components = min(COMPONENTS, *vectors.shape)
            points = PCA(n_components, svd_solver="full").fit_transform(np.asarray(vectors, np.float64))
            clusters = MiniBatchKMeans(size, n_init=3, random_state=seed).fit_predict(points)
        members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
        chosen = np.array([positions[COLD_STARTS[kind](points[positions])] for positions in members])
    rest = np.setdiff1d(np.arange(len(candidates)), chosen)
    missing = rng.choice(rest, size - len(chosen), replace=False)
    return np.sort(candidates[np.concatenate([chosen, missing])])
