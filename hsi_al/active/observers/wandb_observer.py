"""Logger for Weights & Biases: learning curves, maps and confusion matrices; it never prompts and never hangs."""

import netrc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.curve import RoundRecord
from hsi_al.active.observers.base import logged_row
from hsi_al.active.run_directory import RunDirectory
from hsi_al.errors import ConfigurationError, left_out
from hsi_al.terminal import warn

# Values of WANDB_MODE, also those of earlier versions of W&B.
OF_VARIABLE = {"online": "online", "run": "online", "disabled": "disabled", "offline": "offline", "dryrun": "offline"}
ROWS = "rows"  # key of the summary: rows of the curve that were logged
MOST_CLASSES = 100  # of a table with every entry of the confusion matrix
# Online initialisation fails after this time plus about ten seconds.
INIT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class WandbRun:
    """Name, group and settings of a run in W&B.

    Attributes:
        run_id: Id of the run, the same in every call that continues it.
        name: Name shown in lists.
        group: Name shared by runs to compare; in a group, W&B averages the seeds of each job type.
        job_type: The method and the acquisition function with its wrappers.
        project: W&B project.
        entity: W&B team or user; None = the default of the API key.
        mode: auto, online, offline or disabled.
        tags: Tags of the run.
        config: The resolved configuration.
    """

    run_id: str
    name: str
    group: str
    job_type: str
    project: str
    entity: str | None
    mode: str
    tags: Sequence[str]
    config: Mapping[str, Any]


class WandbObserver:
    """Logs a row per round, with the number of labels as x axis; a continued run first logs the rows that W&B lacks.

    Args:
        run: A started W&B run.
        wandb: The imported module `wandb`.
        directory: The run directory with the committed rounds.
        class_names: Class names by label value.
    """

    def __init__(self, run: Any, wandb: ModuleType, directory: RunDirectory, class_names: Mapping[int, str]) -> None:  # noqa: ANN401
        self.run, self.wandb, self.directory, self.class_names = run, wandb, directory, class_names
        run.define_metric("al/labels")
        run.define_metric("*", step_metric="al/labels")
        # Rows that a resumed online run already has: `run.step` counts the pictures of each finish, too.
        for row in directory.rows[run.summary.get(ROWS, run.step) :]:
            self.log(row)

    def on_round(self, record: RoundRecord) -> None:
        """Log the round's accuracies, recalls and seconds."""
        self.log(record.row(self.directory.label_values))

    def log(self, row: Mapping[str, float]) -> None:
        """Log a row of the curve."""
        self.run.log(logged_row(row, self.class_names))
        self.run.summary[ROWS] = int(row["round"]) + 1

    def log_results(self) -> None:
        """Log the pictures of a finished run as images and its last confusion matrix as a table."""
        confusion = self.directory.confusions[-1][0]
        names = [self.class_names[value] for value in self.directory.label_values.tolist()]
        table = self.wandb.Table(
            columns=["truth", "predicted", "pixels"],
            data=[[names[i], names[j], int(count)] for (i, j), count in _entries(confusion)],
        )
        images = {}
        for picture in sorted((self.directory.path / "figures").glob("*.png")):
            with left_out(f"{picture.name} in W&B", warn):
                images[f"figures/{picture.stem}"] = self.wandb.Image(str(picture))
        labels = self.directory.rows[-1]["n_labelled"]
        self.run.log({"al/labels": labels, "confusion": table, **images})


def _entries(confusion: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield (truth, predicted) and the number of pixels; of many classes without the zeros, which would be too many."""
    for (i, j), count in np.ndenumerate(confusion):
        if count or len(confusion) <= MOST_CLASSES:
            yield (i, j), int(count)


@contextmanager
def wandb_observer(
    about: WandbRun, directory: RunDirectory, class_names: Mapping[int, str]
) -> Iterator[tuple[WandbObserver, str]]:
    """Start a W&B run, and finish it in any case.

    Yields:
        The observer, and a line that says where the run is.
    """
    import wandb  # here, because it takes a second

    run, line = started(wandb, about, directory.path)
    exit_code = 1
    try:
        yield WandbObserver(run, wandb, directory, class_names), line
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def started(wandb: ModuleType, about: WandbRun, folder: Path) -> tuple[Any, str]:
    """Start a W&B run, offline if it can't be online.

    Returns:
        The run, and a line that says where it is, and why if it is offline.
    """
    mode, reason = resolved_mode(about.mode, os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url)
    if mode == "online":
        try:
            run = initialised(wandb, about, folder, "online")
            return run, f"W&B: {run.url}"
        except (wandb.errors.CommError, wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            mode, reason = "offline", f"no connection: {str(error).splitlines()[0]}"
            # W&B treats the id as in use in this process after the failed attempt.
            about = replace(about, run_id=f"{about.run_id}-offline")
    run = initialised(wandb, about, folder, mode)
    if mode == "disabled":
        return run, "W&B: disabled"
    return run, f"W&B: offline ({reason}); upload with: wandb sync {Path(run.dir).parent}"


def initialised(wandb: ModuleType, about: WandbRun, folder: Path, mode: str) -> Any:  # noqa: ANN401
    """Call `wandb.init` with all settings explicit."""
    return wandb.init(
        mode=mode,
        id=about.run_id,
        resume="allow",
        name=about.name,
        group=about.group,
        job_type=about.job_type,
        project=about.project,
        entity=about.entity,
        tags=list(about.tags),
        config=dict(about.config),
        dir=str(folder),
        settings=wandb.Settings(init_timeout=INIT_TIMEOUT_SECONDS, silent=True, console="off"),
    )


def resolved_mode(configured: str, base_url: str) -> tuple[str, str]:
    """Choose the mode: online only if there is an API key, because W&B would prompt for one.

    Args:
        configured: As `mode`; for `auto`, the environment variable WANDB_MODE decides, by default `online`.
        base_url: Address of the W&B server.

    Returns:
        The mode, and the reason if it is not online.

    Raises:
        ConfigurationError: WANDB_MODE has another value.
    """
    given = configured if configured != "auto" else os.environ.get("WANDB_MODE") or "online"
    if (mode := OF_VARIABLE.get(given)) is None:
        raise ConfigurationError(
            f"The environment variable WANDB_MODE={given} is unknown; set online, offline or disabled, or unset it."
        )
    if mode != "online":
        return mode, "as configured"
    return ("online", "") if has_key(base_url) else ("offline", "no key found")


def has_key(base_url: str) -> bool:
    """Return whether the environment or the netrc file holds a key for the server."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
    return known.authenticators(urlparse(base_url).hostname or "") is not None
