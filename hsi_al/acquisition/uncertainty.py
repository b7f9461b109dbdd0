"""Scores of the uncertainty of a classifier about a pixel (Settles 2009, section 3.1); higher = more wanted.

Axes: N pixels, C classes. All scores are computed in float64, so that near-certain pixels still differ, except in
`least_confidence_N`: there the highest probability itself is already rounded to 1 in float32.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from hsi_al.acquisition.registry import score

Scores = NDArray[np.float64]


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
    """One minus the highest probability, (N,)."""
    top: Scores = probabilities_NC.astype(np.float64).max(axis=1)
    return 1.0 - top


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
