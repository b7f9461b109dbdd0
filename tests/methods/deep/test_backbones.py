"""Sizes are those of the paper's networks: the tables below were computed apart from this code, by hand formulas."""

import math

import pytest
import torch
from torch import Tensor, nn

from hsi_al.config.schema import STEMS
from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep.backbones import densenet, resnet
from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan, count_parameters, stem, stem_output_size
from hsi_al.methods.deep.backbones.registry import build_backbone, networks
from hsi_al.methods.deep.loss_prediction import LossPredictionModule

# (bands, classes) of Pavia University, Indian Pines with 9 and 16 classes, and Salinas.
SCENES = ((103, 9), (200, 9), (200, 16), (204, 16))
PARAMETERS = {
    "densenet121": (7_013_001, 7_068_873, 7_076_048, 7_078_352),
    "densenet169": (12_549_385, 12_605_257, 12_616_912, 12_619_216),
    "densenet201": (18_160_137, 18_216_009, 18_229_456, 18_231_760),
    "resnet18": (11_231_049, 11_286_921, 11_290_512, 11_292_816),
    "resnet34": (21_339_209, 21_395_081, 21_398_672, 21_400_976),
    "resnet50": (23_576_393, 23_632_265, 23_646_608, 23_648_912),
    "resnet101": (42_568_521, 42_624_393, 42_638_736, 42_641_040),
    "resnet152": (58_212_169, 58_268_041, 58_282_384, 58_284_688),
    "lenet": (76_921, 91_471, 92_066, 92_666),
    "spectral": (4_951, 8_249, 8_480, 8_616),
    "small": (118_487, 124_889, 125_344, 125_608),
}
TABLE1_PARAMETERS = {
    "densenet121": (7_013_001, 7_068_873, 7_076_048, 7_078_352),
    "densenet169": (13_595_977, 13_651_849, 13_664_848, 13_667_152),
    "densenet201": (18_541_769, 18_597_641, 18_611_536, 18_613_840),
}
TAPS = {
    "densenet121": (256, 512, 1024, 1024),
    "densenet169": (256, 512, 1280, 1664),
    "densenet201": (256, 512, 1792, 1920),
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
    "resnet152": (256, 512, 1024, 2048),
    "spectral": (32, 32),
    "small": (64, 64, 64, 64),
}
LOSS_HEADS = {
    "densenet121": (361_089, 361_473),
    "densenet169": (475_777, 476_161),
    "densenet201": (574_081, 574_465),
    "resnet18": (123_521, 123_905),
    "resnet34": (123_521, 123_905),
    "resnet50": (492_161, 492_545),
    "resnet101": (492_161, 492_545),
    "resnet152": (492_161, 492_545),
    "spectral": (8_577, 8_705),
    "small": (33_409, 33_793),
}
MAP_SIZES = {"s1": [32, 16, 8, 4], "s1_pool": [16, 8, 4, 2], "s2": [16, 8, 4, 2], "s2_pool": [8, 4, 2, 1]}


