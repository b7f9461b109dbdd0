"""Random command lines: each must end in a finished run, or in one sentence, exit code 2 and no folder left behind.

A line takes the tiny scene and `protocol=smoke`, and one to four words drawn from the schema: keys of every group and
learner with fitting values, wrong types, values out of range, huge, negative, empty, in other scripts, NaN or very
long, names of options that exist or don't, and characters that shells and Hydra read. It has 60 s and 3 GiB. A run
that says it will take longer is ended (`announced as long`), and so is a compared method that begins to train a
network without saying how long that takes; one that has committed a round before an error keeps its folder.
"""

import random
import re
import shlex
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from experiments.trust import common
from experiments.trust.common import Ended, Trial
from hsi_al.config.folder import configuration_folder
from hsi_al.config.schema import Config, EffortConfig
from hsi_al.methods.registry import all_methods
from hsi_al.options import Allowed, options_of

FINISHED, REFUSED, LONG, BUG, SLOW, NO_SENTENCE, LEFT, UNFINISHED = (
    *("finished", "refused in one sentence", "announced as long", "traceback or exit code", "too slow"),
    *("no sentence", "files left behind", "exit 0 without a finished run"),
)
OUTCOMES = (FINISHED, REFUSED, LONG, BUG, SLOW, NO_SENTENCE, LEFT, UNFINISHED)
NUMBERS = (
    *("0", "1", "-1", "2", "3", "7", "12", "0.5", "-0.0", "1e-320", "1e18", "99999999999", "9223372036854775808"),
    *("1" + 40 * "0", "-1e30", "nan", "inf", "-inf", "1e400", "0x10", "1_000", "1e3", "007"),
)
TEXTS = (
    *("", "null", "true", "no", "None", "word", "two words", "''", '""', "'a b'", '"', "'", "\\", "a\\,b", "`id`"),
    *(
        "$(id)",
        "$HOME",
        "${seed}",
        "${nosuch.key}",
        "${oc.env:NOSUCH}",
        "${",
        "}",
        "{a:1}",
        "{",
        "[",
        "]",
        "[]",
        "[1,2]",
    ),
    *(
        "[[1]]",
        "[a,b,c]",
        "{}",
        "a=b",
        "a,b",
        "1,2",
        "range(1,3)",
        "choice(1,2)",
        "glob(*)",
        "int(1.5)",
        "*",
        "~",
        "@x",
    ),
    *(
        "#x",
        "a;b",
        "a|b",
        "a&b",
        "<x>",
        "%s",
        "%00",
        "a\tb",
        "a\nb",
        " ",
        "ü",
        "数据",
        "🌽",
        "\u202eabc",
        "e\u0301",
        "-",
    ),
    *("--", "-m", "..", ".", "/", "a/b", "../x", "/dev/null", "/dev/null/x", "/proc/self/mem", "/nowhere/x.mat"),
    *("x.mat", "tiny.mat", ".mat", "x" * 300, "x" * 20000, "[" * 200, "[" + "1," * 5000 + "1]"),
)
LONG_SECONDS = 20  # a run that announces more is not waited for
GROUPS = (
    "dataset",
    "split",
    "protocol",
    "learner",
    "backbone",
    "acquisition",
    "oracle",
    "trainer",
    "logger",
    "experiment",
)


@cache
def all_keys() -> list[tuple[str, Any, Allowed]]:
    """Return every key of every learner with its default and allowed values."""
    found = {key: (key, value, allowed) for key, value, allowed in options_of(Config())}
    for method in all_methods().values():
        for key, value, allowed in options_of(method.settings(), "learner."):
            found.setdefault(key, (key, value, allowed))
    return [*found.values(), ("hydra.run.dir", "outputs/x", Allowed())]


def fitting(rng: random.Random, default: object, allowed: Allowed) -> str:
    """Return a value that the key accepts by itself, or lies just outside its bounds."""
    if allowed.choices:
        return str(rng.choice(allowed.choices)).lower()
    bounds = [bound for bound in (allowed.low, allowed.high, allowed.above, allowed.below) if bound is not None]
    if not bounds:
        return str(default)
    value = rng.choice(bounds) + rng.choice([0, 0, 1, 1, 2, 5, 10, 50, -1, 0.1, 0.5])
    return f"{value:g}"


def folder_safe(key: str, value: str) -> str:
    """Return the value, or another one where the key would write outside the working directory."""
    return value.lstrip("/").replace("..", "x") or "x" if key == "hydra.run.dir" and "dev" not in value else value


