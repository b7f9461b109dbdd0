"""Random queries, the baseline of every acquisition function."""

import numpy as np

from hsi_al.acquisition.base import Picks, Query
from hsi_al.acquisition.ranking import in_order
from hsi_al.acquisition.registry import batch


@batch("random")
def random(query: Query) -> Picks:
    """Draw pixels uniformly, without replacement."""
    everything = len(query.free)
    drawn = query.rng.choice(everything, query.n, replace=False)
    rest = np.setdiff1d(np.arange(everything), drawn)
    yield from in_order(np.concatenate([drawn, query.rng.permutation(rest)]), query)
