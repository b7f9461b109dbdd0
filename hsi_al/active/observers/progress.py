"""Progress display of a run on the console."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hsi_al.accuracy import overall_accuracy
from hsi_al.active.curve import RoundRecord
from hsi_al.methods.base import Estimate


class ProgressDisplay:
    """Progress bar with round, epoch, labels used, latest OA and time left; without a terminal, a line per round.

    Args:
        console: Console for all output.
        rounds: Number of the last round.
        estimate: Estimated seconds of every round, which weight it in progress and time left.
        start: The first round to play; larger than 0 in a continued run.
        n_labelled: Number of labels in that round.
        query_size: Number of labels that each query adds.
    """

    def __init__(
        self, console: Console, rounds: int, estimate: Estimate, start: int, n_labelled: int, query_size: int
    ) -> None:
        self.console, self.rounds, self.estimate, self.round = console, rounds, estimate, start
        self.first = start
        self.n_labelled, self.query_size = n_labelled, query_size
        self.last_oa = ""
        self.began = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            speed_estimate_period=120,
        )
        self.task = self.progress.add_task("", total=max(1e-9, estimate.total_seconds))

    def __enter__(self) -> "ProgressDisplay":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def on_part(self, text: str, part: float) -> None:
        """Show the progress that the learner reports.

        Args:
            text: Current activity: an epoch, or `scoring` after the epochs of a round and for the final map.
            part: Completed fraction of the current fit or prediction, 0 to 1.
        """
        fit, predict = self._round_seconds(self.round)
        done = fit + part * predict if text == "scoring" else part * fit
        where = f"round {self.round}/{self.rounds} · {self.n_labelled} labels"
        if self.round > self.rounds:
            where = "map of the scene"
        self.progress.update(
            self.task,
            completed=self._seconds_before(self.round) + done,
            description=f"{where} · {text}{self.last_oa}",
        )

    def on_asking(self, text: str, part: float) -> None:
        """Show what the learner of `acquisition.by` is doing, whose time no estimate holds."""
        self.progress.update(self.task, description=f"round {self.round}/{self.rounds} · asking: {text}")

    def on_round(self, record: RoundRecord) -> None:
        """Show the OA of a finished round and move on to the next."""
        accuracy = f"OA {100 * overall_accuracy(record.confusion_all):.2f} %"
        if record.confusion_heldout.any():
            accuracy += f" (held-out {100 * overall_accuracy(record.confusion_heldout):.2f} %)"
        self.last_oa = f" · last {accuracy}"
        self.round, self.n_labelled = record.round + 1, record.n_labelled + self.query_size
        if not self.console.is_terminal:
            elapsed = time.monotonic() - self.began
            left = elapsed / max(1e-9, self._seconds_before(self.round)) * self._seconds_from(self.round)
            self.console.print(
                f"round {record.round}/{self.rounds}: {record.n_labelled} labels, {accuracy}, "
                f"{duration(elapsed)} elapsed, about {duration(left)} left",
                highlight=False,
            )

    def _round_seconds(self, round_: int) -> tuple[float, float]:
        if round_ > self.rounds:
            return 0.0, self.estimate.map_seconds
        return self.estimate.fit_seconds[round_ - self.first], self.estimate.predict_seconds

    def _seconds_before(self, round_: int) -> float:
        return sum(sum(self._round_seconds(earlier)) for earlier in range(self.first, round_))

    def _seconds_from(self, round_: int) -> float:
        return self.estimate.total_seconds - self._seconds_before(round_)


def duration(seconds: float) -> str:
    """Format seconds as `42 s`, `3 min 20 s`, `4 h 05 min` or `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
