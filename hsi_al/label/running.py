"""Opening of a session in its folder, and the server around it, from start to Ctrl-C."""

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from hsi_al import interrupts
from hsi_al.active.parts import build_scene
from hsi_al.cli.arguments import text
from hsi_al.cli.composition import composed
from hsi_al.cli.console import complain
from hsi_al.config.kept import differing_keys, load_kept, to_yaml
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, RunDirectoryError, SceneError, SessionError
from hsi_al.files import locked, replace_text
from hsi_al.label.assessment import require_sample
from hsi_al.label.background import Background
from hsi_al.label.exchange import is_query, read_query
from hsi_al.label.exporting import export
from hsi_al.label.guard import Guard
from hsi_al.label.mapping import AT_ONCE
from hsi_al.label.server import build_app
from hsi_al.label.session import MOST_CLASSES, Session, written
from hsi_al.methods.registry import check_method, settings_of, with_learner
from hsi_al.pool.answers import ANSWERS
from hsi_al.scenes.catalogue import CATALOGUE, expanded
from hsi_al.scenes.checksums import data_checksums
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.truth import read_labels, vector_truth
from hsi_al.scenes.vectors import is_vector, layers_in
from hsi_al.terminal import printable, warn

FORMAT = "hsi_al session 1"
OF_MODELS = ("predicted_*.h5", "assessed_map_*.h5")  # what models have said
# Few labels: typical pixels first, then where the vote is least sure.
DEFAULTS = ("protocol=few", "learner=vote", "acquisition=margin", "acquisition.min_distance=8")
LARGE = "profile_trees"  # the learner of a large scene, whose map is made tile by tile


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
        path = (Path(scene) if Path(scene).exists() else expanded(scene)).resolve()
        name = "".join(char if char.isalnum() or char in "_-." else "_" for char in path.stem).strip(".") or "scene"
        about = ["dataset=custom", f"dataset.name={text(name)}", f"dataset.cube_file={text(str(path))}"]
        about += [] if key is None else [f"dataset.cube_key={text(key)}"]
    own = {override.lstrip("+~").split("=")[0] for override in given}
    defaults = [override for override in DEFAULTS if override.split("=")[0] not in own]
    if "acquisition" in own:
        defaults.remove("acquisition.min_distance=8") if "acquisition.min_distance=8" in defaults else None
    config, _ = composed([*about, *defaults, *given])
    check_method(config)
    return config


def with_default_learner(config: Config, scene: Scene, folder: Path, overrides: Sequence[str]) -> Config:
    """Return the configuration with the learner of the session in a folder, or of large scenes.

    It stays as it is if the overrides choose a learner or set its keys.

    Raises:
        SessionError: The session's `config.yaml` is damaged.
    """
    if any(override.lstrip("+~").startswith("learner") for override in overrides):
        return config
    if (folder / "session.json").exists():
        with kept_file(folder / "config.yaml"):
            return replace(config, learner=load_kept(folder / "config.yaml", settings_of).learner)
    return with_learner(config, LARGE) if scene.height * scene.width > AT_ONCE else config


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
    in_use = f"Another process has opened the session in {folder}; close that one, or choose another --session."
    with locked(folder, SessionError, in_use, "choose a --session on another file system"):
        about: dict[str, Any] = {
            "format": FORMAT,
            "scene": scene.name,
            "shape": [scene.height, scene.width, scene.n_bands],
            "cube": data_checksums(scene)["cube"],
        }
        new = not (folder / "session.json").exists()
        if not new:
            check_kept(folder, about, config)
            if not (folder / ANSWERS).exists() and any(folder.glob("predicted_*.h5")):
                raise SessionError(
                    f"{folder / ANSWERS}, which held the answers, is gone; restore it from a copy, or choose another "
                    "--session."
                )
        else:
            begun = {"lock"} | ({"config.yaml"} if is_ours(folder / "config.yaml", config) else set())
            foreign = sorted(path.name for path in folder.iterdir() if path.name not in begun and not is_rest(path))
            if foreign:
                raise SessionError(f"{folder} holds other files ({foreign[0]}); choose another --session.")
            replace_text(folder / "config.yaml", to_yaml(config))
            place = None if scene.georeference is None else scene.georeference.to_json()
            replace_text(folder / "session.json", json.dumps(about | {"georeference": place}, indent=2))
        with left_as_found(folder, new):
            session = Session(folder, scene, config, who=who)
            if session.journal.dropped:
                warn(f"The last line of {session.journal.path} was not finished when it was written, and is left out.")
            for name in classes:
                if written(name) not in session.answers.named:  # a class that was renamed is there
                    session.add_class(name)
        yield session


