"""The paper's figures and tables: `python -m experiments.paper fig4|fig5|table|maps [OVERRIDE ...]`.

Runs what is missing, one run after the other, then builds the artefact from the run directories; the same command
continues after an interruption. An OVERRIDE is an option of every run, such as dataset=salinas. Exit code 2: bad input,
or a run failed.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from experiments.paper.artefacts import Artefact, build
from experiments.paper.cells import ARTEFACTS, Plan, command, scene_of
from experiments.paper.results import opened
from hsi_al.cli.explain import explained
from hsi_al.errors import HsiAlError
from hsi_al.report.tables import print_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = parsed(argv)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        with opened(arguments.runs) if arguments.runs else nullcontext(Path("outputs")) as runs:
            plan = Plan(
                tuple(arguments.overrides),
                arguments.seeds,
                {"protocol": arguments.protocol, "learner.effort": arguments.effort},
                arguments.supervised,
                runs,
            )
            scene, _ = scene_of(plan.overrides)
            failed = [] if arguments.runs else run_missing(arguments.artefact, plan, console)
            folder = arguments.output or Path("outputs") / "paper" / scene
            show(build(arguments.artefact, plan, folder), console)
    except KeyboardInterrupt:
        print("experiments.paper: interrupted; the same command continues.", file=sys.stderr)
        return 130
    except (HsiAlError, HydraException, OmegaConfBaseException, OSError) as error:
        print(f"experiments.paper: error: {explained(error)}", file=sys.stderr)
        return 2
    if failed:
        print(f"experiments.paper: error: {len(failed)} run(s) failed, see above; the others went on.", file=sys.stderr)
    return 2 if failed else 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artefact", choices=ARTEFACTS)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="option of every run: dataset=salinas")
    parser.add_argument("--seeds", type=numbers, default=(0,), help="such as 0,1,2 (default: 0)")
    parser.add_argument("--protocol", default="paper", help="of the active runs (default: paper; short fits a CPU)")
    parser.add_argument("--effort", default="paper", choices=("paper", "short"), help="of the compared methods")
    parser.add_argument("--supervised", default="per_class", help="protocol of the compared methods")
    parser.add_argument("--runs", type=Path, help="build from the runs in this folder or its paper.zip, run nothing")
    parser.add_argument("--output", type=Path, help="folder of the files (default: outputs/paper/SCENE)")
    return parser.parse_intermixed_args(argv)


def numbers(text: str) -> tuple[int, ...]:
    """Integers between commas."""
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


def run_missing(artefact: str, plan: Plan, console: Console) -> list[list[str]]:
    """Make the missing runs; returns the options of those that failed."""
    missing = [run for cell in ARTEFACTS[artefact] for run in plan.column(cell).missing]
    failed = []
    for index, options in enumerate(missing, 1):
        console.print(f"Run {index} of {len(missing)}: {command(options)}")
        process = subprocess.Popen([sys.executable, "-m", "hsi_al.run", *options])
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the run gets the same signal, and ends by itself
            process.wait()
            raise
        if code == 130:
            raise KeyboardInterrupt
        if code:
            failed.append(list(options))
    return failed


def show(artefact: Artefact, console: Console) -> None:
    """Tables, notes and paths."""
    for heading, rows in artefact.tables:
        console.print(heading)
        print_table(rows)
    for line in [*artefact.notes, *map(str, artefact.files)]:
        console.print(line)


if __name__ == "__main__":
    sys.exit(main())
