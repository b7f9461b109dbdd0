"""What runs say about themselves, counted once more by other means: overlap, parameters, training steps."""

import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.optim.optimizer import register_optimizer_step_post_hook

from experiments.benchmarks.measure import resident_memory
from hsi_al.active.meta import forget_peak_memory, peak_memory_mb
from hsi_al.active.observers.console import guard_sentence
from hsi_al.active.parts import build_split
from hsi_al.config.schema import BackboneConfig, Config, DatasetConfig, ProtocolConfig, SplitConfig, TrainerConfig
from hsi_al.methods.cae3d_svm.extractor import Cae3dExtractor, Cae3dSettings
from hsi_al.methods.cnn3d.network import NETWORKS as NETWORKS_3D
from hsi_al.methods.cnn_ppf.learner import PpfLearner, PpfSettings
from hsi_al.methods.deep.backbones.base import Plan, count_parameters
from hsi_al.methods.deep.backbones.registry import build_backbone, networks
from hsi_al.methods.deep.learner import DeepLearner
from hsi_al.methods.deep.loss_prediction import LossPredictionModule
from hsi_al.methods.dfsl_svm.extractor import DfslExtractor, DfslSettings, Windows
from hsi_al.methods.registry import method_of, own_methods
from hsi_al.methods.room import Task
from hsi_al.methods.scnn_svm.extractor import ScnnExtractor, ScnnSettings
from hsi_al.pool.splits import in_patches
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
HEIGHT, WIDTH = 21, 26
EVERY = np.arange(HEIGHT * WIDTH)
LABELLED = np.array([0, 25, 3 * WIDTH + 7, 10 * WIDTH + 13, 20 * WIDTH, 20 * WIDTH + 25])  # corners too
DEEP = [f"deep/{network}" for network in ("lenet/16", "lenet/17", "spectral/16", "small/4", "small/5")]
CUBE = np.repeat(EVERY.reshape(HEIGHT, WIDTH, 1), 40, axis=2).astype(np.float32)  # every pixel's value is its id


def config_of(learner: str, **changes: Any) -> Config:
    """`deep/<backbone>/<patch size>`, `cnn3d/<architecture>` or the name of a learner."""
    name, *kind = learner.split("/")
    config = Config(dataset=DatasetConfig("field"), trainer=TrainerConfig("cpu"), protocol=ProtocolConfig("test"))
    config.learner = own_methods()[name].settings(name=name, method=name)
    if name == "deep":
        config.backbone, config.patch_size = BackboneConfig(kind[0]), int(kind[1])
    elif kind:
        config.learner.architecture = kind[0]  # type: ignore[attr-defined]
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def seen_by(learner: str, augment: bool) -> set[int]:
    """Ids of all pixels in the patches that the learner cuts out around `LABELLED`."""
    ids = torch.from_numpy(LABELLED)
    if learner.startswith("scnn"):
        patches = ScnnExtractor(CUBE, ScnnSettings(centred=False), "cpu").module.gatherer(ids)
    elif learner.startswith("cae3d"):
        patches = Cae3dExtractor(CUBE, Cae3dSettings(), "cpu").module.patches(ids)[..., 0]
    elif learner.startswith("dfsl"):
        patches = torch.from_numpy(Windows(CUBE, 40, DfslSettings().patch_size)(LABELLED))
    else:
        config = config_of(learner, protocol=ProtocolConfig("test", augment=augment, batch_size=2))
        deep = own_methods()[config.learner.name].build(Task(config, CUBE, 2, EVERY))
        assert isinstance(deep, DeepLearner)
        deep.datamodule.set_labelled(LABELLED, np.zeros_like(LABELLED), 0)
        batches = [batch for _ in range(8) for batch in deep.datamodule.train_dataloader()]
        patches = torch.stack([deep.datamodule.on_after_batch_transfer(batch, 0)[0].clone() for batch in batches])
    return set((patches * EVERY[-1]).round().long().unique().tolist())


@pytest.mark.parametrize(
    ("learner", "augment"),
    [(name, augment) for name in DEEP for augment in (False, True)]
    + [(name, False) for name in ("cnn3d/hamida", "cnn3d/li", "cnn3d/res3d", "scnn_svm", "cae3d_svm", "dfsl_svm")],
)
def test_the_pixels_in_training_patches_are_those_that_a_learner_cuts_out(learner: str, augment: bool) -> None:
    config = config_of(learner)
    window = method_of(config).window(config)
    assert window is not None
    seen = seen_by(learner, augment)
    assert seen == set(np.flatnonzero(in_patches(LABELLED, (HEIGHT, WIDTH), window)).tolist())
    assert learner != "deep/spectral/16" or seen == set(LABELLED.tolist())