def word(rng: random.Random) -> str:
    """Return one word of a command line."""
    if rng.random() < 0.2:
        group = rng.choice(GROUPS)
        names = [path.stem for path in (configuration_folder() / group).glob("*.yaml")]
        return f"{group}={rng.choice([*sorted(names), *sorted(names), rng.choice(TEXTS)])}"
    key, default, allowed = rng.choice(all_keys())
    value = fitting(rng, default, allowed) if rng.random() < 0.65 else rng.choice(NUMBERS + TEXTS)
    prefix = rng.choice([""] * 30 + ["+", "++", "~"])
    key = rng.choice(
        [key] * 30 + [key[:-1], key.upper(), f"{key}.x", key.split(".")[-1], f" {key}", f"{key} ", f"{key}@x"]
    )
    return rng.choice([f"{prefix}{key}={folder_safe(key, value)}"] * 40 + [f"{prefix}{key}", f"={value}", value])


def line(seed: int, number: int) -> tuple[list[str], list[str]]:
    """Return the words of a command line: those of every line, and those drawn."""
    rng = random.Random(f"{seed} {number}")
    drawn = [word(rng) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
    given = {item.lstrip("+~").split("=")[0] for item in drawn}
    base = [item for item in (*common.SCENE, *common.ARGUMENTS) if item.split("=")[0] not in given]
    if "dataset" in given and "dataset=custom" not in drawn:
        base = [item for item in base if not item.startswith("dataset.")]
    return base, drawn


def announced(out: str) -> float:
    """Return the seconds that a run says it will take, 0 if it doesn't say."""
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    said = re.search(r"^Work: .*: about (.*) on ", out, re.M)
    return sum(float(size) * units[unit] for size, unit in re.findall(r"(\d+) (s|min|h|d)\b", said[1])) if said else 0


def is_long(out: str, words: Sequence[str]) -> bool:
    """Return whether a run has said that it takes long, or has begun to train as the paper of its method says."""
    trained = {f"learner={name}" for name, method in all_methods().items() if issubclass(method.settings, EffortConfig)}
    return announced(out) > LONG_SECONDS or ("Work: " in out and "about" not in out and bool(trained & set(words)))


def left_behind(folder: Path) -> list[str]:
    """Return the names of new files and folders, but for those of runs with a committed round."""
    committed = [pool.parent for pool in folder.rglob("pool.h5")]
    kept = {parent for run in committed for parent in (run, *run.parents)}
    paths = [
        path for path in folder.rglob("*") if path not in kept and not any(run in path.parents for run in committed)
    ]
    return sorted(str(path.relative_to(folder)) for path in paths if path.name not in ("tiny.mat", "cache"))


def judged(folder: Path, done: Ended, words: Sequence[str]) -> tuple[str, str]:
    """Return outcome and details of a command line."""
    if done.code is None:
        return (LONG if is_long(done.out, words) else SLOW), done.told
    if done.outcome == "exit 0":
        finished = any('"state": "finished"' in meta.read_text(encoding="utf-8") for meta in folder.rglob("meta.json"))
        return (FINISHED if finished else UNFINISHED), f"{done}"
    if done.outcome != "one sentence":
        return (NO_SENTENCE if done.outcome == "no sentence" else BUG), done.told
    left = left_behind(folder)
    return (LEFT, f"{done}; left: {', '.join(left)[:300]}") if left else (REFUSED, f"{done}")


def attempt(folder: Path, words: Sequence[str]) -> tuple[str, str]:
    """Call the command line in an empty folder with the tiny scene and return outcome and details."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    common.write_tiny(folder)
    return judged(folder, common.ended(folder, words, common.undrawn, enough=lambda out: is_long(out, words)), words)


def measure(n: int = 1000, seed: int = 0, only: int | None = None) -> list[Trial]:
    """Call n command lines; `only` repeats the one of that number."""
    trials = []
    with common.place() as folder:
        for number in range(n) if only is None else [only]:
            base, drawn = line(seed, number)
            outcome, details = attempt(folder / "now", [*base, *drawn])
            kind = f"{len(drawn)} drawn word{'s' if len(drawn) > 1 else ''}"
            trials.append(Trial(kind, outcome, f"`{shlex.join(drawn)[:300]}`: {details}", number))
    return sorted(trials, key=lambda trial: trial.kind)


if __name__ == "__main__":
    common.main("command_lines", __doc__ or "", measure, OUTCOMES, OUTCOMES[3:], 1000)
