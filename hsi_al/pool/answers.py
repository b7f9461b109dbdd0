"""What a person has answered so far, as the replay of the events of a session.

An event is a JSON object with `event`, `time` (UTC, ISO 8601) and `who`; only the order of the events counts, never
their times. `label`: `pixels` got `value`, null = can't tell; `asked` says whether they were proposed, `taken` whether
a file said so. `taken`: a file said what was known already. `query`: `pixels` were proposed together. `class`: a class
with `value`, `name`, `colour` and `key` is new, or was changed. `undo` and `redo`. `assessment`: `pixels`, a sample of
a frozen map, are asked blind; `assessed`: a pixel of it got a value; `assessment_stopped`. What a request with an id of
its own has changed says so as `request`: the id, a space, and a checksum of what was asked.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SessionError
from hsi_al.pool.journal import Journal

Ids = NDArray[np.int64]
ANSWERS = "answers.jsonl"  # in the folder of a session
KEYS = "123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class LabelClass:
    """A class that a person tells apart.

    Attributes:
        value: Its label value, 1 or more.
        name: Its name, another for every class.
        key: The key of the keyboard that answers with it, one of `KEYS`; empty = none.
        colour: Its colour in maps, `#rrggbb`.
    """

    value: int
    name: str
    key: str
    colour: str


@dataclass(frozen=True)
class Answer:
    """What was answered about a pixel.

    Attributes:
        value: Label value; None = the person can't tell.
        time: When, UTC, ISO 8601.
        who: By whom.
        asked: Whether the pixel had been proposed.
        number: Number of the event, from 0; later answers have larger ones.
    """

    value: int | None
    time: str
    who: str
    asked: bool
    number: int


@dataclass(frozen=True)
class Query:
    """Pixels that were proposed together.

    Attributes:
        pixels: Pixel ids, in the order in which they are asked.
        by_model: Whether a model chose them; else they are typical of clusters of the scene.
        agreement: Kappa between the map of the model that chose and the one before; None = there was none.
        n_labelled: Labels that the model was fitted to.
    """

    pixels: tuple[int, ...]
    by_model: bool
    agreement: float | None = None
    n_labelled: int = 0


@dataclass
class Assessment:
    """A sample of a map that is asked blind; its answers are never learnt from.

    Attributes:
        pixels: Pixel ids in the order of asking.
        classes: Label value of each of them on the map.
        mapped: Label value -> number of pixels of the map.
        map_file: Name of the file with the frozen map, in the session's folder.
        n_labelled: Labels that the map was made from.
        answers: Pixel id -> answer.
        stopped: Whether it was given up.
    """

    pixels: tuple[int, ...]
    classes: tuple[int, ...]
    mapped: dict[int, int]
    map_file: str
    n_labelled: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)
    stopped: bool = False

    @property
    def open_pixels(self) -> list[int]:
        """The pixels without an answer, in the order of asking."""
        return [pixel for pixel in self.pixels if pixel not in self.answers]

    @property
    def done(self) -> bool:
        """Whether every pixel has its answer."""
        return len(self.answers) == len(self.pixels)


# A step that can be undone: the book that it changed, and pixel id -> (answer before, answer after), None = no answer.
Step = tuple[dict[int, Answer], dict[int, tuple[Answer | None, Answer | None]]]


class Answers:
    """The state of a session.

    Attributes:
        classes: Label value -> class, by ascending value.
        named: Every name that a class has had -> label value of the class that had it last.
        called: Label value and name of every class, with all names that it has had.
        given: Pixel id -> its present answer.
        queries: All queries so far.
        assessments: All assessments so far.
        taken: Pixel id -> label value that a file said last.
        again: Pixels whose answer was undone, to be asked again first, the latest last.
        requests: Id of every request that had one -> checksum of what it asked.
        version: Number of events so far.
        labels_version: Number of events so far that changed `given`.
    """

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self.classes: dict[int, LabelClass] = {}
        self.named: dict[str, int] = {}
        self.called: set[tuple[int, str]] = set()
        self.given: dict[int, Answer] = {}
        self.queries: list[Query] = []
        self.assessments: list[Assessment] = []
        self.taken: dict[int, int | None] = {}
        self.again: list[int] = []
        self.requests: dict[str, str] = {}
        self.version = self.labels_version = 0
        self._counts: Counter[int | None] = Counter()  # of the values in `given`
        self._done: list[Step] = []
        self._undone: list[Step] = []
        for event in events:
            self.apply(event)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back; while an assessment runs, one of its answers alone."""
        return self._may_move(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step taken back, as for `can_undo`."""
        return self._may_move(self._undone)

    @property
    def assessment(self) -> Assessment | None:
        """The latest assessment, unless it was given up."""
        latest = self.assessments[-1] if self.assessments else None
        return None if latest is None or latest.stopped else latest

    @property
    def running(self) -> Assessment | None:
        """The assessment that is not finished; None if there is none."""
        return None if self.assessment is None or self.assessment.done else self.assessment

    def labelled(self) -> tuple[Ids, Ids]:
        """Return the pixel ids with a label, ascending, and their label values, (n,) each."""
        found = sorted((pixel, answer.value) for pixel, answer in self.given.items() if answer.value is not None)
        ids, values = np.array(found, np.int64).reshape(-1, 2).T
        return np.ascontiguousarray(ids), np.ascontiguousarray(values)

    def untold(self) -> Ids:
        """Return the pixel ids that a person can't tell, (m,)."""
        return np.array([pixel for pixel, answer in self.given.items() if answer.value is None], np.int64)

    def counts(self) -> dict[int, int]:
        """Return label value -> number of pixels with this label."""
        return {value: self._counts[value] for value in self.classes}

    def apply(self, event: dict[str, Any]) -> None:
        """Change the state as an event says.

        Raises:
            LookupError, TypeError, ValueError: It is no event of a session.
        """
        kind = event["event"]
        if kind == "label":
            self._label(self.given, event, [int(pixel) for pixel in event["pixels"]])
            if event.get("taken"):
                self.taken.update(dict.fromkeys(map(int, event["pixels"]), event["value"]))
        elif kind == "taken":
            self.taken.update(dict.fromkeys(map(int, event["pixels"]), event["value"]))
        elif kind == "assessed":
            assessment = self.assessments[-1]
            self._label(assessment.answers, event, [int(event["pixel"])])
        elif kind in ("undo", "redo"):
            self._move(kind == "undo")
        elif kind == "class":
            found = LabelClass(int(event["value"]), str(event["name"]), str(event["key"]), str(event["colour"]))
            self.classes[found.value] = found
            self.named[found.name] = found.value
            self.called.add((found.value, found.name))
        elif kind == "query":
            self.queries.append(
                Query(
                    tuple(int(pixel) for pixel in event["pixels"]),
                    bool(event["by_model"]),
                    event.get("agreement"),
                    int(event.get("n_labelled", 0)),
                )
            )
        elif kind == "assessment":
            self.assessments.append(
                Assessment(
                    tuple(int(pixel) for pixel in event["pixels"]),
                    tuple(int(value) for value in event["classes"]),
                    {int(value): int(count) for value, count in event["mapped"].items()},
                    str(event["map_file"]),
                    int(event.get("n_labelled", 0)),
                )
            )
            self._done, self._undone = [], []  # what is asked blind is taken back by itself
        elif kind == "assessment_stopped":
            self.assessments[-1] = replace(self.assessments[-1], stopped=True)
            self._done, self._undone = [], []
        else:
            raise ValueError(f"there is no event {kind!r}")
        if "request" in event:
            request, _, content = str(event["request"]).partition(" ")
            self.requests[request] = content
        self.version += 1

    def _label(self, book: dict[int, Answer], event: dict[str, Any], pixels: list[int]) -> None:
        value = None if event["value"] is None else int(event["value"])
        if value is not None and value not in self.classes:
            raise ValueError(f"there is no class {value}")
        answer = Answer(value, str(event["time"]), str(event["who"]), bool(event.get("asked", True)), self.version)
        self._done.append((book, {pixel: (book.get(pixel), answer) for pixel in pixels}))
        self._undone.clear()
        for pixel in pixels:
            self._put(book, pixel, answer)
        if book is self.given:
            self.labels_version += 1
            self.again = [pixel for pixel in self.again if pixel not in book]

    def _put(self, book: dict[int, Answer], pixel: int, answer: Answer | None) -> None:
        before = book.pop(pixel, None)
        if answer is not None:
            book[pixel] = answer
        if book is self.given:
            for found, change in ((before, -1), (answer, 1)):
                if found is not None:
                    self._counts[found.value] += change

    def _may_move(self, steps: list[Step]) -> bool:
        # Who is asked blind sees no labels: those that a program or a file gave meanwhile are none to take back.
        return bool(steps) and (self.running is None or steps[-1][0] is self.running.answers)

    def _move(self, back: bool) -> None:
        source, target = (self._done, self._undone) if back else (self._undone, self._done)
        book, changes = step = source.pop()
        target.append(step)
        for pixel, (before, after) in changes.items():
            self._put(book, pixel, before if back else after)
        if book is self.given:
            self.labels_version += 1
            asked = [pixel for pixel, (_, after) in changes.items() if after is not None and after.asked]
            self.again = [pixel for pixel in self.again if pixel not in changes] + (asked if back else [])
            self.again = [pixel for pixel in self.again if pixel not in self.given]


@dataclass(frozen=True)
class SessionLabels:
    """The labels of a session.

    Attributes:
        pixel_ids: Pixel ids, ascending, (n,).
        values: Their label values, (n,).
        class_names: Label value -> name, of all classes of the session.
        shape: Rows and columns of the scene.
        cube: Checksum of the scene's values, see `hsi_al.scenes.checksums`; None = unknown.
        georeference: Where the scene lies, as `Georeference.to_json` gives it; None = unknown.
    """

    pixel_ids: Ids
    values: Ids
    class_names: dict[int, str]
    shape: tuple[int, int]
    cube: str | None = None
    georeference: Any = None


def session_labels(folder: Path) -> SessionLabels:
    """Read the labels of a session's folder, which may be open in another process.

    Raises:
        SessionError: The folder holds no session, or its answers are damaged.
        OSError: The folder can't be read.
    """
    journal = Journal(folder / ANSWERS)
    if not journal.events:
        raise SessionError(f"{folder} holds no answers ({ANSWERS}); name the folder of a labelling session.")
    answers = replayed(journal)
    ids, values = answers.labelled()
    try:
        about = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        height, width, _ = about["shape"]
        names = {value: found.name for value, found in answers.classes.items()}
        return SessionLabels(ids, values, names, (height, width), about.get("cube"), about.get("georeference"))
    except (ValueError, LookupError, TypeError):
        raise SessionError(f"{folder / 'session.json'} is damaged; restore it from a copy.") from None


def replayed(journal: Journal) -> Answers:
    """Return the state after all events of a journal.

    Raises:
        SessionError: An event is none of a session.
    """
    answers = Answers()
    for number, event in enumerate(journal.events, 1):
        try:
            answers.apply(event)
        except (LookupError, TypeError, ValueError) as error:
            raise SessionError(
                f"Line {number} of {journal.path} is no event of a session ({type(error).__name__}: {error}); restore "
                "the file from a copy."
            ) from None
    return answers
