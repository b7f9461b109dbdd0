"""The files that a session leaves: map, uncertainty and labels for QGIS, and a report."""

import base64
import html
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsi_al import __version__
from hsi_al.files import replacing
from hsi_al.label.exchange import write_labels, write_query
from hsi_al.label.mapping import Map
from hsi_al.label.session import Refused, Session
from hsi_al.label.tiles import png
from hsi_al.methods.registry import method_of
from hsi_al.pool.answers import Assessment, LabelClass
from hsi_al.report.palette import rgb_of
from hsi_al.scenes.georaster import write_class_map, write_uncertainty
from hsi_al.scenes.georeference import require_geo

FOLDER = "export"  # in the session's folder
MOST_PICTURE = 1200  # pixels a side


def export(session: Session, folder: Path | None = None) -> list[Path]:
    """Write the files of a session; earlier ones are replaced, each as a whole.

    Args:
        session: The session.
        folder: Folder of the files; None = `export` in that of the session.

    Returns:
        The files written: `map.tif`, `map.tif.aux.xml` and `map.qml`, `uncertainty.tif` (if the learner gives
        probabilities), `labels.gpkg` and `query.gpkg` with their styles, `report.html`.

    Raises:
        Refused: There is no complete map yet.
        SceneError: The extra `geo` is missing.
        OSError: A file can't be written.
    """
    require_geo("An export")
    with session.computing:
        return written_files(session, folder or session.folder / FOLDER)


def written_files(session: Session, folder: Path) -> list[Path]:
    """Write the files of `export` while no model is fitted."""
    with session.lock:
        map_, given = session.map, dict(session.answers.given)
        classes, asked = dict(session.answers.classes), list(session.open_pixels)
    if map_ is None or not map_.complete:
        raise Refused(
            "There is no map to export yet; label pixels of two classes or more, and wait until all is mapped.", 409
        )
    folder.mkdir(parents=True, exist_ok=True)
    scene, where = session.scene, session.scene.georeference
    shape = scene.height, scene.width
    names = {value: found.name for value, found in classes.items()}
    colours = {value: rgb_of(found.colour) for value, found in classes.items()}
    values = map_.classes.reshape(shape)
    written = write_class_map(folder / "map.tif", values, where, names, colours)
    if map_.uncertainty is not None:
        uncertainty = np.where(map_.classes > 0, map_.uncertainty, np.float32(np.nan)).reshape(shape)
        written.append(write_uncertainty(folder / "uncertainty.tif", uncertainty, where))
    written += write_labels(folder / "labels.gpkg", given, classes, scene.width, where)
    written += write_query(folder / "query.gpkg", asked, list(classes.values()), scene.width, where)
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(report_html(session, map_, classes), encoding="utf-8")
    return [*written, folder / "report.html"]


def report_html(session: Session, map_: Map, classes: Mapping[int, LabelClass]) -> str:
    """Return the report of a session: map, legend, areas, accuracy, and what was done; it needs no other file."""
    scene, esc = session.scene, html.escape
    with session.lock:
        answers = session.answers
        counts, agreements = answers.counts(), session.agreements
        skipped = sum(answer.value is None for answer in answers.given.values())
        queries, times = list(answers.queries), sorted(answer.time for answer in answers.given.values())
        assessment = answers.assessment
        people = sorted({answer.who for answer in answers.given.values()} - {""})
        accuracy = None if assessment is None else session.assessed()
    shares = map_.shares(list(classes))
    legend = "".join(
        f'<tr><td><span class="box" style="background:{esc(found.colour)}"></span>{esc(found.name)}</td>'
        f"<td>{value}</td><td>{counts[value]}</td><td>{100 * shares[value]:.1f} %</td></tr>"
        for value, found in sorted(classes.items())
    )
    done = [
        f"Scene {scene.name}: {scene.height} x {scene.width} pixels, {scene.n_bands} bands.",
        f"{sum(counts.values())} pixels labelled, {skipped} could not be told, {len(queries)} queries"
        + (f", by {', '.join(people)}" if people else "")
        + (f", from {times[0][:16]} to {times[-1][:16]} UTC." if times else "."),
        f"Map by {method_of(session.config).title} from {map_.n_labelled} labels"
        + (", before the latest answers or corrections" if session.due else "")
        + "; pixels were proposed by "
        f"{session.config.acquisition.name}.",
        *([f"Agreement of the last two maps: kappa {agreements[-1]:.3f}."] if agreements else []),
        f"hsi_al {__version__}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC.",
    ]
    picture = base64.b64encode(picture_of(map_, classes, scene.height, scene.width)).decode()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{esc(scene.name)}: map and accuracy</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{esc(scene.name)}</h1>\n"
        f'<img src="data:image/png;base64,{picture}" alt="The map: classes in the colours of the table below">\n'
        "<h2>Classes</h2>\n<table><tr><th>class</th><th>value</th><th>labels</th><th>share of the map</th></tr>"
        f"{legend}</table>\n"
        "<p>The share of the map is as wrong as the map is; the area below, if there is one, is corrected.</p>\n"
        f"{accuracy_html(accuracy, assessment, assessment is not None and is_of(map_, assessment, session.folder))}"
        "<h2>What was done</h2>\n<ul>" + "".join(f"<li>{esc(line)}</li>" for line in done) + "</ul>\n</body></html>\n"
    )


