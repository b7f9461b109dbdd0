"""The split of a run: which pixels it is tested on, and what these do not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from hsi_al.active.observers.console import few_test_pixels, points_as_fields
from hsi_al.active.parts import build_split, guard_of
from hsi_al.cli import composition
from hsi_al.config.schema import Config
from hsi_al.methods.registry import method_of
from hsi_al.pool.splits import Split, divide_holdout
from hsi_al.randomness import generator
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene


def composed(*overrides: str) -> Config:
    return composition.composed(list(overrides))[0]


def folder_of(*overrides: str) -> str:
    return composition.composed(list(overrides))[1]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load_catalogue_scene("indian_pines", None)


def split_of(scene: Scene, *overrides: str) -> Split:
    return build_split(composed(*overrides), scene)


def test_a_fold_is_a_draw_of_its_own_and_fold_0_that_of_earlier_versions(scene: Scene) -> None:
    labels = scene.labels_of(scene.labelled_ids)
    before = divide_holdout(scene.labelled_ids, labels, generator(0, "split"))
    folds = [split_of(scene, "split=holdout", f"split.fold={fold}") for fold in range(3)]
    assert folds[0].candidates.tolist() == before.candidates.tolist()
    assert folds[0].candidates.tolist() == split_of(scene, "split=holdout", "seed=5").candidates.tolist()
    for one, other in ((0, 1), (0, 2), (1, 2)):  # independent halves share a quarter of all pixels
        shared = np.intersect1d(folds[one].test, folds[other].test).size / len(scene.labelled_ids)
        assert shared == pytest.approx(0.25, abs=0.02)
    for fold in (0, 1):
        whole = divide_holdout(scene.labelled_ids, labels, generator(0, "split", fold))
        thin = split_of(scene, "split=holdout", "protocol=smoke", "protocol.max_pixels=500", f"split.fold={fold}")
        assert thin.test.tolist() == whole.thinned(500, generator(0, "thin", fold)).test.tolist()


@pytest.mark.parametrize("kind", ["blocks", "checkerboard", "fields"])
def test_folds_of_places_differ(kind: str, scene: Scene) -> None:
    folds = [split_of(scene, f"split={kind}", "protocol=short", f"split.fold={fold}") for fold in (0, 0, 1)]
    assert folds[0].test.tolist() == folds[1].test.tolist() != folds[2].test.tolist()


@pytest.mark.parametrize("kind", ["blocks", "fields"])
def test_one_guard_gives_learners_of_different_patches_the_same_test_pixels(kind: str, scene: Scene) -> None:
    given = (f"split={kind}", "split.guard=9", "protocol=short")
    learners = [
        ["patch_size=32"],
        ["patch_size=9", "backbone=lenet", "acquisition=entropy"],
        ["backbone=spectral", "acquisition=entropy"],
        ["learner=cnn3d", "acquisition=entropy"],
        ["learner=emp_svm", "acquisition=entropy"],
    ]
    configs = [composed(*given, *learner) for learner in learners]
    assert {method_of(config).window(config) for config in configs} >= {32, 9, 1, None}
    splits = [build_split(config, scene) for config in configs]
    for split in splits[1:]:
        assert split.test.tolist() == splits[0].test.tolist()
        assert split.candidates.tolist() == splits[0].candidates.tolist()
    shape = (scene.height, scene.width)
    assert splits[0].overlap(splits[0].candidates, shape, 9)[0] == 0
    assert splits[0].overlap(splits[0].candidates, shape, 32)[0] > 0  # which the run counts


def test_the_guard_that_is_not_set() -> None:
    assert guard_of(composed("split=blocks")) == guard_of(composed("split=checkerboard")) == 32
    assert guard_of(composed("split=blocks", "learner=cnn3d", "acquisition=entropy", "patch_size=1")) > 1
    assert guard_of(composed("split=fields")) == 1
    assert [guard_of(composed(f"split={kind}", "split.guard=5")) for kind in ("blocks", "fields")] == [5, 5]


def test_a_starved_test_side_gives_a_warning(scene: Scene) -> None:
    small = split_of(scene, "split=checkerboard", "split.block_size=24", "protocol=short")
    assert 0 < len(small.test) < 200 and len(small.missing_in_test) >= 5
    assert few_test_pixels(len(small.test), 9234).startswith(f"only {len(small.test)} of 9,234 labelled pixels test")
    assert not points_as_fields(scene)
    scattered = np.where(np.indices((145, 145)).sum(axis=0) % 2, scene.ground_truth, 0)  # no two share an edge
    assert points_as_fields(replace(scene, ground_truth=scattered)).startswith("100% of the labelled pixels lie in")
    one = np.where(scene.ground_truth == 11, scattered, scene.ground_truth)  # of the nine classes one is points
    assert not points_as_fields(replace(scene, ground_truth=one))
    assert few_test_pixels(0, 10) and not few_test_pixels(5, 100) and few_test_pixels(4, 100)
    assert not few_test_pixels(len(split_of(scene, "split=fields", "protocol=short").test), 9234)


def test_the_folder_of_a_run_says_guard_and_fold() -> None:
    assert folder_of("split=blocks").endswith("/paper-blocks/seed=0")
    assert folder_of("split=blocks", "split.fold=2", "seed=1").endswith("/paper-blocks-fold=2/seed=1")
    assert folder_of("split=fields", "split.guard=9").endswith("/paper-fields-guard=9/seed=0")
    assert folder_of("split=fields", "split.guard=9", "split.fold=1").endswith("/paper-fields-guard=9-fold=1/seed=0")
