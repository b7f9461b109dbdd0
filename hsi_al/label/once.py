"""Requests that may come again, since their reply was lost, and change nothing twice."""

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from hsi_al.errors import SessionError

# What this thread makes a change for, as its event says it: the id of a request, a space, a checksum of its content.
REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


class Once:
    """Makes every change once, however often it is asked for.

    Since the id of a request is kept with what it changed, that holds for a process that was killed in between, too.

    Args:
        made: Id of every request that has changed something -> checksum of what it asked; grows as changes are kept.
    """

    def __init__(self, made: Mapping[str, str]) -> None:
        self.made = made
        self._going: set[str] = set()  # ids of the requests that are being carried out
        self._gone = threading.Condition()  # notified when one of them has been

    def __call__(self, request: str, content: str, change: Callable[[], object]) -> None:
        """Make a change for a request, unless it was made before; a request that is being carried out is waited for.

        Args:
            request: Id of the request, chosen by who sends it; without spaces.
            content: Checksum of what it asks.
            change: Makes the change, and keeps one event with `REQUEST`; if it raises, nothing is remembered.

        Raises:
            SessionError: The id was that of a request for something else.
        """
        with self._gone:
            while request in self._going:
                self._gone.wait()
            if request in self.made:
                if self.made[request] != content:
                    raise SessionError("This id was that of another request; every change needs a new one.")
                return
            self._going.add(request)
        before = REQUEST.set(f"{request} {content}")
        try:
            change()
        finally:
            REQUEST.reset(before)
            with self._gone:
                self._going.remove(request)
                self._gone.notify_all()
