"""Diverse batches: pixels that differ from one another and, in k-centre greedy, from the labelled pixels.

Axes: M candidates, L labelled pixels, D features, C classes. A pick costs one product of the (M, D) embeddings with a
vector; no array larger than the embeddings is held.
"""

import numpy as np

from hsi_al.acquisition.base import Floats, Picks, Positions, Query, Scores
from hsi_al.acquisition.distances import nearest_squared, squared_norms
from hsi_al.acquisition.ranking import best, in_order, ranked
from hsi_al.acquisition.registry import batch
from hsi_al.acquisition.uncertainty import predicted_loss_N


@batch("core_set", "embeddings_ND")
def core_set(query: Query) -> Picks:
    """k-centre greedy (Sener & Savarese 2018): argmax over u of min over s of |h_u - h_s|, s labelled or picked."""
    everyone = np.arange(len(query.free))
    return farthest_first(query, query.of_free("embeddings_ND"), everyone)


@batch("loss_prediction_diverse", "predicted_loss_N", "embeddings_ND")
def loss_prediction_diverse(query: Query, shortlist: int) -> Picks:
    """Predicted loss (Yoo & Kweon 2019), then diversity, in the two steps of Zhdanov 2019.

    From the `shortlist` * n pixels with the highest predicted losses, pick those farthest from the labelled pixels and
    from one another, by k-centre greedy instead of Zhdanov's k-means. The other pixels follow by predicted loss.
    """
    order = ranked(predicted_loss_N(query.of_free("predicted_loss_N")), query.rng)
    wanted = order[: shortlist * query.n]
    embeddings = query.view.outputs.embeddings_ND
    assert embeddings is not None
    yield from farthest_first(query, embeddings[query.free[wanted]], wanted)
    yield from in_order(order, query)


def farthest_first(query: Query, points_MD: Floats, among: Positions) -> Picks:
    """Pick the indices in `among` by k-centre greedy until none of them is open.

    Args:
        query: The query.
        points_MD: Embeddings of the pixels in `among`; overwritten.
        among: Indices into `query.free`.
    """
    mean = points_MD.mean(axis=0)  # shorter vectors make the rounding error of distances smaller
    points_MD -= mean
    nearest = nearest_squared(points_MD, query.of_labelled("embeddings_ND") - mean)
    norms = squared_norms(points_MD)
    while (open_ := query.open_M[among]).any():
        chosen = best(nearest, open_, query.rng)
        yield int(among[chosen])
        distances = norms + norms[chosen] - 2 * (points_MD @ points_MD[chosen])
        np.minimum(nearest, np.maximum(distances, 0), out=nearest)


@batch("badge", "embeddings_ND", "probabilities_NC")
def badge(query: Query) -> Picks:
    """Batch active learning by diverse gradient embeddings (Ash et al. 2020).

    The gradient embedding of a pixel is g = (p - onehot(argmax p)) x h, the loss gradient of the last layer's weights
    if the prediction were right. The longest g comes first, then k-means++: the next pixel is drawn with a probability
    proportional to the squared distance of its g to the nearest g of a picked pixel. The C * D outer products are never
    formed:
    |g_i - g_j|^2 = |a_i|^2 |h_i|^2 + |a_j|^2 |h_j|^2 - 2 (a_i . a_j) (h_i . h_j), where a = p - onehot.
    """
    embeddings, residuals = query.of_free("embeddings_ND"), residuals_MC(query.of_free("probabilities_NC"))
    norms = squared_norms(embeddings) * (residuals**2).sum(axis=1)
    chosen, nearest = best(norms, query.open_M, query.rng), np.full(len(norms), np.inf)
    while True:
        yield chosen
        products = (embeddings @ embeddings[chosen]) * (residuals @ residuals[chosen])
        np.minimum(nearest, np.maximum(norms + norms[chosen] - 2 * products, 0), out=nearest)
        nearest[chosen] = 0
        chosen = drawn(np.where(query.open_M, nearest, 0), query)


def residuals_MC(probabilities_MC: Floats) -> Scores:
    """Return the probabilities minus onehot(argmax), (M, C)."""
    residuals = probabilities_MC.astype(np.float64)
    residuals[np.arange(len(residuals)), residuals.argmax(axis=1)] -= 1
    return residuals


def drawn(weights_M: Scores, query: Query) -> int:
    """Draw an index with a probability proportional to its weight; if all weights are 0, any open index."""
    sums = np.cumsum(weights_M)
    if sums[-1] == 0:
        return int(query.rng.choice(np.flatnonzero(query.open_M)))
    last = np.flatnonzero(weights_M)[-1]  # rounding may put the draw past the last weight
    return int(min(np.searchsorted(sums, query.rng.random() * sums[-1], side="right"), last))
