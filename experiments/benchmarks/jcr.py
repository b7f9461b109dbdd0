"""Time of classification by JCR: bounds that rule out most classes against a solve per pixel and class."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.measure import Row, medians
from hsi_al.methods.jcr.learner import PIXELS, window_means
from hsi_al.methods.jcr.nrs import Subspace, nearest
from hsi_al.pool.initial import draw_initial
from hsi_al.scenes.catalogue import load_catalogue_scene

Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]


def looped(dictionaries: list[Doubles], queries: Doubles, penalty: float, kept_products: bool) -> Ids:
    """Return labels (n,) by one `solve` per pixel and class.

    Args:
        dictionaries: Atoms of each class, (atoms, bands).
        queries: Spectra of the pixels, (n, bands).
        penalty: Weight of the regularisation.
        kept_products: Whether the products of the atoms, X'X, are formed once per class or again for each pixel.
    """
    kept = [dictionary @ dictionary.T for dictionary in dictionaries]
    labels = np.empty(len(queries), np.int64)
    for i, query in enumerate(queries):
        found = []
        for dictionary, gram in zip(dictionaries, kept, strict=True):
            system = gram.copy() if kept_products else dictionary @ dictionary.T
            system.flat[:: len(system) + 1] += penalty * ((dictionary - query) ** 2).sum(1)
            found.append(np.linalg.norm(query - np.linalg.solve(system, dictionary @ query) @ dictionary))
        labels[i] = np.argmin(found)
    return labels


def bracketed(dictionaries: list[Doubles], queries: Doubles, penalty: float) -> Ids:
    """Return labels (n,) by the functions that the learner calls, including the preparation of the dictionaries."""
    classes = [Subspace(dictionary) for dictionary in dictionaries]
    parts = [queries[start : start + PIXELS] for start in range(0, len(queries), PIXELS)]
    return np.concatenate([nearest(classes, pixels, penalty) for pixels in parts])


def measure(
    per_class: int = 200, n_pixels: int = 2_000, window: int = 9, penalty: float = 0.1, repeats: int = 2
) -> list[Row]:
    """Measure milliseconds per pixel on Indian Pines with nine classes, for pixels outside the dictionaries."""
    scene = load_catalogue_scene("indian_pines", None)
    rng = np.random.default_rng(0)
    ids, labels = scene.labelled_ids, scene.labels_of(scene.labelled_ids)
    chosen = draw_initial(ids, labels, per_class * scene.n_classes, "per_class", rng)
    scaled = (scene.cube / scene.cube.max()).astype(np.float32)
    spectra = window_means(scaled, window).reshape(-1, scene.n_bands).astype(np.float64)
    dictionaries = [spectra[chosen[scene.labels_of(chosen) == c]] for c in range(scene.n_classes)]
    queries = spectra[rng.choice(np.setdiff1d(ids, chosen), n_pixels, replace=False)]
    rows = []
    ours = partial(bracketed, dictionaries, queries, penalty)
    for kept_products, target in ((True, ">= 20"), (False, "")):
        reference = partial(looped, dictionaries, queries, penalty, kept_products)
        if not np.array_equal(ours(), reference()):
            raise RuntimeError("Both ways must give the same labels.")
        theirs, mine = medians(reference, ours, repeats)
        rows.append(
            Row(
                f"JCR, {scene.n_classes} x {per_class} atoms, {scene.n_bands} bands",
                f"loop over pixels and classes, X'X {'kept' if kept_products else 'formed at each pixel'}, "
                f"{1e3 * theirs / n_pixels:.2f} ms a pixel",
                f"{1e3 * mine / n_pixels:.2f} ms",
                theirs / mine,
                target,
            )
        )
    return rows
