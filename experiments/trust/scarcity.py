"""Runs where something is short: disk, rights, shared memory, file handles, memory; others at the same run or cache.

A run on a tiny scene must end with exit code 0 or one sentence and exit code 2, leave no temporary file, and, once
nothing is short any more, the same command must give the digits of an undisturbed run. Small and read-only file systems
are mounted in a namespace of the process's own; where the system forbids that, those rows are `not possible here`.
Memory and time per round of a run of 200 rounds must stay the same.
"""

import csv
import ctypes
import http.server
import json
import os
import random
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.trust import common
from experiments.trust.common import Trial
from experiments.trust.processes import Forked, command

FINE, REFUSED, OTHER, BUG, NOT_HERE = (
    *("undisturbed", "one sentence, then continued to the same digits", "other digits or files left behind"),
    *("traceback or exit code", "not possible here"),
)
OUTCOMES = (FINE, REFUSED, NOT_HERE, OTHER, BUG)
RUN = "outputs/run"
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
IMPOSSIBLE = 77  # exit code of a process that may not mount
LEARNERS = {"lenet": ["backbone=lenet"], "emp_svm": ["learner=emp_svm"]}
TWO = {"two devices": ["backbone=lenet", "trainer.devices=2"]}


def arguments_of(learner: str, *more: str) -> list[str]:
    """Return the command line of a run."""
    kept = [word for word in (*common.SCENE, *common.ARGUMENTS) if not word.startswith("backbone=")]
    return [
        *kept,
        *(LEARNERS | TWO)[learner],
        "protocol.rounds=1",
        "protocol.full_map=true",
        f"hydra.run.dir={RUN}",
        *more,
    ]


def mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system.

    Raises:
        OSError: The system refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def own_namespace() -> None:
    """Give this process mounts of its own, or end it with the exit code `IMPOSSIBLE`."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "no namespace")
        mount("none", Path("/"), "", MS_REC | MS_PRIVATE)
    except OSError:
        os._exit(IMPOSSIBLE)


def on_small_disk(kilobytes: str, *arguments: str) -> int:
    """Run where the run's folder has so much space; the files that were written are then kept."""
    own_namespace()
    run, kept = Path(RUN), Path("kept")
    run.mkdir(parents=True)
    mount("none", run, "tmpfs", 0, f"size={kilobytes}k")
    code = command(*arguments)
    shutil.copytree(run, kept)
    return code


