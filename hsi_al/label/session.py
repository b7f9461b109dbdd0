"""A labelling session: what is asked next, what was answered, and the model and map that follow from the answers.

The page, and a test that plays the person by the ground truth, go through the same object: `query` names the pixel that
is asked, `answer` takes the answer, `learn` fits the model to the answers, maps the scene and asks the next query.
`learn` may run in another thread than everything else (`hsi_al.label.background`).
"""

import getpass
import hashlib
import heapq
import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.stopping import STABLE_ROUNDS
from hsi_al.config.schema import Config
from hsi_al.errors import SessionError
from hsi_al.files import replacing_hdf5
from hsi_al.label.assessment import drawn, report, require_sample
from hsi_al.label.mapping import AT_ONCE, Map
from hsi_al.label.once import REQUEST, Once
from hsi_al.label.planning import Outlook, Planner
from hsi_al.label.polygons import pixels_inside
from hsi_al.label.predicted import keep_predicted, kept_predicted
from hsi_al.pool.answers import ANSWERS, KEYS, Answers, LabelClass, replayed
from hsi_al.pool.journal import Journal
from hsi_al.randomness import generator
from hsi_al.report.palette import colour_of, hex_of
from hsi_al.scenes.scene import Scene

Ids = NDArray[np.int64]
MOST_CLASSES = 255
MOST_FILLED = 10**5  # pixels of a polygon
MOST_SPECTRA = 20_000  # of labelled pixels that are remembered of a cube in its file
SPARE = 40  # pixels that can be asked while a model is fitted
LATEST = 30  # answers that tell whether what is asked can be told
STABLE = 0.99  # kappa between successive maps


class Refused(SessionError):
    """A request that a session can't take.

    Attributes:
        status: The status of HTTP that says so: 400 for a wrong value, 404 for a missing thing, 409 for a wrong time.
    """

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Superseded(Exception):
    """The fit that raises this was given up, because newer answers are there or the session ends."""


