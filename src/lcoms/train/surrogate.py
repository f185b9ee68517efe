"""Training the conservative surrogate on latents with PyTorch Lightning, which resumes exactly after any interruption.

Every epoch ends with validation on unseen compositions. One generator determines the order of the crystals and the
noise; a checkpoint holds its current state and that at the beginning of the epoch, so a run killed within an epoch
continues from there and gives the same weights as an uninterrupted run.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lcoms.core.disk import write_whole
from lcoms.models.conservative import ConservativeLosses, conservative_losses
from lcoms.models.device import has_bfloat16_units
from lcoms.models.energy_head import EnergyHead
from lcoms.models.listwise import listwise_loss
from lcoms.models.surrogate import (
    LOG_ALPHA_LIMIT,
    ConservativeSurrogate,
    SurrogateConfig,
)
from lcoms.models.surrogate_file import save_surrogate
from lcoms.train.fitting import States, optimizer_states, optimizer_tensors, optimizers_of, with_prefix
from lcoms.train.surrogate_data import SurrogateData
from lcoms.train.surrogate_figures import EpochRecord, validation_figures, write_metrics
from lcoms.train.trainer import Run, resume, train

KIND = "lcoms-surrogate-checkpoint"
VERSION = 3
CHECKPOINT_MINUTES = 3.0


class SurrogateModule(lightning.LightningModule):
    """The surrogate with its optimiser, dual variable, random numbers, and validation at the end of every epoch.

    Args:
        seed: seed of the initial weights, the order of batches and the noise.
        head: energy head of the autoencoder, for `from_head`.
        on_epoch: called with the metrics of each epoch.
    """

    normalised: Float[Tensor, "n d"]
    features: Float[Tensor, "n 103"]
    targets: Float[Tensor, " n"]
    groups: Int[Tensor, " n"]
    sums: Float[Tensor, 3]

    def __init__(
        self,
        data: SurrogateData,
        config: SurrogateConfig,
        *,
        seed: int = 0,
        head: EnergyHead | None = None,
        on_epoch: Callable[[EpochRecord], None] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.data, self.on_epoch = config, data, on_epoch
        self.generator = torch.Generator().manual_seed(seed)
        train = ~data.is_val
        latents, features, energies = data.latents[train], data.composition_features[train], data.energies[train]
        self.surrogate = ConservativeSurrogate(latents.shape[1], config, head)
        self.surrogate.initialise(self.generator)
        self.surrogate.fit_normalisation(latents, features, energies)
        self.log_alpha = torch.nn.Parameter(torch.tensor(math.log(config.initial_alpha)))
        self._hold("normalised", self.surrogate.normalise(latents))
        self._hold("features", features)
        self._hold("targets", self.surrogate.normalise_energies(energies, features))
        self._hold("groups", data.groups[train])
        self._hold("sums", torch.zeros(3))  # squared and absolute errors, overestimation
        self.step = 0
        self.skipped = 0
        self.history: list[EpochRecord] = []
        self._begin_epoch()

    def _hold(self, name: str, tensor: Tensor) -> None:
        """Register a tensor that moves to the device with the network."""
        self.register_buffer(name, tensor.detach().clone(), persistent=False)

    def _begin_epoch(self) -> None:
        self.epoch_generator = self.generator.get_state()
        self.batches = self._order().split(self.config.batch_size)
        self.sums.zero_()
        self.skipped_before, self.began = self.skipped, time.perf_counter()

    def _order(self) -> Int[Tensor, " n"]:
        """Return a random order of the training crystals; with a listwise loss, compositions are kept together."""
        if not self.config.listwise:
            return torch.randperm(len(self.targets), generator=self.generator)
        _, labels = torch.unique(self.groups.cpu(), return_inverse=True)
        return torch.rand(int(labels.max()) + 1, generator=self.generator)[labels].argsort()

    @property
    def steps(self) -> range:
        """Steps of all epochs; the crystals of a step follow from the order of its epoch."""
        return range(self.config.epochs * len(self.batches))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        c = self.config
        network = torch.optim.AdamW(
            self.surrogate.networks.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay, fused=True
        )
        return [network, torch.optim.Adam([self.log_alpha], lr=c.alpha_learning_rate)]

    def training_step(self, step: int) -> None:
        epoch, place = divmod(step, len(self.batches))
        if not place and step:
            self._begin_epoch()
        rate = self._learning_rate((epoch + place / len(self.batches)) / self.config.epochs)
        for group in optimizers_of(self)[0].param_groups:
            group["lr"] = rate
        index = self.batches[place]
        normalised = self.normalised[index]
        if self.config.latent_noise:
            noise = torch.randn(normalised.shape, generator=self.generator).to(self.device)
            normalised = normalised + self.config.latent_noise * noise * self.surrogate.latent_mask
        losses = self.update(normalised, index)
        if losses is None:
            self.skipped += 1
        else:
            self.sums += torch.stack([losses.squared_error, losses.absolute_error, losses.overestimation])
        self.step += 1
        if place == len(self.batches) - 1:
            self._end_epoch(rate)

    def update(self, normalised: Float[Tensor, "b d"], index: Int[Tensor, " b"]) -> ConservativeLosses | None:
        """Take one Adam step on the network and one on log alpha.

        Args:
            normalised: latents of a batch, with their noise.
            index: indices of their training crystals.

        Returns:
            The losses; None, with nothing changed, where the loss or a gradient is not finite.
        """
        features, targets = self.features[index], self.targets[index]
        network, dual = optimizers_of(self)
        network.zero_grad(set_to_none=True)
        dual.zero_grad(set_to_none=True)
        with self._autocast():
            losses = conservative_losses(self.surrogate, normalised, features, targets, self.log_alpha)
            loss = losses.model
            if self.config.listwise:
                energies = self.surrogate.normalised_energy(normalised, features)
                width = self.config.listwise_width / self.surrogate.energy_std
                loss = loss + self.config.listwise * listwise_loss(energies, targets, self.groups[index], width=width)
        self.manual_backward(loss)
        gradients = [p.grad for p in self.surrogate.networks.parameters() if p.grad is not None]
        if not bool(torch.isfinite(loss) & torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            return None
        network.step()
        if self.config.conservatism == "on":
            self.manual_backward(losses.alpha)
            dual.step()
            with torch.no_grad():
                self.log_alpha.clamp_(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)
        return losses

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        mixed = precision == "bfloat16" or (precision == "auto" and has_bfloat16_units(self.device))
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def _learning_rate(self, progress: float) -> float:
        low = self.config.final_lr_fraction
        return self.config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)

    def _end_epoch(self, rate: float) -> None:
        skipped = self.skipped - self.skipped_before
        squared_error, absolute_error, over = (self.sums / max(len(self.batches) - skipped, 1)).tolist()
        record = EpochRecord(
            epoch=len(self.history) + 1,
            squared_error=squared_error,
            mae=absolute_error * float(self.surrogate.energy_std),
            overestimation=over,
            alpha=float(self.log_alpha.detach().exp()) if self.config.conservatism == "on" else 0.0,
            skipped=skipped,
            learning_rate=rate,
            **validation_figures(self.surrogate, self.data, self._autocast(), self.device),
            seconds=time.perf_counter() - self.began,
        )
        self.history.append(record)
        for log in self.loggers:
            log.log_metrics({k: v for k, v in asdict(record).items() if v is not None}, step=self.step)
        if self.on_epoch is not None:
            self.on_epoch(record)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a resumed run needs: weights, states of optimisers and generator, epoch sums."""
        tensors = {f"model.{name}": t for name, t in self.surrogate.state_dict().items()}
        tensors |= {"log_alpha": self.log_alpha.detach(), "sums": self.sums}
        tensors |= {"generator": self.generator.get_state(), "epoch_generator": self.epoch_generator}
        return tensors | optimizer_tensors(optimizers_of(self))

    def facts(self) -> dict[str, Any]:
        """Return the other data that a resumed run needs."""
        skipped = {"skipped": self.skipped, "skipped_before": self.skipped_before}
        return {"step": self.step, **skipped, "history": [asdict(record) for record in self.history]}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> States:
        """Restore the state from a checkpoint and return the states of the optimisers."""
        self.surrogate.load_state_dict(with_prefix(tensors, "model."))
        self.log_alpha.data.copy_(tensors["log_alpha"])
        self.generator.set_state(tensors["epoch_generator"])
        self._begin_epoch()
        self.generator.set_state(tensors["generator"])
        self.sums.copy_(tensors["sums"])
        self.step, self.skipped = int(header["step"]), int(header["skipped"])
        self.skipped_before = int(header["skipped_before"])
        self.history = [EpochRecord(**record) for record in header["history"]]
        return optimizer_states(tensors)


