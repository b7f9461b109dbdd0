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
    column. Probabilities fall with the distance to the nearest label of each class, so that margin and entropy ask
    where those of two classes are about equally far.

    Args:
        width: Columns of the scene.
        n_classes: Number of classes.
        needs: Optional fields of `Outputs` that `predict` has to fill in.
    """

    provides = frozenset({"probabilities_NC", "embeddings_ND"})

    def __init__(self, width: int, n_classes: int, needs: frozenset[str] = frozenset()) -> None:
        self.width, self.n_classes, self.needs = width, n_classes, needs

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
        self.of_class = {int(value): cKDTree(self.places(pixel_ids[labels == value])) for value in np.unique(labels)}

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict the class of the nearest labelled pixel; embeddings are rows and columns, (n, 2)."""
        places = self.places(pixel_ids)
        _, nearest = self.tree.query(np.column_stack([places, np.zeros(len(places))]))
        probabilities = self.probabilities(places) if "probabilities_NC" in self.needs else None
        return Outputs(self.labels[nearest], probabilities, embeddings_ND=places.astype(np.float32))

    def probabilities(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the reciprocals of the distances to the nearest label of each class, divided by their sum.

        Args:
            places: Rows and columns, (n, 2).

        Returns:
            (n, n_classes), 0 for classes without a label; a labelled pixel's own class has 1.
        """
        closeness = np.zeros((len(places), self.n_classes))
        for value, tree in self.of_class.items():
            closeness[:, value] = 1 / np.maximum(tree.query(places)[0], 1e-9)
        shares: NDArray[np.float32] = (closeness / closeness.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def unlabelled_features(self, pixel_ids: Ids) -> NDArray[np.float32]:
        """Return the embeddings of pixel ids (n,), (n, 2), which need no labels."""
        return self.places(pixel_ids).astype(np.float32)

    def places(self, pixel_ids: Ids) -> NDArray[np.float64]:
        """Return row and column of pixel ids (n,), (n, 2)."""
        return np.column_stack(np.divmod(pixel_ids, self.width)).astype(np.float64)
