"""Runs that are killed, interrupted or stopped at random moments, and continue to the same digits.

A chain starts a run on a tiny scene and shoots at it twice, at random moments; the command is repeated after each shot
until the run is finished. Its pool, curve (without seconds), confusion matrices and maps are then compared with those
of a run that nothing happened to, and its folder with that run's. A signal must end it with the right exit code and
one sentence within ten seconds; STOP and CONT must change nothing. Per 100 kills there are 60 of each signal.
"""

import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.trust import common
from experiments.trust.common import Ended, Trial
from experiments.trust.processes import Forked, command, wait_for

KINDS = {
    "cold": ["protocol.warm_start=false"],
    "warm": ["protocol.warm_start=true"],
    "emp_svm": ["learner=emp_svm", "protocol.rounds=1"],
    "stop_when_stable": ["protocol.stop_when_stable=0.5", "protocol.rounds=4"],
    "tensorboard": ["logger=tensorboard"],
    "wandb, offline": ["logger=wandb", "logger.mode=offline"],
    "maps and figures": ["protocol.rounds=0", "acquisition=none"],
}
DRAWN = ("tensorboard", "wandb, offline", "maps and figures")
WAYS = {
    "kill -9": signal.SIGKILL,
    "SIGINT": signal.SIGINT,
    "SIGTERM": signal.SIGTERM,
    "SIGHUP": signal.SIGHUP,
    "STOP, CONT": signal.SIGSTOP,
}
SHOTS = 2  # of a chain
SENTENCE = "hsi_al: interrupted; run the same command to continue."
SAME, OTHER, END, STUCK, LEFT = (
    *("continued to the same digits", "other digits", "wrong exit code or sentence"),
    *("does not continue", "files left behind"),
)
OUTCOMES = (SAME, OTHER, END, STUCK, LEFT)


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: what it found, the names of its files, and its seconds."""

    results: dict[str, Any]
    files: set[str]
    seconds: float


def arguments_of(kind: str, run: str) -> list[str]:
    """Return the command line of a run."""
    kept = [word for word in common.ARGUMENTS if kind != "emp_svm" or not word.startswith("backbone=")]
    return [*common.SCENE, *kept, "protocol.full_map=true", *KINDS[kind], f"hydra.run.dir={run}"]


def nothing() -> int:
    """Do nothing."""
    return 0


def work_of(kind: str) -> Callable[..., int]:
    """Return the command: without pictures, which take longest, where neither they nor a logger are tried."""
    return command if kind in DRAWN else common.undrawn


def files_of(run: Path) -> set[str]:
    """Return the names of a run's files, but for those of loggers, which write new ones after every start."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("wandb/", "tensorboard/"))}


def whole_run(folder: Path, kind: str) -> Whole:
    """Do a run that nothing happens to.

    Raises:
        RuntimeError: It fails.
    """
    run = f"whole {kind}".replace(" ", "_").replace(",", "")
    done = common.ended(folder, arguments_of(kind, run), work_of(kind), memory=None)
    if done.code != 0:
        raise RuntimeError(str(done))
    return Whole(common.run_results(folder / run), files_of(folder / run), done.seconds)


def shoot(folder: Path, kind: str, way: str, after: float) -> tuple[bool, Ended]:
    """Start or continue a run and shoot at it after some seconds; return whether that hit, and how it ended."""
    written = folder / "written"
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir()
    process = Forked(
        work_of(kind), arguments_of(kind, "run"), folder, written, common.environment(folder.parents[1] / "home")
    )
    if way != "kill -9":  # before, Python itself hears signals
        wait_for(process.ready, process)
    process.process.join(after)
    hit, sent = process.poll() is None, time.monotonic()
    process.send_signal(WAYS[way])
    if WAYS[way] == signal.SIGSTOP:
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
    try:
        out, err = process.communicate(common.patience())
    except TimeoutError as error:
        return hit, Ended(None, str(error), "", common.patience())
    return hit, Ended(process.returncode, out, err, time.monotonic() - sent)


