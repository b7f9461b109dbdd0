"""Pairs of labelled pixels, given as positions in the array of labels, so that no pairs of spectra are stored."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def same_class_pairs(labels: Ids) -> tuple[Ids, Ids]:
    """Return all ordered pairs of two different pixels of one class: n (n - 1) for a class of n pixels.

    The only pixel of a class is paired with itself; otherwise the class would have no pair.

    Args:
        labels: Class indices, (n,).

    Returns:
        Positions (M, 2) and the class of each pair (M,).
    """
    pairs, classes = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for class_, members in members_of(labels).items():
        unequal = ~np.eye(len(members), dtype=bool) if len(members) > 1 else np.ones((1, 1), dtype=bool)
        pairs.append(members[np.argwhere(unequal)])
        classes.append(np.full(len(pairs[-1]), class_))
    return np.concatenate(pairs), np.concatenate(classes)


def different_class_pairs(labels: Ids, partners: int, rng: np.random.Generator) -> Ids:
    """Pair every pixel with distinct random pixels of each other class.

    Args:
        labels: Class indices, (n,).
        partners: Number of pixels drawn from each other class; all its pixels if it has fewer.
        rng: Source of the draws.

    Returns:
        Positions, (M, 2).
    """
    groups = members_of(labels)
    pairs = [np.empty((0, 2), np.int64)]
    for first, members in groups.items():
        for second, others in groups.items():
            if first == second:
                continue
            # The positions of the smallest random numbers are a draw without replacement, for all pixels at once.
            order = np.argsort(rng.random((len(members), len(others))), axis=1)[:, :partners]
            pairs.append(np.stack([np.repeat(members, order.shape[1]), others[order].ravel()], axis=1))
    return np.concatenate(pairs)


class BalancedPairs:
    """Draws as many pairs within a class as between two classes.

    Classes are drawn first, then pixels, both uniformly, so that small classes are drawn as often as large ones.

    Args:
        labels: Class indices, (n,).
    """

    def __init__(self, labels: Ids) -> None:
        groups = list(members_of(labels).values())
        self.members = np.concatenate(groups)
        self.counts = np.array([len(group) for group in groups])
        self.starts = np.cumsum(self.counts) - self.counts
        self.several = np.flatnonzero(self.counts > 1)

    def draw(self, n_each: int, rng: np.random.Generator) -> tuple[Ids, NDArray[np.bool_]]:
        """Draw pairs of two different pixels: `n_each` within a class and `n_each` between two classes.

        Pairs within a class are missing if no class has two pixels, pairs between classes if there is one class only.

        Args:
            n_each: Number of pairs of each kind.
            rng: Source of the draws.

        Returns:
            Positions (M, 2) and whether the two pixels share a class (M,); pairs within a class come first.
        """
        n_same = n_each if len(self.several) else 0
        n_different = n_each if len(self.counts) > 1 else 0
        classes = np.empty((n_same + n_different, 2), np.int64)
        classes[:n_same] = rng.choice(self.several, n_same)[:, None] if n_same else 0
        classes[n_same:] = two_of(np.full(n_different, len(self.counts)), rng)
        ranks = rng.integers(0, self.counts[classes])
        ranks[:n_same] = two_of(self.counts[classes[:n_same, 0]], rng)
        return self.members[self.starts[classes] + ranks], np.arange(len(classes)) < n_same


def two_of(counts: Ids, rng: np.random.Generator) -> Ids:
    """Draw two different integers from 0 to count - 1 for each count (at least 2), (len(counts), 2)."""
    first = rng.integers(0, counts)
    second = rng.integers(0, counts - 1)
    return np.stack([first, second + (second >= first)], axis=1)


def members_of(labels: Ids) -> dict[int, Ids]:
    """Return the ascending positions of the labels of each class that occurs, by class."""
    return {int(class_): np.flatnonzero(labels == class_) for class_ in np.unique(labels)}