@contextmanager
def left_as_found(folder: Path, new: bool) -> Iterator[None]:
    """Remove a session that was begun if what a command asks for can't be done, before anybody has answered."""
    try:
        yield
    except BaseException:
        if new:
            for name in ("session.json", "config.yaml", ANSWERS, "lock", *OF_MODELS):
                for path in folder.glob(name):
                    path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
        raise


def is_ours(path: Path, config: Config) -> bool:
    """Return whether a file holds just these settings, as when a session was killed while it was begun."""
    return path.is_file() and path.read_bytes() == to_yaml(config).encode()


def is_rest(path: Path) -> bool:
    """Return whether a file is what is left of `config.yaml` or `session.json` when a process was killed writing it."""
    return path.name.endswith(".tmp") and path.name.startswith((".config.yaml.", ".session.json."))


@contextmanager
def kept_file(path: Path) -> Iterator[None]:
    """Turn the error of a missing or damaged file of a session into one that doesn't cost the answers.

    Raises:
        SessionError: It is missing or damaged.
    """
    try:
        yield
    except RunDirectoryError:
        raise SessionError(
            f"{path} is missing or damaged; restore it from a copy. The answers are in {ANSWERS} beside it: keep that "
            "file."
        ) from None


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
    with kept_file(folder / "config.yaml"):
        different = differing_keys(folder / "config.yaml", config, moved=True)
    if "shape" in differing or "cube" in differing:
        settings = ", ".join(key for key in different if key.startswith("dataset."))
        raise SessionError(
            f"{folder} holds a session of other data than {about['scene']} has now (it was begun with "
            f"{kept['scene']}, {' x '.join(map(str, kept['shape']))}); choose another --session, or "
            + (f"leave the settings as they were: {settings}." if settings else "restore the data.")
        )
    if different:
        raise SessionError(
            f"{folder} holds a session with other settings: {', '.join(different)}; leave them as they were, or "
            "choose another --session."
        )


@dataclass(frozen=True)
class Command:
    """What the command line asks for.

    Attributes:
        scene: File of the scene, or name of a scene of the catalogue.
        overrides: Keys of the configuration as `key=value`.
        key: Key of the cube in its file; None = the only array.
        classes: Names of classes.
        labels: Files of labels to begin with.
        label_field: Field with the classes in a file of points and polygons.
        label_key: Layer of such a file, or key of an array.
        folder: Folder of the session; None = `sessions/<name>`.
        port: Port on 127.0.0.1; 0 = a free one.
        who: Who answers; None = the user of the operating system.
        browser: Whether to open a browser.
        assess: Pixels of an assessment to begin with; None = none.
    """

    scene: str
    overrides: Sequence[str] = ()
    key: str | None = None
    classes: Sequence[str] = ()
    labels: Sequence[Path] = ()
    label_field: str | None = None
    label_key: str | None = None
    folder: Path | None = None
    port: int = 0
    who: str | None = None
    browser: bool = True
    assess: int | None = None


# What sentences about files of labels call the options of this command.
OPTIONS = {
    "dataset.ground_truth_key, that of a test file by dataset.test_key": "--label-key",
    "dataset.ground_truth_key": "--label-key",
    "dataset.ground_truth_file": "--labels",
    "dataset.label_field": "--label-field",
}


def with_options(sentence: str) -> str:
    """Return a sentence about a file of labels with the options of this command."""
    for key, option in OPTIONS.items():
        sentence = sentence.replace(key, option)
    return sentence


def expect_few_labels() -> None:
    """Hide what scikit-learn warns of in every tree: that a sitting begins with few labels of many classes."""
    warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)


