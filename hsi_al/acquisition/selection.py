"""Selection of a query: a random subset of the candidates, the acquisition function, distance and class balance."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from threadpoolctl import ThreadpoolController

from hsi_al.acquisition.base import Acquisition, Picks, PoolView, Positions, Query, Scores, unlabelled_positions
from hsi_al.acquisition.limits import Limits
from hsi_al.acquisition.ranking import ByScore
from hsi_al.errors import AcquisitionError
from hsi_al.outputs import Outputs


@dataclass(frozen=True)
class Selection:
    """An acquisition function together with the options that apply to any such function.

    Attributes:
        name: Name of the acquisition function in the configuration.
        needs: Fields of `Outputs` that it reads.
        picks: Function that picks the pixels one after another.
        subset: Number of randomly drawn unlabelled candidates that the function may pick from, against near-duplicates
            (Yoo & Kweon 2019); None = all of them, as in the paper.
        min_distance: Smallest distance between two pixels of a query, in pixels, see `Limits`.
        class_balance: Whether to pick equally many pixels of every predicted class, as far as possible.
    """

    name: str
    needs: frozenset[str]
    picks: Callable[[Query], Picks]
    subset: int | None = None
    min_distance: int = 1
    class_balance: bool = False

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Return the positions in the pool of n unlabelled candidates, most wanted first, (n,).

        The selected pixels depend neither on the order of the pool nor on the number of threads.

        Raises:
            PoolExhaustedError: Fewer than n candidates are unlabelled.
            AcquisitionError: An output that the function needs holds NaN or infinite values.
        """
        free = in_scene_order(view, unlabelled_positions(view, n))
        self._check_finite(view)
        if self.subset is not None:
            free = rng.permutation(free)[: max(n, self.subset)]
        classes = view.outputs.predicted_class[free] if self.class_balance else None
        limits = Limits(view.row[free], view.column[free], n, self.min_distance, classes)
        labelled = in_scene_order(view, np.flatnonzero(view.is_labelled))
        with thread_pools().limit(limits=1):  # the rounding of sums depends on the number of threads
            picks = self.picks(Query(view, free, labelled, n, rng, limits.open_M))
            while len(limits.picks) < n:
                limits.take(next(picks))
        return free[limits.picks]

    def _check_finite(self, view: PoolView) -> None:
        for name in sorted(self.needs) if view.scores is None else ():
            values = getattr(view.outputs, name)
            if not (np.isfinite(values.min()) and np.isfinite(values.max())):
                raise AcquisitionError(
                    f"acquisition={self.name} can't choose: {name} holds NaN or infinite values, but a learner has to "
                    "give finite ones; take another learner."
                )


def scores_of(acquisition: Acquisition, outputs: Outputs) -> Scores | None:
    """Return the scores of the pixels of these outputs, (N,); None if the acquisition function does not rank by score.

    Called on parts of the outputs during prediction, so that the N x C probabilities of a large scene are never held.
    """
    picks = getattr(acquisition, "picks", None)
    function = picks.func if isinstance(picks, partial) else picks
    return function.of(outputs) if isinstance(function, ByScore) else None


@cache
def thread_pools() -> ThreadpoolController:
    """Return the thread pools of the loaded libraries; cached, because finding them takes 10 ms."""
    return ThreadpoolController()


def in_scene_order(view: PoolView, positions: Positions) -> Positions:
    """Return the positions sorted by row and column, so that the order of the pool doesn't matter."""
    row, column = view.row[positions], view.column[positions]
    if ((np.diff(row) > 0) | ((np.diff(row) == 0) & (np.diff(column) > 0))).all():
        return positions
    return positions[np.lexsort((column, row))]
