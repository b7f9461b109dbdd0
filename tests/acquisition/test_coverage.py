import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from hsi_al.acquisition import coverage, distances
from hsi_al.acquisition.coverage import prob_cover, pure_radius, typicality, typiclust
from hsi_al.acquisition.distances import count_within, k_means, nearest_squared, normalised
from tests.acquisition.fakes import gaussian_embeddings, pool_of
from tests.acquisition.test_diversity import line, picks_of


def on_the_circle(*degrees: float) -> NDArray[np.float32]:
    angle = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_do_not_change_distances(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    x, y = gaussian_embeddings(23), gaussian_embeddings(11, seed=1)
    explicit = cdist(x, y)
    assert nearest_squared(x, y) == pytest.approx(explicit.min(axis=1) ** 2, rel=1e-4)
    assert count_within(x, y, 2.5).tolist() == (explicit <= 2.5).sum(axis=1).tolist()
    assert np.isinf(nearest_squared(x, y[:0])).all()
    assert count_within(x, y[:0], 9.0).tolist() == [0] * 23


def test_normalised_rows_have_length_one_but_for_zeros() -> None:
    rows = np.array([[3, 4], [0, 0]], np.float32)
    assert normalised(rows) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


@pytest.mark.parametrize("n_clusters", [3, 60])
def test_clusters_are_found_with_few_and_many(n_clusters: int) -> None:
    centres = gaussian_embeddings(n_clusters, 20) * 40
    points = np.repeat(centres, 9, axis=0) + gaussian_embeddings(9 * n_clusters, 20, seed=1) * 0.01
    clusters = k_means(points, n_clusters, np.random.default_rng(0)).reshape(n_clusters, 9)
    whole = sum(len(set(group)) == 1 for group in clusters.tolist())
    assert whole == n_clusters


def test_more_clusters_than_different_points() -> None:
    assert k_means(np.ones((9, 2), np.float32), 4, np.random.default_rng(0)).shape == (9,)


def test_typicality_by_hand() -> None:
    points = line(0, 1, 2, 10)
    assert typicality(points, 2, np.random.default_rng(0)) == pytest.approx([2 / 3, 1, 2 / 3, 2 / 17])
    assert typicality(points, 20, np.random.default_rng(0)) == pytest.approx([3 / 13, 3 / 11, 3 / 11, 3 / 27])
    assert typicality(points[:1], 5, np.random.default_rng(0)).tolist() == [0]
    assert np.isfinite(typicality(line(1, 1, 1), 2, np.random.default_rng(0))).all()


def test_of_a_large_cluster_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "LARGEST_CLUSTER", 10)
    found = typicality(gaussian_embeddings(40), 5, np.random.default_rng(0))
    assert np.count_nonzero(found) == 10


def test_typiclust_takes_the_middle_of_the_largest_cluster_without_a_label() -> None:
    # Clusters around 0 (labelled), 90 (nine pixels), 180 (seven) and 270 degrees (six).
    places = [0.0, *range(1, 11), *range(86, 95), *range(177, 184), *(268, 269, 270, 271, 272, 273)]
    view = pool_of(1, embeddings_ND=on_the_circle(*places) * np.float32(7))
    first, second, third = (places[position] for position in picks_of(typiclust, view, 3, 0, 4))
    assert (first, second) == (90, 180)
    assert third in (270, 271)


def test_small_clusters_come_last() -> None:
    places = [0.0, *range(1, 9), 120, 121, *range(240, 246)]
    view = pool_of(1, embeddings_ND=on_the_circle(*places))
    found = [places[position] for position in picks_of(typiclust, view, 2, 0, 3)]
    assert found[0] in (242, 243)
    assert found[1] < 9  # the labelled cluster before the one of two pixels


def test_prob_cover_takes_what_covers_most() -> None:
    places = [0.0, 2, 4, 40, 42, 44, 46, 100, 101, 200]
    view = pool_of(1, embeddings_ND=on_the_circle(*places))
    radius = 2 * np.sin(np.deg2rad(2.5) / 2)  # two and a half degrees
    found = [places[position] for position in picks_of(prob_cover, view, 4, 0, radius)]
    # 42 and 44 cover three each; what is left of them counts one, as 4 does; 100 and 101 two.
    assert found[0] in (42, 44)
    assert found[1] in (100, 101)
    assert found[2] in (2, 4, 40, 42, 44, 46, 200)


def test_only_some_targets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "TARGETS", 12)
    counted = []

    def watched(points: NDArray[np.float32], others: NDArray[np.float32], radius: float) -> NDArray[np.int64]:
        counted.append(len(others))
        return count_within(points, others, radius)

    monkeypatch.setattr(coverage, "count_within", watched)
    view = pool_of(1, embeddings_ND=gaussian_embeddings(200))
    assert len(set(picks_of(prob_cover, view, 20, 0, 0.3))) == 20
    assert 0 < sum(counted[1:]) <= counted[0] <= 12


def test_the_pure_radius_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(-1, 0.5, (60, 2)), rng.normal(1, 0.5, (60, 2))]).astype(np.float32)
    radius = pure_radius(points, 2, np.random.default_rng(4))
    clusters = k_means(points, 2, np.random.default_rng(4))
    apart = cdist(points, points)

    def purity(r: float) -> float:
        return float(np.mean([len(set(clusters[row <= r].tolist())) == 1 for row in apart]))

    assert purity(radius * 0.999) >= 0.95 > purity(radius * 1.001)
