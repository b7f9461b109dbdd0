"""Interfaces of observers, which are called during a run and never change it."""

from collections.abc import Mapping
from typing import Protocol

from hsi_al.active.curve import RoundRecord


class Observer(Protocol):
    """Receives every committed round."""

    def on_round(self, record: RoundRecord) -> None:
        """Called after the round is committed."""
        ...


class Logger(Observer, Protocol):
    """An observer that passes curves and figures to another tool."""

    def log_results(self) -> None:
        """Called once at the end of the run, after the figures are drawn."""
        ...


def logged_row(row: Mapping[str, float], class_names: Mapping[int, str]) -> dict[str, float]:
    """Return a row of curve.csv with the names that loggers show.

    Args:
        row: Row of curve.csv, see `RoundRecord.row`.
        class_names: Class names by label value.
    """
    names = {"n_labelled": "al/labels"}
    names |= {f"recall_{value}": f"recall/{name}" for value, name in class_names.items()}
    names |= {f"seconds_{part}": f"seconds/{part}" for part in ("fit", "predict", "query")}
    return {names.get(name, f"al/{name}"): value for name, value in row.items()}
