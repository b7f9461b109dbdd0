"""Describe a file of a scene or of labels: `python -m hsi_al.scenes FILE`.

Prints format, size, wavelengths, missing data, place, labels, and the command that runs it; --picture OUT.png writes
what it looks like. Exit codes: 0 done, 2 the file can't be used (one sentence on stderr), 130 interrupted.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsi_al.cli.console import guarded
from hsi_al.errors import ConfigurationError
from hsi_al.files import replacing
from hsi_al.scenes.description import Description, describe
from hsi_al.terminal import printable

LEARNING = ("learner=vote", "protocol=few", "split=holdout", "acquisition=margin", "acquisition.min_distance=8")
INITIAL, QUERY, ROUNDS = 20, 10, 46  # of protocol=few
PLAIN = re.compile(r"[\w./-]+|\[[\w.,+-]+\]", re.ASCII)  # what Hydra reads as it stands


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hsi_al.scenes", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="cube or labels: ENVI, GeoTIFF, .mat, HDF5, NumPy, ...")
    parser.add_argument("--key", help="array of the file, or layer; default: the only one, or the only cube")
    parser.add_argument("--picture", type=Path, metavar="OUT.png", help="write a picture in false colour, or of labels")
    given = parser.parse_args(argv)

    def work() -> None:
        if given.picture is not None and given.picture.suffix.lower() != ".png":
            raise ConfigurationError(
                f"--picture {given.picture}: the picture is a PNG; give it a name that ends in .png."
            )
        found = describe(given.file, given.key)
        show(given.file, found)
        if given.picture is not None:
            write_picture(found, given.picture)

    return guarded(work, way_out="run the same command again")


def show(path: Path, found: Description) -> None:
    """Print a description."""
    print(printable(str(path)))
    width = max(len(name) for name, _ in found.lines)
    for name, text in found.lines:
        print(f"  {name:{width}}  {printable(text)}")
    for notice in found.notices:
        print(printable(notice))
    if found.arguments:
        print("\nTo run it:\n  " + printable(command(found.arguments, found.n_labelled)))
        if found.lacks_labels:
            print(
                "With labels, add dataset.ground_truth_file=LABELS: a raster on this grid, or points and polygons with "
                "dataset.label_field=FIELD. Without labels: "
                + printable(shlex.join(["python", "-m", "hsi_al.label", str(path)]))
            )


def command(arguments: dict[str, str], n_labelled: Sequence[int]) -> str:
    """Return the command that learns from a few labels of a scene, quoted for the shell and for Hydra.

    Args:
        arguments: Keys below `dataset` and their values.
        n_labelled: Labelled pixels of each class; empty = not known.
    """
    about = (argument(name, text) for name, text in arguments.items())
    return shlex.join(["python", "-m", "hsi_al.run", "dataset=custom", *about, *LEARNING, *fewer(n_labelled)])


def fewer(n_labelled: Sequence[int]) -> list[str]:
    """Return what asks for no more labels than half of each class has, as the other half tests."""
    half = sum(n // 2 for n in n_labelled)
    if not n_labelled or half >= INITIAL + QUERY * ROUNDS:
        return []
    rounds = max(0, half - INITIAL) // QUERY
    initial = [] if half >= INITIAL else [f"protocol.initial_size={max(2, half)}"]
    return [*initial, f"protocol.rounds={rounds}"]


def argument(name: str, value: str) -> str:
    """Return an argument of a run as Hydra has to read it."""
    if PLAIN.fullmatch(value):
        return f"dataset.{name}={value}"
    from hsi_al.cli.arguments import text  # imports Hydra, which takes a while

    return f"dataset.{name}={text(value)}"


def write_picture(found: Description, path: Path) -> None:
    """Write the picture of a description as a PNG.

    Raises:
        ConfigurationError: There is none.
        OSError: It can't be written.
    """
    picture = found.picture if found.labels is None else coloured(found.labels)
    if picture is None:
        raise ConfigurationError(f"--picture {path}: the file holds no array of which a picture can be made.")
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        imsave(temporary, picture, format="png")


def coloured(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a picture (h, w, 3) of labels (h, w), 0 black."""
    from hsi_al.report.palette import colour_of

    values, places = np.unique(labels, return_inverse=True)
    colours = {0: (0, 0, 0)} | colour_of(value for value in values.tolist() if value)
    table = np.array([colours[value] for value in values.tolist()], np.uint8)
    picture: NDArray[np.uint8] = table[places.reshape(labels.shape)]
    return picture


if __name__ == "__main__":
    sys.exit(main())
