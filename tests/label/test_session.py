"""A session without its server: what it asks, takes and keeps."""

import errno
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SessionError
from hsi_al.label.session import LATEST, Refused, Superseded
from hsi_al.pool.answers import ANSWERS
from hsi_al.randomness import generator
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.stored import stored_cube
from tests.label.fakes import (
    MASKED,
    SIDE,
    TRUTH,
    UTM,
    WHERE,
    Client,
    answer_all,
    config_of,
    scene_of,
    session_in,
    taught,
)


def test_a_session_from_the_first_question_to_a_map(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    assert session.query is None and session.due
    assert not session.learn()  # no labels, but the first query
    first = session.open_pixels
    assert len(first) == 8 and session.query == first[0] and not session.due
    answer_all(session)
    assert session.complete and session.map is None
    assert session.learn() and session.map is not None and session.map.n_labelled == 8
    assert len(session.open_pixels) == 4 and not set(session.open_pixels) & set(first)
    assert session.map.classes[MASKED] == 0 and (np.delete(session.map.classes, MASKED) > 0).all()
    assert (np.delete(session.map.classes == TRUTH, MASKED)).mean() > 0.9
    assert sum(session.map.shares([1, 2, 3, 4]).values()) == pytest.approx(1)
    row, column = np.divmod(np.array(session.open_pixels), SIDE)
    assert len(set(zip(row.tolist(), column.tolist(), strict=True))) == 4


def test_a_restart_continues_at_the_open_pixel_and_asks_the_same_afterwards(tmp_path: Path) -> None:
    whole = taught(tmp_path / "whole", 3)
    broken = taught(tmp_path / "broken", 1)
    broken.answer(broken.query or 0, int(TRUTH[broken.query or 0]))
    open_pixels = broken.open_pixels
    assert len(open_pixels) == 3
    again = session_in(tmp_path / "broken")  # as after kill -9: nothing but the files
    assert again.open_pixels == open_pixels and again.due
    again.learn()
    assert again.open_pixels == open_pixels and again.map is not None and again.map.n_labelled == 9
    for _ in range(2):
        answer_all(again)
        again.learn()
    assert [query.pixels for query in again.answers.queries] == [query.pixels for query in whole.answers.queries]
    assert whole.map is not None and np.array_equal(again.map.classes, whole.map.classes)


@pytest.mark.parametrize("acquisition", ["margin", "random"])
def test_a_restart_makes_the_same_map_and_the_same_questions(tmp_path: Path, acquisition: str) -> None:
    """The next query is asked already; a model of random trees is that of the session before it all the same."""
    config = config_of("learner=random_forest", f"acquisition={acquisition}")
    before = taught(tmp_path / "s", 3, config=config)
    again = session_in(tmp_path / "s", config=config)
    assert again.learn() and again.map is not None and before.map is not None
    assert np.array_equal(again.map.classes, before.map.classes)
    assert again.map.uncertainty is not None and before.map.uncertainty is not None
    assert np.array_equal(again.map.uncertainty, before.map.uncertainty)
    assert again.open_pixels == before.open_pixels and again._spare == before._spare and len(again._spare) == 40


def test_what_follows_a_query_is_drawn_apart_from_later_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, int]] = []

    def noted(seed: int, stream: str, round_: int = 0) -> np.random.Generator:
        drawn.append((stream, round_))
        return generator(seed, stream, round_)

    monkeypatch.setattr("hsi_al.label.session.generator", noted)
    taught(tmp_path / "s", 4, config=config_of("acquisition=random"))
    picks = [one for one in drawn if one[0] != "learner"]
    assert len(picks) > 8 and len(set(picks)) == len(picks)


def test_a_user_whose_name_cannot_be_written_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "\udcff")
    session = session_in(tmp_path / "s", "corn")
    assert session.who == "" and session.journal.events[-1]["who"] == ""


