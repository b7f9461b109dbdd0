"""The results page is what the recorded runs give, and recording keeps what it needs."""

import json
import re
from pathlib import Path

import pytest

from experiments.paper.results import CHOSEN, FILES, RECORDED, ROOT, Section, compared, comparisons, page, record
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
    assert record(outputs, recorded) == [recorded / RUN / "seed=0", recorded / screened]
    assert {path.name for path in (recorded / screened).iterdir()} == {"meta.json", "curve.csv"}
    kept = {path.name for path in (recorded / RUN / "seed=0").iterdir()}
    assert kept == {"meta.json", "curve.csv", "confusion.h5", "predictions.h5"} <= set(FILES["paper"])
    assert not (recorded / RUN / "seed=1").exists()


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
    assert "| random | 0 1 |" in text and "| entropy minus random | 2 |" in text and "beats" not in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (tmp_path / link).is_file()


def test_the_page_in_the_repository_is_that_of_the_recorded_runs(tmp_path: Path) -> None:
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
    metas = [*RECORDED.glob("paper/**/meta.json"), *RECORDED.glob("paper/**/config.yaml")]
    assert metas
    assert not [meta for meta in metas if re.search(r"(?<![\w.])/(tmp|home|root|work|Users)/", meta.read_text())]
