"""Training a CD-VAE with PyTorch Lightning, which resumes exactly after any interruption.

All random numbers of a step follow from the seed and the step number, so a checkpoint needs no random state. Matrices
are trained with Muon (Jordan et al. 2024), other parameters with AdamW, at one learning rate: warm-up, constant phase,
linear decay. The final weights are an exponential moving average.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from lcoms.core.bounds import require
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError, DataError
from lcoms.data.dataset import TrainingSteps, to_batch
from lcoms.data.store import CrystalArrays, joined
from lcoms.models.base import CDVAE
from lcoms.models.fast import FastCDVAE
from lcoms.models.manifest import record_files
from lcoms.models.paper import PaperCDVAE
from lcoms.models.weights import CDVAE_FILE, preset_of, save_cdvae
from lcoms.structure.batch import CrystalBatch
from lcoms.train.energy_steps import EnergySteps
from lcoms.train.fitting import States, optimizer_states, optimizer_tensors, optimizers_of, update_average, with_prefix
from lcoms.train.trainer import FitConfig, Run, resume, train

logger = logging.getLogger(__name__)

KIND = "lcoms-cdvae-checkpoint"
VERSION = 1
CRYSTALS_IN_LOSS = 128.0  # batch size to which the loss is normalised
TEACHER_FORCED = 0.5  # of the steps; afterwards CDVAE adds noise in the predicted lattice


@dataclass(frozen=True)
class TrainConfig(FitConfig):
    """How long and how a CD-VAE is trained.

    Attributes:
        steps: total number of optimiser steps.
        warmup: steps of rising learning rate.
        decay: final fraction of the steps, over which the learning rate falls to zero.
        clip: largest gradient norm.
        atoms_per_batch, crystals_per_batch: upper limits of a batch, whose crystals have equal numbers of atoms.
        batches_per_step: batches whose gradients are summed.
        energy_atoms: approximate number of atoms in each of as many further batches, of whole compositions, from which
            only encoder and energy head learn (fast preset); 0: none.
        devices: processes (CPU) or GPUs, among which the batches of a step are divided.
    """

    steps: int = 10_000
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 300
    decay: float = 0.3
    clip: float = 2.0
    atoms_per_batch: int = 1024
    crystals_per_batch: int = 192
    batches_per_step: int = 2
    energy_atoms: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        least = ["steps", "devices", "atoms_per_batch", "crystals_per_batch", "batches_per_step"]
        not_negative = ["weight_decay", "warmup", "decay", "energy_atoms"]
        require(self, "training", at_least_one=least, positive=["learning_rate", "clip"], not_negative=not_negative)
        if self.batches_per_step % self.devices:
            raise ConfigError(f"batches_per_step {self.batches_per_step} must be a multiple of devices {self.devices}.")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, as a fraction of the full rate."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return rise * min(1.0, left)


class StepBatches(NamedTuple):
    """Batches of one step: of crystals to reconstruct, and as many of crystals whose energies are learned, or none."""

    crystals: list[CrystalBatch]
    energies: list[CrystalBatch]


@dataclass(frozen=True, eq=False)
class CDVAESteps:
    """The batches of each step; `energies` is None where no step has batches of its own for energies."""

    crystals: TrainingSteps
    energies: EnergySteps | None

    def __len__(self) -> int:
        return len(self.crystals)

    def __getitem__(self, step: int) -> StepBatches:
        if self.energies is None:
            return StepBatches(self.crystals[step], [])
        n = self.crystals.batches_per_step
        return StepBatches(self.crystals[step], [self.energies[i] for i in range(step * n, (step + 1) * n)])


class CDVAEModule(lightning.LightningModule):
    """A CD-VAE with its optimisers; the module counts steps itself, since each step uses two optimisers."""

    def __init__(self, model: CDVAE, config: TrainConfig) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.config = config
        self.step = 0
        self.skipped = 0
        self.average = {name: t.detach().clone() for name, t in model.state_dict().items()}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        c = self.config
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            inner = parameter.ndim == 2 and "embed" not in name and min(parameter.shape) >= 16
            (matrices if inner else rest).append(parameter)
        return [
            torch.optim.Muon(matrices, lr=c.learning_rate, weight_decay=c.weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=c.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def training_step(self, batches: StepBatches) -> None:
        c = self.config
        optimizers = optimizers_of(self)
        if isinstance(self.model, PaperCDVAE):
            self.model.teacher_forcing = self.step < TEACHER_FORCED * c.steps
        mine = batches.crystals[self.global_rank :: c.devices]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        for place, batch in enumerate(mine):
            generator = _generator(c.seed, self.step, self.global_rank + place * c.devices)
            losses = self.model.losses(batch, generator)
            self.manual_backward(losses["loss"] * (batch.n_crystals * c.devices / CRYSTALS_IN_LOSS))
            self.log_dict({name: value.detach() for name, value in losses.items()}, batch_size=batch.n_crystals)
        for batch in batches.energies[self.global_rank :: c.devices]:
            assert isinstance(self.model, FastCDVAE)
            losses = self.model.losses_of_energies(batch)
            self.manual_backward(losses["loss"] * (batch.n_crystals * c.devices / CRYSTALS_IN_LOSS))
            told = {f"of_compositions_{name}": value.detach() for name, value in losses.items()}
            self.log_dict(told, batch_size=batch.n_crystals)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if torch.isfinite(norm):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = c.learning_rate * c.rate(self.step)
                optimizer.step()
            update_average(self.average, self.model.state_dict(), step=self.step, decay=c.ema)
        else:
            self.skipped += 1
        self.step += 1
        self.log("skipped", float(self.skipped))

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a resumed run needs: weights, their average, state of the optimisers."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.items()}
        return tensors | optimizer_tensors(optimizers_of(self))

    def facts(self) -> dict[str, Any]:
        """Return the other data that a resumed run needs."""
        return {"step": self.step, "skipped": self.skipped}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> States:
        """Restore the state from a checkpoint and return the states of the optimisers."""
        self.average = with_prefix(tensors, "average.")
        self.model.load_state_dict(self.average)  # checks that it is complete
        self.model.load_state_dict(with_prefix(tensors, "model."))
        self.step, self.skipped = int(header["step"]), int(header["skipped"])
        return optimizer_states(tensors)


def train_cdvae(
    model: CDVAE,
    crystals: CrystalArrays,
    config: TrainConfig,
    out: Path,
    *,
    metadata: dict[str, Any],
    further: Sequence[CrystalArrays] = (),
    fit_statistics: bool = True,
    progress: bool = True,
    device: torch.device | None = None,
) -> Path:
    """Train, or continue from the checkpoint in `out`, and write the averaged weights.

    Args:
        crystals: training crystals.
        metadata: facts about the data, stored with the weights; a checkpoint of other data is rejected.
        further: crystals of which only the energies are learned, with `energy_atoms`.
        fit_statistics: set lattice and energy scales from the crystals; turn off to continue from trained weights.
        device: device of the training; None: a GPU where there is one.

    Returns:
        The path of the weights.

    Raises:
        ConfigError: `energy_atoms` is set for the paper preset, or there are further crystals without it.
        WeightsError: the checkpoint in `out` belongs to another model, configuration or data.
        DataError: there is nothing to train on, or too little for the number of processes.
    """
    require_energy_batches(model, config, further=bool(further))
    energies = None
    if config.energy_atoms:
        every = joined([crystals, *further])
        energies = EnergySteps(every, atoms_per_batch=config.energy_atoms, seed=config.seed)
    if fit_statistics:
        model.fit_statistics(to_batch(crystals))
    module = CDVAEModule(model, config)
    configs, facts = {"config": model.config, "train": config}, {"preset": preset_of(model), "metadata": metadata}
    accelerator, often = "auto" if device is None else device.type, (config.checkpoint_minutes, config.log_every)
    run = Run(
        out, KIND, VERSION, configs, facts, *often, config.devices, progress, accelerator, free=("steps", "devices")
    )
    states = resume(module, run)
    steps = TrainingSteps(
        crystals,
        n_steps=config.steps,
        seed=config.seed,
        atoms_per_batch=config.atoms_per_batch,
        max_crystals=config.crystals_per_batch,
        batches_per_step=config.batches_per_step,
    )
    if len(steps[0]) < config.devices:
        raise DataError(f"{len(crystals)} crystals make too few batches for {config.devices} processes; use fewer.")
    writes = train(module, CDVAESteps(steps, energies), states, run)
    model.load_state_dict(module.average)
    weights = out / CDVAE_FILE
    if writes:
        told = {"steps": module.step, "skipped": module.skipped, "train": to_dict(config)}
        save_cdvae(model, weights, metadata=metadata | told)
        record_files(out, [CDVAE_FILE])
    return weights


def require_energy_batches(model: CDVAE, config: TrainConfig, *, further: bool) -> None:
    """Check that the model has an energy head if batches of energies are asked for, and that further crystals are used.

    Raises:
        ConfigError: one of them does not hold.
    """
    if config.energy_atoms and not isinstance(model, FastCDVAE):
        raise ConfigError("training option energy_atoms is for the fast preset; the paper preset has no energy head.")
    if further and not config.energy_atoms:
        raise ConfigError("only energies are learned from further crystals; set energy_atoms=2048 or so.")


def _generator(seed: int, step: int, batch: int) -> torch.Generator:
    """Return the generator for one batch of one step, which does not depend on the process that takes it."""
    state = np.random.SeedSequence([seed, step, batch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
