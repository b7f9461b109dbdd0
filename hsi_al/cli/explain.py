"""Readable one-sentence messages for errors raised by Hydra, OmegaConf and the operating system."""

import sys
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf

from hsi_al.config.schema import Config
from hsi_al.config.sentences import one_sentence
from hsi_al.errors import HsiAlError, sentence
from hsi_al.methods.registry import all_methods


def explained(error: BaseException) -> str:
    """Return the message for an error: that of an `HsiAlError` unchanged, others reworded in one sentence."""
    if isinstance(error, HsiAlError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return sentence(error)
    return one_sentence(error, schema_of_keys())


def schema_of_keys() -> Any:  # noqa: ANN401
    """Return all keys with their defaults; the learner's keys are those of the learner on the command line."""
    chosen = [argument.removeprefix("learner=") for argument in sys.argv[1:] if argument.startswith("learner=")]
    known = all_methods()
    method = known.get(chosen[-1] if chosen else "deep", known["deep"])
    return OmegaConf.structured(Config(learner=method.settings()))
