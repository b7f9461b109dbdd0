"""The paper's figures and tables: `python -m experiments.paper fig4|fig5|table|maps [OVERRIDE ...]`.

Makes the missing runs one after the other, then builds the figure or table from the run directories. After an
interruption the same command continues. An OVERRIDE is an option of every run, such as dataset=salinas. Exit code 2:
bad input, or a run failed.
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
    """Run the command line and return the exit code."""
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
        print(f"experiments.paper: error: {len(failed)} run(s) failed, see their errors above.", file=sys.stderr)
    return 2 if failed else 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artefact", choices=ARTEFACTS, help="figure or table to build")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="option of every run, such as dataset=salinas")
    parser.add_argument("--seeds", type=numbers, default=(0,), help="seeds of the runs, such as 0,1,2 (default: 0)")
    parser.add_argument(
        "--protocol",
        default="paper",
        help="protocol of the active learning runs (default: paper; short is feasible on a CPU)",
    )
    parser.add_argument(
        "--effort",
        default="paper",
        choices=("paper", "short"),
        help="training effort of the compared methods (default: paper)",
    )
    parser.add_argument(
        "--supervised", default="per_class", help="protocol of the compared methods (default: per_class)"
    )
    parser.add_argument("--runs", type=Path, help="use only the runs in this folder or its paper.zip; make none")
    parser.add_argument("--output", type=Path, help="folder of the files (default: outputs/paper/SCENE)")
    return parser.parse_intermixed_args(argv)


def numbers(text: str) -> tuple[int, ...]:
    """Parse integers that are separated by commas; duplicates are dropped."""
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


def run_missing(artefact: str, plan: Plan, console: Console) -> list[list[str]]:
    """Make the missing runs one after the other and return the options of the runs that failed."""
    missing = [run for cell in ARTEFACTS[artefact] for run in plan.column(cell).missing]
    failed = []
    for index, options in enumerate(missing, 1):
        console.print(f"Run {index} of {len(missing)}: {command(options)}")
        process = subprocess.Popen([sys.executable, "-m", "hsi_al.run", *options])
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the run gets the same signal and ends on its own
            process.wait()
            raise
        if code == 130:
            raise KeyboardInterrupt
        if code:
            failed.append(list(options))
    return failed


def show(artefact: Artefact, console: Console) -> None:
    """Print the tables, notes and paths of an artefact."""
    for heading, rows in artefact.tables:
        console.print(heading)
        print_table(rows)
    for line in [*artefact.notes, *map(str, artefact.files)]:
        console.print(line)


if __name__ == "__main__":
    sys.exit(main())
