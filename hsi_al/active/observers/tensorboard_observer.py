"""Logger that writes learning curves and pictures to TensorBoard event files."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from matplotlib.image import imread

from hsi_al.active.curve import RoundRecord
from hsi_al.active.observers.base import logged_row
from hsi_al.active.run_directory import RunDirectory
from hsi_al.errors import ConfigurationError, left_out
from hsi_al.terminal import warn

FOLDER = "tensorboard"


class TensorBoardObserver:
    """Writes one step per round; the step number is the number of labels.

    Continued event files would show steps twice, so a continued run rewrites them from the committed rounds.

    Args:
        directory: The run directory with the committed rounds; the event files go to its folder `tensorboard`.
        class_names: Class names by label value.
        configuration: The resolved configuration as YAML, shown as text.

    Raises:
        ConfigurationError: The package tensorboard is not installed.
    """

    def __init__(self, directory: RunDirectory, class_names: Mapping[int, str], configuration: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                "logger=tensorboard needs the package tensorboard: pip install tensorboard, or take logger=none."
            ) from error
        self.directory, self.class_names = directory, class_names
        folder = directory.path / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("configuration", "    " + configuration.replace("\n", "\n    "))
        for row in directory.rows:
            self.log(row)

    def on_round(self, record: RoundRecord) -> None:
        """Log the round's accuracies, recalls and seconds."""
        self.log(record.row(self.directory.label_values))

    def log(self, row: Mapping[str, float]) -> None:
        """Log a row of curve.csv."""
        named = logged_row(row, self.class_names)
        for name, value in named.items():
            if name != "al/labels":
                self.writer.add_scalar(name, value, int(named["al/labels"]))
        self.writer.flush()

    def log_results(self) -> None:
        """Log the pictures of a finished run."""
        labels = int(self.directory.rows[-1]["n_labelled"])
        for picture in sorted((self.directory.path / "figures").glob("*.png")):
            with left_out(f"{picture.name} in TensorBoard", warn):
                self.writer.add_image(f"figures/{picture.stem}", imread(picture), labels, dataformats="HWC")


@contextmanager
def tensorboard_observer(
    directory: RunDirectory, class_names: Mapping[int, str], configuration: str
) -> Iterator[tuple[TensorBoardObserver, str]]:
    """Open the event files, and close them in any case.

    Yields:
        The observer, and a line that says how to view the event files.
    """
    observer = TensorBoardObserver(directory, class_names, configuration)
    try:
        yield observer, f"TensorBoard: tensorboard --logdir {directory.path / FOLDER}"
    finally:
        observer.writer.close()
