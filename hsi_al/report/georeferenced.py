"""Files of a map for QGIS and other software, with the class colours of the pictures."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import left_out
from hsi_al.report.palette import colour_of
from hsi_al.scenes.geopoints import write_points
from hsi_al.scenes.georaster import write_class_map, write_uncertainty
from hsi_al.scenes.georeference import Georeference
from hsi_al.terminal import warn


def write_georeferenced(
    folder: Path,
    class_map: NDArray[np.unsignedinteger[Any]],
    uncertainty: NDArray[np.float32] | None,
    where: Georeference,
    names: Mapping[int, str],
) -> list[Path]:
    """Write `map.tif`, its style `map.qml` and, if there is one, `uncertainty.tif`; what fails costs a warning.

    Args:
        folder: An existing folder.
        class_map: Label values, (H, W); 0 = not mapped.
        uncertainty: See `methods.base.uncertainty_of`, (H, W); None = unknown.
        where: Where the scene lies.
        names: Label value -> name.

    Returns:
        The files written.
    """
    written = []
    with left_out(str(folder / "map.tif"), warn):
        written += write_class_map(folder / "map.tif", class_map, where, names, colour_of(names))
    if uncertainty is not None:
        with left_out(str(folder / "uncertainty.tif"), warn):
            written.append(write_uncertainty(folder / "uncertainty.tif", uncertainty, where))
    return written


def write_labels(
    path: Path,
    pixel_ids: NDArray[np.int64],
    values: NDArray[np.integer[Any]],
    rounds: NDArray[np.integer[Any]],
    where: Georeference,
    width: int,
    names: Mapping[int, str],
) -> None:
    """Write the labelled pixels as points; what fails, or a missing library, costs a warning.

    Args:
        path: Such as `labels.gpkg`.
        pixel_ids: The labelled pixels, (n,).
        values: Their label values, (n,).
        rounds: The rounds that they were labelled for, (n,).
        where: Where the scene lies.
        width: Columns of the scene.
        names: Label value -> name.
    """
    if find_spec("pyogrio") is None:
        warn(f"{path} is not written: that needs pyogrio; pip install 'hsi_al[geo]'.")
        return
    with left_out(str(path), warn):
        named = [names[value] for value in values.tolist()]
        write_points(path, "labels", pixel_ids, width, where, value=values, name=named, round=rounds)
