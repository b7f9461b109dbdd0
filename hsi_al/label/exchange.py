"""Labels and questions as points that QGIS edits, and what comes back. Needs the extra `geo`.

`query.gpkg` has a point for every pixel that is asked, with the fields `pixel_id`, `row`, `column`, `class` (empty),
and `points`, the number of points in the file. The style beside it makes `class` a drop-down list with the names of
the classes, and 0 for "can't tell". Points that a person adds have no `pixel_id`, and label the pixel that they lie in.
In a file with the text field `other` a person can name a class that isn't in the list.
"""

import json
import unicodedata
from collections.abc import Collection, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from hsi_al.errors import SceneError, SessionError
from hsi_al.files import replace_text
from hsi_al.pool.answers import Answer, Answers, LabelClass
from hsi_al.report.palette import GREY, rgb_of
from hsi_al.scenes.arrays import reading
from hsi_al.scenes.geopoints import PIXELS, write_points
from hsi_al.scenes.georeference import Georeference, require_geo, same_crs
from hsi_al.scenes.readers import existing_file
from hsi_al.scenes.shapes import wkt_of
from hsi_al.scenes.vectors import layers_in

LAYER = "query"
UNSURE, UNSURE_NAME = 0, "can't tell"  # a class in a file
SESSION, NAMES = "HSI_AL_SESSION", "HSI_AL_CLASSES"  # metadata of the layer
FIELDS = ("pixel_id", "class", "points")
OTHER = "other"  # field with the name of a class that isn't in the list


def write_labels(
    path: Path,
    given: dict[int, Answer],
    classes: dict[int, LabelClass],
    width: int,
    where: Georeference | None,
) -> list[Path]:
    """Write all answers as points, with a style; "can't tell" has the class 0 and no name.

    So the file may be learnt from by either field, in which 0 and nothing are no class.

    Raises:
        OSError: A file can't be written.
    """
    ids = np.array(sorted(given), np.int64)
    answers = [given[pixel] for pixel in ids.tolist()]
    values = [answer.value or UNSURE for answer in answers]
    write_points(
        path,
        "labels",
        ids,
        width,
        where,
        None,
        **{"class": np.array(values, np.int32)},
        name=np.array([classes[value].name if value else None for value in values], object),
        asked=np.array([answer.asked for answer in answers], np.int32),
        who=np.array([answer.who for answer in answers], object),
        time=np.array([answer.time for answer in answers], object),
    )
    return [path, write_style(path.with_suffix(".qml"), list(classes.values()))]


def write_query(
    path: Path,
    pixels: Sequence[int],
    classes: Sequence[LabelClass],
    width: int,
    where: Georeference | None,
    layer: str = LAYER,
    has_other: bool = False,
    session: str | None = None,
) -> list[Path]:
    """Write the pixels that are asked as points to be answered in QGIS, with a style.

    Args:
        path: Such as `query.gpkg`.
        pixels: Pixel ids, in the order of the points.
        classes: The classes to choose from.
        width: Columns of the scene.
        where: Where the scene lies; None = unknown.
        layer: Name of the layer.
        has_other: Whether to add the empty text field `other`.
        session: Which session asks; None = none. Another one takes classes by their names.

    Returns:
        The files written.

    Raises:
        OSError: A file can't be written.
    """
    ids = np.array(pixels, np.int64)
    write_points(
        path,
        layer,
        ids,
        width,
        where,
        None if session is None else {SESSION: session, NAMES: json.dumps({one.value: one.name for one in classes})},
        pixel_id=ids,
        **{"class": np.full(len(ids), np.nan)},
        **({OTHER: np.full(len(ids), None, object)} if has_other else {}),
        points=np.full(len(ids), len(ids), np.int32),
    )
    return [path, write_style(path.with_suffix(".qml"), classes)]


