"""An append-only file of events, one JSON object a line, each on the disk before `append` returns.

Every line ends with a checksum of itself. A line that the process, or the machine, did not finish writing is the last
one; it is left out, as if it had never been begun. Any other unreadable line is damage, and is named.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

from hsi_al.errors import SessionError
from hsi_al.files import sync_folder

SEAL = ',"crc":"'  # between an event and its checksum


def sealed_line(event: dict[str, Any]) -> bytes:
    """Return an event as a line with its checksum, CRC-32 of the UTF-8 text of the JSON object before it."""
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'{body[:-1]}{SEAL}{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def read_line(line: bytes) -> dict[str, Any]:
    """Return the event of a line without its line break.

    Raises:
        ValueError: The line is damaged or unfinished.
    """
    body, seal, rest = line.decode().rpartition(SEAL)
    body += "}"
    if not seal or rest != f'{zlib.crc32(body.encode()):08x}"}}':
        raise ValueError("its checksum is not that of its content")
    event = json.loads(body)
    if not isinstance(event, dict):
        raise ValueError("it holds no event")
    return event


class Journal:
    """The events in a file, which this process alone may write.

    Attributes:
        path: The file; it is made by the first `append`.
        events: All events, in the order in which they were written.
        dropped: The unfinished last line that was left out, until the next `append` takes its place; else empty.

    Args:
        path: The file.

    Raises:
        SessionError: A line that was written to its end is damaged.
        OSError: The file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.dropped = b""
        self._end = 0  # bytes of the file that hold whole lines
        lines = self._lines()
        for number, line in enumerate(lines, 1):
            try:
                self.events.append(read_line(line.rstrip(b"\n")) if line.endswith(b"\n") else read_line(b""))
                self._end += len(line)
            except ValueError as error:
                if number < len(lines) or line.endswith(b"\n"):  # an unfinished line has no end
                    raise SessionError(
                        f"Line {number} of {path} is damaged ({error}); restore the file from a copy, or delete this "
                        "line if the answer in it can be missed."
                    ) from None
                self.dropped = line

    def append(self, event: dict[str, Any]) -> None:
        """Write an event behind the others; it is on the disk afterwards, or the file is as it was.

        Raises:
            SessionError: Somebody else has changed, moved or deleted the file, in which nothing is changed then.
            OSError: The disk is full or fails.
        """
        line = sealed_line(event)
        size = self._end + len(self.dropped)
        if size and not self.path.exists():
            raise SessionError(f"{self.path} is gone: this was not kept. Put the file back, or begin another session.")
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(descriptor).st_size != size:
                raise SessionError(
                    f"{self.path} was changed by another program: this was not kept. End this session and start it "
                    "again; it then has what the file holds."
                )
            os.ftruncate(descriptor, self._end)  # an unfinished line before it would make both unreadable
            self.dropped = b""
            try:
                os.lseek(descriptor, self._end, os.SEEK_SET)
                written = 0
                while written < len(line):
                    written += os.write(descriptor, line[written:])
                os.fsync(descriptor)
                if not self._end:
                    sync_folder(self.path.parent)
            except OSError as error:
                os.ftruncate(descriptor, self._end)
                error.filename = error.filename or str(self.path)
                raise
        finally:
            os.close(descriptor)
        self._end += len(line)
        self.events.append(event)

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
