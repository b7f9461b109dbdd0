"""Sizes were computed apart from this code, by hand formulas and from released checkpoints."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.cnn3d import PATCH_SIZES
from hsi_al.methods.cnn3d.network import NETWORKS, Cnn3d, Res3d, build_network
from hsi_al.methods.deep.backbones.base import Backbone, Plan, count_parameters
from hsi_al.methods.deep.backbones.registry import networks
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from hsi_al.methods.registry import method_of
from hsi_al.methods.residual3d import ResidualBlock3d
from hsi_al.methods.room import Task
from tests.config.test_tree import composed

# (bands, classes) of Pavia University, Indian Pines with 9 and 16 classes, and Salinas.
SCENES = ((103, 9), (200, 9), (200, 16), (204, 16))
PARAMETERS = {
    "hamida": (35_039, 38_819, 45_196, 45_196),
    "li": (43_401, 71_337, 115_248, 117_296),
    # 173,488 in the convolutions, then FC 64 * (5 or 11) -> 128 -> classes.
    "res3d": (173_488 + 320 * 128 + 128 + 1_161, 264_889, 173_488 + 90_240 + 2_064, 173_488 + 90_240 + 2_064),
}
# (bands, spectral length behind every convolution and pooling).
LENGTHS = {
    "hamida": ((103, (101, 51, 51, 26, 26, 14)), (200, (198, 99, 99, 50, 50, 26)), (3, (1, 1, 1, 1, 1, 1))),
    "li": ((103, (99, 99)), (200, (196, 196)), (5, (1, 1))),
    "res3d": ((200, (200, 50, 50, 13, 11)), (100, (100, 25, 25, 7, 5)), (33, (33, 9, 9, 3, 1))),
}
SIDES = {"hamida": (3, 3, 1, 1, 1, 1), "li": (3, 1), "res3d": (9, 5, 5, 3, 1)}
SMALLEST_BANDS = {"hamida": 3, "li": 5, "res3d": 33}


def network(name: str, n_bands: int = 40, n_classes: int = 3, seed: int = 0, dropout: float = 0.0) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(Plan(name, n_bands, n_classes, PATCH_SIZES[name], dropout=dropout)).eval()


def patches(name: str, n: int = 3, n_bands: int = 40, seed: int = 0) -> Tensor:
    return torch.rand(n, n_bands, PATCH_SIZES[name], PATCH_SIZES[name], generator=torch.Generator().manual_seed(seed))


def test_users_are_not_offered_them_as_backbones() -> None:
    assert tuple(NETWORKS) == tuple(PATCH_SIZES) == tuple(PARAMETERS)
    assert not set(NETWORKS) & set(networks())
    assert PATCH_SIZES == {"hamida": 5, "li": 5, "res3d": 9}
    assert "can't be recovered" in (Cnn3d.__doc__ or "")


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        counts = [count_parameters(build_network(Plan(name, *scene, PATCH_SIZES[name]))) for scene in SCENES]
    assert tuple(counts) == PARAMETERS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_volumes_behind_every_layer(name: str) -> None:
    for n_bands, lengths in LENGTHS[name]:
        backbone = network(name, n_bands)
        volumes, seen = patches(name, n_bands=n_bands).unsqueeze(1), []
        for layer in backbone.get_submodule("convolutions").children():
            volumes = layer(volumes)
            if not isinstance(layer, nn.ReLU):
                seen.append(tuple(volumes.shape[2:]))
        assert seen == [(length, side, side) for length, side in zip(lengths, SIDES[name], strict=True)]
        assert backbone(patches(name, n_bands=n_bands))[0].shape == (3, 3)


def test_the_convolutions_of_hamida_that_pool_have_no_relu() -> None:
    kinds = [type(layer).__name__ for layer in network("hamida").get_submodule("convolutions").children()]
    assert kinds == ["Conv3d", "ReLU", "Conv3d", "Conv3d", "ReLU", "Conv3d", "Conv3d", "ReLU", "Conv3d", "ReLU"]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_classifier_on_the_embedding(name: str) -> None:
    backbone = network(name)
    logits, taps = backbone(patches(name))
    assert backbone.tap_channels == ()
    embedding = backbone.embed(taps)
    assert embedding.shape == (3, backbone.classifier.in_features)
    assert torch.equal(logits, backbone.classifier(embedding))
    assert torch.allclose(logits[:1], backbone(patches(name)[:1])[0], atol=1e-5)


def test_res3d_has_128_rectified_features_on_convolutions_without_relu() -> None:
    backbone = network("res3d")
    volume = backbone.taps(patches("res3d"))[0]
    embedding = backbone.embed([volume])
    assert embedding.shape == (3, 128)
    assert bool((volume < 0).any())
    assert bool((embedding >= 0).all())
    assert bool((embedding == 0).any())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_the_bands_matters(name: str) -> None:
    backbone, volumes = network(name), patches(name)
    for order in (torch.arange(39, -1, -1), torch.arange(40).roll(1)):
        assert not torch.allclose(backbone(volumes)[0], backbone(volumes[:, order])[0], atol=1e-3)


def test_convolutions_know_neighbouring_bands_only() -> None:
    convolution = network("li").get_submodule("convolutions.0")
    volumes = patches("li").unsqueeze(1)
    changed = volumes.clone()
    changed[:, :, 20] += 1
    moved = (convolution(volumes) != convolution(changed)).any(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()
    assert moved == list(range(15, 22))  # 7 bands, shifted by one band of padding


@pytest.mark.parametrize(("given", "acts"), [(0.0, 0.5), (0.2, 0.2)])
def test_the_run_says_how_strong_dropout_is(given: float, acts: float) -> None:
    config = composed("learner=cnn3d", "acquisition=bald", f"backbone.dropout={given}")
    cube = np.random.default_rng(0).random((9, 9, 12), np.float32)
    task = Task(config, cube, 3, np.arange(81), frozenset({"mc_probabilities_NKC"}))
    deep = method_of(config).build(task)
    assert isinstance(deep, DeepLearner) and deep.settings.backbone.dropout == acts


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_acts_while_training_only(name: str) -> None:
    backbone, plain = network(name, dropout=0.5), network(name)
    assert torch.equal(backbone(patches(name))[0], plain(patches(name))[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(backbone.train()(patches(name))[0], plain(patches(name))[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_larger_patches_fit(name: str) -> None:
    side = PATCH_SIZES[name] + 4
    with torch.device("meta"):
        backbone = build_network(Plan(name, 50, 7, side))
        assert backbone(torch.empty(2, 50, side, side))[0].shape == (2, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_too_small_patches_or_spectra_are_refused(name: str) -> None:
    bands, side = SMALLEST_BANDS[name], PATCH_SIZES[name]
    build_network(Plan(name, bands, 3, side))
    for wrong in ((bands - 1, side), (bands, side - 1)):
        with pytest.raises(ConfigurationError, match=rf"{name}: it needs patches of {side} and {bands} bands"):
            build_network(Plan(name, wrong[0], 3, wrong[1]))


@pytest.mark.parametrize("name", NETWORKS)
def test_reset_gives_kaiming_weights_of_the_seed_alone(name: str) -> None:
    used, fresh = network(name, seed=1), network(name, seed=2)
    with torch.no_grad():
        for parameter in used.parameters():
            parameter.add_(1.0)
    for backbone in (used, fresh):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            backbone.reset_parameters()
    expected = fresh.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in used.state_dict().items())
    layers = [module for module in used.modules() if isinstance(module, nn.Conv3d | nn.Linear)]
    assert sum(count_parameters(layer) for layer in layers) == count_parameters(used)
    for layer in layers:
        weights = layer.weight.detach()
        tolerance = 5 / math.sqrt(2 * weights.numel())  # five standard errors of a standard deviation
        assert float(weights.std()) == pytest.approx(math.sqrt(2 / weights[0].numel()), rel=tolerance)
        assert float(weights.abs().max()) > 2 * float(weights.std())  # normal: a uniform one ends at 1.7
        assert layer.bias is not None
        assert not layer.bias.any()


def test_the_residual_block_adds_its_first_rectified_maps_behind_the_last_relu() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = ResidualBlock3d(2, 4)
    volumes = torch.randn(3, 2, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv3d)]
    assert [convolution.in_channels for convolution in convolutions] == [2, 4, 4, 4]
    entry = maps = convolutions[0](volumes).clamp(min=0)
    for convolution in convolutions[1:]:
        maps = convolution(maps).clamp(min=0)
    assert torch.allclose(block(volumes), maps + entry, atol=1e-6)
    assert block(volumes).shape == (3, 4, 6, 5, 5)


def test_res3d_pools_4_bands_and_2_by_2_pixels_by_maximum() -> None:
    pool = Res3d(40, 3).convolutions.get_submodule("1")
    volumes = torch.rand(1, 1, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    pooled = pool(volumes)
    assert pooled.shape == (1, 1, 2, 2, 2)  # the rest has windows of its own
    assert float(pooled[0, 0, 0, 0, 0]) == float(volumes[0, 0, :4, :2, :2].max())
    assert float(pooled[0, 0, 1, 1, 1]) == float(volumes[0, 0, 4, 2, 2])


def test_hamida_learns_separated_classes() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.repeat(np.arange(4).reshape(2, 2), 20, axis=0), 20, axis=1)
    cube = rng.normal(0, 1, (4, 20))[truth] + rng.normal(0, 0.3, (40, 40, 20))
    everywhere, labels = np.arange(truth.size), truth.ravel()
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == value), 15, replace=False) for value in range(4)])
    settings = DeepSettings().having(
        backbone="hamida", patch_size=5, epochs=12, batch_size=20, accelerator="cpu", channels_last=False
    )
    deep = DeepLearner(cube, 4, everywhere, settings, frozenset({"embeddings_ND"}), network=build_network)
    deep.fit(chosen, labels[chosen], 0, np.random.default_rng(1))
    outputs = deep.predict(everywhere)
    assert (outputs.predicted_class == labels).mean() > 0.95
    assert outputs.embeddings_ND is not None
    assert outputs.embeddings_ND.shape == (1600, 35 * 3)
    assert deep.describe() == f"hamida, {count_parameters(deep.module.backbone):,} parameters"


def test_the_loss_prediction_module_has_nothing_to_sit_on() -> None:
    with pytest.raises(LearnerError, match="hamida can't give predicted_loss_N"):
        DeepLearner(
            np.random.default_rng(0).random((8, 8, 6)),
            3,
            np.arange(64),
            DeepSettings().having(backbone="hamida", patch_size=5, accelerator="cpu"),
            frozenset({"predicted_loss_N"}),
            network=build_network,
        )
