from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from hsi_al.acquisition.diversity import badge, core_set, drawn, loss_prediction_diverse, residuals_MC
from tests.acquisition.fakes import gaussian_embeddings, pool_of, query_of

Ids = NDArray[np.int64]


def picks_of(function: object, view: object, n: int, seed: int = 0, *arguments: float) -> list[int]:
    """What a function picks when nothing but the picked pixels is closed, as positions in the pool."""
    query, found = query_of(view, n, seed), []  # type: ignore[arg-type]
    assert callable(function)
    for index in islice(function(query, *arguments), n):
        assert query.open_M[index]
        query.open_M[index] = False
        found.append(int(query.free[index]))
    return found


def line(*places: float) -> NDArray[np.float32]:
    return np.array(places, np.float32)[:, None]


def test_k_centres_on_a_line() -> None:
    # The labelled pixel lies at 0; the farthest is at 10, then the middle one, then those between.
    view = pool_of(1, embeddings_ND=line(0, 1, 2.4, 5, 7.7, 10))
    assert picks_of(core_set, view, 5) == [5, 3, 2, 4, 1]
    radii = []
    for n in range(5):
        centres = [0, *picks_of(core_set, view, 5)[:n]]
        embeddings = view.outputs.embeddings_ND
        assert embeddings is not None
        radii.append(cdist(embeddings, embeddings[centres]).min(axis=1).max())
    assert radii == pytest.approx([10, 5, 2.4, 2.3, 1], rel=1e-6)


def test_k_centres_without_a_label_start_anywhere() -> None:
    view = pool_of(0, embeddings_ND=line(0, 1, 10))
    firsts = {picks_of(core_set, view, 2, seed)[0] for seed in range(30)}
    assert firsts == {0, 1, 2}
    assert picks_of(core_set, view, 2, seed=0)[1] in (0, 2)


def test_far_from_the_origin_is_no_less_exact() -> None:
    near = gaussian_embeddings(80)
    far = near + np.float32(300)
    assert picks_of(core_set, pool_of(5, embeddings_ND=far), 20) == picks_of(
        core_set, pool_of(5, embeddings_ND=near), 20
    )


def test_diverse_losses_are_far_apart_among_the_highest() -> None:
    # Three wrong places: pixels 1-3 with the highest losses, 4 and 5; pixel 6 is far from all, but right.
    embeddings = line(0, 5.0, 5.1, 5.2, 9, -4, 100)
    losses = np.array([0, 9, 8.9, 8.8, 7, 6.9, 1], np.float32)
    view = pool_of(1, embeddings_ND=embeddings, predicted_loss_N=losses)
    assert picks_of(loss_prediction_diverse, view, 1, 0, 3) == [3]  # among 1, 2 and 3 the farthest from pixel 0
    assert picks_of(loss_prediction_diverse, view, 2, 0, 2) == [4, 1]
    assert picks_of(loss_prediction_diverse, view, 3, 0, 1) == [3, 1, 2]
    assert picks_of(loss_prediction_diverse, view, 6, 0, 1)[:1] == [6]  # all are on the list


def test_behind_its_list_come_the_highest_losses() -> None:
    embeddings, losses = gaussian_embeddings(12), np.arange(12, dtype=np.float32)
    query = query_of(pool_of(2, embeddings_ND=embeddings, predicted_loss_N=losses), 2)
    query.open_M[[8, 9]] = False  # the short list
    assert next(loss_prediction_diverse(query, 1)) == 7


# BADGE


def gradients(probabilities: NDArray[np.floating], embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """The outer products, one by one."""
    found = []
    for p, h in zip(probabilities.astype(np.float64), embeddings.astype(np.float64), strict=True):
        one_hot = np.zeros(len(p))
        one_hot[p.argmax()] = 1
        found.append(np.outer(p - one_hot, h).ravel())
    return np.array(found)


def probabilities_of(n: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).dirichlet(np.ones(4), n).astype(np.float32)


def test_factored_distances_are_those_of_the_outer_products() -> None:
    embeddings, probabilities = gaussian_embeddings(30), probabilities_of(30)
    residuals = residuals_MC(probabilities)
    explicit = cdist(*[gradients(probabilities, embeddings)] * 2, "sqeuclidean")
    norms = (residuals**2).sum(1) * (embeddings.astype(np.float64) ** 2).sum(1)
    factored = norms[:, None] + norms - 2 * (residuals @ residuals.T) * (embeddings @ embeddings.T)
    assert factored == pytest.approx(explicit, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_badge_is_k_means_plus_plus_on_the_outer_products(seed: int) -> None:
    embeddings, probabilities = gaussian_embeddings(60, seed=seed), probabilities_of(60)
    view = pool_of(10, embeddings_ND=embeddings, probabilities_NC=probabilities)
    vectors, rng = gradients(probabilities, embeddings)[10:], np.random.default_rng(seed)
    chosen = [int(np.linalg.norm(vectors, axis=1).argmax())]
    while len(chosen) < 15:
        weights = cdist(vectors, vectors[chosen], "sqeuclidean").min(axis=1)
        place, target = 0, rng.random() * weights.sum()
        while weights[: place + 1].sum() <= target:
            place += 1
        chosen.append(place)
    assert picks_of(badge, view, 15, seed) == [10 + place for place in chosen]


def test_badge_draws_by_squared_distance() -> None:
    embeddings = line(0, 5, 1, 4)
    embeddings = np.concatenate([embeddings, np.zeros_like(embeddings)], axis=1)
    embeddings[1] = 0, 100  # at a right angle to the others, the longest, first
    halves = np.full((4, 2), 0.5, np.float32)
    view = pool_of(1, embeddings_ND=embeddings, probabilities_NC=halves)
    assert {picks_of(badge, view, 2, seed)[0] for seed in range(5)} == {1}
    query = query_of(view, seed=0)
    often = np.bincount([drawn(np.array([0.0, 1.0, 16.0]), query) for _ in range(3000)], minlength=3)
    assert often[0] == 0
    assert often[2] / 3000 == pytest.approx(16 / 17, abs=0.02)


def test_badge_takes_any_open_pixel_where_all_gradients_are_the_same() -> None:
    sure = np.tile(np.array([1, 0], np.float32), (9, 1))
    view = pool_of(2, embeddings_ND=gaussian_embeddings(9), probabilities_NC=sure)
    assert sorted(picks_of(badge, view, 7)) == list(range(2, 9))


def test_the_draw_never_lands_on_a_closed_pixel_at_the_end() -> None:
    class Most:
        def random(self) -> float:
            return 1.0

    query = query_of(pool_of(0, embeddings_ND=gaussian_embeddings(4)))
    object.__setattr__(query, "rng", Most())
    assert drawn(np.array([1.0, 2.0, 0.0, 0.0]), query) == 1
