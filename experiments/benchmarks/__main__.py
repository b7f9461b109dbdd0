"""Run benchmarks: `make bench`, or `python -m experiments.benchmarks [NAME ...]`; the table is written to results/.

The machine should be idle. Every ratio compares the medians of two measurements that alternate in this run.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch

from experiments.benchmarks import (
    acquisition,
    concurrent,
    delivery,
    jcr,
    large,
    layout,
    maps,
    memory,
    peak,
    profiles,
    scoring,
    training,
    windows,
)
from experiments.benchmarks.measure import Row
from hsi_al.active.experiment import use_threads
from hsi_al.active.meta import git_commit
from hsi_al.files import replace_text
from hsi_al.report.contest_tables import markdown

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "delivery": delivery.measure,
    "scoring": scoring.measure,
    "training": training.measure,
    "memory": memory.measure,
    "layout": layout.measure,
    "peak": peak.measure,
    "jcr": jcr.measure,
    "profiles": profiles.measure,
    "acquisition": acquisition.measure,
    "concurrent": concurrent.measure,
    "large": large.measure,
    "maps": maps.measure,
    "windows": windows.measure,
}
RESULTS = Path(__file__).parent / "results"


def table(rows: list[Row]) -> str:
    """Format the rows as a Markdown table."""
    header = ["what", "reference", "ours", "ratio", "target", "met"]
    lines = [[row.name, row.reference, row.ours, f"{row.ratio:.2f}", row.target, row.verdict] for row in rows]
    return markdown([header, *lines])


def main() -> None:
    """Run the named benchmarks, by default all; the exit code is 1 if a target is missed."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    use_threads(None)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine is not idle (load {load:.1f}); the ratios may be off.")
    rows: list[Row] = []
    began = time.monotonic()
    for name in names:
        print(f"{name} ...", flush=True)
        rows += BENCHMARKS[name]()
    about = (
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {git_commit()}, {platform.system()} "
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, load {load:.1f} at the "
        f"start, {time.monotonic() - began:.0f} s"
    )
    print(text := f"{about}\n\n{table(rows)}")
    RESULTS.mkdir(exist_ok=True)
    replace_text(RESULTS / f"{datetime.now(timezone.utc):%Y%m%d-%H%M}-{'-'.join(names)}.md", text)
    sys.exit(any(row.verdict == "NO" for row in rows))


if __name__ == "__main__":
    main()
