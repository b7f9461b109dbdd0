"""The maps of a run as files: predictions.h5, and what geographic information systems read."""

from collections import defaultdict
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.loop import timed
from hsi_al.active.map_filter import filtered_accuracies, majority
from hsi_al.active.meta import MetaFile
from hsi_al.active.parts import Parts
from hsi_al.active.run_directory import RunDirectory
from hsi_al.active.scene_maps import class_indices, label_map
from hsi_al.errors import left_out
from hsi_al.scenes.checks import Labels
from hsi_al.terminal import warn

Ids = NDArray[np.int64]


def write_maps(
    parts: Parts[RunDirectory], meta: MetaFile, predicted_class: Ids | None, seconds: defaultdict[str, float]
) -> None:
    """Predict the pixels that the last round did not predict, and write the maps of the whole scene.

    Args:
        parts: The parts of the run after its last round.
        meta: Its meta.json, which gets the accuracies of a filtered map.
        predicted_class: Class indices that the last round predicted for `split.scored_ids`.
        seconds: The time of writing is added to its entry `I/O`.

    Raises:
        OSError: A file can't be written.
    """
    scene, config = parts.scene, parts.config
    mapped = scene.georeference is not None and find_spec("rasterio") is not None
    # Where the learner gives no probabilities, known pixels need not be predicted again.
    told = parts.asker is None and "probabilities_NC" in parts.acquisition.needs
    uncertainty = np.full(scene.height * scene.width, np.nan, np.float32) if mapped and told else None
    maps = [class_indices(parts, predicted_class, uncertainty)]
    if config.map.filter == "majority":
        maps.append(majority(maps[0], scene.n_classes, config.map.side, scene.no_data))
        scored, heldout = parts.split.scored_ids, parts.split.heldout(parts.pool.labelled_ids)
        truth = scene.labels_of(scored)
        meta.filtered = filtered_accuracies(maps[0], maps[1], truth, scored, heldout, scene.n_classes)
    values = [label_map(scene, map_) for map_ in maps]
    with timed(seconds, "I/O"):
        write = parts.records.write_predictions
        parts.ranks.from_first(
            lambda: write(values[0], scene.ground_truth, scene.false_colour(), *values[1:], names=scene.class_names)
        )
        if mapped:
            parts.ranks.from_first(lambda: write_place(parts, meta, values[-1], uncertainty))


def write_place(
    parts: Parts[RunDirectory], meta: MetaFile, class_map: Labels, uncertainty: NDArray[np.float32] | None
) -> None:
    """Write the map (H, W), filtered if that is wanted, the labels for QGIS and others, and a page about the map."""
    from hsi_al.report.georeferenced import write_georeferenced, write_labels
    from hsi_al.report.map_report import REPORT, write_run_report

    scene, pool, path = parts.scene, parts.pool, parts.records.path
    assert scene.georeference is not None
    known = None if uncertainty is None else uncertainty.reshape(class_map.shape)
    if known is not None and scene.no_data is not None:
        known[scene.no_data] = np.nan
    write_georeferenced(path, class_map, known, scene.georeference, scene.class_names)
    write_labels(
        path / "labels.gpkg",
        pool.labelled_ids,
        scene.label_values[pool.labels],
        pool.labelled_at[pool.is_labelled],
        scene.georeference,
        scene.width,
        scene.class_names,
    )
    meta.write("running")  # with the accuracies of the filtered map, which the page reads
    with left_out(str(path / REPORT), warn):
        write_run_report(path)
