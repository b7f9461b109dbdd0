"""The map of a whole scene from the learner of a run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.parts import Parts
from hsi_al.methods.base import predicted_map
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]


def class_indices(
    parts: Parts[Any], predicted: Ids | None, uncertainty: NDArray[np.float32] | None = None
) -> NDArray[np.unsignedinteger[Any]]:
    """Predict the class index of every pixel of a run's scene, (H, W).

    Args:
        parts: The parts of the run, with a fitted learner.
        predicted: Class indices that the learner has predicted for `split.scored_ids` already; None = none.
        uncertainty: As for `predicted_map`.
    """
    scene, none = parts.scene, np.empty(0, np.int64)
    known = (none, none) if predicted is None else (parts.split.scored_ids, predicted)
    classes = predicted_map(parts.learner, scene.height * scene.width, scene.n_classes, *known, uncertainty)
    return classes.reshape(scene.height, scene.width)


def label_map(scene: Scene, classes: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Turn class indices (H, W) into label values; pixels without data get 0."""
    values = scene.label_values.astype(scene.ground_truth.dtype)[classes]
    if scene.no_data is not None:
        values[scene.no_data] = 0
    found: NDArray[np.unsignedinteger[Any]] = values
    return found
