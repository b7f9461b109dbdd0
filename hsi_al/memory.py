"""How much memory the machine has to give."""

import os
import sys
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def free_memory() -> int:
    """Return the memory available without swapping, bytes; where that isn't told, what there is; else no limit."""
    found = [sys.maxsize]
    with suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):
        lines = dict(line.split(":") for line in MEMINFO.read_text(encoding="utf-8").splitlines())
        found += [int(lines[name].split()[0]) * 2**10 for name in ("MemAvailable",) if name in lines]
    with suppress(OSError, ValueError):  # "max" is no number
        found.append(int(GROUP_LIMIT.read_text(encoding="utf-8")))
    return min(size for size in found if size > 0)
