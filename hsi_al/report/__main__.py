"""Reports from run directories: `python -m hsi_al.report summary|compare|figures RUN...`.

A RUN is a run directory or a folder with runs below it. Exit codes as in `hsi_al.run`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hsi_al.errors import HsiAlError
from hsi_al.report.compare import LEVELS, summary, write_comparison
from hsi_al.report.contest_tables import MEASURES
from hsi_al.report.figures import draw
from hsi_al.report.series import find_runs
from hsi_al.report.tables import print_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hsi_al.report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("summary", "the state of every run"),
        ("compare", "learning curves over seeds, areas under them, labels to levels, and tests of paired differences"),
        ("figures", "draw the pictures of runs again from their files"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("runs", nargs="+", type=Path, metavar="RUN")
        if name == "compare":
            command.add_argument("--output", type=Path, default=Path("comparison"), help="folder (default: comparison)")
            command.add_argument(
                "--measure",
                choices=MEASURES,
                help="default: oa_heldout where test pixels are fixed, else oa_all",
            )
            command.add_argument(
                "--levels", type=levels, default=LEVELS, help="percent, for the labels they take (default: 90,95,98)"
            )
            command.add_argument(
                "--reference",
                help="method or acquisition to test the others against (default: random, if there)",
            )
    arguments = parser.parse_args(argv)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        runs = find_runs(arguments.runs)
        if arguments.command == "summary":
            print_table(summary(runs))
        elif arguments.command == "compare":
            begun = [run for run in runs if (run / "curve.csv").exists()]
            for run in sorted(set(runs) - set(begun)):
                console.print(f"Left out, no round committed yet: {run}")
            found = write_comparison(begun, arguments.output, arguments.measure, arguments.levels, arguments.reference)
            for section in found.sections:
                console.print(f"\n{section.title}")
                print_table(section.table)
            for note in found.notes:
                console.print(note)
            print_paths(console, found.paths)
        else:
            print_paths(console, [path for run in runs for path in draw(run)])
    except (HsiAlError, OSError) as error:
        print(f"hsi_al: error: {error}", file=sys.stderr)
        return 2
    return 0


def levels(text: str) -> list[float]:
    """Numbers above 0 and at most 100, separated by commas.

    Raises:
        ValueError: Something else; argparse says so.
    """
    found = [float(part) for part in text.split(",")]
    if not all(0 < level <= 100 for level in found):
        raise ValueError(text)
    return found


def print_paths(console: Console, paths: Sequence[Path]) -> None:
    """One path a line."""
    for path in paths:
        console.print(str(path))


if __name__ == "__main__":
    sys.exit(main())
