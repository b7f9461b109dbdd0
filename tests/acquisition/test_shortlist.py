import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from hsi_al.acquisition import shortlist
from hsi_al.acquisition.shortlist import cluster_margin
from tests.acquisition.fakes import gaussian_embeddings, pool_of, query_of
from tests.acquisition.test_diversity import line, picks_of


def with_margins(*margins: float) -> np.ndarray:
    margin = np.array(margins, np.float32)
    return np.stack([(1 + margin) / 2, (1 - margin) / 2], axis=1)


def test_the_smallest_cluster_comes_first_and_all_take_turns() -> None:
    # Pixels 1 to 9 have small margins, in clusters at 0 (five), 10 (three) and 30 (one); pixels 10 and 11 are sure.
    embeddings = line(5, 0, 0.1, 0.2, 0.3, 0.4, 10, 10.1, 10.2, 30, 50, 60)
    view = pool_of(1, embeddings_ND=embeddings, probabilities_NC=with_margins(0, *[0.1] * 9, 0.9, 0.9))
    for seed in range(5):
        found = picks_of(cluster_margin, view, 3, seed, 3)
        assert found[0] == 9
        assert found[1] in (6, 7, 8)
        assert found[2] in (1, 2, 3, 4, 5)
    assert len({tuple(picks_of(cluster_margin, view, 3, seed, 3)) for seed in range(20)}) > 3


def test_a_short_list_of_the_query_itself_is_margin() -> None:
    margins = np.random.default_rng(0).random(30)
    view = pool_of(3, embeddings_ND=gaussian_embeddings(30), probabilities_NC=with_margins(*margins))
    expected = 3 + np.argsort(margins[3:])[:6]
    assert set(picks_of(cluster_margin, view, 6, 0, 1)) == set(expected.tolist())


def test_behind_the_list_come_the_smallest_margins() -> None:
    margins = np.linspace(0.1, 0.9, 10)
    view = pool_of(2, embeddings_ND=gaussian_embeddings(10), probabilities_NC=with_margins(*margins))
    query = query_of(view, 2)
    query.open_M[[0, 1]] = False
    assert next(cluster_margin(query, 1)) == 2


def test_a_list_is_never_longer_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "LARGEST", 5)
    seen = []

    def watched(points: np.ndarray, kind: str) -> np.ndarray:
        seen.append(len(points))
        return np.asarray(linkage(points, kind))

    monkeypatch.setattr(shortlist, "linkage", watched)
    view = pool_of(2, embeddings_ND=gaussian_embeddings(40), probabilities_NC=with_margins(*np.linspace(0, 0.9, 40)))
    assert len(set(picks_of(cluster_margin, view, 30, 0, 10))) == 30
    assert seen == [5]
