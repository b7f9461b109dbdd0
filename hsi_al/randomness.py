"""Named random generators from one root seed, so that a round is the same whether or not the run was interrupted."""

import numpy as np

STREAMS = ("split", "initial", "learner", "query", "thin", "features", "asker", "new_ground", "assessment", "spare")


def generator(seed: int, stream: str, round_: int = 0) -> np.random.Generator:
    """Return the random generator of one stream in one round.

    Args:
        seed: Root seed, 0 or larger.
        stream: One of `STREAMS`.
        round_: Active learning round.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(stream), round_)))
