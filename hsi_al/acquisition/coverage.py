"""Representative pixels, for small budgets: typical pixels (TypiClust) and pixels that cover most others (ProbCover).

Axes: N points, D features. Both functions normalise the embeddings to length 1, as their authors' code does. The
authors' embeddings come from self-supervised training, these from the network trained in the round.
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from hsi_al.acquisition.base import Floats, Picks, Query, Scores
from hsi_al.acquisition.distances import (
    blocks,
    count_within,
    k_means,
    nearest_squared,
    normalised,
    squared_distances,
)
from hsi_al.acquisition.ranking import best
from hsi_al.acquisition.registry import batch

MOST_CLUSTERS = 500
SMALLEST_CLUSTER = 6  # pixels; smaller clusters come last
LARGEST_CLUSTER = 5000  # pixels; a larger cluster is sampled, because neighbours cost the square
SAMPLE = 2000  # balls whose purity is measured
TARGETS = 5000  # pixels to cover, at most; all pairs would cost the square
IMPURE = 0.05  # share of the balls that may hold points of several clusters


@batch("typiclust", "embeddings_ND")
def typiclust(query: Query, neighbours: int) -> Picks:
    """TypiClust (Hacohen, Dekel & Weinshall 2022): the most typical pixel of every cluster without a label.

    k-means with L + n clusters (500 at most), where L pixels are labelled. Clusters with the fewest labels come first,
    among these the largest; clusters of fewer than `SMALLEST_CLUSTER` pixels come last. The typicality of a pixel is
    (1/K sum of the distances to its K nearest neighbours in the cluster)^-1, with K = `neighbours` at most. In clusters
    of fewer than 2 `neighbours` pixels the authors' code takes half of the cluster, this one as many as there are: the
    pick there is nearer to the middle.
    """
    points = normalised(np.concatenate([query.of_free("embeddings_ND"), query.of_labelled("embeddings_ND")]))
    n_free, n_clusters = len(query.free), min(len(query.labelled) + query.n, MOST_CLUSTERS, len(points))
    clusters = k_means(points, n_clusters, query.rng)
    sizes = np.bincount(clusters, minlength=n_clusters)
    covered = np.bincount(clusters[n_free:], minlength=n_clusters)
    order = np.lexsort((-sizes, covered, sizes < SMALLEST_CLUSTER))
    typical: dict[int, Scores] = {}
    while True:
        for cluster in order.tolist():
            members = np.flatnonzero(clusters[:n_free] == cluster)
            if query.open_M[members].any():
                if cluster not in typical:
                    typical[cluster] = typicality(points[members], neighbours, query.rng)
                yield int(members[best(typical[cluster], query.open_M[members], query.rng)])


def typicality(points_ND: Floats, neighbours: int, rng: np.random.Generator) -> Scores:
    """Return 1 / (mean distance to the `neighbours` nearest other points of the cluster), (N,).

    It is 0 for a single point, and for points of a cluster above `LARGEST_CLUSTER` that are not in the drawn sample.
    """
    found = np.zeros(len(points_ND))
    drawn = np.arange(len(points_ND))
    if len(drawn) > LARGEST_CLUSTER:
        drawn = np.sort(rng.choice(drawn, LARGEST_CLUSTER, replace=False))
    k = min(neighbours, len(drawn) - 1)
    if k == 0:
        return found
    others = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points_ND[drawn])
    distances, _ = others.kneighbors()
    found[drawn] = 1 / np.maximum(distances.mean(axis=1), 1e-7)
    return found


@batch("prob_cover", "embeddings_ND")
def prob_cover(query: Query, radius: float | None) -> Picks:
    """ProbCover (Yehuda et al. 2022): the pixel whose ball holds most pixels not yet covered.

    A pixel is covered if it lies in the ball of a labelled or picked pixel.

    If `radius` is None, `pure_radius` chooses it. If there are more than `TARGETS` candidates, only a random sample of
    `TARGETS` has to be covered; all candidates may be picked.
    """
    points, known = normalised(query.of_free("embeddings_ND")), normalised(query.of_labelled("embeddings_ND"))
    if radius is None:
        n_classes = len(np.unique(query.view.labels[query.labelled]))
        radius = pure_radius(np.concatenate([points, known]), max(2, n_classes), query.rng)
    uncovered = points[np.sort(query.rng.permutation(len(points))[:TARGETS])]
    uncovered = uncovered[nearest_squared(uncovered, known) > radius**2]
    counts = count_within(points, uncovered, radius)
    while True:
        chosen = best(counts.astype(np.float64), query.open_M, query.rng)
        yield chosen
        newly = nearest_squared(uncovered, points[[chosen]]) <= radius**2
        counts -= count_within(points, uncovered[newly], radius)
        uncovered = uncovered[~newly]


def pure_radius(points_ND: Floats, n_classes: int, rng: np.random.Generator) -> float:
    """Return the largest radius at which 95 % of the balls hold points of one of `n_classes` k-means clusters only.

    A ball is pure up to the distance of the nearest point of another cluster, so the radius is the 5 % quantile of
    these distances, over `SAMPLE` points.
    """
    clusters = k_means(points_ND, min(n_classes, len(points_ND)), rng)
    sample = rng.permutation(len(points_ND))[:SAMPLE]
    nearest = np.full(len(sample), np.inf)
    for columns in blocks(len(points_ND)):
        distances = squared_distances(points_ND[sample], points_ND[columns])
        distances[clusters[sample][:, None] == clusters[columns]] = np.inf
        np.minimum(nearest, distances.min(axis=1), out=nearest)
    return float(np.sqrt(np.sort(nearest)[int(IMPURE * len(sample))]))
