"""The networks for pairs: sizes, weight sharing, loss, initialisation and optimiser."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError
from hsi_al.methods.cnn_ppf.network import PpfModule, PpfNetwork, first_kernel
from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.methods.scnn_svm import PATCH_SIZE
from hsi_al.methods.scnn_svm.network import ScnnModule, ScnnNetwork, pair_loss
from hsi_al.training.patches import PatchGatherer


@pytest.fixture(autouse=True)
def seed() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# CNN-PPF


@pytest.mark.parametrize(("n_bands", "n_classes", "size"), [(103, 9, 33_100), (200, 9, 58_710), (204, 16, 62_477)])
def test_ppf_parameters(n_bands: int, n_classes: int, size: int) -> None:
    network = PpfNetwork(n_bands, n_classes)
    assert count_parameters(network) == size
    assert not network.padded
    assert network(torch.rand(3, 2, n_bands)).shape == (3, n_classes + 1)


def test_ppf_widths_of_the_demo() -> None:
    widths, maps = [], torch.rand(1, 1, 2, 103)
    for layer in PpfNetwork(103, 9).layers:
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            widths.append(maps.shape[-1])
    assert widths == [96, 96, 96, 32, 30, 28, 14, 12, 10, 5, 1, 1, 1]


@pytest.mark.parametrize(("n_bands", "kernel"), [(8, 8), (103, 8), (149, 8), (150, 9), (204, 9)])
def test_first_kernel(n_bands: int, kernel: int) -> None:
    assert first_kernel(n_bands) == kernel


@pytest.mark.parametrize(("n_bands", "padded"), [(8, True), (20, True), (43, True), (44, False), (150, False)])
def test_ppf_with_few_bands(n_bands: int, padded: bool) -> None:
    network = PpfNetwork(n_bands, 3)
    assert network.padded == padded
    assert network(torch.rand(2, 2, n_bands)).shape == (2, 4)


def test_ppf_with_too_few_bands() -> None:
    with pytest.raises(ConfigurationError, match="7 bands: its first convolution is 8 long"):
        PpfNetwork(7, 3)


def test_ppf_tells_the_two_pixels_apart() -> None:
    pairs = torch.rand(4, 2, 103)
    network = PpfNetwork(103, 4)
    assert not torch.allclose(network(pairs), network(pairs.flip(1)))


def test_ppf_initialisation() -> None:
    network = PpfNetwork(200, 9)
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    for index, gain in ((0, 1), (1, 1), (2, 2), (7, 2)):
        weight, bias = convolutions[index].weight, convolutions[index].bias
        std = sqrt(gain / weight[0].numel())
        assert float(weight.detach().abs().max()) <= 2 * std
        # Cutting at two standard deviations leaves 0.88 of one.
        assert float(weight.detach().std()) == pytest.approx(0.88 * std, rel=0.2)
        assert bias is not None
        assert not bias.any()


def test_ppf_gathers_spectra_and_decays_weights_only() -> None:
    spectra = torch.rand(6, 20)
    module = PpfModule(PpfNetwork(20, 2), spectra, lr=0.5, momentum=0.9, weight_decay=0.25)
    module.epochs_per_stage = 2
    pairs = torch.tensor([[0, 5], [3, 3]])
    assert torch.equal(module(pairs), module.network(torch.stack([spectra[[0, 5]], spectra[[3, 3]]])))
    plan: Any = module.configure_optimizers()
    weights, biases = plan["optimizer"].param_groups
    assert (weights["weight_decay"], biases["weight_decay"], weights["momentum"]) == (0.25, 0.0, 0.9)
    assert all(p.ndim == 4 for p in weights["params"])
    assert all(p.ndim == 1 for p in biases["params"])
    assert len(weights["params"]) == len(biases["params"]) == 10
    rates = []
    for _ in range(5):
        rates.append(weights["lr"])
        plan["optimizer"].step()
        plan["lr_scheduler"].step()
    assert rates == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005])


def test_ppf_loss_is_the_cross_entropy_with_one_output_for_different_pixels() -> None:
    module = PpfModule(PpfNetwork(20, 2), torch.rand(6, 20), 0.1, 0.9, 0.0)
    pairs, outputs = torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 2])
    log_shares = module(pairs).log_softmax(dim=1)
    assert module.training_step((pairs, outputs), 0).item() == pytest.approx(
        -((log_shares[0, 0] + log_shares[1, 2]) / 2).item(), rel=1e-5
    )


# S-CNN


@pytest.mark.parametrize(("n_bands", "size"), [(103, 149_760), (200, 205_632), (204, 207_936)])
def test_scnn_parameters(n_bands: int, size: int) -> None:
    network = ScnnNetwork(n_bands)
    assert count_parameters(network) == size
    features = network(torch.rand(3, n_bands, PATCH_SIZE, PATCH_SIZE))
    assert features.shape == (3, 128)
    assert torch.allclose(features.norm(dim=1), torch.ones(3))


def test_pair_loss_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    second = torch.tensor([[1.0, 0.5], [1.0, 0.5], [0.0, 1.0], [0.0, 1.0]])  # d^2 = 0.25, 0.25, 2, 2
    same = torch.tensor([True, False, True, False])
    assert float(pair_loss(first, second, same, 1.0)) == pytest.approx((0.25 + 0.5**2 + 2 + 0) / 4)
    assert float(pair_loss(first, second, same, 3.0)) == pytest.approx((0.25 + 2.5**2 + 2 + (3 - sqrt(2)) ** 2) / 4)


def scnn_module() -> ScnnModule:
    cube = np.random.default_rng(0).random((12, 12, 5), dtype=np.float32)
    return ScnnModule(ScnnNetwork(5), PatchGatherer(cube, PATCH_SIZE), 1e-3, 1.0)


def test_identical_inputs_have_no_distance_and_no_loss() -> None:
    module = scnn_module()
    pairs = torch.tensor([[3, 3], [70, 70]])
    assert module.training_step((pairs, torch.tensor([True, True])), 0).item() == 0.0
    assert module.training_step((pairs, torch.tensor([False, False])), 0).item() == pytest.approx(
        1.0, abs=1e-5
    )  # the margin


def test_the_loss_pushes_coinciding_classes_apart_and_has_a_finite_gradient() -> None:
    for shift, pushed in ((1e-3, True), (0.0, False)):
        first, second = torch.tensor([[1.0, shift]], requires_grad=True), torch.tensor([[1.0, 0.0]])
        pair_loss(first, second, torch.tensor([False]), 1.0).backward()  # type: ignore[no-untyped-call]
        assert first.grad is not None
        assert bool(first.grad.isfinite().all())
        assert (first.grad[0, 1].item() < -1.5) == pushed


def test_both_branches_share_one_network() -> None:
    module = scnn_module()
    pairs, same = torch.tensor([[3, 50], [70, 9]]), torch.tensor([True, False])
    seen: list[Tensor] = []
    module.network.register_forward_hook(lambda network, inputs, output: seen.append(inputs[0]))
    loss = module.training_step((pairs, same), 0)
    assert sum(len(patches) for patches in seen) == 4
    assert loss.item() == pytest.approx(module.training_step((pairs.flip(1), same), 0).item(), rel=1e-5)
    assert loss.item() == pytest.approx(pair_loss(module(pairs[:, 0]), module(pairs[:, 1]), same, 1.0).item(), rel=1e-5)
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"network"}


def test_scnn_learns_with_adam() -> None:
    optimiser = scnn_module().configure_optimizers()
    assert isinstance(optimiser, torch.optim.Adam)
    assert optimiser.param_groups[0]["lr"] == 1e-3
