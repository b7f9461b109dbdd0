"""The command `python -m hsi_al.label SCENE`: a page in the browser, on which a person labels a scene.

The page proposes pixels and shows the map that follows from the answers. Everything is kept in the session's folder,
answer by answer; the same command continues. `python -m hsi_al.label export SESSION` writes map and labels as files.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hsi_al.cli.console import guarded
from hsi_al.errors import ConfigurationError

NEEDED = ("fastapi", "uvicorn")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m hsi_al.label", description=__doc__.split("\n\n")[0])
    found.add_argument("scene", metavar="SCENE", help="file of the scene, or name of a scene of the catalogue")
    found.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="keys of python -m hsi_al.run --help")
    found.add_argument("--key", help="key of the cube in its file; default: the only array in the file")
    found.add_argument("--classes", default="", help="names of the classes, separated by commas; more on the page")
    found.add_argument("--session", type=Path, help="folder of the session; default: sessions/<name of the scene>")
    found.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; default: a free one")
    found.add_argument("--who", help="who answers; default: the user of the operating system")
    found.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""

    def work() -> None:
        given = parser().parse_intermixed_args(argv)
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigurationError(
                f"Labelling needs {' and '.join(missing)}, which the extra label brings: pip install 'hsi_al[label]'."
            )
        from hsi_al.label.running import label

        label(
            given.scene,
            given.overrides,
            key=given.key,
            classes=[name.strip() for name in given.classes.split(",") if name.strip()],
            folder=given.session,
            port=given.port,
            who=given.who,
            browser=not given.no_browser,
        )

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
