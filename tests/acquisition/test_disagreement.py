import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hsi_al.acquisition.disagreement import (
    committee,
    mean_entropy_N,
    member_votes,
    mutual_information_N,
    variation_ratio_N,
    vote_shares_NC,
)
from hsi_al.acquisition.factory import build_acquisition
from hsi_al.config.schema import AcquisitionConfig
from tests.acquisition.fakes import pool_of, query_of


def test_draws_that_agree_say_nothing() -> None:
    one = np.random.default_rng(0).dirichlet(np.ones(4), 10)
    draws = np.repeat(one[:, None], 7, axis=1)
    assert mutual_information_N(draws) == pytest.approx(np.zeros(10), abs=1e-12)
    assert variation_ratio_N(draws) == pytest.approx(np.zeros(10))
    assert mean_entropy_N(draws) == pytest.approx(-(one * np.log(one)).sum(axis=1))


@pytest.mark.parametrize(("n_draws", "n_classes"), [(2, 2), (4, 4), (3, 5), (6, 3)])
def test_draws_that_disagree_completely(n_draws: int, n_classes: int) -> None:
    """Each is sure, in turn of another class: ln K for K <= C, ln C where every class has as many."""
    draws = np.eye(n_classes)[np.arange(n_draws) % n_classes][None].astype(np.float32)
    most = min(n_draws, n_classes)
    assert mutual_information_N(draws) == pytest.approx(math.log(most))
    assert mean_entropy_N(draws) == pytest.approx(math.log(most))
    assert variation_ratio_N(draws) == pytest.approx(1 - 1 / most)


def test_unsure_draws_that_agree_have_entropy_but_no_information() -> None:
    draws = np.full((1, 5, 3), 1 / 3)
    assert mean_entropy_N(draws) == pytest.approx(math.log(3))
    assert mutual_information_N(draws) == pytest.approx(0, abs=1e-12)


def test_variation_ratio_by_hand() -> None:
    votes = np.array([[0, 0, 1, 2], [1, 1, 1, 1]])
    assert variation_ratio_N(np.eye(3)[votes]).tolist() == [0.5, 0.0]
    assert vote_shares_NC(votes, 4).tolist() == [[0.5, 0.25, 0.25, 0.0], [0.0, 1.0, 0.0, 0.0]]


def two_clouds() -> tuple[np.ndarray, np.ndarray]:
    """20 labelled pixels on either side of 0, then one at each of -3 to 3."""
    rng = np.random.default_rng(0)
    known = np.concatenate([rng.normal(-2, 1.2, 20), rng.normal(2, 1.2, 20)])
    points = np.concatenate([known, np.arange(-3, 4)])[:, None].astype(np.float32)
    return points, np.concatenate([np.repeat([3, 7], 20), np.full(7, -1)])


def test_members_vote_as_a_logistic_regression_on_the_same_bootstrap() -> None:
    points, labels = two_clouds()
    votes = member_votes(points[:40], labels[:40], points[40:], np.random.default_rng(5))
    drawn = np.random.default_rng(5).integers(40, size=40)
    twin = LogisticRegression(max_iter=200).fit(points[drawn], labels[drawn])
    assert (votes == twin.predict(points[40:])).all()
    assert votes.tolist()[0], votes.tolist()[-1] == (3, 7)


def test_the_committee_asks_between_the_clouds() -> None:
    points, labels = two_clouds()
    view = pool_of(40, labels, embeddings_ND=points)
    first = [next(committee(query_of(view, seed=seed), 16)) for seed in range(5)]
    assert set(first) <= {2, 3, 4}  # at -1, 0 and 1


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    points, labels = two_clouds()
    points = np.concatenate([points, np.full_like(points, 5)], axis=1)  # and a constant one
    queries = [
        build_acquisition("committee", AcquisitionConfig(draws=4))
        .select(pool_of(40, labels, embeddings_ND=embeddings), 3, np.random.default_rng(0))
        .tolist()
        for embeddings in (points, points * 8 + 64)
    ]
    assert queries[0] == queries[1]


def test_a_bootstrap_of_one_class_votes_for_it() -> None:
    points, labels = two_clouds()
    assert member_votes(points[:3], labels[:3], points[40:], np.random.default_rng(0)).tolist() == [3] * 7
