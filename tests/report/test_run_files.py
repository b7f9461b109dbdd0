import json
from pathlib import Path

import numpy as np
import pytest

from hsi_al.errors import RunDirectoryError
from hsi_al.report.compare import summary
from hsi_al.report.run_files import Overlap, class_counts, read_meta
from tests.report.fakes import write_run

KEY = "test_pixels_in_training_patches"


def test_the_pixels_of_a_map_are_counted_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    class_map = np.array([[0, 7, 7], [300, 7, 0], [1, 1, 300], [7, 0, 0]], np.uint16)
    for most in (1, 5, 100):
        monkeypatch.setattr("hsi_al.report.run_files.MOST_PIXELS", most)
        assert list(class_counts(class_map).items()) == [(1, 2), (7, 4), (300, 2)]
        assert class_counts(class_map.ravel()) == class_counts(class_map)
    assert class_counts(np.zeros((2, 2), np.uint8)) == {}


def write_overlap(run: Path, entry: object) -> Path:
    write_run(run)
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps(meta | {KEY: entry}))
    return run


def test_overlap_is_read_and_said(tmp_path: Path) -> None:
    part = {"labels": 9, "inside": 1500, "heldout": 2000}
    run = write_overlap(tmp_path / "run", {"patch_size": 8, "initial": part, "last": part | {"inside": 1999}})
    overlap = read_meta(run).overlap
    assert overlap == Overlap(8, (1500, 2000), (1999, 2000))
    assert overlap.sentence() == (
        "Test pixels inside a training patch (8 x 8): 1,500 of 2,000 (75.0 %) after the initial labels, "
        "1,999 of 2,000 (100.0 %) after the last round."
    )
    assert summary([run])[1][6] == "100.0"


def test_runs_without_patches_held_out_pixels_or_the_entry(tmp_path: Path) -> None:
    overlap = read_meta(write_overlap(tmp_path / "svm", {"patch_size": None})).overlap
    assert overlap is not None and overlap.last_percent == "-" and "no training patches" in overlap.sentence()
    assert Overlap(8).sentence().endswith("0 of 0 after the initial labels, 0 of 0 after the last round.")
    earlier = write_run(tmp_path / "earlier")
    assert read_meta(earlier).overlap is None
    assert summary([earlier])[1][6] == "-"
    with pytest.raises(RunDirectoryError, match="test_pixels_in_training_patches"):
        read_meta(write_overlap(tmp_path / "damaged", {"patch_size": 8}))
