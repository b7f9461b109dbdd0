"""Scores of the uncertainty of a classifier about a pixel (Settles 2009, section 3.1); higher = more wanted.

Axes: N pixels, C classes. All scores are computed in float64, so that near-certain pixels still differ.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from hsi_al.acquisition.registry import score

Scores = NDArray[np.float64]
TIE_BREAK = 2.0**-40  # far below the spacing of probabilities in float32


@score("loss_prediction")
def predicted_loss_N(predicted_loss_N: NDArray[np.floating]) -> Scores:
    """Loss predicted by the loss prediction module (Yoo & Kweon 2019), (N,)."""
    return predicted_loss_N.astype(np.float64)


@score("entropy")
def entropy_N(probabilities_NC: NDArray[np.floating]) -> Scores:
    """Shannon entropy in nats, with 0 ln 0 = 0, (N,)."""
    return np.asarray(entr(probabilities_NC.astype(np.float64)).sum(axis=1), dtype=np.float64)


@score("least_confidence")
def least_confidence_N(probabilities_NC: NDArray[np.floating]) -> Scores:
    """One minus the highest probability, (N,).

    float32 rounds the highest probability, to 1 for near-certain pixels. Pixels whose highest probabilities are equal
    are ranked by the sum of the others, times `TIE_BREAK`: too little to change the order of different ones.
    """
    probabilities = probabilities_NC.astype(np.float64)
    top: Scores = probabilities.max(axis=1)
    probabilities[np.arange(len(top)), probabilities.argmax(axis=1)] = 0
    others: Scores = probabilities.sum(axis=1)
    return 1.0 - top + TIE_BREAK * others


@score("margin", "breaking_ties")
def negative_margin_N(probabilities_NC: NDArray[np.floating]) -> Scores:
    """Negative difference of the two highest probabilities (breaking ties, Luo et al. 2005), (N,)."""
    top = np.partition(probabilities_NC.astype(np.float64), -2, axis=1)[:, -2:]
    return top[:, 0] - top[:, 1]


@score("modified_breaking_ties")
def second_probability_N(probabilities_NC: NDArray[np.floating]) -> Scores:
    """The second highest probability, (N,).

    With equally many pixels of every predicted class (`acquisition.class_balance`), this is modified breaking ties
    (Li, Bioucas-Dias & Plaza, IEEE TGRS 2011 and 2013): argmax over pixels of max over k != k+ of p(k), where k+ is the
    most probable class, ceil(n / C) pixels of each k+.
    """
    second: Scores = np.partition(probabilities_NC.astype(np.float64), -2, axis=1)[:, -2]
    return second
