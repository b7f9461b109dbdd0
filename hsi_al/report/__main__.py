"""Reports from run directories: `python -m hsi_al.report summary|compare|figures RUN...`, and `pack FOLDER`.

A RUN is a run directory, a folder with run directories below it, an archive that `pack` wrote, or a folder inside an
archive (runs.zip/indian_pines). Exit codes: 0 done, 2 an error (one sentence on stderr), 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hsi_al.errors import HsiAlError, RunDirectoryError
from hsi_al.report.archive import Opened, pack, unpacked
from hsi_al.report.compare import LEVELS, summary, write_comparison
from hsi_al.report.contest_tables import MEASURES
from hsi_al.report.figures import draw
from hsi_al.report.series import find_runs
from hsi_al.report.tables import PlainConsole, print_table
from hsi_al.terminal import printable, tolerate_encodings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hsi_al.report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("summary", "print the state, rounds, labels and last accuracy of every run"),
        (
            "compare",
            "write learning curves averaged over seeds, the areas under them, the labels needed to reach accuracy "
            "levels, and tests of paired differences between methods",
        ),
        ("figures", "draw the pictures of runs again from their files"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("runs", nargs="+", type=Path, metavar="RUN")
        if name == "compare":
            command.add_argument(
                "--output", type=Path, default=Path("comparison"), help="folder to write (default: comparison)"
            )
            command.add_argument(
                "--measure",
                choices=MEASURES,
                help="accuracy to compare (default: oa_heldout where the test pixels are fixed, else oa_all)",
            )
            command.add_argument(
                "--levels",
                type=levels,
                default=LEVELS,
                help="accuracies in percent, for each of which the labels needed are given (default: 90,95,98)",
            )
            command.add_argument(
                "--reference",
                help="method or acquisition function to test the others against (default: random, if it was run)",
            )
        elif name == "figures":
            command.add_argument(
                "--output", type=Path, default=Path("figures"), help="folder for runs in archives (default: figures)"
            )
    text = "add the finished runs in and below a folder to an archive, without weights; the folder is not changed"
    command = commands.add_parser("pack", help=text, description=text)
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("--output", type=Path, metavar="ARCHIVE", help="archive to write (default: FOLDER.zip)")
    arguments = parser.parse_args(argv)
    tolerate_encodings()
    console = PlainConsole(soft_wrap=True)
    try:
        if arguments.command == "pack":
            write_archive(arguments.folder, arguments.output, console)
        else:
            with unpacked(arguments.runs) as opened:
                report(arguments, opened, console)
    except (HsiAlError, OSError) as error:
        print(f"hsi_al: error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hsi_al: interrupted; run the same command again.", file=sys.stderr)
        return 130
    return 0


def report(arguments: argparse.Namespace, opened: Opened, console: PlainConsole) -> None:
    """Print or write the summary, comparison or figures of the runs in the opened folders.

    Raises:
        RunDirectoryError: There is no run, a run's file is missing or malformed, or runs can't be compared.
        OSError: A file can't be written.
    """
    runs = find_runs(opened.folders)
    if arguments.command == "summary":
        print_table([[opened.named(cell) for cell in row] for row in summary(runs)])
    elif arguments.command == "compare":
        begun = [run for run in runs if (run / "curve.csv").exists()]
        for run in sorted(set(runs) - set(begun)):
            console.print(f"Left out, no round committed yet: {opened.named(run)}")
        found = write_comparison(
            begun, arguments.output, arguments.measure, arguments.levels, arguments.reference, opened.named
        )
        for section in found.sections:
            console.print()
            console.print(section.title)
            print_table(section.table)
        for note in found.notes:
            console.print(note)
        print_paths(console, found.paths)
    else:
        places = {run: opened.place(run) for run in runs}
        folders = {run: arguments.output / place if place else run / "figures" for run, place in places.items()}
        if len({*folders.values()}) < len(folders):
            raise RunDirectoryError(
                "Two archives of the same name hold runs of the same path, whose pictures would overwrite each other; "
                "draw one archive at a time."
            )
        print_paths(console, [path for run, folder in folders.items() for path in draw(run, folder)])


def write_archive(folder: Path, archive: Path | None, console: PlainConsole) -> None:
    """Pack the finished runs of a folder; print how many were packed and which runs were left out.

    Raises:
        RunDirectoryError: No run is finished, or one of the reasons of `pack`.
        OSError: A file can't be read, or the archive can't be written.
    """
    archive = archive or Path(f"{folder.resolve()}.zip")
    packed, left = pack(folder, archive)
    if not packed:
        raise RunDirectoryError(f"{folder} holds no finished run, in it or below, so there is nothing to pack.")
    for run in left:
        console.print(f"Left out, not finished: {run}")
    console.print(f"{len(packed)} finished run{'s' if len(packed) > 1 else ''} packed into {archive}")


def levels(text: str) -> list[float]:
    """Parse numbers above 0 and at most 100 that are separated by commas.

    Raises:
        ValueError: The text is anything else; argparse turns this into its error message.
    """
    found = [float(part) for part in text.split(",")]
    if not all(0 < level <= 100 for level in found):
        raise ValueError(text)
    return found


def print_paths(console: PlainConsole, paths: Sequence[Path]) -> None:
    """Print one path per line."""
    for path in paths:
        console.print(str(path))


if __name__ == "__main__":
    sys.exit(main())
