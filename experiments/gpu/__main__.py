"""One step of measure.sh: `python -m experiments.gpu STEP RESULTS [--dry]`.

STEP is steps, accuracy-PRECISION, scoring, concurrent, protocol or report. A step whose file is already in the folder
RESULTS is skipped. --dry only shows that the step works; its numbers mean nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from experiments.gpu import accuracy, runs, scoring, steps
from experiments.gpu.common import DRY, REAL, Sizes, write
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown


def measured(step: str, sizes: Sizes, results: Path) -> tuple[list[dict[str, Any]], torch.device]:
    """Return the rows of a step and the device they were measured on."""
    device = torch.device("cpu" if sizes is DRY else "cuda")
    if step == "steps":
        return steps.measure(sizes)
    if step.startswith("accuracy-"):
        return accuracy.measure(sizes, step.removeprefix("accuracy-"))
    if step == "scoring":
        return scoring.measure(sizes)
    if step == "concurrent":
        return runs.concurrent(sizes, results / "runs"), device
    if step == "protocol":
        return runs.protocol(sizes, results / "runs" / "protocol"), device
    raise SystemExit(f"There is no step {step}; see python -m experiments.gpu --help.")


def report(results: Path) -> str:
    """Format all results in the folder as Markdown."""
    parts = []
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = found["rows"]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = [columns, *([shown(row.get(name, "")) for name in columns] for row in rows)]
        about = ", ".join(f"{name} {value}" for name, value in found["about"].items() if value is not None)
        parts.append(f"## {path.stem}\n\n{about}\n\n{markdown(table)}")
    return "# Measured by experiments/gpu/measure.sh\n\n" + "\n".join(parts)


def shown(value: Any) -> str:  # noqa: ANN401
    """Format a value as a cell of a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure one step, or build the report."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--dry"]
    if len(arguments) != 2 or "--help" in arguments:
        raise SystemExit(__doc__)
    step, results, sizes = arguments[0], Path(arguments[1]), DRY if "--dry" in sys.argv else REAL
    if step == "report":
        print(text := report(results))
        replace_text(results / "README.md", text)
        return
    path = results / f"{step}.json"
    if path.exists():
        print(f"{step}: skipped, {path} exists already.")
        return
    print(f"{step} ...", flush=True)
    rows, device = measured(step, sizes, results)
    write(path, device, rows)


if __name__ == "__main__":
    main()
