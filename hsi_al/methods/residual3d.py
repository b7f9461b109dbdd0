"""The residual 3-D network that the DFSL embedding and the 3-D CNN `Res3d` share."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hsi_al.errors import ConfigurationError

# After two poolings that round up, the last 3x3x3 convolution still needs 3 values along every axis.
SMALLEST_PATCH = 9
SMALLEST_BANDS = 33


class ResidualBlock3d(nn.Module):
    """Residual block h = ReLU(conv(x)), output h + three times ReLU(conv(.)) of h.

    All convolutions are 3x3x3 with bias and keep the size; there is no batch normalisation. The sum comes after the
    last ReLU, as in the authors' code.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.entry = nn.Conv3d(channels_in, channels, 3, padding=1)
        self.branch = nn.Sequential()
        for _ in range(3):
            self.branch.append(nn.Conv3d(channels, channels, 3, padding=1))
            self.branch.append(nn.ReLU(inplace=True))

    def forward(self, volumes: Tensor) -> Tensor:
        """(B, channels_in, D, H, W) -> (B, channels, D, H, W)."""
        entry = relu(self.entry(volumes))
        output: Tensor = self.branch(entry) + entry
        return output


def residual_network(widths: tuple[int, int, int]) -> nn.Sequential:
    """Build the network: block, pooling, block, pooling, unpadded 3x3x3 convolution without ReLU.

    The poolings take the maximum of 4 bands x 2 x 2 pixels and round sizes up.

    Args:
        widths: Channels of the two blocks and the last convolution.

    Returns:
        (B, 1, bands, P, P) -> (B, widths[2], D, S, S) with D and S of `residual_output_size`.
    """
    first, second, last = widths
    return nn.Sequential(
        ResidualBlock3d(1, first),
        nn.MaxPool3d((4, 2, 2), ceil_mode=True),
        ResidualBlock3d(first, second),
        nn.MaxPool3d((4, 2, 2), ceil_mode=True),
        nn.Conv3d(second, last, 3),
    )


def residual_output_size(n_bands: int, patch_size: int) -> tuple[int, int]:
    """Return the spectral length D and side S of the output of `residual_network`: (5, 1) for 100 bands and P = 9."""
    return -(-n_bands // 16) - 2, -(-patch_size // 4) - 2


def reset3d(module: nn.Module) -> None:
    """Initialise one layer in place: Kaiming-normal (fan in) for 3-D convolutions and FC, biases 0."""
    if isinstance(module, nn.Conv3d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_size(
    name: str,
    n_bands: int,
    patch_size: int,
    smallest_bands: int = SMALLEST_BANDS,
    smallest_patch: int = SMALLEST_PATCH,
) -> None:
    """Check that patches and spectra are large enough for a network; the default limits are `residual_network`'s.

    Raises:
        ConfigurationError: The patches or spectra are too small.
    """
    if n_bands < smallest_bands or patch_size < smallest_patch:
        raise ConfigurationError(
            f"patch_size={patch_size} with {n_bands} bands is too small for {name}: "
            f"it needs patches of {smallest_patch} and {smallest_bands} bands at least."
        )
