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
from hsi_al.terminal import printable

NEEDED = ("fastapi", "uvicorn")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m hsi_al.label", description=__doc__.split("\n\n")[0])
    found.add_argument("scene", metavar="SCENE", help="file of the scene, or name of a scene of the catalogue")
    found.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="keys of python -m hsi_al.run --help")
    found.add_argument("--key", help="key of the cube in its file; default: the only array in the file")
    found.add_argument(
        "--classes", action="append", default=[], help="names of the classes, separated by commas; more on the page"
    )
    found.add_argument(
        "--labels",
        type=Path,
        action="append",
        default=[],
        help="labels to begin with: query.gpkg, points, polygons, a raster; again for each file",
    )
    found.add_argument("--label-field", help="field with the classes in a file of points and polygons")
    found.add_argument("--label-key", help="layer of such files that have several, or key of an array")
    found.add_argument("--assess", type=int, metavar="N", help="begin with an assessment of the map by N pixels")
    found.add_argument("--session", type=Path, help="folder of the session; default: sessions/<name of the scene>")
    found.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; default: a free one")
    found.add_argument("--who", help="who answers; default: the user of the operating system")
    found.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    return found


def export_parser() -> argparse.ArgumentParser:
    """Return the parser of `export`."""
    found = argparse.ArgumentParser(
        prog="python -m hsi_al.label export", description="Write map, labels and report of a session."
    )
    found.add_argument("session", type=Path, help="folder of the session")
    found.add_argument("--output", type=Path, help="folder of the files; default: export in that of the session")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    from hsi_al.cli.explain import explained
    from hsi_al.run import USER_ERRORS

    return guarded(lambda: export_files(given[1:]) if given[:1] == ["export"] else serve(given), USER_ERRORS, explained)


def require_extra() -> None:
    """Raise ConfigurationError if a library of the extra `label` is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Labelling needs {' and '.join(missing)}, which the extra label brings: pip install 'hsi_al[label]'."
        )


def serve(argv: Sequence[str]) -> None:
    """Serve the page of a session until a signal."""
    given = parser().parse_intermixed_args(argv)
    require_extra()
    from hsi_al.label.running import Command, label

    label(
        Command(
            given.scene,
            given.overrides,
            given.key,
            [name.strip() for names in given.classes for name in names.split(",") if name.strip()],
            given.labels,
            given.label_field,
            given.label_key,
            given.session,
            given.port,
            given.who,
            not given.no_browser,
            given.assess,
        )
    )


def export_files(argv: Sequence[str]) -> None:
    """Write the files of a session, and print their paths."""
    given = export_parser().parse_args(argv)
    require_extra()
    from hsi_al.label.running import export_session

    for path in export_session(given.session, given.output):
        print(printable(str(path)))


if __name__ == "__main__":
    sys.exit(main())
