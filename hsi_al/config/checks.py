"""Checks of a composed configuration: unknown keys, values out of range, impossible combinations."""

import hashlib
import re
from typing import Any

from omegaconf import OmegaConf

from hsi_al.config.kept import to_dict
from hsi_al.config.plain import flatten, literal
from hsi_al.config.schema import KINDS_WITH, NEW_GROUND, OWN, QUESTIONS, Config, SplitConfig
from hsi_al.errors import ConfigurationError
from hsi_al.options import options_of
from hsi_al.terminal import printable

EQUAL_SHARES = ("uniform", "per_class")  # the default, and what protocol.per_class does
MOST_BYTES = 150  # of a name, to which the name of a folder may add others: file systems take 255
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows


def checked(composed: Any) -> Config:  # noqa: ANN401
    """Turn a composed configuration into `Config` and check what types alone don't: ranges and combinations.

    Raises:
        ConfigurationError: An unknown key, a value out of range, or a combination that can't work.
        OmegaConfBaseException: A value of another type.
    """
    config = OmegaConf.to_object(composed)
    assert isinstance(config, Config)
    # Interpolations may have given a key a value of another type, which OmegaConf finds only when it is assigned.
    OmegaConf.merge(OmegaConf.structured(Config(learner=type(config.learner)())), literal(to_dict(config)))
    known = flatten(to_dict(config))
    if unknown := flatten(OmegaConf.to_container(composed)).keys() - known.keys():
        raise ConfigurationError(f"There is no key {', '.join(sorted(unknown))}; --cfg job lists all keys.")
    for key, value, allowed in options_of(config):
        if problem := allowed.problem(value):
            raise ConfigurationError(f"{key}={value} {problem}")
    check_combinations(config)
    return config


