"""Downloads of public scene files: each file once, checked against its size and sha256."""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock
import pooch
import requests
from tqdm import tqdm

from hsi_al import interrupts
from hsi_al.errors import SceneError

BASE_VARIABLE = "HSI_AL_DOWNLOAD_BASE"
TIMEOUT_SECONDS = 30.0  # without an answer
START_SECONDS, SLOWEST = 60.0, 20_000  # one attempt has a minute, and the time that its bytes take at 20 kB/s
RETRIES, PAUSE_SECONDS = 2, 1.0


class Refused(Exception):
    """The server sends what can't be the file, or sends it too slowly; another attempt would be no better."""


@dataclass(frozen=True)
class SceneFile:
    """A published scene file.

    Attributes:
        url_path: Path below the base address of the downloads.
        size: Size in bytes.
        sha256: Checksum, hexadecimal.
        key: Key of the array in the file.
    """

    url_path: str
    size: int
    sha256: str
    key: str

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(self.url_path).name


def cache_folder() -> Path:
    """Return the user's cache folder, used if no `data_dir` is given, such as ~/.cache/hsi_al.

    Raises:
        SceneError: There is no home directory.
    """
    try:
        folder = Path(pooch.os_cache("hsi_al"))
    except RuntimeError:  # of newer versions of platformdirs; others give a path that begins with ~
        folder = Path("~")
    if folder.parts[0].startswith("~"):
        raise SceneError("There is no home directory for scene files; set data_dir to a folder, or XDG_CACHE_HOME.")
    return folder


def download(base: str, file: SceneFile, folder: Path) -> Path:
    """Download a file into a folder unless it is there already; parallel jobs wait for the first one.

    The download is repeated after a broken connection and after a truncated or wrong file. The file appears under its
    name only when it is complete and its checksum is right.

    Args:
        base: Address before `file.url_path`; the environment variable HSI_AL_DOWNLOAD_BASE replaces it by a mirror.
        file: The file to download.
        folder: Folder to download to; created if missing.

    Returns:
        Path of the file.

    Raises:
        SceneError: The file can't be downloaded or written; the message gives address, path and checksum.
    """
    url = os.environ.get(BASE_VARIABLE, base).rstrip("/") + "/" + file.url_path
    path = folder / file.name
    if path.exists():  # before the lock, which a read-only folder can't hold
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{path.name}.lock"):
            if not path.exists():
                print(f"Downloading {url} ({file.size / 1e6:.1f} MB) to {path}")
                retrieve(url, path, file)
    except (OSError, ValueError, Refused, requests.exceptions.RequestException) as error:
        raise SceneError(
            f"{url} can't be downloaded ({cause_of(error)}); download it by hand to {path} ({file.size} bytes, sha256 "
            f"{file.sha256}), or set data_dir to a folder that holds it."
        ) from error
    return path


def retrieve(url: str, path: Path, file: SceneFile) -> None:
    """Download a file, with retries, and check it; one that was left by an interrupted download is replaced.

    Raises:
        Refused: The server sends more bytes than the file has, announces another size, or takes too long.
        ValueError: The bytes are not those of the file.
        OSError: It can't be written.
        requests.exceptions.RequestException: The server can't be reached, or the connection broke off.
    """
    part = path.with_name(f".{path.name}.part")
    seconds = START_SECONDS + file.size / SLOWEST
    for attempt in range(RETRIES + 1):
        part.unlink(missing_ok=True)
        try:
            within(seconds, lambda expired: receive(url, part, file, expired))
            part.replace(path)
            return
        except (ValueError, requests.exceptions.RequestException):
            if attempt == RETRIES:
                raise
            time.sleep(PAUSE_SECONDS)
        finally:
            part.unlink(missing_ok=True)


def within(seconds: float, work: Callable[[threading.Event], None]) -> None:
    """Do work in a thread and wait for it at most so long: limits of sockets start anew with every byte.

    Args:
        seconds: How long to wait.
        work: Function of an event that tells it to give up.

    Raises:
        Refused: The work isn't done in time.
        Interrupted: A signal came.
        Exception: What the work raises.
    """
    expired, failed = threading.Event(), list[Exception]()

    def guarded() -> None:
        try:
            work(expired)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    try:
        while thread.is_alive():
            interrupts.check()
            if time.monotonic() > end:
                raise Refused(f"not complete within {seconds:.4g} s")
            thread.join(0.1)
    finally:
        expired.set()
    if failed:
        raise failed[0]


def receive(url: str, part: Path, file: SceneFile, expired: threading.Event) -> None:
    """Write the bytes of a URL to a new file, no more than belong to it; for the errors see `retrieve`."""
    found, digest = 0, hashlib.sha256()
    plain = {"Accept-Encoding": "identity"}  # so that Content-Length is the size of the file
    with requests.get(url, headers=plain, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        answer.raise_for_status()
        announced = answer.headers.get("Content-Length")
        if announced not in (None, str(file.size)) and "Content-Encoding" not in answer.headers:
            raise Refused(f"the server sends {announced} bytes, not the file")
        silent = not sys.stderr.isatty()
        if expired.is_set():
            return
        with part.open("xb") as written, tqdm(total=file.size, unit="B", unit_scale=True, disable=silent) as bar:
            for chunk in answer.iter_content(1 << 16):
                found += len(chunk)
                if found > file.size or expired.is_set():
                    raise Refused("the server sends more bytes than the file has")
                written.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    if digest.hexdigest() != file.sha256:
        raise ValueError(file.sha256)


def cause_of(error: Exception) -> str:
    """Return the cause of a failed download in a few words, instead of the long message of a library."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.RequestException):
        return "no connection, or it broke off"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}"
    return "the downloaded file is not the published one"
