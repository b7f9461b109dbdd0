"""The four splits of the labelled pixels of a scene into candidates and test pixels."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import PoolError

Ids = NDArray[np.int64]
LAYOUTS = 200  # random layouts of blocks that are compared


@dataclass(frozen=True)
class Split:
    """The pixels that may be labelled (candidates) and the pixels that only test the learner.

    Attributes:
        kind: Name of the split: `paper`, `holdout`, `blocks` or `checkerboard`.
        candidates: Pixel ids that may be labelled, ascending.
        test: Pixel ids that are never labelled, ascending; empty for `paper`, whose held-out pixels are the
            candidates not (yet) labelled.
        missing_in_candidates: Class indices without a candidate.
        missing_in_test: Class indices without a test pixel; empty if there are no test pixels.
    """

    kind: str
    candidates: Ids
    test: Ids
    missing_in_candidates: tuple[int, ...] = ()
    missing_in_test: tuple[int, ...] = ()

    @cached_property
    def scored_ids(self) -> Ids:
        """Pixel ids that the learner predicts after every training: candidates and test pixels, ascending."""
        return np.union1d(self.candidates, self.test)

    def heldout(self, labelled_ids: Ids) -> Ids:
        """Return the pixel ids that test the learner, ascending: `test`, or for `paper` the unlabelled candidates."""
        return self.test if len(self.test) else np.setdiff1d(self.candidates, labelled_ids, assume_unique=True)

    def overlap(self, labelled_ids: Ids, shape: tuple[int, int], patch_size: int) -> tuple[int, int]:
        """Return how many held-out pixels lie in the patch of a labelled pixel, and how many there are in total."""
        heldout = self.heldout(labelled_ids)
        return int(in_patches(labelled_ids, shape, patch_size)[heldout].sum()), len(heldout)

    def thinned(self, size: int, rng: np.random.Generator) -> "Split":
        """Return the split with about `size` of its pixels, drawn uniformly from each side, for quick trials."""
        part = min(1.0, size / len(self.scored_ids))
        candidates, test = (
            np.sort(rng.choice(side, int(np.ceil(part * len(side))), replace=False))
            for side in (self.candidates, self.test)
        )
        return replace(self, candidates=candidates, test=test)


def divide_paper(pixel_ids: Ids) -> Split:
    """Make every labelled pixel of the scene a candidate, as in the paper."""
    return Split("paper", pixel_ids, np.empty(0, np.int64))


def divide_holdout(pixel_ids: Ids, labels: Ids, rng: np.random.Generator, fraction: float = 0.5) -> Split:
    """Make a random `fraction` of every class candidates (rounded up) and the rest test pixels."""
    order = rng.permutation(len(pixel_ids))
    chosen = np.zeros(len(pixel_ids), dtype=bool)
    for value in np.unique(labels):
        members = order[labels[order] == value]
        chosen[members[: int(np.ceil(fraction * len(members)))]] = True
    return with_missing("holdout", pixel_ids, labels, chosen, ~chosen)


def divide_spatially(
    pixel_ids: Ids,
    labels: Ids,
    shape: tuple[int, int],
    kind: str,
    rng: np.random.Generator,
    block_size: int = 48,
    patch_size: int = 32,
) -> Split:
    """Divide the scene into square blocks, whose pixels are either all candidates or all test pixels, with a guard.

    The guard drops test pixels that lie in the patch of a candidate, so no training patch contains a test pixel.
    Of `LAYOUTS` seeded layouts (`blocks`: each block is drawn; `checkerboard`: blocks alternate; both with a random
    offset), the one is taken that keeps most classes on both sides, then most pixels on the smaller side.

    Args:
        pixel_ids: Labelled pixels, ascending, (N,).
        labels: Class indices of these pixels, (N,).
        shape: Height and width of the scene.
        kind: `blocks` or `checkerboard`.
        rng: Source of the layouts.
        block_size: Side of a block, pixels.
        patch_size: Side of a training patch, pixels.

    Raises:
        PoolError: No layout leaves pixels on both sides.
    """
    kinds = block_kinds if kind == "blocks" else checkerboard_kinds
    best: Split | None = None
    best_value = (0, 0)
    for _ in range(LAYOUTS):
        chosen, test = guarded(pixel_ids, shape, kinds(shape, block_size, rng), patch_size)
        sides = len(np.unique(labels[chosen])), len(np.unique(labels[test]))
        value = (min(sides) * 1000 + sum(sides), int(min(chosen.sum(), test.sum())))
        if min(sides) > 0 and value > best_value:
            best, best_value = with_missing(kind, pixel_ids, labels, chosen, test), value
    if best is None:
        raise PoolError(
            f"split={kind}: no layout of blocks of {block_size} pixels leaves labelled pixels on both sides of a "
            f"{shape[0]}x{shape[1]} scene with patches of {patch_size}; change split.block_size or patch_size."
        )
    return best


def guarded(
    pixel_ids: Ids, shape: tuple[int, int], is_candidate_block: NDArray[np.bool_], patch_size: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which labelled pixels are candidates, and which are test pixels outside candidates' patches, (N,) each."""
    chosen = is_candidate_block.ravel()[pixel_ids]
    return chosen, ~chosen & ~in_patches(pixel_ids[chosen], shape, patch_size)[pixel_ids]


def in_patches(pixel_ids: Ids, shape: tuple[int, int], patch_size: int) -> NDArray[np.bool_]:
    """Return whether each pixel of the scene is in a patch [i - P//2, i - P//2 + P) around one of the ids, (H * W,)."""
    from scipy.ndimage import maximum_filter  # not at the top: takes half as long as a run's other imports

    centres = np.zeros(shape, dtype=np.uint8)
    centres.ravel()[pixel_ids] = 1
    # A patch contains t where its centre i lies in [t - P + P//2 + 1, t + P//2]: the mirrored window.
    origin = -1 if patch_size % 2 == 0 else 0
    covered: NDArray[np.bool_] = maximum_filter(centres, size=patch_size, mode="constant", origin=origin).ravel() > 0
    return covered


def block_kinds(shape: tuple[int, int], size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw for each block whether its pixels are candidates (true) or test pixels, (H, W)."""
    rows, columns = cells(shape, size, rng)
    kinds: NDArray[np.bool_] = rng.random((rows.max() + 1, columns.max() + 1)) < 0.5
    return kinds[rows[:, None], columns[None, :]]


def checkerboard_kinds(shape: tuple[int, int], size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Alternate blocks of candidates (true) and of test pixels, the first at random, (H, W)."""
    rows, columns = cells(shape, size, rng)
    kinds: NDArray[np.bool_] = (rows[:, None] + columns[None, :]) % 2 == rng.integers(2)
    return kinds


def cells(shape: tuple[int, int], size: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Return the block index of every row, (H,), and of every column, (W,), with a random offset."""
    row_offset, column_offset = rng.integers(size, size=2)
    return (np.arange(shape[0]) + row_offset) // size, (np.arange(shape[1]) + column_offset) // size


def with_missing(kind: str, pixel_ids: Ids, labels: Ids, chosen: NDArray[np.bool_], test: NDArray[np.bool_]) -> Split:
    """Build the split from masks over the labelled pixels, with the classes that each side lacks."""
    every = np.unique(labels)
    return Split(
        kind,
        candidates=pixel_ids[chosen],
        test=pixel_ids[test],
        missing_in_candidates=tuple(np.setdiff1d(every, labels[chosen]).tolist()),
        missing_in_test=tuple(np.setdiff1d(every, labels[test]).tolist()) if test.any() else (),
    )