def is_query(path: Path) -> bool:
    """Return whether a file is one of `write_query`."""
    if path.suffix.lower() != ".gpkg":
        return False
    require_geo(f"{path} holds points, which")
    existing_file(path)
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        named = layers_in(path) == [LAYER]
        return named and set(FIELDS) <= set(map(str, pyogrio.read_info(path, layer=LAYER)["fields"]))
    except DataSourceError as error:
        raise SessionError(f"{path} can't be read ({str(error).splitlines()[0]}); export it again.") from error


class Returned(NamedTuple):
    """What an edited file of questions says.

    Attributes:
        asked: The pixels that the file asks.
        answers: Pixel id -> label value of every answered point, None = can't tell; a text names a class that isn't
            in the list. Points that were added are among them.
    """

    asked: frozenset[int]
    answers: dict[int, int | str | None]


def read_query(
    path: Path,
    given: Answers,
    shape: tuple[int, int],
    where: Georeference | None,
    session: str | None = None,
) -> list[tuple[int, int | None]]:
    """Read an edited `query.gpkg`: pixel id and label value of every answered point, None = can't tell.

    Args:
        path: The file.
        given: The answers of the session, with its classes.
        shape: Rows and columns of the scene.
        where: Where the scene lies; None = unknown.
        session: The session. Classes of a file of another one, or of a copy of this one that has gone its own way, are
            known by their names, since theirs may have other label values.

    Raises:
        SessionError: As for `returned`, or the session lacks a class of another one.
        SceneError: As for `returned`.
    """
    names = names_of_other(path, session, given.called)
    found = returned(path, given.classes if names is None else names, shape, where)
    values = {pixel: value for pixel, value in found.answers.items() if not isinstance(value, str)}
    if names is None:
        return list(values.items())
    exact = {one.name: value for value, one in given.classes.items()}
    alike = {folded(name): value for name, value in exact.items()}
    known = {value: exact.get(name, alike.get(folded(name))) for value, name in names.items()}
    if lacking := sorted({names[value] for value in values.values() if value and known[value] is None}):
        raise SessionError(
            f"{path} was written by another session, whose classes {', '.join(map(repr, lacking))} this one lacks; add "
            "them to it by --classes."
        )
    return [(pixel, known[value] if value else None) for pixel, value in values.items()]


