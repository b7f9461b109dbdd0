"""Which pixels come in which batch, and what the batch is after its transfer."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsi_al.errors import PoolError
from hsi_al.training.datamodule import HsiDataModule, PixelDataset, batches_per_epoch, part_of
from hsi_al.training.patches import PatchGatherer, transformed
from tests.fakes import fake_cube

Ids = NDArray[np.int64]
HEIGHT, WIDTH = 8, 9


def datamodule(batch_size: int = 10, predict_batch_size: int = 256, *, channels_last: bool = True) -> HsiDataModule:
    gatherer = PatchGatherer(fake_cube(HEIGHT, WIDTH), 4)
    candidates = np.arange(60, 10, -1, dtype=np.int64)
    return HsiDataModule(gatherer, HEIGHT * WIDTH, candidates, batch_size, predict_batch_size, channels_last)


def pixels(n: int) -> tuple[Ids, Ids]:
    pixel_ids = np.arange(11, 11 + n, dtype=np.int64)
    return pixel_ids, pixel_ids % 7


def epoch(module: HsiDataModule) -> list[list[int]]:
    """Pixel ids of the batches; their labels must be those of the pixels."""
    batches = []
    for pixel_ids, labels in module.train_dataloader():
        assert pixel_ids.dtype == labels.dtype == torch.int64
        assert torch.equal(labels, pixel_ids % 7)
        batches.append(pixel_ids.tolist())
    assert len(module.train_dataloader()) == len(batches)
    return batches


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (30, 10, [10, 10, 10]),
        (25, 10, [10, 10, 5]),
        (22, 10, [10, 10, 2]),
        (21, 10, [10, 10]),  # BN can't train on a batch of one
        (10, 10, [10]),
        (11, 10, [10]),
        (7, 10, [7]),  # the batch is clamped to the pool
        (2, 10, [2]),
        (3, 2, [2]),
    ],
)
def test_batches(n: int, batch_size: int, sizes: list[int]) -> None:
    module = datamodule(batch_size)
    module.set_labelled(*pixels(n), seed=0)
    batches = epoch(module)
    assert [len(batch) for batch in batches] == sizes
    seen = [pixel_id for batch in batches for pixel_id in batch]
    assert len(set(seen)) == len(seen) == sum(sizes)
    assert set(seen) <= set(pixels(n)[0].tolist())
    assert batches_per_epoch(n, min(n, batch_size)) == len(sizes)


def test_the_pixel_left_out_changes_from_epoch_to_epoch() -> None:
    module = datamodule(10)
    module.set_labelled(*pixels(11), seed=0)
    left_out = [set(pixels(11)[0].tolist()) - set(epoch(module)[0]) for _ in range(8)]
    assert len(set().union(*left_out)) > 1


def test_the_seed_alone_decides_the_order() -> None:
    def two_epochs(seed: int) -> list[list[list[int]]]:
        module = datamodule()
        module.set_labelled(*pixels(30), seed=seed)
        return [epoch(module), epoch(module)]

    first = two_epochs(5)
    torch.rand(3)
    assert two_epochs(5) == first
    assert first[0] != first[1]
    assert two_epochs(6)[0] != first[0]


def test_setting_the_pool_again_starts_the_order_anew() -> None:
    module = datamodule()
    module.set_labelled(*pixels(30), seed=5)
    first = epoch(module)
    assert epoch(module) != first
    module.set_labelled(*pixels(30), seed=5)
    assert epoch(module) == first


def test_every_pixel_is_shuffled() -> None:
    module = datamodule()
    module.set_labelled(*pixels(30), seed=1)
    flat = [pixel_id for batch in epoch(module) for pixel_id in batch]
    assert flat != sorted(flat)
    assert sorted(flat) == pixels(30)[0].tolist()


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_labels_are_refused(n: int) -> None:
    module = datamodule()
    with pytest.raises(PoolError, match=rf"{n} labelled pixel\(s\)"):
        module.set_labelled(*pixels(n), seed=0)


def test_candidates_without_labels_ascending_and_all_pixels() -> None:
    module = datamodule()
    assert module.unlabelled_ids.tolist() == list(range(11, 61))
    module.set_labelled(np.array([60, 11, 30]), np.array([4, 4, 2]), seed=0)
    assert module.unlabelled_ids.tolist() == [*range(12, 30), *range(31, 60)]
    assert module.all_ids.tolist() == list(range(HEIGHT * WIDTH))
    assert module.unlabelled_ids.dtype == module.all_ids.dtype == np.int64


@pytest.mark.parametrize(("n", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (9, [4, 4, 1]), (1, [1]), (0, [])])
def test_prediction_keeps_the_order_and_leaves_nobody_out(n: int, sizes: list[int]) -> None:
    module = datamodule(predict_batch_size=4)
    module.predict_ids = np.random.default_rng(0).integers(0, HEIGHT * WIDTH, n)
    batches = [columns for columns in module.predict_dataloader()]
    assert [len(columns[0]) for columns in batches] == sizes
    assert all(len(columns) == 1 for columns in batches)
    assert [int(pixel_id) for columns in batches for pixel_id in columns[0]] == module.predict_ids.tolist()


@pytest.mark.parametrize("channels_last", [True, False])
def test_pixel_ids_become_patches_after_the_transfer(channels_last: bool) -> None:
    module = datamodule(channels_last=channels_last)
    pixel_ids, labels = torch.tensor([3, 70, 3]), torch.tensor([1, 0, 1])
    patches, kept = module.on_after_batch_transfer((pixel_ids, labels), 0)
    assert kept is labels
    expected: Tensor = PatchGatherer(fake_cube(HEIGHT, WIDTH), 4)(pixel_ids)
    assert torch.equal(patches, expected)
    assert patches.shape == (3, 5, 4, 4)
    assert patches.is_contiguous() != channels_last
    assert len(module.on_after_batch_transfer((pixel_ids,), 0)) == 1


def test_all_batches_share_one_memory() -> None:
    module = datamodule()
    gatherer = PatchGatherer(fake_cube(HEIGHT, WIDTH), 4)

    def deliver(*ids: int) -> Tensor:
        pixel_ids = torch.tensor(ids, dtype=torch.int64)
        patches = module.on_after_batch_transfer((pixel_ids,), 0)[0]
        assert torch.equal(patches, gatherer(pixel_ids))
        return patches

    with torch.inference_mode():  # scoring comes first, then training writes to the same memory
        first = deliver(5, 6, 7)
    assert not first.is_inference() and not deliver(9).requires_grad
    assert deliver(1, 2).data_ptr() == first.data_ptr() == deliver(8, 3, 3).data_ptr()
    assert len(deliver(1, 2, 3, 4)) == 4  # more than ever before
    assert deliver().shape == (0, 5, 4, 4)


def test_dataset_takes_any_integers_and_whole_batches() -> None:
    reversed_ = np.arange(5, dtype=np.int32)[::-1]
    dataset = PixelDataset(reversed_.astype(np.int64), np.arange(5))
    assert len(dataset) == 5
    assert [column.tolist() for column in dataset[[0, 4, 0]]] == [[4, 0, 4], [0, 4, 0]]


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [2, 3, 9, 10])
def test_a_batch_is_divided_without_parting_pairs(size: int, parts: int) -> None:
    batch = [100 + i for i in range(size)]
    divided = [part_of(batch, part, parts) for part in range(parts)]
    assert sorted(pixel for part in divided for pixel in part) == batch
    pairs = {frozenset((batch[i], batch[size // 2 * 2 - 1 - i])) for i in range(size // 2)}  # i with B + 1 - i
    local = {frozenset((part[i], part[len(part) // 2 * 2 - 1 - i])) for part in divided for i in range(len(part) // 2)}
    assert local == pairs
    counts = [len(part) // 2 for part in divided]
    assert max(counts) - min(counts) <= 1
    assert size % 2 == 0 or batch[-1] == divided[0][-1]


def test_parts_of_an_epoch_are_those_of_the_same_batches() -> None:
    whole, *parts = (datamodule() for _ in range(3))
    for part, module in enumerate(parts):
        module.part = (part, 2)
    for module in (whole, *parts):
        module.set_labelled(*pixels(22), 5)
    batches, first, second = ([ids.tolist() for ids, _ in module.train_dataloader()] for module in (whole, *parts))
    assert [len(batch) for batch in batches] == [10, 10, 2]
    assert [len(batch) for batch in first] == [4, 4, 0]
    assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [sorted(batch) for batch in batches]


def views(module: HsiDataModule) -> list[list[tuple[int, int]]]:
    """Pixel ids and symmetries of the batches; labels must be those of the pixels."""
    batches = []
    for pixel_ids, labels, symmetries in module.train_dataloader():
        assert torch.equal(labels, pixel_ids % 7)
        batches.append(list(zip(pixel_ids.tolist(), symmetries.tolist(), strict=True)))
    return batches


def augmenting(seed: int, part: tuple[int, int] = (0, 1), channels_last: bool = True, n: int = 25) -> HsiDataModule:
    gatherer = PatchGatherer(fake_cube(HEIGHT, WIDTH), 4)
    candidates = np.arange(10, 61, dtype=np.int64)
    module = HsiDataModule(gatherer, HEIGHT * WIDTH, candidates, 10, 256, channels_last, part, augment=True)
    module.set_labelled(*pixels(n), seed=seed)
    return module


@pytest.mark.parametrize("n", [24, 25])  # a multiple of the eight symmetries, and none
def test_every_epoch_sees_every_pixel_once_as_another_symmetry(n: int) -> None:
    module = augmenting(0, n=n)
    epochs = [dict(view for batch in views(module) for view in batch) for _ in range(12)]
    assert all(sorted(epoch) == pixels(n)[0].tolist() for epoch in epochs)
    assert set().union(*(epoch.values() for epoch in epochs)) == set(range(8))
    assert all(len({epoch[pixel_id] for epoch in epochs}) > 2 for pixel_id in epochs[0])
    assert views(augmenting(0)) == views(augmenting(0)) != views(augmenting(1))


def test_the_parts_of_a_batch_see_the_symmetries_of_the_whole() -> None:
    whole, first, second = views(augmenting(3)), views(augmenting(3, (0, 2))), views(augmenting(3, (1, 2)))
    assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [sorted(batch) for batch in whole]


@pytest.mark.parametrize("channels_last", [True, False])
def test_patches_are_seen_as_their_symmetry(channels_last: bool) -> None:
    module = augmenting(0, channels_last=channels_last)
    batch = next(iter(module.train_dataloader()))
    plain, _ = module.on_after_batch_transfer(batch[:2], 0)
    plain = plain.clone()
    patches, labels = module.on_after_batch_transfer(batch, 0)
    assert torch.equal(labels, batch[1])
    assert torch.equal(patches, transformed(plain, batch[2]))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert patches.is_contiguous(memory_format=layout)
