"""`curve.csv` read back, and its rounds as text."""

import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from hsi_al.errors import RunDirectoryError
from hsi_al.report.tables import COLUMNS, HEADER, format_rounds, limited, print_table, read_curve, shortened
from tests.report.fakes import write_run


def test_rows_hold_numbers(tmp_path: Path) -> None:
    rows = read_curve(write_run(tmp_path))
    assert [(row.round, row.n_labelled) for row in rows] == [(0, 4), (1, 7), (2, 10)]
    assert rows[1].oa_all == pytest.approx(0.7)
    assert rows[1].oa_heldout == pytest.approx(0.68)
    assert math.isnan(rows[1].kappa_heldout)
    assert rows[1].recall == {2: 0.5, 3: 0.5, 4: 0.5}
    assert (rows[1].seconds_fit, rows[1].seconds_predict, rows[1].seconds_query) == (10.0, 2.0, 0.25)


def test_formatted_in_percent_and_seconds(tmp_path: Path) -> None:
    table = format_rounds(read_curve(write_run(tmp_path, rounds=1)))
    assert table == [
        HEADER,
        ["0", "4", "60.00", "55.00", "50.00", "58.00", "12.2"],
        ["1", "7", "70.00", "55.00", "50.00", "68.00", "12.2"],
    ]


def test_undefined_values_are_dashes(tmp_path: Path) -> None:
    table = format_rounds(read_curve(write_run(tmp_path, rounds=0, heldout=False)))
    assert table[1][5] == "-"


def curve_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "curve.csv").write_text(text)
    return tmp_path


LINE = "0,160," + ",".join(["0.5"] * 9)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lacks the columns round, n_labelled"),
        (",".join(COLUMNS[:-1]) + "\n", "lacks the columns seconds_query"),
        (",".join(COLUMNS) + "\n", "holds no round yet"),
        (",".join(COLUMNS) + f"\n{LINE}\n0,160,0.5\n", "line 3: its number of cells"),
        (",".join(COLUMNS) + f"\n{LINE},0.5\n", "line 2: its number of cells"),
        (",".join(COLUMNS) + f"\n{LINE.replace('0.5', 'high', 1)}\n", "line 2: .*high"),
        (",".join(COLUMNS) + f"\n{LINE.replace('160', 'nan')}\n", "line 2: .*nan"),
        (",".join(COLUMNS) + f",recall_corn\n{LINE},0.5\n", "line 2: .*corn"),
    ],
)
def test_malformed_curve_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(RunDirectoryError, match=rf"curve\.csv.*{complaint}"):
        read_curve(curve_with(tmp_path, text))


def test_missing_and_binary_curves_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"curve\.csv is missing or corrupted .*No such file"):
        read_curve(tmp_path)
    (tmp_path / "curve.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunDirectoryError, match=r"curve\.csv"):
        read_curve(tmp_path)


def test_a_table_looks_like_one_of_rich(capsys: pytest.CaptureFixture[str]) -> None:
    table = [["run", "OA %"], ["a/日本", "1"], ["b\x1b[0m", "100.00"], ["[red]:corn:", "-"], ["x" * 300, ""]]
    print_table(table)
    shown = Table()
    for index, name in enumerate(table[0]):
        shown.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table[1:]:
        shown.add_row(*(cell.replace("\x1b", "\\x1b") for cell in row))
    expected = StringIO()
    Console(file=expected, width=400, markup=False, emoji=False).print(shown)
    assert capsys.readouterr().out == expected.getvalue()


def test_a_table_to_look_at() -> None:
    table = [["method", "n" * 50], *([f"m{i} " + "x" * 50, str(i)] for i in range(5))]
    assert limited(table, 2, 20, "in a file") == [
        ["method", "n" * 13 + "…" + "n" * 6],
        ["m0 xxxxxxxxxx…xxxxxx", "0"],
        ["m1 xxxxxxxxxx…xxxxxx", "1"],
        ["and 3 more in a file", ""],
    ]
    assert limited(table, 5, 100, "") == table


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("corn", 4, "corn"),
        ("corn", 3, "co…"),
        ("seed corn 2024", 10, "seed c…024"),
        (" two\nlines\tand  blanks ", 40, "two lines and blanks"),
        ("", 5, ""),
    ],
)
def test_long_names_lose_their_middle(text: str, most: int, expected: str) -> None:
    assert shortened(text, most) == expected
