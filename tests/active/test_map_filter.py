"""The majority filter against loops, and a run that writes a filtered map beside its own."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.active.map_filter import majority
from tests.conftest import CommandLine, tiny_arrays


@pytest.mark.parametrize(("side", "shape"), [(3, (9, 7)), (5, (9, 7)), (5, (1, 1)), (7, (3, 2))])
@pytest.mark.parametrize("some_absent", [False, True])
def test_majority_counts_the_square(side: int, shape: tuple[int, int], some_absent: bool) -> None:
    rng = np.random.default_rng(0)
    classes, absent = rng.integers(0, 4, shape).astype(np.uint8), rng.random(shape) < 0.2
    found = majority(classes, 5, side, absent if some_absent else None)
    reach = side // 2
    for row, column in np.ndindex(shape):
        window = (slice(max(0, row - reach), row + reach + 1), slice(max(0, column - reach), column + reach + 1))
        votes = classes[window][~absent[window]] if some_absent else classes[window].ravel()
        counts = np.bincount(votes, minlength=5)
        own = classes[row, column]
        keeps = counts[own] == counts.max() or (some_absent and absent[row, column])
        assert found[row, column] == (own if keeps else counts.argmax())


def test_a_run_writes_the_filtered_map_beside_its_own(command_line: CommandLine, tiny_scene: list[str]) -> None:
    arguments = [*tiny_scene, "protocol.full_map=true", "protocol.rounds=0", "acquisition=none", "learner=emp_svm"]
    arguments = [argument for argument in arguments if not argument.startswith("backbone")]
    outcome = command_line(*arguments, "map.filter=majority", "map.side=3", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    with h5py.File("run/predictions.h5") as file:
        own, filtered = file["class_map"][:], file["filtered_map"][:]
    with h5py.File("run/pool.h5") as file:
        held = file["pixel_id"][file["labelled_at"][:] < 0]
    truth = tiny_arrays()[1]
    expected = np.array([2, 5, 9])[majority(np.searchsorted([2, 5, 9], own), 3, 3)]
    assert np.array_equal(filtered, expected)
    noted = json.loads(Path("run/meta.json").read_text())["filtered_map"]
    assert noted["oa_heldout"] == pytest.approx(np.mean(filtered.ravel()[held] == truth.ravel()[held]))
    assert noted["oa_all"] == pytest.approx(np.mean((filtered == truth)[truth > 0]))
    assert noted["changed"] == pytest.approx(np.mean(own != filtered))
    assert f"no part of the method: OA {100 * noted['oa_all']:.2f} %" in outcome.out
    plain = command_line(*arguments, "hydra.run.dir=plain")
    assert plain.code == 0 and "filtered" not in plain.out
    assert Path("run/curve.csv").read_text().split(",")[0] == Path("plain/curve.csv").read_text().split(",")[0]
    with h5py.File("plain/predictions.h5") as file:
        assert "filtered_map" not in file and np.array_equal(file["class_map"][:], own)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map.filter=majority", "map.side=4", "protocol.full_map=true"], "map.side=4 is even"),
        (["map.filter=majority", "protocol.full_map=false"], "map.filter=majority needs the map of the whole scene"),
        (["map.filter=median"], "map.filter=median is unknown; choose one of none, majority"),
        (["map.side=1"], "map.side=1 must be 3 or more"),
    ],
)
def test_impossible_filters_are_refused(
    command_line: CommandLine, tiny_scene: list[str], arguments: list[str], words: str
) -> None:
    outcome = command_line(*tiny_scene, *arguments)
    assert outcome.code == 2 and words in outcome.err and not Path("outputs").exists()
