"""Training MEGNet with PyTorch Lightning, which resumes exactly after any interruption.

Adam with gradient clipping, a learning rate that rises linearly and falls along a cosine, and averaged weights. The
original recipe (constant rate, mean squared error, early stopping on validation) can be set by options.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lcoms.core.bounds import require
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError
from lcoms.data.dataset import to_batch
from lcoms.models.input_surrogate import InputConservatism, input_losses
from lcoms.models.megnet import MEGNET_FILE, Megnet, save_megnet
from lcoms.models.surrogate import LOG_ALPHA_LIMIT
from lcoms.train.fitting import States, optimizer_states, optimizer_tensors, optimizers_of, update_average, with_prefix
from lcoms.train.graphs import GraphSteps, GraphTable, MegnetData
from lcoms.train.ranking import within_composition_spearman
from lcoms.train.trainer import FitConfig, Run, resume, train

logger = logging.getLogger(__name__)

KIND = "lcoms-megnet-checkpoint"
VERSION = 1
CHUNK = 512  # graphs of one prediction


@dataclass(frozen=True)
class MegnetTraining(FitConfig):
    """How long and how MEGNet is trained.

    Attributes:
        edges_per_batch: edges of merged graphs per batch.
        schedule: one-cycle rises over the first `warmup` fraction of the steps and falls to zero along a cosine.
        loss: mean squared error, or Huber loss, linear beyond `huber_delta` standard deviations of the energy; a
            conservative model always has the mean squared error, with which its losses are defined.
        clip: largest gradient norm.
        patience: number of validations (one per epoch) without improvement after which training stops with the best
            weights; 0 trains to the end and keeps the last.
    """

    epochs: int = 70
    learning_rate: float = 2.5e-3
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup: float = 0.05
    weight_decay: float = 1e-4
    loss: Literal["huber", "mse"] = "huber"
    huber_delta: float = 0.1
    edges_per_batch: int = 8192
    clip: float = 3.0
    patience: int = 0
    conservatism: InputConservatism = field(default_factory=InputConservatism)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            "training",
            at_least_one=["epochs", "edges_per_batch"],
            positive=["learning_rate", "huber_delta", "clip"],
            not_negative=["patience", "weight_decay", "warmup"],
            one_of={"schedule": ("one-cycle", "constant"), "loss": ("huber", "mse")},
        )

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step out of `steps`, as a fraction of the full rate."""
        if self.schedule == "constant":
            return 1.0
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return (step + 1) / rise
        return (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2.0


@dataclass(frozen=True)
class ValidationRecord:
    """Metrics after an epoch, of the averaged weights on unseen compositions; MAE in eV/atom.

    Attributes:
        train_mae: MAE of the epoch's batches at the time of their training step, eV/atom.
        overestimation, alpha: of the last batch; see `ConservativeLosses`.
    """

    epoch: int
    train_mae: float
    val_mae: float
    val_spearman: float
    overestimation: float
    alpha: float


class MegnetModule(lightning.LightningModule):
    """MEGNet with its optimiser, its dual variable, and validation at the end of every epoch."""

    def __init__(
        self,
        model: Megnet,
        data: MegnetData,
        config: MegnetTraining,
        on_validation: Callable[[ValidationRecord], None] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.data, self.config, self.on_validation_record = model, data, config, on_validation
        self.train_rows = torch.nonzero(data.is_train).squeeze(1)
        self.val_rows = torch.nonzero(data.is_val).squeeze(1)
        self.steps = GraphSteps(
            data.graphs.n_edges[self.train_rows],
            epochs=config.epochs,
            edges_per_batch=config.edges_per_batch,
            seed=config.seed,
        )
        self.energies = torch.from_numpy(data.crystals.formation_energy).float()
        self.log_alpha = torch.nn.Parameter(torch.tensor(math.log(config.conservatism.initial_alpha)))
        self.step = 0
        self.skipped = 0
        self.average = {name: t.detach().clone() for name, t in model.state_dict().items()}
        self.best = {name: t.clone() for name, t in self.average.items()}
        # Sum of absolute errors, their number, lowest validation MAE, epochs since then.
        self.record = torch.tensor([0.0, 0.0, math.inf, 0.0], dtype=torch.float64)

    @property
    def exhausted(self) -> bool:
        """Whether validation has not improved for `patience` epochs."""
        return 0 < self.config.patience <= int(self.record[3])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        c = self.config
        network = torch.optim.AdamW(
            self.model.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay, fused=True
        )
        return [network, torch.optim.Adam([self.log_alpha], lr=c.conservatism.alpha_learning_rate)]

    def on_train_batch_start(self, *_: Any) -> int | None:
        return -1 if self.exhausted else None

    def training_step(self, places: Int[Tensor, " n_chosen"]) -> None:
        c = self.config
        rows = self.train_rows[places.cpu()]
        network, dual = optimizers_of(self)
        network.zero_grad(set_to_none=True)
        dual.zero_grad(set_to_none=True)
        targets = (self.energies[rows].to(self.device) - self.model.energy_mean) / self.model.energy_std
        losses, errors, over = self._losses(rows, targets)
        # Scaled by the batch size, so that crystals with large graphs, whose batches are small, do not weigh more.
        self.manual_backward(losses * (len(rows) / self.steps.mean_batch))
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if torch.isfinite(norm):
            network.param_groups[0]["lr"] = c.learning_rate * c.rate(self.step, len(self.steps))
            network.step()
            update_average(self.average, self.model.state_dict(), step=self.step, decay=c.ema)
            if c.conservatism.mode == "on":
                dual.step()
                with torch.no_grad():
                    self.log_alpha.clamp_(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)
            self.record[:2] += torch.stack([errors.double().cpu(), torch.tensor(float(len(rows)))])
        else:
            self.skipped += 1
        self.step += 1
        mae = errors / len(rows) * self.model.energy_std
        self.log_dict({"step": float(self.step), "loss": losses.detach(), "mae": mae, "over": over})
        if self.step % self.steps.steps_per_epoch == 0:
            self._end_epoch(float(over))

    def _losses(self, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the sum of absolute errors and the adversary's mean energy decrease, in normalised units."""
        c = self.config
        graph = self.data.graphs.take(rows).to(self.device)
        if c.conservatism.mode == "on":
            batch = to_batch(self.data.crystals.take(rows.numpy())).to(self.device)
            generator = torch.Generator().manual_seed(_seed(c.seed, self.step))
            losses = input_losses(self.model, graph, batch, targets, self.log_alpha, c.conservatism, generator)
            return losses.model + losses.alpha, losses.absolute_error * len(rows), losses.overestimation
        predicted = self.model.normalised(graph)
        if c.loss == "mse":
            loss = functional.mse_loss(predicted, targets)
        else:
            loss = functional.huber_loss(predicted, targets, delta=c.huber_delta) / c.huber_delta
        return loss, (predicted - targets).detach().abs().sum(), torch.zeros_like(loss.detach())

    def _end_epoch(self, over: float) -> None:
        train_mae = float(self.record[0] / self.record[1].clamp_min(1)) * float(self.model.energy_std)
        self.record[:2] = 0.0
        val_mae, spearman = self._validate()
        if val_mae < float(self.record[2]):
            self.record[2], self.record[3] = val_mae, 0.0
            self.best = {name: t.clone() for name, t in self.average.items()}
        else:
            self.record[3] += 1
        alpha = float(self.log_alpha.detach().exp()) if self.config.conservatism.mode == "on" else 0.0
        epoch = self.step // self.steps.steps_per_epoch
        found = ValidationRecord(epoch, train_mae, val_mae, spearman, over, alpha)
        for log in self.loggers:
            log.log_metrics({name: float(value) for name, value in vars(found).items()}, step=self.step)
        if self.on_validation_record is not None:
            self.on_validation_record(found)

    def _validate(self) -> tuple[float, float]:
        """Return MAE (eV/atom) and mean Spearman correlation within compositions, of the averaged weights."""
        if not len(self.val_rows):
            return math.nan, math.nan
        trained = {name: t.clone() for name, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        predicted = predict_graphs(self.model, self.data.graphs, self.val_rows).double().numpy()
        self.model.load_state_dict(trained)
        energies = self.data.crystals.formation_energy[self.val_rows.numpy()]
        spearman, _ = within_composition_spearman(energies, predicted, self.data.groups[self.val_rows].numpy())
        return float(np.abs(predicted - energies).mean()), spearman

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a resumed run needs: weights, average and best ones, state of the optimisers."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {"record": self.record, "log_alpha": self.log_alpha.detach()}
        return tensors | optimizer_tensors(optimizers_of(self))

    def facts(self) -> dict[str, Any]:
        """Return the other data that a resumed run needs."""
        return {"step": self.step, "skipped": self.skipped}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> States:
        """Restore the state from a checkpoint and return the states of the optimisers."""
        self.model.load_state_dict(with_prefix(tensors, "model."))
        self.average, self.best = with_prefix(tensors, "average."), with_prefix(tensors, "best.")
        self.record = tensors["record"]
        self.log_alpha.data.copy_(tensors["log_alpha"])
        self.step, self.skipped = int(header["step"]), int(header["skipped"])
        return optimizer_states(tensors)


@torch.no_grad()
def predict_graphs(model: Megnet, graphs: GraphTable, rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return predicted formation energies (eV/atom) of the chosen graphs."""
    device = model.centres.device
    return torch.cat([model(graphs.take(some).to(device)).cpu() for some in rows.split(CHUNK)])


def train_megnet(
    model: Megnet,
    data: MegnetData,
    config: MegnetTraining,
    out: Path,
    *,
    metadata: dict[str, Any],
    progress: bool = True,
    on_validation: Callable[[ValidationRecord], None] | None = None,
) -> Path:
    """Train, or continue from the checkpoint in `out`, and write the weights.

    Args:
        metadata: facts about the data, stored with the weights; a checkpoint of other data is rejected.
        on_validation: called with the metrics of every epoch.

    Returns:
        The path of the weights.

    Raises:
        WeightsError: the checkpoint in `out` belongs to another model, configuration or data.
        ConfigError: conservatism with a network whose edges do not fade out, or patience without validation crystals.
    """
    if config.patience and not bool(data.is_val.any()):
        raise ConfigError("patience needs crystals to validate on; give the store a val split, or patience=0.")
    if config.conservatism.mode == "on" and not model.config.smooth:
        raise ConfigError("conservatism needs an energy without steps; give the network the option smooth=true.")
    model.fit_scale(data.crystals.formation_energy[data.is_train.numpy()])
    module = MegnetModule(model, data, config, on_validation)
    configs, often = {"config": model.config, "train": config}, (config.checkpoint_minutes, config.log_every)
    run = Run(out, KIND, VERSION, configs, {"metadata": metadata}, *often, progress=progress)
    states = resume(module, run)
    train(module, None if module.exhausted else module.steps, states, run)
    model.load_state_dict(module.best if config.patience else module.average)
    val_mae = module._validate()[0] if not config.patience else float(module.record[2])
    facts = {"steps": module.step, "skipped": module.skipped, "train": to_dict(config)}
    facts["val_mae"] = val_mae if math.isfinite(val_mae) else None
    weights = out / MEGNET_FILE
    save_megnet(model, weights, metadata=metadata | facts)
    return weights


def _seed(seed: int, step: int) -> int:
    """Return the seed of the random numbers of one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
