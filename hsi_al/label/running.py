"""Opening of a session in its folder, and the server around it, from start to Ctrl-C."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import uvicorn

from hsi_al.active.parts import build_scene
from hsi_al.cli.composition import composed
from hsi_al.config.kept import differing_keys, to_yaml
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, SessionError
from hsi_al.files import replacing
from hsi_al.label.background import Background
from hsi_al.label.guard import Guard
from hsi_al.label.server import build_app
from hsi_al.label.session import Session
from hsi_al.methods.registry import check_method
from hsi_al.scenes.catalogue import CATALOGUE
from hsi_al.scenes.checksums import data_checksums
from hsi_al.scenes.scene import Scene
from hsi_al.terminal import printable, warn

FORMAT = "hsi_al session 1"
# Few labels: typical pixels first, then where the trees are least sure.
DEFAULTS = ("protocol=few", "learner=profile_trees", "acquisition=margin", "acquisition.min_distance=8")


def configuration(scene: str, overrides: Sequence[str], key: str | None = None) -> Config:
    """Return the configuration of a session on a scene of the catalogue, or in a file.

    Raises:
        ConfigurationError: A key or value is wrong.
    """
    given = [override for override in overrides if "=" in override]
    if len(given) < len(overrides):
        wrong = next(override for override in overrides if "=" not in override)
        raise ConfigurationError(f"{wrong!r} is no key=value; a session labels one scene.")
    if scene in CATALOGUE:
        about = [f"dataset={scene}"]
    else:
        path = Path(scene).expanduser().resolve()
        name = "".join(char if char.isalnum() or char in "_-." else "_" for char in path.stem).strip(".") or "scene"
        about = ["dataset=custom", f"dataset.name={quoted(name)}", f"dataset.cube_file={quoted(str(path))}"]
        about += [] if key is None else [f"dataset.cube_key={quoted(key)}"]
    own = {override.lstrip("+~").split("=")[0] for override in given}
    defaults = [override for override in DEFAULTS if override.split("=")[0] not in own]
    if "acquisition" in own:
        defaults.remove("acquisition.min_distance=8") if "acquisition.min_distance=8" in defaults else None
    config, _ = composed([*about, *defaults, *given])
    check_method(config)
    return config


def quoted(value: str) -> str:
    """Return a text as Hydra's command line reads it back."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a session's folder against other processes; the lock of a killed process doesn't block.

    Raises:
        SessionError: Another process holds it.
        OSError: The folder can't be written.
    """
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise SessionError(
            f"Another process has opened the session in {folder}; close that one, or choose another --session."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def opened(
    folder: Path, scene: Scene, config: Config, classes: Sequence[str] = (), who: str | None = None
) -> Iterator[Session]:
    """Open the session in a folder, or begin one there.

    Raises:
        SessionError: Another process has opened it, it is damaged, or of another scene or with other settings.
        OSError: The folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        about: dict[str, Any] = {
            "format": FORMAT,
            "scene": scene.name,
            "shape": [scene.height, scene.width, scene.n_bands],
            "cube": data_checksums(scene)["cube"],
        }
        if (folder / "session.json").exists():
            check_kept(folder, about, config)
        else:
            foreign = sorted(path.name for path in folder.iterdir() if path.name != "lock")
            if foreign:
                raise SessionError(f"{folder} holds other files ({foreign[0]}); choose another --session.")
            with replacing(folder / "config.yaml") as temporary:
                temporary.write_text(to_yaml(config), encoding="utf-8")
            with replacing(folder / "session.json") as temporary:
                temporary.write_text(json.dumps(about, indent=2), encoding="utf-8")
        session = Session(folder, scene, config, who=who)
        if session.journal.dropped:
            warn(f"The last line of {session.journal.path} was not finished when it was written, and is left out.")
        known = {found.name for found in session.answers.classes.values()}
        for name in classes:
            if name not in known:
                session.add_class(name)
        yield session


def check_kept(folder: Path, about: dict[str, Any], config: Config) -> None:
    """Compare a session's folder with the scene and the settings of this call.

    Raises:
        SessionError: They differ, or the folder is damaged.
    """
    path = folder / "session.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name, value in about.items() if kept[name] != value]
    except (ValueError, LookupError, TypeError):
        raise SessionError(f"{path} is damaged; restore it from a copy, or choose another --session.") from None
    if "format" in differing:
        raise SessionError(f"{path} was written by another version ({kept['format']}); choose another --session.")
    if "shape" in differing or "cube" in differing:
        raise SessionError(
            f"{folder} holds a session of other data than {about['scene']} has now (it was begun with "
            f"{kept['scene']}, {' x '.join(map(str, kept['shape']))}); choose another --session, or restore the data."
        )
    if different := differing_keys(folder / "config.yaml", config, moved=True):
        raise SessionError(
            f"{folder} holds a session with other settings: {', '.join(different)}; leave them as they were, or "
            "choose another --session."
        )


def label(
    scene_name: str,
    overrides: Sequence[str] = (),
    *,
    key: str | None = None,
    classes: Sequence[str] = (),
    folder: Path | None = None,
    port: int = 0,
    who: str | None = None,
    browser: bool = True,
) -> None:
    """Open a session and serve its page until SIGINT or SIGTERM, then print a summary.

    Raises:
        HsiAlError: Bad input.
        OSError: The folder can't be written, or the port is taken.
    """
    config = configuration(scene_name, overrides, key)
    scene = build_scene(config)
    for notice in scene.notices:
        print(printable(notice), file=sys.stderr)
    folder = folder or Path("sessions") / scene.name
    with opened(folder, scene, config, classes, who) as session, listening_socket(port) as bound:
        port, token, began = bound.getsockname()[1], secrets.token_urlsafe(32), time.monotonic()
        background = Background(session)
        app = Guard(build_app(session), port, token)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        address = f"http://127.0.0.1:{port}/?token={token}"

        def ready() -> None:
            print(f"Labelling {printable(scene.name)}; Ctrl-C ends, and the same command continues.", flush=True)
            print(address, flush=True)
            background.start()
            if browser:
                open_browser(address)

        asyncio.run(serve(uvicorn.Server(settings), bound, ready))
        ended = background.close()
        print(summary(session, (time.monotonic() - began) / 60), flush=True)
    if not ended:  # a fit in library code would keep the process from ending
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextmanager
def listening_socket(port: int) -> Iterator[socket.socket]:
    """Yield a socket on 127.0.0.1.

    Raises:
        ConfigurationError: The port is taken, or no port.
    """
    # The protocol is named because asyncio sends small answers at once (TCP_NODELAY) only where it is.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            bound.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(f"--port {port} can't be opened ({error}); choose another one.") from None
        bound.listen(128)  # who reads the address may connect at once
        yield bound
    finally:
        bound.close()


async def serve(server: uvicorn.Server, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, which end the process well; `ready` is called when they do."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True
        server.force_exit = True  # an open connection of the browser must not keep the process

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    ready()
    await server._serve(sockets=[bound])  # `serve` would raise the signal again at the end


def open_browser(address: str) -> None:
    """Open the page in a browser, where there is a display."""
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(address)


def summary(session: Session, minutes: float) -> str:
    """Return what a sitting has come to, in one line."""
    with session.lock:
        counts = session.answers.counts()
    labels, used = sum(counts.values()), sum(count > 0 for count in counts.values())
    return (
        f"{labels} labels of {used} classes after {minutes:.1f} minutes; the session is in {session.folder}, and the "
        "same command continues it."
    )
