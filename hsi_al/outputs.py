"""What a learner says about pixels: the one exchange form between learners, metrics and acquisition functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Told what is being done ("epoch 3/40") and which part of the current fit or prediction is done, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outputs:
    """Arrays over N pixels; an array that nobody needs is None.

    Attributes:
        predicted_class: Class indices, (N,). Accuracy comes from it alone.
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
        """The same arrays over the pixels of all parts, one at least."""
        if len(parts) == 1:
            return parts[0]
        names = [f.name for f in fields(cls) if getattr(parts[0], f.name) is not None]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def at(self, positions: NDArray[np.int64]) -> "Outputs":
        """The same arrays at some positions."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return Outputs(**{name: value[positions] for name, value in chosen.items() if value is not None})
