"""One pixel of missing data: what the script measures, at toy size."""

from pathlib import Path

import numpy as np
import pytest

from experiments.trust import outliers
from hsi_al.scenes.scene import Scene
from tests.conftest import tiny_arrays


@pytest.mark.usefixtures("no_figures")
def test_every_variant_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cube, truth = tiny_arrays()
    scene = Scene("tiny", cube, truth, {})
    small = ["protocol.initial_size=20", "protocol.epochs=1", "patch_size=16"]
    header, row = outliers.measure(scene, ["emp_svm"], tmp_path, small)
    assert header == ["learner", *(f"{name}: OA, kappa" for name in ("whole", "minmax", "auto", "no_data"))]
    assert [cell.split(", ")[0] for cell in row[1:]] == ["100.0"] * 4
    broken = np.load(tmp_path / "broken.npy")
    assert np.array_equal(np.argwhere((broken == -9999).all(axis=2)), [[0, 25]])
