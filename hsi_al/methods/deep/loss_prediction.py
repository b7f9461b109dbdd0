"""The loss prediction module and its pairwise ranking loss (section II of the paper; Yoo & Kweon 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from hsi_al.methods.deep.backbones.base import reset


class LossPredictionModule(nn.Module):
    """Predicts the loss of each sample from the taps, the backbone's intermediate feature maps.

    Each tap goes through global average pooling, FC to `hidden` and ReLU; the results are fused, and a last FC gives
    the predicted loss.

    Args:
        tap_channels: Channels of each tap.
        hidden: Output width of each tap's FC.
        fuse: `sum` adds the features of the taps (the paper), `concat` concatenates them (Yoo & Kweon).
    """

    def __init__(self, tap_channels: Sequence[int], hidden: int = 128, fuse: str = "sum") -> None:
        super().__init__()
        self.fuse = fuse
        self.branches = nn.ModuleList(nn.Linear(channels, hidden) for channels in tap_channels)
        self.head = nn.Linear(hidden * (len(tap_channels) if fuse == "concat" else 1), 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator."""
        for module in self.modules():
            reset(module)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Taps (B, c_k, h_k, w_k) -> predicted loss (B,), of which only the order has a meaning."""
        hidden = [relu(branch(tap.mean(dim=(2, 3)))) for branch, tap in zip(self.branches, taps, strict=True)]
        fused = torch.cat(hidden, dim=1) if self.fuse == "concat" else torch.stack(hidden).sum(dim=0)
        predicted_loss: Tensor = self.head(fused).squeeze(1)
        return predicted_loss


def pair_losses(predicted_loss_B: Tensor, loss_B: Tensor, margin: float = 1.0) -> Tensor:
    """Return the ranking loss max(0, -s * (p_i - p_j) + margin) of every pair of samples (eq. (4)), (B // 2,).

    p is the predicted loss, l the loss, and s = +1 if l_i > l_j, else -1. Sample i (from 1) is paired with B + 1 - i:
    the batch is shuffled, so that any fixed pairing has the same distribution. An odd batch leaves its last sample out.

    Args:
        predicted_loss_B: Output of the loss prediction module, (B,).
        loss_B: The classifier's loss per sample, (B,); no gradient flows into it.
        margin: The paper's xi.
    """
    pairs = len(predicted_loss_B) // 2
    even = 2 * pairs
    predicted, loss = predicted_loss_B[:even], loss_B[:even].detach()
    difference = predicted[:pairs] - predicted.flip(0)[:pairs]
    sign = torch.where(loss[:pairs] > loss.flip(0)[:pairs], 1.0, -1.0)
    return relu(margin - sign * difference)


def ranking_loss(predicted_loss_B: Tensor, loss_B: Tensor, margin: float = 1.0) -> Tensor:
    """Return the mean of `pair_losses` over the pairs; 0 for fewer than two samples."""
    if len(predicted_loss_B) < 2:
        return predicted_loss_B.sum() * 0.0
    return pair_losses(predicted_loss_B, loss_B, margin).mean()
