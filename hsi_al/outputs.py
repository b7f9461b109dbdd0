"""Predictions of a learner, in the form that learners, metrics and acquisition functions share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Called with the current activity ("epoch 3/40") and the completed fraction of the fit or prediction, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outputs:
    """Predictions for N pixels; an array that was not requested is None.

    Attributes:
        predicted_class: Class indices, (N,); all accuracies are computed from this array.
        probabilities_NC: Class probabilities, (N, C).
        predicted_loss_N: Output of the loss prediction module, (N,).
        embeddings_ND: Features before the classifier, (N, D).
        mc_probabilities_NKC: Class probabilities under K dropout masks, the same for all pixels, (N, K, C).
    """

    predicted_class: NDArray[np.int64]
    probabilities_NC: Floats | None = None
    predicted_loss_N: Floats | None = None
    embeddings_ND: Floats | None = None
    mc_probabilities_NKC: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> "Outputs":
        """Concatenate one or more parts along the pixels."""
        if len(parts) == 1:
            return parts[0]
        names = [f.name for f in fields(cls) if getattr(parts[0], f.name) is not None]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def frozen(self) -> "Outputs":
        """Return the outputs as arrays that can't be written to."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return Outputs(**{name: read_only(value) for name, value in chosen.items() if value is not None})

    def at(self, positions: NDArray[np.int64]) -> "Outputs":
        """Return the outputs of the pixels at `positions` (M,)."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return Outputs(**{name: value[positions] for name, value in chosen.items() if value is not None})


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that can't be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
