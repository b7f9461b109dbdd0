"""The identities of the ranking loss, eq. (4), and the loss prediction module, both recomputed in numpy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsi_al.methods.deep.loss_prediction import LossPredictionModule, ranking_loss


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def paper(predicted: NDArray[np.float64], loss: NDArray[np.float64], margin: float) -> float:
    """Eq. (4) as a loop over the pairs (i, B + 1 - i) of a batch of even length."""
    total, size = 0.0, len(loss)
    for i in range(1, size // 2 + 1):
        first, second = i - 1, size + 1 - i - 1
        sign = 1 if loss[first] > loss[second] else -1
        total += max(0.0, -sign * (predicted[first] - predicted[second]) + margin)
    return total / (size // 2)


@pytest.mark.parametrize("size", [2, 4, 10, 24])
def test_against_a_loop_over_the_pairs(size: int) -> None:
    rng = np.random.default_rng(size)
    predicted, loss = rng.normal(size=size), rng.exponential(size=size)
    for margin in (0.3, 1.0, 2.5):
        value = ranking_loss(torch.from_numpy(predicted), torch.from_numpy(loss), margin)
        assert float(value) == pytest.approx(paper(predicted, loss, margin), rel=1e-12)


def test_the_margin_is_one_by_default() -> None:
    assert float(ranking_loss(tensor(0, 0), tensor(3, 1))) == 1.0


@pytest.mark.parametrize("margin", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("loss", [(4.0, 3.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 1.0)])
def test_equal_predictions_cost_the_margin(margin: float, loss: tuple[float, ...]) -> None:
    assert float(ranking_loss(tensor(7, 7, 7, 7), tensor(*loss), margin)) == margin


def test_perfect_order_with_gaps_of_the_margin_costs_nothing() -> None:
    loss = tensor(0.1, 5.0, 0.7, 2.0, 9.0, 0.3)
    ranks = loss.argsort().argsort().double()
    assert float(ranking_loss(ranks, loss, 1.0)) == 0.0
    assert float(ranking_loss(2.5 * ranks, loss, 2.5)) == 0.0
    assert float(ranking_loss(0.5 * ranks, loss, 1.0)) > 0.0
    assert float(ranking_loss(-ranks, loss, 1.0)) > 1.0


def test_gradients() -> None:
    # Pairs (1, 6), (2, 5), (3, 4): wrong order, right order within the margin, right order beyond the margin.
    predicted = tensor(0.0, 0.5, -4.0, 4.0, 0.0, 2.0).requires_grad_()
    loss = tensor(9.0, 3.0, 1.0, 2.0, 1.0, 1.0)
    ranking_loss(predicted, loss, 1.0).backward()  # type: ignore[no-untyped-call]
    third = 1 / 3
    # s = +1, +1 and -1 (inactive): -s / (B/2) for the first of a pair, +s / (B/2) for its partner.
    assert predicted.grad is not None
    assert predicted.grad.tolist() == pytest.approx([-third, -third, 0, 0, third, third], rel=1e-12)
    reversed_ = predicted.detach().clone().requires_grad_()
    ranking_loss(reversed_, -loss, 1.0).backward()  # type: ignore[no-untyped-call]
    # Now pair 1 is right beyond the margin, pairs 2 and 3 are wrong, with s = -1 and +1.
    assert reversed_.grad is not None
    assert reversed_.grad.tolist() == pytest.approx([0, third, -third, third, -third, 0], rel=1e-12)


def test_only_differences_of_predictions_and_the_order_of_losses_count() -> None:
    rng = np.random.default_rng(0)
    predicted, loss = torch.from_numpy(rng.normal(size=12)), torch.from_numpy(rng.exponential(size=12))
    value = float(ranking_loss(predicted, loss))
    assert float(ranking_loss(predicted + 3.7, loss)) == pytest.approx(value, rel=1e-12)
    assert float(ranking_loss(predicted, 100 * loss)) == value
    assert float(ranking_loss(predicted, loss + 8)) == value
    assert float(ranking_loss(2 * predicted, loss)) != pytest.approx(value, rel=1e-3)


def test_a_tie_counts_as_lower() -> None:
    assert float(ranking_loss(tensor(2, 0), tensor(1, 1))) == 3.0
    assert float(ranking_loss(tensor(0, 2), tensor(1, 1))) == 0.0


def test_an_odd_batch_leaves_its_last_sample_out() -> None:
    predicted = tensor(0.3, -1.0, 2.0, 0.1, 50.0).requires_grad_()
    loss = tensor(1.0, 4.0, 2.0, 3.0, 7.0)
    value = ranking_loss(predicted, loss)
    assert float(value.detach()) == pytest.approx(
        paper(predicted.detach().numpy()[:4], loss.numpy()[:4], 1.0), rel=1e-12
    )
    value.backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert float(predicted.grad[4]) == 0.0
    assert bool(predicted.grad[:4].any())


@pytest.mark.parametrize("values", [(), (5.0,)])
def test_fewer_than_two_samples_cost_nothing(values: tuple[float, ...]) -> None:
    predicted = tensor(*values).requires_grad_()
    value = ranking_loss(predicted, tensor(*values))
    assert float(value.detach()) == 0.0
    value.backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert not predicted.grad.any()


def test_no_gradient_flows_into_the_losses() -> None:
    predicted, loss = tensor(1, 0, 3, 2).requires_grad_(), tensor(1, 2, 3, 4).requires_grad_()
    ranking_loss(predicted, 2 * loss).backward()  # type: ignore[no-untyped-call]
    assert loss.grad is None
    assert predicted.grad is not None


def module_and_taps(fuse: str, channels: tuple[int, ...] = (3, 5, 2, 4)) -> tuple[LossPredictionModule, list[Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = LossPredictionModule(channels, hidden=6, fuse=fuse).double()
        for branch in linears(module):
            nn.init.normal_(branch.bias)
        return module, [torch.randn(7, c, 8 // 2**k, 8 // 2**k, dtype=torch.float64) for k, c in enumerate(channels)]


def linears(module: LossPredictionModule) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("fuse", ["sum", "concat"])
def test_module_against_numpy(fuse: str) -> None:
    module, taps = module_and_taps(fuse)
    *branches, head = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linears(module)]
    hidden = [
        np.maximum(tap.numpy().mean(axis=(2, 3)) @ weight.T + bias, 0)
        for tap, (weight, bias) in zip(taps, branches, strict=True)
    ]
    fused = hidden[0] + hidden[1] + hidden[2] + hidden[3] if fuse == "sum" else np.concatenate(hidden, axis=1)
    expected = fused @ head[0][0] + head[1]
    output = module(taps)
    assert output.shape == (7,)
    assert np.allclose(output.detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("fuse", ["sum", "concat"])
def test_module_without_weights_predicts_its_bias(fuse: str) -> None:
    module, taps = module_and_taps(fuse)
    for layer in linears(module):
        nn.init.zeros_(layer.weight)
    for branch in linears(module)[:-1]:
        nn.init.zeros_(branch.bias)
    nn.init.constant_(linears(module)[-1].bias, -0.75)
    assert module(taps).tolist() == [-0.75] * 7


@pytest.mark.parametrize("fuse", ["sum", "concat"])
def test_only_the_sum_ignores_which_tap_a_hidden_vector_came_from(fuse: str) -> None:
    module, taps = module_and_taps(fuse, (3, 3, 3, 3))
    before = module(taps)
    order = [2, 0, 3, 1]
    module.branches = nn.ModuleList(module.branches[index] for index in order)
    after = module([taps[index] for index in order])
    assert torch.allclose(before, after, atol=1e-12) == (fuse == "sum")


def test_the_fusion_is_the_sum_and_the_width_128_by_default() -> None:
    module = LossPredictionModule((3, 5))
    assert [tuple(layer.weight.shape) for layer in linears(module)] == [(128, 3), (128, 5), (1, 128)]


def test_as_many_taps_as_branches() -> None:
    module, taps = module_and_taps("sum")
    with pytest.raises(ValueError, match="zip"):
        module(taps[:3])


def test_reset_gives_the_weights_of_the_seed_alone() -> None:
    states = []
    for used, seed in ((False, 3), (True, 3), (True, 4)):
        module, _ = module_and_taps("sum")
        if used:
            for layer in linears(module):
                nn.init.ones_(layer.weight)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module.reset_parameters()
        assert all(not layer.bias.any() for layer in linears(module))
        states.append(torch.cat([layer.weight.detach().flatten() for layer in linears(module)]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def test_hinge_is_monotone_in_the_gap_of_a_pair() -> None:
    values = [float(ranking_loss(tensor(gap, 0), tensor(2, 1))) for gap in (-2.0, 0.0, 0.5, 1.0, 4.0)]
    assert values == [3.0, 1.0, 0.5, 0.0, 0.0]
    assert all(first >= second for first, second in pairwise(values))
