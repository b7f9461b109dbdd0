"""The learning curve: one record per round; all accuracies are computed from confusion matrices."""

from dataclasses import dataclass

from hsi_al.accuracy import Counts, accuracies, recalls


@dataclass(frozen=True)
class RoundRecord:
    """The results of one round.

    Attributes:
        round: 0 = initial labels only.
        n_labelled: Number of labels that the learner was trained on.
        confusion_all: Confusion matrix over candidates and test pixels, (C, C).
        confusion_heldout: Confusion matrix over test pixels; for `split=paper` over the candidates not yet labelled,
            (C, C).
        seconds_fit: Wall time of training.
        seconds_predict: Wall time of the prediction that serves both evaluation and acquisition.
        seconds_query: Wall time of selection and labelling.
        agreement: Cohen's kappa between the predictions of this and the previous round on the unlabelled pool, nan in
            round 0; None if no stopping rule needs it.
    """

    round: int
    n_labelled: int
    confusion_all: Counts
    confusion_heldout: Counts
    seconds_fit: float
    seconds_predict: float
    seconds_query: float
    agreement: float | None = None

    def row(self, label_values: Counts) -> dict[str, float]:
        """Return the row of curve.csv: accuracies as fractions, `agreement` if set, seconds, `recall_<label value>`.

        The recalls are those of `confusion_all`.

        Args:
            label_values: Original value of every class index, (C,).
        """
        row: dict[str, float] = {"round": self.round, "n_labelled": self.n_labelled}
        if self.agreement is not None:
            row["agreement"] = self.agreement
        row |= accuracies(self.confusion_all, self.confusion_heldout)
        row |= {f"seconds_{part}": getattr(self, f"seconds_{part}") for part in ("fit", "predict", "query")}
        values = zip(label_values.tolist(), recalls(self.confusion_all).tolist(), strict=True)
        return row | {f"recall_{value}": recall for value, recall in values}