class Session:
    """A labelling session.

    Args:
        folder: Existing folder that keeps it; its journal is replayed.
        scene: The scene.
        config: Learner, acquisition function, sizes of queries and seed.
        candidates: Pixel ids that may be asked; None = all pixels with data, of a large scene some.
        who: Who answers; None = the user of the operating system.
        now: Returns the present time, UTC.
        at_once: Pixels from which a scene is large: then its map is made tile by tile.

    Attributes:
        answers: The state by the journal.
        once: Makes a change for a request that may come again.
        planner: Learner, map and acquisition function, which only the thread that learns uses.
        map: The latest map; None while there is no model.
        problem: What went wrong in the background, as a sentence; None = nothing.
        busy: Whether a model is being fitted.
        lock: Held while the state changes or is read.
        changed: Notified when there is something to learn from.
        computing: Held while a model is fitted or asked; an export waits for it, since the libraries that write files
            change what all threads share, such as filters of warnings.
        superseded: Returns whether a fit in progress should be given up.

    Raises:
        SessionError: The journal is damaged.
        HsiAlError: Learner or acquisition function don't fit each other or the scene.
    """

    def __init__(
        self,
        folder: Path,
        scene: Scene,
        config: Config,
        candidates: Ids | None = None,
        who: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        at_once: int = AT_ONCE,
    ) -> None:
        self.folder, self.scene, self.config, self.now = folder, scene, config, now
        self.who = who or user()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.computing = threading.Lock()
        self._beginning = threading.Lock()  # held while the sample of an assessment is drawn
        self.journal = Journal(folder / ANSWERS)
        self.answers: Answers = replayed(self.journal)
        self.once = Once(self.answers.requests)
        self.has_data: NDArray[np.bool_] | None = None if scene.no_data is None else ~scene.no_data.ravel()
        self.planner = Planner(scene, config, candidates, len(self.answers.classes), self._progress, at_once)
        self.map: Map | None = None
        self.problem: str | None = None
        self.busy = False
        self.doubts: dict[int, tuple[int, float]] = {}  # pixel id -> label value and doubt about it
        self.superseded: Callable[[], bool] = lambda: False
        self._spectra: dict[int, NDArray[Any]] = {}
        self._learnt = -1  # `labels_version` of the answers that the latest model was fitted to
        self._mapped = -1  # the same of the model whose map is shown
        self._spare: list[int] = []
        self._shown: int | None = None  # of the queries, what a person may be looking at
        # Label value of every candidate by the model of the latest query.
        self._before = kept_predicted(folder, self._asked_by_models, len(self.planner.candidates))

    # What is asked.

    @property
    def open_pixels(self) -> list[int]:
        """Pixels of the latest query without an answer."""
        latest = self.answers.queries[-1].pixels if self.answers.queries else ()
        return [pixel for pixel in latest if pixel not in self.answers.given]

    @property
    def query(self) -> int | None:
        """Pixel id that is asked now; None while there is nothing to ask.

        It stays until it has an answer, whatever is queried meanwhile: else a key could answer a pixel that came
        between the look and the key. Only what a person does, an undo or an assessment, puts another one before it.
        """
        with self.lock:
            running = self.answers.running
            if running is not None:
                return running.open_pixels[0]
            if self.answers.again:
                return self.answers.again[-1]
            if self._shown is None or self._shown in self.answers.given:
                waiting = self.open_pixels or [pixel for pixel in self._spare if pixel not in self.answers.given]
                self._shown = waiting[0] if waiting else None
            return self._shown

    @property
    def due(self) -> bool:
        """Whether `learn` would change anything."""
        with self.lock:
            return self._learnt != self.answers.labels_version

    @property
    def map_current(self) -> bool:
        """Whether the map, or what is new in that of a large scene, has learnt from the present answers."""
        with self.lock:
            return self.map is not None and self._mapped == self.answers.labels_version

    @property
    def complete(self) -> bool:
        """Whether every pixel of the latest query is answered."""
        with self.lock:
            return bool(self.answers.queries) and not self.open_pixels

    # What is answered.

    def answer(self, pixel: int, value: int | None, blind: bool | None = None) -> None:
        """Label a pixel, also one labelled before; null = the person can't tell.

        While an assessment runs, answers to pixels of its sample belong to it, whichever is asked.

        Args:
            pixel: Pixel id.
            value: Label value.
            blind: Whether the answer is meant for an assessment, so that one that comes when another page has just
                begun or ended it is refused, not learnt from or counted; None = whichever it is.

        Raises:
            Refused: There is no such pixel with data, or no such class, or an answer is not what it is meant for.
            OSError: The answer can't be kept; nothing has changed.
        """
        with self.lock:
            self._require_pixel(pixel)
            self._require_class(value)
            running = self.answers.running
            sampled = running is not None and pixel in running.pixels
            if blind is not None and blind != sampled:
                told = "The accuracy check, which has begun meanwhile, asks this pixel; answer it when it comes."
                if blind:
                    told = "The accuracy check has ended meanwhile; look at what is asked now."
                    if running is not None:
                        told = f"Pixel {pixel} is none that the accuracy check asks; look at what is asked now."
                raise Refused(told, 409)
            if sampled:
                self._keep({"event": "assessed", "pixel": pixel, "value": value})
                return
            asked = pixel == self.query or pixel in self.open_pixels or pixel in self._spare
            before = self.answers.given.get(pixel)  # an answer that is corrected was asked if it was before
            asked = asked or (before is not None and before.asked)
            self._keep({"event": "label", "pixels": [pixel], "value": value, "asked": asked})

    def fill_polygon(self, points: Sequence[tuple[float, float]], value: int) -> int:
        """Label all pixels with data whose centre lies in a polygon, and return their number.

        Args:
            points: Corners (row, column); pixel (r, c) covers r to r + 1 and c to c + 1.
            value: Label value.

        Raises:
            Refused: No pixel with data lies inside, or there is no such class.
            OSError: The answer can't be kept; nothing has changed.
        """
        ids = pixels_inside(points, self.scene.height, self.scene.width, MOST_FILLED)
        with self.lock:
            self._require_class(value)
            if len(ids) > MOST_FILLED:
                raise Refused(f"This polygon holds more than {MOST_FILLED:,} pixels; draw smaller ones.")
            if self.has_data is not None:
                ids = ids[self.has_data[ids]]
            running = self.answers.running
            if running is not None:
                ids = np.setdiff1d(ids, running.pixels)
            if not len(ids):
                raise Refused("No pixel with data has its centre in this polygon; draw a larger one.")
            corners = [[float(row), float(column)] for row, column in points]
            self._keep({"event": "label", "pixels": ids.tolist(), "value": value, "asked": False, "polygon": corners})
            return len(ids)

    def take(self, labels: Sequence[tuple[int, int | None]], answers: Collection[int] = ()) -> int:
        """Take labels given elsewhere, such as in QGIS, unless the session has them already.

        A label that was taken before isn't taken again: the same command, with the same file, continues a session, and
        what a person has corrected since stays.

        Args:
            labels: Pixel id and label value, None = can't tell, of each.
            answers: Pixels whose labels are answers, if the session has asked them.

        Returns:
            How many have changed the session.

        Raises:
            Refused: A pixel or a class doesn't exist; nothing has changed.
            OSError: The labels can't be kept.
        """
        with self.lock:
            for pixel, value in labels:
                self._require_pixel(pixel)
                self._require_class(value)
            given = self.answers.given
            taken = self.answers.taken
            untaken = [(pixel, value) for pixel, value in labels if pixel not in taken or taken[pixel] != value]
            parts: dict[tuple[str, int | None, bool], list[int]] = {}
            were_asked = {pixel for query in self.answers.queries for pixel in query.pixels}.intersection(answers)
            for pixel, value in untaken:
                known = pixel in given and given[pixel].value == value
                parts.setdefault(("taken" if known else "label", value, pixel in were_asked), []).append(pixel)
            for (event, value, asked), pixels in parts.items():
                self._keep({"event": event, "pixels": pixels, "value": value, "asked": asked, "taken": True})
            return sum(len(pixels) for (event, *_), pixels in parts.items() if event == "label")

    def undo(self) -> None:
        """Take the latest step back.

        Raises:
            Refused: There is none.
        """
        with self.lock:
            if not self.answers.can_undo:
                raise Refused("There is nothing to undo.", 409)
            self._keep({"event": "undo"})

    def redo(self) -> None:
        """Take the latest undo back.

        Raises:
            Refused: There is none.
        """
        with self.lock:
            if not self.answers.can_redo:
                raise Refused("There is nothing to redo.", 409)
            self._keep({"event": "redo"})

    def spectra(self, pixels: Sequence[int]) -> NDArray[np.float64]:
        """Return the spectra of pixels in the values that learners see, (n, B).

        Raises:
            SceneError: The cube's file is damaged.
        """
        source, shape = self.scene.source, (len(pixels), self.scene.n_bands)
        if isinstance(source, np.ndarray):
            return np.asarray(source.reshape(-1, shape[1])[np.array(pixels, np.int64)], np.float64)
        known = self._spectra  # another thread may put an empty one in its place meanwhile
        for pixel in pixels:
            if pixel not in known:
                row, column = divmod(pixel, self.scene.width)
                known[pixel] = source.read(row, row + 1, column, column + 1)[0, 0]
        if len(known) > MOST_SPECTRA:
            self._spectra = {}
        return np.array([known[pixel] for pixel in pixels], np.float64).reshape(shape)

    @property
    def identity(self) -> str:
        """Which session it is, by its first event; empty before that."""
        first = json.dumps(self.journal.events[:1], sort_keys=True)
        return hashlib.sha256(first.encode()).hexdigest()[:16] if self.journal.events else ""

    # The assessment.

    def start_assessment(self, n: int) -> None:
        """Begin to ask a sample of the present map, which is kept in the session's folder.

        Args:
            n: Pixels of the sample; of a map with fewer all are taken.

        Raises:
            Refused: One is running, or there is no map.
            SessionError: The sample is too small for the classes of the map, or too large.
            OSError: The map can't be kept; nothing has changed.
        """
        require_sample(n)
        with self._beginning:
            with self.lock:
                if self.answers.running is not None:
                    raise Refused("An assessment is running; finish or stop it first.", 409)
                number, map_ = len(self.answers.assessments), self.map
                if map_ is None:
                    raise Refused("There is no map to assess yet; label pixels of two classes or more.", 409)
                if not map_.complete:
                    raise Refused("The map is not complete yet; wait until the whole scene is mapped.", 409)
                classes = map_.classes.copy()  # the tiles of a large scene are predicted in place
            # Drawing and packing take seconds for a large scene, and answers don't wait.
            try:
                pixels = drawn(classes, n, generator(self.config.seed, "assessment", number))
            except SessionError as error:
                raise Refused(str(error)) from None
            name = f"assessed_map_{number + 1}.h5"
            shape = self.scene.height, self.scene.width
            with replacing_hdf5(self.folder / name) as file:
                file.create_dataset("class_map", data=classes.reshape(shape), compression="gzip")
            mapped = map_.counts.tolist()
            event = {
                "event": "assessment",
                "pixels": pixels.tolist(),
                "classes": classes[pixels].tolist(),
                "mapped": {str(value): count for value, count in enumerate(mapped) if value and count},
                "map_file": name,
                "n_labelled": map_.n_labelled,
            }
            with self.lock:
                self._keep(event)

    def stop_assessment(self) -> None:
        """Give up the assessment that is running; its answers stay in the journal, and are not learnt from.

        Raises:
            Refused: None is running.
        """
        with self.lock:
            if self.answers.running is None:
                raise Refused("No assessment is running.", 409)
            self._keep({"event": "assessment_stopped"})

    def assessed(self) -> dict[str, Any]:
        """Return the report of the latest assessment, see `hsi_al.label.assessment.report`.

        Raises:
            Refused: There is none.
        """
        with self.lock:
            found = self.answers.assessment
            if found is None:
                raise Refused("No assessment was begun.", 404)
            sample = [
                (value, found.answers[pixel].value)
                for pixel, value in zip(found.pixels, found.classes, strict=True)
                if pixel in found.answers
            ]
            names = {value: (one.name, one.colour) for value, one in self.answers.classes.items()}
            where = self.scene.georeference
            return report(found.mapped, sample, len(found.pixels), names, where.hectares if where else None)

    # Classes.

    def add_class(
        self, name: str, key: str | None = None, colour: str | None = None, value: int | None = None
    ) -> LabelClass:
        """Add a class; by default with the next value, the next free key and the palette's colour.

        Raises:
            Refused: Name, key, colour or value can't be taken.
        """
        with self.lock:
            classes = self.answers.classes
            if len(classes) == MOST_CLASSES:
                raise Refused(f"There are {MOST_CLASSES} classes already, the most that a map can hold.")
            if value is None:
                above = max(classes, default=0) + 1
                value = above if above <= MOST_CLASSES else min(set(range(1, above)) - classes.keys())
            if value in classes or not 0 < value <= MOST_CLASSES:
                raise Refused(f"A class can't have the value {value}; take a free one from 1 to {MOST_CLASSES}.")
            taken = {found.key for found in classes.values()}
            if key is None:
                key = next((free for free in KEYS if free not in taken), "")
            if colour is None:
                palette = list(map(hex_of, colour_of(range(len(classes) + 20)).values()))
                used = {found.colour for found in classes.values()}
                colour = next((free for free in palette if free not in used), palette[-1])
            return self._keep_class(value, name, key, colour)

    def change_class(
        self, value: int, name: str | None = None, key: str | None = None, colour: str | None = None
    ) -> LabelClass:
        """Give a class another name, key or colour.

        Raises:
            Refused: There is no such class, or name, key or colour can't be taken.
        """
        with self.lock:
            if value not in self.answers.classes:
                raise Refused(f"There is no class {value}.", 404)
            found = self.answers.classes[value]
            return self._keep_class(
                value,
                found.name if name is None else name,
                found.key if key is None else key,
                found.colour if colour is None else colour,
            )

    def _keep_class(self, value: int, name: str, key: str, colour: str) -> LabelClass:
        name, colour = written(name), colour.lower()
        others = [found for found in self.answers.classes.values() if found.value != value]
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise Refused("A class needs a name of 1 to 100 printable characters.")
        if any(found.name == name for found in others):
            raise Refused(f"There is a class {name!r} already; choose another name.")
        if key and (key not in KEYS or len(key) != 1):
            raise Refused(f"{key!r} is no key for a class; take one of 1 to 9 or a to z.")
        if key and any(found.key == key for found in others):
            raise Refused(f"The key {key!r} belongs to another class; choose a free one.")
        if len(colour) != 7 or colour[0] != "#" or set(colour[1:]) - set("0123456789abcdef"):
            raise Refused("A colour is written as # and six hexadecimal digits, such as #3366bb.")
        self._keep({"event": "class", "value": value, "name": name, "key": key, "colour": colour})
        return self.answers.classes[value]

    # What is learnt.

    def learn(self) -> bool:
        """Fit the model to the present labels, map the scene, and ask the next query if the latest one is answered.

        Returns:
            Whether a model was fitted; with labels of fewer than two classes there is none, and no map, and what is
            asked next are more pixels typical of the scene.

        Raises:
            HsiAlError: The learner fails.
            OSError: A query can't be kept.
            Superseded: As `superseded` says; nothing has changed.
        """
        with self.lock:
            ids, values = self.answers.labelled()
            classes = np.array(sorted(self.answers.classes), np.int64)
            stamp, complete, first = self.answers.labels_version, self.complete, not self.answers.queries
            rounds = self._rounds
        if len(np.unique(values)) < 2:
            if first or complete:
                self._ask_typical()
            self.planner.mapper.forget()
            with self.lock:
                # Without a model there is no map: one of labels that were taken back is not that of the present ones.
                self._learnt, self.problem, self.map = stamp, None, None
            return False
        outlook, found = self.planner.learn(ids, values, classes, rounds)
        with self.lock:
            self._learnt, self.problem = stamp, None
            # The tiles of a large scene are predicted in place: from now on its map is of two models.
            self.map = found or (self.map and replace(self.map, complete=False))
            self._mapped = self._mapped if found is None else stamp
        if (self.complete and complete) or first:
            self._ask(outlook, rounds, len(ids))
        self._fill_spare(outlook)
        return True

    @property
    def _rounds(self) -> int:
        """Queries of a model that the labels follow: one without any answer doesn't count.

        So the same labels give the same model when a session is opened again, with the next query asked already.
        """
        queries = self.answers.queries
        unanswered = bool(queries) and queries[-1].by_model and self.answers.given.keys().isdisjoint(queries[-1].pixels)
        return self._asked_by_models - unanswered

    @property
    def _asked_by_models(self) -> int:
        return sum(query.by_model for query in self.answers.queries)

    def doubt(self) -> None:
        """Find out how much the other labels doubt each label, where the learner can tell."""
        with self.lock:
            ids, values = self.answers.labelled()
            classes = np.array(sorted(self.answers.classes), np.int64)
        found = self.planner.doubts(ids, values, classes)
        if found is not None:
            with self.lock:
                self.doubts = found

    @property
    def agreements(self) -> list[float]:
        """Kappa between the maps of successive queries, the latest last."""
        return [query.agreement for query in self.answers.queries if query.agreement is not None]

    @property
    def stable(self) -> bool:
        """Whether the maps of the last queries hardly differ."""
        latest = self.agreements[-STABLE_ROUNDS:]
        return len(latest) == STABLE_ROUNDS and min(latest) > STABLE

    @property
    def untold(self) -> int:
        """How many of the last `LATEST` answers to a model's questions are "can't tell"; 0 before there are so many."""
        typical = {pixel for query in self.answers.queries if not query.by_model for pixel in query.pixels}
        given = self.answers.given.items()
        asked = (answer for pixel, answer in given if answer.asked and pixel not in typical)
        latest = heapq.nlargest(LATEST, asked, key=lambda answer: answer.number)
        return sum(answer.value is None for answer in latest) if len(latest) == LATEST else 0

    def refine(self) -> bool:
        """Predict the next part of the map of a large scene.

        Returns:
            Whether there is more to do.

        Raises:
            HsiAlError: The learner fails.
            Superseded: As `superseded` says.
        """
        found = self.planner.refine()
        if found is not None:
            with self.lock:
                self.map, self._mapped = found, self._learnt
        return self.planner.mapper.pending

    def _ask(self, outlook: Outlook, rounds: int, n_labelled: int) -> None:
        pixels = self._chosen(outlook, self.config.protocol.query_size, generator(self.config.seed, "query", rounds))
        if not pixels:
            return
        with self.lock:
            labelled = self.answers.labelled()[0]
        agreement = self.planner.agreement(self._before, outlook, labelled)
        about = {"by_model": True, "agreement": agreement, "n_labelled": n_labelled}
        keep_predicted(self.folder, self._asked_by_models + 1, outlook.values)
        with self.lock:  # not before: choosing takes a while, and answers don't wait
            self._keep({"event": "query", "pixels": pixels, **about})
        self._before = outlook.values

    def _fill_spare(self, outlook: Outlook) -> None:
        """Choose what can be asked while the next model is fitted: what follows in the present ranking."""
        with self.lock:
            rng, also = generator(self.config.seed, "spare", len(self.answers.queries)), self.open_pixels
        spare = self._chosen(outlook, SPARE, rng, also)
        with self.lock:
            self._spare = spare

    def _chosen(self, outlook: Outlook, n: int, rng: np.random.Generator, also: Sequence[int] = ()) -> list[int]:
        """Let the acquisition function choose up to n candidates without an answer that are not among `also`."""
        with self.lock:
            labelled, untold = self.answers.labelled(), self.answers.untold()
        return self.planner.chosen(outlook, *labelled, untold, n, rng, also)

    def _ask_typical(self) -> None:
        """Ask pixels that are typical of clusters of the candidates not answered yet."""
        with self.lock:
            given, number = np.array(list(self.answers.given), np.int64), len(self.answers.queries)
        pixels = self.planner.typical(given, generator(self.config.seed, "initial", number))
        if pixels:
            with self.lock:
                self._keep({"event": "query", "pixels": pixels, "by_model": False})

    def _progress(self, text: str, part: float) -> None:
        if self.superseded():
            raise Superseded

    # Keeping.

    def _keep(self, event: dict[str, Any]) -> None:
        """Write an event to the journal, then take it into the state."""
        stamped = {"time": self.now().isoformat(timespec="milliseconds"), "who": self.who, **event}
        if (request := REQUEST.get()) is not None:
            stamped["request"] = request
        self.journal.append(stamped)
        self.answers.apply(stamped)
        self.changed.notify_all()

    def _require_pixel(self, pixel: int) -> None:
        if not 0 <= pixel < self.scene.height * self.scene.width:
            raise Refused(
                f"There is no pixel {pixel}; the scene has pixels 0 to {self.scene.height * self.scene.width - 1}."
            )
        if self.has_data is not None and not self.has_data[pixel]:
            raise Refused(f"Pixel {pixel} has no data, so it can't be labelled.")

    def _require_class(self, value: int | None) -> None:
        if value is not None and value not in self.answers.classes:
            raise Refused(f"There is no class {value}; add it first.")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Say `busy` inside."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False


def written(name: str) -> str:
    """Return the name of a class as it is kept: with single spaces."""
    return " ".join(name.split())


def user() -> str:
    """Return the name of the operating system's user; empty if it has none that can be written down."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
    return name if name.isprintable() else ""
