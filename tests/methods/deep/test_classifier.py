"""Eq. (5) by hand, its gradients, what a prediction gives, and the optimiser in a real Trainer."""

import math
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hsi_al.config.schema import SCHEDULES
from hsi_al.methods.deep.backbones.base import Backbone
from hsi_al.methods.deep.classifier import ActiveClassifier, FitPlan
from hsi_al.methods.deep.loss_prediction import LossPredictionModule, ranking_loss
from hsi_al.training.trainer import quiet_lightning


class TinyBackbone(Backbone):
    """Four convolutions, each a tap."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(6, 3, (4, 4, 5, 6), dropout)
        self.blocks = nn.ModuleList(
            nn.Conv2d(c, o, 3, padding=1) for c, o in zip((2, *self.tap_channels), self.tap_channels, strict=False)
        )
        self.reset_parameters()

    def taps(self, patches: Tensor) -> list[Tensor]:
        taps = []
        for block in self.blocks:
            patches = torch.tanh(block(patches))
            taps.append(patches)
        return taps


def classifier(*, head: bool = True, dropout: float = 0.0, **options: Any) -> ActiveClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = TinyBackbone(dropout)
        return ActiveClassifier(backbone, LossPredictionModule(backbone.tap_channels) if head else None, **options)


def batch(n: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 5, 5, generator=generator), torch.randint(3, (n,), generator=generator)


def cross_entropies(module: ActiveClassifier, patches: Tensor, labels: Tensor) -> np.ndarray[Any, Any]:
    logits = module.backbone(patches)[0].detach().numpy()
    losses: np.ndarray[Any, Any] = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels.numpy()]
    return losses


def gradients(module: ActiveClassifier, part: nn.Module) -> list[Tensor]:
    module.zero_grad()
    module.training_step(batch(), 0).backward()  # type: ignore[no-untyped-call]
    return [parameter.grad.clone() for parameter in part.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("n", [10, 7, 2])
def test_training_step_is_cross_entropy_plus_weighted_ranking_loss(n: int) -> None:
    module = classifier(ranking_weight=0.7, margin=0.4)
    assert module.loss_prediction is not None
    patches, labels = batch(n)
    losses = cross_entropies(module, patches, labels)
    predicted = module.loss_prediction(module.backbone.taps(patches)).detach().numpy()
    hinges = []
    for i in range(n // 2):
        j = 2 * (n // 2) - 1 - i
        sign = 1.0 if losses[i] > losses[j] else -1.0
        hinges.append(max(0.0, 0.4 - sign * (predicted[i] - predicted[j])))
    expected = losses.mean() + 0.7 * np.mean(hinges)
    assert float(module.training_step((patches, labels), 0).detach()) == pytest.approx(expected, rel=1e-5)


def test_weight_and_margin_are_one_by_default() -> None:
    assert (classifier().ranking_weight, classifier().margin) == (1.0, 1.0)


def test_without_the_module_training_is_cross_entropy_alone() -> None:
    module = classifier(head=False)
    expected = cross_entropies(module, *batch()).mean()
    assert float(module.training_step(batch(), 0).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", [True, False])
def test_class_weights_give_torchs_weighted_mean_and_leave_the_ranking_loss_alone(head: bool) -> None:
    module = classifier(head=head, ranking_weight=0.5)
    patches, labels = batch()
    plain = module.training_step((patches, labels), 0)
    weights = torch.tensor([0.2, 3.0, 1.1])
    module.plan = FitPlan(1, class_weights_C=weights)
    logits = module.backbone(patches)[0]
    expected = nn.functional.cross_entropy(logits, labels, weight=weights)
    unweighted = nn.functional.cross_entropy(logits, labels)
    assert not torch.allclose(expected, unweighted, rtol=1e-3)
    change = module.training_step((patches, labels), 0) - plain
    assert float(change.detach()) == pytest.approx(float((expected - unweighted).detach()), abs=1e-5)


def test_detached_backbone_gradients_are_those_of_cross_entropy() -> None:
    module, plain = classifier(), classifier(head=False)
    assert module.loss_prediction is not None
    expected = gradients(plain, plain.backbone)
    joint = gradients(module, module.backbone)
    module.plan = FitPlan(5, detach_epoch=0)
    detached = gradients(module, module.backbone)
    assert len(detached) == len(expected) == len(joint) == 10
    assert all(torch.equal(one, other) for one, other in zip(detached, expected, strict=True))
    # The last layer feeds the cross-entropy only; everything before it feels the ranking loss too.
    same = [torch.allclose(one, other) for one, other in zip(joint, expected, strict=True)]
    names = [name for name, _ in module.backbone.named_parameters()]
    assert [name for name, equal in zip(names, same, strict=True) if equal] == ["classifier.weight", "classifier.bias"]
    assert any(bool(gradient.any()) for gradient in gradients(module, module.loss_prediction))


def test_the_module_learns_the_same_whether_detached_or_not() -> None:
    module = classifier()
    assert module.loss_prediction is not None
    joint = gradients(module, module.loss_prediction)
    module.plan = FitPlan(5, detach_epoch=0)
    detached = gradients(module, module.loss_prediction)
    assert all(torch.equal(one, other) for one, other in zip(joint, detached, strict=True))


@pytest.mark.parametrize(
    ("detach_epoch", "expected"), [(None, [False] * 4), (0, [True] * 4), (3, [False, False, False, True])]
)
def test_detached_from_an_epoch_on(
    detach_epoch: int | None, expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = classifier()
    module.plan = FitPlan(4, detach_epoch=detach_epoch)
    seen = []
    for epoch in range(4):
        monkeypatch.setattr(ActiveClassifier, "current_epoch", epoch)
        seen.append(module.detached)
    assert seen == expected


def test_prediction_gives_the_class_and_what_is_wanted() -> None:
    module = classifier(dropout=0.5).eval()
    assert module.loss_prediction is not None
    patches, labels = batch()
    logits, taps = module.backbone(patches)
    module.wanted = frozenset()
    only = module.predict_step((patches,), 0)
    assert set(only) == {"predicted_class"}
    assert only["predicted_class"].tolist() == logits.detach().numpy().argmax(axis=1).tolist()

    module.wanted = frozenset({"probabilities_NC", "embeddings_ND", "predicted_loss_N"})
    outputs = {name: value.detach() for name, value in module.predict_step((patches, labels), 0).items()}
    assert set(outputs) == {"predicted_class", *module.wanted}
    assert np.allclose(outputs["probabilities_NC"], softmax(logits.detach().numpy(), axis=1), atol=1e-6)
    assert np.allclose(outputs["embeddings_ND"], taps[3].detach().numpy().mean(axis=(2, 3)), atol=1e-6)
    assert torch.equal(outputs["predicted_loss_N"], module.loss_prediction(taps).detach())
    assert outputs["predicted_loss_N"].shape == (10,)

    module.wanted = frozenset({"embeddings_ND"})
    assert set(module.predict_step((patches,), 0)) == {"predicted_class", "embeddings_ND"}


def test_prediction_in_half_precision_gives_floats() -> None:
    module = classifier().eval().to(torch.bfloat16)
    module.wanted = frozenset({"probabilities_NC", "embeddings_ND", "predicted_loss_N"})
    outputs = module.predict_step((batch()[0].bfloat16(),), 0)
    assert {name: value.dtype for name, value in outputs.items()} == {
        "predicted_class": torch.int64,
        "probabilities_NC": torch.float32,
        "embeddings_ND": torch.float32,
        "predicted_loss_N": torch.float32,
    }


class Rates(L.Callback):
    """Learning rate of every step taken."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.optimiser: torch.optim.Optimizer | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.optimiser = trainer.optimizers[0]
        self.rates.append(self.optimiser.param_groups[0]["lr"])