def read_only(*arguments: str) -> int:
    """Run where nothing below the working directory can be written."""
    own_namespace()
    here = Path.cwd()
    mount(str(here), here, "", MS_BIND)
    mount("none", here, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chdir(here)
    return command(*arguments)


def without_shared_memory(*arguments: str) -> int:
    """Run where /dev/shm can't be written."""
    own_namespace()
    mount("none", Path("/dev/shm"), "tmpfs", MS_RDONLY)
    return command(*arguments)


def with_limit(name: str, most: str, *arguments: str) -> int:
    """Run under a limit of the system."""
    sys.dont_write_bytecode = True  # a limit of the size of files would leave cut ones in the environment
    number = getattr(resource, name)
    resource.setrlimit(number, (int(most), int(most)))
    return command(*arguments)


def emptied(folder: Path) -> Path:
    """Make a folder, or make it anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def tried(folder: Path, learner: str, work: Callable[..., int], given: list[str], memory: int | None = None) -> Trial:
    """Run with something short, then without, and say how both ended; kind and number are filled in later."""
    now = emptied(folder / "now")
    common.write_tiny(now)
    arguments = arguments_of(learner)
    first = common.ended(now, [*given, *arguments], work, memory)
    if first.code == IMPOSSIBLE:
        return Trial("", NOT_HERE, "", 0)
    if first.outcome not in ("exit 0", "one sentence"):
        return Trial("", BUG, first.told, 0)
    if (now / "kept").exists():  # what lay on a small disk
        shutil.rmtree(now / RUN, ignore_errors=True)
        shutil.copytree(now / "kept", now / RUN)
    if left := [path.name for path in now.rglob("*.tmp")]:
        return Trial("", OTHER, f"{first}; left: {', '.join(left)}", 0)
    return continued(now, folder / learner, arguments, FINE if first.code == 0 else REFUSED, str(first))


def undisturbed(folder: Path, arguments: list[str]) -> None:
    """Do the run in a folder of its own, unless it is there.

    Raises:
        RuntimeError: It fails.
    """
    if folder.exists():
        return
    common.write_tiny(emptied(folder))
    if (done := common.ended(folder, arguments, memory=None)).code != 0:
        raise RuntimeError(f"{done} {done.err}")


def continued(now: Path, whole: Path, arguments: list[str], outcome: str, what: str) -> Trial:
    """Run again where nothing is short and compare with an undisturbed run."""
    undisturbed(whole, arguments)
    again = common.ended(now, arguments, memory=None)
    if again.code != 0:
        return Trial("", BUG, f"{what}; run again: {again.told}", 0)
    different = common.differing(common.run_results(now / RUN), common.run_results(whole / RUN))
    return Trial("", OTHER if different else outcome, what + (f"; {different} differ" if different else ""), 0)


def full_disk(folder: Path, rng: random.Random) -> Trial:
    """A disk of 4 to 400 kB."""
    kilobytes = rng.randrange(4, 400, 4)
    return tried(folder, rng.choice(list(LEARNERS)), on_small_disk, [str(kilobytes)])


def file_size(folder: Path, rng: random.Random) -> Trial:
    """No file of more than 100 bytes to 60 kB."""
    size = int(10 ** rng.uniform(2, 4.8))
    return tried(folder, rng.choice(list(LEARNERS)), with_limit, ["RLIMIT_FSIZE", str(size)])


def read_only_folder(folder: Path, rng: random.Random) -> Trial:
    """A working directory that can't be written."""
    return tried(folder, rng.choice(list(LEARNERS)), read_only, [])


def no_shared_memory(folder: Path, rng: random.Random) -> Trial:
    """No /dev/shm."""
    return tried(folder, rng.choice(list(LEARNERS | TWO)), without_shared_memory, [])


def few_handles(folder: Path, rng: random.Random) -> Trial:
    """Eight to 64 file handles."""
    return tried(folder, rng.choice(list(LEARNERS)), with_limit, ["RLIMIT_NOFILE", str(rng.randrange(8, 65))])


def little_memory(folder: Path, rng: random.Random) -> Trial:
    """Up to 400 MB more than a process has at its start."""
    return tried(folder, rng.choice(list(LEARNERS)), command, [], memory=rng.randrange(400) * 2**20)


def two_at_once(folder: Path, rng: random.Random) -> Trial:
    """Two processes at one run, up to a second apart: one plays it, the other is refused or finds it finished."""
    now = emptied(folder / "now")
    common.write_tiny(now)
    learner = rng.choice(list(LEARNERS))
    env = common.environment(folder)
    first = Forked(command, arguments_of(learner), now, folder, env)
    first.process.join(rng.uniform(0, 1))
    second = common.ended(now, arguments_of(learner), memory=None)
    _, err = first.communicate(common.patience())
    ends = f"exit {first.returncode} {err[-300:]!r} and {second}"
    refused = [err, second.err][first.returncode == 0]
    if sorted([first.returncode or 0, second.code or 0]) not in ([0, 0], [0, 2]) or "Traceback" in err + second.err:
        return Trial("", BUG, ends, 0)
    if refused and "Another process is using" not in refused:
        return Trial("", BUG, ends, 0)
    return continued(now, folder / learner, arguments_of(learner), REFUSED if refused else FINE, ends)


def fetch(port: str, size: str, checksum: str, where: str) -> int:
    """Download a file into a cache, as a run does."""
    from hsi_al.scenes.download import SceneFile, download

    path = download(f"http://127.0.0.1:{port}/", SceneFile("scene.mat", int(size), checksum, "cube"), Path(where))
    return int(sha256(path.read_bytes()).hexdigest() != checksum)


@contextmanager
def server(content: bytes, asked: list[str]) -> Iterator[int]:
    """Serve a file on a port of this machine and note every request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        try:
            yield serving.server_address[1]
        finally:
            serving.shutdown()


def four_at_a_cache(folder: Path, rng: random.Random) -> Trial:
    """Four processes that need the same download; one of them is killed in some trials."""
    cache, content, asked = emptied(folder / "now") / "cache", rng.randbytes(3_000_000), list[str]()
    env = {name: value for name, value in common.environment(folder).items() if name != "HSI_AL_DOWNLOAD_BASE"}
    with server(content, asked) as port:
        given = [str(port), str(len(content)), sha256(content).hexdigest(), str(cache)]
        processes = [Forked(fetch, given, folder / "now", folder, env) for _ in range(4)]
        if killed := rng.random() < 0.5:
            processes[0].process.join(rng.uniform(0, 0.3))
            processes[0].kill()
        ends = [(process.communicate(common.patience())[1], process.returncode) for process in processes]
    wrong = [f"exit {code}: {err[-300:]}" for err, code in ends[killed:] if code != 0]
    files = sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))
    what = f"{len(asked)} downloads, files {files}, one killed: {killed}. {' '.join(wrong)}"
    if wrong:
        return Trial("", BUG, what, 0)
    return Trial("", FINE if killed or (len(asked), files) == (1, ["scene.mat"]) else OTHER, what, 0)


SHORTAGES: dict[str, Callable[[Path, random.Random], Trial]] = {
    "full disk": full_disk,
    "limit of a file's size": file_size,
    "read-only folder": read_only_folder,
    "no /dev/shm": no_shared_memory,
    "few file handles": few_handles,
    "little memory": little_memory,
    "two processes at one run": two_at_once,
    "four processes at one download": four_at_a_cache,
}


def weighed(*arguments: str) -> int:
    """A run without pictures that writes its memory in MB and the seconds so far after every round."""
    import time

    from experiments.benchmarks.measure import resident_memory
    from hsi_al.active.meta import MetaFile

    on_round, noted = MetaFile.on_round, []

    def noting(self: MetaFile, record: Any) -> None:  # noqa: ANN401
        on_round(self, record)
        noted.append((resident_memory(), time.monotonic()))

    MetaFile.on_round = noting  # type: ignore[method-assign]
    code = common.undrawn(*arguments)
    Path("noted.json").write_text(json.dumps(noted), encoding="utf-8")
    return code


def long_run(folder: Path, rounds: int) -> Trial:
    """Play many rounds; memory may grow by 5 %, and what a round takes beside training and scoring by half."""
    now = emptied(folder / "now")
    common.write_tiny(now)
    more = [f"protocol.rounds={rounds}", "protocol.query_size=1", "protocol.epochs=1", "protocol.full_map=false"]
    done = common.ended(now, arguments_of("lenet", *more), weighed, None, seconds=600)
    if done.code != 0:
        return Trial("", BUG, done.told, 0)
    memory, at = np.array(json.loads((now / "noted.json").read_text(encoding="utf-8"))).T
    with (now / RUN / "curve.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = np.array([float(row["seconds_fit"]) + float(row["seconds_predict"]) for row in rows])
    rest = np.diff(at) - own[1:]
    early, late = slice(rounds // 10, rounds // 3), slice(-(rounds // 4), None)
    growth, slower = memory[late].mean() / memory[early].mean(), np.median(rest[late]) / np.median(rest[early])
    what = (
        f"memory {memory[early].mean():.0f} -> {memory[late].mean():.0f} MB; beside training and scoring "
        f"{1e3 * np.median(rest[early]):.0f} -> {1e3 * np.median(rest[late]):.0f} ms a round; training and scoring "
        f"{1e3 * np.median(own[early]):.0f} -> {1e3 * np.median(own[late]):.0f} ms, with the labels."
    )
    return Trial("", FINE if growth < 1.05 and slower < 1.5 else OTHER, what, 0)


def measure(n: int = 20, seed: int = 0, only: int | None = None, rounds: int = 200) -> list[Trial]:
    """Try every shortage n times, and a long run; `only` repeats the trial of that number."""
    tasks: list[tuple[str, Callable[[Path, random.Random], Trial]]] = [
        *((f"{rounds} rounds", lambda folder, _: long_run(folder, rounds)) for _ in range(bool(rounds))),
        *((kind, shortage) for _ in range(n) for kind, shortage in SHORTAGES.items()),
    ]
    trials = []
    with common.place() as folder:
        for number in range(len(tasks)) if only is None else [only]:
            kind, task = tasks[number]
            trial = task(folder, random.Random(f"{seed} {number}"))
            trials.append(replace(trial, kind=kind, number=number))
    return sorted(trials, key=lambda trial: list(dict(tasks)).index(trial.kind))


if __name__ == "__main__":
    common.main("scarcity", __doc__ or "", measure, OUTCOMES, OUTCOMES[3:], 20, told="200 rounds")
