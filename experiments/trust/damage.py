"""Files with flipped bits, cut off or with blocks of zeros, and what the commands that read them make of them.

A trial damages one file: a scene in one of the formats, before a new run or before an interrupted one continues, or a
file of an interrupted or finished run. Then the command that reads it is run with limits of 60 s and 3 GiB. It may end
with one sentence and exit code 2 (`detected`), or give the very results of undamaged files (`harmless`). Exit code 0
with other results is `silently wrong`, unless the damage lies inside the values of a scene in a format without a
checksum and no earlier run knows the scene: such values can't be told from measured ones.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from experiments.trust import common
from experiments.trust.common import Ended, Trial
from hsi_al.scenes.scene import Scene, save_scene

HARMLESS, DETECTED, NO_CHECKSUM, SILENT, BUG, SLOW = (
    *("harmless", "detected", "no checksum in the format", "silently wrong"),
    *("traceback or exit code", "too slow"),
)
OUTCOMES = (HARMLESS, DETECTED, NO_CHECKSUM, SILENT, BUG, SLOW)
ENDS = {"one sentence": DETECTED, "too slow": SLOW}
RUN = "outputs/run"
ASIDE = {"lock"}  # files of a run that hold nothing
Arrays = dict[str, NDArray[Any]]


def write_matlab73(path: Path, arrays: Arrays) -> None:
    """Write HDF5 behind MATLAB's header of 512 bytes, with reversed axes and unpacked values."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array.T).attrs["MATLAB_class"] = np.bytes_(str(array.dtype))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")


def write_hdf5(path: Path, arrays: Arrays, **packed: Any) -> None:  # noqa: ANN401
    """Write a plain HDF5 file."""
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, **packed)


def write_npy(path: Path, arrays: Arrays) -> None:
    """Write the cube, and the ground truth beside it."""
    np.save(path, arrays["cube"])
    np.save(path.with_name("truth.npy"), arrays["truth"])


def write_scene(path: Path, arrays: Arrays) -> None:
    """Write the package's own form."""
    values = {int(value): f"class {value}" for value in np.unique(arrays["truth"]) if value}
    save_scene(Scene("tiny", arrays["cube"], arrays["truth"], values), path)


# By name: the cube's file, the file that is damaged, how it is written, further keys of the command line.
FORMATS: dict[str, tuple[str, str, Callable[[Path, Arrays], None], list[str]]] = {
    ".mat v5": ("tiny.mat", "tiny.mat", scipy.io.savemat, []),
    ".mat v5, packed": ("tiny.mat", "tiny.mat", partial(scipy.io.savemat, do_compression=True), []),
    ".mat v7.3": ("tiny.mat", "tiny.mat", write_matlab73, []),
    ".h5": ("tiny.h5", "tiny.h5", write_hdf5, []),
    ".h5, Fletcher-32": ("tiny.h5", "tiny.h5", partial(write_hdf5, compression="gzip", fletcher32=True), []),
    ".npy": ("tiny.npy", "tiny.npy", write_npy, ["dataset.ground_truth_file=truth.npy"]),
    ".npy, ground truth": ("tiny.npy", "truth.npy", write_npy, ["dataset.ground_truth_file=truth.npy"]),
    "save_scene": ("tiny.h5", "tiny.h5", write_scene, ["dataset.ground_truth_key=ground_truth"]),
}
KEYLESS = (".npy", ".npy, ground truth")


def arguments_of(form: str) -> list[str]:
    """Return the command line of a run on the scene in one of the formats."""
    cube_file, _, _, more = FORMATS[form]
    taken = {word.split("=")[0] for word in more} | {"dataset.cube_file"}
    taken |= {"dataset.cube_key", "dataset.ground_truth_key"} if form in KEYLESS else set()
    kept = [word for word in (*common.SCENE, *common.ARGUMENTS) if word.split("=")[0] not in taken]
    more = [*more, f"dataset.cube_file={cube_file}", "protocol.rounds=1", "protocol.stop_when_stable=0.99"]
    return [*kept, *more, "protocol.full_map=true", f"hydra.run.dir={RUN}"]


def cut_off(*arguments: str) -> int:
    """`python -m hsi_al.run`, killed after its first commit."""
    from hsi_al.active.loop import ActiveLearningLoop

    commit = ActiveLearningLoop.commit

    def last_commit(self: ActiveLearningLoop, *given: Any) -> None:  # noqa: ANN401
        commit(self, *given)
        for observer in self.observers:
            observer.on_round(given[0])
        os._exit(9)

    ActiveLearningLoop.commit = last_commit  # type: ignore[method-assign,assignment]
    return common.undrawn(*arguments)


