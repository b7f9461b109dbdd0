"""The learning curve as a table."""

import math

import numpy as np
import pytest

import hsi_al
from hsi_al.interface.curve import Curve

ROW = {"aa_all": 0.4, "kappa_all": 0.3, "aa_heldout": 0.4, "kappa_heldout": 0.3, "seconds_fit": 1.0}
ROW |= {"seconds_predict": 0.5, "seconds_query": 0.25, "recall_2": 0.5, "recall_10": math.nan}


def curve_of(*heldout: float, labels: int = 20) -> Curve:
    return Curve(
        [
            {"round": n, "n_labelled": labels + 10 * n, "oa_all": 0.5, "oa_heldout": value, **ROW}
            for n, value in enumerate(heldout)
        ]
    )


def test_columns() -> None:
    curve = curve_of(0.5, 0.75, 1.0)
    assert {len(values) for values in curve.values()} == {3}
    assert curve["n_labelled"].dtype == curve["round"].dtype == np.int64
    assert curve.rows[1]["oa_heldout"] == 0.75 and curve.rows[1]["round"] == 1
    assert curve.labels_to(0.6) == 24 and curve.labels_to(0.5) == 20 and curve.labels_to(1.1) == math.inf
    assert curve.area() == pytest.approx(0.75)


def test_it_is_read_at_a_glance() -> None:
    curve = curve_of(0.5, math.nan)
    assert repr(curve).splitlines() == [
        "round  labels   OA %   AA %  kappa %  OA held-out %  seconds",
        "    0      20  50.00  40.00    30.00          50.00      1.8",
        "    1      30  50.00  40.00    30.00              -      1.8",
    ]
    html = curve._repr_html_()
    assert html.count("<tr>") == 3 and "<th>OA held-out %</th>" in html and "<td>50.00</td>" in html
    assert len(repr(Curve()).splitlines()) == 1 and Curve()["oa_all"].tolist() == []


def test_pandas_takes_it() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(curve_of(0.5, 0.75))
    assert frame.shape == (2, 13) and frame["oa_heldout"].tolist() == [0.5, 0.75]


def test_it_is_a_dictionary_of_columns() -> None:
    """What pandas, polars and pyarrow ask for."""
    assert isinstance(curve_of(0.5), dict) and all(values.ndim == 1 for values in curve_of(0.5).values())


def test_curves_of_several_seeds_are_a_mean_and_a_band() -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    axes = hsi_al.plot_curves({"one": curve_of(0.5, 0.6), "several": [curve_of(0.5, 0.7, 0.9), curve_of(0.7, 0.9)]})
    one, several = axes.lines
    np.testing.assert_allclose(np.asarray(one.get_ydata()), [50, 60])
    np.testing.assert_allclose(np.asarray(several.get_ydata()), [60, 80])
    (band,) = axes.collections
    low, high = (
        np.asarray(band.get_paths()[0].vertices)[:, 1].min(),
        np.asarray(band.get_paths()[0].vertices)[:, 1].max(),
    )
    assert (low, high) == (pytest.approx(60 - 200**0.5), pytest.approx(80 + 200**0.5))
    assert axes.get_ylabel() == "oa_heldout (%)"
    again = hsi_al.plot_curves({"third": curve_of(0.5)}, axes)
    assert again is axes and len({line.get_color() for line in axes.lines}) == 3
    with pytest.raises(hsi_al.ConfigurationError, match="A curve has no column 'oa'; it has round,"):
        curve_of(0.5).plot(column="oa")
    with pytest.raises(hsi_al.ConfigurationError, match="The curves of 'x' have different numbers of labels"):
        hsi_al.plot_curves({"x": [curve_of(0.5), curve_of(0.5, labels=30)]})
    plt.close("all")
