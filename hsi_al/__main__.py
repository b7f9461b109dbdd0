"""The commands of the package: `python -m hsi_al`."""

import sys
from collections.abc import Sequence

from hsi_al.cli.console import guarded
from hsi_al.errors import ConfigurationError

COMMANDS = {
    "run": "learns a scene in rounds of labels, and records accuracies and maps",
    "label": "asks a person for labels in the browser, maps the scene, checks the map",
    "predict": "applies a finished run to another cube",
    "assess": "draws pixels of a map to check, and tells its accuracy and areas from the answers",
    "report": "tables, comparisons and pictures of runs",
    "scenes": "describes a file of a scene, and says how to run it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the commands and return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)

    def work() -> None:
        for name in given:
            if name in COMMANDS:
                raise ConfigurationError(f"The command {name!r} is written with a dot: python -m hsi_al.{name}.")
            if name not in ("--help", "-h"):
                raise ConfigurationError(f"There is no command {name!r}; python -m hsi_al alone lists what there is.")
        print("hsi_al: active learning for hyperspectral image classification\n")
        for name, meaning in COMMANDS.items():
            print(f"  python -m hsi_al.{name:<9}{meaning}")
        print("\nEach explains its arguments with --help. In Python: import hsi_al; help(hsi_al).")

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
