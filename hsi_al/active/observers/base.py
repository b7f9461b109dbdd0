"""What an observer is. Observers never change a run."""

from collections.abc import Mapping
from typing import Protocol

from hsi_al.active.curve import RoundRecord


class Observer(Protocol):
    """Told about every finished round."""

    def on_round(self, record: RoundRecord) -> None:
        """Called after the round is committed."""
        ...


class Logger(Observer, Protocol):
    """An observer that shows runs elsewhere."""

    def log_results(self) -> None:
        """Called once at the end, when the figures are drawn."""
        ...


def logged_row(row: Mapping[str, float], class_names: Mapping[int, str]) -> dict[str, float]:
    """A row of curve.csv under the names that loggers show.

    Args:
        row: See `RoundRecord.row`.
        class_names: By label value.
    """
    names = {"n_labelled": "al/labels"}
    names |= {f"recall_{value}": f"recall/{name}" for value, name in class_names.items()}
    names |= {f"seconds_{part}": f"seconds/{part}" for part in ("fit", "predict", "query")}
    return {names.get(name, f"al/{name}"): value for name, value in row.items()}
