"""The LightningModule: backbone, loss prediction module and the combined loss of equation (5)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from hsi_al.methods.deep.backbones.base import Backbone
from hsi_al.methods.deep.loss_prediction import LossPredictionModule, pair_losses, ranking_loss
from hsi_al.training.divided import share_of_mean

# patches, labels, class weights or None, detached -> loss
Objective = Callable[[Tensor, Tensor, Tensor | None, bool], Tensor]


@dataclass
class FitPlan:
    """The training settings of one round.

    Attributes:
        epochs: Passes over the labelled pixels.
        lr: Learning rate of Adam, the peak value of a schedule that is not constant.
        schedule: Schedule of the learning rate (`protocol.schedule`); the paper's is constant.
        detach_epoch: First epoch in which the ranking loss no longer reaches the backbone; None = never.
        class_weights_C: Class weights of the cross-entropy, (C,), or None.
        lr_warm_up: Fraction of the steps in which the learning rate rises linearly to `lr` (not with one_cycle).
        label_smoothing: Fraction of a label's weight that is spread over all classes (Szegedy et al. 2016, section 7).
    """

    epochs: int
    lr: float = 1e-3
    schedule: str = "constant"
    detach_epoch: int | None = None
    class_weights_C: Tensor | None = None
    lr_warm_up: float = 0.0
    label_smoothing: float = 0.0


class ActiveClassifier(L.LightningModule):
    """A classifier of patches that, with a loss prediction module, also predicts its loss on each of them.

    Args:
        backbone: patches (B, bands, P, P) -> (logits (B, C), taps).
        loss_prediction: Loss prediction module on the taps; None trains with cross-entropy alone (eq. (3)).
        ranking_weight: Weight of the ranking loss in eq. (5); the paper writes no weight, which means 1.
        margin: Margin xi of the ranking loss.

    Attributes:
        plan: Training settings of the current round.
        wanted: Optional fields of `Outputs` that `predict_step` fills in.
        masks_KD: K dropout masks on the embeddings, (K, D).
        compiled: The compiled `objective`, used for batches of `compiled_size` pixels; other batches run uncompiled.
        divided: Whether a batch holds only this process's share of the pixels.
    """

    def __init__(
        self,
        backbone: Backbone,
        loss_prediction: LossPredictionModule | None = None,
        ranking_weight: float = 1.0,
        margin: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.loss_prediction = loss_prediction
        self.ranking_weight = ranking_weight
        self.margin = margin
        self.plan = FitPlan(epochs=1)
        self.wanted: frozenset[str] = frozenset()
        self.masks_KD: Tensor
        self.register_buffer("masks_KD", torch.ones(0, backbone.classifier.in_features), persistent=False)
        self.compiled: Objective | None = None
        self.compiled_size = 0
        self.divided = False

    def reset_parameters(self) -> None:
        """Draw fresh weights in place, from torch's global CPU generator: the same weights on every device."""
        for part in (self.backbone, self.loss_prediction):
            if part is not None:
                drawn = copy.deepcopy(part).cpu()
                drawn.reset_parameters()
                part.load_state_dict(drawn.state_dict())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch: patches (B, bands, P, P), labels (B,)."""
        patches, labels = batch
        full = self.compiled is not None and len(labels) == self.compiled_size
        objective = self.compiled if self.compiled is not None and full else self.objective
        return objective(patches, labels, self.plan.class_weights_C, self.detached)

    def objective(self, patches: Tensor, labels: Tensor, class_weights_C: Tensor | None, detached: bool) -> Tensor:
        """Return L_cross-entropy + ranking_weight * L_ranking (eq. (5)).

        It depends on tensors and constants only, so that it can be compiled.

        Args:
            patches: (B, bands, P, P).
            labels: Class indices, (B,).
            class_weights_C: Class weights of the cross-entropy, (C,), or None.
            detached: Whether the ranking loss is kept from the backbone.
        """
        logits, taps = self.backbone(patches)
        # The ranking loss compares losses without smoothing, which would give a loss to confident, correct pixels.
        smoothed_B = loss_B = cross_entropy(logits, labels, reduction="none")
        if smoothing := self.plan.label_smoothing:
            smoothed_B = cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        loss = self._weighted_mean(smoothed_B, labels, class_weights_C)
        if self.loss_prediction is not None:
            predicted_loss_B = self.loss_prediction([tap.detach() for tap in taps] if detached else taps)
            loss = loss + self.ranking_weight * self._ranking_loss(predicted_loss_B, loss_B)
        return loss

    @property
    def detached(self) -> bool:
        """Whether there is a ranking loss and it no longer reaches the backbone in the current epoch."""
        if self.loss_prediction is None or self.plan.detach_epoch is None:
            return False
        return self.current_epoch >= self.plan.detach_epoch

    def _weighted_mean(self, loss_B: Tensor, labels: Tensor, class_weights_C: Tensor | None) -> Tensor:
        weights_B = torch.ones_like(loss_B) if class_weights_C is None else class_weights_C.to(loss_B)[labels]
        if self.divided:
            return share_of_mean(loss_B, weights_B)
        if class_weights_C is None:
            return loss_B.mean()
        return (weights_B * loss_B).sum() / weights_B.sum()

    def _ranking_loss(self, predicted_loss_B: Tensor, loss_B: Tensor) -> Tensor:
        if not self.divided:
            return ranking_loss(predicted_loss_B, loss_B, self.margin)
        losses = pair_losses(predicted_loss_B, loss_B, self.margin)
        return share_of_mean(losses, torch.ones_like(losses))

    def predict_step(self, batch: tuple[Tensor, ...], batch_index: int) -> dict[str, Tensor]:
        """Return the outputs of a batch by their names in `Outputs`: `predicted_class` and the `wanted` fields.

        The predicted class is -1 where a logit is NaN or infinite.
        """
        taps = self.backbone.taps(batch[0])
        embeddings = self.backbone.embed(taps)
        logits = self.backbone.classifier(embeddings).float()
        outputs = {"predicted_class": logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)}
        give: dict[str, Callable[[], Tensor]] = {
            "probabilities_NC": lambda: logits.softmax(dim=1),
            "embeddings_ND": lambda: embeddings.float(),
            "mc_probabilities_NKC": lambda: self.draw_logits(embeddings).softmax(dim=2),
        }
        if self.loss_prediction is not None:
            head = self.loss_prediction
            give["predicted_loss_N"] = lambda: head(taps).float()
        return outputs | {name: give[name]().cpu() for name in sorted(self.wanted)}

    def draw_logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits (B, K, C) of embeddings (B, D) under each of the K dropout masks, by one matrix product."""
        layer, n_draws = self.backbone.classifier, len(self.masks_KD)
        weight = (layer.weight * self.masks_KD[:, None]).flatten(0, 1)
        logits = linear(embeddings, weight, layer.bias.repeat(n_draws))
        return logits.float().view(len(embeddings), n_draws, layer.out_features)

    def adam(self) -> torch.optim.Adam:
        """Build a fused Adam; it steps outside the compiled graphs, so that every round can start with a new one."""
        return torch.optim.Adam(self.parameters(), lr=self.plan.lr, fused=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build one Adam for backbone and loss prediction module (two would do the same) and its schedule per step."""
        optimiser = self.adam()
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warm = round(self.plan.lr_warm_up * steps)
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if self.plan.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm))
        elif self.plan.schedule == "one_cycle":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.plan.lr, total_steps=max(2, steps))
        else:
            scheduler = torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
        if warm:
            rise = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / (warm + 1), total_iters=warm)
            scheduler = torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, scheduler], [warm])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
