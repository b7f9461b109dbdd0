"""Rules that stop a run before its last round, by the rows of curve.csv so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsi_al.accuracy import cohen_kappa, confusion_matrix

Ids = NDArray[np.int64]
STABLE_ROUNDS = 3  # Bloodgood & Vijay-Shanker 2009


@dataclass(frozen=True)
class Stopping:
    """The stopping rules of a run; without any, it plays all its rounds.

    A decision depends only on the rows, so a run that was killed and continued stops at the same round.

    Attributes:
        accuracy: Stop once the OA over the test pixels reaches this fraction. Their labels then decide how long a run
            lasts, so the accuracy at its end is optimistic.
        agreement: Stop once Cohen's kappa between the predictions of successive rounds on the unlabelled pool exceeded
            this in `STABLE_ROUNDS` rounds in a row (after M. Bloodgood, K. Vijay-Shanker, "A Method for Stopping Active
            Learning Based on Stabilizing Predictions and the Need for User-Adjustable Stopping", CoNLL 2009, where the
            mean of the rounds has to exceed it, on pixels that stay the same). No labels are used.
    """

    accuracy: float | None = None
    agreement: float | None = None

    def describe(self) -> list[str]:
        """Describe the rules, a sentence each."""
        lines = []
        if self.accuracy is not None:
            lines.append(
                f"Stops at a held-out OA of {100 * self.accuracy:g} %: test labels then decide when to stop, so the "
                "accuracy at the end is optimistic."
            )
        if self.agreement is not None:
            lines.append(f"Stops once predictions are stable: kappa above {self.agreement} {STABLE_ROUNDS} times.")
        return lines

    def reason(self, rows: Sequence[Mapping[str, float]]) -> str | None:
        """Return why the run stops after these rounds, as a part of a sentence; None if it goes on.

        Args:
            rows: Rows of curve.csv, see `RoundRecord.row`.
        """
        reached = rows[-1]["oa_heldout"] if rows else float("nan")
        if self.accuracy is not None and reached >= self.accuracy:
            return (
                f"held-out OA {100 * reached:.2f} % has reached protocol.stop_at={self.accuracy}; since it decided "
                "when to stop, it is optimistic"
            )
        agreements = [row["agreement"] for row in rows[-STABLE_ROUNDS:] if "agreement" in row]
        stable = [value for value in agreements if self.agreement is not None and value > self.agreement]
        if len(stable) == STABLE_ROUNDS:
            return (
                f"the predictions of successive rounds on the unlabelled pool agreed with kappa {min(stable):.4f} or "
                f"more in {STABLE_ROUNDS} rounds, above protocol.stop_when_stable={self.agreement}"
            )
        return None


def agreement_of(before: Ids | None, after: Ids, n_classes: int) -> float:
    """Return Cohen's kappa between two predictions (N,) of the same pixels.

    It is 1 for equal predictions, even if all pixels have one class, where kappa is undefined; nan if `before` is None
    or there are no pixels.
    """
    if before is None or not len(after):
        return float("nan")
    if np.array_equal(before, after):
        return 1.0
    return cohen_kappa(confusion_matrix(before, after, n_classes))
