"""The command and the session's folder."""

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from hsi_al.active.parts import build_scene
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, SessionError
from hsi_al.label import __main__ as command
from hsi_al.label.running import (
    Command,
    begin_assessment,
    configuration,
    export_session,
    listening_socket,
    opened,
    serve,
    with_default_learner,
)
from hsi_al.pool.answers import ANSWERS, session_labels
from hsi_al.scenes.scene import Scene
from tests.label.fakes import answer_all, config_of, scene_of, taught


def open_in(folder: Path, classes: Sequence[str] = ("corn", "oats")) -> list[str]:
    with opened(folder, scene_of(), config_of(), classes) as session:
        return [found.name for found in session.answers.classes.values()]


def test_a_folder_is_opened_again_with_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "s"
    assert open_in(folder) == ["corn", "oats"]
    assert open_in(folder, ["oats", "rye"]) == ["corn", "oats", "rye"]
    assert json.loads((folder / "session.json").read_text())["shape"] == [24, 24, 6]
    with opened(folder, scene_of(), config_of()) as session:
        with pytest.raises(SessionError, match="Another process has opened"):
            open_in(folder)
        assert len(session.answers.classes) == 3
    assert open_in(folder, []) == ["corn", "oats", "rye"]


def test_the_same_command_adds_no_class_twice(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    assert open_in(folder, ["deep  water", "corn"]) == ["deep water", "corn"]
    assert open_in(folder, ["deep  water", "corn"]) == ["deep water", "corn"]
    with opened(folder, scene_of(), config_of()) as session:
        session.change_class(2, "maize")
        session.change_class(2, "maize, dry")
    assert open_in(folder, ["deep  water", "corn", "maize", "rye"]) == ["deep water", "maize, dry", "rye"]
    with opened(folder, scene_of(), config_of()) as session:
        session.add_class("corn")  # a person may give the name to another class
        assert session.answers.named["corn"] == 4


def test_an_unfinished_line_is_left_out_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_in(tmp_path / "s")
    with (tmp_path / "s" / ANSWERS).open("ab") as file:
        file.write(b'{"time":"2026-01-01T00:00:00.000+00:00","who":"ann","event":"lab')
    assert open_in(tmp_path / "s") == ["corn", "oats"]
    assert "was not finished" in capsys.readouterr().err
    assert open_in(tmp_path / "s", ["rye"]) == ["corn", "oats", "rye"]
    assert open_in(tmp_path / "s", []) == ["corn", "oats", "rye"]
    assert capsys.readouterr().err.count("not finished") == 1


def test_a_session_that_was_killed_while_it_was_begun_is_begun_again(tmp_path: Path) -> None:
    open_in(tmp_path / "s")
    (tmp_path / "s" / "session.json").rename(tmp_path / "s" / ".session.json.77.tmp")
    (tmp_path / "s" / ANSWERS).unlink()
    assert open_in(tmp_path / "s") == ["corn", "oats"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("of: something else")
    with pytest.raises(SessionError, match=r"config\.yaml"):
        open_in(tmp_path / "other")


def test_other_data_settings_and_folders_are_refused(tmp_path: Path) -> None:
    open_in(tmp_path / "s")
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    other = scene_of(masked=False)
    other.cube[3, 3, 3] += 1
    try:
        for config, way_out in (
            (config_of(), "or restore the data"),
            (config_of("dataset.scaling=robust", "seed=3"), r"as they were: dataset\.scaling \(\w+ -> robust\)\.$"),
        ):
            with (
                pytest.raises(SessionError, match=f"session of other data.*{way_out}"),
                opened(tmp_path / "s", other, config),
            ):
                pass
    finally:
        other.cube[3, 3, 3] -= 1
    changed = config_of("seed=3")
    with pytest.raises(SessionError, match=r"seed \(0 -> 3\)"), opened(tmp_path / "s", scene_of(), changed):
        pass
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.doc").write_text("")
    with pytest.raises(SessionError, match=r"thesis\.doc"):
        open_in(tmp_path / "foreign")
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before
    (tmp_path / "s" / "session.json").write_text("{")
    with pytest.raises(SessionError, match="damaged"):
        open_in(tmp_path / "s")


def test_a_folder_on_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(SessionError, match=r"without file locks.*choose a --session on another file system"):
        open_in(tmp_path / "s")
    assert list((tmp_path / "s").iterdir()) == []


def test_settings_of_the_command_line(tmp_path: Path) -> None:
    config = configuration("indian_pines", [])
    assert config.learner.name == "vote" and config.acquisition.name == "margin"
    small, large = (
        scene_of(),
        Scene("large", np.indices((513, 512)).transpose(1, 2, 0) / 9, np.zeros((513, 512), np.uint8), {}),
    )
    assert with_default_learner(config, small, tmp_path, []) is config
    assert with_default_learner(config, large, tmp_path, ["seed=1"]).learner.name == "profile_trees"
    assert with_default_learner(config, large, tmp_path, ["learner.full_at=50"]) is config
    with opened(tmp_path / "earlier", small, config_of(), []):  # a session of another learner, such as the default once
        pass
    assert with_default_learner(config, small, tmp_path / "earlier", []) == replace(config, learner=config_of().learner)
    assert (config.acquisition.min_distance, config.protocol.initial_size, config.protocol.query_size) == (8, 20, 10)
    config = configuration("indian_pines", ["learner=lda", "acquisition=random", "protocol.query_size=3"])
    assert (config.learner.name, config.acquisition.name, config.acquisition.min_distance) == ("lda", "random", None)
    cube = scene_of().cube
    np.save(tmp_path / "field = 1, x.npy", cube)
    config = configuration(str(tmp_path / "field = 1, x.npy"), [])
    scene = build_scene(config)
    assert scene.n_classes == 0 and np.array_equal(scene.cube, cube) and config.dataset.name == "field___1__x"
    with pytest.raises(ConfigurationError, match="no key=value"):
        configuration("indian_pines", ["salinas"])


def test_what_is_missing_or_wrong_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["nothing.npy", "--no-browser"]) == 2
    assert "nothing.npy" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert command.main(["indian_pines", "--port", "99999", "--no-browser"]) == 2
    assert "--port 99999" in capsys.readouterr().err
    assert command.main(["indian_pines", "--who", "\udcff", "--no-browser"]) == 2
    assert "--who" in capsys.readouterr().err and not list(tmp_path.iterdir())
    for n, told in (
        ("10001", "10,000 or fewer"),
        ("1000000000", "10,000 or fewer"),
        ("0", "or more"),
        ("-5", "or more"),
    ):
        assert command.main(["nothing.npy", f"--assess={n}", "--no-browser"]) == 2  # before the scene is read
        assert told in capsys.readouterr().err and not list(tmp_path.iterdir())
    for option in ("--label-field=crop", "--label-key=corn"):
        assert command.main(["nothing.npy", option, "--no-browser"]) == 2
        assert "name their file" in capsys.readouterr().err
    assert command.main(["indian_pines", "--key=cube", "--no-browser"]) == 2
    assert "of the catalogue has its own" in capsys.readouterr().err and not list(tmp_path.iterdir())
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "fastapi" else object())
    assert command.main(["indian_pines"]) == 2
    assert "needs fastapi" in capsys.readouterr().err


