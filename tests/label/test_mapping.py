"""Maps of large scenes, tile by tile."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsi_al.label import mapping
from hsi_al.label.features import TileFeatures
from hsi_al.label.mapping import Map, some_candidates
from hsi_al.label.server import state_of
from hsi_al.label.session import Refused, Session
from hsi_al.label.tiles import window_of
from hsi_al.scenes.scene import Scene
from tests.label.fakes import config_of, session_in

HEIGHT, WIDTH = 270, 523  # two by three tiles, the last ones narrow
CLASSES = (np.arange(HEIGHT)[:, None] // 90 + np.arange(WIDTH) // 131 * 3) % 4 + 1


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(0)
    cube = rng.uniform(1, 5, (4, 8))[CLASSES - 1] + rng.normal(0, 1.0, (HEIGHT, WIDTH, 8))
    no_data = np.zeros((HEIGHT, WIDTH), bool)
    no_data[:7], no_data[100:120, 250:260] = True, True
    return Scene("wide", cube.astype(np.float32), np.zeros((HEIGHT, WIDTH), np.uint8), {}, no_data=no_data)


def config(memory_gb: float = 4.0) -> object:
    found = config_of(
        *("learner=profile_trees", "learner.components=4", "learner.trees=10"),
        *("protocol.initial=uniform", "protocol.initial_size=12"),  # typical pixels take half a second
    )
    return replace(found, dataset=replace(found.dataset, memory_gb=memory_gb))


def begun(folder: Path, scene: Scene, memory_gb: float = 4.0, at_once: int = 1) -> Session:
    session = session_in(folder, "a", "b", "c", "d", scene=scene, config=config(memory_gb), at_once=at_once)
    session.learn()
    for pixel in session.open_pixels:
        session.answer(pixel, int(CLASSES.flat[pixel]))
    session.learn()
    return session


def finished(session: Session) -> Map:
    while session.refine():
        pass
    assert session.map is not None and session.map.complete
    return session.map


def test_a_map_by_tiles_is_the_map(tmp_path: Path, scene: Scene) -> None:
    session = begun(tmp_path / "tiles", scene)
    assert session.map is None and session.planner.mapper.tiled
    found = finished(session)
    assert scene.no_data is not None
    data = np.flatnonzero(~scene.no_data)
    outputs = session.planner.learner.predict(data)
    assert (
        np.array_equal(found.classes[data], outputs.predicted_class + 1) and not found.classes[scene.no_data.flat].any()
    )
    assert np.array_equal(found.counts, np.bincount(found.classes, minlength=256))
    whole = Map(1, 0, found.classes, None, None, np.bincount(found.classes, minlength=256), 0.0)
    assert found.shares([1, 2, 3, 4]) == whole.shares([1, 2, 3, 4])
    assert found.uncertainty is not None and found.probability is not None
    assert np.array_equal(found.probability[data], outputs.probabilities_NC.max(axis=1))
    assert not session.refine() and session.map is found


def test_features_by_tiles_are_those_by_strips_up_to_rounding(tmp_path: Path, scene: Scene) -> None:
    held = begun(tmp_path / "held", scene)
    session = begun(tmp_path / "tiles", scene, memory_gb=0.0)
    tiles = session.planner.learner.extractor.strips
    assert isinstance(tiles, TileFeatures) and not isinstance(held.planner.learner.extractor.strips, TileFeatures)
    assert session.planner.candidates.tolist() == held.planner.candidates.tolist()
    rng = np.random.default_rng(1)
    for ids in (np.arange(HEIGHT * WIDTH), rng.permutation(HEIGHT * WIDTH)[:500], np.array([HEIGHT * WIDTH - 1])):
        assert np.abs(tiles.at(ids) - held.planner.learner.extractor.strips.at(ids)).max() < 2e-4
    assert len(tiles.tiles) == 1  # what the memory allows
    one, other = finished(held), finished(session)
    assert (one.classes == other.classes).mean() > 0.999


def test_what_is_in_view_comes_first_coarsely_then_fully(tmp_path: Path, scene: Scene) -> None:
    session = begun(tmp_path / "s", scene)
    level = 10
    window = window_of(HEIGHT, WIDTH, level, 1, 0)  # the second tile at full resolution
    assert window is not None and window.step == 1
    session.planner.mapper.want(window)
    assert session.planner.mapper.behind
    session.refine()
    assert session.map is not None and not session.map.complete and not session.planner.mapper.behind
    shown = session.map.classes.reshape(HEIGHT, WIDTH)
    assert shown[7:256, 260:512].all() and not shown[:, :256].any() and not shown[256:].any()
    even = shown[8:256:2, 260:512:2]
    assert (even == shown[9:256:2, 261:512:2]).all()  # every second pixel stands for four
    coarse = shown.copy()
    session.refine()
    full = session.map.classes.reshape(HEIGHT, WIDTH)
    assert (full[8:256:2, 256:512:2] == coarse[8:256:2, 256:512:2]).all() and not (full == coarse).all()
    assert (full[7:256, 260:512] > 0).all() and not full[:, :256].any()


def test_a_whole_scene_in_view_is_mapped_from_the_grid_that_is_known(tmp_path: Path, scene: Scene) -> None:
    session = begun(tmp_path / "s", scene)
    finished(session)
    session.answer(0 + 20 * WIDTH, int(CLASSES[20, 0]))
    session.learn()
    far = window_of(HEIGHT, WIDTH, 0, 0, 0)
    assert far is not None and session.map is not None
    session.planner.mapper.want(far)
    number = session.map.number
    session.refine()
    assert session.map.number == number + 1 and not session.map.complete and session.map.n_labelled == 13
    step = session.planner.mapper.overview_step
    grid = (np.arange(0, HEIGHT, step)[:, None] * WIDTH + np.arange(0, WIDTH, step)).ravel()
    assert scene.no_data is not None
    grid = grid[~scene.no_data.flat[grid]]
    assert np.array_equal(session.map.classes[grid], session.planner.learner.predict(grid).predicted_class + 1)


def test_a_map_is_not_current_before_the_first_part_of_the_new_one(tmp_path: Path, scene: Scene) -> None:
    session = begun(tmp_path / "s", scene)
    finished(session)
    assert state_of(session)["map_current"]
    session.answer(20 * WIDTH, int(CLASSES[20, 0]))
    assert not state_of(session)["map_current"]
    session.learn()
    state = state_of(session)
    assert (state["map_labels"], state["n_labelled"], state["map_current"]) == (12, 13, False)
    finished(session)
    state = state_of(session)
    assert (state["map_labels"], state["n_labelled"], state["map_current"]) == (13, 13, True)


def test_an_assessment_waits_for_the_whole_map(tmp_path: Path, scene: Scene) -> None:
    session = begun(tmp_path / "s", scene)
    session.refine()
    session.planner.mapper._published = 0.0
    session.refine()
    assert session.map is not None and not session.map.complete
    with pytest.raises(Refused, match="not complete") as refused:
        session.start_assessment(20)
    assert refused.value.status == 409
    finished(session)
    session.start_assessment(20)
    session.stop_assessment()
    # A new model changes the tiles of the old map one by one: from then on it is the map of no model.
    session.answer(20 * WIDTH, int(CLASSES[20, 0]))
    session.learn()
    with pytest.raises(Refused, match="not complete"):
        session.start_assessment(20)
    assert session.map.n_labelled == 12


def test_no_map_comes_of_a_model_whose_labels_were_taken_back(tmp_path: Path, scene: Scene) -> None:
    session = session_in(tmp_path / "s", "a", "b", scene=scene, config=config(), at_once=1)
    for pixel, value in ((20 * WIDTH, 1), (20 * WIDTH + 200, 2)):
        session.answer(pixel, value)
    session.learn()
    session.refine()
    session.undo()
    session.learn()
    assert session.map is None and not session.refine() and not session.planner.mapper.behind
    session.redo()
    session.learn()
    assert (finished(session).classes > 0).any()


@pytest.mark.parametrize("in_windows", [False, True])
def test_candidates_of_a_large_scene_are_some_with_data(in_windows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MOST_CANDIDATES", 640)
    rng, has_data = np.random.default_rng(0), np.ones(1000 * 700, bool)
    has_data[: 1000 * 300] = False
    ids = some_candidates((700, 1000), has_data, in_windows, rng)
    assert (np.diff(ids) > 0).all() and has_data[ids].all() and ids.dtype == np.int64
    assert len(ids) == 640 if not in_windows else 50 < len(ids) <= 640
    tiles = set(zip((ids // 1000 // 256).tolist(), (ids % 1000 // 256).tolist(), strict=True))
    assert len(tiles) >= 8
    assert len(some_candidates((700, 1000), np.zeros(700_000, bool), in_windows, rng)) == 0
    assert len(some_candidates((3, 5), None, in_windows, rng)) in (10, 15)
