"""The declaration of a method in its package. Nothing heavy is imported here: every command reads all declarations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hsi_al.config.schema import Config, LearnerConfig, SpectraConfig
from hsi_al.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsi_al.methods.base import Learner
    from hsi_al.scenes.stored import StoredCube
    from hsi_al.training.ranks import Ranks

S = TypeVar("S", bound=LearnerConfig)


@dataclass(frozen=True)
class Task:
    """The run that a learner is built for.

    Attributes:
        config: All keys of the run; the learner's own are in `config.learner`.
        cube: (H, W, bands), in memory, or in its file for methods that declare `in_windows`.
        n_classes: Number of classes.
        candidates: Pixel ids that may be labelled, (N,).
        needs: Optional fields of `Outputs` that `predict` has to fill in.
        limits: Minimum and maximum that values are normalised by; default: those of the cube.
        ranks: The processes that train and predict together; None for a single process.
    """

    config: Config
    cube: "NDArray[np.generic] | StoredCube"
    n_classes: int
    candidates: "NDArray[np.int64]"
    needs: frozenset[str] = frozenset()
    limits: tuple[float, float] | None = None
    ranks: "Ranks | None" = None

    @property
    def array(self) -> "NDArray[np.generic]":
        """The cube in memory, (H, W, bands)."""
        return self.cube  # type: ignore[return-value]  # registry.check_method has refused cubes in files


@dataclass(frozen=True)
class Method:
    """The declaration of a method, which stays cheap to import: only `build` imports what the method computes with.

    Attributes:
        name: Value of `learner=<name>`.
        title: Name of the method in tables.
        settings: Dataclass of the keys under `learner`.
        build: Function that builds the learner.
        provides: Optional fields of `Outputs` that the learner can fill in, besides `predicted_class`.
        window: Function that returns the side of the patch around a labelled pixel, or None without patches.
        in_windows: Whether the learner reads the cube patch by patch, so that a large cube may stay in its file.
        batch_size: Function that returns the pixels of a training step, which several devices can divide; None if the
            learner runs on one device only.
        keeps_network: Whether the network, or the classifier, of a finished run can be applied to other scenes.
        state_suffix: Extension of the file that the learner's state is saved to: `.pt` holds tensors of torch, `.h5`
            arrays in HDF5.
        compared: Whether it stands in the paper's tables, as a method compared there or beside them.
        band: Percentage points of OA around the published value within which it counts as reproduced: wider where the
            paper leaves architecture or training open.
        caveat: A remark that readers of the method's numbers in the paper's tables need.
    """

    name: str
    title: str
    settings: type[LearnerConfig]
    build: Callable[[Task], "Learner"]
    provides: frozenset[str] = frozenset()
    window: Callable[[Config], int | None] = lambda config: None
    in_windows: bool = False
    batch_size: Callable[[Config], int] | None = None
    keeps_network: bool = False
    state_suffix: str = ".pt"
    compared: bool = True
    band: float = 1.5
    caveat: str = ""


def settings_in(config: Config, kind: type[S]) -> S:
    """Return the learner's keys as the dataclass `kind`.

    Raises:
        ConfigurationError: They are another learner's keys, because `learner.name` alone was changed.
    """
    if not isinstance(config.learner, kind):
        raise ConfigurationError(
            f"learner.name={config.learner.name} has the keys of another learner; set learner={config.learner.name} "
            "instead, which changes the name and the keys."
        )
    return config.learner


def largest_window(config: Config) -> int:
    """Return the side of the largest window of a learner on spectra."""
    return max(settings_in(config, SpectraConfig).windows, default=1)