def train(module: ActiveClassifier, plan: FitPlan, batches: int = 3) -> Rates:
    rates = Rates()
    module.plan = plan
    loader = DataLoader(TensorDataset(*batch(4 * batches)), batch_size=4)
    with quiet_lightning():
        trainer = L.Trainer(
            max_epochs=plan.epochs,
            accelerator="cpu",
            callbacks=[rates],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
    assert len(rates.rates) == plan.epochs * batches
    return rates


def test_one_plain_adam_over_everything() -> None:
    module = classifier()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    rates = train(module, FitPlan(2))
    assert rates.rates == [1e-3] * 6
    optimiser = rates.optimiser
    assert type(optimiser) is torch.optim.Adam
    (group,) = optimiser.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"], group["amsgrad"]) == ((0.9, 0.999), 1e-8, 0, False)
    assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in module.parameters()}
    moved = {name for name, parameter in module.named_parameters() if not torch.equal(before[name], parameter)}
    # Differences of predictions say nothing about the module's last bias.
    assert moved | {"loss_prediction.head.bias"} == set(before)


def test_constant_schedule() -> None:
    assert train(classifier(), FitPlan(2, lr=3e-4, schedule="constant")).rates == [3e-4] * 6


def test_cosine_schedule() -> None:
    rates = train(classifier(), FitPlan(4, lr=2e-3, schedule="cosine")).rates
    assert rates == pytest.approx([1e-3 * (1 + math.cos(math.pi * step / 12)) for step in range(12)])
    assert rates[0] == 2e-3


