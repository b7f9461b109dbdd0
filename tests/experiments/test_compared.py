"""The variants of the compared methods differ in what they say they differ in; here on a tiny scene."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.compared import common, dfsl, emp, ppf
from hsi_al.methods.cnn_ppf.learner import EFFORTS
from hsi_al.methods.dfsl_svm.extractor import DfslSettings
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.scenes.scene import Scene
from tests.conftest import tiny_arrays
from tests.methods.cnn_ppf.test_learner import TINY


def tiny(copies: int = 1) -> Scene:
    cube, truth = tiny_arrays()
    return Scene("tiny", cube.repeat(copies, axis=2), truth, {2: "Corn", 5: "Rye", 9: "Oats"})


def test_accuracy_counts_drawn_pixels_for_all_but_not_for_heldout() -> None:
    drawn = common.draw(tiny(), 10)
    assert (len(drawn.ids), len(drawn.rest)) == (30, 110 + 110 + 220 - 30)
    assert not np.intersect1d(drawn.ids, drawn.rest).size
    features = np.zeros((24 * 26, 1), np.float32)
    features[drawn.ids, 0] = drawn.labels  # says nothing about the others, which look like class 0
    share = (drawn.truth == 0).mean()
    expected = [100 * (30 + share * len(drawn.rest)) / 440, 100 * share]
    assert common.by_svm(features, drawn, GridSvm()) == [f"{value:.2f}" for value in expected]


def test_every_variant_of_the_profiles_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.methods.grid_svm.GRID", np.arange(3, 5))  # the search isn't what is tested here
    rows = emp.measure(tiny(), 10)
    assert [row[0] for row in rows[1:]] == [*emp.VARIANTS, "no profile: 3 components"]
    assert [int(row[1]) for row in rows[1:4]] == [33, 33, 11]
    assert [int(row[1]) for row in rows[5:]] == [27, 9, 3]
    assert all(float(row[2]) > 95 for row in rows[1:])


def test_three_embeddings_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.methods.grid_svm.GRID", np.arange(2, 5))
    settings = DfslSettings(episodes=2, queries=2, pixels_per_class=20, bands=33)
    other = replace(tiny(), name="other", source=tiny().cube[::-1].copy())
    rows = dfsl.measure(tiny(), [other], 10, settings)
    assert [row[0] for row in rows[1:]] == ["untrained", "meta-trained on other", dfsl.BOUND]
    assert [row[1:3] for row in rows[1:]] == [["-", "-"], ["3", "2"], ["3", "2"]]
    assert all(50 < float(row[4]) <= float(row[3]) <= 100 for row in rows[1:])
    assert dfsl.without_last_row(tiny()).cube.shape == (23, 26, 6)


def test_epochs_are_those_of_all_stages() -> None:
    assert EFFORTS["short"].stages == 3
    rows = ppf.measure(tiny(12), (1, 3), 8, replace(TINY, stages=2, least_steps=0))  # the network wants many bands
    assert [row[0] for row in rows[1:]] == ["2", "6"]
    assert float(rows[2][1]) > float(rows[1][1]) > 40


def test_a_table_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "new")
    common.write("dfsl", " salinas_a", [["a", "b"], ["1", "2"]])
    text = (tmp_path / "new" / "dfsl.md").read_text()
    assert text.startswith("`python -m experiments.compared.dfsl salinas_a`, Indian Pines")
    assert text.endswith("| a | b |\n|---|---|\n| 1 | 2 |\n")