def are_bands(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value of `dataset.bands` is None, or a list of numbers or of pairs of numbers."""

    def is_number(entry: Any) -> bool:  # noqa: ANN401
        return type(entry) in (int, float)

    return value is None or (
        isinstance(value, list)
        and all(
            type(entry) is int or (isinstance(entry, list) and len(entry) == 2 and all(map(is_number, entry)))
            for entry in value
        )
    )


def are_names(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value of `dataset.class_names` is None, a list of names, or label values and their names."""
    if isinstance(value, dict):
        return all(type(key) is int and key >= 0 for key in value) and are_names(list(value.values()))
    return value is None or (isinstance(value, list) and all(isinstance(name, str) and name for name in value))


def check_combinations(config: Config) -> None:
    """Raise ConfigurationError for values that exclude each other."""
    protocol = config.protocol
    if protocol.lr_warm_up and protocol.schedule == "one_cycle":
        raise ConfigurationError(
            f"protocol.schedule=one_cycle has its own warm-up; leave out protocol.lr_warm_up={protocol.lr_warm_up:g}, "
            "or take protocol.schedule=cosine or constant."
        )
    if config.acquisition.name == "none" and protocol.rounds > 0:
        raise ConfigurationError(
            f"acquisition=none never queries, but protocol.rounds={protocol.rounds}; set protocol.rounds=0."
        )
    if config.acquisition.by_step is not None and config.acquisition.by is None:
        raise ConfigurationError(
            f"acquisition.by_step={config.acquisition.by_step} says how many labels another learner asks at once, but "
            "there is none; set acquisition.by, or leave out acquisition.by_step."
        )
    if config.acquisition.name in ("loss_prediction", "loss_prediction_diverse") and protocol.batch_size % 2:
        raise ConfigurationError(
            f"protocol.batch_size={protocol.batch_size} is odd, but the ranking loss pairs the pixels of a batch; "
            "choose an even batch size."
        )
    if protocol.initial in ("kmeans", "typiclust") and (protocol.min_per_class or protocol.per_class):
        raise ConfigurationError(
            f"protocol.initial={protocol.initial} ignores labels, so it can't guarantee any per class; leave out "
            "protocol.min_per_class and protocol.per_class, or take protocol.initial=uniform."
        )
    if config.map.filter != "none":
        if config.map.side % 2 == 0:
            raise ConfigurationError(
                f"map.side={config.map.side} is even: a pixel has no middle there; take an odd side."
            )
        if not protocol.full_map:
            raise ConfigurationError(
                f"map.filter={config.map.filter} needs the map of the whole scene; set protocol.full_map=true."
            )
    if config.oracle.name == OWN or config.oracle.function is not None:
        raise ConfigurationError(
            "oracle.name=own stands for a function that was given to hsi_al.Experiment; take oracle=ground_truth."
        )
    if protocol.labels_at is not None and protocol.labels_from is None:
        raise ConfigurationError(
            f"protocol.labels_at={protocol.labels_at} counts the labels of another run, but there is none; set "
            "protocol.labels_from, or protocol.initial_size for a draw."
        )
    if protocol.stop_at is not None and config.split.kind == "paper":
        raise ConfigurationError(
            f"protocol.stop_at={protocol.stop_at} needs fixed test pixels, but split=paper tests on the candidates "
            "not labelled yet; take another split, or protocol.stop_when_stable."
        )
    if config.dataset.test_file is not None and config.split.kind != "given":
        raise ConfigurationError(
            f"dataset.test_file says which pixels test, and so does split={config.split.kind}; take split=given, or "
            "leave dataset.test_file out."
        )
    if not are_bands(config.dataset.bands):
        raise ConfigurationError(
            f"dataset.bands={config.dataset.bands} is no list of bands; give numbers from 0, such as [0,1,5], or "
            "ranges in nm, such as [[400,1340],[1460,1790]]."
        )
    if not are_names(config.dataset.class_names):
        raise ConfigurationError(
            f"dataset.class_names={config.dataset.class_names} names no classes; give a list of names, such as "
            '[wheat,maize], or label values and names, such as "{3: wheat, 7: maize}".'
        )
    if config.split.fold and config.split.kind in ("paper", "given"):
        raise ConfigurationError(
            f"split.fold={config.split.fold} numbers divisions, but split={config.split.kind} divides nothing; "
            "leave out split.fold, or take another split."
        )
    if config.split.guard is not None and QUESTIONS[config.split.kind] != NEW_GROUND:
        raise ConfigurationError(
            f"split.guard={config.split.guard} keeps test pixels away from candidates, which split={config.split.kind} "
            "mixes; leave it out, or take split=blocks, checkerboard or fields."
        )
    if config.split.new_ground is not None and QUESTIONS[config.split.kind] != NEW_GROUND:
        raise ConfigurationError(
            f"split.new_ground={config.split.new_ground} asks where no initial label lies, but "
            f"split={config.split.kind} divides no ground; leave it out, or take split=blocks, checkerboard or fields."
        )
    for key, kinds in KINDS_WITH.items():
        value = getattr(config.split, key)
        if value != getattr(SplitConfig, key) and config.split.kind not in kinds:
            raise ConfigurationError(
                f"split.{key}={value} has no effect with split={config.split.kind}; leave it out, or take "
                f"split={' or '.join(kinds)}."
            )
    if protocol.per_class is not None and (protocol.min_per_class or protocol.initial not in EQUAL_SHARES):
        raise ConfigurationError(
            f"protocol.per_class={protocol.per_class} draws equally many of every class, so that "
            "protocol.min_per_class and protocol.initial have no effect; leave them out, or protocol.per_class."
        )
    folders = {
        f"{part}.name": getattr(config, part).name for part in ("dataset", "experiment", "acquisition", "protocol")
    }
    for key, name in (folders | {"learner.method": config.learner.method}).items():
        if not can_be_folder(name):
            raise ConfigurationError(
                f"{key}={name!r} names a folder: it can't be empty, . or .., contain / \\ = , or control characters, "
                f"begin or end with a space, end with a dot, take more than {MOST_BYTES} bytes, or be a name that "
                "Windows reserves, such as CON."
            )


def can_be_folder(name: str) -> bool:
    """Return whether folders of this name can be made on all file systems, and read as part of a run's path."""
    return not (
        set(name) & set("/\\=,")
        or name != printable(name)
        or name != name.strip().rstrip(".")
        or not 0 < len(name.encode()) <= MOST_BYTES
        or RESERVED.fullmatch(name)
    )


def folder(name: object) -> str:
    """Return a name that a folder can have: the given one, or `refused` in place of one that `checked` refuses.

    Hydra makes the folder of a run before the configuration is checked; it must lie where it can be removed.
    """
    return str(name) if can_be_folder(str(name).replace("=", "-")) else "refused"  # margin-min_distance=8


def in_folder(value: object) -> str:
    """Return a value as part of the name of a folder, without the characters that some file systems lack.

    Where these are others than those of a list, or the text is long, digits follow that tell it from texts like it.
    """
    text = str(value)
    plain = re.sub(r"[^\w.-]+", "_", text).strip("_")[:60]
    digits = hashlib.sha256(text.encode()).hexdigest()[:8]
    return plain if plain and plain == re.sub(r", *", "_", text.strip("[]")) else f"{plain}-{digits}"


OmegaConf.register_new_resolver("in_folder", in_folder, replace=True)  # as `folder`
OmegaConf.register_new_resolver("folder", folder, replace=True)  # on import: jobs of a sweep resolve their own folders
