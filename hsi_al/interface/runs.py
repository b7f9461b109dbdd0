"""Runs of the command line, read from their files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hsi_al.errors import RunDirectoryError
from hsi_al.interface.curve import Curve, curve_of
from hsi_al.report.run_files import Predictions, read_committed, read_meta, read_predictions
from hsi_al.report.series import find_runs, series_of
from hsi_al.report.tables import read_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Run:
    """A run of the command line.

    Attributes:
        path: Its directory.
        title: Scene, method, acquisition, protocol, split and seed.
        class_names: Label value -> name.
        curve: Its learning curve.
    """

    path: Path
    title: str
    class_names: Mapping[int, str] = field(repr=False)
    curve: Curve = field(repr=False)

    @cached_property
    def labelled(self) -> dict[str, NDArray[np.int64]]:
        """Columns `pixel_id`, `label` (label value) and `labelled_at` (round), of labelled pixels by ascending id."""
        pool = read_committed(self.path)
        given = pool.labelled_at >= 0
        return {name: getattr(pool, name)[given] for name in ("pixel_id", "label", "labelled_at")}

    @property
    def class_map(self) -> NDArray[np.int64]:
        """The map of the scene as label values, (H, W), 0 = not predicted; thinned above two million pixels."""
        return self._predictions.class_map

    @cached_property
    def _predictions(self) -> Predictions:
        found = read_predictions(self.path)
        if found is None:
            raise RunDirectoryError(
                f"{self.path} has no predictions.h5: the run isn't finished, or had full_map=false."
            )
        return found

    def plot_curve(self, ax: "Axes | None" = None, column: str = "oa_heldout") -> "Axes":
        """Draw the learning curve."""
        return self.curve.plot(ax, column)

    def plot_map(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the map of the scene."""
        from hsi_al.interface.plots import plot_map

        return plot_map(self.class_map, self.class_names, ax)


def load_run(path: str | PathLike[str]) -> Run:
    """Read a run directory of the command line.

    Raises:
        RunDirectoryError: It is no run directory, or its files are damaged.
    """
    folder = Path(path)
    if not (folder / "meta.json").exists():
        raise RunDirectoryError(f"{folder} holds no run (no meta.json in it); give the directory of a run.")
    meta = read_meta(folder)
    return Run(folder, meta.title, meta.class_names, curve_of(read_curve(folder)))


def load_runs(*paths: str | PathLike[str]) -> dict[str, list[Run]]:
    """Read all run directories at and below some folders, grouped as `python -m hsi_al.report compare` groups them.

    Returns:
        The runs of each group, which differ in seed and fold only, by the settings that tell it from the other groups.

    Raises:
        RunDirectoryError: There are no runs, or files are damaged.
    """
    found = series_of(find_runs([Path(path) for path in paths]))
    return {series.name: [load_run(run.path) for run in series.runs] for series in found}