def report(*arguments: str) -> int:
    """`python -m hsi_al.report`."""
    from hsi_al.report.__main__ import main

    return main(arguments)


def predict(*arguments: str) -> int:
    """`python -m hsi_al.predict`."""
    from hsi_al.predict import main

    return main(arguments)


@dataclass(frozen=True)
class Reading:
    """A command that reads files.

    Attributes:
        kind: Row of the table, before the file's name.
        stage: The prepared folder that it works in: `scene`, `interrupted` or `finished`.
        work: Does it.
        arguments: Of `work`.
        reads: Its files in the run's folder; empty = all.
        results: Folder below the working directory whose files are its results; empty = those of a run.
    """

    kind: str
    stage: str
    work: Callable[..., int]
    arguments: tuple[str, ...]
    reads: tuple[str, ...] = ()
    results: str = ""


def readings(form: str) -> list[Reading]:
    """Return the commands that read a run's files."""
    run = Path(RUN)
    command_line = tuple(arguments_of(form))
    return [
        Reading("run, continued", "interrupted", common.undrawn, command_line),
        Reading("run, finished already", "finished", common.undrawn, command_line, results="-"),
        Reading("report summary", "finished", report, ("summary", "outputs"), ("curve.csv", "meta.json"), "-"),
        Reading(
            *("report compare", "finished", report, ("compare", "outputs", "--output", "new")),
            *(("curve.csv", "meta.json", "config.yaml"), "new"),
        ),
        Reading(
            *("report figures", "finished", report, ("figures", RUN)),
            *(("curve.csv", "meta.json", "confusion.h5", "pool.h5", "predictions.h5"), f"{RUN}/figures"),
        ),
        Reading("report pack", "finished", report, ("pack", "outputs", "--output", "new/runs.zip"), (), "new"),
        Reading(
            *("predict", "finished", predict, (str(run), "cube.npy", "--output", "new")),
            *(("meta.json", "config.yaml", "weights_1.pt"), "new"),
        ),
    ]


def prepare(folder: Path, form: str) -> None:
    """Make the folders `scene`, `interrupted` and `finished` of a format.

    Raises:
        RuntimeError: A run ends otherwise than it should.
    """
    cube, truth = common.tiny_scene()
    now, kept = folder / "now", folder / form
    shutil.rmtree(now, ignore_errors=True)
    now.mkdir()
    np.save(now / "cube.npy", cube)
    FORMATS[form][2](now / FORMATS[form][0], {"cube": cube, "truth": truth})
    (now / "new").mkdir()
    shutil.copytree(now, kept / "scene")
    for stage, work, code in (("interrupted", cut_off, 9), ("finished", common.undrawn, 0)):
        done = common.ended(now, arguments_of(form), work)
        if done.code != code:
            raise RuntimeError(f"{form}, {stage}: {done} {done.err}")
        shutil.copytree(now, kept / stage)


def results_of(now: Path, reading: Reading, done: Ended) -> dict[str, Any]:
    """Return what a command found: results of a run, or what it printed and wrote."""
    if not reading.results:
        return common.run_results(now / RUN)
    folder = now / reading.results
    written = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.exists() else {}
    return {"stdout": done.out.replace(str(now), ""), **written}


def committed_rows(now: Path) -> list[str]:
    """Return the first committed row of curve.csv, with its seconds, and the header."""
    return (now / RUN / "curve.csv").read_text(encoding="utf-8").splitlines()[:2]