def train_surrogate(
    data: SurrogateData,
    out: Path | str,
    *,
    config: SurrogateConfig | None = None,
    seed: int = 0,
    head: EnergyHead | None = None,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> SurrogateModule:
    """Train, or continue a training, in a folder.

    The folder receives `config.json`, `metrics.csv` (one row per epoch), `last.safetensors`, `best.safetensors` (lowest
    MAE on unseen compositions; the last weights without validation) and the checkpoint. If it already holds a
    checkpoint, training continues from there; the number of epochs may differ from that of the earlier run.

    Args:
        seed: seed of the initial weights, the order of batches and the noise.
        head: energy head of the autoencoder that made the latents, for `from_head`.
        on_epoch: called with the metrics of each epoch.

    Raises:
        ConfigError: `from_head` without a head, or the reverse.
        WeightsError: the folder's checkpoint is damaged, or belongs to other settings or data.
    """
    folder, config = Path(out), config or SurrogateConfig()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"config": asdict(config), "seed": seed, "data": data.fingerprint()}

    def keep(record: EpochRecord) -> None:
        metadata = settings | {"metrics": asdict(record)}
        earlier = [r.val_mae for r in module.history[:-1] if r.val_mae is not None]
        if record.val_mae is None or record.val_mae < min(earlier, default=math.inf):
            save_surrogate(module.surrogate, folder / "best.safetensors", metadata=metadata)
        save_surrogate(module.surrogate, folder / "last.safetensors", metadata=metadata)
        write_metrics(folder / "metrics.csv", module.history)
        if on_epoch is not None:
            on_epoch(record)

    module = SurrogateModule(data, config, seed=seed, head=head, on_epoch=keep)
    run = Run(
        folder,
        KIND,
        VERSION,
        {"config": config},
        {"seed": seed, "data set": settings["data"]},
        CHECKPOINT_MINUTES,
        log_every=len(module.batches),
        progress=False,
        accelerator=torch.device(device).type,
        free=("epochs",),
    )
    states = resume(module, run)
    write_whole(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    train(module, module.steps, states, run)
    return module