def names_of_other(path: Path, session: str | None, called: Set[tuple[int, str]]) -> dict[int, str] | None:
    """Return label value -> name of the classes in a file of questions of another session; None for one's own.

    Files of versions that didn't say whose they are count as one's own. One with a class that was never `called` so,
    by label value and name, comes from a copy of the session, which counts as another one.

    Raises:
        SessionError: It is one of another session, and doesn't say what its classes are.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        about = pyogrio.read_info(path, layer=LAYER)["layer_metadata"] or {}
    except (DataSourceError, DataLayerError):  # which `returned` tells
        return None
    is_own = about.get(SESSION, session) == session
    if session is None or (is_own and NAMES not in about):
        return None
    try:
        names = {int(value): str(name) for value, name in json.loads(about[NAMES]).items()}
        return None if is_own and names.items() <= called else names
    except (LookupError, ValueError, AttributeError):
        if is_own:
            return None
        raise SessionError(
            f"{path} was written by another session, and the names of its classes in it are damaged; export it again."
        ) from None


def returned(
    path: Path,
    classes: Collection[int],
    shape: tuple[int, int],
    where: Georeference | None,
    layer: str = LAYER,
    has_other: bool = False,
) -> Returned:
    """Read an edited file of questions.

    Args:
        path: The file.
        classes: Label values that the file lets choose from.
        shape: Rows and columns of the scene.
        where: Where the scene lies; None = unknown.
        layer: Layer of the file.
        has_other: Whether its field `other` names classes.

    Raises:
        SessionError: The file has other layers or fields, a class is unknown, a point was moved or deleted, or two
            points of a pixel differ.
        SceneError: A library is missing, or the file can't be read.
    """
    require_geo(f"{path} holds points, which")
    existing_file(path)
    import shapely
    from pyogrio.errors import DataLayerError
    from pyogrio.raw import read

    fields = [*FIELDS, *([OTHER] if has_other else [])]
    try:
        with reading(path):
            meta, fids, geometries, columns = read(path, layer=layer, columns=fields, force_2d=True, return_fids=True)
    except SceneError as error:
        if isinstance(error.__cause__, DataLayerError):
            raise SessionError(f"{path} has no layer {layer!r}; take the file that was written for answers.") from error
        raise
    if where is not None and where.crs and meta["crs"] and not same_crs(where.crs, wkt_of(meta["crs"])):
        raise SessionError(
            f"{path} is in another coordinate reference system than the scene; save it in that of the scene."
        )
    values = dict(zip(map(str, meta["fields"]), columns, strict=True))
    texts = [text_of(value) for value in values.pop(OTHER, [None] * len(fids))]
    for name in FIELDS:
        if name not in values or np.asarray(values[name]).dtype.kind not in "fiu":
            lacks = "holds no numbers" if name in values else "is missing"
            raise SessionError(
                f"{path}: the field {name} {lacks}; take the file as it was written, and keep its fields."
            )
    ids, given, points = (np.asarray(values[name], np.float64) for name in FIELDS)
    expected = points[np.isfinite(points)]
    asked = np.isfinite(ids)
    if len(expected) and int(asked.sum()) != int(expected[0]):
        raise SessionError(
            f"{path} has {int(asked.sum())} of its {int(expected[0])} points; points were deleted or copied. Leave the "
            "class of a point empty instead, and take the file as it was written."
        )
    shapes = shapely.from_wkb(geometries)
    answered = [number for number in np.flatnonzero(asked) if texts[number] or not np.isnan(given[number])]
    moved = sum(pixel_at(shapes[number], shape, where) != int(ids[number]) for number in answered)
    if moved > 1 and 2 * moved > len(answered):
        raise SessionError(
            f"{path}: {moved} of {len(answered)} answered points don't lie in the pixels of this scene that they were "
            "written for: it is a file of another scene; take the one of this scene."
        )
    found: dict[int, int | str | None] = {}
    for number, fid in enumerate(np.asarray(fids).tolist()):
        if np.isnan(given[number]) and not texts[number]:
            continue
        name = f"{path}: the point with fid {fid}"
        pixel = pixel_at(shapes[number], shape, where)
        if asked[number] and pixel != int(ids[number]):
            row, column = divmod(int(ids[number]), shape[1])
            raise SessionError(
                f"{name} was moved from its pixel {int(ids[number])} (row {row}, column {column}); move it back."
            )
        if pixel is None:
            raise SessionError(f"{name} lies outside of the scene; delete it, or move it inside.")
        label = answer_of(name, given[number], texts[number], classes)
        if pixel in found and found[pixel] != label:
            raise SessionError(f"{name} gives pixel {pixel} another class than a point before it; delete one of them.")
        found[pixel] = label
    return Returned(frozenset(ids[asked].astype(np.int64).tolist()), found)


def answer_of(name: str, given: float, text: str, classes: Collection[int]) -> int | str | None:
    """Return the answer of a point, given its class (NaN = none) and the text of its field `other`.

    Raises:
        SessionError: The class is unknown, or there is a text beside it.
    """
    if text and not np.isnan(given):
        raise SessionError(
            f"{name} has the class {given:.15g} and {text!r} in the field {OTHER}; leave one of them empty."
        )
    if given == UNSURE or folded(text) == UNSURE_NAME:
        return None
    if text:
        return text
    if not float(given).is_integer() or int(given) not in classes:
        raise SessionError(
            f"{name} has the class {given:.15g}, which there isn't; there are {', '.join(map(str, sorted(classes)))}, "
            f"and {UNSURE} for can't tell."
        )
    return int(given)


def text_of(value: object) -> str:
    """Return what is written in a field, with single spaces; nothing if it is empty, which is NaN among numbers."""
    return "" if not value or value != value else written(str(value))


def written(name: str) -> str:
    """Return a name without what can't be printed, and with single spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())


