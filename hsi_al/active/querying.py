"""How a query comes from a model: what is kept of its outputs, and which candidates the acquisition function sees.

The batch loop and a labelling session (`hsi_al.label.session`) ask through the same two functions.
"""

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition, PoolView, Scores
from hsi_al.acquisition.selection import scores_of
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def kept_of(acquisition: Acquisition, outputs: Outputs) -> tuple[Outputs, Scores | None]:
    """Return what a query needs of the outputs of some pixels: classes and scores where scores are ranked, else all."""
    scores = scores_of(acquisition, outputs)
    return (outputs, None) if scores is None else (Outputs(outputs.predicted_class), scores)


def chosen(
    acquisition: Acquisition,
    candidates: Ids,
    labels: Ids,
    shown: Mask | None,
    outputs: Outputs,
    scores: Scores | None,
    width: int,
    n: int,
    rng: np.random.Generator,
) -> Ids:
    """Let an acquisition function choose n candidates, most wanted first, and return their pixel ids, (n,).

    Args:
        acquisition: The function.
        candidates: Pixel ids, (N,).
        labels: Class index of every candidate, -1 = unlabelled, (N,).
        shown: Candidates that may be asked, and labelled ones, (N,); the function doesn't see the others. None = all.
        outputs: Outputs of the candidates.
        scores: Their scores, as `kept_of` gave them, (N,).
        width: Columns of the scene.
        n: Number of pixels, at most as many as are shown and unlabelled.
        rng: Source of the function's draws.

    Raises:
        PoolExhaustedError: Fewer than n can be asked.
        AcquisitionError: An output that the function needs holds NaN or infinite values.
    """
    if shown is not None:
        places = np.flatnonzero(shown)
        candidates, labels, outputs = candidates[places], labels[places], outputs.at(places)
        scores = None if scores is None else scores[places]
    view = PoolView(outputs, labels >= 0, labels, candidates // width, candidates % width, scores)
    return candidates[acquisition.select(view, n, rng)]
