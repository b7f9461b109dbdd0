"""Files of a map for QGIS and other software, with the class colours of the pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import left_out
from hsi_al.report.palette import colour_of
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
