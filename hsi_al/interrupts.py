"""Interrupts by flag: a signal is noted when it comes and obeyed at the next safe place, so that none gets lost.

Python would raise KeyboardInterrupt wherever a signal finds it, also where exceptions are swallowed, such as in
`__del__` during garbage collection. Here a handler only notes the signal; whoever works calls `check` between steps,
between parts of a prediction and before a commit. A second signal ends the process at once: what is committed stays.
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

# Ctrl-C, what `kill` and SLURM send to end a process, and what SLURM sends before.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
SAME_SECONDS = 0.5  # within which a second signal is an echo: a terminal signals children that a parent signals, too


class Interrupted(BaseException):
    """The process was asked to end; no `except Exception` stops it.

    Attributes:
        signal_number: By which signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """As shells count: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


class _Listener:
    """The signals noted so far and the handlers that were there before."""

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


def end_at_once(signal_number: int) -> None:
    """Leave without unwinding."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or interrupted in the middle of a write
            stream.flush()
    os._exit(128 + signal_number)


@contextmanager
def listening() -> Iterator[None]:
    """Note signals inside, in the main thread of a process; inside another `listening` it changes nothing."""
    global _listener
    if _listener is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _listener = _Listener()
    for number in SIGNALS:
        before = signal.getsignal(number)
        # What a shell has told a background process to ignore stays ignored; a handler of C can't be put back.
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
    """In a process forked from one that listens: hear nothing, as any new process."""
    global _listener
    _listener = None
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def noted() -> int | None:
    """The signal that was noted and not obeyed yet."""
    return None if _listener is None else _listener.noted


def check() -> None:
    """Obey a noted signal: the safe places of a run call this.

    A handler that was there before `listening`, such as that of a cluster's launcher, which puts its job back into the
    queue, is called now instead; if it returns, the work goes on.

    Raises:
        Interrupted: The process was asked to end.
    """
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
    """Inside, a signal raises where it comes, beside being noted: for waiting in other people's code."""
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
