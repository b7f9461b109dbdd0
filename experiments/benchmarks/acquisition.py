"""Time of core-set and BADGE queries against plain NumPy versions that select the same pixels of the same pool."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from experiments.benchmarks.measure import Row, medians
from hsi_al.acquisition.base import PoolView
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.outputs import Outputs

Floats = NDArray[np.floating]
Ids = NDArray[np.int64]


def explicit_core_set(view: PoolView, n: int, rng: np.random.Generator) -> Ids:
    """Select n pixels by k-centre greedy, with distances to one centre after another in float64."""
    assert view.outputs.embeddings_ND is not None
    points, picked = view.outputs.embeddings_ND.astype(np.float64), list[int]()
    nearest = np.full(len(points), np.inf)
    for centre in np.flatnonzero(view.is_labelled).tolist():
        nearest = np.minimum(nearest, ((points - points[centre]) ** 2).sum(axis=1))
    while len(picked) < n:
        picked.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[picked[-1]]) ** 2).sum(axis=1))
    return np.array(picked)


def explicit_badge(view: PoolView, n: int, rng: np.random.Generator) -> Ids:
    """Select n pixels by k-means++ on float32 gradient vectors, which need C times the memory of the embeddings.

    A gradient vector is the outer product of a pixel's embedding and its C residuals.
    """
    outputs, free = view.outputs, np.flatnonzero(~view.is_labelled)
    assert outputs.embeddings_ND is not None and outputs.probabilities_NC is not None
    residuals = outputs.probabilities_NC[free]
    residuals[np.arange(len(free)), residuals.argmax(axis=1)] -= 1
    vectors = (residuals[:, :, None] * outputs.embeddings_ND[free][:, None]).reshape(len(free), -1)
    picked = [int((vectors**2).sum(axis=1).argmax())]
    nearest = np.full(len(free), np.inf)
    while len(picked) < n:
        nearest = np.minimum(nearest, ((vectors - vectors[picked[-1]]) ** 2).sum(axis=1))
        sums = np.cumsum(nearest)
        picked.append(int(np.searchsorted(sums, rng.random() * sums[-1], side="right")))
    return free[picked]


def pool(n: int, size: int, n_labelled: int, n_classes: int) -> PoolView:
    """Return a synthetic pool of n pixels: embeddings of `size` features around one centre per class, cut off at 0."""
    rng = np.random.default_rng(0)
    classes, centres = rng.integers(n_classes, size=n), rng.normal(size=(n_classes, size))
    embeddings = np.maximum(centres[classes] + rng.normal(size=(n, size)), 0).astype(np.float32)
    logits = rng.normal(size=(n, n_classes)) + 2 * np.eye(n_classes)[classes]
    is_labelled = rng.permutation(n) < n_labelled
    outputs = Outputs(classes, softmax(logits, axis=1).astype(np.float32), embeddings_ND=embeddings)
    return PoolView(outputs, is_labelled, np.where(is_labelled, classes, -1), np.arange(n) // 217, np.arange(n) % 217)


def measure(
    core_set: tuple[int, int, int] = (54129, 1024, 160),
    badge: tuple[int, int, int] = (10000, 512, 160),
    n: int = 40,
    n_classes: int = 16,
    repeats: int = 1,
) -> list[Row]:
    """Measure seconds per query of n pixels; pools are given as (pixels, features, labelled pixels).

    The pool of core-set has the size of Salinas and DenseNet-121. There the outer products of the BADGE reference would
    take 3.5 GB, so its pool is smaller.
    """
    references = {"core_set": explicit_core_set, "badge": explicit_badge}
    rows = []
    for name, (pixels, size, labelled) in {"core_set": core_set, "badge": badge}.items():
        view = pool(pixels, size, labelled, n_classes)
        reference = partial(references[name], view, n)
        ours = partial(build_acquisition(name).select, view, n)
        if not np.array_equal(reference(np.random.default_rng(0)), ours(np.random.default_rng(0))):
            raise RuntimeError(f"Both ways must select the same pixels ({name}).")
        theirs, mine = medians(
            lambda reference=reference: reference(np.random.default_rng(0)),  # type: ignore[misc]
            lambda ours=ours: ours(np.random.default_rng(0)),  # type: ignore[misc]
            repeats,
        )
        what = f"{name}, {n} of {pixels:,} pixels, {size} features, {n_classes} classes"
        rows.append(Row(what, f"plain NumPy {theirs:.2f} s", f"{mine:.2f} s", theirs / mine, ">= 5"))
    return rows
