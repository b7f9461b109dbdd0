"""W&B through the command line, read back from its offline file."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hsi_al.active.experiment import Experiment
from hsi_al.active.observers.wandb_observer import WandbObserver, has_key, resolved_mode
from hsi_al.active.run_directory import RunDirectory
from hsi_al.cli.composition import composed
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.test_run import TINY_RUN


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb_data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))


def records(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of an offline file by type."""
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run([wandb, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def offline_files(run: Path) -> list[Path]:
    return sorted(run.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
def test_the_offline_file_holds_curve_axes_configuration_and_pictures(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    outcome = command_line(*tiny_scene, "logger=wandb", "protocol.full_map=true", "logger.tags=[first]")
    assert outcome.code == 0, outcome.err
    assert "W&B: offline (no key found); upload with: wandb sync" in outcome.out
    (file,) = offline_files(TINY_RUN)
    found = records(file)
    (run,) = found["run"]
    assert (run["project"], run["run_group"], run["job_type"]) == ("hsi_al", "main tiny smoke-paper", "lenet entropy")
    assert (run["display_name"], run["tags"]) == ("lenet entropy seed=0", ["first"])
    assert run["config"]["update"]["protocol"]["initial_size"] == 12
    assert run["run_id"] == json.loads((TINY_RUN / "meta.json").read_text())["wandb_id"]
    metrics = {metric.get("name") or metric["glob_name"]: metric for metric in found["metric"]}
    assert metrics["*"]["step_metric"] == "al/labels"
    items = [record["item"] for record in found["history"]]
    with (TINY_RUN / "curve.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    for item, row in zip(items, rows, strict=False):
        assert item["al/labels"] == int(row["n_labelled"])
        for ours, theirs in (
            ("al/oa_all", "oa_all"),
            ("al/kappa_heldout", "kappa_heldout"),
            ("recall/class 5", "recall_5"),
        ):
            assert item[ours] == pytest.approx(float(row[theirs]))
    assert len(items) == len(rows) + 1
    assert items[-1]["al/labels"] == 20
    pictures = {name.split("/")[1].split(".")[0] for name in items[-1] if name.startswith("figures/")}
    assert pictures == {"learning_curve", "map", "query_map", "confusion"}
    assert len(list(file.parent.glob("files/media/images/figures/*.png"))) == 4
    (table,) = file.parent.glob("files/media/table/*.json")
    entries = json.loads(table.read_text())["data"]
    assert sum(pixels for _, _, pixels in entries) == (tiny_arrays()[1] > 0).sum()
    assert found["exit"][0].get("exit_code", 0) == 0


@pytest.mark.slow
def test_a_multirun_gives_a_run_each_and_a_continued_one_replays_its_rows(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    outcome = command_line("-m", *tiny_scene, "logger=wandb", "seed=0,1")
    assert outcome.code == 0, outcome.err
    runs = [TINY_RUN.parent / f"seed={seed}" for seed in (0, 1)]
    ids = [records(offline_files(run)[0])["run"][0]["run_id"] for run in runs]
    assert ids[0] != ids[1]
    unfinish(runs[0])
    assert command_line(*tiny_scene, "logger=wandb").code == 0
    again = [file for file in offline_files(runs[0]) if len(records(file)["history"]) == 4]
    assert len(again) == 2
    for file in again:
        found = records(file)
        assert found["run"][0]["run_id"] == ids[0]
        assert [record["item"]["al/labels"] for record in found["history"]] == [12, 16, 20, 20]


def test_only_seeds_and_folds_of_one_method_share_group_and_job_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.active.observers.wandb_observer.wandb_observer", lambda about, *_: about)

    def of(
        method: str, split: str = "split.kind=fields", folder: str = "few-fields", swept: str = ""
    ) -> tuple[str, str]:
        config = composed(["dataset=indian_pines", "protocol=few", "split=fields", "acquisition=margin", split])[0]
        parts = SimpleNamespace(method=method, records=None, scene=SimpleNamespace(class_names={}))
        path = Path("outputs/a", folder, swept, "seed=0")
        run: Any = SimpleNamespace(config=config, parts=parts, path=path, meta=SimpleNamespace(wandb_id="x"))
        about: Any = Experiment.in_wandb(run)
        return about.group, about.job_type

    plain = of("vote")
    assert plain == ("main indian_pines few-fields", "vote margin")
    assert of("vote", "split.fold=2", "few-fields-fold=2") == plain
    other = [
        of("lda"),
        of("vote", "split.guard=16", "few-fields-guard=16"),
        of("vote", "split.new_ground=0.5", "few-fields-new_ground=0.5"),
        of("vote", swept="protocol.query_size=5"),
        of("vote", swept="protocol.query_size=20"),
    ]
    assert len({plain, *other}) == 6


@pytest.mark.slow
def test_a_key_without_network_falls_back_to_offline(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("hsi_al.active.observers.wandb_observer.INIT_TIMEOUT_SECONDS", 0.5)
    arguments = [*tiny_scene, "logger=wandb", "protocol.rounds=0", "acquisition=none"]
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert "W&B: offline (no connection" in outcome.out
    files = [file for file in tmp_path.rglob("offline-run-*/*.wandb")]
    assert [len(records(file)["history"]) for file in files] == [2]


def test_the_mode_never_needs_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = "https://wandb.example.org"
    assert resolved_mode("auto", server) == ("offline", "no key found")
    assert resolved_mode("online", server) == ("offline", "no key found")
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password secret\n")
    assert has_key(server)
    assert not has_key("https://other.example.org")
    assert resolved_mode("auto", server) == ("online", "")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolved_mode("auto", server) == ("disabled", "as configured")
    assert resolved_mode("offline", server) == ("offline", "as configured")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert resolved_mode("auto", "https://other.example.org") == ("online", "")
    (tmp_path / "netrc").write_text("not a netrc file")
    monkeypatch.delenv("WANDB_API_KEY")
    assert not has_key(server)


class FakeRun:
    step = 0

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}

    def define_metric(self, *_: object, **__: object) -> None:
        pass

    def log(self, entries: dict[str, Any]) -> None:
        self.logged.append(entries)


def image(path: str) -> str:
    if "map" in path:
        raise MemoryError("too large")
    return path


def test_a_continued_run_logs_the_rows_that_are_missing(tmp_path: Path) -> None:
    directory, run = RunDirectory(tmp_path, np.arange(2)), FakeRun()
    directory.rows = [{"round": round_, "n_labelled": 10 + round_} for round_ in range(4)]
    wandb: Any = SimpleNamespace()
    WandbObserver(run, wandb, directory, {})
    assert [entries["al/round"] for entries in run.logged] == [0, 1, 2, 3]
    run.step = 5  # with the pictures of a finish
    directory.rows += [{"round": 4, "n_labelled": 14}]
    WandbObserver(run, wandb, directory, {})
    assert [entries["al/round"] for entries in run.logged] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("classes", [3, 101])
def test_a_picture_that_fails_leaves_the_others_and_the_table(
    classes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory(tmp_path, np.arange(classes))
    directory.confusions = [(np.eye(classes, dtype=int), np.eye(classes, dtype=int))]
    (tmp_path / "figures").mkdir()
    for name in ("map", "confusion"):
        (tmp_path / "figures" / f"{name}.png").touch()
    run, names = FakeRun(), {value: f"class {value}" for value in range(classes)}
    wandb = SimpleNamespace(Table=lambda columns, data: data, Image=image)
    observer = WandbObserver(run, wandb, directory, names)  # type: ignore[arg-type]
    directory.rows = [{"n_labelled": 12}]
    observer.log_results()
    (entries,) = run.logged
    assert set(entries) == {"al/labels", "confusion", "figures/confusion"}
    assert len(entries["confusion"]) == (9 if classes == 3 else 101)
    assert capsys.readouterr().err == "hsi_al: warning: map.png in W&B is left out (MemoryError: too large).\n"
