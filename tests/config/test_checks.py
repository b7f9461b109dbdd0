"""Values of keys: every number has its bounds, and a name that becomes a folder can be one anywhere."""

import math
import re
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from hsi_al.cli.console import guarded
from hsi_al.cli.explain import explained
from hsi_al.config.checks import can_be_folder, checked, in_folder
from hsi_al.config.schema import Config
from hsi_al.config.sentences import one_sentence
from hsi_al.errors import ConfigurationError
from hsi_al.methods.registry import own_methods
from hsi_al.options import Allowed, options_of
from hsi_al.run import USER_ERRORS

NAMES = {
    **{f"{part}.name": "x" for part in ("dataset", "protocol", "backbone", "experiment")},
    **{"acquisition.name": "entropy", "oracle.name": "ground_truth", "logger.name": "none", "split.kind": "paper"},
    "learner.method": "x",
}


def settings(learner: str) -> DictConfig:
    """A configuration that is accepted."""
    config = OmegaConf.structured(Config(learner=own_methods()[learner].settings(name=learner, method=learner)))
    for key, value in NAMES.items():
        OmegaConf.update(config, key, value)
    return config  # type: ignore[no-any-return]


def types_of(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their types as text."""
    for name, hint in typing.get_type_hints(kind).items():
        if is_dataclass(hint):
            yield from types_of(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(hint)


def numbers(learner: str) -> dict[str, tuple[str, Allowed]]:
    """The numeric keys of a configuration, but those that may be NaN: their types and what each accepts."""
    own = own_methods()[learner].settings
    types = dict(types_of(Config)) | dict(types_of(own, "learner."))
    return {
        key: (types[key], allowed)
        for key, _, allowed in options_of(Config(learner=own()))
        if allowed.finite and re.search(r"\b(int|float)\b", types[key])
    }


LEARNERS = list(own_methods())


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_number_has_bounds(learner: str) -> None:
    found = numbers(learner)
    assert {"seed", "protocol.lr", "dataset.classes", "trainer.predict_batch_size"} <= found.keys()
    for key, (_, allowed) in found.items():
        assert allowed.low is not None or allowed.above is not None, key
        assert any(bound is not None for bound in (allowed.high, allowed.below, allowed.most)), key


WRONG = (math.nan, math.inf, -math.inf, "nan", "-inf", 2**63, -1, 1e300, "", True, "1e400", [[1]], {"a": 1})


@pytest.mark.parametrize("learner", LEARNERS)
def test_no_number_takes_what_is_none(learner: str, capsys: pytest.CaptureFixture[str]) -> None:
    config, found = settings(learner), numbers(learner)
    keys = [key for key in found if learner == "deep" or key.startswith("learner.")]
    for key in keys:
        kind, allowed = found[key]
        before = OmegaConf.select(config, key)
        for value in (*WRONG, *([] if "float" in kind else [1.5])):
            if value == -1 and (allowed.low if allowed.low is not None else allowed.above or 0) < 0:
                continue
            given = [value] if "list" in kind else value
            work = partial(assigned, config, key, given, allowed)
            assert guarded(work, USER_ERRORS, partial(one_sentence, schema=config)) == 2, (key, value)
            (line,) = capsys.readouterr().err.splitlines()
            assert key in line and line.startswith("hsi_al: error: "), line
            OmegaConf.update(config, key, before, merge=False)


def assigned(config: DictConfig, key: str, value: Any, allowed: Allowed) -> None:
    """Give a key a value as the command line does; of `checked` only what concerns this key, which takes less time."""
    OmegaConf.update(config, key, value, merge=False)
    now = OmegaConf.select(config, key)
    now = OmegaConf.to_container(now) if isinstance(now, ListConfig) else now
    if problem := allowed.problem(now):
        raise ConfigurationError(f"{key}={now} {problem}")


@pytest.mark.parametrize("key", numbers("deep"))
def test_what_no_number_may_be_ends_a_run_before_it_starts(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    config, kind = settings("deep"), numbers("deep")[key][0]
    value: Any = 1e300 if "float" in kind else 2**63
    OmegaConf.update(config, key, [value] if "list" in kind else value)
    assert guarded(lambda: checked(config), USER_ERRORS, explained) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hsi_al: error: {key}=")


@pytest.mark.parametrize("key", ["dataset.class_names", "dataset.classes", "logger.tags", "protocol.epochs"])
def test_interpolations_give_no_other_type(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings("deep")
    OmegaConf.update(config, key, "${backbone.dropout}", merge=False)
    assert guarded(lambda: checked(config), USER_ERRORS, explained) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert key in line


def test_a_long_value_is_not_repeated_whole() -> None:
    said = one_sentence(ValueError(f"Cannot convert {'1, ' * 5000}to bool"), OmegaConf.structured(Config))
    assert len(said) < 1100 and said.startswith("Cannot convert 1, 1") and said.endswith("1, to bool.")


@pytest.mark.parametrize("value", [0, 1, 0.0, "true", "yes", ""])
def test_in_memory_takes_no_number_for_a_boolean(value: object) -> None:
    config = settings("deep")
    OmegaConf.update(config, "dataset.in_memory", value)
    assert guarded(lambda: checked(config), USER_ERRORS, explained) == 2


@pytest.mark.parametrize(
    "name",
    ["field", "Corn (till)", "日本", "a.b", ".a", "a" * 150, "console", "com10", "nullarbor", "margin-x", "x~", "$x"],
)
def test_names_of_folders(name: str) -> None:
    assert can_be_folder(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "...",
            "a.",
            "a ",
            " a",
            " ",
            "a/b",
            "/a",
            "a\\b",
            "a=b",
            "a,b",
            "a\nb",
            "\x1b[31m",
            "\u202ea",
        ),
        *("a" * 151, "é" * 76, "CON", "nul", "Aux.txt", "com1", "LPT9.x", "a\0", "\udc80"),
    ],
)
def test_names_that_are_no_folders(name: str) -> None:
    assert not can_be_folder(name)


@pytest.mark.parametrize(
    "key", ["dataset.name", "experiment.name", "protocol.name", "learner.method", "acquisition.name"]
)
def test_a_name_that_is_no_folder_is_refused(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings("deep")
    OmegaConf.update(config, key, "\x1b[2Jnew\nline")
    assert guarded(lambda: checked(config), USER_ERRORS, explained) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{key}='" in line and "names a folder" in line and "\x1b" not in line


def test_values_in_folders_are_told_apart() -> None:
    assert [in_folder(value) for value in (5, 0.5, "robust", [1, 3], "[1]", None)] == [
        *("5", "0.5", "robust", "1_3", "1", "None")
    ]
    long = "x" * 70
    alike = [f"{long}a", f"{long}b", "a+b", "a_b", "a/b", "", "_"]
    assert len({in_folder(value) for value in alike}) == len(alike)
    assert all(can_be_folder(in_folder(value)) for value in alike)
