"""The deep learner: a backbone that trains and predicts through Lightning, with a fresh Trainer in every round."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from numpy.typing import NDArray
from torch import Tensor

from hsi_al.config.schema import BackboneConfig, ProtocolConfig, TrainerConfig
from hsi_al.errors import ConfigurationError, LearnerError, RunDirectoryError
from hsi_al.files import replacing
from hsi_al.manifest import reading
from hsi_al.methods.base import PART, Estimate
from hsi_al.methods.deep import NETWORKS_GIVE, DeepLearnerConfig
from hsi_al.methods.deep.backbones.base import Backbone, Plan, count_parameters, stem_output_size
from hsi_al.methods.deep.backbones.registry import build_backbone
from hsi_al.methods.deep.classifier import ActiveClassifier, FitPlan
from hsi_al.methods.deep.compiling import Backend, compile_step, pays, unchanged
from hsi_al.methods.deep.loss_prediction import LossPredictionModule
from hsi_al.outputs import Outputs, Progress
from hsi_al.scenes.stored import Cube
from hsi_al.training.datamodule import HsiDataModule, batches_per_epoch
from hsi_al.training.patches import gatherer_of
from hsi_al.training.profiling import PhaseProfiler
from hsi_al.training.ranks import ALONE, Ranks
from hsi_al.training.scoring import halving, measured_size
from hsi_al.training.trainer import EpochProgress, build_trainer, fitting_memory, is_finite, quiet_lightning, seeded

Ids = NDArray[np.int64]
# Pixels of the feature maps after the stem, of all patches of a scored batch on a CPU: more outgrow its cache and halve
# the speed of DenseNet-121 with stem s1.
MAP_PIXELS_AT_ONCE = 2**14
MOST_DRAWN_BYTES = 2**33  # of `mc_probabilities_NKC` at once
DROPOUT_FOR_DRAWS = 0.5  # if dropout masks are needed but `backbone.dropout` is 0 (Gal, Islam & Ghahramani 2017)


@dataclass(frozen=True)
class DeepSettings:
    """All settings of the deep learner that don't come from the scene.

    Attributes:
        protocol: Configuration group `protocol`: how it trains.
        backbone: Configuration group `backbone`: the network.
        loss: Keys of the combined loss.
        trainer: Configuration group `trainer`: the machine.
        patch_size: Side P of the patches.
        draws: Number of dropout masks for `mc_probabilities_NKC`.
        lr_is_free: Whether the learning rate is the user's `protocol.lr`.
    """

    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig("densenet121"))
    loss: DeepLearnerConfig = field(default_factory=DeepLearnerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    patch_size: int = 32
    draws: int = 16
    lr_is_free: bool = True

    def having(self, **values: Any) -> "DeepSettings":  # noqa: ANN401
        """Return a copy with other values, each given by its key without the group.

        `backbone` is the name of the network, and `stem` the stem of the network, not that of the protocol.

        Raises:
            TypeError: There is no such key.
        """
        changed: dict[str, Any] = {key: values.pop(key) for key in ("patch_size", "draws") if key in values}
        names = {"backbone": "name"}
        for group in ("backbone", "protocol", "loss", "trainer"):
            part = getattr(self, group)
            own = {key: names.get(key, key) for key in values}
            taken = {own[key]: values[key] for key in values if own[key] in {item.name for item in fields(part)}}
            for key in [key for key in values if own[key] in taken]:
                del values[key]
            changed[group] = replace(part, **taken)
        if values:
            raise TypeError(f"The deep learner has no setting {', '.join(values)}.")
        return replace(self, **changed)

    @property
    def stem(self) -> str:
        """The stem of the network: `backbone.stem`, by default `protocol.stem`."""
        return self.backbone.stem or self.protocol.stem


class DeepLearner:
    """The paper's classifier as a learner.

    Args:
        cube: (H, W, bands), in memory or in its file.
        n_classes: Number of classes.
        candidates: Pixel ids that may be labelled, (N,).
        settings: All settings that don't come from the scene.
        needs: Optional fields of `Outputs` that `predict` has to fill in; `predicted_loss_N` attaches the loss
            prediction module, `mc_probabilities_NKC` switches dropout on.
        limits: Minimum and maximum that values are normalised by; default: those of the cube.
        ranks: The processes that train and predict together; default: a single process.
        network: Function that builds the backbone.

    Raises:
        LearnerError: The backbone can't give a needed output.
        ConfigurationError: A setting doesn't fit the scene or the machine.
    """

    def __init__(
        self,
        cube: Cube,
        n_classes: int,
        candidates: Ids,
        settings: DeepSettings,
        needs: frozenset[str] = frozenset(),
        limits: tuple[float, float] | None = None,
        ranks: Ranks | None = None,
        network: Callable[[Plan], Backbone] = build_backbone,
    ) -> None:
        self.draws = settings.draws if "mc_probabilities_NKC" in needs else 0
        check_draws(self.draws, n_classes, min(PART, cube.shape[0] * cube.shape[1]))
        if self.draws and not settings.backbone.dropout:
            settings = settings.having(dropout=DROPOUT_FOR_DRAWS)
        self.settings = settings
        self.ranks = ranks = ranks or ALONE
        self.progress: Progress | None = None
        self.profiler: PhaseProfiler | None = None
        height, width, n_bands = cube.shape
        about, protocol, loss, trainer = settings.backbone, settings.protocol, settings.loss, settings.trainer
        backbone = network(
            Plan(
                about.name,
                n_bands,
                n_classes,
                settings.patch_size,
                settings.stem,
                about.dropout,
                about.transition_pooling,
                about.table1_widths,
            )
        )
        self.provides = NETWORKS_GIVE
        if backbone.tap_channels:
            self.provides |= {"predicted_loss_N"}
        if missing := needs - self.provides:
            raise LearnerError(
                f"The backbone {about.name} can't give {', '.join(sorted(missing))}: it has no blocks for the "
                "loss prediction module; choose another backbone, such as a DenseNet or small, or another acquisition, "
                "such as entropy."
            )
        head = None
        if "predicted_loss_N" in needs:
            head = LossPredictionModule(backbone.tap_channels, fuse=loss.fuse)
        self.module = ActiveClassifier(backbone, head, loss.ranking_weight, loss.margin)
        self.module.wanted = needs
        self.module.masks_KD = torch.ones(self.draws, backbone.classifier.in_features)
        self.draws_are_lost = False
        self.knows_round = False  # whether the weights are those of a round
        if trainer.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)
        self.device: torch.device = build_trainer(
            trainer.accelerator, trainer.precision, 1, ranks=ranks
        ).strategy.root_device
        self.tried_to_compile = False
        self.knows_batch_size = trainer.predict_batch_size is not None or self.device.type != "cuda"
        gatherer = gatherer_of(cube, settings.patch_size, limits)
        self.datamodule = HsiDataModule(
            gatherer,
            height * width,
            candidates,
            protocol.batch_size,
            self.predict_batch_size,
            trainer.channels_last,
            (ranks.rank, ranks.size),
            protocol.augment,
        )
        self.n_classes = n_classes
        for key in ("precision", "predict_precision"):
            if getattr(trainer, key) == "16-mixed" and self.device.type == "cpu":
                raise ConfigurationError(f"trainer.{key}=16-mixed needs a GPU; take bf16-mixed or 32-true on a CPU.")

    def profile_to(self, trace: Path) -> None:
        """Start to measure the seconds of each phase, and trace some training steps into a file."""
        self.profiler = PhaseProfiler(trace)

    def phases(self) -> dict[str, float]:
        """Finish the trace and return the seconds per phase since `profile_to`; {} if it was not called."""
        if self.profiler is None:
            return {}
        self.profiler.finish_trace()
        return self.profiler.phases()

    keeps_state = True
    backend: Backend = "inductor"

    @property
    def predict_batch_size(self) -> int:
        """Pixels scored at once; by default on a CPU as many as `MAP_PIXELS_AT_ONCE` allows, 256 at most.

        On a GPU the size is only a start: it is measured before the first prediction. Patches of one pixel come in
        batches of thousands, because every batch costs about a millisecond besides its computation.
        """
        settings = self.settings
        if settings.trainer.predict_batch_size:
            return settings.trainer.predict_batch_size
        if settings.patch_size == 1:
            return 8192
        if not self.module.backbone.tap_channels or self.device.type != "cpu":
            return 256
        side = stem_output_size(settings.patch_size, settings.stem) if self.has_stem else settings.patch_size
        return min(256, max(1, MAP_PIXELS_AT_ONCE // side**2))

    @property
    def has_stem(self) -> bool:
        """Whether the network begins with one of the `STEMS`; the maps of others are as large as the patches."""
        return hasattr(self.module.backbone, "stem")

    @property
    def warm(self) -> bool:
        """Whether a round continues from the weights of the previous round (`protocol.warm_start`)."""
        return self.settings.protocol.warm_start

    def describe(self) -> str:
        """Return name, stem and size of the network, and its deviations from the paper."""
        settings, head = self.settings, self.module.loss_prediction
        protocol, loss, backbone = settings.protocol, settings.loss, settings.backbone
        stem = f" with stem {settings.stem}" if self.has_stem else ""
        parts = [f"{backbone.name}{stem}, {count_parameters(self.module.backbone):,} parameters"]
        if head is not None:
            parts.append(f"loss prediction module ({loss.fuse}) {count_parameters(head):,}")
        if backbone.dropout:
            draws = f" for {self.draws} draws" if self.draws else ""
            parts.append(f"dropout {backbone.dropout}{draws} (the paper has none)")
        recipe = {
            f"class weights {loss.class_weights}": loss.class_weights != "none",
            "flips and rotations": protocol.augment,
            f"label smoothing {protocol.label_smoothing:g}": protocol.label_smoothing,
            f"weights averaged with decay {protocol.average_weights}": protocol.average_weights,
        }
        parts += [f"{deviation} (the paper has none)" for deviation, applies in recipe.items() if applies]
        return ", ".join(parts)

    def epochs(self, round_: int) -> int:
        """Return the number of epochs of a round."""
        protocol = self.settings.protocol
        return protocol.warm_epochs if self.warm and round_ > 0 else protocol.epochs

    def steps(self, n_labelled: int, round_: int) -> int:
        """Return the number of training steps of a round with `n_labelled` labelled pixels."""
        return self.epochs(round_) * batches_per_epoch(n_labelled, min(self.settings.protocol.batch_size, n_labelled))

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Train on labelled pixel ids (n,) and their class indices (n,).

        Training starts from fresh weights or, with warm starts, in later rounds from the weights of the previous round,
        if this learner has them: where it was built anew, it trains as in the first round.

        Raises:
            Interrupted: The process was asked to end (`hsi_al.interrupts`).
            KeyboardInterrupt: Ctrl-C was pressed outside of `interrupts.listening`.
            LearnerError: The training diverged.
        """
        weights_seed, shuffling_seed = (int(seed) for seed in rng.integers(2**63, size=2))
        as_round = round_ if self.knows_round else 0
        self.module.plan = self._plan(labels, as_round)
        self._compile_if_it_pays(pixel_ids, labels)
        with seeded(weights_seed, self.device):
            if as_round == 0 or not self.warm:
                self.module.reset_parameters()
            if self.ranks.rank:  # else the parts of a batch would share their dropout
                torch.manual_seed(weights_seed ^ self.ranks.rank)
            self.datamodule.set_labelled(pixel_ids, labels, shuffling_seed)
            trainer = self._trainer(self.epochs(as_round), together=True)
            self.module.train()  # An interrupted prediction leaves evaluation mode behind.
            self.module.divided = self.ranks.size > 1
            with quiet_lightning(), fitting_memory():
                trainer.fit(self.module, datamodule=self.datamodule)
        self.module.masks_KD = self._masks(rng).to(self.device)
        self.knows_round = True
        self.ranks.agreed(lambda: self._check_weights(round_))

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict the class of each pixel and all outputs in `needs`, in one pass over the pixels.

        Raises:
            LearnerError: An output is NaN or infinite, or the memory of the device is used up.
        """
        if len(pixel_ids) == 0:
            return Outputs(np.empty(0, np.int64))
        ids = np.asarray(pixel_ids, dtype=np.int64)
        own = np.array_split(ids, self.ranks.size)[self.ranks.rank]
        parts = self.ranks.gathered(self.ranks.agreed(lambda: self._predict_part(own)))
        parts = [part for part in parts if part]  # fewer pixels than processes leave some without
        return Outputs(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _predict_part(self, pixel_ids: Ids) -> dict[str, NDArray[Any]]:
        if len(pixel_ids) == 0:
            return {}
        self.datamodule.predict_ids = pixel_ids
        with fitting_memory():
            self._choose_batch_size()
            batches = halving(self._scored, self.datamodule)
        found = {name: torch.cat([batch[name].cpu() for batch in batches]) for name in batches[0]}
        if (found["predicted_class"] < 0).any() or not all(bool(values.isfinite().all()) for values in found.values()):
            raise self._not_finite("The outputs of the network are NaN or infinite")
        return {name: values.numpy() for name, values in found.items()}

    def estimate(
        self, pixel_ids: Ids, labels: Ids, sizes: Sequence[tuple[int, int]], n_predicted: int, n_mapped: int
    ) -> Estimate:
        """Estimate the computing time from some timed training steps and scored batches; the weights are restored.

        Raises:
            PoolError: Fewer than two labelled pixels.
        """
        steps = [self.steps(n_labelled, round_) for round_, n_labelled in sizes]
        batch, devices = min(self.settings.protocol.batch_size, len(pixel_ids)), self.ranks.size
        if sizes:
            self.module.plan = self._plan(labels, sizes[0][0])
            self._compile_if_it_pays(pixel_ids, labels)
        step_seconds, patch_seconds = self._measure(pixel_ids, labels, max(2, -(-batch // devices)))
        patch_seconds /= devices
        patches = len(sizes) * n_predicted + n_mapped
        kind = "compiled step" if self.module.compiled else "step"
        work = (
            f"{sum(steps):,} training steps of batch {batch} and {patches:,} patches to score "
            f"({step_seconds:.2g} s a {kind}, {1000 * patch_seconds:.2g} ms a patch, measured here)"
        )
        return Estimate(
            work,
            fit_seconds=[step_seconds * count for count in steps],
            predict_seconds=patch_seconds * n_predicted,
            map_seconds=patch_seconds * n_mapped,
        )

    def save(self, path: Path) -> None:
        """Write weights, dropout masks, and minimum and maximum of the normalisation, completely or not at all."""
        limits = torch.tensor(self.datamodule.gatherer.limits, dtype=torch.float64)
        packed = io.BytesIO()  # so that a full disk raises OSError: torch's own writing raises RuntimeError
        weights = {name: value.cpu() for name, value in self.module.state_dict().items()}
        masks = {"masks": self.module.masks_KD.cpu()} if self.draws else {}
        torch.save({"weights": weights, "limits": limits, **masks}, packed)
        with replacing(path) as temporary:
            temporary.write_bytes(packed.getbuffer())

    def load(self, path: Path) -> None:
        """Restore what `save` wrote; weights of a loss prediction module that this learner lacks are skipped.

        Raises:
            RunDirectoryError: The file is missing, corrupted or of another network.
        """
        try:
            state = read_weights(path)
            weights, masks_KD = dict(state["weights"]), state.get("masks", self.module.masks_KD)
            self.draws_are_lost = bool(self.draws) and "masks" not in state
            if self.module.loss_prediction is None:
                weights = {name: value for name, value in weights.items() if not name.startswith("loss_prediction.")}
            self.module.load_state_dict(weights)
            if self.draws:
                self.module.masks_KD = masks_KD.to(self.device)
            self.knows_round = True
        except (RuntimeError, LookupError, TypeError, AttributeError) as error:
            raise RunDirectoryError(
                f"The weights {path} are not those of {self.describe()}; delete the run directory to start anew."
            ) from error

    def _masks(self, rng: np.random.Generator) -> Tensor:
        """Draw the features that each dropout mask keeps, scaled as by dropout in training, (K, D)."""
        kept = rng.random(tuple(self.module.masks_KD.shape)) >= self.settings.backbone.dropout
        return torch.from_numpy(kept / (1 - self.settings.backbone.dropout)).float()

    def _check_weights(self, round_: int) -> None:
        if not is_finite(self.module):
            raise self._not_finite(f"The training of round {round_} diverged: weights are no longer finite")

    def _not_finite(self, what: str) -> LearnerError:
        """Return the error for weights or outputs that are not finite, with the way out that suits its cause."""
        (low, high), lr = self.datamodule.gatherer.limits, self.settings.protocol.lr
        if not bool(self.datamodule.gatherer.padded.isfinite().all()):
            return LearnerError(
                f"The cube's values, scaled by {low:g} to {high:g}, are no finite numbers of float32, so that no class "
                "can be told from them; rescale the cube."
            )
        slower = f"lower protocol.lr={lr:g}, or take" if self.settings.lr_is_free else "take another seed, or"
        return LearnerError(f"{what}; {slower} trainer.precision=32-true.")

    def _plan(self, labels: Ids, round_: int) -> FitPlan:
        protocol, loss, epochs = self.settings.protocol, self.settings.loss, self.epochs(round_)
        return FitPlan(
            epochs,
            protocol.lr,
            protocol.schedule,
            None if loss.detach is None else round(loss.detach * epochs),
            balanced_weights(labels, self.n_classes).to(self.device) if loss.class_weights == "balanced" else None,
            protocol.lr_warm_up,
            protocol.label_smoothing,
        )

    def _trainer(self, epochs: int, scoring: bool = False, together: bool = False) -> L.Trainer:
        machine, decay = self.settings.trainer, self.settings.protocol.average_weights
        callbacks: list[L.Callback] = [EpochProgress(self.progress)]
        if decay and not scoring:
            callbacks.append(EMAWeightAveraging(self.device, decay=decay))
        precision = (machine.predict_precision if scoring else None) or machine.precision
        return build_trainer(
            machine.accelerator,
            precision,
            epochs,
            *callbacks,
            profiler=self.profiler,
            ranks=self.ranks,
            together=together,
            stay_on=self.device,
        )

    def _scored(self) -> list[dict[str, Tensor]]:
        with quiet_lightning():
            batches: Any = self._trainer(1, scoring=True).predict(self.module, datamodule=self.datamodule)
        return list(batches)

    def _batch(self, ids: Ids, *labels: Ids) -> tuple[Tensor, ...]:
        """Return a batch as in training and scoring; this also moves the module to the device."""
        self.module.to(self.device)
        tensors = tuple(torch.from_numpy(column).to(self.device) for column in (ids, *labels))
        return self.datamodule.on_after_batch_transfer(tensors, 0)

    def _compile_if_it_pays(self, pixel_ids: Ids, labels: Ids) -> None:
        """Compile the training step for full batches, once for all rounds, if the labelled pixels fill a batch.

        Batches that are divided among processes are trained uncompiled: a graph can't hold their communication.
        """
        protocol, mode, n = self.settings.protocol, self.settings.trainer.compile, len(pixel_ids)
        if self.ranks.size > 1:
            return
        steps = protocol.epochs * batches_per_epoch(n, protocol.batch_size)
        if self.tried_to_compile or n < protocol.batch_size or not pays(mode, self.device, steps):
            return
        self.tried_to_compile = True
        patches, classes = self._batch(pixel_ids[: protocol.batch_size], labels[: protocol.batch_size])
        with seeded(0, self.device), self._trainer(1).precision_plugin.forward_context():
            compile_step(self.module, (patches, classes), self.backend)

    def _choose_batch_size(self) -> None:
        """On a GPU, choose the scoring batch size once, by measuring the memory that scoring takes."""
        if not self.knows_batch_size:
            self.knows_batch_size = True
            with self._scoring():
                self.datamodule.predict_batch_size = measured_size(self._score_some, self.device)

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        self.module.to(self.device)  # where neither a fit nor an estimate has put it; not as an inference tensor
        with self._trainer(1, scoring=True).precision_plugin.forward_context(), torch.inference_mode():
            self.module.eval()
            yield

    def _score_some(self, n: int) -> None:
        """Score n pixels of the scene, some of them repeatedly if it has fewer."""
        ids = torch.arange(n, device=self.device) % self.datamodule.n_pixels
        self.module.predict_step((self.datamodule.gatherer.to(self.device)(ids),), 0)

    def _measure(self, pixel_ids: Ids, labels: Ids, batch: int) -> tuple[float, float]:
        """Measure the seconds per training step and per scored patch of this process alone."""
        self.module.to(self.device)
        self.datamodule.set_labelled(pixel_ids, labels, seed=0)  # `fit` sets them again
        optimiser = self.module.adam()

        def step() -> None:
            self.module.training_step(self._batch(pixel_ids[:batch], labels[:batch]), 0).backward()  # type: ignore[no-untyped-call,arg-type]
            optimiser.step()
            optimiser.zero_grad()

        with unchanged(self.module), fitting_memory():
            with seeded(0, self.device), self._trainer(1).precision_plugin.forward_context():
                self.module.train()
                step_seconds = median_seconds(step, self.device)
            self._choose_batch_size()
            n = self.datamodule.predict_batch_size
            if self.device.type == "cpu" and self.settings.patch_size > 1:
                n = min(64, n)
            n = min(n, self.datamodule.n_pixels)
            with self._scoring():
                return step_seconds, median_seconds(lambda: self._score_some(n), self.device) / n


def check_draws(draws: int, n_classes: int, n_pixels: int) -> None:
    """Raise ConfigurationError if the class probabilities of so many pixels and dropout draws outgrow the memory."""
    most = MOST_DRAWN_BYTES // (4 * n_classes * n_pixels)
    if draws > most:
        raise ConfigurationError(
            f"acquisition.draws={draws} takes {4 * draws * n_classes * n_pixels / 1e9:.0f} GB for {n_pixels:,} pixels "
            f"of {n_classes} classes, which are predicted at once; take {most} at most."
        )


def median_seconds(work: Callable[[], None], device: torch.device) -> float:
    """Return the median seconds of up to five runs after two warm-up runs.

    Slow work is not repeated after four seconds in total, but runs at least twice, the first time as a warm-up.
    """
    seconds: list[float] = []
    while len(seconds) < 7 and (len(seconds) < 2 or sum(seconds) < 4):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[min(2, len(seconds) - 1) :]))


def balanced_weights(labels: Ids, n_classes: int) -> Tensor:
    """Return class weights n / (C_present * n_c), as scikit-learn's `balanced`; 0 for a class without labels, (C,)."""
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    weights = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights).float()


def read_weights(path: Path) -> dict[str, Any]:
    """Read weights and normalisation limits of a saved learner; nothing but tensors is unpickled.

    Raises:
        RunDirectoryError: The file is missing or corrupted.
    """
    with reading(path):
        try:
            with zipfile.ZipFile(path) as packed:  # torch doesn't look at the checksums
                if damaged := packed.testzip():
                    raise ValueError(f"{damaged} has another checksum")
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            saved["weights"], saved["limits"]
            return saved
        except (OSError, MemoryError):
            raise
        except Exception as error:  # Damaged bytes can raise nearly anything in torch's unpickler.
            raise ValueError("its bytes are no weights") from error
