"""The acquisition functions by name."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition, NoAcquisition, RandomAcquisition, ScoreAcquisition
from hsi_al.acquisition.uncertainty import entropy_N, least_confidence_N, negative_margin_N
from hsi_al.errors import ConfigurationError
from hsi_al.outputs import Outputs

# name -> (field of Outputs that the score reads, score of that field)
SCORES: dict[str, tuple[str, Callable[[NDArray[np.floating]], NDArray[np.float64]]]] = {
    "loss_prediction": ("predicted_loss_N", lambda predicted_loss_N: predicted_loss_N.astype(np.float64)),
    "entropy": ("probabilities_NC", entropy_N),
    "least_confidence": ("probabilities_NC", least_confidence_N),
    "margin": ("probabilities_NC", negative_margin_N),
}
ACQUISITIONS = (*SCORES, "random", "none")


def build_acquisition(name: str, subset: int | None = None) -> Acquisition:
    """Build an acquisition function.

    Args:
        name: One of `ACQUISITIONS`.
        subset: See `ScoreAcquisition`; the others ignore it.

    Raises:
        ConfigurationError: Unknown name.
    """
    if name == "random":
        return RandomAcquisition()
    if name == "none":
        return NoAcquisition()
    if name not in SCORES:
        raise ConfigurationError(f"There is no acquisition {name!r}; there are {', '.join(ACQUISITIONS)}.")
    field, score = SCORES[name]

    def score_outputs(outputs: Outputs) -> NDArray[np.float64]:
        return score(getattr(outputs, field))

    return ScoreAcquisition(name, frozenset({field}), score_outputs, subset)
