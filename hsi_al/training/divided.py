"""A batch divided among processes: its mean loss and its batch normalisation are those of the whole batch."""

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm


def share_of_mean(values: Tensor, weights: Tensor) -> Tensor:
    """This process's share of the weighted mean over all, times their number: DDP takes the mean of the gradients.

    Args:
        values: Of this process's part of the batch, maybe none, (n,).
        weights: Their weights, (n,); those of all processes don't sum to 0.
    """
    total = weights.detach().sum()
    dist.all_reduce(total)
    return dist.get_world_size() * (weights * values).sum() / total


class SumOverProcesses(torch.autograd.Function):
    """The sum of what every process gives; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        """Any shape, the same in all processes."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        """The shape of the values."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow."""
    total: Tensor = SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total


class SynchronisedBatchNorm(_BatchNorm):
    """What `SyncBatchNorm` does on GPUs, for processes on a CPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any input with channels; its part of the batch may be empty."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, ...) -> the same shape, normalised over all processes while training."""
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
        """Move the running statistics, which scoring uses, towards those of this batch."""
        assert self.momentum is not None
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(now, self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


class SynchronisedLayers(LayerSync):
    """Makes batch normalisation see the whole batch during a fit; behind it, every layer is what it was before.

    Lightning's own plugin leaves layers of another class behind, which `reset` would not know.

    Args:
        on_gpu: Whether the processes compute on GPUs.
    """

    def __init__(self, on_gpu: bool) -> None:
        self.kind: type[_BatchNorm] = nn.SyncBatchNorm if on_gpu else SynchronisedBatchNorm
        self.before: list[tuple[nn.Module, type[nn.Module]]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Let the layers be synchronised ones; their parameters and statistics stay where they are."""
        self.before = [(module, type(module)) for module in model.modules() if isinstance(module, _BatchNorm)]
        for module, _ in self.before:
            module.__class__ = self.kind
            module.process_group = None  # type: ignore[assignment]
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Let them be what they were."""
        for module, kind in self.before:
            module.__class__ = kind
        return model
