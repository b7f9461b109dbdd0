"""Squared distances and clusters of embeddings, computed in blocks, so no N x N matrix is held.

Distances are float32: |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, with an error of about 1e-6 of the squared norms.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

BLOCK = 2048  # rows and columns of a block of distances
MOST_EXACT_CLUSTERS = 50  # for more clusters, mini-batch k-means, as in TypiClust's code
EPOCHS = 10  # of mini-batch k-means
LEAST_SAMPLE = 300  # clusters; the first centres are drawn from 3 points per cluster, at least 3 x 300 points


def normalised(embeddings_ND: Floats) -> Floats:
    """Return the rows scaled to length 1, (N, D); rows of zeros stay zero."""
    lengths = np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: Floats = embeddings_ND / lengths
    return unit


def squared_norms(points_ND: Floats) -> Floats:
    """Return |x|^2 of every row, (N,)."""
    norms: Floats = np.einsum("nd,nd->n", points_ND, points_ND)
    return norms


def squared_distances(x_ND: Floats, y_MD: Floats) -> Floats:
    """Return the squared distances of all pairs, (N, M); call it on blocks, because it holds the whole matrix."""
    products: Floats = x_ND @ y_MD.T
    products *= -2
    products += squared_norms(x_ND)[:, None]
    products += squared_norms(y_MD)
    np.maximum(products, 0, out=products)
    return products


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of at most `BLOCK` rows that together cover n rows."""
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def nearest_squared(points_MD: Floats, centres_LD: Floats) -> Floats:
    """Return the squared distance of every point to its nearest centre, (M,); infinite if there are no centres."""
    nearest = np.full(len(points_MD), np.inf, dtype=np.float32)
    for rows in blocks(len(points_MD)):
        for columns in blocks(len(centres_LD)):
            distances = squared_distances(points_MD[rows], centres_LD[columns])
            np.minimum(nearest[rows], distances.min(axis=1), out=nearest[rows])
    return nearest


def count_within(points_MD: Floats, others_LD: Floats, radius: float) -> Ids:
    """Return for every point how many of the others lie within `radius` of it, (M,)."""
    counts = np.zeros(len(points_MD), dtype=np.int64)
    for rows in blocks(len(points_MD)):
        for columns in blocks(len(others_LD)):
            distances = squared_distances(points_MD[rows], others_LD[columns])
            counts[rows] += np.count_nonzero(distances <= radius**2, axis=1)
    return counts


def k_means(points_ND: Floats, n_clusters: int, rng: np.random.Generator) -> Ids:
    """Return the cluster of every point, (N,); with fewer distinct points than clusters, some clusters are empty."""
    seed = int(rng.integers(2**31))
    sample = points_ND[rng.permutation(len(points_ND))[: 3 * max(n_clusters, LEAST_SAMPLE)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        centres, _ = kmeans_plusplus(sample.astype(np.float64), n_clusters, random_state=seed, n_local_trials=1)
        if n_clusters <= MOST_EXACT_CLUSTERS:
            model = KMeans(n_clusters, init=centres, n_init=1, random_state=seed)
        else:
            model = MiniBatchKMeans(n_clusters, init=centres, n_init=1, random_state=seed, max_iter=EPOCHS)
        clusters: Ids = model.fit_predict(points_ND).astype(np.int64)
    return clusters
