"""Labels from points and polygons, such as training areas digitised in QGIS or Google Earth (GeoPackage, KML, ...).

A point labels the pixel that it lies in, a polygon those whose centres lie inside. Tables (.csv) do as well, whose
first line names columns `lon` and `lat`, in degrees of WGS 84, or `x` and `y`, or `wkt`. Needs the extra `geo`.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import reading
from hsi_al.scenes.checks import Labels
from hsi_al.scenes.georeference import Georeference, name_of_crs, require_geo
from hsi_al.scenes.readers import existing_file
from hsi_al.scenes.shapes import POINTS, POLYGONS, Told, burnt, extent, in_pixels, valid, wkt_of
from hsi_al.scenes.tables import TABLE, columns_of

NAMED = {".kml": "Name", ".kmz": "Name"}  # what Google Earth calls a place
SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", *NAMED, TABLE)
UNREAD = (".gml", ".gpx", ".xlsx", ".dxf", ".tab", ".mif", ".sqlite", ".dbf", ".shx", ".prj")
FOLDER = "Folder"  # instead of a field: the folder that a place lies in
MOST_CLASSES, MOST_KML = 2**16, 2**27  # bytes
MANY_CLASSES = 12
CLASSES = "OUfiub"  # kinds of values
UNREADABLE = "{} can't be read as points and polygons: it is damaged or not what its name says; export it again."


@dataclass
class Drawn:
    """Labels of a scene from points and polygons.

    Attributes:
        labels: Label values, (H, W), 0 = unlabelled.
        names: Label value -> text of the class, where the field holds text.
        notices: What was dropped, repaired or assumed, one sentence each.
    """

    labels: Labels
    names: dict[int, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def is_vector(path: Path) -> bool:
    """Return whether a file's name is that of points and polygons.

    Raises:
        SceneError: It is one of a kind that isn't read.
    """
    if path.suffix.lower() in UNREAD:
        raise SceneError(
            f"{path}: points and polygons are read from {', '.join(SUFFIXES)}; export it as one of these (in QGIS: "
            "Export, Save Features As)."
        )
    return path.suffix.lower() in SUFFIXES


@np.errstate(over="ignore", invalid="ignore")  # coordinates far beyond the scene overflow in shapely
def drawn_labels(
    path: Path, layer: str | None, label_field: str | None, where: Georeference | None, shape: tuple[int, int]
) -> Drawn:
    """Draw the points and polygons of a file into the grid of a scene.

    Text classes are numbered from 1 in alphabetical order; where all texts are whole numbers, as fields of text in QGIS
    often hold, they are taken as numbers. Pixels that two classes claim stay unlabelled.

    Args:
        path: The file.
        layer: Its layer; None = the only one.
        label_field: Field with the class: whole numbers from 1 (0 = unlabelled) or text; None = the only field.
        where: The scene's; None = unknown.
        shape: Rows and columns of the scene.

    Raises:
        SceneError: The file can't be read, the field is missing or holds no classes, the scene isn't georeferenced, or
            no feature labels a pixel of it.
    """
    require_geo(f"{path} holds points or polygons, which")
    existing_file(path)
    if where is None:
        raise SceneError(
            f"{path} holds points or polygons, but the cube's file doesn't say where the scene lies; give a "
            "georeferenced cube (ENVI with map info, GeoTIFF), or the labels as an array (rows, columns)."
        )
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    with reading(path):
        require_parts(path)
        try:
            crs, fids, geometries, values, chosen = _features(path, layer, label_field)
        except (DataSourceError, DataLayerError) as error:
            raise SceneError(UNREADABLE.format(path)) from error
        shapes = np.asarray(shapely.from_wkb(geometries, on_invalid="ignore"), object)
    result = Drawn(np.zeros(shape, np.uint8))
    is_table = path.suffix.lower() == TABLE
    tell = Told(path, "line", fids + 1, result.notices) if is_table else Told(path, "fid", fids, result.notices)
    numbers, result.names, kept = _classes(tell, chosen, values)
    classes = np.unique(numbers[kept]).tolist()
    kept &= _usable(tell, shapes)
    shapes, numbers = shapes[kept], numbers[kept]
    tell = tell.of(kept)
    shapes, moved = in_pixels(tell, shapes, crs, where)
    shapes, numbers, tell = shapes[moved], numbers[moved], tell.of(moved)
    shapes = valid(tell, shapes)
    outside = ~shapely.intersects(shapes, shapely.box(0, 0, shape[1], shape[0]))
    tell("features", outside, "lie outside of the scene")
    if outside.all():
        dropped = " ".join(notice.removeprefix("Warning: ") for notice in result.notices)
        why = extent(shapes) or (f" ({dropped.rstrip('.')})" if dropped else "")
        raise SceneError(
            f"{path}: none of its {len(values):,} features lies in the scene with a class{why}; check its "
            "coordinate reference system and the field with the classes."
        )
    result.labels = burnt(tell.of(~outside), shapes[~outside], numbers[~outside], shape, result.names)
    left = set(np.unique(result.labels).tolist())
    without = [result.names.get(value, str(value)) for value in classes if value not in left]
    if without:
        some = ", ".join(without[:6]) + (f" and {len(without) - 6:,} more" if len(without) > 6 else "")
        kind = "class" if len(without) == 1 else "classes"
        result.notices.append(f"Warning: no pixel of the scene is left of the {kind} {some} of {path}.")
    return result


def require_parts(path: Path) -> None:
    """Raise SceneError if a shapefile lacks the files that belong to it, or a .kmz is none or unpacks to much."""
    if path.suffix.lower() == ".kmz":
        try:
            with zipfile.ZipFile(path) as packed:
                n_bytes = sum(item.file_size for item in packed.infolist() if item.filename.lower().endswith(".kml"))
        except zipfile.BadZipFile as error:
            raise SceneError(UNREADABLE.format(path)) from error
        if n_bytes > MOST_KML:
            raise SceneError(f"{path} unpacks to {n_bytes:,} bytes of KML, too many to be read; export it in QGIS.")
    if path.suffix.lower() != ".shp":
        return
    there = {place.name.lower() for place in path.parent.iterdir()}
    for suffix in (".dbf", ".shx"):
        if f"{path.stem}{suffix}".lower() not in there:
            raise SceneError(
                f"{path} has no {path.stem}{suffix} beside it: a shapefile is several files of one name (.shp, .dbf, "
                ".shx, .prj); copy all of them."
            )


def layers_in(path: Path) -> list[str]:
    """Return the layers of a file of points and polygons; tables in it, such as that of styles by QGIS, are none."""
    import pyogrio

    is_table = path.suffix.lower() == TABLE
    return [str(name) for name, kind in pyogrio.list_layers(path) if is_table or kind is not None]


class Layer(NamedTuple):
    """What a layer of points and polygons holds.

    Attributes:
        name: Its name.
        kind: Kind of its geometries, such as Point.
        n_features: Number of its features.
        crs: Code or name of its coordinate reference system.
        fields: Field -> its different values and how often each occurs; those that are empty or hold other things than
            numbers and text are left out.
        class_field: Field with the classes if none is named; None = one has to be named.
    """

    name: str
    kind: str
    n_features: int
    crs: str
    fields: dict[str, Counter[str]]
    class_field: str | None


def described(path: Path) -> list[Layer]:
    """Look through the layers of a file of points and polygons.

    Raises:
        SceneError: The file can't be read, or a library is missing.
    """
    require_geo(f"{path} holds points or polygons, which")
    existing_file(path)
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read

    with reading(path):
        require_parts(path)
        try:
            is_table = path.suffix.lower() == TABLE
            options, crs = columns_of(path) if is_table else ({}, None)
            kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(path)}
            found = []
            for name in layers_in(path):
                meta, fids, _, columns = read(path, layer=name, read_geometry=False, return_fids=True, **options)
                names, system = [str(field) for field in meta["fields"]], meta["crs"] or crs
                fields = {
                    field: Counter(text for value in values.tolist() if (text := _text(value)))
                    for field, values in zip(names, columns, strict=True)
                    if values.dtype.kind in CLASSES
                }
                found.append(
                    Layer(
                        name,
                        "table" if is_table else kinds[name].replace("Unknown", "of several kinds"),
                        len(fids),
                        name_of_crs(wkt_of(system) if system else ""),
                        {field: values for field, values in fields.items() if values},
                        class_field_of(path, names),
                    )
                )
        except (DataSourceError, DataLayerError) as error:
            raise SceneError(UNREADABLE.format(path)) from error
    return found


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, np.ndarray | list):
        return ", ".join(map(_text, value))
    return "" if value is None or value != value else str(value).strip()


def class_field_of(path: Path, names: Sequence[str]) -> str | None:
    """Return the field with the classes if none is named: the only one, or the places' names; None = it isn't clear."""
    usual = NAMED.get(path.suffix.lower())
    return usual if usual in names else names[0] if len(names) == 1 else None


def _features(
    path: Path, layer: str | None, label_field: str | None
) -> tuple[Any, NDArray[np.int64], NDArray[Any], NDArray[Any], str]:
    """CRS, numbers of the features, geometries as WKB, values of the field, name of the field."""
    import pyogrio
    from pyogrio.raw import read

    layers, suffix = layers_in(path), path.suffix.lower()
    if layer is not None and layer not in layers:
        raise SceneError(f"{path} has no layer {layer!r}; it has {', '.join(layers) or 'none'}.")
    if layer is None and len(layers) > 1 and suffix in NAMED:  # folders of places
        filled = [one for one in layers if pyogrio.read_info(path, layer=one, force_feature_count=True)["features"]]
        by_folder = label_field == FOLDER
        parts = [_features(path, one, None if by_folder else label_field) for one in filled or layers[:1]]
        if by_folder:
            named = [np.full(len(part[1]), one, object) for part, one in zip(parts, filled, strict=True)]
            parts = [(*part[:3], values, FOLDER) for part, values in zip(parts, named, strict=True)]
        crs, fids, geometries, values, fields = zip(*parts, strict=True)
        return crs[0], np.concatenate(fids), np.concatenate(geometries), np.concatenate(values), fields[0]
    if layer is None and len(layers) > 1:
        raise SceneError(
            f"{path} has the layers {', '.join(layers)}; name one by dataset.ground_truth_key, that of a test "
            "file by dataset.test_key."
        )
    if not layers:
        raise SceneError(f"{path} holds no feature; draw some, or leave dataset.ground_truth_file out.")
    layer = layers[0] if layer is None else layer
    options, system = columns_of(path) if suffix == TABLE else ({}, None)
    names = [str(name) for name in pyogrio.read_info(path, layer=layer, **options)["fields"]]
    chosen = class_field_of(path, names) if label_field is None else label_field
    if chosen is None:
        has = f"has the fields {', '.join(names)}; name the one" if names else "has no field; add one"
        raise SceneError(f"{path} {has} with the classes by dataset.label_field.")
    if chosen not in names:
        raise SceneError(
            f"{path} has no field dataset.label_field={chosen}; it has {', '.join(names) or 'no field at all'}."
        )
    meta, fids, geometries, columns = read(
        path, layer=layer, columns=[chosen], force_2d=True, return_fids=True, **options
    )
    if geometries is None or not len(geometries):
        raise SceneError(f"{path} holds no feature; draw some, or leave dataset.ground_truth_file out.")
    return meta["crs"] or system, np.asarray(fids), geometries, np.asarray(columns[0]), chosen


def as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return texts (n,) as numbers, NaN where there is none, if all are whole numbers; anything else as it is."""
    if values.dtype.kind not in "OU":
        return values
    texts = [_text(value) for value in values]
    if not any(texts) or not all(re.fullmatch(r"[0-9]{1,9}(\.0*)?|", text) for text in texts):
        return values
    return np.array([float(text) if text else np.nan for text in texts])


