"""3DCAE: the unsupervised 3-D convolutional autoencoder of Mei et al., TGRS 2019, after the authors' released code.

Tensors are bands last, (B, C, rows, columns, bands): the source's 24 x 3 x 3 kernel is a (3, 3, 24) one here.
"""

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn.functional import pad

from hsi_al.errors import ConfigurationError

SLOTS = 224  # bands of the AVIRIS sensor
FEATURES = 48 * 9

# Number of bands -> (first slot, number of bands) of each contiguous run: published scenes lack some of the sensor's
# bands, and each remaining band belongs in the slot of its wavelength. Two of the source's slices for 200 bands (Indian
# Pines) are one band too short, so that bands 103 and 144 are lost and their slots, 108 and 163, stay empty. Here these
# slots are filled, as the source fills the corresponding ones for Salinas.
RUNS = {
    200: ((0, 103), (108, 41), (163, 56)),
    204: ((0, 107), (112, 41), (167, 56)),
    103: ((0, 103),),
}


def band_slots(n_bands: int) -> Tensor:
    """Return the slot of each band, (n_bands,): from `RUNS` for 200, 204 and 103 bands, otherwise the first slots.

    Raises:
        ConfigurationError: There are more bands than slots.
    """
    if n_bands > SLOTS:
        raise ConfigurationError(f"3DCAE takes at most {SLOTS} bands and this scene has {n_bands}: leave some out.")
    runs = RUNS.get(n_bands, ((0, n_bands),))
    return torch.cat([torch.arange(slot, slot + length) for slot, length in runs])


def window_weights(kernel: Tensor, side: int) -> Tensor:
    """Write a 3x3 convolution of a `side` x `side` window as a matrix, by placing the kernel at every position.

    (A, B, 3, 3, k) -> (A * (side - 2)^2, B * side^2, k).
    """
    last = side - 3
    placed = [
        pad(kernel, (0, 0, column, last - column, row, last - row))
        for row in range(last + 1)
        for column in range(last + 1)
    ]
    return torch.stack(placed, dim=1).flatten(2, 4).flatten(0, 1)


def along_bands(signals: Tensor, weights_f: Tensor, length: int) -> Tensor:
    """Filter signals circularly in the frequency domain: (B, I, bands), complex (f, I, O) -> (B, O, length)."""
    spectrum_f = torch.fft.rfft(signals, length).permute(2, 0, 1)
    filtered: Tensor = torch.fft.irfft(torch.bmm(spectrum_f, weights_f).permute(1, 2, 0), length)
    return filtered


def column(bias: Tensor | None) -> Tensor:
    """Reshape a bias (O,) to (O, 1, 1, 1)."""
    assert bias is not None
    return bias[:, None, None, None]


class BandConv3d(nn.Conv3d):
    """An unpadded 3-D convolution with kernels 3 x 3 x k, long along the bands.

    On a CPU it is computed by FFT, which gives the same values and trains the autoencoder nearly three times as fast.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, s, s, bands) -> (B, O, s - 2, s - 2, bands - k + 1)."""
        if maps.device.type != "cpu":
            return super().forward(maps)
        size, bands = maps.shape[-2:]
        length = next_fast_len(bands)
        weights_f = torch.fft.rfft(window_weights(self.weight, size), length).conj().permute(2, 1, 0)
        filtered = along_bands(maps.flatten(1, 3), weights_f, length)[..., : bands - self.kernel_size[2] + 1]
        return filtered.reshape(len(maps), -1, size - 2, size - 2, filtered.shape[2]) + column(self.bias)


class BandConvTranspose3d(nn.ConvTranspose3d):
    """The transpose of `BandConv3d`, on a CPU computed without torch's transposed convolution, too.

    A stride along the bands must be longer than the kernel, with output padding `stride - k`, so that the output length
    is a multiple of the stride.
    """

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, s, s, bands) -> (B, O, s + 2, s + 2, longer bands)."""
        if maps.device.type != "cpu":
            return super().forward(maps, output_size)
        size, bands = maps.shape[-2:]
        weights = window_weights(self.weight, size + 2)
        taps, stride = self.kernel_size[2], self.stride[2]
        if stride == 1:
            length = next_fast_len(bands + taps - 1)
            weights_f = torch.fft.rfft(weights, length).permute(2, 0, 1)
            filtered = along_bands(maps.flatten(1, 3), weights_f, length)[..., : bands + taps - 1]
        else:  # weighted copies of the kernel with gaps between them
            copies = torch.einsum("bil,iok->bolk", maps.flatten(1, 3), weights)
            filtered = pad(copies, (0, stride - taps)).flatten(2)
        return filtered.reshape(len(maps), -1, size + 2, size + 2, filtered.shape[2]) + column(self.bias)


class Autoencoder3d(nn.Module):
    """Encoder and decoder, 353,547 parameters with one PReLU slope per channel (Keras: one per value).

    conv 24 (24,3,3) - conv 48 (24,3,3) - max pool 18 - transposed conv 24 (9,3,3), stride 22 - transposed conv 1
    (27,3,3), each followed by BN and all but the last by PReLU: 224 -> 201 -> 178 -> 9 -> 198 -> 224 bands.
    Output padding 13 gives the length that old versions of Keras gave a strided transposed convolution, 9 * 22.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            BandConv3d(1, 24, (3, 3, 24)),
            nn.BatchNorm3d(24),
            nn.PReLU(24),
            BandConv3d(24, 48, (3, 3, 24)),
            nn.BatchNorm3d(48),
            nn.PReLU(48),
            nn.MaxPool3d((1, 1, 18)),
        )
        self.decoder = nn.Sequential(
            BandConvTranspose3d(48, 24, (3, 3, 9), stride=(1, 1, 22), output_padding=(0, 0, 13)),
            nn.BatchNorm3d(24),
            nn.PReLU(24),
            BandConvTranspose3d(24, 1, (3, 3, 27)),
            nn.BatchNorm3d(1),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator: Glorot uniform kernels, biases 0, as in Keras."""
        for layer in (*self.encoder, *self.decoder):
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(column(layer.bias))
            elif isinstance(layer, nn.BatchNorm3d | nn.PReLU):
                layer.reset_parameters()

    def kernels(self) -> list[Tensor]:
        """Return the weights of the four convolutions."""
        layers = (*self.encoder, *self.decoder)
        return [layer.weight for layer in layers if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)]

    def encode(self, patches: Tensor) -> Tensor:
        """Patches (B, 1, 5, 5, 224) -> features (B, 432): 48 channels of 9 values."""
        features: Tensor = self.encoder(patches)
        return features.flatten(1)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, 1, 5, 5, 224) -> reconstructed patches of the same shape."""
        rebuilt: Tensor = self.decoder(self.encoder(patches))
        return rebuilt
