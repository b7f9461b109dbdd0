"""The page about a map, `report.html` beside `map.tif`: picture, legend with areas, accuracy, and what was done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.accuracy import recalls
from hsi_al.config.schema import COMPLETE_MAP, GIVEN, NEW_GROUND, NEW_LABELS, question_of
from hsi_al.files import replace_text
from hsi_al.manifest import reading
from hsi_al.report.pages import (
    Html,
    bullets,
    code,
    heading,
    legend,
    made_by,
    named,
    page,
    paragraph,
    picture,
    strong,
    table,
)
from hsi_al.report.palette import colour_of
from hsi_al.report.run_files import (
    class_counts,
    meta_entries,
    read_confusions,
    read_label_counts,
    read_meta,
    read_predictions,
    thinned,
)
from hsi_al.report.series import OFF, kept_settings
from hsi_al.report.tables import read_curve
from hsi_al.scenes.georeference import Georeference

REPORT = "report.html"
CHECK = Html(
    "How accurate the map itself is, only pixels drawn at random from it can tell; in the folder of this page: "
    + code("python -m hsi_al.assess map.tif")
)
MEANINGS = {
    COMPLETE_MAP: "Labelled pixels lie next to the tested ones: this is how well the map is completed around its "
    "labels, not how well ground far from any label is mapped.",
    NEW_GROUND: "The tested pixels lie in other fields or blocks than those that were learnt from: this is how well "
    "ground without labels is mapped, of the same image.",
    NEW_LABELS: "The tested pixels lie on ground of which a few pixels were asked, apart from the initial labels.",
    GIVEN: "The tested pixels are those of the given test labels.",
}


def write_map_report(
    path: Path,
    title: str,
    class_map: NDArray[Any],
    counts: Mapping[int, int],
    names: Mapping[int, str],
    where: Georeference,
    accuracy: list[str],
    done: list[str],
) -> Path:
    """Write the page about a georeferenced map.

    Args:
        path: Such as `report.html`.
        title: Its title.
        class_map: Label values, (H, W) or thinned; 0 = not mapped.
        counts: Label value -> pixels of the whole map.
        names: Label value -> name.
        where: Where the map lies.
        accuracy: What is known of its accuracy: parts of `report.pages`.
        done: What was done, in sentences.

    Raises:
        OSError: It can't be written.
    """
    colours = colour_of(names)
    text = page(
        title,
        picture(class_map, colours),
        heading("Classes"),
        legend(names, colours, counts, where.hectares),
        paragraph("Pixels and areas are those of the map, and as wrong as the map is."),
        heading("Accuracy"),
        *accuracy,
        paragraph(CHECK),
        heading("What was done"),
        bullets([*done, f"Place: {where}."]),
    )
    return replace_text(path, text)


def write_run_report(run_dir: Path) -> Path:
    """Write the page about the map of a georeferenced run, from the files of the run.

    Returns:
        Its path, `report.html` in the run directory.

    Raises:
        RunDirectoryError: A file of the run is missing or malformed.
        OSError: The page can't be written.
    """
    meta, entries, settings = read_meta(run_dir), meta_entries(run_dir, "georeference"), kept_settings(run_dir)
    predictions = read_predictions(run_dir)
    assert predictions is not None and meta.georeference is not None  # it has a map
    filtered = predictions.filtered_map is not None
    with reading(run_dir / "predictions.h5"), h5py.File(run_dir / "predictions.h5") as file:
        counts = class_counts(file["filtered_map" if filtered else "class_map"])
    kind, new_ground = settings.get("split.kind", ""), settings.get("split.new_ground", "None") not in OFF
    question = question_of(kind, new_ground)
    labels = sum(read_label_counts(run_dir).values())
    asked = settings.get("acquisition.name", "") if len(read_curve(run_dir)) > 1 else ""
    done = [
        f"Scene {settings.get('dataset.name', '')}: {' x '.join(map(str, predictions.shape))} pixels, "
        f"{entries.get('n_bands')} bands.",
        f"Map by {meta.learner}, from {labels:,} labels; "
        + (f"pixels were proposed by {asked}." if asked not in ("", "none") else "none was asked for."),
        *(["The map was filtered afterwards: each pixel took the class of most pixels around it."] if filtered else []),
        f"Split {kind}, which asks: {question}.",
        f"Run: {meta.title}.",
        *([Html(f"Command: {code(entries['command'])}")] if "command" in entries else []),
        made_by(entries.get("git_commit")),
    ]
    shown = predictions.class_map if predictions.filtered_map is None else predictions.filtered_map
    return write_map_report(
        run_dir / REPORT,
        f"{settings.get('dataset.name', run_dir.name)}: map and accuracy",
        shown,
        counts,
        meta.class_names,
        meta.georeference,
        accuracy_of_run(run_dir, question, settings),
        done,
    )


def accuracy_of_run(run_dir: Path, question: str, settings: Mapping[str, str]) -> list[str]:
    """Return what the last round of a run says about the accuracy of its map, as parts of a page.

    Args:
        run_dir: The run directory.
        question: The question that its split asks.
        settings: Keys of its config.yaml and their values as text.

    Raises:
        RunDirectoryError: A file of the run is missing or malformed.
    """
    meta, confusions, row = read_meta(run_dir), read_confusions(run_dir), read_curve(run_dir)[-1]
    counts = confusions.heldout[-1]
    if not counts.any():
        return [paragraph("Unknown: all labels were learnt from, and none was kept apart for a test.")]
    scores = {"OA": row.oa_heldout, "AA": row.aa_heldout, "kappa": row.kappa_heldout}
    parts = [
        paragraph(
            f"On {counts.sum():,} labelled pixels that were not learnt from: overall accuracy (OA) "
            f"{share(scores['OA'])}, mean of the producer's accuracies (AA) {share(scores['AA'])}, Cohen's kappa "
            f"{'unknown' if np.isnan(scores['kappa']) else format(scores['kappa'], '.3f')}."
        ),
        paragraph(strong(f"The question is: {question}. {MEANINGS.get(question, '')}")),
    ]
    if settings.get("dataset.labels", "None") not in OFF:
        parts.append(
            paragraph(
                "The labels of a session were asked where its model was unsure: accuracies on them are not those of "
                "the map."
            )
        )
    if meta.filtered is not None and "oa_heldout" in meta.filtered:
        parts.append(
            paragraph(
                f"These numbers are those of the map before it was filtered; the overall accuracy of the filtered one "
                f"on the same pixels is {share(meta.filtered['oa_heldout'])}."
            )
        )
    colours = colour_of(meta.class_names)
    with np.errstate(invalid="ignore"):
        columns = zip(
            confusions.label_values.tolist(), counts.sum(axis=1), recalls(counts), recalls(counts.T), strict=True
        )
    rows = [
        (named(meta.class_names.get(value, str(value)), colours[value]), f"{n:,}", share(producers), share(users))
        for value, n, producers, users in columns
    ]
    return [
        *parts,
        table(("class", "tested pixels", "producer's accuracy", "user's accuracy"), rows),
        paragraph(
            "Producer's accuracy: of the tested pixels of a class, the share mapped as it. User's accuracy: of those "
            "mapped as a class, the share that is. Labelled pixels are no random sample of the map."
        ),
    ]


def share(value: float) -> str:
    """Return a share in per cent; `-` where it is undefined."""
    return "-" if np.isnan(value) else f"{100 * value:.1f} %"


def write_prediction_report(
    path: Path, cube_file: Path, run_dir: Path, class_map: NDArray[Any], where: Georeference, done: list[str]
) -> Path:
    """Write the page about the map of another cube than a run's own.

    Args:
        path: Such as `report.html`.
        cube_file: File of the cube.
        run_dir: Directory of the run whose learner mapped it.
        class_map: Label values, (H, W); 0 = not mapped.
        where: Where the map lies.
        done: What was done beside that, in sentences.

    Raises:
        RunDirectoryError: A file of the run is missing or malformed.
        OSError: The page can't be written.
    """
    meta = read_meta(run_dir)
    labels = sum(read_label_counts(run_dir).values())
    return write_map_report(
        path,
        f"{cube_file.name}: map",
        thinned(class_map),
        class_counts(class_map),
        meta.class_names,
        where,
        [
            paragraph(
                "Unknown: no label of this image was compared with its map. The accuracies of the run were counted on "
                "its own scene, and say nothing certain about another image."
            )
        ],
        [
            f"Image {cube_file.name}: {class_map.shape[0]} x {class_map.shape[1]} pixels.",
            f"Map by {meta.learner}, from {labels:,} labels of the scene of the run.",
            f"Run: {meta.title}.",
            *done,
        ],
    )
