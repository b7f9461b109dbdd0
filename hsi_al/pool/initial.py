"""The initial draw: which pixels are labelled before the first training."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import PoolError, PoolExhaustedError

Ids = NDArray[np.int64]


def shares_uniform(counts_C: Ids, size: int, rng: np.random.Generator) -> Ids:
    """Return the pixels per class of a draw that ignores classes (multivariate hypergeometric), (C,)."""
    shares: Ids = rng.multivariate_hypergeometric(counts_C, size)
    return shares


def shares_per_class(counts_C: Ids, size: int, rng: np.random.Generator) -> Ids:
    """Return the same number for every class, (C,); a remainder goes to classes drawn at random.

    A share may exceed the pixels of its class; `draw_initial` checks that.
    """
    shares: Ids = np.full(len(counts_C), size // len(counts_C), dtype=np.int64)
    shares[rng.permutation(len(counts_C))[: size % len(counts_C)]] += 1
    return shares


def shares_stratified(counts_C: Ids, size: int, rng: np.random.Generator) -> Ids:
    """Return shares in proportion to `counts_C`, (C,), largest remainders rounded up (ties at random)."""
    # Integers, so that equal remainders compare equal; the sum is 0 if `min_per_class` took all candidates.
    shares, remainders = np.divmod(counts_C * size, max(1, int(counts_C.sum())))
    order = np.lexsort((rng.permutation(len(counts_C)), -remainders))
    shares[order[: size - shares.sum()]] += 1
    return shares


DRAWS: dict[str, Callable[[Ids, int, np.random.Generator], Ids]] = {
    "uniform": shares_uniform,
    "per_class": shares_per_class,
    "stratified": shares_stratified,
}


def draw_initial(
    candidates: Ids,
    labels: Ids,
    size: int,
    kind: str,
    rng: np.random.Generator,
    min_per_class: int = 0,
    class_names: list[str] | None = None,
) -> Ids:
    """Draw the pixels that are labelled before the first training; within a class every pixel is equally likely.

    Args:
        candidates: Pixel ids, (N,).
        labels: Class indices of the candidates, (N,).
        size: Number of pixels to draw.
        kind: `uniform` (the paper), `per_class` or `stratified`.
        rng: Source of the draw.
        min_per_class: Pixels drawn from every class before the rest is drawn (the paper: 0).
        class_names: Names by class index, for errors.

    Returns:
        Pixel ids, ascending, (size,).

    Raises:
        PoolExhaustedError: `size` exceeds the number of candidates.
        PoolError: A class has too few pixels, or `min_per_class` of every class is more than `size`.
    """
    if size > len(candidates):
        raise PoolExhaustedError(
            f"{size} initial labels are more than the {len(candidates)} candidates; lower protocol.initial_size."
        )
    classes, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    reserved = np.full(len(classes), min_per_class, dtype=np.int64)
    if reserved.sum() > size:
        raise PoolError(
            f"protocol.min_per_class={min_per_class} for {len(classes)} classes exceeds the {size} initial labels; "
            "lower it or raise protocol.initial_size."
        )
    names = [class_names[c] if class_names else f"class {c}" for c in classes]
    require(counts, reserved, names, "lower protocol.min_per_class")
    shares = reserved + DRAWS[kind](counts - reserved, size - int(reserved.sum()), rng)
    require(counts, shares, names, "set protocol.initial=uniform or lower protocol.initial_size")
    drawn = [
        rng.choice(candidates[positions == index], share, replace=False) for index, share in enumerate(shares.tolist())
    ]
    return np.sort(np.concatenate(drawn))


def draw_per_class(
    candidates: Ids, labels: Ids, n: int, rng: np.random.Generator, take_existing: bool, class_names: list[str]
) -> Ids:
    """Draw n pixels of every class that occurs, uniformly within the class, as for supervised training.

    Args:
        candidates: Pixel ids, (N,).
        labels: Class indices of the candidates, (N,).
        n: Pixels per class.
        rng: Source of the draw.
        take_existing: Take all pixels of a class that has fewer than n.
        class_names: Names by class index, for errors.

    Returns:
        Pixel ids, ascending.

    Raises:
        PoolError: A class has fewer than n pixels, and `take_existing` is false.
    """
    drawn = []
    for index in np.unique(labels).tolist():
        members = candidates[labels == index]
        if len(members) < n and not take_existing:
            raise PoolError(
                f"{class_names[index]} has {len(members)} candidates, but protocol.per_class={n}; lower it, or take "
                "all pixels of such classes with protocol.take_existing=true."
            )
        drawn.append(rng.choice(members, min(n, len(members)), replace=False))
    return np.sort(np.concatenate(drawn))


def require(counts_C: Ids, shares_C: Ids, names: list[str], way_out: str) -> None:
    """Raise PoolError if a class has fewer pixels than its share, naming the first such class and a way out."""
    for count, share, name in zip(counts_C.tolist(), shares_C.tolist(), names, strict=True):
        if count < share:
            raise PoolError(
                f"{name} has {count} candidates, but the initial draw needs {share} of this class; {way_out}."
            )
