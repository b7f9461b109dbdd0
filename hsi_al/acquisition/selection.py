"""From a function that picks to a query: random subset -> function -> distance and class balance."""

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
    """An acquisition function with what is asked of every query.

    Attributes:
        name: Its name in configuration.
        needs: Fields of `Outputs` that it reads.
        picks: The function.
        subset: Let it see only so many randomly drawn unlabelled candidates, against near-duplicates (Yoo & Kweon
            2019); None = all of them, as in the paper.
        min_distance: Between two pixels of a query, see `Limits`.
        class_balance: As many of every predicted class where there are.
    """

    name: str
    needs: frozenset[str]
    picks: Callable[[Query], Picks]
    subset: int | None = None
    min_distance: int = 1
    class_balance: bool = False

    def select(self, view: PoolView, n: int, rng: np.random.Generator) -> Positions:
        """Positions of n unlabelled candidates, most wanted first, (n,).

        The same pixels whatever the order of the pool and the number of threads.

        Raises:
            PoolExhaustedError: Fewer than n candidates are unlabelled.
            AcquisitionError: What it needs holds NaN or infinite values.
        """
        free = in_scene_order(view, unlabelled_positions(view, n))
        self._check_finite(view)
        if self.subset is not None:
            free = rng.permutation(free)[: max(n, self.subset)]
        classes = view.outputs.predicted_class[free] if self.class_balance else None
        limits = Limits(view.row[free], view.column[free], n, self.min_distance, classes)
        labelled = in_scene_order(view, np.flatnonzero(view.is_labelled))
        with thread_pools().limit(limits=1):  # sums of several threads depend on their number
            picks = self.picks(Query(view, free, labelled, n, rng, limits.open_M))
            while len(limits.picks) < n:
                limits.take(next(picks))
        return free[limits.picks]

    def _check_finite(self, view: PoolView) -> None:
        for name in sorted(self.needs) if view.scores is None else ():
            values = getattr(view.outputs, name)
            if not (np.isfinite(values.min()) and np.isfinite(values.max())):
                raise AcquisitionError(
                    f"acquisition={self.name} can't choose: {name} holds NaN or infinite values, so the training has "
                    "diverged; lower protocol.lr, or take trainer.precision=32-true."
                )


def scores_of(acquisition: Acquisition, outputs: Outputs) -> Scores | None:
    """Scores of some pixels, (N,), where one number says all that the function wants to know of a pixel; else None.

    They are made as the pixels are predicted, so that nobody holds N x C probabilities of a large scene.
    """
    picks = getattr(acquisition, "picks", None)
    function = picks.func if isinstance(picks, partial) else picks
    return function.of(outputs) if isinstance(function, ByScore) else None


@cache
def thread_pools() -> ThreadpoolController:
    """Those of the libraries that are loaded; finding them takes 10 ms."""
    return ThreadpoolController()


def in_scene_order(view: PoolView, positions: Positions) -> Positions:
    """Positions by row and column, so that the order of the pool doesn't matter."""
    row, column = view.row[positions], view.column[positions]
    if ((np.diff(row) > 0) | ((np.diff(row) == 0) & (np.diff(column) > 0))).all():
        return positions
    return positions[np.lexsort((column, row))]
