"""Mean loss and batch normalisation over a whole batch whose pixels are divided among several processes."""

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm


def share_of_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return this process's share of the weighted mean over all processes, times the number of processes.

    DDP averages the gradients of all processes; the factor turns that average into the gradient of the whole mean.

    Args:
        values: Losses of this process's part of the batch, (n,); n may be 0.
        weights: Weights of the values, (n,); their sum over all processes must not be 0.
    """
    total = weights.detach().sum()
    dist.all_reduce(total)
    return dist.get_world_size() * (weights * values).sum() / total


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradients are summed over all processes, too."""

    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        """Sum values of any shape, which must be the same in all processes."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        """Sum the gradient, in the shape of the values."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def summed(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; gradients flow through it."""
    total: Tensor = SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total


class SynchronisedBatchNorm(_BatchNorm):
    """Batch normalisation over all processes where torch's `SyncBatchNorm` can't be used, see `SynchronisedLayers`."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any input with channels; this process's part of the batch may be empty."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, channels, ...), while training over the batch of all processes; the shape stays the same."""
        if not self.training:
            scored: Tensor = super().forward(input)
            return scored
        channels, dims = input.shape[1], [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, channels] + [1] * (input.dim() - 2)
        values = input.float() if input.element_size() < 4 else input  # half precision can't hold sums
        total, counts = summed(
            torch.stack([values.sum(dims), values.new_full((channels,), values.numel() // channels)])
        )
        mean = total / counts
        centred = values - mean.view(shape)
        variance = summed(centred.square().sum(dims)) / counts
        self._follow(mean.detach(), (variance * counts / (counts - 1).clamp(min=1)).detach())
        scale: Tensor = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running mean and variance, which scoring uses, towards those of this batch."""
        assert self.momentum is not None
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(now, self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


class SynchronisedLayers(LayerSync):
    """Lightning plugin that makes batch normalisation use the whole batch of all processes during a fit.

    After the fit every layer has its original class again. Lightning's own plugin would leave layers of another class
    in the network, which the weight initialisation doesn't know.

    Args:
        by_torch: Whether torch's `SyncBatchNorm` does it, which needs GPUs. In half precision it gathers numbers of
            another type from a process whose part of a batch is empty than from the others, so that they never meet.
    """

    def __init__(self, by_torch: bool) -> None:
        self.kind: type[_BatchNorm] = nn.SyncBatchNorm if by_torch else SynchronisedBatchNorm
        self.before: list[tuple[nn.Module, type[nn.Module]]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Change the class of the batch normalisation layers; their parameters and statistics are kept."""
        self.before = [(module, type(module)) for module in model.modules() if isinstance(module, _BatchNorm)]
        for module, _ in self.before:
            module.__class__ = self.kind
            module.process_group = None  # type: ignore[assignment]
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Give the layers back their original classes."""
        for module, kind in self.before:
            module.__class__ = kind
        return model
