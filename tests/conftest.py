"""The command line in this process, on a tiny scene with the layout of a real one."""

import copy
import gc
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import yaml

from hsi_al.garbage import garbage
from hsi_al.manifest import read_sealed, sealed
from hsi_al.run import main

os.environ.setdefault("OMP_NUM_THREADS", "1")


parsed = yaml.load
kept: dict[tuple[str, str], Any] = {}


def parsed_once(stream: Any, Loader: Any) -> Any:
    """Every call of the command line reads the same files of conf/; parsing them takes a third of its time."""
    text = stream if isinstance(stream, str) else stream.read()
    if (text, Loader.__name__) not in kept:
        kept[text, Loader.__name__] = parsed(text, Loader=Loader)
    return copy.deepcopy(kept[text, Loader.__name__])


yaml.load = parsed_once


def pytest_configure() -> None:
    """Hear SIGINT where a script has started the tests in the background, which makes shells ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the command line and of experiments are slow ones, which `make test-fast` leaves out."""
    for item in items:
        if "command_line" in getattr(item, "fixturenames", ()) or "experiments" in item.path.parts:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def old_things_are_no_garbage(session_of_garbage: None) -> None:
    """The loop collects garbage every round, and need not look at what came before this file."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def session_of_garbage() -> Iterator[None]:
    """No run puts the old things back."""
    with garbage.leaving_out_the_old():
        yield


@dataclass
class Outcome:
    """What the command line gave back."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Outcome]


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """`hsi_al.run` in an empty working directory and without the user's data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HSI_AL_DATA", raising=False)
    monkeypatch.setenv("HSI_AL_DOWNLOAD_BASE", "http://127.0.0.1:9/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hsi_al.scenes.download.RETRIES", 0)
    # Hydra composes everything a first time to look for hydra.mode, which no call from here sets.
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        assert not any("hydra.mode" in argument for argument in arguments)
        code = main(arguments)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw nothing, which takes them longest: tests of their own look at pictures."""
    monkeypatch.setattr("hsi_al.active.experiment.draw", lambda path: None)


def unfinish(run: Path) -> None:
    """Give a finished run the meta.json of one that was killed after its last commit."""
    meta = read_sealed(run / "meta.json")
    assert meta is not None and meta["state"] == "finished"
    (run / "meta.json").write_text(sealed(meta | {"state": "running"}))


def tiny_arrays() -> tuple[np.ndarray, np.ndarray]:
    """A cube (24, 26, 6) of three classes with their own spectra, and its ground truth with values 2, 5 and 9."""
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 26), dtype=np.uint8)
    truth[1:11, 1:12], truth[1:11, 14:25], truth[13:23, 2:24] = 2, 5, 9
    spectra = rng.uniform(100, 900, size=(10, 6))
    cube = spectra[truth] + rng.normal(0, 20, size=(24, 26, 6))
    return cube.clip(0).astype(np.uint16), truth


@pytest.fixture
def tiny_scene(tmp_path: Path) -> list[str]:
    """Arguments that run on the tiny scene in about a second."""
    cube, truth = tiny_arrays()
    scipy.io.savemat(tmp_path / "tiny.mat", {"cube": cube, "truth": truth})
    return [
        "dataset=custom",
        "dataset.name=tiny",
        f"dataset.cube_file={tmp_path / 'tiny.mat'}",
        "dataset.cube_key=cube",
        "dataset.ground_truth_key=truth",
        "protocol=smoke",
        "protocol.initial_size=12",
        "protocol.query_size=4",
        "protocol.max_pixels=null",
        "patch_size=16",
        "backbone=lenet",
        "acquisition=entropy",
        "trainer.threads=1",
        "trainer.accelerator=cpu",
    ]
