import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.methods.dfsl_svm.network import DfslEmbedding, EpisodeTraining, episode_logits, episode_loss, prototypes
from hsi_al.methods.residual3d import ResidualBlock3d


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_parameter_count_and_160_features() -> None:
    embedding = DfslEmbedding()
    assert count_parameters(embedding) == 43_544
    features = embedding(torch.rand(3, 100, 9, 9))
    assert features.shape == (3, 160)
    assert embedding.feature_size == 160
    assert bool((features < 0).any())  # no ReLU behind the last convolution
    assert torch.allclose(embedding(torch.zeros(1, 100, 9, 9)), torch.zeros(1, 160))  # biases 0


def test_volumes_behind_every_layer() -> None:
    volumes, seen = torch.rand(2, 1, 100, 9, 9), []
    for layer in DfslEmbedding().network:
        volumes = layer(volumes)
        seen.append(tuple(volumes.shape[1:]))
    assert seen == [(8, 100, 9, 9), (8, 25, 5, 5), (16, 25, 5, 5), (16, 7, 3, 3), (32, 5, 1, 1)]


def test_every_convolution_is_kaiming_and_reset_by_the_seed_alone() -> None:
    first, second = DfslEmbedding(), DfslEmbedding()
    for embedding in (first, second):
        torch.manual_seed(3)
        embedding.reset_parameters()
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    convolutions = [module for module in first.modules() if isinstance(module, nn.Conv3d)]
    assert len(convolutions) == 2 * 4 + 1
    assert sum(isinstance(module, ResidualBlock3d) for module in first.modules()) == 2
    for convolution in convolutions:
        weights = convolution.weight.detach()
        tolerance = 5 / math.sqrt(2 * weights.numel())
        assert float(weights.std()) == pytest.approx(math.sqrt(2 / weights[0].numel()), rel=tolerance)


def test_other_sizes_and_those_too_small() -> None:
    embedding = DfslEmbedding(33, 13)
    assert embedding(torch.rand(1, 33, 13, 13)).shape == (1, embedding.feature_size) == (1, 128)
    for wrong in ((32, 9), (100, 8)):
        with pytest.raises(ConfigurationError, match="DFSL: it needs patches of 9 and 33 bands"):
            DfslEmbedding(*wrong)


# Episodes


def test_prototypes_are_means_over_the_shots() -> None:
    support = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 8.0]]])
    assert prototypes(support).tolist() == [[2.0, 4.0], [0.0, 4.0]]
    assert torch.equal(prototypes(support[:, :1]), support[:, 0])


def test_logits_are_minus_the_squared_distance_averaged_over_the_dimensions() -> None:
    queries, centres = torch.rand(5, 160), torch.rand(3, 160)
    expected = -((queries.numpy()[:, None] - centres.numpy()[None]) ** 2).sum(axis=2) / 160
    np.testing.assert_allclose(episode_logits(queries, centres).numpy(), expected, rtol=1e-5)


def test_a_query_that_is_the_support_has_distance_0() -> None:
    features = DfslEmbedding(33)(torch.rand(4, 33, 9, 9))
    logits = episode_logits(features, prototypes(features[:, None]))
    assert torch.equal(logits.diagonal(), torch.zeros(4))
    assert bool((logits[~torch.eye(4, dtype=torch.bool)] < 0).all())


def test_loss_is_the_logarithm_of_the_way_when_distances_are_tiny() -> None:
    support, queries = 1e-4 * torch.rand(20, 1, 160), 1e-4 * torch.rand(20, 19, 160)
    assert float(episode_loss(support, queries)) == pytest.approx(math.log(20), abs=1e-5)


def test_loss_by_hand() -> None:
    support = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])
    queries = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [2.0, 2.0]]])
    # Mean squared distances to the own and to the other prototype: (0, 2), (.5, .5), (0, 2), (2, 4).
    terms = [math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-2)), math.log(1 + math.exp(-2))]
    assert float(episode_loss(support, queries)) == pytest.approx(np.mean(terms))


def test_permuting_the_classes_permutes_the_logits() -> None:
    support, queries = torch.rand(6, 2, 10), torch.rand(6, 3, 10)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    logits = episode_logits(queries.flatten(0, 1), prototypes(support))
    assert torch.equal(episode_logits(queries.flatten(0, 1), prototypes(support[order])), logits[:, order])
    assert float(episode_loss(support[order], queries[order])) == pytest.approx(float(episode_loss(support, queries)))
    assert float(episode_loss(support[order], queries)) != pytest.approx(
        float(episode_loss(support, queries)), rel=1e-3
    )


def test_a_training_step_is_the_loss_of_the_embedded_episode() -> None:
    class Mean(nn.Module):
        def forward(self, patches: Tensor) -> Tensor:
            assert patches.shape == (5 * (2 + 3), 4, 9, 9)
            return patches.mean(dim=(2, 3))

    support, queries = torch.rand(5, 2, 4, 9, 9), torch.rand(5, 3, 4, 9, 9)
    expected = episode_loss(support.mean(dim=(3, 4)), queries.mean(dim=(3, 4)))
    assert float(EpisodeTraining(Mean()).training_step((support, queries), 0)) == pytest.approx(float(expected))


def test_every_weight_of_the_embedding_learns() -> None:
    training = EpisodeTraining(DfslEmbedding(33), lr=0.01)
    support, queries = torch.rand(3, 1, 33, 9, 9), torch.rand(3, 2, 33, 9, 9)
    training.training_step((support, queries), 0).backward()  # type: ignore[no-untyped-call]
    # The last bias moves all features alike, so that no distance knows of it.
    silent = [name for name, weight in training.named_parameters() if weight.grad is None or weight.grad.norm() < 1e-8]
    assert silent == ["embedding.network.4.bias"]
    optimiser = training.configure_optimizers()
    assert isinstance(optimiser, torch.optim.Adam)
    assert optimiser.defaults["lr"] == 0.01
