"""The embedding of deep few-shot learning and its training on episodes (Liu et al., IEEE TGRS 2019)."""

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsi_al.methods.residual3d import check_size, reset3d, residual_network, residual_output_size


class DfslEmbedding(nn.Module):
    """Residual 3-D network of 8, 16 and 32 kernels; 100 bands and patches of 9 give 160 features.

    The weights start Kaiming-normal and the biases at 0; the authors' code starts from N(0, 0.1^2) and biases of 0.1.

    Args:
        n_bands: Length of the spectra, at least 33.
        patch_size: Side P of the patches, at least 9.

    Raises:
        ConfigurationError: Patches or spectra are too small.
    """

    def __init__(self, n_bands: int = 100, patch_size: int = 9) -> None:
        super().__init__()
        check_size("DFSL", n_bands, patch_size)
        length, side = residual_output_size(n_bands, patch_size)
        self.feature_size = 32 * length * side**2
        self.network = residual_network((8, 16, 32))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # half again as fast on a CPU
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global generator."""
        for module in self.modules():
            reset3d(module)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, bands, P, P) -> features (B, D)."""
        features: Tensor = self.network(patches.unsqueeze(1)).flatten(1)
        return features


def prototypes(support_WSD: Tensor) -> Tensor:
    """Return the prototype of each of W classes, the mean feature of its S support samples, (W, D)."""
    return support_WSD.mean(dim=1)


def episode_logits(queries_QD: Tensor, prototypes_WD: Tensor) -> Tensor:
    """Return minus the squared distances of queries to prototypes, averaged over the D dimensions, (Q, W)."""
    return -(queries_QD[:, None] - prototypes_WD[None]).square().mean(dim=2)


def episode_loss(support_WSD: Tensor, queries_WQD: Tensor) -> Tensor:
    """Return the mean cross-entropy of classifying the Q queries of each class by the nearest of W prototypes."""
    way, n_queries = queries_WQD.shape[:2]
    logits = episode_logits(queries_WQD.flatten(0, 1), prototypes(support_WSD))
    labels = torch.arange(way, device=logits.device).repeat_interleave(n_queries)
    return cross_entropy(logits, labels)


class EpisodeTraining(L.LightningModule):
    """Meta-trains an embedding: one episode is one step of Adam.

    Args:
        embedding: patches (B, bands, P, P) -> features (B, D).
        lr: Learning rate of Adam.
    """

    def __init__(self, embedding: nn.Module, lr: float = 1e-3) -> None:
        super().__init__()
        self.embedding, self.lr = embedding, lr

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of support patches (W, S, bands, P, P) and query patches (W, Q, bands, P, P)."""
        support, queries = batch
        together = torch.cat([support, queries], dim=1)
        features: Tensor = self.embedding(together.flatten(0, 1)).unflatten(0, together.shape[:2])
        return episode_loss(features[:, : support.shape[1]], features[:, support.shape[1] :])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
