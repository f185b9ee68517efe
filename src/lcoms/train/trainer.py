"""Training with PyTorch Lightning in a folder, common to all networks: checkpoints, resumed runs, logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import lightning
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from lcoms.core.bounds import require
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError
from lcoms.models.surrogate_file import must_fit, read_tensors
from lcoms.train.fitting import (
    RemainingSteps,
    RestoreOptimizers,
    SafeCheckpoint,
    States,
    Steps,
    StopAfterStep,
    fit,
    require_same_run,
)

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"


@runtime_checkable
class Trainable(Protocol):
    """A Lightning module that counts its steps, and saves and restores all that a resumed run needs."""

    step: int
    skipped: int

    def tensors(self) -> dict[str, Tensor]: ...

    def facts(self) -> dict[str, Any]:
        """Return data that are not tensors."""

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> States:
        """Restore the state from a checkpoint and return the states of the optimisers."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of every training in a folder.

    Attributes:
        ema: decay of the moving average of the weights.
        checkpoint_minutes: minutes between checkpoints.
        log_every: steps between log lines.
    """

    ema: float = 0.999
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        require(self, "training", at_least_one=["log_every"], not_negative=["seed", "checkpoint_minutes"])
        if not 0 <= self.ema < 1:
            raise ConfigError(f"training option ema must lie in [0, 1), not {self.ema}.")


class Run(NamedTuple):
    """What identifies a run, and how it is logged.

    Attributes:
        out: folder of the checkpoint and the logs.
        kind, version: of the checkpoint.
        configs: configurations by name, which must equal those of a checkpoint from which the run is resumed.
        facts: other data that must equal those of the checkpoint.
        checkpoint_minutes: minutes between checkpoints.
        log_every: steps between log lines.
        devices: number of processes (CPU) or GPUs.
        progress: whether to show a progress bar.
        accelerator: cpu, cuda, or auto: a GPU where there is one.
        free: options of the configurations that may differ from the checkpoint.
    """

    out: Path
    kind: str
    version: int
    configs: Mapping[str, Any]
    facts: Mapping[str, Any]
    checkpoint_minutes: float
    log_every: int
    devices: int = 1
    progress: bool = True
    accelerator: str = "auto"
    free: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        return self.out / CHECKPOINT_FILE

    @property
    def header(self) -> dict[str, Any]:
        """Description of the run in a checkpoint."""
        configs = {name: to_dict(config) for name, config in self.configs.items()}
        return {"kind": self.kind, "version": self.version, **configs, **self.facts}


def resume(module: Trainable, run: Run) -> States:
    """Restore a run from its checkpoint, if there is one, and return the states of the optimisers.

    Raises:
        WeightsError: the checkpoint is damaged, of another version, or belongs to another run.
    """
    if not run.checkpoint.is_file():
        return {}
    tensors, stored = read_tensors(run.checkpoint, run.kind, run.version)
    kinds = {name: type(config) for name, config in run.configs.items()}
    require_same_run(run.checkpoint, stored, run.header, (*run.facts, *run.configs), kinds, run.free)
    with must_fit(run.checkpoint):
        return module.restore(tensors, stored)


def train(module: Any, steps: Steps[Any] | None, states: States, run: Run) -> bool:
    """Run the remaining steps, with a checkpoint every few minutes.

    Args:
        module: a LightningModule that is `Trainable`.
        steps: None where the training has ended before the last step.
        states: states of the optimisers, from `resume`.

    Returns:
        Whether this is the process that writes the weights.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hides notes on devices and on its own services
    checkpoint = SafeCheckpoint(run.checkpoint, run.header, run.checkpoint_minutes)
    callbacks: list[Callback] = [checkpoint, StopAfterStep(checkpoint), RestoreOptimizers(states)]
    if run.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    trainer = lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        # Batches of one-atom cells do not use the denoiser, and batches without energies do not use the energy head.
        strategy="ddp_find_unused_parameters_true" if run.devices > 1 else "auto",
        max_epochs=1,
        logger=[CSVLogger(run.out, name="logs"), TensorBoardLogger(run.out, name="tensorboard")],
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        log_every_n_steps=run.log_every,
        use_distributed_sampler=False,
    )
    if steps is not None:
        fit(trainer, module, RemainingSteps(steps, module.step))
    if module.skipped:
        logger.warning("%d steps were skipped because a gradient was not finite.", module.skipped)
    return trainer.is_global_zero
