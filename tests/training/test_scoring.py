"""How many patches are scored at once, in which precision, and what happens when memory ends."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.deep.learner import DeepLearner
from hsi_al.training import scoring
from hsi_al.training.scoring import fitting_size, measured_size
from hsi_al.training.trainer import build_trainer
from tests.methods.deep.test_learner import ALL, CLASSES, LENET, fit, learner, same, scene, weights

GPU = torch.device("cuda")
PROBABILITIES = frozenset({"probabilities_NC"})


@pytest.mark.parametrize(
    ("free", "per_patch", "expected"),
    [
        (80e9, 8e6, 2048),  # a quarter of the memory holds 2,500
        (80e9, 1e5, 4096),
        (4 * 1024 * 100, 100, 1024),
        (4 * 1024 * 100 - 4, 100, 512),
        (1e6, 1e6, 16),
        (0, 0, 16),
    ],
)
def test_the_size_is_a_power_of_two_within_a_quarter_of_the_memory(
    free: float, per_patch: float, expected: int
) -> None:
    assert fitting_size(free, per_patch) == expected


def test_the_size_is_measured_at_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    # 64 patches take the allocated memory from 1 to 1 + 6.4 GB; 20 GB are free and 3.6 GB more are kept by torch.
    gigabyte, scored = 10**9, list[int]()
    fakes: dict[str, Callable[..., Any]] = {
        "synchronize": lambda device: None,
        "reset_peak_memory_stats": lambda device: scored.append(-1),
        "memory_allocated": lambda device: gigabyte,
        "max_memory_allocated": lambda device: 7.4 * gigabyte,
        "memory_reserved": lambda device: 4.6 * gigabyte,
        "mem_get_info": lambda device: (20 * gigabyte, 80 * gigabyte),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    # 23.6 GB / 4 / 0.1 GB a patch = 59
    assert measured_size(scored.append, GPU) == 32
    assert scored == [1, -1, 64]


def test_a_batch_too_large_for_the_memory_is_halved_with_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = fit(learner(LENET, PROBABILITIES, predict_batch_size=100))
    expected = deep.predict(ALL)
    step = deep.module.predict_step

    def limited(batch: tuple[Tensor, ...], batch_index: int = 0) -> dict[str, Tensor]:
        if len(batch[0]) > 30:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return step(batch, batch_index)

    monkeypatch.setattr(deep.module, "predict_step", limited)
    outputs = deep.predict(ALL)
    assert capsys.readouterr().out.splitlines() == [
        "Scoring 100 patches at once needs too much memory; trying 50.",
        "Scoring 50 patches at once needs too much memory; trying 25.",
    ]
    assert np.allclose(outputs.probabilities_NC, expected.probabilities_NC, atol=1e-6)  # type: ignore[arg-type]
    deep.predict(ALL)
    assert capsys.readouterr().out == ""
    assert deep.datamodule.predict_batch_size == 25


def test_a_patch_too_large_for_the_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = learner(LENET, predict_batch_size=2)

    def limited(batch: tuple[Tensor, ...], batch_index: int = 0) -> dict[str, Tensor]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(deep.module, "predict_step", limited)
    with pytest.raises(LearnerError, match="memory of the device is used up"):
        deep.predict(ALL[:4])


def test_the_size_is_measured_once_on_a_gpu_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def fake(score: Callable[[int], object], device: torch.device) -> int:
        score(70)
        measured.append(40)
        return 40

    monkeypatch.setattr("hsi_al.methods.deep.learner.measured_size", fake)
    deep = fit(learner(LENET))
    before = deep.predict(ALL)
    deep.knows_batch_size = False  # as on a GPU
    for _ in range(2):
        assert np.array_equal(deep.predict(ALL).predicted_class, before.predicted_class)
    assert measured == [40]
    assert deep.datamodule.predict_batch_size == 40
    assert learner(LENET, predict_batch_size=9).knows_batch_size


def test_scoring_may_be_less_precise_than_training() -> None:
    fine, coarse = (
        fit(learner(LENET, PROBABILITIES, predict_precision=precision)) for precision in (None, "bf16-mixed")
    )
    assert same(weights(fine), weights(coarse))
    exact, rough = fine.predict(ALL).probabilities_NC, coarse.predict(ALL).probabilities_NC
    assert exact is not None and rough is not None
    assert rough.dtype == np.float32
    assert 1e-5 < np.abs(exact - rough).max() < 0.02
    whole = DeepLearner(scene(), CLASSES, ALL, LENET.having(precision="bf16-mixed"), PROBABILITIES)
    whole.module.load_state_dict(fine.module.state_dict())
    assert np.array_equal(whole.predict(ALL).probabilities_NC, rough)  # type: ignore[arg-type]


def test_half_precision_of_scoring_needs_a_gpu() -> None:
    with pytest.raises(ConfigurationError, match=r"trainer\.predict_precision=16-mixed needs a GPU"):
        learner(LENET, predict_precision="16-mixed")


def test_tf32_is_float32_with_coarser_matrix_products_and_does_not_outlive_its_run() -> None:
    trainer = build_trainer("cpu", "tf32", 1)
    assert trainer.precision == "32-true"
    assert torch.get_float32_matmul_precision() == "high"
    build_trainer("cpu", "bf16-mixed", 1)
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_limits_are_sane() -> None:
    assert scoring.SMALLEST <= scoring.PROBE <= scoring.LARGEST
