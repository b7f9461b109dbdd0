from pathlib import Path

import pytest

from hsi_al import memory
from hsi_al.memory import free_memory


@pytest.mark.parametrize(
    ("available", "limit", "expected"),
    [("MemAvailable:  7 kB", "max\n", 7168), ("MemFree: 3 kB\nMemAvailable: 7 kB", "5000\n", 5000), ("odd", "9", 9)],
)
def test_the_smallest_of_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: str, limit: str, expected: int
) -> None:
    for name, text in (("MEMINFO", available), ("GROUP_LIMIT", limit)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert free_memory() == expected


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEMINFO", "GROUP_LIMIT"):
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert free_memory() > 2**26
