from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import PoolError
from hsi_al.pool.splits import (
    BlockLayouts,
    Split,
    divide_holdout,
    divide_paper,
    divide_spatially,
    guarded,
    in_patches,
    smaller_part,
)
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import load_catalogue_scene

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def labelled_pixels(shape: tuple[int, int], n_classes: int, seed: int, density: float = 0.7) -> tuple[Ids, Ids]:
    rng = np.random.default_rng(seed)
    ids = np.flatnonzero(rng.random(shape[0] * shape[1]) < density).astype(np.int64)
    return ids, rng.integers(n_classes, size=len(ids))


def in_a_patch_of(candidates: Ids, shape: tuple[int, int], patch_size: int) -> Mask:
    """Brute force: paint the window [i - P//2, i - P//2 + P) of every candidate, (H * W,)."""
    painted = np.zeros(shape, dtype=bool)
    for pixel in candidates.tolist():
        top, left = pixel // shape[1] - patch_size // 2, pixel % shape[1] - patch_size // 2
        painted[max(0, top) : top + patch_size, max(0, left) : left + patch_size] = True
    return painted.ravel()


def assert_guarded(split: Split, ids: Ids, shape: tuple[int, int], patch_size: int) -> None:
    covered = in_a_patch_of(split.candidates, shape, patch_size)
    assert not covered[split.test].any(), "a training patch contains a test pixel"
    dropped = np.setdiff1d(ids, split.scored_ids)
    assert covered[dropped].all(), "a test pixel was dropped that no training patch contains"


@pytest.mark.parametrize("patch_size", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_overlap_counts_what_painted_patches_cover(patch_size: int, seed: int) -> None:
    shape = (13, 17)
    ids, labels = labelled_pixels(shape, 3, seed)
    labelled = np.random.default_rng(seed).choice(ids, 5, replace=False)
    corners = np.array([0, 16, 12 * 17, 12 * 17 + 16])
    for chosen in (labelled, corners, labelled[:1], labelled[:0]):
        assert np.array_equal(in_patches(chosen, shape, patch_size), in_a_patch_of(chosen, shape, patch_size))
    painted = in_a_patch_of(labelled, shape, patch_size)
    paper = divide_paper(ids)
    unlabelled = sorted(set(ids.tolist()) - set(labelled.tolist()))
    assert paper.heldout(np.sort(labelled)).tolist() == unlabelled
    assert paper.overlap(labelled, shape, patch_size) == (painted[unlabelled].sum(), len(unlabelled))
    holdout = divide_holdout(ids, labels, np.random.default_rng(seed))
    trained = holdout.candidates[:5]
    inside = in_a_patch_of(trained, shape, patch_size)[holdout.test].sum()
    assert holdout.overlap(trained, shape, patch_size) == (inside, len(holdout.test))
    assert paper.overlap(ids, shape, patch_size) == (0, 0)


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
@pytest.mark.parametrize("patch_size", [4, 5])
def test_spatial_splits_do_not_overlap(kind: str, patch_size: int) -> None:
    ids, labels = labelled_pixels((30, 31), 3, seed=0)
    split = divide_spatially(ids, labels, (30, 31), kind, np.random.default_rng(0), 10, patch_size)
    assert split.overlap(split.candidates, (30, 31), patch_size) == (0, len(split.test))


def test_paper_makes_everything_a_candidate() -> None:
    split = divide_paper(np.array([1, 4, 9]))
    assert split.candidates.tolist() == split.scored_ids.tolist() == [1, 4, 9]
    assert split.test.tolist() == []
    assert split.missing_in_candidates == split.missing_in_test == ()


def test_holdout_halves_every_class_with_the_odd_one_a_candidate() -> None:
    counts = (10, 7, 1, 2)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts))
    ids = np.arange(20) * 2 + 1
    split = divide_holdout(ids, labels, np.random.default_rng(0))
    assert split.kind == "holdout"
    chosen = labels[np.isin(ids, split.candidates)]
    assert [(chosen == value).sum() for value in range(4)] == [5, 4, 1, 1]
    assert np.intersect1d(split.candidates, split.test).size == 0
    assert split.scored_ids.tolist() == ids.tolist()
    assert split.missing_in_candidates == ()
    assert split.missing_in_test == (2,)
    for side in (split.candidates, split.test):
        assert side.tolist() == sorted(side.tolist())