def folded(name: str) -> str:
    """Return a name as it is compared: upper and lower case, and the ways to type a letter or an apostrophe, agree."""
    plain = unicodedata.normalize("NFKC", name).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return unicodedata.normalize("NFKC", plain)


def pixel_at(point: Any, shape: tuple[int, int], where: Georeference | None) -> int | None:  # noqa: ANN401
    """Return the id of the pixel that a point lies in; None if it lies in none."""
    import shapely

    if point is None or shapely.get_num_geometries(point) != 1:
        return None
    point = shapely.get_geometry(point, 0)  # tools of QGIS make each point a collection of one
    if shapely.is_empty(point) or shapely.get_type_id(point) != 0:
        return None
    x, y = shapely.get_x(point), shapely.get_y(point)
    a, b, c, d, e, f = (Georeference("", PIXELS) if where is None else where).inverse
    column, row = np.floor(a * x + b * y + c), np.floor(d * x + e * y + f)
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        return None
    return int(row) * shape[1] + int(column)


def write_style(path: Path, classes: Sequence[LabelClass]) -> Path:
    """Write a style of QGIS (.qml): points in the colours of the classes, and `class` as a list of names.

    Raises:
        OSError: The file can't be written.
    """
    entries = [*((one.value, one.name, one.colour) for one in classes), (UNSURE, UNSURE_NAME, GREY)]
    categories = "".join(
        f'      <category render="true" value="{value}" type="integer" symbol="{number}" label={quoteattr(name)}/>\n'
        for number, (value, name, _) in enumerate(entries)
    )
    categories += f'      <category render="true" value="" symbol="{len(entries)}" label="not answered"/>\n'
    symbols = "".join(symbol(number, colour) for number, (_, _, colour) in enumerate(entries))
    symbols += symbol(len(entries), "#ffffff")
    options = "".join(
        f'              <Option type="Map"><Option type="QString" name={quoteattr(name)} value="{value}"/></Option>\n'
        for value, name, _ in entries
    )
    text = (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n'
        '<qgis version="3.22" styleCategories="Symbology|Fields">\n'
        '  <renderer-v2 type="categorizedSymbol" attr="class" forceraster="0" enableorderby="0">\n'
        f"    <categories>\n{categories}    </categories>\n    <symbols>\n{symbols}    </symbols>\n  </renderer-v2>\n"
        '  <fieldConfiguration>\n    <field name="class">\n      <editWidget type="ValueMap">\n        <config>\n'
        '          <Option type="Map">\n            <Option type="List" name="map">\n'
        f"{options}            </Option>\n          </Option>\n"
        "        </config>\n      </editWidget>\n    </field>\n  </fieldConfiguration>\n</qgis>\n"
    )
    return replace_text(path, text)


def symbol(number: int, colour: str) -> str:
    """Return a round marker of a style."""
    red, green, blue = rgb_of(colour)
    return (
        f'      <symbol type="marker" name="{number}" alpha="1">\n'
        '        <layer class="SimpleMarker" enabled="1" pass="0" locked="0">\n'
        f'          <Option type="Map"><Option type="QString" name="color" value="{red},{green},{blue},255"/>'
        '<Option type="QString" name="name" value="circle"/><Option type="QString" name="size" value="3"/>'
        '<Option type="QString" name="outline_color" value="35,35,35,255"/></Option>\n'
        f'          <prop k="color" v="{red},{green},{blue},255"/>\n          <prop k="name" v="circle"/>\n'
        '          <prop k="size" v="3"/>\n          <prop k="outline_color" v="35,35,35,255"/>\n'
        "        </layer>\n      </symbol>\n"
    )