def label(command: Command) -> None:
    """Open a session and serve its page until SIGINT or SIGTERM, then print a summary.

    Raises:
        HsiAlError: Bad input.
        OSError: The folder can't be written, or the port is taken.
    """
    expect_few_labels()
    if command.who is not None and not command.who.isprintable():
        raise ConfigurationError(f"--who {command.who!r} is no name that can be written down; take printable letters.")
    for option, value in (("--label-field", command.label_field), ("--label-key", command.label_key)):
        if value is not None and not command.labels:
            raise ConfigurationError(f"{option} {value!r} is about the labels of --labels; name their file.")
    if command.key is not None and command.scene in CATALOGUE:
        raise ConfigurationError(f"--key is about a file; the scene {command.scene!r} of the catalogue has its own.")
    if command.assess is not None:
        require_sample(command.assess)  # before minutes go into the map of a large scene
    config = configuration(command.scene, command.overrides, command.key)
    scene = build_scene(config)
    folder = command.folder or Path("sessions") / scene.name
    config = with_default_learner(config, scene, folder, command.overrides)
    for notice in scene.notices:
        complain(notice)
    new = not (folder / "session.json").exists()
    with (
        listening_socket(command.port) as bound,
        opened(folder, scene, config, command.classes, command.who) as session,
    ):
        # Another process may have begun the session meanwhile, and a person may have answered there.
        with left_as_found(folder, new and not session.answers.given):
            if command.labels:
                n = take_labels(session, command.labels, command.label_field, command.label_key)
                print(f"{n} answers are new in {printable(', '.join(map(str, command.labels)))}.")
            if command.assess is not None and session.answers.running is None:
                begin_assessment(session, command.assess)
        port, token, began = bound.getsockname()[1], secrets.token_urlsafe(32), time.monotonic()
        background = Background(session)
        app = Guard(build_app(session), port, token)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        address = f"http://127.0.0.1:{port}/?token={token}"

        def ready() -> None:
            print(f"Labelling {printable(scene.name)}; Ctrl-C ends, and the same command continues.", flush=True)
            print(address, flush=True)
            background.start()
            if command.browser:
                open_browser(address)

        try:
            asyncio.run(serve(uvicorn.Server(settings), bound, ready))
        finally:
            ended = background.close()
        print(summary(session, (time.monotonic() - began) / 60), flush=True)
    if not ended:  # a fit in library code would keep the process from ending
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def begin_assessment(session: Session, n: int) -> None:
    """Make the map of a session, and begin to assess it.

    Raises:
        HsiAlError: There are labels of fewer than two classes, or the sample is too small.
    """
    map_whole(session)
    session.start_assessment(n)


def map_whole(session: Session) -> None:
    """Fit the model to the labels of a session and map the whole scene, in this thread.

    Raises:
        HsiAlError: The learner fails.
    """
    session.learn()
    while session.refine():
        interrupts.check()


def take_labels(
    session: Session, paths: Sequence[Path], label_field: str | None = None, label_key: str | None = None
) -> int:
    """Take the labels of files into a session, and return how many are new.

    They are taken together, what a later file says about a pixel before what an earlier one does: one after the other,
    files that differ would undo a person's corrections at every start.

    Args:
        session: The session.
        paths: Files as for `labels_in`.
        label_field: Field with the classes in a file of points and polygons; None = the only one.
        label_key: Layer of such a file, or key of an array; None = the only one.

    Raises:
        HsiAlError: A file can't be read, or doesn't fit the scene.
        OSError: The labels can't be kept.
    """
    found: dict[int, int | None] = {}
    answers: set[int] = set()
    for path in paths:
        try:
            labels = labels_in(session, path, label_field, label_key)
        except SceneError as error:
            raise SceneError(with_options(str(error))) from error
        found.update(labels)
        if is_query(path):
            answers.update(pixel for pixel, _ in labels)
    return session.take(list(found.items()), answers)


