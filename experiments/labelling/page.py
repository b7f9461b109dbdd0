"""Build docs/labelling-session.md and its picture from recorded sessions: `python -m experiments.labelling.page`."""

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hsi_al.files import replace_text
from hsi_al.report.canvas import save
from hsi_al.report.contest_tables import markdown
from hsi_al.report.palette import PALETTE

ROOT = Path(__file__).resolve().parents[2]
RESULTS, DOCS = ROOT / "experiments" / "results" / "labelling", ROOT / "docs"
SESSIONS = {
    "indian_pines": "Indian Pines, 9 classes; half of the scene is none of them",
    "indian_pines_other": "Indian Pines with a class *other*; what is none of the 9 classes is a class of its own",
    "pavia_part": "Part of the University of Pavia, as an ENVI file; three quarters are none of its 8 classes",
}
HEAD = """# A labelling session, recorded

Built by `python -m experiments.labelling.page` from sessions that `python -m experiments.labelling OUT.csv` recorded.
The ground truth plays the person: it looks at the pixel that the page asks, waits 0.3 s and answers its class, or
"can't tell" where the scene has no ground truth, until the page says that the maps hardly change, or 300 times:
in none of these sessions it said so earlier.
The server is the one that a user starts, asked over HTTP only. OA is the share of pixels with ground truth, not
answered so far, that the map on the page has right; the tool never sees them. One session each, and maps of one
session jump by up to six points from one answer to the next, also after the first 25. [How to label](label.md).

![Accuracy and labels against answers](labelling-session.png)"""
FOOT = """## What a person's time goes into

Much of a scene is none of the classes that a person has in mind, and there a model is least sure. Asked by margin
alone, four of five answers were "can't tell" on Indian Pines. The session therefore learns what can't be told, and
asks less of what looks like it ([measured](../experiments/results/labelling/README.md)). A class
*other* for all of it is no way out: with it nothing is "can't tell", but the map of the nine classes was right on
84 % after 300 answers instead of 94 to 98 % (the last 15 answers of the first session): such ground is of many
kinds, and part of it is corn and soybean that nobody labelled. A class for ground of one kind, such as roads, is
another matter."""
ANSWERS = (25, 50, 75, 100, 150, 200, 300, 400)


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a recorded session."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def heading(name: str) -> str:
    """Return the name of a session."""
    return SESSIONS[name].split(";")[0]


def figure(sessions: dict[str, list[dict[str, str]]]) -> Figure:
    """Draw accuracy against answers, and the labels among them."""
    result = Figure(figsize=(8.4, 3.4), layout="constrained")
    accuracy, labels = result.subplots(1, 2)
    for number, (name, rows) in enumerate(sessions.items()):
        known = [(int(row["answer"]), 100 * float(row["oa"])) for row in rows if row["oa"]]
        title = heading(name)
        accuracy.plot(*zip(*known, strict=True), color=PALETTE[number], label=title.replace("*", ""))
        given = [(int(row["answer"]), int(row["labels"])) for row in rows]
        labels.plot(*zip(*given, strict=True), color=PALETTE[number], label=title.replace("*", ""))
    accuracy.set_ylabel("map right on pixels not answered (%)")
    labels.set_ylabel("answers with a class")
    for axes in (accuracy, labels):
        axes.set_xlabel("answers")
        axes.grid(color="0.88")
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9)
    accuracy.legend(fontsize=8.5, frameon=False, loc="lower right")
    return result


def table(rows: list[dict[str, str]]) -> str:
    """Return the session after some numbers of answers."""
    header = ["answers", "labels", "can't tell", "seconds", "the map has learnt from", "OA %"]
    shown = [row for row in rows if int(row["answer"]) in ANSWERS or row is rows[-1]]
    body = [
        [
            row["answer"],
            row["labels"],
            row["cant_tell"],
            f"{float(row['seconds']):.0f}",
            row["map_labels"],
            f"{100 * float(row['oa']):.1f}" if row["oa"] else "no map yet",
        ]
        for row in shown
    ]
    return markdown([header, *body])


def main() -> None:
    """Write page and picture."""
    argparse.ArgumentParser(prog="python -m experiments.labelling.page", description=__doc__).parse_args()
    sessions = {name: read(name) for name in SESSIONS}
    save(figure(sessions), DOCS / "labelling-session.png")
    parts = [HEAD]
    for name, rows in sessions.items():
        what = SESSIONS[name].split("; ")[1]
        stored = np.array([float(row["stored_ms"]) for row in rows])
        parts.append(f"## {heading(name)}\n\n{what[0].upper()}{what[1:]}.\n\n{table(rows)}")
        advised = next((row["answer"] for row in rows if row["advice"] == "True"), None)
        if advised is not None:
            parts.append(
                f"After {advised} answers the page first said that most of what it asks can't be told, and advised to "
                "name ground of one kind, or to stop."
            )
        parts.append(
            f"An answer was stored, and the next question there, within {np.median(stored):.0f} ms (median), "
            f"{np.percentile(stored, 95):.0f} ms (95 of 100) and {stored.max():.0f} ms (the slowest), on two idle "
            "cores."
        )
    parts.append(FOOT)
    replace_text(DOCS / "labelling-session.md", "\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
