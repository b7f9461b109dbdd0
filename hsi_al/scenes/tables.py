"""Tables (.csv) of points and polygons: the columns that hold coordinates, told by their names."""

import codecs
import csv
from pathlib import Path

from hsi_al.errors import SceneError

TABLE = ".csv"
WGS84 = "EPSG:4326"
# Names of the columns with coordinates, in lower case, and the system that they are in; None = the cube's.
COLUMNS = (
    (
        ("lon", "long", "longitude", "lng", "decimallongitude", "longitud", "longitudine"),
        ("lat", "latitude", "decimallatitude", "latitud", "latitudine"),
        WGS84,
    ),
    (
        ("x", "xcoord", "x_coord", "point_x", "coord_x", "easting", "east", "utm_e", "rechtswert", "ostwert"),
        ("y", "ycoord", "y_coord", "point_y", "coord_y", "northing", "north", "utm_n", "hochwert", "nordwert"),
        None,
    ),
    (("länge", "laenge"), ("breite",), WGS84),  # which may be the sides of a plot
)


def columns_of(path: Path) -> tuple[dict[str, str], str | None]:
    """Return what tells GDAL the columns of a table that hold coordinates, and the system that these are in.

    Raises:
        SceneError: It has no such columns, or two of one name, or is no text in UTF-8.
    """
    import pyogrio

    require_utf8(path)
    given = [str(name) for name in pyogrio.read_info(path)["fields"]]
    names = {name.strip().lower(): name for name in given}
    options: tuple[str, ...] = ("X_POSSIBLE_NAMES", "Y_POSSIBLE_NAMES")
    chosen, system = list[str](), None
    if "wkt" in names:  # as QGIS writes polygons
        options, chosen = ("GEOM_POSSIBLE_NAMES",), ["wkt"]
    for across, up, crs in COLUMNS:
        x, y = ([name for name in kind if name in names] for kind in (across, up))
        if x and y and not chosen:
            chosen, system = [x[0], y[0]], crs
    if not chosen:
        raise SceneError(
            f"{path} has no columns with coordinates; name them in its first line: lon and lat (degrees, WGS 84), or x "
            f"and y (in the cube's system). It has {', '.join(given) or 'none'}."
        )
    for name in chosen:  # GDAL would crash
        if [one.strip().lower() for one in given].count(name) > 1:
            raise SceneError(f"{path} has several columns {names[name]!r}; leave one of them.")
    found = {option: names[name] for option, name in zip(options, chosen, strict=True)}
    return found | {"KEEP_GEOM_COLUMNS": "NO"}, system


def require_utf8(path: Path) -> None:
    """Raise SceneError if a table is no text in UTF-8, or begins with a line for Excel alone."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with path.open("rb") as file:
        if file.read(8).lstrip(b"\xef\xbb\xbf").lower().startswith(b"sep="):
            raise SceneError(f"{path} begins with a line for Excel alone (sep=); delete this line.")
        file.seek(0)
        try:
            first = decoder.decode(file.read(2**16))
            while part := file.read(2**20):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise SceneError(
                f"{path} is no text in UTF-8 ({error.reason}); save it as 'CSV UTF-8', as Excel calls it."
            ) from error
    lines = first.splitlines()[:100]
    if lines and not any(mark in lines[0] for mark in ";\t|"):
        names, *others = csv.reader(lines)
        for number, values in enumerate(others, start=2):
            if any(value.strip() for value in values[len(names) :]):
                raise SceneError(
                    f"{path}, line {number}, has {len(values)} values for the {len(names)} columns of the first line; "
                    "separate columns by semicolons if numbers have decimal commas."
                )
