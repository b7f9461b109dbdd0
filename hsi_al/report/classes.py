"""The classes of a run, one per line: label value, name, colour in the map, pixels, labels and recall."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from hsi_al.report.palette import colour_of
from hsi_al.report.run_files import Meta, read_confusions, read_label_counts
from hsi_al.report.tables import PlainConsole, shortened
from hsi_al.terminal import printable

MOST_CLASSES = 30
NAME = 23  # characters of a name: a line with five digits and a million pixels of a class has 80
WIDTH = 120  # more than any line has


def print_classes(run_dir: Path, meta: Meta) -> None:
    """Print the table of a run's classes, of more than `MOST_CLASSES` the first ones.

    Pixels are those with ground truth that take part, labels those that the run has asked for. The recall is that of
    the last round over the held-out pixels, or over all pixels where there are no held-out ones.

    Raises:
        RunDirectoryError: A file of the run is missing or malformed.
    """
    confusions, labels = read_confusions(run_dir), read_label_counts(run_dir)
    every = confusions.all[-1]
    tested = confusions.heldout[-1] if confusions.heldout[-1].any() else every
    colours = colour_of(meta.class_names)
    table = Table()
    table.add_column("class", justify="right", no_wrap=True)
    table.add_column("name", no_wrap=True)
    table.add_column("colour", no_wrap=True)
    for name in ("pixels", "labels", "recall %"):
        table.add_column(name, justify="right")
    for index, value in enumerate(confusions.label_values.tolist()[:MOST_CLASSES]):
        total = tested[index].sum()
        table.add_row(
            str(value),
            Text(shortened(printable(meta.class_names.get(value, "")), NAME)),
            swatch("#{:02X}{:02X}{:02X}".format(*colours[value])) if value in colours else "",
            f"{every[index].sum():,}",
            f"{labels.get(value, 0):,}",
            f"{100 * tested[index, index] / total:.1f}" if total else "-",
        )
    if (left := len(confusions.label_values) - MOST_CLASSES) > 0:
        table.add_row("...", f"and {left:,} more", "", "", "", "")
    console = PlainConsole(width=WIDTH)
    console.print(f"Recall over {'the held-out' if tested is not every else 'all'} pixels; colours as in the map:")
    console.print(table)


def swatch(colour: str) -> Text:
    """Return a colour `#RRGGBB` as a coloured block, where the terminal can show it, and its code."""
    return Text.assemble(("██", colour), f" {colour}")
