import numpy as np
import pytest

from hsi_al.randomness import STREAMS, generator


def first(seed: int, stream: str, round_: int = 0) -> int:
    return int(generator(seed, stream, round_).integers(2**63))


def test_the_same_name_gives_the_same_numbers() -> None:
    one, two = (generator(0, "learner", 3).random(1000) for _ in range(2))
    assert one.tolist() == two.tolist()


def test_seed_stream_and_round_all_count() -> None:
    numbers = [first(seed, stream, round_) for seed in range(6) for stream in STREAMS for round_ in range(33)]
    assert len(set(numbers)) == len(numbers)


def test_streams_do_not_correlate() -> None:
    drawn = np.array([generator(0, stream, round_).normal(size=4000) for stream in STREAMS for round_ in (0, 1)])
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_a_generator_does_not_depend_on_what_others_have_drawn() -> None:
    alone = first(5, "query", 2)
    for stream in STREAMS:
        generator(5, stream, 2).random(17)
    np.random.default_rng().random(3)
    assert first(5, "query", 2) == alone


def test_a_run_that_was_started_by_an_earlier_version_continues_alike() -> None:
    """The numbers belong to the files of runs: a new stream goes to the end of `STREAMS`."""
    assert STREAMS[:5] == ("split", "initial", "learner", "query", "thin")
    assert first(0, "split") == np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(0, spawn_key=(0, 0)))
    ).integers(2**63)


def test_numpys_global_state_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    generator(0, "thin").random(5)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(before) == str(after)


def test_unknown_streams_and_negative_seeds_are_errors() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        generator(0, "shuffle")
    with pytest.raises(ValueError, match="negative"):
        generator(-1, "split")
