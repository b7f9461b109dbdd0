"""The DFSL variants run on a tiny scene; the bound's source differs from the scene by a row only."""

from dataclasses import replace

from experiments.dfsl_variants import measure, without_last_row
from hsi_al.learners.dfsl import DfslSettings
from tests.experiments.test_emp_variants import tiny


def test_three_embeddings_are_measured() -> None:
    settings = DfslSettings(episodes=2, queries=2, pixels_per_class=20, bands=33)
    other = replace(tiny(), name="other", cube=tiny().cube[::-1].copy())
    rows = measure(tiny(), [other], 10, settings)
    assert [row[0] for row in rows[1:]] == [
        "untrained",
        "meta-trained on other",
        "meta-trained on the scene itself (a bound: knows the test labels)",
    ]
    assert [row[1:3] for row in rows[1:]] == [["-", "-"], ["3", "2"], ["3", "2"]]
    assert all(50 < float(row[4]) <= float(row[3]) <= 100 for row in rows[1:])
    assert without_last_row(tiny()).cube.shape == (23, 26, 6)
