"""The command line before Hydra composes it: each argument that can't work is named in one sentence with a way out."""

import re
import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from hsi_al.cli.composition import options_of_group
from hsi_al.config.plain import check_folder, literal
from hsi_al.config.schema import Config
from hsi_al.config.sentences import no_option
from hsi_al.errors import ConfigurationError
from hsi_al.methods.registry import all_methods
from hsi_al.options import options_of

SHOWN = 200  # characters of a wrong argument in a message
LONGEST = 5000  # characters of an argument that is worth writing anew: longer than any path
PLUGINS = ("hydra.launcher", "hydra.sweeper")
# What Hydra's parser raises: numbers of thousands of digits are ValueErrors, deep nesting ends in a RecursionError.
UNREADABLE = (HydraException, ValueError, TypeError, RecursionError)


def parsed_arguments(argv: Sequence[str]) -> Namespace:
    """Return Hydra's options of a command line by name, and its `key=value` arguments as `overrides`.

    Raises:
        ConfigurationError: There is no such option, it lacks its value, or a folder of configurations can't be used.
    """

    def refuse(message: str) -> NoReturn:
        raise ConfigurationError(f"{message[0].upper()}{message[1:]}; --hydra-help lists the options.")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]  # it would print the usage of all options
    given = parser.parse_intermixed_args(list(argv))
    if given.experimental_rerun is not None:
        raise ConfigurationError("--experimental-rerun isn't supported; give the arguments of the run again.")
    for folder in filter(None, (given.config_dir, given.config_path)):
        check_folder(Path(folder))
    return given


def options_first(argv: Sequence[str], given: Namespace) -> list[str]:
    """Return the command line with its `key=value` arguments at the end: Hydra takes none after an option."""
    return [*(argument for argument in argv if argument not in given.overrides), *given.overrides]


def parsed_overrides(given: Namespace) -> list[Override]:
    """Parse the `key=value` arguments of a command line.

    Raises:
        ConfigurationError: One can't be read, gives several values outside a multirun, or no name to a group.
    """
    parser = OverridesParser.create()
    overrides = [readable(argument, parser) for argument in given.overrides]
    known = list(defaults())
    for override in overrides:
        if override.is_sweep_override() and not given.multirun:
            raise ConfigurationError(several_values(override.input_line or ""))
        check_group(override, given.config_dir)
        check_place(override, known)
        check_boolean(override, known)
    return overrides


def readable(argument: str, parser: OverridesParser) -> Override:
    """Parse one `key=value` argument.

    Raises:
        ConfigurationError: It can't be read; the message shows it quoted for shell and Hydra.
    """
    with suppress(*UNREADABLE):
        override = parser.parse_overrides([argument])[0]
        if override.key_or_group:
            return override
    key, _, value = argument.partition("=")
    if "=" not in argument or not key or not is_key(key, parser):
        raise ConfigurationError(f"The argument {cut(argument)} is no key=value; --help lists the keys.")
    if len(argument) > LONGEST:
        raise ConfigurationError(f"The argument {cut(argument)} is too long to be read.")
    raise ConfigurationError(
        f"The argument {cut(argument)} can't be read: characters such as ( ) [ ] {{ }} = ~ # and letters beyond ASCII "
        f"need quotes inside those of the shell; write {shlex.quote(quoted(key, value))}."
    )


def is_key(text: str, parser: OverridesParser) -> bool:
    """Return whether Hydra takes a text for a key, which may begin with + or ~."""
    try:
        parser.parse_overrides([f"{text}=0"])
    except UNREADABLE:
        return False
    return True


def quoted(key: str, value: str) -> str:
    """Return an argument whose value Hydra reads as just this text; in brackets or braces, as texts in such."""
    ends, inside = value[:1] + value[-1:], value[1:-1]
    if ends == "[]":
        return f"{key}=[{','.join(element(part.strip()) for part in inside.split(','))}]"
    pairs = [part.partition(":") for part in re.findall(r"(?:\"[^\"]*\"|[^,\"])+", inside)]
    if ends == "{}" and pairs and all(colon for _, colon, _ in pairs):
        return f"{key}={{{', '.join(f'{name.strip()}: {element(of.strip())}' for name, _, of in pairs)}}}"
    return f"{key}={text(value)}"


def element(part: str) -> str:
    """Return an element of a list, quoted where it isn't a plain word, a number or quoted already."""
    plain = re.fullmatch(r"[\w.+-]+|\"[^\"\\]*\"|'[^'\\]*'", part, re.ASCII)
    return part if plain else text(part)


def text(value: str) -> str:
    """Return text in double quotes as Hydra reads them; OmegaConf takes its `${` for no interpolation."""
    return QuotedString(literal(value), Quote.double).with_quotes()


def several_values(argument: str) -> str:
    """Say what to do with `key=a,b` outside a multirun."""
    key, _, value = argument.partition("=")
    return (
        f"{cut(argument)} gives several values: add -m to run them all, or write "
        f"{shlex.quote(quoted(key, f'[{value}]'))} for a list, {shlex.quote(f'{key}={text(value)}')} for a text."
    )


def check_group(override: Override, config_dir: str | None) -> None:
    """Raise ConfigurationError for a group whose value is neither a name, names nor keys: Hydra would fail."""
    key, value, shown = override.key_or_group, override.value(), cut(override.input_line or "")
    if (key in PLUGINS and not isinstance(value, dict)) or (key.startswith("hydra.") and key.endswith("._target_")):
        group = ".".join(key.split(".")[:2]).replace(".", "/")
        raise ConfigurationError(f"{shown} can't be set; choose {group}=<name>, and its keys one by one.")
    names = value if isinstance(value, list) else [value]
    if override.is_sweep_override() or override.is_delete() or all(isinstance(name, str) for name in names):
        return
    if key == "hydra" or key.startswith("hydra/"):
        raise ConfigurationError(f"{shown} must be the name of an option; --hydra-help lists them.")
    options = options_of_group(key, config_dir)
    if options and not isinstance(value, dict):
        raise ConfigurationError(no_option(key, "null" if value is None else str(value), options))


def check_place(override: Override, known: Sequence[tuple[str, Any]]) -> None:
    """Raise ConfigurationError for a key below one that holds a value: OmegaConf would fail."""
    key = override.key_or_group
    for above, _ in known:
        if key.startswith(f"{above}."):
            raise ConfigurationError(f"There is no key {cut(key)}: {above} holds a value; --cfg job lists all keys.")


def check_boolean(override: Override, known: Sequence[tuple[str, Any]]) -> None:
    """Raise ConfigurationError for a number as the value of a boolean, but for 0 and 1: OmegaConf takes any."""
    value = override.value()
    if isinstance(value, bool) or not isinstance(value, int) or value in (0, 1):
        return
    if any(override.key_or_group == key and isinstance(default, bool) for key, default in known):
        raise ConfigurationError(f"{cut(override.input_line or '')} is no boolean; write true or false.")


def defaults() -> Iterator[tuple[str, Any]]:
    """Yield all keys and their defaults, those of every learner among them."""
    for method in all_methods().values():
        for key, default, _ in options_of(Config(learner=method.settings())):
            yield key, default


def cut(argument: str) -> str:
    """Shorten an argument for a message."""
    return argument if len(argument) <= SHOWN else f"{argument[:SHOWN]}..."
