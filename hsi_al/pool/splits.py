"""The splits of the labelled pixels of a scene into candidates and test pixels."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hsi_al.config.schema import SplitConfig
from hsi_al.errors import PoolError

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
# Random layouts that are compared: as many as look at about so many labelled pixels, within two bounds.
LOOKED_AT, LEAST_LAYOUTS, MOST_LAYOUTS = 2 * 10**7, 100, 1000


@dataclass(frozen=True)
class Split:
    """The pixels that may be labelled (candidates) and the pixels that only test the learner.

    Attributes:
        kind: Name of the split: `paper`, `holdout`, `blocks`, `checkerboard`, `fields` or `given`.
        candidates: Pixel ids that may be labelled, ascending.
        test: Pixel ids that are never labelled, ascending; empty for `paper`, whose held-out pixels are the
            candidates not (yet) labelled.
        missing_in_candidates: Class indices without a candidate.
        missing_in_test: Class indices without a test pixel; empty if there are no test pixels.
        new_ground: Candidates on the side of the test pixels, ascending: queries ask these alone, and no initial label
            is drawn among them. None = every candidate may be drawn and asked.
        settings: The keys by which `make_split` has made it; None = it came otherwise.
    """

    kind: str
    candidates: Ids
    test: Ids
    missing_in_candidates: tuple[int, ...] = ()
    missing_in_test: tuple[int, ...] = ()
    new_ground: Ids | None = None
    settings: SplitConfig | None = None

    def __repr__(self) -> str:
        return f"<Split {self.kind}: {len(self.candidates):,} candidates, {len(self.test):,} test pixels>"

    @property
    def initial(self) -> Ids:
        """Candidates among which initial labels are drawn, ascending."""
        return self.candidates if self.new_ground is None else np.setdiff1d(self.candidates, self.new_ground)

    @property
    def asked(self) -> Ids:
        """Candidates that queries ask, ascending."""
        return self.candidates if self.new_ground is None else self.new_ground

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


def divide_given(pixel_ids: Ids, labels: Ids, test: Mask) -> Split:
    """Take the test pixels of a file, a mask (H, W); all other labelled pixels are candidates.

    Raises:
        PoolError: One side has no pixel, as where `dataset.classes` keeps none of its classes.
    """
    chosen = ~test.ravel()[pixel_ids]
    if not chosen.any() or chosen.all():
        raise PoolError(
            f"split=given leaves no {'pixel to learn from' if not chosen.any() else 'test pixel'}; check "
            "dataset.ground_truth_file, dataset.test_file and dataset.classes."
        )
    return with_missing("given", pixel_ids, labels, chosen, ~chosen)


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
    guard: int = 32,
) -> Split:
    """Divide the scene by places instead of pixels, with a guard between candidates and test pixels.

    `blocks` draws for each square block whether its pixels are candidates or test pixels; in `checkerboard` blocks
    alternate; both begin at a random offset. `fields` gives whole fields, the connected regions of one class, to one
    side (`FieldLayouts`). Test pixels in the window of side `guard` around a candidate are dropped, so no patch of this
    side around a candidate contains a test pixel. Of many random layouts the best balanced one is taken (`Balance`).

    Args:
        pixel_ids: Labelled pixels, ascending, (N,).
        labels: Class indices of these pixels, (N,).
        shape: Height and width of the scene.
        kind: `blocks`, `checkerboard` or `fields`.
        rng: Source of the layouts.
        block_size: Side of a block, pixels; unused by `fields`.
        guard: Side of the window around a candidate, pixels; 1 drops nothing.

    Raises:
        PoolError: No layout leaves pixels on both sides.
    """
    layouts: FieldLayouts | BlockLayouts = (
        FieldLayouts(pixel_ids, labels, shape)
        if kind == "fields"
        else BlockLayouts(pixel_ids, labels, shape, block_size, alternate=kind == "checkerboard")
    )
    balance = Balance(labels, layouts.attainable)
    tries = min(layouts.most_tries, max(LEAST_LAYOUTS, LOOKED_AT // len(pixel_ids)))
    best: tuple[Mask, Mask] | None = None
    best_value = (0, 0.0)
    for _ in range(tries):
        chosen = layouts.draw(rng)
        # The guard only takes test pixels away, so that a layout which is worse without it needs no closer look.
        if balance.of(chosen, ~chosen) > best_value:
            test = guarded(pixel_ids, shape, chosen, guard)
            if (value := balance.of(chosen, test)) > best_value:
                best, best_value = (chosen, test), value
    if best is None:
        raise PoolError(
            f"split={kind}: no layout{layouts.of_what} leaves labelled pixels of a class on both sides of a "
            f"{shape[0]}x{shape[1]} scene with a guard of {guard} x {guard} pixels around candidates; "
            f"{layouts.way_out}."
        )
    return with_missing(kind, pixel_ids, labels, *best)


def with_new_ground(split: Split, labels: Ids, rng: np.random.Generator, fraction: float) -> Split:
    """Let queries ask on the side of the test pixels: a random `fraction` of every class there, rounded up.

    Labels of one place are then to serve at another one, where a few more are asked (domain adaptation by active
    learning: G. Matasci, D. Tuia, M. Kanevski, "SVM-based boosting of active learning strategies for efficient domain
    adaptation", IEEE JSTARS 2012).

    Args:
        split: A split by places.
        labels: Class indices of `split.scored_ids`, (N,).
        rng: Source of the draw.
        fraction: Above 0 and below 1.
    """
    ids, is_test = split.scored_ids, np.isin(split.scored_ids, split.test)
    halves = divide_holdout(split.test, labels[is_test], rng, fraction)
    test = np.isin(ids, halves.test)
    return replace(with_missing(split.kind, ids, labels, ~test, test), new_ground=halves.candidates)


class Balance:
    """How evenly a layout shares the pixels of every class out to candidates and test pixels.

    Args:
        labels: Class indices of the labelled pixels, (N,).
        attainable: Pixels of the smaller side in the most even layout, by class index, (C,).
    """

    def __init__(self, labels: Ids, attainable: Floats) -> None:
        self.labels, self.attainable = labels, attainable

    def of(self, chosen: Mask, test: Mask) -> tuple[int, float]:
        """Return the number of classes on both sides and, of the one that is worst off, the share of its smaller side.

        The share is that of what is attainable, in (0, 1]. Larger tuples are better. No class on both sides gives
        (0, 0.0).

        Args:
            chosen: Which labelled pixels are candidates, (N,).
            test: Which are test pixels, (N,).
        """
        sides = [np.bincount(self.labels[side], minlength=len(self.attainable)) for side in (chosen, test)]
        smaller = np.minimum(*sides)
        both = smaller > 0
        return (int(both.sum()), float((smaller[both] / self.attainable[both]).min())) if both.any() else (0, 0.0)


class BlockLayouts:
    """Random layouts of square blocks, which begin at a random offset.

    Args:
        pixel_ids: Labelled pixels, (N,).
        labels: Class indices of these pixels, (N,).
        shape: Height and width of the scene.
        block_size: Side of a block, pixels.
        alternate: Whether blocks of candidates and of test pixels alternate; else each block is drawn.

    Attributes:
        attainable: Pixels of the smaller side in the most even layout, by class index, (C,): half of the class.
        most_tries: Number of layouts to compare at most.
    """

    way_out = "change split.block_size, or lower split.guard (by default patch_size)"

    def __init__(
        self, pixel_ids: Ids, labels: Ids, shape: tuple[int, int], block_size: int, *, alternate: bool
    ) -> None:
        self.rows, self.columns = np.divmod(pixel_ids, shape[1])
        self.block_size, self.alternate = block_size, alternate
        self.attainable = np.bincount(labels) / 2
        self.of_what = f" of blocks of {block_size} pixels"
        # There are 2 * block_size^2 alternating layouts: the best of all of them would be the same for every fold.
        self.most_tries = min(MOST_LAYOUTS, max(16, block_size**2 // 8)) if alternate else MOST_LAYOUTS

    def draw(self, rng: np.random.Generator) -> Mask:
        """Draw which labelled pixels are candidates, (N,)."""
        row_offset, column_offset = rng.integers(self.block_size, size=2)
        rows, columns = (self.rows + row_offset) // self.block_size, (self.columns + column_offset) // self.block_size
        if self.alternate:
            is_candidate: Mask = (rows + columns) % 2 == rng.integers(2)
            return is_candidate
        blocks = rng.random((rows.max() + 1, columns.max() + 1))
        drawn: Mask = blocks[rows, columns] < 0.5
        return drawn


class FieldLayouts:
    """Random layouts of whole fields: connected regions of one class (neighbours share an edge), on one side each.

    The fields of a class are put in random order and cut where the sides come closest to half of its pixels; which
    side is which is drawn too. Every class of two fields or more thus has pixels on both sides. The one field of a
    class goes to the candidates: as test pixels of a class that nobody could learn they would all count as errors.

    Args:
        pixel_ids: Labelled pixels, ascending, (N,).
        labels: Class indices of these pixels, (N,).
        shape: Height and width of the scene.

    Attributes:
        field: Number of the field that each pixel is in, (N,); fields of a class have successive numbers.
        by_class: Pixels of each field, by class index, (C,) arrays.
        attainable: Pixels of the smaller side in the most even layout, by class index, (C,).
    """

    of_what = " of whole fields"
    most_tries = MOST_LAYOUTS

    def __init__(self, pixel_ids: Ids, labels: Ids, shape: tuple[int, int]) -> None:
        from scipy.ndimage import find_objects, label  # not at the top: see `in_patches`

        classes = np.zeros(shape[0] * shape[1], np.int32)
        classes[pixel_ids] = labels + 1
        classes = classes.reshape(shape)
        fields, ends, n_fields = np.zeros(shape, np.int64), [], 0
        for index, place in enumerate(find_objects(classes)):
            if place is not None:
                inside = classes[place] == index + 1
                numbers, found = label(inside)
                fields[place][inside] = numbers[inside] + (n_fields - 1)
                n_fields += found
            ends.append(n_fields)
        self.field = fields.ravel()[pixel_ids]
        self.by_class: list[Ids] = np.split(np.bincount(self.field), ends[:-1])
        self.attainable = np.array([smaller_part(sizes) for sizes in self.by_class], np.float64)
        single = max(map(len, self.by_class)) < 2
        self.way_out = "every class is one field: take split=blocks" if single else "lower split.guard"

    def draw(self, rng: np.random.Generator) -> Mask:
        """Draw which labelled pixels are candidates, (N,)."""
        is_candidate: Mask = np.concatenate([self.draw_class(sizes, rng) for sizes in self.by_class])
        return is_candidate[self.field]

    def draw_class(self, sizes: Ids, rng: np.random.Generator) -> Mask:
        """Draw which fields of a class, given by their sizes (R,), are candidates, (R,)."""
        is_candidate = np.ones(len(sizes), dtype=bool)
        if len(sizes) > 1:
            order = rng.permutation(len(sizes))
            before = np.cumsum(sizes[order])[:-1]
            cut = 1 + int(np.argmin(np.abs(2 * before - sizes.sum())))
            is_candidate[order[:cut] if rng.integers(2) else order[cut:]] = False
        return is_candidate


def field_sizes(pixel_ids: Ids, labels: Ids, shape: tuple[int, int]) -> Ids:
    """Return the pixels of the field that each labelled pixel is in, (N,); arguments as for `FieldLayouts`."""
    layouts = FieldLayouts(pixel_ids, labels, shape)
    return np.concatenate(layouts.by_class)[layouts.field]


def smaller_part(sizes: Ids) -> int:
    """Return the largest sum of some of the sizes (R,) that is at most half of their sum: 0 for a single size."""
    half = int(sizes.sum()) // 2
    mask, sums = (2 << half) - 1, 1  # bit n of `sums` is set if some of the sizes sum up to n
    for size in sorted(sizes.tolist(), reverse=True):
        sums |= (sums << size) & mask
        if sums >> half:
            break
    return sums.bit_length() - 1


def guarded(pixel_ids: Ids, shape: tuple[int, int], chosen: Mask, guard: int) -> Mask:
    """Return which labelled pixels are test pixels: no candidates, and outside of the windows around these, (N,)."""
    if guard == 1:
        return ~chosen
    return ~chosen & ~in_patches(pixel_ids[chosen], shape, guard)[pixel_ids]


def in_patches(pixel_ids: Ids, shape: tuple[int, int], patch_size: int) -> Mask:
    """Return whether each pixel of the scene is in a patch [i - P//2, i - P//2 + P) around one of the ids, (H * W,)."""
    from scipy.ndimage import maximum_filter  # not at the top: takes half as long as a run's other imports

    centres = np.zeros(shape, dtype=np.uint8)
    centres.ravel()[pixel_ids] = 1
    # A patch contains t where its centre i lies in [t - P + P//2 + 1, t + P//2]: the mirrored window.
    origin = -1 if patch_size % 2 == 0 else 0
    covered: Mask = maximum_filter(centres, size=patch_size, mode="constant", origin=origin).ravel() > 0
    return covered


def with_missing(kind: str, pixel_ids: Ids, labels: Ids, chosen: Mask, test: Mask) -> Split:
    """Build the split from masks over the labelled pixels, with the classes that each side lacks."""
    every = np.unique(labels)
    return Split(
        kind,
        candidates=pixel_ids[chosen],
        test=pixel_ids[test],
        missing_in_candidates=tuple(np.setdiff1d(every, labels[chosen]).tolist()),
        missing_in_test=tuple(np.setdiff1d(every, labels[test]).tolist()) if test.any() else (),
    )
