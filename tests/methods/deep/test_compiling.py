"""The compiled step gives what the written one gives, is compiled once for all rounds, and never stops a run."""

from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from hsi_al.methods.deep.backbones import resnet
from hsi_al.methods.deep.backbones.base import Network
from hsi_al.methods.deep.backbones.registry import networks
from hsi_al.methods.deep.compiling import STEPS_THAT_PAY, pays, reason_of, unchanged
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings
from tests.methods.deep.test_learner import ALL, CLASSES, LENET, LOSS, NARROW, fit, labelled, same, scene, weights

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def narrow_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet, "WIDTHS", (8, 12, 16, 20))
    monkeypatch.setitem(resnet.LAYERS, "narrow", ((1, 1, 1, 1), 1))
    monkeypatch.setitem(networks(), "narrow", Network(resnet.build))


@pytest.fixture
def cheap_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as a real compiler does, run with torch's own kernels."""
    monkeypatch.setattr(DeepLearner, "backend", "aot_eager")


def learner(settings: DeepSettings, needs: frozenset[str] = frozenset(), **changes: Any) -> DeepLearner:
    return DeepLearner(scene(), CLASSES, ALL, settings.having(**changes), needs)


def close(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether weights and statistics agree to 1e-4 of the largest of each tensor."""
    assert first.keys() == second.keys()
    return all(
        float((first[key] - second[key]).abs().max()) <= 1e-4 * max(1.0, float(first[key].abs().max())) for key in first
    )


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def counted(deep: DeepLearner) -> list[tuple[int, bool]]:
    """Size and `detached` of every batch that goes through the compiled step."""
    compiled, seen = deep.module.compiled, list[tuple[int, bool]]()
    assert compiled is not None

    def watched(patches: Tensor, labels: Tensor, class_weights_C: Tensor | None, detached: bool) -> Tensor:
        seen.append((len(labels), detached))
        return compiled(patches, labels, class_weights_C, detached)

    deep.module.compiled = watched
    return seen


@pytest.mark.parametrize(
    ("mode", "device", "steps", "expected"),
    [
        ("auto", GPU, STEPS_THAT_PAY, True),
        ("auto", GPU, STEPS_THAT_PAY - 1, False),
        ("auto", CPU, 10**6, False),
        ("on", CPU, 1, True),
        ("off", GPU, 10**6, False),
    ],
)
def test_when_compiling_pays(mode: str, device: torch.device, steps: int, expected: bool) -> None:
    assert pays(mode, device, steps) == expected


@pytest.mark.usefixtures("cheap_backend")
@pytest.mark.slow
def test_compiled_rounds_are_the_written_ones() -> None:
    # 25 labels: two full batches and a short one, 35: three and one; the detach epoch is the second of three.
    written, compiled = (learner(NARROW, LOSS, epochs=3, detach=0.4, compile=mode) for mode in ("off", "on"))
    began, before, generator = graphs(), weights(compiled), torch.get_rng_state()
    assert "s a compiled step," in compiled.estimate(*labelled(), [(0, 25), (1, 35)], 10, 0).work
    assert same(weights(compiled), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert graphs() - began == 2
    seen = counted(compiled)
    for round_, n in ((0, 25), (1, 35)):
        for deep in (written, compiled):
            fit(deep, round_, seed=round_, n=n)
            deep.predict(ALL[:7])
        assert close(weights(written), weights(compiled))
    assert graphs() - began == 2
    # The short batches run as they are written.
    assert seen == [(10, epoch > 0) for full in (2, 3) for epoch in range(3) for _ in range(full)]
    assert written.module.compiled is None


@pytest.mark.usefixtures("cheap_backend")
def test_compiling_in_a_fit_changes_nothing_and_warm_rounds_need_no_more() -> None:
    settings = LENET.having(warm_start=True, detach=0.5, class_weights="balanced")
    written, compiled = (learner(settings, compile=mode) for mode in ("off", "on"))
    began = graphs()
    for round_, n in enumerate((9, 25, 25)):
        for deep in (written, compiled):
            fit(deep, round_, seed=round_, n=n)
        # A pool that doesn't fill a batch is trained as written; LeNet has no ranking loss to detach, so one graph.
        assert graphs() - began == (round_ > 0)
        assert close(weights(written), weights(compiled))
    assert compiled.module.compiled_size == 10


def test_what_can_not_be_compiled_is_named_once_and_runs_as_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(graph: object, inputs: object) -> object:
        raise FileNotFoundError("no compiler here\nand a second line") from OSError("g++ is missing")

    deep = learner(LENET, compile="on")
    deep.backend = broken
    for round_ in range(2):
        fit(deep, round_)
    said = capsys.readouterr().out
    assert said == "The training step can't be compiled (OSError: g++ is missing); it runs uncompiled.\n"
    assert same(weights(deep), weights(fit(fit(learner(LENET)), 1)))


def test_reasons_are_one_line() -> None:
    assert reason_of(ValueError("\n first \n second")) == "ValueError: first"
    assert reason_of(KeyError()) == "KeyError"


def test_unchanged_puts_weights_statistics_and_mode_back_after_an_error_too() -> None:
    module = fit(learner(NARROW)).module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in module.parameters()]
    with pytest.raises(RuntimeError, match="stop"), unchanged(module.eval()):
        module.train()
        module.reset_parameters()
        raise RuntimeError("stop")
    assert same(module.state_dict(), before)
    assert not module.training
    assert [parameter.data_ptr() for parameter in module.parameters()] == addresses


def test_fresh_weights_are_drawn_in_place_and_as_on_the_cpu() -> None:
    module = learner(NARROW, LOSS).module
    addresses = [parameter.data_ptr() for parameter in module.parameters()]
    parts = []
    for draw in (module.reset_parameters, module.backbone.reset_parameters):
        torch.manual_seed(5)
        draw()
        parts.append({key: value.clone() for key, value in module.backbone.state_dict().items()})
    assert same(*parts)
    assert [parameter.data_ptr() for parameter in module.parameters()] == addresses


def test_the_module_stays_where_it_is_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    deep, moved = learner(NARROW, LOSS), list[str]()

    def cpu(module: L.LightningModule) -> L.LightningModule:
        moved.append("cpu")
        return module

    monkeypatch.setattr(L.LightningModule, "cpu", cpu)
    fit(deep).predict(ALL[:5])
    fit(deep, 1)
    assert moved == []


@pytest.mark.slow
def test_inductor_gives_the_written_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # or it starts processes that import torch
    # LeNet: forward and backward in generated C++, one graph.
    written, compiled = (learner(LENET, epochs=2, compile=mode) for mode in ("off", "on"))
    for round_ in range(2):
        for deep in (written, compiled):
            fit(deep, round_, seed=round_)
    assert compiled.module.compiled is not None
    assert close(weights(written), weights(compiled))
    probabilities = [deep.predict(ALL).predicted_class for deep in (written, compiled)]
    assert np.mean(probabilities[0] == probabilities[1]) > 0.99
