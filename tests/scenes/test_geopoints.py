"""Pixels as points, read back with pyogrio."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from hsi_al.scenes import geopoints
from hsi_al.scenes.geopoints import write_points
from hsi_al.scenes.georeference import Georeference

pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
shapely = pytest.importorskip("shapely", reason="the extra geo is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

from hsi_al.scenes.vectors import drawn_labels  # noqa: E402

WHERE = Georeference(rasterio.crs.CRS.from_epsg(32632).to_wkt(), (10.0, 1.0, 500000.0, 2.0, -10.0, 5000000.0))


def test_labels_come_back(tmp_path: Path) -> None:
    pixel_ids = np.array([0, 7, 13, 41])
    path = write_points(tmp_path / "a.gpkg", "labels", pixel_ids, 7, WHERE, value=[3, 1, 3, 2], name=list("abcd"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]
    found = drawn_labels(path, "labels", "value", WHERE, (6, 7))
    expected = np.zeros((6, 7), np.uint8)
    expected.ravel()[pixel_ids] = [3, 1, 3, 2]
    assert np.array_equal(found.labels, expected) and found.notices == []
    meta, _, geometries, fields = pyogrio.raw.read(path, columns=["row", "column", "name"])
    rows, columns, names = (dict(zip(meta["fields"], fields, strict=True))[key] for key in ("row", "column", "name"))
    assert meta["crs"] == "EPSG:32632" and names.tolist() == list("abcd")
    assert np.array_equal(rows * 7 + columns, pixel_ids)
    x, y = shapely.get_coordinates(shapely.from_wkb(geometries))[1]
    assert (x, y) == pytest.approx((500000 + 10 * 0.5 + 1.5, 5000000 + 2 * 0.5 - 10 * 1.5))


def test_none_and_no_georeference(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg", "labels", np.empty(0, np.int64), 7, WHERE, value=np.empty(0, np.int64))
    assert pyogrio.read_info(path)["features"] == 0
    path = write_points(tmp_path / "b.gpkg", "labels", np.array([9]), 7, None, value=[1])
    _, _, geometries, _ = pyogrio.raw.read(path)
    assert shapely.get_coordinates(shapely.from_wkb(geometries)).tolist() == [[2.5, -1.5]]
    with pytest.raises(OSError, match=r"can't be written|No such file"):
        write_points(tmp_path / "none" / "a.gpkg", "labels", np.array([9]), 7, None, value=[1])


# A process of its own: the locks of SQLite are those of a process. QGIS brings along the functions of the triggers.
HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    database.execute(f'DROP TRIGGER "{name}"')
for line in sys.stdin:
    print(database.execute(line).fetchall(), flush=True)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that has the file open as QGIS has, with changes that it keeps beside the file."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=pipe, stdout=pipe, text=True) as other:
        assert asked(other, "PRAGMA journal_mode = wal") == "[('wal',)]"
        yield other
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait(10) == 0


def asked(other: subprocess.Popen[str], command: str) -> str:
    assert other.stdin is not None and other.stdout is not None
    other.stdin.write(f"{command}\n")
    other.stdin.flush()
    return other.stdout.readline().strip()


def pixels_in(path: Path) -> tuple[list[int], list[int]]:
    """Numbers and columns of the features."""
    _, fids, _, (columns,) = pyogrio.raw.read(path, columns=["column"], return_fids=True)
    return fids.tolist(), columns.tolist()


def test_a_file_that_qgis_has_open_gets_its_new_points(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg", "query", np.array([1, 2, 3]), 90, WHERE, value=[0, 0, 0])
    with held(path) as other:
        assert asked(other, "UPDATE query SET value = 7 WHERE fid = 1") == "[]"
        assert (tmp_path / "a.gpkg-wal").stat().st_size > 0
        write_points(path, "query", np.array([4, 5]), 90, WHERE, value=[0, 0])
        assert pixels_in(path) == ([4, 5], [4, 5])
        assert asked(other, "SELECT fid, value FROM query") == "[(4, 0), (5, 0)]"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"] and pixels_in(path) == ([4, 5], [4, 5])


def test_a_file_that_another_program_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_points(tmp_path / "a.gpkg", "query", np.array([1, 2]), 90, WHERE, value=[0, 0])
    monkeypatch.setattr(geopoints, "MOST_WAITED", 0.2)
    with held(path) as other:
        assert asked(other, "BEGIN IMMEDIATE") == "[]"
        with pytest.raises(OSError, match=r"a\.gpkg can't be written: another program has it in use"):
            write_points(path, "query", np.array([4]), 90, WHERE, value=[0])
        assert asked(other, "COMMIT") == "[]"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"] and pixels_in(path) == ([1, 2], [1, 2])


def test_numbers_of_features_are_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    known: tuple[tuple[list[int], list[int]], ...] = (
        ([5, 6], [1, 2]),
        ([7, 6], [2, 3]),
        ([], []),
        ([8, 6], [4, 5]),
        ([6], [5]),
        ([6, 9], [5, 7]),
    )
    for pixels, fids in known:
        values = np.zeros(len(pixels), np.int64)
        write_points(path, "query", np.array(pixels, np.int64), 90, WHERE, value=values)
        found = dict(zip(*pixels_in(path), strict=True))
        assert sorted(found) == fids and sorted(found.values()) == sorted(pixels)
    assert found == {5: 6, 7: 9}  # a pixel keeps its number


def test_a_file_that_cannot_be_renewed_is_left_alone(tmp_path: Path) -> None:
    """SQLite can't change the size of the pages of a file whose changes lie beside it."""
    path = write_points(tmp_path / "a.gpkg", "query", np.array([1, 2]), 90, WHERE, value=[0, 0])
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 1024")
        database.execute("VACUUM")
    with held(path) as other:
        with pytest.raises(OSError, match=r"a\.gpkg can't be written .*move it away"):
            write_points(path, "query", np.array([4]), 90, WHERE, value=[0])
        assert asked(other, "SELECT count(*) FROM query") == "[(2,)]"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"] and pixels_in(path) == ([1, 2], [1, 2])


@pytest.mark.parametrize("content", [None, b"", b"plain text", b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_file_of_points_is_replaced_with_what_lies_beside_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.gpkg"
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "a.gpkg-wal").write_bytes(b"changes of a file that is gone")
    write_points(path, "query", np.array([5]), 90, WHERE, value=[1])
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"] and pixels_in(path) == ([1], [5])
