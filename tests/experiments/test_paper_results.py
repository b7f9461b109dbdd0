"""The results page is what the recorded runs give, and recording keeps what it needs."""

import json
import re
from pathlib import Path

import pytest

from experiments.paper.__main__ import main as paper
from experiments.paper.results import (
    CHOSEN,
    FILES,
    RECORDED,
    ROOT,
    Section,
    compared,
    comparisons,
    main,
    opened,
    page,
    record,
)
from hsi_al.errors import RunDirectoryError
from hsi_al.report.archive import contents, pack
from tests.experiments.test_paper import plan, write_finished

RUN = "paper/indian_pines/jcr/none/per_class-paper"


def test_finished_runs_are_recorded_without_weights(tmp_path: Path) -> None:
    outputs, recorded = tmp_path / "outputs", tmp_path / "recorded"
    run = write_finished(outputs / RUN / "seed=0")
    (run / "weights_0.pt").write_text("large")
    write_finished(outputs / RUN / "seed=1", state="running")
    write_finished(outputs / "demo/indian_pines/jcr/none/per_class-paper/seed=0")
    screened = "screen/indian_pines/deep-lenet/random/short-holdout/seed=0"
    write_finished(outputs / screened)
    assert record(outputs, recorded) == [outputs / RUN / "seed=0", outputs / screened]
    kept = {"meta.json", "curve.csv", "confusion.h5", "predictions.h5"}
    assert kept <= set(FILES["paper"])
    with opened(recorded) as folder:
        files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert files == {Path(RUN, "seed=0", name) for name in kept} | {
        Path(screened, name) for name in ("meta.json", "curve.csv")
    }
    assert {path.name for path in recorded.iterdir()} == {"paper.zip", "screen.zip"}
    write_finished(outputs / RUN / "seed=2")
    record(outputs, recorded)
    with opened(recorded) as folder:
        assert {path.name for path in (folder / RUN).iterdir()} == {"seed=0", "seed=2"}


def test_runs_that_lie_only_in_a_folder_are_read_with_the_archive(tmp_path: Path) -> None:
    for seed, shift in enumerate((0, 1)):
        write_finished(tmp_path / RUN / f"seed={seed}", shift)
    pack(tmp_path / "paper", tmp_path / "paper.zip")
    archived = contents(tmp_path / "paper.zip")
    other = write_finished(tmp_path / RUN / "seed=2", state="running")
    (other / "weights_0.pt").write_text("large")
    (tmp_path / RUN / "seed=0/curve.csv").write_text("left behind")
    with opened(tmp_path) as folder:
        assert folder != tmp_path
        assert (folder / RUN / "seed=2/curve.csv").exists() and not (folder / RUN / "seed=2/weights_0.pt").exists()
        name = f"{RUN}/seed=0/curve.csv"
        assert (folder / name).read_bytes() == archived[name.removeprefix("paper/")]
    assert not folder.exists()
    with pytest.raises(RunDirectoryError, match=f"^{tmp_path}/paper is odd$"), opened(tmp_path) as folder:
        raise RunDirectoryError(f"{folder}/paper is odd")


def test_the_table_is_built_from_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_finished(tmp_path / "runs" / RUN / "seed=0")
    pack(tmp_path / "runs/paper", tmp_path / "sets/paper.zip")
    made = {}
    for name in ("runs", "sets"):
        arguments = ["table", "dataset=indian_pines", "--protocol", "short", "--effort", "short"]
        assert paper([*arguments, "--runs", str(tmp_path / name), "--output", str(tmp_path / f"{name}-out")]) == 0
        made[name] = [path.read_text() for path in sorted((tmp_path / f"{name}-out").iterdir())]
    assert made["runs"] == made["sets"] and len(made["runs"]) == 3
    (tmp_path / "sets/paper.zip").write_text("no archive")
    assert paper([*arguments, "--runs", str(tmp_path / "sets")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_damaged_archive_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "screen.zip").write_text("no archive")
    monkeypatch.setattr("experiments.paper.results.RECORDED", tmp_path)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "screen.zip") in error