def on_meta(name: str, n_bands: int, n_classes: int, patch_size: int = 32, stem_kind: str = "s1") -> Backbone:
    """Shapes and counts only: nothing is allocated, nothing is computed."""
    with torch.device("meta"):
        return build_backbone(Plan(name, n_bands, n_classes, patch_size, stem_kind))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks of the same parts: two layers per dense block, one block per residual layer."""
    monkeypatch.setitem(densenet.BLOCKS, "dense", (2, 2, 2, 2))
    monkeypatch.setattr(resnet, "WIDTHS", (16, 24, 32, 40))
    monkeypatch.setitem(resnet.LAYERS, "basic", ((2, 1, 1, 1), 1))
    monkeypatch.setitem(resnet.LAYERS, "bottleneck", ((1, 1, 1, 1), 4))
    for name, build in (("dense", densenet.build), ("basic", resnet.build), ("bottleneck", resnet.build)):
        monkeypatch.setitem(networks(), name, Network(build))


def patches(n: int = 4, n_bands: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(n, n_bands, size, size, generator=torch.Generator().manual_seed(seed))


def seeded(name: str, seed: int = 0, **options: object) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_backbone(Plan(name, 3, 4, 8, **options))  # type: ignore[arg-type]


def test_the_tables_cover_every_backbone() -> None:
    assert set(PARAMETERS) == set(networks())
    assert set(TAPS) == set(LOSS_HEADS) == set(networks()) - {"lenet"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    assert tuple(count_parameters(on_meta(name, *scene)) for scene in SCENES) == PARAMETERS[name]


@pytest.mark.parametrize("name", TABLE1_PARAMETERS)
def test_parameter_counts_with_the_literal_widths_of_table_1(name: str) -> None:
    counts = []
    for n_bands, n_classes in SCENES:
        with torch.device("meta"):
            counts.append(count_parameters(build_backbone(Plan(name, n_bands, n_classes, table1_widths=True))))
    assert tuple(counts) == TABLE1_PARAMETERS[name]


@pytest.mark.parametrize("name", TAPS)
def test_taps_and_the_loss_prediction_module_on_them(name: str) -> None:
    backbone = on_meta(name, 5, 3)
    assert backbone.tap_channels == TAPS[name]
    assert backbone.classifier.in_features == TAPS[name][-1]
    for fuse, expected in zip(("sum", "concat"), LOSS_HEADS[name], strict=True):
        assert count_parameters(LossPredictionModule(backbone.tap_channels, fuse=fuse)) == expected


def test_only_trainable_parameters_are_counted() -> None:
    layer = nn.Linear(3, 2)
    assert count_parameters(layer) == 8
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


@pytest.mark.parametrize("stem_kind", STEMS)
@pytest.mark.parametrize("name", ["densenet121", "resnet18", "resnet50"])
def test_block_maps(name: str, stem_kind: str) -> None:
    backbone = on_meta(name, 7, 5, stem_kind=stem_kind)
    logits, taps = backbone(torch.empty(2, 7, 32, 32, device="meta"))
    assert [tuple(tap.shape) for tap in taps] == [
        (2, channels, size, size) for channels, size in zip(TAPS[name], MAP_SIZES[stem_kind], strict=True)
    ]
    assert logits.shape == (2, 5)


def test_table_1_widths_reach_the_fourth_block() -> None:
    for name, width in (("densenet169", 1856), ("densenet201", 1984)):
        with torch.device("meta"):
            backbone = build_backbone(Plan(name, 3, 2, stem_kind="s2_pool", table1_widths=True))
        _, taps = backbone(torch.empty(2, 3, 32, 32, device="meta"))
        assert taps[3].shape[1] == backbone.tap_channels[3] == width
        assert taps[2].shape[1] == TAPS[name][2]


@pytest.mark.parametrize("stem_kind", STEMS)
def test_stem_size_and_parameters(stem_kind: str) -> None:
    with torch.device("meta"):
        layers = stem(11, stem_kind).eval()
        assert count_parameters(layers) == 11 * 64 * 9 + 2 * 64
        for size in range(1, 41):
            assert layers(torch.empty(1, 11, size, size)).shape[-1] == stem_output_size(size, stem_kind)


def test_stem_is_convolution_norm_relu_and_pooling() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = stem(3, "s2_pool").eval()
    inputs = patches(2, 3, 9)
    convolved = nn.functional.conv2d(inputs, next(layers.parameters()), stride=2, padding=1) / math.sqrt(1 + 1e-5)
    expected = nn.functional.max_pool2d(convolved.clamp(min=0), 3, 2, 1)
    assert torch.allclose(layers(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["densenet121", "densenet169", "densenet201"])
@pytest.mark.parametrize(("stem_kind", "smallest"), [("s1", 8), ("s2", 15), ("s1_pool", 15), ("s2_pool", 29)])
def test_too_small_patches_for_densenets(name: str, stem_kind: str, smallest: int) -> None:
    with pytest.raises(ConfigurationError, match=f"patch_size={smallest - 1} is too small for {name}") as caught:
        on_meta(name, 3, 2, smallest - 1, stem_kind)
    assert "\n" not in str(caught.value)
    if name == "densenet121":
        _, taps = on_meta(name, 3, 2, smallest, stem_kind)(torch.empty(2, 3, smallest, smallest, device="meta"))
        assert taps[3].shape[-1] == 1


@pytest.mark.parametrize(
    ("patch_size", "stem_kind", "remedy"),
    [
        (5, "s1", "take patch_size=8 or more, or backbone=small."),
        (7, "s2", "take patch_size=15 or more, or backbone=small."),
        (9, "s2", "take backbone.stem=s1, patch_size=15 or more, or backbone=small."),
        (14, "s1_pool", "take backbone.stem=s1, patch_size=15 or more, or backbone=small."),
        (15, "s2_pool", "take backbone.stem=s1, patch_size=29 or more, or backbone=small."),
    ],
)
def test_a_refused_densenet_names_only_choices_that_work(patch_size: int, stem_kind: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        on_meta("densenet121", 3, 2, patch_size, stem_kind)
    assert str(caught.value).endswith(f"; {remedy}")


@pytest.mark.parametrize("stem_kind", STEMS)
@pytest.mark.parametrize("patch_size", [5, 9, 15])
def test_resnets_take_small_patches_with_every_stem(patch_size: int, stem_kind: str) -> None:
    backbone = on_meta("resnet18", 3, 2, patch_size, stem_kind)
    assert backbone(torch.empty(2, 3, patch_size, patch_size, device="meta"))[0].shape == (2, 2)


def test_resnets_and_lenet_take_small_patches() -> None:
    on_meta("resnet18", 3, 2, 1, "s2_pool").eval()(torch.empty(1, 3, 1, 1, device="meta"))
    with pytest.raises(ConfigurationError, match="for lenet: take patch_size=16 or more, or backbone=small"):
        build_backbone(Plan("lenet", 3, 2, 15))
    assert build_backbone(Plan("lenet", 3, 2, 16))(torch.rand(1, 3, 16, 16))[0].shape == (1, 2)


def test_an_unknown_name_lists_the_backbones() -> None:
    with pytest.raises(ConfigurationError, match="no backbone 'resnet20'") as caught:
        build_backbone(Plan("resnet20", 3, 2))
    assert all(name in str(caught.value) for name in networks())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dense", "basic", "bottleneck"])
@pytest.mark.parametrize("training", [True, False])
def test_taps_stay_as_their_blocks_gave_them(name: str, training: bool) -> None:
    backbone = seeded(name).train(training)
    given: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        given.append(output.clone())

    blocks = [*backbone.get_submodule("blocks").children()]
    if name == "dense":
        blocks[3] = backbone.get_submodule("transitions.3")
    for block in blocks:
        block.register_forward_hook(keep)
    _, taps = backbone(patches())
    head = LossPredictionModule(backbone.tap_channels)
    (backbone.classifier(backbone.embed(taps)).sum() + head(taps).sum()).backward()
    assert len(given) == len(taps) == 4
    assert all(torch.equal(tap, output) for tap, output in zip(taps, given, strict=True))


@pytest.mark.usefixtures("small")
def test_dense_taps_are_raw_concatenations_and_the_last_is_rectified() -> None:
    backbone = seeded("dense").eval()
    inputs = patches()
    taps = backbone.taps(inputs)
    assert torch.equal(taps[0][:, :64], backbone.get_submodule("stem")(inputs))
    assert all(bool((tap < 0).any()) for tap in taps[:3])
    assert bool((taps[3] >= 0).all())


@pytest.mark.usefixtures("small")
def test_dense_layers_append_32_channels_to_what_they_got() -> None:
    block = seeded("dense").eval().get_submodule("blocks.0")
    maps = patches(2, 64, 5)
    output = block(maps)
    assert output.shape == (2, 64 + 2 * 32, 5, 5)
    assert torch.equal(output[:, :64], maps)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["basic", "bottleneck"])
def test_a_residual_block_with_a_silent_branch_is_its_rectified_shortcut(name: str) -> None:
    expansion = 4 if name == "bottleneck" else 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = resnet.ResidualBlock(4 * expansion, 4, 1, expansion).eval()
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == (3 if name == "bottleneck" else 2)  # no projection, where the shape stays
    maps = torch.randn(2, 4 * expansion, 3, 3, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(block(maps), maps.clamp(min=0))
    nn.init.zeros_(norms[-1].weight)
    assert torch.equal(block(maps), maps.clamp(min=0))


def test_transition_pools_by_maximum_or_mean() -> None:
    maps = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(1))
    for pooling in ("max", "avg"):
        layers = densenet.transition(2, 1, pooling).eval()
        with torch.no_grad():
            layers.get_parameter("1.weight").copy_(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1))
        rectified = maps.clamp(min=0) / math.sqrt(1 + 1e-5)
        mixed = (2 * rectified[:, :1] - rectified[:, 1:]).reshape(3, 1, 2, 2, 3, 2)
        expected = mixed.amax(dim=(3, 5)) if pooling == "max" else mixed.mean(dim=(3, 5))
        assert torch.allclose(layers(maps), expected, atol=1e-6)


@pytest.mark.usefixtures("small")
def test_densenet_pools_by_maximum_unless_told_otherwise() -> None:
    for backbone, kind in (
        (seeded("dense"), nn.MaxPool2d),
        (seeded("dense", transition_pooling="avg"), nn.AvgPool2d),
    ):
        modules = list(backbone.modules())
        pools = [module for module in modules if isinstance(module, nn.MaxPool2d | nn.AvgPool2d)]
        assert len(pools) == 3
        assert all(type(pool) is kind for pool in pools)
    assert not torch.allclose(seeded("dense")(patches())[0], seeded("dense", transition_pooling="avg")(patches())[0])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dense", "basic", "bottleneck"])
def test_logits_are_the_classifier_on_the_global_mean_of_the_last_tap(name: str) -> None:
    backbone = seeded(name).eval()
    logits, taps = backbone(patches())
    pooled = taps[3].detach().numpy().mean(axis=(2, 3))
    weight, bias = (parameter.detach().numpy() for parameter in backbone.classifier.parameters())
    assert torch.allclose(logits, torch.from_numpy(pooled @ weight.T + bias), atol=1e-5)


@pytest.mark.usefixtures("small")
def test_dropout_acts_on_the_pooled_features_while_training_only() -> None:
    backbone = seeded("basic", dropout=0.5)
    taps = [torch.ones(1, channels, 1, 1) for channels in backbone.tap_channels]
    assert torch.equal(backbone.embed(taps), torch.ones(1, 40))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = backbone.train().dropout(torch.ones(1, 10_000))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.47 < float((dropped == 0).float().mean()) < 0.53
    backbone.eval()
    assert torch.equal(backbone(patches())[0], backbone.classifier(backbone.embed(backbone.taps(patches()))))
    assert seeded("basic").dropout.p == 0.0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dense", "basic", "bottleneck", "small"])
def test_reset_gives_the_weights_of_the_seed_alone(name: str) -> None:
    used, fresh = seeded(name, seed=1), seeded(name, seed=2)
    with torch.no_grad():
        for parameter in used.parameters():
            parameter.add_(1.0)
    used(patches(seed=5))  # moves the running statistics
    for backbone in (used, fresh):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            backbone.reset_parameters()
    state, expected = used.state_dict(), fresh.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        used.reset_parameters()
    changed = [key for key, value in used.state_dict().items() if not torch.equal(value, expected[key])]
    convolutions = [key for key, value in expected.items() if value.ndim == 4]
    assert set(changed) == {*convolutions, "classifier.weight"}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dense", "basic", "bottleneck", "small"])
def test_initial_weights(name: str) -> None:
    backbone = seeded(name)
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert set(norm.weight.tolist()) == set(norm.running_var.tolist()) == {1.0}
        assert set(norm.bias.tolist()) == set(norm.running_mean.tolist()) == {0.0}
        assert (norm.momentum, norm.eps) == (0.1, 1e-5)
    for convolution in convolutions:
        assert convolution.bias is None
        fan_in = convolution.in_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
        weights = convolution.weight.detach()
        # The standard error of a standard deviation is about sd / sqrt(2 n); five of them.
        tolerance = 5 / math.sqrt(2 * weights.numel())
        assert float(weights.std()) == pytest.approx(math.sqrt(2 / fan_in), rel=tolerance)
    assert set(backbone.classifier.bias.tolist()) == {0.0}
    assert len(set(backbone.classifier.weight.flatten().tolist())) > 100


def test_lenet_is_two_convolutions_and_three_dense_layers() -> None:
    backbone = build_backbone(Plan("lenet", 4, 3, 20))
    assert backbone.tap_channels == ()
    # Side 20 -> 16 -> 8 -> 4 -> 2.
    assert count_parameters(backbone) == (6 * 100 + 6) + (16 * 150 + 16) + (64 * 120 + 120) + (120 * 84 + 84) + 3 * 85
    maps = backbone.taps(torch.rand(2, 4, 20, 20))
    assert [tuple(tap.shape) for tap in maps] == [(2, 16, 2, 2)]
    embedding = backbone.embed(maps)
    assert embedding.shape == (2, 84)
    assert bool((embedding >= 0).all())
    biases = [module.bias for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(biases) == 5
    assert all(bias is not None and not bias.any() for bias in biases)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_spectral_sees_the_centre_pixel_alone(size: int) -> None:
    backbone = seeded("spectral").eval()
    pixels = patches(6, size=size)
    centre = pixels[:, :, size // 2, size // 2].clone()
    elsewhere = torch.rand(6, 3, size, size)
    elsewhere[:, :, size // 2, size // 2] = centre
    logits, taps = backbone(pixels)
    assert logits.shape == (6, 4)
    assert [tuple(tap.shape) for tap in taps] == [(6, 32, 1, 1)] * 2
    assert torch.equal(backbone(elsewhere)[0], logits)
    assert torch.allclose(backbone(centre[:, :, None, None])[0], logits, atol=1e-6)
    assert not torch.allclose(backbone(1 - pixels)[0], logits)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 9, 15])
def test_small_takes_any_patch_and_gives_four_maps_of_its_size(size: int) -> None:
    backbone = seeded("small").train()
    logits, taps = backbone(patches(2, size=size))
    assert logits.shape == (2, 4)
    assert [tuple(tap.shape) for tap in taps] == [(2, 64, size, size)] * 4
    predicted = LossPredictionModule(backbone.tap_channels)(taps)
    (logits.sum() + predicted.sum()).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_small_is_a_layer_on_spectra_and_three_convolutions() -> None:
    backbone = seeded("small").eval()
    pixels = patches(3, size=5).double()
    weights = [value.double() for value in backbone.parameters() if value.ndim == 4]
    assert [tuple(weight.shape) for weight in weights] == [(64, 3, 1, 1), *[(64, 64, 3, 3)] * 3]
    norm = math.sqrt(1 + 1e-5)  # fresh batch normalisation: mean 0, variance 1
    maps = torch.einsum("nbij,ob->noij", pixels / norm, weights[0][:, :, 0, 0]).clamp(min=0) / norm
    expected = [maps]
    for weight in weights[1:]:
        padded = nn.functional.pad(maps, (1, 1, 1, 1))
        windows = padded.unfold(2, 3, 1).unfold(3, 3, 1)
        maps = torch.einsum("ncijkl,ockl->noij", windows, weight).clamp(min=0) / norm
        expected.append(maps)
    logits, taps = backbone(pixels.float())
    assert len(taps) == 4
    for tap, wanted in zip(taps, expected, strict=True):
        assert torch.allclose(tap.double(), wanted, atol=1e-4)
    classifier = [parameter.double() for parameter in backbone.classifier.parameters()]
    assert torch.allclose(logits.double(), maps.mean(dim=(2, 3)) @ classifier[0].T + classifier[1], atol=1e-4)


def test_the_centre_of_smalls_last_map_sees_7_x_7_pixels() -> None:
    pixels = patches(1, size=15).requires_grad_()
    seeded("small").eval().taps(pixels)[3][:, :, 7, 7].sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    seen = pixels.grad.abs().sum(dim=(0, 1)) > 0
    assert seen.nonzero().amin().item() == 4 and seen.nonzero().amax().item() == 10
    assert bool(seen[4:11, 4:11].all())


def test_small_drops_pooled_features_while_training() -> None:
    backbone = seeded("small", dropout=0.25)
    assert backbone.dropout.p == 0.25
    backbone.eval()
    assert torch.equal(backbone(patches())[0], backbone.classifier(backbone.embed(backbone.taps(patches()))))
