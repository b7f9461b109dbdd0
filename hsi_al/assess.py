"""How accurate a class map is, and how large its classes are: `python -m hsi_al.assess MAP`.

Draws pixels at random from every class of the map and writes them as points into `check.gpkg`, to be answered in QGIS
without seeing the map. With `--answers check.gpkg` it reads the answers and writes `accuracy.json` and `report.html`:
accuracies and areas with 95 % intervals. Any raster of classes will do; 0 = not mapped. Needs the extra `geo`. For exit
codes see `hsi_al.cli.console`.
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.cli.console import complain, guarded
from hsi_al.errors import SceneError, SessionError
from hsi_al.files import replace_text, replacing
from hsi_al.label.assessment import drawn, report, require_sample
from hsi_al.label.exchange import OTHER, folded, returned, write_query, written
from hsi_al.manifest import read_sealed, sealed
from hsi_al.pool.answers import LabelClass
from hsi_al.randomness import generator
from hsi_al.report.pages import bullets, estimates, heading, made_by, page, percent, picture
from hsi_al.report.palette import GREY, colour_of, hex_of, rgb_of
from hsi_al.report.run_files import class_counts
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.checks import whole_labels
from hsi_al.scenes.checksums import checksum
from hsi_al.scenes.georaster import write_class_map
from hsi_al.scenes.georeference import Georeference, require_geo
from hsi_al.scenes.readers import existing_file, opened_rows
from hsi_al.scenes.stored import is_any_of
from hsi_al.scenes.truth import zero_warnings
from hsi_al.terminal import printable
from hsi_al.version import VERSION

LAYER = "check"
FORMAT = "hsi_al check 1"
POINTS = "check.gpkg"
CHECK = "check.json"  # what was drawn
COPY = "checked-map.tif"  # of the map, which may be written anew before all points are answered
RESULTS = ("accuracy.json", "report.html")
READ_BYTES = 2**26
MOST_CLASSES = 1000
LARGEST = (255, 65535, 2**32 - 1)  # of number types: files often use them for pixels without data


@dataclass(frozen=True)
class ClassMap:
    """A map of classes.

    Attributes:
        path: Its file.
        values: Label values, (H, W), in the smallest unsigned integer type; 0 = not mapped.
        counts: Label value -> pixels.
        classes: Names and colours of the classes that the map has.
        where: Where it lies; None = unknown.
    """

    path: Path
    values: NDArray[np.unsignedinteger[Any]]
    counts: dict[int, int]
    classes: list[LabelClass]
    where: Georeference | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.values.shape
        return height, width


def read_map(path: Path, key: str | None = None, no_data: Sequence[float] = ()) -> ClassMap:
    """Read a class map part by part.

    Args:
        path: A raster, HDF5 file or array of whole numbers, (H, W) or (H, W, 1).
        key: Key of the map; None = the only array of the file.
        no_data: Values that mean that a pixel is not mapped, beside 0 and what the file says.

    Raises:
        SceneError: The file can't be read, or is no class map.
    """
    with opened_rows(path, key) as rows:
        if len(rows.shape) not in (2, 3) or rows.shape[2:] not in ((), (1,)):
            raise SceneError(
                f"{path} has shape {rows.shape}, but a class map has one value a pixel; name the file of the map."
            )
        for notice in rows.notices:
            complain(notice)
        absent = [*no_data] if rows.no_data is None else [*no_data, rows.no_data]
        parts, zeros = [], 0
        for first, last in rows.blocks(READ_BYTES):
            interrupts.check()
            part = rows.read(first, last).reshape(last - first, rows.shape[1])
            zeros += int(np.count_nonzero(part == 0))
            try:
                parts.append(whole_labels(path.name, np.where(is_any_of(part, absent), part.dtype.type(0), part)))
            except SceneError as error:
                wrong = part[~is_any_of(part, absent)] if part.dtype.kind in "iuf" else np.empty(0)
                sound = (wrong >= 0) & (wrong == np.floor(wrong)) & (wrong < 2**63)
                odd = np.unique(wrong[~sound])[:3].tolist()
                shown = ", ".join(repr(int(value) if -1e9 < value == np.floor(value) < 0 else value) for value in odd)
                option = f"; if {shown} means no data, add --no-data={shown}" if len(odd) == 1 else ""
                shown = shown or f"values of type {part.dtype}"
                raise SceneError(
                    f"{path} is no class map: it holds {shown}, and classes are whole numbers from 0; name the file of "
                    f"the map{option}."
                ) from error
        values = np.concatenate(parts)
        counts = class_counts(values)
        if not counts:
            raise SceneError(f"{path} maps no pixel: all of them are 0 or without data, so there is nothing to assess.")
        if len(counts) > MOST_CLASSES:
            raise SceneError(
                f"{path} is no class map: it holds {len(counts):,} different values, and at most {MOST_CLASSES} "
                "classes can be checked; name the file of the map."
            )
        for notice in filter(None, (suspected(path, value, counts, rows.class_names or {}) for value in LARGEST)):
            complain(notice)
        for notice in zero_warnings(rows, zeros, "give its pixels another number first"):
            complain(notice)
        return ClassMap(path, values, counts, classes_of(rows, sorted(counts)), rows.georeference)


def suspected(path: Path, value: int, counts: dict[int, int], names: Mapping[int, str]) -> str | None:
    """Return a warning if a value, which files often use for pixels without data, counts as a class of the map."""
    if value not in counts or value in names or value - 1 in counts:
        return None
    return (
        f"Warning: {path} has {value} in {counts[value]:,} of {sum(counts.values()):,} pixels, and doesn't say that it "
        f"means no data; it counts as a class. If it is none, add --no-data {value}."
    )


def classes_of(rows: Rows, values: Sequence[int]) -> list[LabelClass]:
    """Return names and colours of label values, as the file says, or `class 3` and the colours of other pictures."""
    told = {value: written((rows.class_names or {}).get(value, "")) or f"class {value}" for value in values}
    names, owners = told, Counter(map(folded, told.values()))
    while len(owners) < len(names):  # of two classes of a name an answer could mean either
        names = {value: f"{name} ({value})" if owners[folded(name)] > 1 else name for value, name in names.items()}
        owners = Counter(map(folded, names.values()))
    kept = {value: rgb for value, rgb in (rows.class_colours or {}).items() if value in told}
    colours = kept if len({*kept.values()}) == len(values) else colour_of(values)  # alike ones can't be told apart
    return [LabelClass(value, names[value], "", hex_of(colours[value])) for value in values]


def draw(map_: ClassMap, n: int, seed: int, folder: Path) -> list[Path]:
    """Draw a sample of a map, and write the files of its check.

    Args:
        map_: The map.
        n: Pixels of the sample.
        seed: Another one draws other pixels.
        folder: Folder of the files; created if missing.

    Returns:
        The files written: `check.gpkg` with its style, a copy of the map, and `check.json`, which says what was drawn.

    Raises:
        SessionError: There is a check already, or the sample is too small for the classes of the map.
        OSError: A file can't be written.
    """
    if there := [name for name in (POINTS, CHECK, COPY, *RESULTS) if (folder / name).exists()]:
        raise SessionError(
            f"{folder / there[0]} exists, and a check never replaces files that may hold answers; name another "
            "--output, or move it away."
        )
    values = map_.values.ravel()
    pixels = drawn(values, n, generator(seed, "assessment", 0))
    content = {
        "format": FORMAT,
        "map": map_.path.name,
        "map_sha256": checksum(map_.values),
        "shape": list(map_.shape),
        "seed": seed,
        "mapped": {str(value): count for value, count in map_.counts.items()},
        "classes": {str(one.value): [one.name, one.colour] for one in map_.classes},
        "pixels": pixels.tolist(),
        "values": values[pixels].tolist(),
        "hsi_al": VERSION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    points, copied = folder / POINTS, folder / COPY
    names = {one.value: one.name for one in map_.classes}
    colours = {one.value: rgb_of(one.colour) for one in map_.classes}
    try:
        with replacing(folder / CHECK) as temporary:  # which replaces last
            temporary.write_text(sealed(content), encoding="utf-8")
            files = write_query(points, pixels.tolist(), map_.classes, map_.shape[1], map_.where, LAYER, has_other=True)
            files += write_class_map(copied, map_.values, map_.where, names, colours)
            interrupts.check()  # while the same command still does it all
    except BaseException:
        for path in (points, copied, copied.with_name(f"{COPY}.aux.xml")):
            for one in (path, path.with_suffix(".qml")):
                one.unlink(missing_ok=True)
        raise
    return [*files, folder / CHECK]


def frozen(path: Path, map_: ClassMap) -> dict[str, Any]:
    """Read what `draw` kept of the check of a map.

    Raises:
        SessionError: The file is missing or damaged, or is about another map.
    """
    try:
        kept = read_sealed(path, needs_seal=True)
        damaged = kept is not None and kept.get("format") != FORMAT
    except (ValueError, AttributeError, TypeError):
        kept, damaged = None, True
    if damaged:
        raise SessionError(f"{path} is damaged or of another version; restore it from a copy, or draw a new check.")
    if kept is None:
        raise SessionError(
            f"{path} is missing: it is written with {POINTS}, the answers to a check, and says what was drawn; put "
            "both into one folder, or, without --answers, draw a check."
        )
    if kept["shape"] != list(map_.shape) or kept["map_sha256"] != checksum(map_.values):
        copied = path.with_name(COPY)
        named = f"its copy {copied}" if copied.exists() else "that map"
        raise SessionError(
            f"{map_.path} is not the map that {path} was drawn from ({kept['map']}, {kept['shape'][0]} x "
            f"{kept['shape'][1]} pixels): its values differ; name {named}, or draw a new check of this one."
        )
    return kept


def assessed(map_: ClassMap, answers: Path) -> dict[str, Any]:
    """Return what the answers to a check say about its map, see `label.assessment.report`.

    Args:
        map_: The map.
        answers: The edited `check.gpkg`; `check.json` lies beside it.

    Raises:
        SessionError: No point has a class, the file belongs to another check, or as for `frozen` and
            `label.exchange.returned`.
        SceneError: A library is missing, or the file can't be read.
    """
    existing_file(answers)
    kept = frozen(answers.with_name(CHECK), map_)
    classes = {int(value): (name, colour) for value, (name, colour) in kept["classes"].items()}
    found = returned(answers, classes, map_.shape, map_.where, LAYER, has_other=True)
    sample = dict(zip(kept["pixels"], kept["values"], strict=True))
    if found.asked != sample.keys():
        raise SessionError(
            f"{answers} asks other pixels than {answers.with_name(CHECK)} says; put the two files of one check into "
            "one folder."
        )
    answered = {pixel: value for pixel, value in found.answers.items() if pixel in sample}
    if added := len(found.answers) - len(answered):
        complain(
            f"Warning: {added} points that were added to {answers} are left out: only pixels drawn at random tell how "
            "accurate a map is."
        )
    named = {folded(name): value for value, (name, _) in classes.items()}
    for text in sorted({value for value in answered.values() if isinstance(value, str)}):
        if folded(text) not in named:  # a class that the map missed
            named[folded(text)] = max(classes) + 1
            classes[max(classes) + 1] = text, GREY
    given = {pixel: named[folded(value)] if isinstance(value, str) else value for pixel, value in answered.items()}
    if not any(given.values()):
        raise SessionError(
            f'No point of {answers} has a class yet ({len(given)} are answered by "can\'t tell"); open it in QGIS and '
            "choose the class of each point."
        )
    mapped = {int(value): count for value, count in kept["mapped"].items()}
    hectares = None if map_.where is None else map_.where.hectares
    pairs = [(sample[pixel], value) for pixel, value in given.items()]
    accuracy = report(mapped, pairs, len(sample), classes, hectares)
    accuracy["notes"] += notes_of(map_, hectares)
    return {"map": kept["map"], "map_sha256": kept["map_sha256"], "seed": kept["seed"], **accuracy}


def notes_of(map_: ClassMap, hectares: float | None) -> list[str]:
    """Return what else the numbers about a map mean, in sentences."""
    notes = []
    if left := map_.values.size - sum(map_.counts.values()):
        notes.append(f"{left:,} pixels of {map_.values.size:,} are not mapped; no number is about them.")
    if hectares is None:
        notes.append(
            "Areas are shares of the pixels: the map's file doesn't say how large a pixel is, or gives its place in "
            "degrees or a Mercator projection, where pixels are smaller towards the poles."
        )
    return notes


def write_results(map_: ClassMap, accuracy: dict[str, Any], folder: Path) -> list[Path]:
    """Write `accuracy.json` and `report.html`, each as a whole; earlier ones are replaced.

    Raises:
        SessionError: There is a `report.html` of something else, such as a run.
        OSError: A file can't be written.
    """
    done = [
        f"Map {map_.path.name}: {map_.shape[0]} x {map_.shape[1]} pixels.",
        f"{accuracy['n']} pixels drawn (seed {accuracy['seed']}), {accuracy['answered'] - accuracy['skipped']} with a "
        f"class, {accuracy['skipped']} that could not be told.",
        "Estimates after P. Olofsson et al., Remote Sensing of Environment 148 (2014) 42-57.",
        made_by(),
    ]
    text = page(
        f"{map_.path.name}: accuracy",
        picture(map_.values, {one["value"]: rgb_of(one["colour"]) for one in accuracy["classes"]}),
        heading("Accuracy"),
        *estimates(accuracy),
        heading("What was done"),
        bullets(done),
    )
    written = [folder / name for name in RESULTS]
    if [path.exists() for path in written] == [False, True]:
        raise SessionError(
            f"{written[1]} is not of this check; move the answers and {CHECK} into a folder of their own."
        )
    for path, content in zip(written, (json.dumps(accuracy, indent=2) + "\n", text), strict=True):
        replace_text(path, content)
    return written


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m hsi_al.assess", description=__doc__)
    found.add_argument("map", type=Path, metavar="MAP", help="class map: map.tif, or another raster of whole numbers")
    found.add_argument("--key", help="key of the map in its file; default: the only array in the file")
    found.add_argument(
        "--no-data",
        type=float,
        action="append",
        default=[],
        metavar="VALUE",
        help="value of pixels that are not mapped, beside 0 and what the file says; may be given several times",
    )
    found.add_argument("--n", type=int, default=200, help="pixels to draw (default: 200)")
    found.add_argument("--seed", type=natural, default=0, help="another one draws other pixels (default: 0)")
    found.add_argument("--output", type=Path, help="folder of the check; default: MAP-check beside the map")
    found.add_argument("--answers", type=Path, metavar="check.gpkg", help="the answered points; results go beside them")
    return found


def check_folder(path: Path) -> Path:
    """Return the folder of the check of a map, such as `map-check` beside `map.tif`."""
    return path.with_name(f"{path.stem}-check")


def natural(text: str) -> int:
    """Parse a whole number from 0.

    Raises:
        ValueError: It is anything else; argparse turns this into its error message.
    """
    if (number := int(text)) < 0:
        raise ValueError(text)
    return number


def typed(path: Path) -> str:
    """Return a path as it is typed where it must not be taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser()
    given = options.parse_args(argv)
    if given.answers and given.output:
        options.error("results go beside the --answers; leave --output out")

    def work() -> None:
        require_geo("A check of a map")
        require_sample(given.n)
        map_ = read_map(given.map, given.key, given.no_data)
        if given.answers is None:
            folder = given.output or check_folder(given.map)
            files = draw(map_, given.n, given.seed, folder)
            how = [] if given.key is None else [f"--key={given.key}"]
            how += [f"--no-data={value:.17g}" for value in given.no_data]
            again = shlex.join(["python", "-m", "hsi_al.assess", typed(given.map), *how, "--answers", typed(files[0])])
            lines = [
                *map(str, files),
                f"Open {POINTS} in QGIS over an image of the ground, not over the map. Choose the class of each point, "
                f"or can't tell; name one that isn't in the list in the field {OTHER}. Save, then:",
                f"  {again}",
            ]
        else:
            accuracy = assessed(map_, given.answers)
            files = write_results(map_, accuracy, given.answers.parent)
            lines = [f"Overall accuracy: {percent(accuracy['overall'])}", *map(str, files)]
        for line in lines:
            print(printable(line))

    return guarded(work, way_out="run the same command again")


if __name__ == "__main__":
    sys.exit(main())