def test_holdout_fraction() -> None:
    ids, labels = np.arange(100), np.repeat([0, 1], 50)
    split = divide_holdout(ids, labels, np.random.default_rng(0), fraction=0.25)
    assert [(labels[split.candidates] == value).sum() for value in (0, 1)] == [13, 13]


def test_holdout_is_fixed_by_its_seed_and_random_within_a_class() -> None:
    ids, labels = np.arange(40), np.repeat([0, 1], 20)
    splits = [divide_holdout(ids, labels, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert splits[0].candidates.tolist() == splits[1].candidates.tolist()
    assert splits[0].candidates.tolist() != splits[2].candidates.tolist()
    often = sum(
        np.isin(ids, divide_holdout(ids, labels, np.random.default_rng(seed)).candidates) for seed in range(400)
    )
    assert np.all(np.abs(np.asarray(often) - 200) < 60)  # 6 standard deviations


@pytest.mark.parametrize("patch_size", [1, 2, 3, 4, 5, 8])
def test_the_guard_of_one_candidate_is_its_patch(patch_size: int) -> None:
    shape = (13, 11)
    every = np.arange(13 * 11)
    for pixel in (0, 5 * 11 + 6, 12 * 11 + 10, 3):
        block = np.zeros(shape, dtype=bool)
        block.ravel()[pixel] = True
        test = guarded(every, shape, block.ravel(), patch_size)
        assert np.array_equal(test, ~in_a_patch_of(np.array([pixel]), shape, patch_size))


@pytest.mark.parametrize("patch_size", [2, 3, 4, 7, 32])
@pytest.mark.parametrize("shape", [(30, 21), (21, 30), (9, 40)])
def test_the_guard_on_random_candidates(shape: tuple[int, int], patch_size: int) -> None:
    for seed in range(5):
        ids, _ = labelled_pixels(shape, 2, seed)
        chosen = np.random.default_rng(seed).random(len(ids)) < 0.02
        test = guarded(ids, shape, chosen, patch_size)
        covered = in_a_patch_of(ids[chosen], shape, patch_size)[ids]
        assert np.array_equal(test, ~chosen & ~covered)


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
@pytest.mark.parametrize("patch_size", [6, 7])
@pytest.mark.parametrize(("shape", "block_size"), [((50, 41), 13), ((33, 64), 16)])
def test_no_training_patch_contains_a_test_pixel(
    kind: str, patch_size: int, shape: tuple[int, int], block_size: int
) -> None:
    for seed in range(3):
        ids, labels = labelled_pixels(shape, 4, seed)
        rng = np.random.default_rng(seed)
        split = divide_spatially(ids, labels, shape, kind, rng, block_size, patch_size)
        assert split.kind == kind
        assert len(split.candidates)
        assert len(split.test)
        assert np.intersect1d(split.candidates, split.test).size == 0
        assert set(split.scored_ids.tolist()) <= set(ids.tolist())
        assert_guarded(split, ids, shape, patch_size)


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
def test_a_layout_is_fixed_by_its_seed(kind: str) -> None:
    shape = (40, 40)
    ids, labels = labelled_pixels(shape, 3, 0)
    splits = [divide_spatially(ids, labels, shape, kind, np.random.default_rng(s), 12, 4) for s in (5, 5, 6)]
    assert splits[0].candidates.tolist() == splits[1].candidates.tolist()
    assert splits[0].test.tolist() == splits[1].test.tolist()
    assert splits[0].candidates.tolist() != splits[2].candidates.tolist()


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
def test_blocks_are_whole(kind: str) -> None:
    """In a scene without background, candidates fill cells of a grid with one offset."""
    shape, block_size = (36, 48), 12
    ids = np.arange(36 * 48)
    split = divide_spatially(ids, ids % 3, shape, kind, np.random.default_rng(2), block_size, 4)
    is_candidate = np.zeros(shape, dtype=bool)
    is_candidate.ravel()[split.candidates] = True
    for changes in (np.diff(is_candidate, axis=0).any(axis=1), np.diff(is_candidate, axis=1).any(axis=0)):
        borders = np.flatnonzero(changes)
        assert len({border % block_size for border in borders.tolist()}) == 1
    if kind == "checkerboard":
        for line in (*is_candidate, *is_candidate.T):
            assert all(b - a == block_size for a, b in pairwise(np.flatnonzero(np.diff(line)).tolist()))


def test_a_class_that_a_side_lacks_is_named() -> None:
    shape = (40, 40)
    ids, labels = labelled_pixels(shape, 3, 1)
    labels[0] = 7  # one pixel only: it can't be on both sides
    for kind in ("blocks", "checkerboard"):
        split = divide_spatially(ids, labels, shape, kind, np.random.default_rng(0), 12, 4)
        for side, missing in (
            (split.candidates, split.missing_in_candidates),
            (split.test, split.missing_in_test),
        ):
            present = set(labels[np.isin(ids, side)].tolist())
            assert set(missing) == {0, 1, 2, 7} - present
        assert 7 in split.missing_in_candidates + split.missing_in_test


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
def test_the_search_keeps_a_rare_class_on_both_sides(kind: str) -> None:
    """Class 2 has two spots of 4 pixels: a layout at hazard puts them on two sides half of the time at most."""
    shape = (60, 60)
    ids = np.arange(60 * 60)
    labels = ids % 2
    for row, column in ((8, 8), (43, 29)):
        labels[[row * 60 + column, row * 60 + column + 1, (row + 1) * 60 + column, (row + 1) * 60 + column + 1]] = 2
    for seed in range(8):
        split = divide_spatially(ids, labels, shape, kind, np.random.default_rng(seed), 12, 4)
        assert split.missing_in_candidates == split.missing_in_test == ()


@pytest.mark.parametrize("kind", ["blocks", "checkerboard"])
@pytest.mark.parametrize(
    ("shape", "block_size", "patch_size"), [((10, 10), 48, 32), ((40, 40), 4, 32), ((20, 20), 10, 41)]
)
def test_an_impossible_layout_is_refused(kind: str, shape: tuple[int, int], block_size: int, patch_size: int) -> None:
    ids = np.arange(shape[0] * shape[1])
    with pytest.raises(PoolError, match=f"split={kind}.*{shape[0]}x{shape[1]}.*split.block_size"):
        divide_spatially(ids, ids % 2, shape, kind, np.random.default_rng(0), block_size, patch_size)


@pytest.fixture(scope="module")
def indian_pines() -> tuple[Ids, Ids, tuple[int, int]]:
    scene = load_catalogue_scene("indian_pines", None)
    return scene.labelled_ids, scene.labels_of(scene.labelled_ids), (scene.height, scene.width)


def counts(split: Split, ids: Ids, labels: Ids) -> NDArray[np.int64]:
    """Pixels by side (candidates, test) and class, (2, C)."""
    sides = (split.candidates, split.test)
    return np.stack([np.bincount(labels[np.isin(ids, side)], minlength=labels.max() + 1) for side in sides])


@pytest.mark.parametrize("fold", range(3))
def test_blocks_on_indian_pines_keep_and_balance_all_classes(
    fold: int, indian_pines: tuple[Ids, Ids, tuple[int, int]]
) -> None:
    """An earlier search left a class with 1,616 candidates and 106 test pixels, and another with 69 and 600."""
    ids, labels, shape = indian_pines
    split = divide_spatially(ids, labels, shape, "blocks", generator(0, "split", fold))
    assert split.missing_in_candidates == split.missing_in_test == ()
    assert_guarded(split, ids, shape, 32)
    assert (counts(split, ids, labels).min(axis=0) / np.bincount(labels)).min() > 0.04
    close = divide_spatially(ids, labels, shape, "blocks", generator(0, "split", fold), guard=9)
    assert (counts(close, ids, labels).min(axis=0) / np.bincount(labels)).min() > 0.2


def test_the_best_balanced_of_all_layouts_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws, each judged by sums over a painted map."""
    shape, tries = (40, 44), 60
    ids, _ = labelled_pixels(shape, 1, 3)
    labels = np.searchsorted([15, 30], ids % 44) + 3 * (ids // 44 > 25)  # six areas, one class each
    labels[labels == 4] = 6  # a class index without pixels
    monkeypatch.setattr("hsi_al.pool.splits.MOST_LAYOUTS", tries)
    layouts, rng = BlockLayouts(ids, labels, shape, 9, alternate=False), np.random.default_rng(5)
    values = []
    for _ in range(tries):
        chosen = layouts.draw(rng)
        test = ~chosen & ~in_a_patch_of(ids[chosen], shape, 6)[ids]
        pairs = [(int((chosen & own).sum()), int((test & own).sum())) for own in (labels == c for c in range(7))]
        shares = [2 * min(pair) / sum((labels == c).tolist()) for c, pair in enumerate(pairs) if min(pair)]
        values.append((len(shares), min(shares, default=0.0), ids[chosen].tolist()))
    found = divide_spatially(ids, labels, shape, "blocks", np.random.default_rng(5), 9, 6)
    assert len({value[:2] for value in values}) > 20 and max(values)[0] > min(values)[0]
    assert found.candidates.tolist() == max(values, key=lambda value: value[:2])[2]


def regions(labels: Ids, ids: Ids, shape: tuple[int, int]) -> list[set[int]]:
    """Flood fill: the connected regions of one class, as sets of pixel ids."""
    classes, found = dict(zip(ids.tolist(), labels.tolist(), strict=True)), list[set[int]]()
    left = set(classes)
    while left:
        region, border = set[int](), [left.pop()]
        while border:
            pixel = border.pop()
            region.add(pixel)
            row, column = divmod(pixel, shape[1])
            for other, inside in (
                (pixel - shape[1], row > 0),
                (pixel + shape[1], row < shape[0] - 1),
                (pixel - 1, column > 0),
                (pixel + 1, column < shape[1] - 1),
            ):
                if inside and other in left and classes[other] == classes[pixel]:
                    left.remove(other)
                    border.append(other)
        found.append(region)
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_fields_are_whole_and_every_class_of_two_is_on_both_sides(seed: int) -> None:
    shape = (23, 19)
    ids = np.union1d(labelled_pixels(shape, 3, seed, density=0.8)[0], [0, 1, 20])
    labels = np.random.default_rng(seed).integers(3, size=len(ids))
    alone = np.isin(ids, [0, 1, 20])  # one field of another class, and one whose only pixel is a corner
    labels[alone], labels[-1] = 4, 5
    split = divide_spatially(ids, labels, shape, "fields", np.random.default_rng(seed), guard=1)
    assert split.scored_ids.tolist() == ids.tolist()
    sides = [set(side.tolist()) for side in (split.candidates, split.test)]
    fields = regions(labels, ids, shape)
    assert len(fields) > 20 and all(any(field <= side for side in sides) for field in fields)
    several = {int(labels[ids == min(f)][0]) for f in fields} - set(split.missing_in_test)
    assert split.missing_in_candidates == () and {4, 5} & several == set() and several == {0, 1, 2}
    candidates, test = counts(split, ids, labels)
    assert np.all(np.abs(candidates - test)[:3] <= 0.1 * (candidates + test)[:3])  # many small fields: nearly even


def test_fields_of_indian_pines(indian_pines: tuple[Ids, Ids, tuple[int, int]]) -> None:
    ids, labels, shape = indian_pines
    splits = [divide_spatially(ids, labels, shape, "fields", generator(0, "split", k), guard=1) for k in range(5)]
    assert len({tuple(split.test.tolist()) for split in splits}) == 5
    for split in splits:
        candidates, test = counts(split, ids, labels)
        assert split.missing_in_candidates == () and split.missing_in_test == (4,)  # Hay-windrowed is one field
        assert 0.4 < len(split.test) / len(ids) < 0.6
        # Grass-pasture 318, 88, 59, 18; Soybean-notill 741, 105, 66, 60; Woods 904, 241, 120: the most even cuts
        assert [int(min(candidates[c], test[c])) for c in (2, 5, 8)] == [165, 231, 361]
        assert np.all(np.minimum(candidates, test)[[0, 1, 3, 6, 7]] / np.bincount(labels)[[0, 1, 3, 6, 7]] > 0.4)
    guarded_split = divide_spatially(ids, labels, shape, "fields", generator(0, "split"), guard=7)
    assert_guarded(guarded_split, ids, shape, 7)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([904, 241, 120], 361), ([5], 0), ([], 0), ([1, 1], 1), ([100, 100, 100], 100), ([741, 105, 66, 60], 231)],
)
def test_the_most_even_cut_of_a_class(sizes: list[int], expected: int) -> None:
    assert smaller_part(np.array(sizes, np.int64)) == expected


def test_the_most_even_cut_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = rng.integers(1, 40, rng.integers(2, 9))
        sums = [int(sizes[np.array(chosen)].sum()) for chosen in product([False, True], repeat=len(sizes))]
        assert smaller_part(sizes) == max(n for n in sums if 2 * n <= sizes.sum())


def test_either_side_may_have_more_fields() -> None:
    """Three stripes of one class, five wide, with gaps: one of them is cut off, for candidates or for testing."""
    ids = np.flatnonzero(np.arange(17) % 6 < 5)
    sizes = set()
    for seed in range(12):
        split = divide_spatially(ids, np.zeros_like(ids), (1, 17), "fields", np.random.default_rng(seed), guard=1)
        sizes.add((len(split.candidates), len(split.test)))
    assert sizes == {(5, 10), (10, 5)}


def test_one_field_of_every_class_can_not_be_divided() -> None:
    ids = np.arange(100)
    for labels in (ids // 50, np.zeros(100, np.int64)):
        with pytest.raises(PoolError, match="every class is one field: take split=blocks"):
            divide_spatially(ids, labels, (10, 10), "fields", np.random.default_rng(0), guard=1)
    with pytest.raises(PoolError, match=r"guard of 41 x 41 pixels around candidates; lower split\.guard"):
        divide_spatially(ids, ids % 2, (10, 10), "fields", np.random.default_rng(0), guard=41)


def test_thinned_keeps_the_sides_apart() -> None:
    ids, labels = np.arange(100), np.repeat([0, 1], 50)
    split = divide_holdout(ids, labels, np.random.default_rng(0))
    thin = split.thinned(30, np.random.default_rng(1))
    assert len(thin.scored_ids) == len(thin.candidates) + len(thin.test) == 30
    assert set(thin.candidates.tolist()) <= set(split.candidates.tolist())
    assert set(thin.test.tolist()) <= set(split.test.tolist())
    assert thin.scored_ids.tolist() == split.thinned(30, np.random.default_rng(1)).scored_ids.tolist()
    assert thin.scored_ids.tolist() != split.thinned(30, np.random.default_rng(2)).scored_ids.tolist()
    everything = split.thinned(1000, np.random.default_rng(1))
    assert everything.candidates.tolist() == split.candidates.tolist()
    assert everything.test.tolist() == split.test.tolist()
    assert divide_paper(ids).thinned(7, np.random.default_rng(0)).test.tolist() == []
