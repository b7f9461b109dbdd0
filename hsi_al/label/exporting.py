"""The files that a session leaves: map, uncertainty and labels for QGIS, and a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsi_al.errors import HsiAlError, sentence
from hsi_al.files import replace_text
from hsi_al.label.exchange import read_query, write_labels, write_query
from hsi_al.label.mapping import Map
from hsi_al.label.session import Refused, Session
from hsi_al.methods.registry import method_of
from hsi_al.pool.answers import Assessment, LabelClass
from hsi_al.report.pages import (
    bullets,
    estimates,
    heading,
    legend,
    made_by,
    page,
    paragraph,
    picture,
    strong,
)
from hsi_al.report.palette import rgb_of
from hsi_al.scenes.georaster import write_class_map, write_uncertainty
from hsi_al.scenes.georeference import require_geo

FOLDER = "export"  # in the session's folder


def export(session: Session, folder: Path | None = None) -> list[Path]:
    """Write the files of a session; earlier ones are replaced, each as a whole.

    Args:
        session: The session.
        folder: Folder of the files; None = `export` in that of the session.

    Returns:
        The files written: `map.tif`, `map.tif.aux.xml` and `map.qml`, `uncertainty.tif` (if the learner gives
        probabilities), `labels.gpkg` and `query.gpkg` with their styles, `report.html`.

    Raises:
        Refused: There is no complete map yet, the folder is a run directory, or its `query.gpkg` holds answers that the
            session doesn't have.
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
    scene, where = session.scene, session.scene.georeference
    shape = scene.height, scene.width
    if (folder / "meta.json").exists():
        raise Refused(f"{folder} is a run directory, whose map this would replace; choose another folder.", 409)
    require_taken(session, folder / "query.gpkg")
    folder.mkdir(parents=True, exist_ok=True)
    names = {value: found.name for value, found in classes.items()}
    colours = {value: rgb_of(found.colour) for value, found in classes.items()}
    values = map_.classes.reshape(shape)
    written = write_class_map(folder / "map.tif", values, where, names, colours)
    if map_.uncertainty is not None:
        uncertainty = np.where(map_.classes > 0, map_.uncertainty, np.float32(np.nan)).reshape(shape)
        written.append(write_uncertainty(folder / "uncertainty.tif", uncertainty, where))
    written += write_labels(folder / "labels.gpkg", given, classes, scene.width, where)
    written += write_query(
        folder / "query.gpkg", asked, list(classes.values()), scene.width, where, session=session.identity
    )
    replace_text(folder / "report.html", report_html(session, map_, classes))
    return [*written, folder / "report.html"]


def require_taken(session: Session, path: Path) -> None:
    """Raise Refused if a file of questions holds answers that the session lacks, which an export would delete."""
    if not path.exists():
        return
    way_out = f"take them in by python -m hsi_al.label ... --labels {path}, or move the file away, and export again."
    scene = session.scene
    with session.lock:
        # One that was taken before is no news, also where it has been corrected since.
        known = {(pixel, answer.value) for pixel, answer in session.answers.given.items()}
        known |= set(session.answers.taken.items())
        try:
            shape = scene.height, scene.width
            found = read_query(path, session.answers, shape, scene.georeference, session.identity)
        except HsiAlError as error:
            told = f"{path} may hold answers, but can't be read: {sentence(error)} Or move it away."
            raise Refused(told, 409) from error
    if lost := [answer for answer in found if answer not in known]:
        raise Refused(f"{path} holds {len(lost):,} answers that the session doesn't have; {way_out}", 409)


def report_html(session: Session, map_: Map, classes: Mapping[int, LabelClass]) -> str:
    """Return the report of a session: map, legend, areas, accuracy, and what was done; it needs no other file."""
    scene = session.scene
    with session.lock:
        answers = session.answers
        counts, agreements = answers.counts(), session.agreements
        skipped = sum(answer.value is None for answer in answers.given.values())
        queries, times = list(answers.queries), sorted(answer.time for answer in answers.given.values())
        assessment = answers.assessment
        people = sorted({answer.who for answer in answers.given.values()} - {""})
        accuracy = None if assessment is None else session.assessed()
    names = {value: found.name for value, found in classes.items()}
    colours = {value: rgb_of(found.colour) for value, found in classes.items()}
    mapped = {value: int(n) for value, n in enumerate(map_.counts) if value and n}
    hectares = scene.georeference.hectares if scene.georeference else None
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
        made_by(),
    ]
    return page(
        f"{scene.name}: map and accuracy",
        picture(map_.classes.reshape(scene.height, scene.width), colours),
        heading("Classes"),
        legend(names, colours, mapped, hectares, counts),
        paragraph(
            "These numbers are those of the map, and as wrong as it is; areas below, if there are any, are corrected."
        ),
        heading("Accuracy"),
        *accuracy_parts(accuracy, assessment, assessment is not None and is_of(map_, assessment, session.folder)),
        heading("What was done"),
        bullets(done),
    )


def is_of(map_: Map, assessment: Assessment, folder: Path) -> bool:
    """Return whether a map is the one that an assessment is about, which lies in the session's folder."""
    try:
        with h5py.File(folder / assessment.map_file) as file:
            return np.array_equal(np.ravel(file["class_map"]), map_.classes)
    except (OSError, KeyError):  # somebody has removed it
        return False


def accuracy_parts(accuracy: Mapping[str, Any] | None, assessment: Assessment | None, is_above: bool) -> list[str]:
    """Return the part of the report about an assessment; `is_above` says whether the report shows its map."""
    if accuracy is None or assessment is None:
        return [
            paragraph(
                "Not assessed. Labels that were asked for are no fair sample: only an assessment, which asks pixels "
                "drawn at random, tells how accurate the map is."
            )
        ]
    kept = f"the map from {assessment.n_labelled} labels, kept in the session's folder as {assessment.map_file}"
    which = f"Of {kept}." if is_above else strong(f"These numbers are about {kept}, not about the one above.")
    return [paragraph(which), *estimates(accuracy)]
