"""3DCAE's network: shapes, sizes, slots, and that the way by FFT computes the plain convolutions."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from hsi_al.errors import ConfigurationError
from hsi_al.methods.cae3d_svm.network import Autoencoder3d, band_slots
from hsi_al.methods.deep.backbones.base import count_parameters


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def plain(layers: nn.Sequential, maps: Tensor) -> Tensor:
    """The same layers by PyTorch's own convolutions."""
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            maps = nn.Conv3d.forward(layer, maps)
        elif isinstance(layer, nn.ConvTranspose3d):
            maps = nn.ConvTranspose3d.forward(layer, maps)
        else:
            maps = layer(maps)
    return maps


def test_parameters() -> None:
    network = Autoencoder3d()
    assert [count_parameters(part) for part in (network.encoder, network.decoder, network)] == [254304, 99243, 353547]


def test_shapes_after_every_layer() -> None:
    network, maps, shapes = Autoencoder3d(), torch.rand(2, 1, 5, 5, 224), []
    for layer in (*network.encoder, *network.decoder):
        maps = layer(maps)
        shapes.append(tuple(maps.shape[1:]))
    expected = [(24, 3, 3, 201), (48, 1, 1, 178), (48, 1, 1, 9), (24, 3, 3, 198), (1, 5, 5, 224)]
    assert list(dict.fromkeys(shapes)) == expected
    assert network.encode(torch.rand(3, 1, 5, 5, 224)).shape == (3, 432)
    assert network.decoder[0].output_padding == (0, 0, 13)


def test_features_are_nine_pooled_values_of_each_channel() -> None:
    network, patches = Autoencoder3d().eval(), torch.rand(2, 1, 5, 5, 224)
    maps = network.encoder[:-1](patches)[:, :, 0, 0]
    pooled = torch.stack([maps[..., 18 * i : 18 * i + 18].amax(dim=2) for i in range(9)], dim=2)
    torch.testing.assert_close(network.encode(patches), pooled.flatten(1))


def test_fft_gives_the_plain_convolutions_and_their_gradients() -> None:
    network = Autoencoder3d().double()
    for part, shape in ((network.encoder, (3, 1, 5, 5, 224)), (network.decoder, (3, 48, 1, 1, 9))):
        maps = torch.rand(shape, dtype=torch.float64)
        for layer in part:
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(layer.bias)  # type: ignore[arg-type]
        outputs = [part(maps), plain(part, maps)]
        torch.testing.assert_close(*outputs)
        factors = torch.randn_like(outputs[0])
        gradients = [torch.autograd.grad((output * factors).sum(), list(part.parameters())) for output in outputs]
        torch.testing.assert_close(*gradients)


def test_weights_are_drawn_from_the_current_generator() -> None:
    network = Autoencoder3d()
    torch.manual_seed(0)
    network.reset_parameters()
    first = [parameter.clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.data.fill_(9.0)
    network.encoder[1].running_mean.fill_(9.0)  # type: ignore[operator]
    torch.manual_seed(0)
    network.reset_parameters()
    assert all(torch.equal(*pair) for pair in zip(first, network.parameters(), strict=True))
    assert float(network.encoder[1].running_mean.abs().max()) == 0.0  # type: ignore[operator]
    bound = (6 / (9 * 24 * 25)) ** 0.5  # Glorot: 24 and 1 channels, 9 * 24 taps
    assert 0.99 * bound < network.kernels()[0].max().item() <= bound


@pytest.mark.slow
def test_it_learns_to_rebuild_few_patches() -> None:
    # In seconds it only gets well below the spectra's variance, the error of one constant.
    places = torch.linspace(0, 6, 224)
    patches = (torch.sin(places + torch.rand(4, 1, 1, 1, 1) * 6) * 0.3 + 0.5).expand(-1, 1, 5, 5, -1)
    network, losses = Autoencoder3d(), []
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(40):
        optimiser.zero_grad()
        loss = mse_loss(network(patches), patches)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * patches.var().item()


# Slots


@pytest.mark.parametrize(
    ("n_bands", "runs"),
    [
        (200, [(0, 0, 103), (104, 109, 40), (145, 164, 55)]),  # the source's, without bands 103 and 144
        (204, [(0, 0, 107), (107, 112, 41), (148, 167, 56)]),
        (103, [(0, 0, 103)]),
        (102, [(0, 0, 102)]),
        (1, [(0, 0, 1)]),
        (224, [(0, 0, 224)]),
    ],
)
def test_slots(n_bands: int, runs: list[tuple[int, int, int]]) -> None:
    slots = band_slots(n_bands).tolist()
    assert len(slots) == n_bands
    assert all(low < high for low, high in pairwise(slots)) and slots[0] >= 0 and slots[-1] < 224
    for band, slot, length in runs:
        assert slots[band : band + length] == list(range(slot, slot + length))


def test_indian_pines_bands_that_the_source_drops_have_the_slots_of_their_wavelengths() -> None:
    slots = band_slots(200).tolist()
    assert (slots[103], slots[144]) == (108, 163)


def test_more_bands_than_slots() -> None:
    with pytest.raises(ConfigurationError, match="at most 224 bands and this scene has 225"):
        band_slots(225)