def labels_in(
    session: Session, path: Path, label_field: str | None, label_key: str | None
) -> Sequence[tuple[int, int | None]]:
    """Return pixel ids and label values of a file, None = can't tell; classes that the session lacks are added.

    Args:
        session: The session.
        path: An edited `query.gpkg`, or labels in any form that a ground truth may have: an array or raster of the
            scene's rows and columns, or points and polygons. Classes are those of the session by the names that they
            have or had; others are added.
        label_field: Field with the classes in a file of points and polygons; None = the only one.
        label_key: Layer of such a file, or key of an array; None = the only one.

    Raises:
        HsiAlError: The file can't be read, or doesn't fit the scene.
        OSError: The labels can't be kept.
    """
    scene = session.scene
    shape = scene.height, scene.width
    no_data = np.zeros(shape, bool) if scene.no_data is None else scene.no_data

    def lost(n: int) -> None:
        if n:
            complain(f"Warning: {n:,} pixels that {path} labels have no data in the scene and are left out.")

    if is_query(path):
        answers = read_query(path, session.answers, shape, scene.georeference, session.identity)
        there = [(pixel, value) for pixel, value in answers if not no_data.flat[pixel]]
        lost(len(answers) - len(there))
        return there
    if is_vector(path):
        several = len(layers_in(path)) > 1
        truth = vector_truth(path, label_key if several else None, label_field, scene.georeference, shape)
    else:
        unlabelled, grid = session.config.dataset.unlabelled, (*shape, scene.n_bands)
        truth = read_labels(scene.name, path, label_key, grid, unlabelled, where=scene.georeference)
    for notice in truth.notices:
        complain(with_options(notice))
    labels, names = truth.labels, truth.names
    found = np.where(no_data, 0, labels)
    lost(int(np.count_nonzero(labels) - np.count_nonzero(found)))
    known = session.answers.named
    numbers_alone = not names.keys() - {truth.zero}  # what stands for 0 has a name in any case
    chosen: dict[int, int] = {}
    classes = session.answers.classes
    called = {value: names.get(value, f"class {value}") for value in np.unique(found[found > 0]).tolist()}
    by_number = {value for value in called if numbers_alone and value not in names and value in classes}
    new = {written(name) for value, name in called.items() if value not in by_number} - known.keys()
    if len(classes) + len(new) > MOST_CLASSES:
        raise SceneError(
            f"{path} has {len(new)} classes that the session lacks; with these it would have "
            f"{len(classes) + len(new)}, and a map can hold {MOST_CLASSES}."
        )
    for value, name in called.items():
        same = value if value in by_number else known.get(written(name))
        free = value if value not in classes and value <= MOST_CLASSES else None
        chosen[value] = session.add_class(name, value=free).value if same is None else same
    ids = np.flatnonzero(found)
    return [(int(pixel), chosen[int(value)]) for pixel, value in zip(ids, found.ravel()[ids], strict=True)]


def export_session(folder: Path, output: Path | None = None) -> list[Path]:
    """Make the map of a session from its folder, write the files of `hsi_al.label.exporting.export`, and return them.

    Raises:
        HsiAlError: The folder holds no session, is open in another process, or its scene has changed or is missing.
        OSError: A file can't be written.
    """
    expect_few_labels()
    if not (folder / "session.json").exists():
        raise SessionError(f"{folder} holds no session (session.json); name the folder of a labelling session.")
    with kept_file(folder / "config.yaml"):
        config = load_kept(folder / "config.yaml", settings_of)
    with opened(folder, build_scene(config), config) as session:
        map_whole(session)
        return export(session, output)


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
    """Serve until a signal, which ends the process well; `ready` is called when they do.

    Raises:
        Interrupted: A signal came before, or it is another one than SIGINT and SIGTERM.
    """
    loop, came = asyncio.get_running_loop(), list[int]()

    def end(number: int) -> None:
        came.append(number)
        server.should_exit = True
        server.force_exit = True  # an open connection of the browser must not keep the process
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a request that is cut off now is no fault

    always = (signal.SIGINT, signal.SIGTERM)  # a shell lets what it starts in the background ignore SIGINT
    for number in interrupts.SIGNALS:
        if number in always or signal.getsignal(number) != signal.SIG_IGN:  # `nohup` lets SIGHUP be ignored
            loop.add_signal_handler(number, end, number)
    interrupts.check()
    ready()
    await server._serve(sockets=[bound])  # `serve` would raise the signal again at the end
    if came and came[0] not in always:
        raise interrupts.Interrupted(came[0])


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
