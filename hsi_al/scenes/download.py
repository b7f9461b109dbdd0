"""Public scene files arrive by themselves, once, checked by their sha256 (pooch)."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock
import pooch
import requests

from hsi_al.errors import SceneError

BASE_VARIABLE = "HSI_AL_DOWNLOAD_BASE"
TIMEOUT_SECONDS = 30.0
RETRIES = 2


@dataclass(frozen=True)
class SceneFile:
    """A published file: its path below the page's base address, size in bytes, checksum and the array's key."""

    url_path: str
    size: int
    sha256: str
    key: str

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(self.url_path).name


def cache_folder() -> Path:
    """Where files are kept when no `data_dir` is named, such as ~/.cache/hsi_al."""
    return Path(pooch.os_cache("hsi_al"))


def download(base: str, file: SceneFile, folder: Path) -> Path:
    """Fetch a file into a folder unless it is there already; parallel jobs wait for the first one.

    A broken connection, a short or a wrong file is tried again; nothing but the whole, right file ever appears.

    Args:
        base: Address that the file's path continues; the environment variable HSI_AL_DOWNLOAD_BASE names a mirror.
        file: What to fetch.
        folder: Where it goes; made if missing.

    Returns:
        The file's path.

    Raises:
        SceneError: It can't be had or written: one sentence with address, path and checksum.
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
                retrieve(url, path, file.sha256)
    except (OSError, ValueError, requests.exceptions.RequestException) as error:
        raise SceneError(
            f"{url} can't be downloaded ({cause_of(error)}); fetch it by hand as {path} ({file.size} bytes, sha256 "
            f"{file.sha256}), or set data_dir to a folder that holds it."
        ) from error
    return path


def retrieve(url: str, path: Path, sha256: str) -> None:
    """Download with retries, and a progress bar where there is a terminal."""
    pooch.get_logger().setLevel("WARNING")
    source = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: f"sha256:{sha256}"},
        urls={path.name: url},
        retry_if_failed=RETRIES,
    )
    progressbar = sys.stderr.isatty()
    source.fetch(
        path.name,
        downloader=pooch.HTTPDownloader(progressbar=progressbar, chunk_size=1 << 16, timeout=TIMEOUT_SECONDS),
    )


def cause_of(error: Exception) -> str:
    """A few words instead of a library's paragraph."""
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.RequestException):
        return "no connection, or it broke off"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}"
    return "what arrived is not the published file"