def alike_notices(path: Path, names: Iterable[str]) -> list[str]:
    """Return a sentence for class names that differ in upper and lower case or spaces only, which are mostly slips."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    more = f", and {len(alike) - 4:,} more" if len(alike) > 4 else ""
    return [
        f"Warning: class names of {path} differ in upper and lower case or spaces only, and count as different "
        f"classes: {'; '.join(alike[:4])}{more}. If they are one class, give them one name."
    ]


def _classes(
    tell: Told, chosen: str, values: NDArray[Any]
) -> tuple[NDArray[np.int64], dict[int, str], NDArray[np.bool_]]:
    """Label value of every feature, names of text classes, and which features have a class."""
    path = tell.path
    values = as_numbers(values)
    if values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
        without = np.isnan(numbers) | (numbers == 0)
        wrong = ~without & ((numbers < 0) | (numbers != np.floor(numbers)) | (numbers > 2**31 - 1))
        if wrong.any():
            raise SceneError(
                f"{path}: the field {chosen} of a feature ({tell.counted} {tell.fids[wrong][0]}) is "
                f"{numbers[wrong][0]:g}, and {wrong.sum():,} in all are no whole numbers from 0; correct them, or name "
                "a field with text classes."
            )
        names: dict[int, str] = {}
        found = np.where(without, 0, numbers).astype(np.int64)
    elif values.dtype.kind in CLASSES:
        text = np.array([_text(value) for value in values], object)
        without = text == ""
        known = sorted(set(text[~without]))
        if len(known) > MOST_CLASSES:
            raise SceneError(
                f"{path}: the field {chosen} holds {len(known):,} different texts; name the field with the classes."
            )
        tell.notices.extend(alike_notices(path, known))
        if len(known) > MANY_CLASSES and 2 * len(known) > np.count_nonzero(~without):
            folder = f", or dataset.label_field={FOLDER} for the names of the folders" if chosen == "Name" else ""
            tell.notices.append(
                f"Warning: the field {chosen} of {path} holds {len(known):,} different classes in "
                f"{np.count_nonzero(~without):,} features; if these are no classes, name another field by "
                f"dataset.label_field{folder}."
            )
        names = dict(enumerate(known, start=1))
        place = {name: value for value, name in names.items()} | {"": 0}
        found = np.array([place[name] for name in text], np.int64)
    else:
        raise SceneError(
            f"{path}: the field {chosen} holds values of type {values.dtype}, whole numbers or text are needed; name "
            "another field by dataset.label_field."
        )
    tell("features", without, f"have no class in the field {chosen}")
    return found, names, ~without


def _usable(tell: Told, shapes: NDArray[Any]) -> NDArray[np.bool_]:
    """Which features have a geometry that labels pixels."""
    import shapely

    missing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    usable = np.isin(shapely.get_type_id(shapes), (*POINTS, *POLYGONS))
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    tell("features", missing, "have no geometry")
    tell("features", ~missing & ~usable, "are neither points nor polygons")
    tell("features", ~missing & usable & ~finite, "have coordinates that are no numbers")
    kept: NDArray[np.bool_] = usable & ~missing & finite
    return kept
