"""How a query comes from a model: what is kept of its outputs, and which candidates the acquisition function sees.

The batch loop and a labelling session (`hsi_al.label.session`) ask through the same two functions.
"""

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import Acquisition, PoolView, Positions, Scores
from hsi_al.acquisition.selection import scores_of
from hsi_al.errors import AcquisitionError
from hsi_al.outputs import Outputs, read_only

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def kept_of(acquisition: Acquisition, outputs: Outputs) -> tuple[Outputs, Scores | None]:
    """Return what a query needs of the outputs of some pixels: classes and scores where scores are ranked, else all."""
    scores = scores_of(acquisition, outputs.frozen())
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
        AcquisitionError: An output that the function needs holds NaN or infinite values, or it selects anything
            else than n unlabelled candidates.
    """
    if shown is not None:
        places = np.flatnonzero(shown)
        candidates, labels, outputs = candidates[places], labels[places], outputs.at(places)
        scores = None if scores is None else scores[places]
    view = PoolView(
        outputs.frozen(),
        read_only(labels >= 0),
        read_only(labels),
        read_only(candidates // width),
        read_only(candidates % width),
        None if scores is None else read_only(scores),
    )
    return candidates[checked(acquisition.select(view, n, rng), view, n, acquisition.name)]


def checked(positions: Positions, view: PoolView, n: int, name: str) -> Positions:
    """Return the positions that an acquisition function has selected, (n,).

    Raises:
        AcquisitionError: They are no n different unlabelled candidates.
    """
    found = np.asarray(positions)
    free = found.shape == (n,) and found.dtype.kind in "iu" and ((found >= 0) & (found < len(view.labels))).all()
    if not free or len(np.unique(found)) < n or view.is_labelled[found].any():
        raise AcquisitionError(
            f"{name} selected {np.array2string(found.ravel(), threshold=8)} (shape {found.shape}, {found.dtype}); it "
            f"must give {n} different positions of unlabelled candidates, whole numbers from 0 to "
            f"{len(view.labels) - 1}."
        )
    return found
