"""A cheap learner asks, the run's own learns: selection via proxy."""

from collections.abc import Iterator
from dataclasses import dataclass

from hsi_al.methods.base import Learner

STEP = 10  # the paper's query


@dataclass(frozen=True)
class Asker:
    """The learner whose outputs decide what is asked, in place of those of the learner that a run is about.

    C. Coleman et al., "Selection via Proxy: Efficient Data Selection for Deep Learning", ICLR 2020. A round of the run
    stays a training of its own learner; between two of them the asker fills the query in steps, fitted again before
    each of them on all labels so far. Rounds and accuracies of the run's files are therefore never the asker's.

    Attributes:
        learner: Fitted from fresh for every step, so that a run continues without its state.
        step: Labels asked at once.
    """

    learner: Learner
    step: int = STEP

    def steps(self, query_size: int) -> int:
        """Return the number of steps, each with a fit, that a query takes."""
        return -(-query_size // self.step)

    def sizes(self, query_size: int) -> Iterator[int]:
        """Yield the labels of each step of a query: `step`, and of the last one what is left."""
        for begun in range(0, query_size, self.step):
            yield min(self.step, query_size - begun)