def test_a_page_is_made_of_tables_pictures_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_finished(tmp_path / "recorded" / RUN / "seed=0")
    template = tmp_path / "template.md"
    template.write_text("Costs $$5\n\n$scene_table\n\n$scene_maps\n")
    monkeypatch.setattr("experiments.paper.results.TEMPLATE", template)
    section = Section("scene", plan(tmp_path / "recorded"), ("table", "maps"))
    monkeypatch.setattr("experiments.paper.results.sections", lambda recorded: [section])
    text = page(tmp_path / "recorded", tmp_path / "docs")
    assert text.startswith("Costs $5\n")
    assert "| OA (%) | -<br>93.95 | **85.00**<br>98.04 (-13.04) |" in text
    assert "![maps](results/scene/maps.png)" in text
    assert text.count("- JCR: a learner.") == text.count("- Reproduce: ") - 1 == 1  # the maps have theirs
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (tmp_path / "docs" / link).is_file()


def test_acquisition_functions_are_compared_by_scene_network_and_split(tmp_path: Path) -> None:
    for method, shift in {"random": 0, "entropy": 1}.items():
        for split in ("holdout", "blocks"):
            for seed in (0, 1):
                folder = tmp_path / f"screen/indian_pines/deep-lenet/{method}/short-{split}/seed={seed}"
                run = write_finished(folder, shift + seed * shift)
                about = json.loads((run / "meta.json").read_text())
                about["title"] = f"scene, lenet, {method}, protocol short, split {split}, seed {seed}"
                (run / "meta.json").write_text(json.dumps(about))
    found = comparisons(tmp_path)
    assert list(found) == ["indian_pines_lenet_blocks", "indian_pines_lenet_holdout"]
    assert [len(runs) for runs in found.values()] == [4, 4]
    for method in ("margin-min_distance=8", "loss_prediction"):
        write_finished(tmp_path / f"screen/indian_pines/deep-lenet/{method}/short-blocks/seed=0")
    again = comparisons(tmp_path)
    assert list(again) == [*found, "indian_pines_lenet_blocks_chosen"]
    assert {run.parents[1].name for run in again["indian_pines_lenet_blocks_chosen"]} == set(CHOSEN)
    text = compared(found["indian_pines_lenet_holdout"], tmp_path, "results/lenet")
    assert "| random | 0 1 |" in text and text.count("| entropy | 0 1 |") == 1 and "minus random" not in text
    assert "| entropy minus random | 2 |" in (tmp_path / "results/lenet/comparison.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (tmp_path / link).is_file()


def test_the_page_in_the_repository_is_that_of_the_recorded_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pixels differ between versions of matplotlib, so pictures are only named here.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: path.write_bytes(b"drawn"))
    text = page(RECORDED, tmp_path)
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == text
    for made in tmp_path.rglob("*.*"):
        kept = ROOT / "docs" / made.relative_to(tmp_path)
        assert kept.is_file()
        if made.suffix in (".md", ".csv", ".tex"):
            assert kept.read_text(encoding="utf-8") == made.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (ROOT / "docs" / link).exists(), link


def test_no_recorded_run_names_a_folder_of_the_machine_it_ran_on() -> None:
    archives = sorted(RECORDED.rglob("*.zip"))
    assert len(archives) > 8
    for archive in archives:
        texts = {name: text for name, text in contents(archive).items() if name.endswith((".json", ".yaml"))}
        assert texts
        assert not [name for name, text in texts.items() if re.search(rb"(?<![\w.])/(tmp|home|root|work|Users)/", text)]


def test_every_folder_of_the_experiments_is_explained() -> None:
    folders = {path.name for path in (ROOT / "experiments").iterdir() if path.is_dir() and any(path.glob("*.*"))}
    explained = re.findall(r"^\| \[?`(\w+)/`", (ROOT / "experiments/README.md").read_text(), re.MULTILINE)
    assert set(explained) == folders - {"__pycache__"}