@pytest.mark.parametrize("learner", [*DEEP, "cnn3d/res3d", "scnn_svm", "cae3d_svm", "dfsl_svm", "emp_svm", "lda"])
@pytest.mark.parametrize("patch_size", [1, 4, 16])
def test_a_spatial_split_keeps_test_pixels_out_of_the_patches_that_are_cut(learner: str, patch_size: int) -> None:
    truth = np.random.default_rng(0).integers(1, 3, (60, 60))
    scene = Scene("field", np.random.default_rng(0).random((60, 60, 2)), truth, {1: "a", 2: "b"})
    config = config_of(
        learner, split=SplitConfig("blocks", block_size=20), protocol=ProtocolConfig("test", initial_size=4, rounds=1)
    )
    if not learner.startswith("deep"):
        config.patch_size = patch_size
    split, window = build_split(config, scene), method_of(config).window(config) or 0
    cut = max(window, config.patch_size)  # methods of one patch_size share their test pixels
    assert len(split.test) and split.overlap(split.candidates, (60, 60), cut)[0] == 0
    assert split.overlap(split.candidates, (60, 60), cut + 2)[0] > 0  # no more than needed


def test_the_sentence_about_the_guard_says_who_cuts_patches() -> None:
    assert guard_sentence(config_of("cae3d_svm")).startswith("No patch of a candidate holds a test pixel")
    for learner in ("emp_svm", "jcr", "cnn_ppf"):
        config = config_of(learner, patch_size=12)
        assert guard_sentence(config).startswith(
            "No test pixel lies in the 12 x 12 pixels around a candidate; this learner"
        )


def convolution(inputs: int, outputs: int, area: int, bias: bool = False) -> int:
    return inputs * outputs * area + outputs * bias


