"""Composing the configuration with Hydra from the files in conf/."""

from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from hsi_al.config.checks import checked
from hsi_al.config.folder import configuration_folder
from hsi_al.config.schema import Config
from hsi_al.methods.registry import added_methods, all_methods


def options_of_group(group: str, config_dir: str | None = None) -> list[str]:
    """Return the options of a group; [] for a key that is no group.

    Args:
        group: Name of the group, such as `protocol`.
        config_dir: The user's own folder of configurations.
    """
    folders = [configuration_folder(), *([Path(config_dir)] if config_dir else [])]
    names = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    return sorted(names | (added_methods().keys() if group == "learner" else set()))


def register() -> None:
    """Register the schema, all learners and the resolver `compared_learners` with Hydra.

    Raises:
        ConfigurationError: A learner that another package adds can't be used.
    """
    schemas = {f"{name}_schema": method.settings for name, method in all_methods().items()}
    added = {name: method.settings for name, method in added_methods().items()}
    store_once(tuple(schemas.items()), tuple(added.items()))


@cache
def store_once(schemas: tuple[tuple[str, type], ...], added: tuple[tuple[str, type], ...]) -> None:
    """Store the schemas of learners, and the learners that other packages add, unless they are stored."""
    OmegaConf.register_new_resolver("compared_learners", compared_learners, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, settings in schemas:
        store.store(group="learner", name=name, node=settings)
    for name, settings in added:
        store.store(group="learner", name=name, node=settings(name=name, method=name))


def compared_learners() -> str:
    """Return the learners of the paper's tables, comma-separated for a sweep: those that declare `compared`."""
    return ",".join(name for name, method in all_methods().items() if method.compared)


def composed(overrides: list[str]) -> tuple[Config, str]:
    """Return the checked configuration for the given overrides, and the run directory relative to outputs/.

    Raises:
        ConfigurationError: As for `hsi_al.config.checks.checked`.
    """
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        config: DictConfig = compose("config", overrides, return_hydra_config=True)
        subdir: str = config.hydra.sweep.subdir
    with open_dict(config):
        del config.hydra
    return checked(config), subdir
