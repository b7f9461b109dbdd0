"""Two-step queries: a short list of uncertain pixels, then one pixel of every cluster in it."""

from collections import deque

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from hsi_al.acquisition.base import Picks, Query
from hsi_al.acquisition.ranking import in_order, ranked
from hsi_al.acquisition.registry import batch
from hsi_al.acquisition.uncertainty import negative_margin_N

LARGEST = 5000  # pixels to cluster, at most: 100 MB of distances


@batch("cluster_margin", "embeddings_ND", "probabilities_NC")
def cluster_margin(query: Query, shortlist: int) -> Picks:
    """Cluster-Margin (Citovsky et al. 2021): of the `shortlist` * n smallest margins, one pixel per cluster in turn.

    The short list holds `LARGEST` pixels at most. Its embeddings are clustered by average linkage into n clusters in
    every round (the source clusters the whole pool once, into clusters of ten pixels on average). Smaller clusters come
    first; within a cluster the order is random. The pixels outside the short list follow by margin.
    """
    order = ranked(negative_margin_N(query.of_free("probabilities_NC")), query.rng)
    wanted = query.rng.permutation(order[: min(shortlist * query.n, LARGEST)])
    embeddings = query.view.outputs.embeddings_ND
    assert embeddings is not None
    clusters = np.ones(1, np.int64)
    if len(wanted) > 1:
        clusters = fcluster(linkage(embeddings[query.free[wanted]], "average"), query.n, "maxclust")
    groups = [wanted[clusters == cluster] for cluster in np.unique(clusters)]
    turns = deque(deque(group.tolist()) for group in sorted(groups, key=len))
    while turns:
        group = turns.popleft()
        while group and not query.open_M[group[0]]:
            group.popleft()
        if group:
            yield group.popleft()
            turns.append(group)
    yield from in_order(order, query)
