"""The folder conf/, whose files set the keys of every option of every group."""

from pathlib import Path
from typing import Any

from hsi_al.config.plain import plain_yaml
from hsi_al.errors import HsiAlError


def configuration_folder() -> Path:
    """Return the folder conf/: inside an installed package, beside the package in a checkout.

    Raises:
        HsiAlError: There is no such folder.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise HsiAlError(f"The configuration folder conf/ is missing beside {package}; install hsi_al again.")


def values_of_option(group: str, name: str) -> dict[str, Any]:
    """Return the keys that an option of a group sets, without the group: conf/<group>/<name>.yaml.

    Raises:
        OSError: There is no such option.
    """
    values: dict[str, Any] = plain_yaml(configuration_folder() / group / f"{name}.yaml")
    return {key: value for key, value in values.items() if key != "defaults"}
