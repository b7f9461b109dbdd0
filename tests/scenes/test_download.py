"""Downloads against a server on this machine that misbehaves in the usual ways."""

import gc
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hsi_al import interrupts
from hsi_al.errors import SceneError
from hsi_al.scenes import download as module
from hsi_al.scenes.download import SceneFile, cache_folder, download

# A transfer that is given up goes on for a moment; what is left of it is collected before the next module.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

CONTENT = bytes(range(256)) * 2000
FILE = SceneFile("e/ee/Scene.mat", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "scene")


class Server(ThreadingHTTPServer):
    """Answers request number n as the n-th word of `plan` says; the last word stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = ["good"]
        self.requested: list[str] = []
        self.sent = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are expected."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        how = self.server.plan[min(len(self.server.requested), len(self.server.plan)) - 1]
        if how == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        announced = {"endless": None, "drip": None, "page": "1234"}.get(how, str(len(CONTENT)))
        if announced:
            self.send_header("Content-Length", announced)
        self.end_headers()
        if how == "slow":
            time.sleep(1.5)
        for _ in range({"endless": 10**6, "drip": 200}.get(how, 0)):
            self.server.sent += self.wfile.write(b"x" if how == "drip" else CONTENT[: 2**16])
            time.sleep(0.02 if how == "drip" else 0)
        if how in ("endless", "drip", "page"):
            return
        body = {"corrupted": b"\0" * len(CONTENT), "dropped": CONTENT[: len(CONTENT) // 3]}.get(how, CONTENT)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(module.BASE_VARIABLE, raising=False)
    monkeypatch.setattr(module, "RETRIES", 1)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()
    gc.collect()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_a_file_arrives_once(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "cache"
    for _ in range(2):
        assert download(server.base, FILE, folder) == folder / "Scene.mat"
    assert (folder / "Scene.mat").read_bytes() == CONTENT
    assert server.requested == ["/e/ee/Scene.mat"]
    assert capfd.readouterr().out.count("Downloading") == 1


@pytest.mark.parametrize("fault", ["corrupted", "dropped", "missing"])
def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.plan = [fault, "good"]
    assert download(server.base, FILE, tmp_path).read_bytes() == CONTENT
    assert len(server.requested) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("corrupted", "the downloaded file is not the published one"),
        ("dropped", "no connection, or it broke off"),
        ("missing", "the server answered 404"),
        ("slow", "no answer within 0.2 s"),
    ],
)
def test_a_lasting_fault_is_one_sentence_and_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    server.plan = [fault]
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(SceneError) as caught:
        download(server.base, FILE, tmp_path)
    message = str(caught.value)
    for part in (words, f"{server.base}e/ee/Scene.mat", str(tmp_path / "Scene.mat"), FILE.sha256, "512000 bytes"):
        assert part in message
    assert "\n" not in message
    assert len(server.requested) == 2
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("endless", "the server sends more bytes than the file has"),
        ("page", "the server sends 1234 bytes, not the file"),
        ("drip", "not complete within 0.4 s"),
    ],
)
def test_what_cannot_become_the_file_is_given_up_at_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    server.plan = [fault]
    monkeypatch.setattr(module, "START_SECONDS", 0.2)
    monkeypatch.setattr(module, "SLOWEST", len(CONTENT) / 0.2)
    begun = time.monotonic()
    with pytest.raises(SceneError, match=words):
        download(server.base, FILE, tmp_path)
    assert time.monotonic() - begun < 2
    assert len(server.requested) == 1 and server.sent < 50 * len(CONTENT)
    assert left_in(tmp_path) == []
    server.plan = ["good"]  # nobody holds the lock
    monkeypatch.setattr(module, "START_SECONDS", 60)
    assert download(server.base, FILE, tmp_path).read_bytes() == CONTENT


def test_what_an_interrupted_download_left_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".Scene.mat.part").write_bytes(CONTENT[:1000])
    assert download(server.base, FILE, tmp_path).read_bytes() == CONTENT
    assert left_in(tmp_path) == ["Scene.mat"]


def test_a_signal_ends_a_download(server: Server, tmp_path: Path) -> None:
    server.plan = ["drip"]
    with pytest.raises(interrupts.Interrupted), interrupts.listening():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        download(server.base, FILE, tmp_path)
    assert left_in(tmp_path) == []


def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", 0)
    monkeypatch.setenv(module.BASE_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(SceneError, match=r"http://127.0.0.1:9/e/ee/Scene.mat can't be downloaded \(no connection"):
        download("http://nowhere.invalid/", FILE, tmp_path)


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hsi_al.scenes.download import SceneFile, download; "
        f"download(sys.argv[1], SceneFile('e/ee/Scene.mat', {FILE.size}, '{FILE.sha256}', 'scene'), Path(sys.argv[2]))"
    )
    server.plan = ["slow", "good"]
    command = [sys.executable, "-c", code, server.base, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert server.requested == ["/e/ee/Scene.mat"]
    assert (tmp_path / "Scene.mat").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match=r"Not a directory|File exists"):
        download(server.base, FILE, tmp_path / "file")
    assert server.requested == []


def test_a_file_in_a_read_only_cache_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Scene.mat").write_bytes(b"put there by hand")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("filelock.FileLock", refuse)
    assert download(server.base, FILE, tmp_path).read_bytes() == b"put there by hand"
    assert server.requested == []


def test_the_cache_follows_the_systems_convention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hsi_al"
