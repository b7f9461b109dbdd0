"""Which pixels a person can probably tell: those that look like answered ones, not like those of "can't tell".

A scene holds much that is none of a person's classes, and there a model is least sure. Asked by the acquisition
function alone, a person says "can't tell" again and again.
"""

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Scores
from hsi_al.acquisition.ranking import highest
from hsi_al.methods.base import HasFeatures, Learner

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
LEAST = 5  # answers of either kind before anything is learnt from them
LOOKED_AT = 5000  # candidates with the highest scores
TREES = 100


def untellable(
    learner: Learner, candidates: Ids, open_: Mask, scores: Scores | None, told: Ids, untold: Ids, seed: int
) -> Mask:
    """Return which candidates a person probably can't tell, (N,), among those with the highest scores.

    Extremely randomised trees on the learner's features tell answered pixels from those of "can't tell", both kinds
    weighted alike. Without features, scores or enough answers of both kinds no candidate is ruled out.

    Args:
        learner: The session's learner.
        candidates: Pixel ids, (N,).
        open_: Candidates that may be asked, (N,).
        scores: How much each is wanted, (N,); None = the acquisition function has no scores.
        told: Pixel ids with a class, (n,).
        untold: Pixel ids of "can't tell", (m,).
        seed: Seed of the trees.
    """
    hopeless, places = np.zeros(len(candidates), bool), np.flatnonzero(open_)
    if scores is None or min(len(told), len(untold)) < LEAST or not len(places) or not isinstance(learner, HasFeatures):
        return hopeless
    wanted = places[highest(scores[places], np.arange(len(places)), min(LOOKED_AT, len(places)))]
    known = np.concatenate([told, untold])
    features = learner.unlabelled_features(np.concatenate([known, candidates[wanted]]))
    if features is None:
        return hopeless
    from sklearn.ensemble import ExtraTreesClassifier

    trees = ExtraTreesClassifier(TREES, class_weight="balanced", random_state=seed % 2**32, n_jobs=1)
    trees.fit(features[: len(known)], np.repeat([0, 1], [len(told), len(untold)]))
    hopeless[wanted] = trees.predict_proba(features[len(known) :])[:, 1] > 0.5
    return hopeless
