"""A session with the ground truth as the person is the batch loop."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.active.parts import build_scene, build_split
from hsi_al.cli.composition import composed
from hsi_al.label.session import Session
from hsi_al.pool.answers import ANSWERS, replayed
from hsi_al.pool.journal import Journal
from tests.conftest import CommandLine

ROUNDS = 3
OVERRIDES = {
    "profile_trees": ["learner=profile_trees", "acquisition=margin", "acquisition.min_distance=8"],
    "random": ["learner=profile_trees", "acquisition=random"],
    "embeddings": ["learner=lda", "acquisition=badge", "protocol.initial_on=spectra"],
    "seed": ["learner=profile_trees", "acquisition=margin", "acquisition.min_distance=8", "seed=1"],
}


@pytest.mark.parametrize("case", list(OVERRIDES))
def test_labels_and_map_are_those_of_the_batch_loop(
    case: str, tmp_path: Path, command_line: CommandLine, no_figures: None
) -> None:
    overrides = [
        *("protocol=few", "split=paper", "protocol.initial_size=20", "protocol.query_size=10"),
        *OVERRIDES[case],
        *(f"protocol.rounds={ROUNDS}", "trainer.threads=1"),
    ]
    run = tmp_path / "run"
    outcome = command_line(*overrides, f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.err

    config, _ = composed(overrides)
    scene = build_scene(config)
    (tmp_path / "session").mkdir()
    session = Session(tmp_path / "session", scene, config, candidates=build_split(config, scene).candidates)
    for value, name in scene.class_names.items():
        session.add_class(name, value=value)
    truth = scene.ground_truth.reshape(-1)
    while session.due:
        session.learn()
        if sum(session.answers.counts().values()) >= 20 + 10 * ROUNDS:
            break
        while session.open_pixels and (pixel := session.query) is not None:
            session.answer(pixel, int(truth[pixel]))

    with h5py.File(run / "pool.h5") as pool:
        labelled = pool["labelled_at"][:] >= 0
        ids, labels, rounds = (pool[name][:][labelled] for name in ("pixel_id", "label", "labelled_at"))
    kept = replayed(Journal(tmp_path / "session" / ANSWERS))  # what the files hold
    found_ids, found_values = kept.labelled()
    assert found_ids.tolist() == ids.tolist() and found_values.tolist() == labels.tolist()
    for number, query in enumerate(session.answers.queries[: ROUNDS + 1]):
        assert sorted(query.pixels) == sorted(ids[rounds == number].tolist())
    with h5py.File(run / "predictions.h5") as predictions:
        expected = predictions["class_map"][:]
    assert session.map is not None and session.map.n_labelled == 20 + 10 * ROUNDS
    assert np.array_equal(session.map.classes.reshape(expected.shape), expected)