def test_one_cycle_schedule() -> None:
    rates = train(classifier(), FitPlan(5, lr=2e-3, schedule="one_cycle"), batches=4).rates
    # torch: from a 25th up to the peak at 30 % of the steps, down to a 10,000th of the start.
    assert rates[0] == pytest.approx(2e-3 / 25)
    assert max(rates) == rates[5] == pytest.approx(2e-3)
    assert rates[-1] == pytest.approx(2e-3 / 25 / 1e4)
    assert sorted(rates[:6]) == rates[:6]
    assert sorted(rates[5:], reverse=True) == rates[5:]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_warms_up_and_goes_on_as_scheduled(schedule: str) -> None:
    rates = train(classifier(), FitPlan(4, lr=2e-3, schedule=schedule, lr_warm_up=0.25)).rates
    rising = [2e-3 * step / 4 for step in (1, 2, 3)]
    rest = [1e-3 * (1 + math.cos(math.pi * step / 9)) if schedule == "cosine" else 2e-3 for step in range(9)]
    assert rates == pytest.approx(rising + rest)


@pytest.mark.parametrize("lr_warm_up", [0.01, 1.0])
def test_a_warm_up_of_no_step_and_of_all(lr_warm_up: float) -> None:
    rates = train(classifier(), FitPlan(1, lr=1e-3, schedule="cosine", lr_warm_up=lr_warm_up)).rates
    expected = {0.01: [1e-3 * (1 + math.cos(math.pi * step / 3)) / 2 for step in range(3)], 1.0: [2.5e-4, 5e-4, 7.5e-4]}
    assert rates == pytest.approx(expected[lr_warm_up])


def test_smoothed_labels_in_the_cross_entropy_but_not_in_the_ranking() -> None:
    module = classifier()
    patches, labels = batch(40)
    module.plan = FitPlan(1, label_smoothing=0.6)
    with torch.no_grad():
        module.backbone.classifier.weight.mul_(30)  # sure of itself: smoothing then changes who is worse
    logits, taps = module.backbone(patches)
    log_p = logits.log_softmax(dim=1)
    loss_B = -log_p[torch.arange(40), labels]
    smoothed_B = 0.4 * loss_B - 0.6 * log_p.mean(dim=1)
    assert module.loss_prediction is not None
    predicted_B = module.loss_prediction(taps)
    ranking = ranking_loss(predicted_B, loss_B, module.margin)
    assert abs((ranking - ranking_loss(predicted_B, smoothed_B, module.margin)).item()) > 1e-3
    loss = module.objective(patches, labels, None, False)
    assert loss.item() == pytest.approx((smoothed_B.mean() + module.ranking_weight * ranking).item(), rel=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_single_step_trains_with_every_schedule(schedule: str) -> None:
    module = classifier()
    before = module.backbone.classifier.weight.detach().clone()
    train(module, FitPlan(1, schedule=schedule), batches=1)
    assert not torch.equal(module.backbone.classifier.weight, before)


def test_reset_covers_backbone_and_module() -> None:
    states = []
    for used in (False, True):
        module = classifier()
        if used:
            train(module, FitPlan(1))
        with torch.random.fork_rng():
            torch.manual_seed(9)
            module.reset_parameters()
        states.append(module.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(key.startswith("loss_prediction") for key in states[0])
    weights = [key for key in states[0] if key.endswith("weight")]
    assert all(not torch.equal(states[0][key], classifier().state_dict()[key]) for key in weights)
