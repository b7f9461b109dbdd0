"""Pixels that a person can't tell are asked less."""

from typing import Any

import numpy as np

from hsi_al.label.telling import LEAST, untellable
from hsi_al.methods.base import Learner

RNG = np.random.default_rng(0)
KIND = np.repeat([0, 1, 2], 200)  # two classes and ground that is neither
FEATURES = (KIND[:, None] * 5 + RNG.normal(size=(600, 4))).astype(np.float32)
EVERY = np.arange(600)
TOLD, UNTOLD = np.arange(0, 400, 40), np.arange(400, 600, 40)


class Known:
    """A learner with these features."""

    def unlabelled_features(self, pixel_ids: np.ndarray) -> Any:
        return FEATURES[pixel_ids]


def found(
    learner: object, told: np.ndarray = TOLD, untold: np.ndarray = UNTOLD, scores: np.ndarray | None = None
) -> np.ndarray:
    scores = RNG.random(600) if scores is None else scores
    free = ~np.isin(EVERY, [*told, *untold])
    learner_: Learner = learner  # type: ignore[assignment]
    return untellable(learner_, EVERY, free, scores, told, untold, 2**63 - 1)  # the largest seed of a session


def test_ground_like_what_could_not_be_told_is_ruled_out() -> None:
    hopeless = found(Known())
    free = ~np.isin(EVERY, [*TOLD, *UNTOLD])
    assert hopeless[free & (KIND == 2)].mean() > 0.95 and hopeless[free & (KIND < 2)].mean() < 0.05
    assert not hopeless[~free].any()
    assert np.array_equal(found(Known(), scores=np.arange(600.0)), found(Known(), scores=np.arange(600.0)))


def test_too_little_is_known() -> None:
    assert len(UNTOLD) == LEAST
    assert not found(Known(), untold=UNTOLD[1:]).any() and not found(Known(), told=TOLD[:4]).any()
    assert not found(object()).any()
    assert not untellable(Known(), EVERY, np.ones(600, bool), None, TOLD, UNTOLD, 0).any()  # type: ignore[arg-type]
    assert not untellable(Known(), EVERY, np.zeros(600, bool), RNG.random(600), TOLD, UNTOLD, 0).any()  # type: ignore[arg-type]


def test_features_that_depend_on_labels() -> None:
    class Unknown(Known):
        def unlabelled_features(self, pixel_ids: np.ndarray) -> Any:
            return None

    assert not found(Unknown()).any()
