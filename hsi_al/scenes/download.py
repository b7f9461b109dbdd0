"""Downloads of public scene files: each file once, checked against its sha256 (pooch)."""

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
    """Return the user's cache folder, used if no `data_dir` is given, such as ~/.cache/hsi_al."""
    return Path(pooch.os_cache("hsi_al"))


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
                retrieve(url, path, file.sha256)
    except (OSError, ValueError, requests.exceptions.RequestException) as error:
        raise SceneError(
            f"{url} can't be downloaded ({cause_of(error)}); download it by hand to {path} ({file.size} bytes, sha256 "
            f"{file.sha256}), or set data_dir to a folder that holds it."
        ) from error
    return path


def retrieve(url: str, path: Path, sha256: str) -> None:
    """Download a file and check its sha256, with retries, and with a progress bar if stderr is a terminal."""
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
    """Return the cause of a failed download in a few words, instead of the long message of a library."""
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.RequestException):
        return "no connection, or it broke off"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}"
    return "the downloaded file is not the published one"