def test_with_one_class_typical_pixels_are_asked_on(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats")
    for number in (1, 2, 3):
        session.learn()
        assert len(session.answers.queries) == number and not session.answers.queries[-1].by_model
        asked = [pixel for query in session.answers.queries for pixel in query.pixels]
        assert len(set(asked)) == len(asked) == 8 * number
        for pixel in session.open_pixels:
            session.answer(pixel, 1 if pixel % 2 else None)
    assert session.map is None
    session.answer(0, 2)
    assert session.learn() and session.map is not None and session.answers.queries[-1].by_model


def test_what_cannot_be_told_is_not_asked_again(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    skipped = []
    for _ in range(3):
        skipped += session.open_pixels
        for pixel in session.open_pixels:
            session.answer(pixel, None)
        session.learn()
        assert not set(session.open_pixels) & set(skipped)
    assert len(set(skipped)) == 12


def test_labels_from_elsewhere_are_taken_once(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    pixel = session.open_pixels[0]
    assert session.take([(0, 1), (1, 1), (2, None), (pixel, 4)]) == 4
    assert session.take([(0, 1), (1, 2), (2, None)]) == 1 and session.answers.given[1].value == 2
    assert not session.answers.given[pixel].asked and pixel not in session.open_pixels
    version = session.answers.version
    with pytest.raises(Refused, match="no class 9"):
        session.take([(7, 1), (8, 9)])
    assert session.answers.version == version and session.take([]) == 0


def test_too_large_polygons_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = taught(tmp_path / "s", 1)
    monkeypatch.setattr("hsi_al.label.session.MOST_FILLED", 4)
    with pytest.raises(Refused, match="holds more than 4 pixels"):
        session.fill_polygon([(9.0, 1.0), (9.0, 4.0), (11.0, 4.0), (11.0, 1.0)], 1)
    assert session.fill_polygon([(9.0, 1.0), (9.0, 3.0), (11.0, 3.0), (11.0, 1.0)], 1) == 4


def test_spectra_of_a_cube_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.label.session.MOST_SPECTRA", 3)
    here = scene_of()
    np.save(tmp_path / "cube.npy", here.cube)
    there = replace(here, source=stored_cube(tmp_path / "cube.npy"), sample=here.cube.reshape(-1, 6)[::5])
    one, other = session_in(tmp_path / "a"), session_in(tmp_path / "b", scene=there)
    for pixels in ([3], [], [9, 3, 575], [575, 1, 2, 4]):
        assert np.array_equal(one.spectra(pixels), other.spectra(pixels)) and one.spectra(pixels).shape[1] == 6


def test_spectra_that_another_thread_forgets_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.label.session.MOST_SPECTRA", 2)
    here = scene_of()
    np.save(tmp_path / "cube.npy", here.cube)
    stored = stored_cube(tmp_path / "cube.npy")
    session = session_in(tmp_path / "s", scene=replace(here, source=stored, sample=here.cube.reshape(-1, 6)[::5]))
    others = [[20, 21, 22]]

    def read(rows: slice, columns: slice) -> np.typing.NDArray[Any]:
        if others:  # another request comes while this one waits for the file
            session.spectra(others.pop())
        return np.asarray(here.cube[rows, columns])

    object.__setattr__(stored, "rows", replace(stored.rows, source=read))
    assert np.array_equal(session.spectra([1, 2, 3]), here.cube.reshape(-1, 6)[1:4])


def test_questions_go_on_while_a_model_is_missing(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    answer_all(session)
    asked = set()
    for _ in range(20):  # nothing is learnt meanwhile
        assert session.query is not None and session.query not in session.answers.given
        asked.add(session.query)
        session.answer(session.query, int(TRUTH[session.query]))
    assert len(asked) == 20
    session.learn()
    assert session.map is not None and session.map.n_labelled == 8 + 4 + 20
    assert not asked & set(session.open_pixels)


def test_undo_asks_the_pixel_again_and_labels_follow(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    pixel = session.query
    assert pixel is not None
    session.answer(pixel, 3)
    assert session.query != pixel and session.due
    session.undo()
    assert session.query == pixel
    session.answer(pixel, 1)
    session.answer(0, 2)  # by a click
    session.answer(0, 4)  # corrected
    assert session.answers.given[0].value == 4 and not session.answers.given[0].asked
    assert session.answers.given[pixel].asked
    session.undo()
    assert session.answers.given[0].value == 2
    session.redo()
    assert session.answers.given[0].value == 4
    with pytest.raises(Refused, match="nothing to redo"):
        session.redo()
    session.answer(pixel, 3)  # an answer that is corrected was asked all the same
    assert session.answers.given[pixel].value == 3 and session.answers.given[pixel].asked


def test_a_polygon_labels_all_pixels_inside_but_masked_ones_as_one_step(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    before = dict(session.answers.given)
    corners = [(-5.0, -5.0), (-5.0, 8.0), (2.0, 8.0), (2.0, -5.0)]
    assert session.fill_polygon(corners, 2) == 15  # 2 x 8 without the masked one
    assert MASKED not in session.answers.given and session.answers.given[SIDE + 7].value == 2
    session.undo()
    assert session.answers.given == before
    with pytest.raises(Refused, match="No pixel with data"):
        session.fill_polygon([(0.0, 5.0), (0.0, 6.0), (1.0, 6.0), (1.0, 5.0)], 2)  # the masked one alone


@pytest.mark.parametrize(
    ("pixel", "value", "says"),
    [(-1, 1, "no pixel -1"), (SIDE**2, 1, "no pixel 576"), (MASKED, 1, "no data"), (0, 9, "no class 9")],
)
def test_impossible_answers_are_refused(tmp_path: Path, pixel: int, value: int, says: str) -> None:
    session = session_in(tmp_path / "s", "corn")
    with pytest.raises(Refused, match=says):
        session.answer(pixel, value)
    assert session.answers.version == 1


def test_classes_have_their_own_names_keys_and_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "s", *[f"class {n}" for n in range(40)])
    found = list(session.answers.classes.values())
    assert [one.key for one in found] == [*"123456789abcdefghijklmnopqrstuvwxyz", *[""] * 5]
    assert len({one.colour for one in found}) == 40 and [one.value for one in found] == list(range(1, 41))
    wrongs: list[dict[str, Any]] = [
        {"name": "class 1"},
        {"name": " "},
        {"name": "a\nb\x00"},
        {"name": "new", "key": "1"},
        {"name": "new", "key": "ß"},
        {"name": "new", "key": "12"},
        {"name": "new", "colour": "red"},
        {"name": "new", "colour": "#12345g"},
        {"name": "x" * 101},
    ]
    for wrong in wrongs:
        with pytest.raises(Refused):
            session.add_class(**wrong)
    with monkeypatch.context() as patch:
        patch.setattr("hsi_al.label.session.MOST_CLASSES", 42)
        session.add_class("last", value=42)
        assert session.add_class("41st").value == 41  # the next one would be more than a map can hold
        with pytest.raises(Refused, match="There are 42 classes already"):
            session.add_class("one more")
    session.change_class(1, name="  barley \t 2 ", key="", colour="#ABCDEF")
    assert session.answers.classes[1].name == "barley 2" and session.answers.classes[1].colour == "#abcdef"
    assert session.change_class(2, name="new", key="1").key == "1"
    with pytest.raises(Refused) as refused:
        session.change_class(99, name="no")
    assert refused.value.status == 404


def test_a_class_added_later_is_learnt(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "one", "two")
    session.learn()
    for pixel in session.open_pixels:
        session.answer(pixel, 1 if TRUTH[pixel] in (1, 2) else 2)
    session.learn()
    session.add_class("three")
    for pixel in (SIDE**2 - 1, SIDE**2 - 2, SIDE**2 - SIDE - 1):
        session.answer(pixel, 3)
    session.learn()
    assert session.map is not None and (session.map.classes == 3).sum() > 20


def test_an_answer_that_cannot_be_kept_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = taught(tmp_path / "s", 1)
    kept, pixel, text = dict(session.answers.given), session.query, (tmp_path / "s" / ANSWERS).read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hsi_al.pool.journal.os.write", full)
    with pytest.raises(OSError, match="No space"):
        session.answer(pixel or 0, 1)
    assert session.answers.given == kept and session.query == pixel and not session.due
    assert (tmp_path / "s" / ANSWERS).read_bytes() == text


def test_clocks_may_jump(tmp_path: Path) -> None:
    times = iter([2030, 1970, 2000, 1999, *[1980] * 100])
    session = taught(tmp_path / "s", 1, now=lambda: datetime(next(times), 1, 1, tzinfo=timezone.utc))
    again = session_in(tmp_path / "s")
    assert again.answers.given == session.answers.given and again.answers.queries == session.answers.queries


def test_a_fit_that_is_superseded_changes_nothing(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    before, queries = session.map, len(session.answers.queries)
    answer_all(session)
    session.superseded = lambda: True
    with pytest.raises(Superseded):
        session.learn()
    assert session.map is before and session.due and len(session.answers.queries) == queries
    session.superseded = lambda: False
    assert session.learn() and session.map is not before


def test_agreement_of_successive_maps_says_when_to_stop(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 12)
    assert len(session.agreements) == 11 and all(-1 <= kappa <= 1 for kappa in session.agreements)
    assert session.agreements[-1] > 0.99 and session.stable
    assert not session_in(tmp_path / "new").stable
    assert session_in(tmp_path / "s").agreements == session.agreements  # kept


@pytest.mark.parametrize("answered", [0, 2, 4])
def test_the_agreement_of_maps_goes_on_after_a_restart(tmp_path: Path, answered: int) -> None:
    whole, broken = taught(tmp_path / "whole", 3), taught(tmp_path / "broken", 2)
    for pixel in broken.open_pixels[:answered]:
        broken.answer(pixel, int(TRUTH[pixel]))
    again = session_in(tmp_path / "broken")
    again.learn()
    while len(again.answers.queries) < len(whole.answers.queries):
        answer_all(again)
        again.learn()
    assert len(whole.agreements) == 2 and again.agreements == whole.agreements
    kept = sorted(path.name for path in (tmp_path / "broken").glob("predicted_*"))
    assert kept == ["predicted_2.h5", "predicted_3.h5"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_query_that_was_not_kept_leaves_the_model_before_to_compare_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    whole, broken = taught(tmp_path / "whole", 3), taught(tmp_path / "broken", 2)
    answer_all(broken)

    def fails(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(broken.journal, "append", fails)
    with pytest.raises(OSError, match="No space"):
        broken.learn()
    monkeypatch.undo()
    again = session_in(tmp_path / "broken") if restarted else broken
    again.learn()
    assert again.agreements == whole.agreements
    (tmp_path / "broken" / "predicted_3.h5").write_bytes(b"damaged")
    unknown = session_in(tmp_path / "broken")
    unknown.learn()
    answer_all(unknown)
    unknown.learn()
    assert unknown.agreements == whole.agreements  # none is better than a wrong one


def test_a_wrong_label_is_doubted(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 3)
    wrong = next(pixel for pixel, answer in session.answers.given.items() if answer.value == 1)
    session.answer(wrong, 3)
    session.doubt()
    doubts = {pixel: doubt for pixel, (value, doubt) in session.doubts.items()}
    assert max(doubts, key=lambda pixel: doubts[pixel]) == wrong


def test_everything_labelled_asks_nothing_more(tmp_path: Path) -> None:
    few = np.array([0, 1, 30, 400, 410, 420, 300, 310, 575], np.int64)
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond", candidates=few)
    for _ in range(4):
        session.learn()
        answer_all(session)
    assert session.query is None and set(session.answers.given) == set(few.tolist())

    whole = session_in(tmp_path / "whole", "corn", "oats", "wheat", "pond")
    whole.take([(pixel, int(TRUTH[pixel])) for pixel in range(SIDE * SIDE) if pixel != MASKED])
    assert whole.due and whole.learn()
    assert whole.query is None and not whole.due  # else it would be fitted again and again


def test_an_assessment_is_blind_random_and_apart(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats", "wheat", "pond")
    with pytest.raises(Refused, match="no map"):
        session.start_assessment(40)
    session = taught(tmp_path / "s", 2)
    with pytest.raises(Refused, match="too small"):
        session.start_assessment(3)
    labels = session.answers.labelled()[0].tolist()
    session.start_assessment(40)
    with pytest.raises(Refused, match="is running"):
        session.start_assessment(40)
    frozen = session.map
    assert (tmp_path / "s" / "assessed_map_1.h5").exists()
    stamp_due = session.due
    for number in range(40):
        pixel = session.query
        assert pixel is not None and session.answers.running is not None
        session.answer(pixel, int(TRUTH[pixel]))
        if number == 4:  # a second tab, which still shows the pixel, and a correction of it
            session.answer(pixel, None)
            session.undo()
    assert session.answers.running is None and session.due == stamp_due and session.map is frozen
    assert session.answers.labelled()[0].tolist() == labels
    found = session.assessed()
    assert found["n"] == found["answered"] == 40 and found["skipped"] == 0
    truth_share = np.mean(np.delete(TRUTH, MASKED) == np.delete(frozen.classes, MASKED)) if frozen else 0
    assert abs(found["overall"]["estimate"] - truth_share) < 0.12
    assert session.query is not None and session.query in session.open_pixels
    assert session_in(tmp_path / "s").assessed() == found
    session.start_assessment(16)
    session.stop_assessment()
    with pytest.raises(Refused) as refused:
        session.assessed()
    assert refused.value.status == 404


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    taught(tmp_path / "s", 1)
    text = (tmp_path / "s" / ANSWERS).read_bytes()
    (tmp_path / "s" / ANSWERS).write_bytes(text.replace(b"corn", b"cork", 1))
    with pytest.raises(SessionError, match="Line 1 of"):
        session_in(tmp_path / "s")


def test_a_learner_that_knows_its_number_of_classes_is_built_anew(tmp_path: Path) -> None:
    session = taught(
        tmp_path / "s", 1, config=config_of("learner=jcr", "acquisition=random", "protocol.initial_on=spectra")
    )
    assert session.map is not None and session.map.uncertainty is None


def test_the_page_says_when_what_is_asked_can_mostly_not_be_told(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 2)
    client, asked = Client(session), len(session.answers.given)
    assert session.untold == 0
    while asked < 3 * LATEST:
        before = session.untold
        said = client("GET", "/api/state").json()["advice"]
        if not session.stable:
            assert (said is not None and "can't tell" in said) == (before >= 24)
        for pixel in session.open_pixels:
            session.answer(pixel, None)
            asked += 1
        session.learn()
    assert session.untold == LATEST
    told = session.open_pixels[0]
    session.answer(told, 1)
    assert session.untold == LATEST - 1
    session.undo()
    assert session.untold == LATEST
    own = int(np.setdiff1d(session.planner.candidates, list(session.answers.given))[0])  # one that wasn't asked
    session.answer(own, 1)
    assert session.untold == LATEST


def test_what_is_asked_stays_until_it_is_answered(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    answer_all(session)
    looked_at = session.query  # chosen by the model before: the next one isn't there yet
    assert looked_at is not None and session.complete
    session.learn()
    assert session.open_pixels and session.query == looked_at
    session.answer(0, 1)  # another pixel, by a click
    assert session.query == looked_at
    session.answer(looked_at, 1)
    assert session.query in session.open_pixels
    session.undo()
    assert session.query == looked_at
    session.redo()
    session.start_assessment(20)
    assert session.answers.running is not None and session.query == session.answers.running.pixels[0]
    session.stop_assessment()
    assert session.query in session.open_pixels


def test_answers_of_an_assessment_that_has_ended_elsewhere_are_not_learnt_from(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    session.start_assessment(8)
    assert session.answers.running is not None
    sample = session.answers.running.pixels
    given = dict(session.answers.given)
    with pytest.raises(Refused, match="has begun meanwhile") as refused:
        session.answer(sample[0], 1, blind=False)
    assert refused.value.status == 409
    other = next(pixel for pixel in np.flatnonzero(TRUTH).tolist() if pixel not in sample and pixel not in given)
    with pytest.raises(Refused, match=f"Pixel {other} is none that the accuracy check asks"):
        session.answer(other, 1, blind=True)
    assert session.answers.given == given
    for pixel in sample:
        session.answer(pixel, int(TRUTH[pixel]), blind=True)
    with pytest.raises(Refused, match="has ended meanwhile"):
        session.answer(sample[-1], 1, blind=True)  # of another page
    assert session.answers.given == given
    session.start_assessment(8)
    session.stop_assessment()
    with pytest.raises(Refused, match="has ended meanwhile"):
        session.answer(session.answers.assessments[-1].pixels[0], 1, blind=True)
    assert session.answers.given == given


def test_the_same_file_again_leaves_what_was_corrected(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    old = next(iter(session.answers.given))
    is_ = session.answers.given[old].value
    file = [(old, is_), (10, 1), (11, 2), (12, None)]
    assert is_ is not None and session.take(file) == 3
    session.answer(old, is_ % 4 + 1)
    session.answer(10, 3)
    session.undo()
    session.answer(11, None)
    before = dict(session.answers.given)
    assert session.take(file) == 0 and session.answers.given == before
    again = session_in(tmp_path / "s")
    assert (
        again.take(file) == 0 and again.answers.given == before and len(again.journal.events) == session.answers.version
    )
    assert again.take([(10, 4), *file[1:]]) == 1 and again.answers.given[10].value == 4  # what the file says now


def test_labels_that_are_taken_back_to_one_class_leave_no_map(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn", "oats")
    for pixel, value in ((0, 1), (SIDE - 1, 2)):
        session.answer(pixel, value)
    session.learn()
    assert session.map is not None
    session.undo()
    assert Client(session)("GET", "/api/state").json()["map_current"] is False
    assert not session.learn()
    state = Client(session)("GET", "/api/state").json()
    assert (state["map_version"], state["map_labels"], state["map_current"]) == (0, 0, False)
    with pytest.raises(Refused, match="no map"):
        session.start_assessment(20)
    session.redo()
    session.learn()
    assert session.map is not None and session.map.number == 2 and not session.due


def test_a_problem_is_over_when_typical_pixels_are_asked_again(tmp_path: Path) -> None:
    session = session_in(tmp_path / "s", "corn")
    session.problem = "No new map: the disk is full."
    session.learn()
    assert session.query is not None and session.problem is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", 0.01),  # pixels of 10 m
        ('UNIT["metre",1]', 'UNIT["Meter",1]', 0.01),  # as ENVI and others write it
        ('UNIT["metre",1]', 'UNIT["US survey foot",0.3048006096]', 100 * 0.3048006096**2 / 1e4),
    ],
)
def test_hectares_of_a_pixel(old: str, new: str, expected: float) -> None:
    pytest.importorskip("rasterio")
    assert Georeference(UTM.replace(old, new), WHERE.transform).hectares == pytest.approx(expected)
    degrees = UTM[UTM.index("GEOGCS") : UTM.index(",PROJECTION")]
    assert Georeference(degrees, WHERE.transform).hectares is None
    assert Georeference("", WHERE.transform).hectares is None


def test_pixels_that_probably_cannot_be_told_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = taught(tmp_path / "plain")
    asked = set(plain.open_pixels)

    def ruled_out(_learner: object, candidates: np.ndarray, *_: object) -> np.ndarray:
        return np.isin(candidates, list(asked))

    monkeypatch.setattr("hsi_al.label.planning.untellable", ruled_out)
    session = taught(tmp_path / "s")
    assert len(session.open_pixels) == len(asked) and not asked & set(session.open_pixels)
    monkeypatch.setattr("hsi_al.label.planning.untellable", lambda _, candidates, *__: np.ones(len(candidates), bool))
    session = taught(tmp_path / "all")
    assert set(session.open_pixels) == asked  # rather ask them than nothing