def is_of(map_: Map, assessment: Assessment, folder: Path) -> bool:
    """Return whether a map is the one that an assessment is about, which lies in the session's folder."""
    try:
        with h5py.File(folder / assessment.map_file) as file:
            return np.array_equal(np.ravel(file["class_map"]), map_.classes)
    except (OSError, KeyError):  # somebody has removed it
        return False


def accuracy_html(accuracy: Mapping[str, Any] | None, assessment: Assessment | None, is_above: bool) -> str:
    """Return the part of the report about an assessment; `is_above` says whether the report shows its map."""
    title = "<h2>Accuracy</h2>\n"
    if accuracy is None or assessment is None:
        return (
            f"{title}<p>Not assessed. Labels that were asked for are no fair sample: only an assessment, which asks "
            "pixels drawn at random, tells how accurate the map is.</p>\n"
        )
    esc = html.escape
    columns = ("class", "pixels", "user's", "producer's", "mapped", "area", "ha")
    head = "<tr>" + "".join(f"<th>{column}</th>" for column in columns) + "</tr>"
    rows = "".join(
        f"<tr><td>{esc(found['name'])}</td><td>{found['n']}</td><td>{percent(found['users'])}</td>"
        f"<td>{percent(found['producers'])}</td><td>{100 * found['mapped_share']:.1f} %</td>"
        f"<td>{percent(found['area'])}</td><td>{amount(found['hectares'])}</td></tr>"
        for found in accuracy["classes"]
    )
    kept = f"the map from {assessment.n_labelled} labels, kept in the session's folder as {esc(assessment.map_file)}"
    which = f"<p>Of {kept}.</p>\n"
    if not is_above:
        which = f"<p><strong>These numbers are about {kept}, not about the one above.</strong></p>\n"
    notes = "".join(f"<li>{esc(note)}</li>" for note in accuracy["notes"])
    overall = f"<p>Overall accuracy: {percent(accuracy['overall'])}</p>\n"
    return f"{title}{which}{overall}<table>{head}{rows}</table>\n<ul>{notes}</ul>\n"


def percent(found: Mapping[str, Any] | None) -> str:
    """Return an estimate in per cent with its interval."""
    if found is None:
        return "unknown"
    text = f"{100 * found['estimate']:.1f} %"
    interval = found["interval"]
    return text if interval is None else f"{text} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def amount(found: Mapping[str, Any] | None) -> str:
    """Return an area with its interval, with as many digits as tell areas below a hectare apart."""
    if found is None:
        return ""
    interval = found["interval"]
    largest = max([found["estimate"], *(interval or [])])
    digits = 1 if largest >= 10 else 2 if largest >= 1 else 4
    text = f"{found['estimate']:,.{digits}f}"
    return text if interval is None else f"{text} ({interval[0]:,.{digits}f} to {interval[1]:,.{digits}f})"


def picture_of(map_: Map, classes: Mapping[int, LabelClass], height: int, width: int) -> bytes:
    """Return the map as PNG, thinned to `MOST_PICTURE` pixels a side."""
    step = max(1, math.ceil(max(height, width) / MOST_PICTURE))
    table = np.full((256, 3), 242, np.uint8)
    for value, found in classes.items():
        table[value] = rgb_of(found.colour)
    shown = table[map_.classes.reshape(height, width)[::step, ::step]]
    larger = max(1, 600 // max(shown.shape[:2]))
    return png(np.ascontiguousarray(shown.repeat(larger, axis=0).repeat(larger, axis=1)))


STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}"
    "img{max-width:100%;height:auto;border:1px solid #999;image-rendering:pixelated}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:left}"
    ".box{display:inline-block;width:1em;height:1em;margin-right:.5em;border:1px solid #333;vertical-align:-.1em}"
)
