"""Disagreement of several predictions for a pixel: dropout draws of one network, or a committee of small classifiers.

Axes: N pixels, K predictions (by dropout draws or committee members), C classes, L labelled pixels, M candidates,
D features.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from hsi_al.acquisition.base import Floats, Picks, Query, Scores
from hsi_al.acquisition.ranking import in_order, ranked
from hsi_al.acquisition.registry import batch, score
from hsi_al.acquisition.uncertainty import entropy_N

Ids = NDArray[np.int64]


@score("mean_entropy")
def mean_entropy_N(mc_probabilities_NKC: Floats) -> Scores:
    """Entropy of the mean of the K draws, H(1/K sum_k p_k) in nats (Gal, Islam & Ghahramani 2017), (N,)."""
    return entropy_N(mc_probabilities_NKC.mean(axis=1, dtype=np.float64))


@score("bald")
def mutual_information_N(mc_probabilities_NKC: Floats) -> Scores:
    """BALD (Houlsby et al. 2011; by dropout, Gal et al. 2017): H(1/K sum_k p_k) - 1/K sum_k H(p_k) in nats, (N,)."""
    entropies = entr(mc_probabilities_NKC.astype(np.float64)).sum(axis=2)
    return mean_entropy_N(mc_probabilities_NKC) - np.asarray(entropies.mean(axis=1), dtype=np.float64)


@score("variation_ratio")
def variation_ratio_N(mc_probabilities_NKC: Floats) -> Scores:
    """Share of the draws against the majority class, (N,): 1 - f / K, with f of K draws for the class with most votes.

    Freeman 1965; Gal et al. 2017.
    """
    n_classes = mc_probabilities_NKC.shape[2]
    highest: Scores = vote_shares_NC(mc_probabilities_NKC.argmax(axis=2), n_classes).max(axis=1)
    return 1.0 - highest


def vote_shares_NC(votes_NK: Ids, n_classes: int) -> Scores:
    """Return the share of the K votes that each class gets, (N, C)."""
    shares = [(votes_NK == c).mean(axis=1) for c in range(n_classes)]
    return np.stack(shares, axis=1)


@batch("committee", "embeddings_ND")
def committee(query: Query, draws: int) -> Picks:
    """Query by committee with the entropy of the votes, known in remote sensing as entropy query-by-bagging.

    The committee consists of `draws` logistic regressions on the embeddings of the round, each fitted to L labelled
    pixels drawn with replacement (bagging: Abe & Mamitsuka 1998; entropy of votes: Dagan & Engelson 1995; both: Tuia et
    al., IEEE TGRS 2009): argmax of - sum_c v_c ln v_c, where v_c is the share of the members that vote for class c.
    """
    classes, labels = np.unique(query.view.labels[query.labelled], return_inverse=True)
    known, asked = query.of_labelled("embeddings_ND"), query.of_free("embeddings_ND")
    mean, scale = known.mean(axis=0), known.std(axis=0)
    scale[scale == 0] = 1.0
    known, asked = (known - mean) / scale, (asked - mean) / scale
    votes = [member_votes(known, labels, asked, query.rng) for _ in range(draws)]
    shares = vote_shares_NC(np.stack(votes, axis=1), len(classes))
    return in_order(ranked(entropy_N(shares), query.rng), query)


def member_votes(known_LD: Floats, labels: Ids, asked_MD: Floats, rng: np.random.Generator) -> Ids:
    """Return the classes that a logistic regression, fitted to a bootstrap of the labelled pixels, predicts, (M,)."""
    drawn = rng.integers(len(labels), size=len(labels))
    if len(np.unique(labels[drawn])) == 1:  # one class: nothing to fit
        return np.full(len(asked_MD), labels[drawn[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        member = LogisticRegression(max_iter=200).fit(known_LD[drawn], labels[drawn])
    voted: Ids = member.predict(asked_MD)
    return voted
