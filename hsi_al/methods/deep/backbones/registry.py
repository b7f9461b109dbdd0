"""The backbones by name: what the files of this folder list in `NETWORKS`."""

import pkgutil
from functools import cache
from importlib import import_module

from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep import backbones
from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan


@cache
def networks() -> dict[str, Network]:
    """All of them by name."""
    found: dict[str, Network] = {}
    for file in pkgutil.iter_modules(backbones.__path__):
        found |= getattr(import_module(f"{backbones.__name__}.{file.name}"), "NETWORKS", {})
    return found


def network(name: str) -> Network:
    """The one with this name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in networks():
        raise ConfigurationError(f"There is no backbone {name!r}; the backbones are {', '.join(networks())}.")
    return networks()[name]


def build_backbone(plan: Plan) -> Backbone:
    """Build a backbone for patches (B, n_bands, patch_size, patch_size).

    Raises:
        ConfigurationError: Unknown name, or patches too small for the network.
    """
    return network(plan.name).build(plan)
