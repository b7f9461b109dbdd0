"""Pixels as points of a GeoPackage, which QGIS opens and edits. Needs the extra `geo`.

QGIS may have a GeoPackage open that is written anew. SQLite, whose file it is, keeps changes in a second file beside it
(`-wal`) meanwhile, which would be taken for changes of any file that replaces the first. So what is there gets its new
content by SQLite, and QGIS shows it when it draws again. A pixel keeps the number of its feature (fid), and numbers of
others are not used again: an edit that QGIS still holds would change another pixel.
"""

import sqlite3
import time
import warnings
from collections.abc import Mapping
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsi_al.files import beside, replacing
from hsi_al.scenes.georeference import Georeference, Transform

SQLITE = b"SQLite format 3\0"
REST = ("-wal", "-shm", "-journal")
MOST_FID = 2**62
MOST_WAITED = 5.0  # seconds for other programs that write to the file
PIXELS: Transform = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # columns to the right, rows downward, as a picture is shown


def write_points(
    path: Path,
    layer: str,
    pixel_ids: NDArray[np.int64],
    width: int,
    where: Georeference | None,
    about: Mapping[str, str] | None = None,
    **fields: ArrayLike,
) -> Path:
    """Write the centres of pixels, with `row` and `column` before the given fields, in place of what was there.

    Args:
        path: Such as `labels.gpkg`.
        layer: Name of the layer.
        pixel_ids: The pixels, (n,).
        width: Columns of the scene.
        where: Where the scene lies; None = unknown: then x is the column and y the negative row.
        about: Metadata of the layer.
        fields: One value per pixel, (n,) each: numbers or text.

    Raises:
        OSError: The file can't be written, or another program keeps it locked.
    """
    import shapely
    from pyogrio.errors import DataSourceError
    from pyogrio.raw import write

    rows, columns = np.divmod(pixel_ids, width)
    a, b, c, d, e, f = PIXELS if where is None else where.transform
    x, y = a * (columns + 0.5) + b * (rows + 0.5) + c, d * (columns + 0.5) + e * (rows + 0.5) + f
    last, known = last_fid(path), fids_in(path, layer)
    pixels = enumerate(zip(rows.tolist(), columns.tolist(), strict=True), start=last + 1)
    fids = np.array([known.get(pixel, number) for number, pixel in pixels], np.int64)
    values: Mapping[str, NDArray[Any]] = {
        "fid": fids,
        "row": rows,
        "column": columns,
        **{name: _column(given) for name, given in fields.items()},
    }
    try:
        packed = BytesIO()  # GDAL doesn't tell all that fails on a full disk
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no CRS
            write(
                packed,
                shapely.to_wkb(shapely.points(x, y)),
                list(values.values()),
                list(values),
                layer=layer,
                driver="GPKG",
                geometry_type="Point",
                crs=where.crs or None if where else None,
                layer_metadata=dict(about or {}) or None,
            )
    except DataSourceError as error:
        raise OSError(f"{path} can't be written ({str(error).splitlines()[0]})") from error
    if not (is_database(path) and renewed(path, packed, layer, last)):
        with replacing(path) as temporary:
            temporary.write_bytes(packed.getbuffer())
            for rest in REST:  # of a file that is gone or damaged
                path.with_name(path.name + rest).unlink(missing_ok=True)
    return path


def is_database(path: Path) -> bool:
    """Return whether a file is there and begins as one of SQLite."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return False


def last_fid(path: Path) -> int:
    """Return the largest number that a feature of a GeoPackage has or had; 0 where there is none."""
    if is_database(path):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=MOST_WAITED)) as database:
            (found,) = database.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
            return found if isinstance(found, int) and 0 <= found < MOST_FID else 0
    return 0


def fids_in(path: Path, layer: str) -> dict[tuple[int, int], int]:
    """Return the numbers of the features of a layer by the row and column of their pixels: a pixel keeps its number."""
    if is_database(path):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=MOST_WAITED)) as database:
            there = database.execute(f'SELECT "row", "column", fid FROM "{layer}" ORDER BY fid DESC').fetchall()
            return {(row, column): fid for row, column, fid in there}
    return {}


def renewed(path: Path, packed: BytesIO, layer: str, last: int) -> bool:
    """Give a GeoPackage the content of another one, at once for every program that has it open.

    Args:
        path: The file.
        packed: The other one.
        layer: Its layer.
        last: Largest number of a feature so far.

    Returns:
        Whether it was done; False = SQLite can't: what is there is damaged, or the file system knows no locks.

    Raises:
        OSError: The file can't be written, or another program keeps it locked.
    """
    until = time.monotonic() + MOST_WAITED

    def in_time(*_: int) -> None:
        if time.monotonic() > until:
            raise TimeoutError(
                f"{path} can't be written: another program has it in use; let that end, close it there, or move the "
                "file away"
            )

    try:
        with beside(path) as temporary:
            temporary.write_bytes(packed.getbuffer())
            with closing(sqlite3.connect(temporary)) as new, closing(sqlite3.connect(path, timeout=0.1)) as there:
                with new:
                    new.execute("DELETE FROM sqlite_sequence WHERE name = ? AND seq < ?", (layer, last))
                    if new.execute("SELECT * FROM sqlite_sequence WHERE name = ?", (layer,)).fetchone() is None:
                        new.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (layer, last))
                new.backup(there, pages=-1, progress=in_time, sleep=0.1)
                there.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        if "locking protocol" in str(error):
            return False
        raise OSError(f"{path} can't be written ({error}); move it away if that stays so") from error
    except sqlite3.DatabaseError:
        return False
    return True


def _column(given: ArrayLike) -> NDArray[Any]:
    values = np.asarray(given)
    return values.astype(object) if values.dtype.kind == "U" else values
