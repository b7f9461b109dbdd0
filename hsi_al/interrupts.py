"""Signals that end a run: each is noted when it arrives and acted on at the next safe point, so that none gets lost.

Python would raise KeyboardInterrupt wherever a signal finds it, also where exceptions are swallowed, such as in
`__del__` during garbage collection. Here a handler only notes the signal; the running code calls `check` between
training steps, between parts of a prediction and before a commit. A second signal ends the process immediately;
committed rounds stay on the disk.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# SIGINT: Ctrl-C. SIGTERM: sent by `kill` and SLURM to end a process. SIGUSR1, SIGUSR2: sent by SLURM ahead of that.
# SIGHUP: the terminal was closed; `nohup` lets it be ignored.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
SIGPIPE = 13  # what a program gets that writes into a closed pipe; Python raises BrokenPipeError instead
SAME_SECONDS = 0.5  # a second signal within this time is an echo: Ctrl-C reaches a child from terminal and parent


class Interrupted(BaseException):
    """The process was asked to end; no `except Exception` stops it.

    Attributes:
        signal_number: Number of the signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """The exit code by the convention of shells, 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


class _Listener:
    """The signal noted so far and the handlers that were installed before."""

    def __init__(self) -> None:
        self.noted: int | None = None
        self.since = 0.0
        self.before: dict[int, Any] = {}
        self.at_once = False

    def note(self, signal_number: int, frame: FrameType | None = None) -> None:
        now = time.monotonic()
        if self.noted is None:
            self.noted, self.since = signal_number, now
        elif now - self.since > SAME_SECONDS:
            end_at_once(signal_number)
        if self.at_once:
            raise Interrupted(signal_number)


_listener: _Listener | None = None
_parent: int | None = None


def end_with(parent: int) -> None:
    """Let `check` end this process once its parent process, given by its id, has ended."""
    global _parent
    _parent = parent


def end_at_once(signal_number: int) -> None:
    """Flush the output and end the process without any cleanup, with exit code 128 + the signal's number."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or interrupted in the middle of a write
            stream.flush()
    os._exit(128 + signal_number)


@contextmanager
def listening() -> Iterator[None]:
    """Note signals inside the context; has no effect outside the main thread or inside another `listening`."""
    global _listener
    if _listener is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _listener = _Listener()
    for number in SIGNALS:
        before = signal.getsignal(number)
        # A signal that the shell lets a background process ignore stays ignored; a handler set by C can't be restored.
        if before not in (signal.SIG_IGN, None):
            listener.before[number] = before
            signal.signal(number, listener.note)
    try:
        yield
    finally:
        for number, before in listener.before.items():
            signal.signal(number, before)
        _listener = None


def forget() -> None:
    """Stop listening and restore the default handlers, in a process that was forked from one that listens."""
    global _listener
    _listener = None
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def noted() -> int | None:
    """Return the number of the noted signal; None if there is none, or `check` passed it to an earlier handler."""
    return None if _listener is None else _listener.noted


def check() -> None:
    """Act on a noted signal; called at the safe points of a run.

    A handler installed before `listening` is called instead of raising, such as that of a cluster's launcher, which
    puts its job back into the queue; if the handler returns, the work goes on.

    Raises:
        Interrupted: The process was asked to end.
    """
    if _parent is not None and os.getppid() != _parent:
        end_at_once(signal.SIGTERM)  # an exception would end the work alone: a pool's process waits for more
    listener = _listener
    if listener is None or listener.noted is None:
        return
    number = listener.noted
    before: Callable[[int, FrameType | None], object] | Any = listener.before.get(number)
    if callable(before) and before is not signal.default_int_handler:
        listener.noted = None
        before(number, None)
        return
    raise Interrupted(number)


@contextmanager
def at_once() -> Iterator[None]:
    """Raise `Interrupted` the moment a signal arrives inside: for waiting in library code, which can't call `check`."""
    listener = _listener
    if listener is None:
        yield
        return
    outer, listener.at_once = listener.at_once, True
    try:
        check()
        yield
    finally:
        listener.at_once = outer
