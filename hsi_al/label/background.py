"""The thread that learns while a person answers."""

import threading
import time

from hsi_al.errors import HsiAlError, sentence
from hsi_al.label.session import Session, Superseded

DEBOUNCE = 0.15  # seconds without another answer before a model is fitted within a query
QUICK = 5.0  # seconds of a model that is worth fitting within a query


class Background:
    """Learns in a thread of its own: at once when a query is answered, else shortly after the latest answer.

    A fit that a complete query has made outdated is given up. What goes wrong becomes the session's `problem`, and is
    tried again after the next answer.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.closing = False
        self.seconds = 0.0  # that the latest model took
        self._partial = False  # whether the present fit began within a query
        session.superseded = lambda: self.closing or (self._partial and session.complete)
        self.thread = threading.Thread(target=self._work, name="learning", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def close(self, seconds: float = 5.0) -> bool:
        """Give up what is being fitted, and return whether the thread has ended within the time."""
        with self.session.lock:
            self.closing = True
            self.session.changed.notify_all()
        if self.thread.is_alive():
            self.thread.join(seconds)
        return not self.thread.is_alive()

    def _work(self) -> None:
        while self._wait():
            began, version = time.monotonic(), self.session.answers.version
            try:
                with self.session.computing, self.session.working():
                    if self.session.learn():
                        self.seconds = time.monotonic() - began
            except Superseded:
                continue
            except Exception as error:  # the thread must outlive whatever a learner raises
                self._fail(error, version)
                continue
            self._refine()
            self._doubt()

    def _wait(self) -> bool:
        """Wait until there is something to learn; False when the session ends."""
        session = self.session
        with session.lock:
            while not self.closing and not self._is_time():
                session.changed.wait()
            if not session.complete:  # more answers may follow at once
                stamp = None
                while not self.closing and not session.complete and stamp != session.answers.version:
                    stamp = session.answers.version
                    session.changed.wait(DEBOUNCE)
            self._partial = not session.complete
            return not self.closing

    def _is_time(self) -> bool:
        session = self.session
        if session.problem is not None and session.answers.version == self._failed_at:
            return False
        return session.due and (session.complete or not session.answers.queries or self.seconds < QUICK)

    _failed_at = -1

    def _fail(self, error: Exception, version: int | None = None) -> None:
        """Tell of an error; after an answer later than `version`, by default the latest, it is tried again."""
        told = sentence(error) if isinstance(error, HsiAlError | OSError) else f"{type(error).__name__}: {error}"
        with self.session.lock:
            self.session.problem = f"No new map: {told}"
            self._failed_at = self.session.answers.version if version is None else version

    def _refine(self) -> None:
        """Map a large scene tile by tile until there is something to learn; what is in view comes before that."""
        session = self.session
        try:
            while not self.closing and self._refined():
                if session.due and self._is_time() and (session.complete or not session.planner.mapper.behind):
                    return
        except Superseded:
            return
        except Exception as error:
            self._fail(error)

    def _refined(self) -> bool:
        with self.session.computing:
            return self.session.refine()

    def _doubt(self) -> None:
        """Look for doubtful labels once nothing else is to do."""
        if self.session.due or self.closing:
            return
        try:
            with self.session.computing:
                self.session.doubt()
        except Superseded:
            return
        except Exception as error:
            self._fail(error)
