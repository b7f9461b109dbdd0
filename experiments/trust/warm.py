"""What a run imports late, and the parsed files of conf/: for the server that forks the scripts' processes.

A script starts a thousand runs of a second each, most of which would be spent here. Nothing else is changed.
"""

import copy
from typing import Any

import hydra._internal.hydra
import matplotlib.font_manager
import scipy.io
import sklearn.svm
import torch._dynamo  # Lightning asks for it
import yaml

import hsi_al.predict
import hsi_al.report.__main__
from hsi_al.acquisition.registry import acquisitions
from hsi_al.cli.composition import composed
from hsi_al.garbage import garbage

parsed = yaml.load
kept: dict[tuple[str, str], Any] = {}


def parsed_once(stream: Any, Loader: Any) -> Any:  # noqa: ANN401
    """Parse a text once per server."""
    text = stream if isinstance(stream, str) else stream.read()
    if (text, Loader.__name__) not in kept:
        kept[text, Loader.__name__] = parsed(text, Loader=Loader)
    return copy.deepcopy(kept[text, Loader.__name__])


yaml.load = parsed_once
# Hydra composes everything a first time to look for hydra.mode.
hydra._internal.hydra.Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
for learner in ("deep", "emp_svm"):
    composed(["dataset=custom", "protocol=smoke", "backbone=lenet", "acquisition=entropy", f"learner={learner}"])
acquisitions()  # imports their modules
old = garbage.leaving_out_the_old()
old.__enter__()  # what is imported need not be looked at after every round
__all__ = ["hsi_al", "matplotlib", "scipy", "sklearn", "torch"]
