"""What the room of a method declares. Nothing heavy is imported here: every command reads all declarations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hsi_al.config.schema import Config, LearnerConfig
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
    """What a learner is built for.

    Attributes:
        config: All keys of the run; the learner's own are in `config.learner`.
        cube: (H, W, bands), in memory, or in its file for methods that declare `in_windows`.
        n_classes: Number of classes.
        candidates: Pixel ids that may be labelled, (N,).
        needs: Fields of `Outputs` that `predict` has to give.
        limits: Minimum and maximum of the normalisation; default: those of the cube.
        ranks: The processes that train and score together; None for one alone.
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
    """What the room of a method declares: importing it must stay cheap, so `build` imports what it needs.

    Attributes:
        name: `learner=<name>`.
        title: Its name in tables.
        settings: The dataclass of its own keys.
        build: Makes the learner.
        provides: Fields of `Outputs` that it can give beside `predicted_class`.
        window: Side of the window of the scene that a labelled pixel is learnt from; None where patches are not cut.
        in_windows: Whether it reads the cube patch by patch, so that a large one may stay in its file.
        batch_size: Pixels of a training step that several devices may divide; None: it takes one device.
        keeps_network: Whether a finished run can be applied to other scenes.
        band: Percentage points of OA around the published value within which it counts as reproduced: wider where the
            paper leaves architecture or training open.
        caveat: What a reader must know beside its numbers in the paper's tables.
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
    band: float = 1.5
    caveat: str = ""


def settings_in(config: Config, kind: type[S]) -> S:
    """The keys of the run's learner.

    Raises:
        ConfigurationError: They are another learner's: `learner.name` was changed by itself.
    """
    if not isinstance(config.learner, kind):
        raise ConfigurationError(
            f"learner.name={config.learner.name} has the keys of another learner; choose one by learner=<name>."
        )
    return config.learner
