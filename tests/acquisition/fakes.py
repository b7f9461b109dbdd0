"""A pool of embeddings, and a query from it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.acquisition.base import PoolView, Query
from hsi_al.outputs import Outputs


def pool_of(n_labelled: int, labels: NDArray[np.int64] | None = None, **arrays: NDArray[Any]) -> PoolView:
    """The first pixels are labelled, all lie in one row."""
    n = len(next(iter(arrays.values())))
    is_labelled = np.arange(n) < n_labelled
    known = np.where(is_labelled, np.arange(n) % 2, -1) if labels is None else labels
    return PoolView(Outputs(np.zeros(n, np.int64), **arrays), is_labelled, known, np.zeros(n, np.int64), np.arange(n))


def query_of(view: PoolView, n: int = 1, seed: int = 0) -> Query:
    free = np.flatnonzero(~view.is_labelled)
    labelled = np.flatnonzero(view.is_labelled)
    return Query(view, free, labelled, n, np.random.default_rng(seed), np.ones(len(free), bool))


def gaussian_embeddings(n: int, size: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)