def damaged(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return what was done to a file's content, and the damaged content, which differs."""
    while True:
        array, size = np.frombuffer(content, np.uint8).copy(), len(content)
        way = rng.choice(["flip", "cut", "zero"])
        if way == "cut":
            length = int(rng.integers(size))
            return f"cut to {length} of {size} bytes", content[:length]
        if way == "zero":
            length = int(min(size, 2 ** rng.uniform(0, 12)))
            first = int(rng.integers(size - length + 1))
            array[first : first + length] = 0
            what = f"{length} of {size} bytes zeroed from byte {first}"
        else:
            n_bits = int(rng.choice([1, 1, 1, 8, 64]))
            bits = rng.integers(8 * size, size=n_bits)
            np.bitwise_xor.at(array, bits // 8, (1 << (bits % 8)).astype(np.uint8))
            what = f"bits {', '.join(map(str, bits[:3]))}{' ...' if n_bits > 3 else ''} of {size} bytes flipped"
        if array.tobytes() != content:
            return what, array.tobytes()


def inside_values(content: bytes, broken: bytes) -> bool:
    """Return whether all changed bytes are values of the cube or the ground truth, stored plainly."""
    if len(content) != len(broken):
        return False
    changed = np.flatnonzero(np.frombuffer(content, np.uint8) != np.frombuffer(broken, np.uint8))
    for array in common.tiny_scene():
        for stored in (array.tobytes(), array.tobytes("F")):
            if (first := content.find(stored)) >= 0:
                changed = changed[(changed < first) | (changed >= first + len(stored))]
    return not changed.size


@dataclass
class Stages:
    """The prepared folders and the results of undamaged files, made when they are first asked for."""

    folder: Path
    right: dict[tuple[str, str], dict[str, Any]]

    def reset(self, form: str, stage: str) -> Path:
        """Return the working directory, as it is before a command of that stage."""
        if not (self.folder / form).exists():
            prepare(self.folder, form)
        now = self.folder / "now"
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(self.folder / form / stage, now)
        return now

    def results(self, form: str, reading: Reading) -> dict[str, Any]:
        """Return what a command finds in undamaged files.

        Raises:
            RuntimeError: It fails.
        """
        if (form, reading.kind) not in self.right:
            now = self.reset(form, reading.stage)
            done = common.ended(now, reading.arguments, reading.work)
            if done.code != 0:
                raise RuntimeError(f"{form}, {reading.kind}: {done} {done.err}")
            self.right[form, reading.kind] = results_of(now, reading, done)
        return self.right[form, reading.kind]


def attempt(stages: Stages, form: str, reading: Reading, target: str, rng: np.random.Generator) -> tuple[str, str]:
    """Damage the target, run the command that reads it, and return outcome and details."""
    right = stages.results(form, reading)
    now = stages.reset(form, reading.stage)
    content = (now / target).read_bytes()
    rows = committed_rows(now) if reading.stage == "interrupted" else None
    change, broken = damaged(content, rng)
    (now / target).write_bytes(broken)
    done = common.ended(now, reading.arguments, reading.work)
    if done.outcome != "exit 0":
        return ENDS.get(done.outcome, BUG), f"{target}, {change}; {done if done.code == 2 else done.told}"
    try:
        different = common.differing(results_of(now, reading, done), right)
        if rows is not None and committed_rows(now) != rows:
            different += ", a committed row of curve.csv"
    except (OSError, LookupError, ValueError, AttributeError, json.JSONDecodeError) as error:
        different = f"unreadable: {error}"
    if not different:
        return HARMLESS, f"{target}, {change}"
    free = reading.stage == "scene" and inside_values(content, broken)
    return (NO_CHECKSUM if free else SILENT), f"{target}, {change}; {done}; differing: {different}"


def chosen(number: int, folder: Path, rng: np.random.Generator) -> tuple[str, Reading, str, str]:
    """Return format, command, file to damage and row of the table for a trial, in turns."""
    forms = list(FORMATS)
    form = forms[number // 2 % len(forms)]
    if number % 2 == 0:  # the scene's file
        continued = bool(number // 2 // len(forms) % 2)
        kind = f"{form}, {'continued' if continued else 'new'} run"
        reading = Reading(kind, "interrupted" if continued else "scene", common.undrawn, tuple(arguments_of(form)))
        return form, reading, FORMATS[form][1], kind
    commands = readings(forms[0])
    reading = commands[number // 2 % len(commands)]
    run = folder / forms[0] / reading.stage / RUN
    files = sorted(path.name for path in run.iterdir() if path.is_file() and path.name not in ASIDE)
    files = [name for name in files if not reading.reads or name in reading.reads or "manifest" in name]
    name = files[int(rng.integers(len(files)))]
    return forms[0], reading, f"{RUN}/{name}", f"{name}, {reading.kind}"


def measure(n: int = 1000, seed: int = 0, only: int | None = None) -> list[Trial]:
    """Damage n files; `only` repeats the trial of that number."""
    trials = []
    with common.place() as folder:
        prepare(folder, next(iter(FORMATS)))
        stages = Stages(folder, {})
        for number in range(n) if only is None else [only]:
            rng = np.random.default_rng([seed, number])
            form, reading, target, kind = chosen(number, folder, rng)
            outcome, what = attempt(stages, form, reading, target, rng)
            trials.append(Trial(kind, outcome, what, number))
    return sorted(trials, key=lambda trial: (trial.number % 2, trial.kind))


if __name__ == "__main__":
    common.main("damage", __doc__ or "", measure, OUTCOMES, OUTCOMES[3:], 1000)
