"""Reports from run directories: `python -m hsi_al.report summary|classes|compare|figures RUN...`, and `pack FOLDER`.

A RUN is a run directory, a folder with run directories below it, an archive that `pack` wrote, or a folder inside an
archive (runs.zip/indian_pines). Runs are only read, but for the pictures that `figures` puts into them. Exit codes: 0
done, 2 an error (one sentence on stderr), 130 interrupted, 141 nobody reads what is printed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hsi_al import interrupts
from hsi_al.cli.console import guarded
from hsi_al.errors import RunDirectoryError
from hsi_al.report.archive import Opened, pack, unpacked
from hsi_al.report.canvas import METHOD
from hsi_al.report.classes import print_classes
from hsi_al.report.compare import LEVELS, summary, write_comparison
from hsi_al.report.contest_tables import MEASURES
from hsi_al.report.figures import draw
from hsi_al.report.run_checks import check_run
from hsi_al.report.run_files import read_meta
from hsi_al.report.series import find_runs
from hsi_al.report.tables import PlainConsole, limited, print_table
from hsi_al.terminal import warn

MOST_ROWS, MOST_COLUMNS = 60, 12  # of a table on the screen


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
        ("classes", "print the classes of every run: name, colour in the map, pixels, labels and recall"),
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
                "--output",
                type=Path,
                default=Path("figures"),
                help="folder for runs in archives and in read-only folders (default: figures)",
            )
    text = "add the finished runs in and below a folder to an archive, without weights; the folder is not changed"
    command = commands.add_parser("pack", help=text, description=text)
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("--output", type=Path, metavar="ARCHIVE", help="archive to write (default: FOLDER.zip)")
    arguments = parser.parse_args(argv)
    return guarded(lambda: answer(arguments), way_out="run the same command again")


def answer(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        HsiAlError: One of the reasons of `report` and `write_archive`.
        OSError: A file can't be read or written.
    """
    console = PlainConsole(soft_wrap=True)
    with interrupts.at_once():
        if arguments.command == "pack":
            write_archive(arguments.folder, arguments.output, console)
            return
        with unpacked(arguments.runs) as opened:
            report(arguments, opened, console)


def report(arguments: argparse.Namespace, opened: Opened, console: PlainConsole) -> None:
    """Print or write what the command says about the runs in the opened folders.

    Raises:
        RunDirectoryError: There is no run, a run's file is missing or malformed, runs can't be compared, or a picture
            can't be drawn.
        OSError: A file can't be written.
    """
    runs = find_runs(opened.folders)
    for run in runs:
        check_run(run)
    if arguments.command == "summary":
        print_table([[opened.named(cell) for cell in row] for row in summary(runs)])
    elif arguments.command == "classes":
        for run in runs:
            meta = read_meta(run)
            console.print(f"{opened.named(run)}: {meta.title}")
            if (run / "confusion.h5").exists():
                print_classes(run, meta)
            else:
                console.print("No round committed yet.")
    elif arguments.command == "compare":
        compare(arguments, runs, opened, console)
    else:
        folders = picture_folders(with_rounds(runs, opened, console), arguments.output, opened, console)
        missing: list[str] = []
        for run, folder in folders.items():
            print_paths(console, draw(run, folder, missing.append))
        for sentence in missing:
            warn(sentence)
        if missing:
            raise RunDirectoryError(f"{len(missing)} picture{'s' if len(missing) > 1 else ''} can't be drawn.")


def with_rounds(runs: Sequence[Path], opened: Opened, console: PlainConsole) -> list[Path]:
    """Return the runs that have committed a round, and name the others."""
    begun = [run for run in runs if (run / "curve.csv").exists()]
    for run in sorted(set(runs) - set(begun)):
        console.print(f"Left out, no round committed yet: {opened.named(run)}")
    return begun


def compare(arguments: argparse.Namespace, runs: Sequence[Path], opened: Opened, console: PlainConsole) -> None:
    """Write the comparison of runs, and print what of its tables can be read on a screen.

    Raises:
        RunDirectoryError: One of the reasons of `write_comparison`, or the folder can't be written.
        OSError: A file can't be written.
    """
    refuse_read_only(arguments.output)
    found = write_comparison(
        with_rounds(runs, opened, console),
        arguments.output,
        arguments.measure,
        arguments.levels,
        arguments.reference,
        opened.named,
    )
    place = arguments.output / "comparison.md"
    for section in found.sections:
        console.print()
        console.print(section.title)
        if len(section.table[0]) > MOST_COLUMNS:
            console.print(f"{len(section.table[0])} columns: see {place}")
        else:
            print_table(limited(section.table, MOST_ROWS, METHOD, f"in {place}"))
    for note in found.notes:
        console.print(note)
    print_paths(console, found.paths)


def picture_folders(runs: Sequence[Path], output: Path, opened: Opened, console: PlainConsole) -> dict[Path, Path]:
    """Return the folder of each run's pictures: `figures` in the run, or where that can't be written, one in `output`.

    Raises:
        RunDirectoryError: Two runs would have the same folder, or it can't be written.
    """
    folders = {}
    for run in runs:
        place, folder = opened.place(run), run / "figures"
        if place is None and not is_writable(folder):
            place = run.absolute().relative_to(Path.cwd() if run.absolute().is_relative_to(Path.cwd()) else run.anchor)
            console.print(f"{run} is read-only: its pictures go to {output / place}")
        folders[run] = output / place if place else folder
        refuse_read_only(folders[run])
    if len({*folders.values()}) < len(folders):
        raise RunDirectoryError(
            "Two archives of the same name hold runs of the same path, whose pictures would overwrite each other; "
            "draw one archive at a time."
        )
    return folders


def is_writable(place: Path) -> bool:
    """Whether a file or folder can be made or written at a place, as far as permissions say."""
    return os.access(next(path for path in (place, *place.absolute().parents) if path.exists()), os.W_OK)


def refuse_read_only(output: Path) -> None:
    """Raise RunDirectoryError for an output that can't be written."""
    if not is_writable(output):
        raise RunDirectoryError(f"{output} can't be written (read-only); name another place with --output.")


def write_archive(folder: Path, archive: Path | None, console: PlainConsole) -> None:
    """Pack the finished runs of a folder; print how many were packed and which runs were left out.

    Raises:
        RunDirectoryError: No run is finished, or one of the reasons of `pack`.
        OSError: A file can't be read, or the archive can't be written.
    """
    archive = archive or Path(f"{folder.resolve()}.zip")
    refuse_read_only(archive)
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
