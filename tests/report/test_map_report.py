"""The page about the map of a run, from its files."""

import html
import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from hsi_al.config.schema import QUESTIONS
from hsi_al.report.map_report import write_prediction_report, write_run_report
from hsi_al.scenes.georeference import Georeference
from tests.report.fakes import write_h5, write_run

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
WHERE = Georeference(UTM, (50.0, 0.0, 500000.0, 0.0, -50.0, 5400000.0))  # pixels of 0.25 ha
HOSTILE = "<script>alert('x')</script>"
CELL = re.compile(r"<td>(?:<span[^>]*></span>)?([^<]*)</td>")


def run_of(folder: Path, split: str = "holdout", heldout: bool = True, more: dict[str, Any] | None = None) -> Path:
    write_run(folder, heldout=heldout)
    counts = np.array([[[8, 2, 0], [1, 4, 0], [0, 0, 0]]])
    write_h5(folder / "confusion.h5", all=2 * counts, heldout=counts * heldout, label_values=np.array([2, 3, 4]))
    meta = json.loads((folder / "meta.json").read_text())
    meta["class_names"]["3"] = HOSTILE
    meta |= {"georeference": WHERE.to_json(), "learner": f"trees {HOSTILE}", "command": f"python '{HOSTILE}'"}
    meta |= {"n_bands": 6, "git_commit": "abc123", "title": HOSTILE} | (more or {})
    (folder / "meta.json").write_text(json.dumps(meta))
    config = {
        "dataset": {"name": HOSTILE, "labels": None},
        "split": {"kind": split, "new_ground": None},
        "acquisition": {"name": "margin"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def report(run: Path) -> str:
    path = write_run_report(run)
    assert path == run / "report.html"
    return path.read_text()


def test_the_page_says_what_the_files_say(tmp_path: Path) -> None:
    text = report(run_of(tmp_path / "run"))
    with h5py.File(tmp_path / "run" / "predictions.h5") as file:
        values, counts = np.unique(file["class_map"], return_counts=True)
    assert values.tolist() == [2, 3, 4] and counts.sum() == 480
    cells = CELL.findall(text)
    assert [cells[index] for index in (2, 7, 12)] == [str(count) for count in counts]
    assert [cells[index] for index in (4, 9, 14)] == [f"{count / 4:.1f}" for count in counts]  # hectares
    # Of 10 pixels of class 2 eight are found, nine are mapped so; of 5 of class 3 four, six; of class 4 there is none.
    assert cells[15:] == [
        *("Class-of-2", "10", "80.0 %", "88.9 %"),
        *(html.escape(HOSTILE, quote=False), "5", "80.0 %", "66.7 %"),
        *("Class-of-4", "0", "-", "-"),
    ]
    assert "On 15 labelled pixels that were not learnt from" in text and "(OA) 78.0 %" in text  # of curve.csv
    assert "complete this map" in text and "python -m hsi_al.assess map.tif" in text
    assert "abc123" in text and "EPSG:32632" in text and "6 bands" in text and "proposed by margin" in text
    assert "<script" not in text and text.count(html.escape(HOSTILE, quote=False)) >= 7
    assert not re.search(r'(src|href)="(?!data:)', text) and "http" not in text


@pytest.mark.parametrize("split", QUESTIONS)
def test_every_split_says_what_its_numbers_mean(tmp_path: Path, split: str) -> None:
    text = report(run_of(tmp_path / "run", split))
    says = {
        "complete this map": "not how well ground far from any label is mapped",
        "map ground without labels": "how well ground without labels",
        "score given test labels": "the given test labels",
    }
    assert f"The question is: {QUESTIONS[split]}." in text and says[QUESTIONS[split]] in text


def test_a_run_without_test_pixels_has_no_accuracy(tmp_path: Path) -> None:
    text = report(run_of(tmp_path / "run", heldout=False))
    assert "Unknown: all labels were learnt from" in text and "python -m hsi_al.assess map.tif" in text
    assert "(OA)" not in text


def test_a_run_without_queries_says_that_nothing_was_asked(tmp_path: Path) -> None:
    """Its configuration names an acquisition function all the same. A kappa of one class alone is undefined."""
    run = run_of(tmp_path / "run")
    lines = (run / "curve.csv").read_text().splitlines()
    column = lines[0].split(",").index("kappa_heldout")
    first = lines[1].split(",")
    (run / "curve.csv").write_text(
        "\n".join([lines[0], ",".join([*first[:column], "nan", *first[column + 1 :]])]) + "\n"
    )
    text = report(run)
    assert "none was asked for" in text and "proposed" not in text
    assert "kappa unknown." in text


def test_a_filtered_map_is_the_one_that_is_shown(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", more={"filtered_map": {"oa_all": 0.9, "oa_heldout": 0.8765, "changed": 0.1}})
    with h5py.File(run / "predictions.h5", "r+") as file:
        file["filtered_map"] = np.full(file["class_map"].shape, 4)
    text = report(run)
    assert [CELL.findall(text)[index] for index in (2, 7, 12)] == ["0", "0", "480"]
    assert "that of the map before" not in text and "the overall accuracy of the filtered one" in text
    assert "87.6 %" in text or "87.7 %" in text
    assert "The map was filtered afterwards" in text


def test_the_page_about_a_prediction_knows_no_accuracy(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    class_map = np.array([[0, 2, 3, 3]], np.uint8)
    path = write_prediction_report(tmp_path / "report.html", Path("a") / HOSTILE, run, class_map, WHERE, [HOSTILE])
    text = path.read_text()
    assert [CELL.findall(text)[index] for index in (2, 4, 7, 9)] == ["1", "0.2500", "2", "0.5000"]
    assert "Unknown: no label of this image was compared with its map" in text and "(OA)" not in text
    assert "python -m hsi_al.assess map.tif" in text and "<script" not in text
    assert "10 labels" in text  # four, and three in each of two rounds
