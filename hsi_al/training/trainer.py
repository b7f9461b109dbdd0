"""Training through Lightning without its logs and messages; with progress reports and seeded torch generators."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from hsi_al import interrupts
from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.outputs import Progress
from hsi_al.training.divided import SynchronisedLayers
from hsi_al.training.ranks import ALONE, Ranks, kind_of


class EpochProgress(L.Callback):
    """Reports progress while training and scoring; after every batch a noted signal may interrupt the run.

    Args:
        progress: Called with a text and the part done, 0 to 1; None = no reports.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.report = progress or (lambda text, part: None)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:  # noqa: ANN401
        """Report the epoch and the part of all training steps done."""
        interrupts.check()
        epochs = trainer.max_epochs or 1
        part = trainer.global_step / max(1, epochs * int(trainer.num_training_batches))
        self.report(f"epoch {trainer.current_epoch + 1}/{epochs}", part)

    def on_predict_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: object, index: int, *_: object
    ) -> None:
        """Report the part of the batches scored."""
        interrupts.check()
        self.report("scoring", (index + 1) / int(trainer.num_predict_batches[0]))


class StayingStrategy(SingleDeviceStrategy):
    """Lightning strategy that leaves the module on its device at the end of a fit.

    Lightning would move it to the CPU, and the next fit would move its weights back to other addresses of the device:
    CUDA graphs, which know weights by address, would be recorded again in every round. The optimiser, fresh in every
    fit, isn't moved either.
    """

    def teardown(self) -> None:
        """End the fit as Lightning's strategy does, but move neither module nor optimiser, whose state is freed."""
        # A reference cycle would keep it, on a GPU until memory of the CPU runs short.
        for optimizer in self.optimizers:
            optimizer.state.clear()
        self.precision_plugin.teardown()
        assert self.accelerator is not None
        self.accelerator.teardown()
        self.checkpoint_io.teardown()


def build_trainer(
    accelerator: str,
    precision: str,
    epochs: int,
    *callbacks: L.Callback,
    profiler: Profiler | None = None,
    ranks: Ranks = ALONE,
    together: bool = False,
    stay_on: torch.device | None = None,
) -> L.Trainer:
    """Return a new Lightning Trainer; a Trainer that has already fitted would train no further step.

    Args:
        accelerator: Lightning's name of the accelerator.
        precision: Lightning's name of the precision, or `tf32`: `32-true` with matrix products in TensorFloat-32 on a
            GPU.
        epochs: Passes over the data.
        callbacks: Lightning callbacks.
        profiler: Lightning profiler.
        ranks: The processes of the run; each computes on its own device.
        together: Whether the processes divide every batch among them (a fit), or this one computes alone.
        stay_on: Device on which the module of a single process stays after a fit; None = it is moved to the CPU.

    Raises:
        ConfigurationError: This machine has no such accelerator, or the accelerator can't compute in this precision.
    """
    # Set for the whole process every time, so that a run doesn't inherit the precision of an earlier one.
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    with quiet_lightning():
        try:
            return L.Trainer(
                accelerator=accelerator,
                **placed(accelerator, precision, ranks, together, stay_on),
                precision="32-true" if precision == "tf32" else precision,  # type: ignore[arg-type]
                max_epochs=epochs,
                callbacks=list(callbacks),
                profiler=profiler,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
        except (ValueError, RuntimeError, MisconfigurationException) as error:
            raise ConfigurationError(
                f"trainer.accelerator={accelerator} with trainer.precision={precision} can't be used on this machine: "
                f"{str(error).splitlines()[0]}"
            ) from error


def placed(
    accelerator: str, precision: str, ranks: Ranks, together: bool, stay_on: torch.device | None
) -> dict[str, Any]:
    """Return the Trainer's arguments about devices and processes; for the parameters see `build_trainer`."""
    if ranks.environment is None:
        return {"devices": 1, "strategy": "auto" if stay_on is None else StayingStrategy(stay_on)}
    on_gpu = kind_of(accelerator) == "cuda"
    if not together:
        return {"devices": [ranks.environment.local_rank()] if on_gpu else 1, "plugins": [ranks.environment]}
    return {
        "devices": ranks.size,
        "strategy": DDPStrategy(gradient_as_bucket_view=True),
        "plugins": [ranks.environment, SynchronisedLayers(on_gpu and not precision.endswith("mixed"))],
        "use_distributed_sampler": False,
    }


def train(
    module: L.LightningModule,
    batches: Iterable[Any],
    epochs: int,
    accelerator: str,
    progress: Progress | None = None,
) -> None:
    """Train a module through Lightning; afterwards it is on the CPU, in evaluation mode.

    Args:
        module: The network; its `training_step` gets a batch.
        batches: The batches of one epoch, mostly a DataLoader.
        epochs: Passes over the batches.
        accelerator: Lightning's name of the accelerator.
        progress: Called with the epoch and the part done, 0 to 1.

    Raises:
        LearnerError: The training diverged: a weight or a running statistic is NaN or infinite.
    """
    trainer = build_trainer(accelerator, "32-true", epochs, EpochProgress(progress))
    with quiet_lightning():
        trainer.fit(module.train(), train_dataloaders=batches)
    module.cpu().eval()
    if not is_finite(module):
        raise LearnerError(
            f"The training of {type(module).__name__} diverged: weights are no longer finite; take another seed, or "
            "rescale the cube if its values are very large."
        )


def is_finite(module: torch.nn.Module) -> bool:
    """Return whether all weights and the running statistics of batch normalisation are finite."""
    return all(bool(values.isfinite().all()) for values in module.state_dict().values())


@contextmanager
def fitting_memory() -> Iterator[None]:
    """Turn torch's out-of-memory errors inside the block into one sentence.

    Raises:
        LearnerError: The memory of the device, or this job's share of it, is used up.
    """
    try:
        yield
    except (
        RuntimeError
    ) as error:  # torch.OutOfMemoryError is one, but CUDA, cuBLAS and a processor's allocator raise others
        if not any(words in str(error) for words in ("out of memory", "can't allocate memory", "ALLOC_FAILED")):
            raise
        raise LearnerError(
            "The memory of the device is used up; run fewer jobs at once (hydra.launcher.n_jobs), or lower "
            f"trainer.predict_batch_size or, for a new run, protocol.batch_size: {str(error).splitlines()[0]}"
        ) from error


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random generators of the CPU and the device for the block; restore their states after it."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages inside the block, and turn its own exit after a signal into the run's interrupt."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
            warnings.filterwarnings("ignore", message=".*available but not used.*")
            warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU.*")
            yield
    except SystemExit as exit_:
        interrupts.check()
        if isinstance(exit_.__context__, KeyboardInterrupt):  # outside of `interrupts.listening`
            raise KeyboardInterrupt from exit_
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
