"""The backbones by name, from the `NETWORKS` tables of the files in this folder."""

import pkgutil
from functools import cache
from importlib import import_module

from hsi_al.errors import ConfigurationError
from hsi_al.methods.deep import backbones
from hsi_al.methods.deep.backbones.base import Backbone, Network, Plan


@cache
def networks() -> dict[str, Network]:
    """Return all backbones by name."""
    found: dict[str, Network] = {}
    for file in pkgutil.iter_modules(backbones.__path__):
        found |= getattr(import_module(f"{backbones.__name__}.{file.name}"), "NETWORKS", {})
    return found


def network(name: str) -> Network:
    """Return the backbone of this name.

    Raises:
        ConfigurationError: There is no such backbone.
    """
    if name not in networks():
        raise ConfigurationError(f"There is no backbone {name!r}; choose one of {', '.join(networks())}.")
    return networks()[name]


def build_backbone(plan: Plan) -> Backbone:
    """Build a backbone for patches (B, n_bands, patch_size, patch_size).

    Raises:
        ConfigurationError: The name is unknown, or the patches are too small for the network.
    """
    return network(plan.name).build(plan)