def dense_net(depths: tuple[int, ...], bands: int, classes: int) -> tuple[int, list[int]]:
    total, channels, taps = convolution(bands, 64, 9) + 128, 64, []
    for index, depth in enumerate(depths):
        for _ in range(depth):
            total += 2 * channels + convolution(channels, 128, 1) + 256 + convolution(128, 32, 9)
            channels += 32
        taps.append(channels)
        total += 2 * channels
        if index < 3:
            total += convolution(channels, channels // 2, 1)
            channels //= 2
    return total + channels * classes + classes, taps


def residual_net(depths: tuple[int, ...], wide: bool, bands: int, classes: int) -> tuple[int, list[int]]:
    total, channels, taps = convolution(bands, 64, 9) + 128, 64, []
    for width, depth in zip((64, 128, 256, 512), depths, strict=True):
        out = 4 * width if wide else width
        for index in range(depth):
            if wide:
                total += channels * width + 2 * width + 9 * width**2 + 2 * width + width * out + 2 * out
            else:
                total += 9 * channels * width + 2 * width + 9 * width**2 + 2 * width
            if index == 0 and (channels != out or width > 64):
                total += channels * out + 2 * out
            channels = out
        taps.append(out)
    return total + channels * classes + classes, taps


def lenet(bands: int, classes: int) -> tuple[int, list[int]]:
    layers = ((bands * 25, 6), (6 * 25, 16), (400, 120), (120, 84), (84, classes))
    return sum(inputs * outputs + outputs for inputs, outputs in layers), []


def spectral(bands: int, classes: int) -> tuple[int, list[int]]:
    return 2 * bands + bands * 32 + 64 + 32 * 32 + 64 + 33 * classes, [32, 32]


def small(bands: int, classes: int) -> tuple[int, list[int]]:
    convolutions = convolution(bands, 64, 1) + 3 * convolution(64, 64, 9)
    return 2 * bands + convolutions + 4 * 128 + 65 * classes, [64] * 4


CLOSED_FORMS = {
    "densenet121": lambda b, c: dense_net((6, 12, 24, 16), b, c),
    "densenet169": lambda b, c: dense_net((6, 12, 32, 32), b, c),
    "densenet201": lambda b, c: dense_net((6, 12, 48, 32), b, c),
    "resnet18": lambda b, c: residual_net((2, 2, 2, 2), False, b, c),
    "resnet34": lambda b, c: residual_net((3, 4, 6, 3), False, b, c),
    "resnet50": lambda b, c: residual_net((3, 4, 6, 3), True, b, c),
    "resnet101": lambda b, c: residual_net((3, 4, 23, 3), True, b, c),
    "resnet152": lambda b, c: residual_net((3, 8, 36, 3), True, b, c),
    "lenet": lenet,
    "spectral": spectral,
    "small": small,
}


@pytest.mark.parametrize(("bands", "classes"), [(200, 9), (7, 3)])
@pytest.mark.parametrize("name", networks())
def test_a_backbone_has_the_parameters_of_its_closed_form(name: str, bands: int, classes: int) -> None:
    with torch.device("meta"):  # nothing is allocated
        network = build_backbone(Plan(name, bands, classes))
    expected, taps = CLOSED_FORMS[name](bands, classes)
    assert (count_parameters(network), list(network.tap_channels)) == (expected, taps)
    if taps:
        for fuse, width in (("sum", 128), ("concat", 128 * len(taps))):
            head = count_parameters(LossPredictionModule(taps, fuse=fuse))
            assert head == sum(128 * tap + 128 for tap in taps) + width + 1


def test_3d_networks_have_the_parameters_of_their_closed_forms() -> None:
    bands, classes = 200, 9

    def block(inputs: int, width: int) -> int:
        return convolution(inputs, width, 27, True) + 3 * convolution(width, width, 27, True)

    length = -(-(bands - 2) // 4) // 2 + 1
    hamida = convolution(1, 20, 27, True) + convolution(20, 20, 3, True) + convolution(20, 35, 27, True)
    hamida += 2 * convolution(35, 35, 3, True) + convolution(35, 35, 2, True) + 35 * length * classes + classes
    li = convolution(1, 16, 63, True) + convolution(16, 32, 27, True) + 32 * (bands - 4) * classes + classes
    res3d = block(1, 16) + block(16, 32) + convolution(32, 64, 27, True)
    res3d += 64 * (-(-bands // 16) - 2) * 128 + 128 + 129 * classes
    for name, expected in (("hamida", hamida), ("li", li), ("res3d", res3d)):
        assert count_parameters(NETWORKS_3D[name](bands, classes)) == expected


@pytest.fixture
def steps() -> Any:
    """Every optimiser step of the test adds an entry."""
    taken: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    yield taken
    hook.remove()


@pytest.mark.parametrize(("n", "batch_size"), [(6, 2), (5, 2), (3, 8), (7, 3)])
@pytest.mark.parametrize("warm_start", [False, True])
def test_a_network_trains_the_steps_that_it_says(steps: list[int], n: int, batch_size: int, warm_start: bool) -> None:
    protocol = ProtocolConfig("test", epochs=3, warm_epochs=2, warm_start=warm_start, batch_size=batch_size)
    deep = own_methods()["deep"].build(Task(config_of("deep/spectral/4", protocol=protocol), CUBE, 2, EVERY))
    assert isinstance(deep, DeepLearner)
    for round_ in (0, 1):
        steps.clear()
        deep.fit(EVERY[:n], EVERY[:n] % 2, round_, np.random.default_rng(0))
        assert len(steps) == deep.steps(n, round_)
    steps.clear()
    said = deep.estimate(EVERY[:n], EVERY[:n] % 2, [(0, n), (1, n + 3)], 10, 5)
    total = deep.steps(n, 0) + deep.steps(n + 3, 1)
    assert said.work.startswith(f"{total} training steps of batch {min(n, batch_size)} and 25 patches to score")
    assert said.total_seconds == pytest.approx(sum(said.fit_seconds) + 2 * said.predict_seconds + said.map_seconds)


def test_extractors_train_the_steps_that_they_say(steps: list[int]) -> None:
    rng, labels = np.random.default_rng(0), np.arange(6) % 2
    scnn = ScnnExtractor(CUBE, ScnnSettings(epochs=3, steps=2, pairs=4), "cpu")
    scnn.fit(LABELLED, labels, rng)
    assert len(steps) == 6 and "6 steps of 4 + 4 pairs" in scnn.describe()
    steps.clear()
    cae = Cae3dExtractor(CUBE[:4, :4], Cae3dSettings(epochs=2, batch_size=4, max_patches=8), "cpu")
    cae.fit(LABELLED, labels, rng)
    assert len(steps) == 4 and "2 epochs on 8 patches, batch 4" in cae.describe()
    steps.clear()
    source = Scene("other", CUBE[:12, :20] + 1.0, np.repeat([[1, 2]], [10, 10], axis=1).repeat(12, axis=0), {})
    settings = DfslSettings(episodes=3, way=2, queries=1, pixels_per_class=10, bands=40)
    dfsl = DfslExtractor(CUBE, [source], settings, "cpu")
    dfsl.fit(LABELLED, labels, rng)
    assert len(steps) == 3 and "3 episodes of 2 classes with 1 queries" in dfsl.describe()


@pytest.mark.parametrize("least_steps", [0, 7])
def test_pairs_train_the_steps_that_they_say(steps: list[int], least_steps: int) -> None:
    settings = PpfSettings(epochs_per_stage=2, stages=3, least_steps=least_steps, batch_size=8, optimiser="adam")
    ppf = PpfLearner(CUBE, 3, replace(settings, partners=2), "cpu")
    ppf.fit(EVERY[:12], np.arange(12) % 3, 0, np.random.default_rng(0))
    assert ppf.work(12, 10).startswith(f"about {len(steps)} training steps of 8 pairs")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can start to count anew")
def test_the_peak_of_memory_is_that_of_one_run() -> None:
    def used(megabytes: int) -> mmap.mmap:
        """Memory that goes back to the system when it is closed, which the heap of a large process may keep."""
        found = mmap.mmap(-1, megabytes * 2**20)
        for _ in range(megabytes):
            found.write(b"1" * 2**20)
        return found

    used(512).close()  # that an earlier job of a sweep has used
    before = peak_memory_mb() or 0
    forget_peak_memory()
    kept = used(128)
    after = peak_memory_mb() or 0
    assert after < before - 256
    # Compared with now, since the system may take back pages of libraries at any moment.
    kept.close()
    assert resident_memory() + 100 < (peak_memory_mb() or 0)
