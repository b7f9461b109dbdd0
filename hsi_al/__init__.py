"""Active learning for hyperspectral image classification: from the command line (README.md) and in Python.

import hsi_al

scene = hsi_al.load_scene("indian_pines")
experiment = hsi_al.Experiment(scene, "holdout", "profile_trees", "margin", rounds=5)
curve = experiment.run()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hsi_al.version import VERSION

if TYPE_CHECKING:
    from hsi_al import errors as errors
    from hsi_al.acquisition.base import PoolView
    from hsi_al.errors import (
        AcquisitionError,
        ConfigurationError,
        HsiAlError,
        LearnerError,
        PoolError,
        PoolExhaustedError,
        RunDirectoryError,
        SceneError,
    )
    from hsi_al.interface.choices import make_acquisition, make_learner
    from hsi_al.interface.curve import Curve
    from hsi_al.interface.experiment import Experiment
    from hsi_al.interface.plots import plot_curves
    from hsi_al.interface.runs import load_run, load_runs
    from hsi_al.interface.scenes import load_scene, make_split
    from hsi_al.outputs import Outputs
    from hsi_al.pool.splits import Split
    from hsi_al.scenes.scene import Scene


__version__ = VERSION

__all__ = [
    "AcquisitionError",
    "ConfigurationError",
    "Curve",
    "Experiment",
    "HsiAlError",
    "LearnerError",
    "Outputs",
    "PoolError",
    "PoolExhaustedError",
    "PoolView",
    "RunDirectoryError",
    "Scene",
    "SceneError",
    "Split",
    "load_run",
    "load_runs",
    "load_scene",
    "make_acquisition",
    "make_learner",
    "make_split",
    "plot_curves",
]

# Imported when they are first asked for: `import hsi_al` and the start of a command wait for none of them.
_HOMES = {
    "errors": (
        *("AcquisitionError", "ConfigurationError", "HsiAlError", "LearnerError", "PoolError", "PoolExhaustedError"),
        *("RunDirectoryError", "SceneError"),
    ),
    "acquisition.base": ("PoolView",),
    "interface.choices": ("make_acquisition", "make_learner"),
    "interface.curve": ("Curve",),
    "interface.experiment": ("Experiment",),
    "interface.plots": ("plot_curves",),
    "interface.runs": ("load_run", "load_runs"),
    "interface.scenes": ("load_scene", "make_split"),
    "outputs": ("Outputs",),
    "pool.splits": ("Split",),
    "scenes.scene": ("Scene",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # else every misspelt name would count as one of the package

    def __getattr__(name: str) -> Any:  # noqa: ANN401
        if name == "errors":
            return import_module("hsi_al.errors")
        if name not in _HOME:
            raise AttributeError(f"module 'hsi_al' has no attribute {name!r}; it has {', '.join(__all__)}")
        value = getattr(import_module(f"hsi_al.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "errors"})