def fault_of_end(way: str, shot: Ended) -> str:
    """Return what is wrong with the end that a shot caused, or an empty text."""
    if way == "kill -9":
        return "" if shot.code in (-signal.SIGKILL, 0) else f"not killed: {shot}"
    if way == "STOP, CONT":
        return "" if shot.code == 0 and not shot.err else str(shot)
    if shot.code == 0:  # the signal came after the last safe place
        return ""
    right = shot.code == 128 + WAYS[way] and shot.err.strip() == SENTENCE
    return "" if right and shot.seconds < common.patience(10) else f"{shot}; stderr: {shot.err[-300:]!r}"


def fault_of_run(folder: Path, whole: Whole) -> tuple[str, str]:
    """Return outcome and details of a finished run."""
    try:
        different = common.differing(common.run_results(folder / "run"), whole.results)
    except (OSError, KeyError, ValueError) as error:
        return OTHER, f"unreadable: {error}"
    if different:
        return OTHER, f"{different} differ."
    if left := files_of(folder / "run") ^ whole.files:
        return LEFT, f"only in one of both folders: {', '.join(sorted(left))}."
    return SAME, ""


def fired(folder: Path, kind: str, way: str, seconds: float, rng: random.Random) -> tuple[list[str], list[str]]:
    """Shoot at a run until it was hit `SHOTS` times, at a new one when it has ended; return moments and faults."""
    moments: list[str] = []
    faults: list[str] = []
    earliest = 0.4 if kind == "maps and figures" else 0.0
    shutil.rmtree(folder / "run", ignore_errors=True)
    while len(moments) < SHOTS:
        moment = rng.uniform(earliest, 1) * seconds
        hit, shot = shoot(folder, kind, way, moment)
        if hit:
            moments.append(f"{moment:.2f}")
            faults += [fault] if (fault := fault_of_end(way, shot)) else []
        elif shot.code != 0:
            return moments, [*faults, str(shot)]
        if shot.code == 0 and len(moments) < SHOTS:
            shutil.rmtree(folder / "run", ignore_errors=True)
    return moments, faults


def chain(folder: Path, number: int, seed: int, way: str, whole: dict[str, Whole]) -> list[Trial]:
    """Shoot at a run, finish it, and return a trial per hit."""
    kind = list(KINDS)[number % len(KINDS)]
    moments, faults = fired(folder, kind, way, whole[kind].seconds, random.Random(f"{seed} {way} {number}"))
    done = common.ended(folder, arguments_of(kind, "run"), work_of(kind), memory=None)
    outcome, details = fault_of_run(folder, whole[kind]) if done.code == 0 else (STUCK, done.told)
    if outcome == SAME and faults:
        outcome, details = END, " ".join(faults)
    what = f"{kind}, shot at after {' and '.join(moments)} s: {details}"
    return [Trial(f"{way}, {kind}" if way == "kill -9" else way, outcome, what, number) for _ in moments or [""]]


def measure(n: int = 100, seed: int = 0, only: int | None = None, ways: Sequence[str] = tuple(WAYS)) -> list[Trial]:
    """Kill n times and send 0.6 n of every signal; `only` repeats the chains of that number, one per way."""
    trials: list[Trial] = []
    with common.place() as folder:
        common.write_tiny(folder)
        most = -(-n // SHOTS)
        numbers = range(most) if only is None else [only]
        common.ended(folder, [], nothing)  # the first process waits for the server that forks it
        whole = {kind: whole_run(folder, kind) for kind in {list(KINDS)[number % len(KINDS)] for number in numbers}}
        for way in ways:
            some = numbers if way == "kill -9" or only is not None else numbers[: round(0.6 * most) or 1]
            for number in some:
                trials += chain(folder, number, seed, way, whole)
    return trials


if __name__ == "__main__":
    common.main("kills", __doc__ or "", measure, OUTCOMES, OUTCOMES[1:], 100)
