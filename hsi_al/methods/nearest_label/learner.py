"""The class of the nearest labelled pixel: how much of an accuracy is due to places alone.

Split at random, the test pixels of a scene lie beside labelled ones. What a method reaches beyond this learner, with
the same labels, it has learnt from spectra.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hsi_al.methods.base import RefittedLearner
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]


class NearestLabelLearner(RefittedLearner):
    """Predicts the class of the labelled pixel at the smallest Euclidean distance over rows and columns.

    Of several at the same distance the one with the lowest pixel id decides. The embedding of a pixel is its row and
    column.

    Args:
        width: Columns of the scene.
    """

    provides = frozenset({"embeddings_ND"})

    def __init__(self, width: int) -> None:
        self.width = width

    def describe(self) -> str:
        """Return what is predicted."""
        return "class of the nearest labelled pixel, without spectra (null model)"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the number of searches, as text."""
        return f"{n_predicted:,} nearest of up to {n_labelled:,} labels a round"

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Keep the places of the labelled pixel ids (n,) and their class indices (n,)."""
        order = np.argsort(pixel_ids)
        self.labels = labels[order]
        # Squared distances between pixels are whole numbers. A third coordinate adds less than 1/2 to them, the less
        # the lower the id, so that no two labelled pixels are equally far.
        ranks = np.sqrt(np.arange(len(order)) / (2 * len(order)))
        self.tree = cKDTree(np.column_stack([self.places(pixel_ids[order]), ranks]))

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict the class of the nearest labelled pixel; embeddings are rows and columns, (n, 2)."""
        places = self.places(pixel_ids)
        _, nearest = self.tree.query(np.column_stack([places, np.zeros(len(places))]))
        return Outputs(self.labels[nearest], embeddings_ND=places.astype(np.float32))

    def places(self, pixel_ids: Ids) -> NDArray[np.float64]:
        """Return row and column of pixel ids (n,), (n, 2)."""
        return np.column_stack(np.divmod(pixel_ids, self.width)).astype(np.float64)