def test_an_assessment_may_be_begun_at_once(tmp_path: Path) -> None:
    session = taught(tmp_path / "s", 1)
    answer_all(session)
    begin_assessment(session, 20)
    assert session.answers.running is not None and session.answers.running.n_labelled == 12
    with pytest.raises(SessionError, match="too small"):
        begin_assessment(taught(tmp_path / "t", 1), 2)


def test_options_with_several_values_may_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Command] = []
    monkeypatch.setattr("hsi_al.label.running.label", given.append)
    argv = ["field.npy", "--classes", "corn, oats", "--labels", "a.npy", "--classes=rye", "--labels", "b.npy"]
    assert command.main(argv) == 0 and command.main(["field.npy"]) == 0
    assert [list(one.classes) for one in given] == [["corn", "oats", "rye"], []]
    assert [list(map(str, one.labels)) for one in given] == [["a.npy", "b.npy"], []]


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[..., Any]]]:
    """A session in a process, whose address, signals and death are its own, and a function that sends requests."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hsi_al.label", *arguments, "--no-browser"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        page, token = process.stdout.readline().strip().split("/?token=")

        def call(path: str, **given: Any) -> Any:
            headers = {"X-Token": token, "Content-Type": "application/json"}
            body = json.dumps(given).encode() if given else None
            with urllib.request.urlopen(urllib.request.Request(f"{page}{path}", body, headers), timeout=20) as response:
                return json.load(response)

        yield process, call
    finally:
        process.kill()
        process.communicate()


ARGUMENTS = ("field.npy", "--classes", "corn,oats", "--session", "s", "learner=lda")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_served_session_ends_well_by_a_signal(tmp_path: Path, number: int) -> None:
    np.save(tmp_path / "field.npy", scene_of(masked=False).cube)
    with served(tmp_path, *ARGUMENTS) as (process, call):
        assert call("/api/labels", pixel_id=3, value=2)["n_labelled"] == 1
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and out.startswith("1 labels of 1 classes after") and " s, " in out
    assert session_labels(tmp_path / "s").pixel_ids.tolist() == [3]


def test_a_request_that_the_end_cuts_off_is_no_fault(capfd: pytest.CaptureFixture[str]) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    with listening_socket(0) as bound, socket.socket() as browser:
        browser.connect(bound.getsockname())
        browser.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server = uvicorn.Server(uvicorn.Config(slow, log_level="warning", lifespan="off"))
        asyncio.run(serve(server, bound, lambda: None))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_closed_terminal_ends_a_session_with_its_own_code(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", scene_of(masked=False).cube)
    with served(tmp_path, *ARGUMENTS) as (process, call):
        assert call("/api/labels", pixel_id=3, value=2)["n_labelled"] == 1
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=20)
    assert process.returncode == 129
    assert session_labels(tmp_path / "s").pixel_ids.tolist() == [3]


def test_a_signal_before_the_page_is_served_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "field.npy", scene_of(masked=False).cube)

    def build(config: Config) -> Scene:
        os.kill(os.getpid(), signal.SIGTERM)  # while the scene is read
        return build_scene(config)

    async def served_after_all(*_: object, **__: object) -> None:
        raise AssertionError("served")

    monkeypatch.setattr("hsi_al.label.running.build_scene", build)
    monkeypatch.setattr("uvicorn.Server._serve", served_after_all)
    code = command.main([str(tmp_path / "field.npy"), "--session", str(tmp_path / "s"), "--no-browser", "learner=lda"])
    assert code == 143 and "Labelling" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["foo=1"], "There is no key foo"),
        (["protocol.query_size=abc"], "protocol.query_size"),
        (["--labels", "typo.npy"], "typo.npy does not exist"),
        (["--labels", "many.npy"], "300 classes that the session lacks; with these"),
        (["--classes", "a," + "b" * 101], "A class needs a name of 1 to 100"),
        (["--assess", "20"], ""),
        (["--labels", "eight.npy", "--assess", "10"], "8 classes"),
    ],
)
def test_a_refused_command_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cube = scene_of(masked=False).cube
    np.save("field.npy", cube)
    some = np.where(np.arange(len(cube)) < 8, np.arange(cube[..., 0].size).reshape(cube.shape[:2]).T % 8 + 1, 0)
    np.save("eight.npy", some)  # the others can be asked
    np.save("many.npy", np.arange(cube[..., 0].size).reshape(cube.shape[:2]) % 300 + 1)
    assert command.main(["field.npy", "--session", "s", "--no-browser", "learner=lda", *given]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("Warning")]
    assert line.startswith("hsi_al: error: ") and says in line
    assert not Path("s").exists()


@pytest.mark.parametrize("name", ["a${b}.npy", "~t.npy", "bs\\x.npy", 'q"uote.npy'])
def test_a_scene_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(name, scene_of(masked=False).cube)
    assert Path(configuration(name, []).dataset.cube_file or "") == tmp_path / name


def test_a_damaged_file_of_a_session_costs_no_answers(tmp_path: Path) -> None:
    with opened(tmp_path / "s", scene_of(), config_of(), ["corn"]) as session:
        session.learn()
    (tmp_path / "s" / "config.yaml").write_text("")
    says = r"config\.yaml is missing or damaged.*answers\.jsonl beside it: keep"
    with pytest.raises(SessionError, match=says), opened(tmp_path / "s", scene_of(), config_of()):
        pass
    with pytest.raises(SessionError, match=says):
        export_session(tmp_path / "s")
    assert (tmp_path / "s" / ANSWERS).exists()


@pytest.mark.slow
def test_a_killed_session_has_lost_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", scene_of(masked=False).cube)
    with served(tmp_path, *ARGUMENTS) as (process, call):
        for pixel in (3, 4, 5):
            call("/api/labels", pixel_id=pixel, value=1 + pixel % 2)
        process.kill()
    with served(tmp_path, *ARGUMENTS) as (process, call):
        assert call("/api/state")["n_labelled"] == 3
        assert [one["pixel_id"] for one in call("/api/labels")] == [5, 4, 3]
