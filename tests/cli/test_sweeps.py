"""Jobs at once: how many fit, and which GPU and share each gets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsi_al.cli import sweeps
from hsi_al.cli.sweeps import GIB, Gpu, announce, gpus_here, jobs_that_fit, parsed, place, take_share


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def gpu(free: float, total: float = 80, name: str = "GPU-a") -> Gpu:
    return Gpu(name, int(free * GIB), int(total * GIB))


@pytest.mark.parametrize(
    ("free", "cores", "ram", "expected"),
    [
        ([], 8, 64, 8),  # a core each
        ([], 8, 7, 3),  # 2 GiB each
        ([], 1, 0, 1),  # one at least
        ([80.0], 16, 128, 16),
        ([80.0], 64, 256, 17),  # 4.5 GiB each
        ([80.0, 10.0], 64, 256, 4),  # they take turns, so the fuller one decides
        ([3.0], 16, 128, 1),
    ],
)
def test_as_many_jobs_as_memory_and_cores_allow(free: list[float], cores: int, ram: int, expected: int) -> None:
    assert jobs_that_fit([gpu(gib) for gib in free], cores, ram * GIB) == expected


def test_jobs_take_turns_and_divide_what_is_free() -> None:
    gpus = [gpu(40, name="GPU-a"), gpu(80, name="GPU-b")]
    assert [place(job, 4, gpus)[0].name for job in range(5)] == ["GPU-a", "GPU-b", "GPU-a", "GPU-b", "GPU-a"]
    assert place(0, 4, gpus)[1] == pytest.approx((20 - 0.5) / 80)
    assert place(3, 4, gpus)[1] == pytest.approx((40 - 0.5) / 80)
    assert place(0, 3, gpus)[1] == pytest.approx((20 - 0.5) / 80)  # jobs 0 and 2
    assert place(1, 3, gpus)[1] == pytest.approx((80 - 0.5) / 80)  # job 1 alone
    assert place(1, 1, gpus)[1] == pytest.approx((80 - 0.5) / 80)  # fewer jobs than GPUs
    assert place(0, 200, [gpu(80)])[1] == 0.0  # CUDA alone would take more than this share
    for n in (1, 2, 3, 7):  # the shares of all jobs and what CUDA takes never exceed what is free
        used = {one.name: 0.0 for one in gpus}
        for job in range(n):
            where, fraction = place(job, n, gpus)
            used[where.name] += fraction * where.total + sweeps.CONTEXT_BYTES
        assert all(used[one.name] <= one.free for one in gpus)


def test_what_nvidia_smi_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "GPU-1, 1000, 2000\nGPU-2, 3, 4\n"
    assert parsed(lines) == [Gpu("GPU-1", 1000 * 2**20, 2000 * 2**20), Gpu("GPU-2", 3 * 2**20, 4 * 2**20)]
    assert parsed("") == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "$3" >"$(dirname "$0")/asked"\necho "GPU-1, 1000, 2000"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_here() == [Gpu("GPU-1", 1000 * 2**20, 2000 * 2**20)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert len(gpus_here()) == 1
    assert (tmp_path / "asked").read_text() == "--id=3,5\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_here() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert gpus_here() == []


def test_a_process_keeps_the_gpu_of_its_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "gpus_here", lambda: [gpu(40, name="GPU-a"), gpu(40, name="GPU-b")])
    announce(at_once=True, on_gpu=True)
    assert int(os.environ["HSI_AL_JOBS"]) >= 1
    for job in (3, 4, 6):
        take_share(job, 4)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    announce(at_once=False, on_gpu=True)
    assert not {"HSI_AL_JOBS", "HSI_AL_GPUS", "HSI_AL_TAKEN_GPU"} & set(os.environ)


def test_on_a_cpu_or_one_at_a_time_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sweeps, "gpus_here", lambda: [gpu(40)])
    take_share(1, 4)  # nobody left word
    announce(at_once=True, on_gpu=False)
    take_share(1, 4)
    announce(at_once=True, on_gpu=True)
    take_share(1, 1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
