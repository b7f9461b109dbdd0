"""The committed rounds of a run, held in memory."""

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.curve import RoundRecord
from hsi_al.methods.base import Learner
from hsi_al.pool.label_pool import LabelPool

Ids = NDArray[np.int64]


class Records:
    """The rounds that the loop has committed; `RunDirectory` is the one that also writes them.

    Args:
        label_values: Original value of every class index, (C,).

    Attributes:
        rows: Rows of the learning curve, see `RoundRecord.row`.
        confusions: Confusion matrices over all scored and over the held-out pixels, (C, C) each, one pair a round.
        predicted: Class index predicted for every candidate in the latest round, (N,), or None; kept only if a
            stopping rule compares the next round with it.
    """

    def __init__(self, label_values: Ids) -> None:
        self.label_values = label_values
        self.rows: list[dict[str, float]] = []
        self.confusions: list[tuple[Ids, Ids]] = []
        self.predicted: Ids | None = None

    def restore(self, pool: LabelPool) -> int:
        """Put the labels committed so far into an empty pool; return the round to run next, here 0."""
        return 0

    def commit(self, record: RoundRecord, pool: LabelPool, learner: Learner, last: bool) -> None:
        """Add a finished round.

        Args:
            record: Results of the round.
            pool: Candidates and labels, those of the round's query included.
            learner: The learner after the round.
            last: Whether this is the last round of the run.
        """
        self.rows.append(record.row(self.label_values))
        self.confusions.append((record.confusion_all, record.confusion_heldout))
