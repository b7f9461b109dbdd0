"""The same functions of scikit-activeml on random inputs, where it is installed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.acquisition import coverage
from hsi_al.acquisition.coverage import prob_cover, typicality, typiclust
from hsi_al.acquisition.disagreement import mutual_information_N, variation_ratio_N, vote_shares_NC
from hsi_al.acquisition.distances import normalised
from hsi_al.acquisition.diversity import core_set
from hsi_al.acquisition.uncertainty import entropy_N, least_confidence_N, negative_margin_N
from tests.acquisition.fakes import gaussian_embeddings, pool_of
from tests.acquisition.test_diversity import picks_of

pytest.importorskip("skactiveml")
from skactiveml.pool import ProbCover, TypiClust
from skactiveml.pool._bald import batch_bald
from skactiveml.pool._core_set import k_greedy_center
from skactiveml.pool._query_by_committee import variation_ratios, vote_entropy
from skactiveml.pool._typi_clust import _typicality
from skactiveml.pool._uncertainty_sampling import uncertainty_scores


def partly_labelled(n: int, n_labelled: int) -> NDArray[np.float64]:
    labels = np.full(n, np.nan)
    labels[:n_labelled] = np.arange(n_labelled) % 2
    return labels


def dirichlet(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def test_uncertainty() -> None:
    probabilities = dirichlet(50, 6)
    assert entropy_N(probabilities) == pytest.approx(uncertainty_scores(probabilities, method="entropy"))
    assert least_confidence_N(probabilities) == pytest.approx(uncertainty_scores(probabilities))
    assert 1 + negative_margin_N(probabilities) == pytest.approx(
        uncertainty_scores(probabilities, method="margin_sampling")
    )


def test_draws_and_votes() -> None:
    draws = dirichlet(40, 7, 4)
    theirs = batch_bald(draws.swapaxes(0, 1).copy(), 1)[0]
    assert mutual_information_N(draws) == pytest.approx(theirs, abs=1e-5)
    votes = draws.argmax(axis=2)
    assert variation_ratio_N(draws) == pytest.approx(variation_ratios(votes))
    assert entropy_N(vote_shares_NC(votes, 4)) == pytest.approx(vote_entropy(votes, np.arange(4)))


@pytest.mark.parametrize("seed", range(3))
def test_core_set(seed: int) -> None:
    embeddings = gaussian_embeddings(150, seed=seed)
    theirs, _ = k_greedy_center(embeddings, partly_labelled(150, 12), 25, random_state=0)
    assert picks_of(core_set, pool_of(12, embeddings_ND=embeddings), 25) == theirs.tolist()


def test_typiclust(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.arange(6, 26)  # all differ, so that nothing is left to chance
    clusters = np.random.default_rng(0).permutation(np.repeat(np.arange(20), sizes))
    n, embeddings = len(clusters), gaussian_embeddings(sizes.sum())
    members = np.flatnonzero(clusters == 19)
    theirs = _typicality(normalised(embeddings), members, 5)[members]
    assert typicality(normalised(embeddings)[members], 5, np.random.default_rng(0)) == pytest.approx(theirs, rel=1e-5)

    class Known:
        def __init__(self, n_clusters: int) -> None:
            assert n_clusters == 20

        def fit_predict(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
            return clusters

    # Ours looks at the free pixels first, then at the labelled ones.
    monkeypatch.setattr(coverage, "k_means", lambda points, k, rng: np.concatenate([clusters[8:], clusters[:8]]))
    asked = TypiClust(cluster_algo=Known, k=5, random_state=0)
    expected = asked.query(normalised(embeddings), partly_labelled(n, 8), batch_size=12)
    assert picks_of(typiclust, pool_of(8, embeddings_ND=embeddings), 12, 0, 5) == expected.tolist()


@pytest.mark.filterwarnings("ignore:The maximum purity was -1")  # a single radius isn't checked
@pytest.mark.parametrize("seed", range(3))
def test_prob_cover(seed: int) -> None:
    """Counts tie, so every pick of ours must be a best one of theirs, given the picks before it."""
    embeddings, labels = gaussian_embeddings(120, 3, seed), partly_labelled(120, 6)
    for position in picks_of(prob_cover, pool_of(6, embeddings_ND=embeddings), 15, 0, 0.4):
        theirs = ProbCover(n_classes=2, deltas=[0.4], random_state=0)
        _, utilities = theirs.query(normalised(embeddings), labels, return_utilities=True)
        assert utilities[0][position] == np.nanmax(utilities[0])
        labels[position] = 0
