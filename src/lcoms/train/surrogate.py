"""Training the conservative surrogate on latents, with a checkpoint from which it resumes exactly.

Every epoch ends with validation on unseen compositions and a checkpoint. A run that is killed goes on from the last
epoch that ended and gives the same weights as one that was not.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError, DataError
from lcoms.models.listwise import listwise_loss
from lcoms.models.surrogate import (
    LOG_ALPHA_LIMIT,
    ConservativeLosses,
    ConservativeSurrogate,
    SurrogateConfig,
    conservative_losses,
    predict_energies,
)
from lcoms.models.surrogate_file import must_fit, read_tensors, save_surrogate, write_tensors
from lcoms.train.ranking import within_composition_spearman
from lcoms.train.surrogate_data import SurrogateData

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_KIND = "lcoms-surrogate-checkpoint"
CHECKPOINT_VERSION = 1
DROP_STEPS = (1, 10, 50)
DROP_SAMPLE = 256


@dataclass(frozen=True)
class EpochRecord:
    """Figures of one epoch; energies in eV/atom, squared errors and drops in normalised units (as tau is).

    Attributes:
        overestimation: how far the adversary lowered the energy of training batches, to compare with tau.
        skipped: batches left out because a loss or gradient was not finite.
        val_mae, val_spearman: on unseen compositions; Spearman within compositions, over val_polymorphic of them.
        val_drop_1, val_drop_10, val_drop_50: predicted decrease of so many descent steps on validation latents.
    """

    epoch: int
    squared_error: float
    mae: float
    overestimation: float
    alpha: float
    skipped: int
    val_mae: float | None
    val_spearman: float | None
    val_polymorphic: int
    val_drop_1: float | None
    val_drop_10: float | None
    val_drop_50: float | None
    learning_rate: float
    seconds: float


class SurrogateTrainer:
    """State of one training run: network, Adam, dual variable, random numbers, history."""

    def __init__(
        self, data: SurrogateData, config: SurrogateConfig, *, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.config, self.data, self.device = config, data, torch.device(device)
        self.generator = torch.Generator().manual_seed(seed)
        train = ~data.is_val
        self.surrogate = ConservativeSurrogate(data.latents.shape[1], config)
        self.surrogate.initialise(self.generator)
        self.surrogate.fit_normalisation(data.latents[train], data.composition_features[train], data.energies[train])
        self.surrogate.to(self.device)
        self.log_alpha = torch.tensor(math.log(config.initial_alpha), device=self.device, requires_grad=True)
        self.optimiser = torch.optim.AdamW(
            self.surrogate.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], lr=config.alpha_learning_rate)
        latents, features, energies = (
            t[train].to(self.device) for t in (data.latents, data.composition_features, data.energies)
        )
        self._normalised, self._groups = self.surrogate.normalise(latents), data.groups[train].to(self.device)
        self._features, self._targets = features, self.surrogate.normalise_energies(energies, features)
        self.history: list[EpochRecord] = []

    def step(
        self,
        normalised: Float[Tensor, "n d"],
        composition_features: Float[Tensor, "n 103"],
        targets: Float[Tensor, " n"],
        groups: Int[Tensor, " n"] | None = None,
    ) -> ConservativeLosses | None:
        """One Adam step on the network and one on log alpha; None, and nothing changed, if anything is not finite.

        Args:
            groups: labels of compositions, for the listwise loss.
        """
        self.optimiser.zero_grad(set_to_none=True)
        self.alpha_optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            losses = conservative_losses(self.surrogate, normalised, composition_features, targets, self.log_alpha)
            loss = losses.model
            if self.config.listwise and groups is not None:
                energies = self.surrogate.normalised_energy(normalised, composition_features)
                width = self.config.listwise_width / self.surrogate.energy_std
                loss = loss + self.config.listwise * listwise_loss(energies, targets, groups, width=width)
        loss.backward()
        gradients = [p.grad for p in self.surrogate.parameters() if p.grad is not None]
        if not bool(torch.isfinite(loss) & torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            return None
        self.optimiser.step()
        if self.config.conservatism == "on":
            losses.alpha.backward()
            self.alpha_optimiser.step()
            with torch.no_grad():
                self.log_alpha.clamp_(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)
        return losses

    def run_epoch(self) -> EpochRecord:
        """One pass over the training crystals in random order, then validation."""
        began = time.perf_counter()
        order = self._order()
        batches = order.split(self.config.batch_size)
        sums, counted = torch.zeros(3, device=self.device), 0
        for i, index in enumerate(batches):
            rate = self._set_learning_rate((len(self.history) + i / len(batches)) / self.config.epochs)
            normalised = self._normalised[index]
            if self.config.latent_noise:
                noise = torch.randn(normalised.shape, generator=self.generator).to(self.device)
                normalised = normalised + self.config.latent_noise * noise * self.surrogate.latent_mask
            losses = self.step(normalised, self._features[index], self._targets[index], self._groups[index])
            if losses is not None:
                sums += torch.stack([losses.squared_error, losses.absolute_error, losses.overestimation])
                counted += 1
        squared_error, absolute_error, over = (sums / max(counted, 1)).tolist()
        record = EpochRecord(
            epoch=len(self.history) + 1,
            squared_error=squared_error,
            mae=absolute_error * float(self.surrogate.energy_std),
            overestimation=over,
            alpha=float(self.log_alpha.detach().exp()) if self.config.conservatism == "on" else 0.0,
            skipped=len(batches) - counted,
            learning_rate=rate,
            seconds=0.0,
            **self._validate(),
        )
        self.history.append(replace(record, seconds=time.perf_counter() - began))
        return self.history[-1]

    def _order(self) -> Int[Tensor, " n"]:
        """A random order of the training crystals; with a listwise loss, one that keeps compositions together."""
        if not self.config.listwise:
            return torch.randperm(len(self._targets), generator=self.generator)
        _, labels = torch.unique(self._groups.cpu(), return_inverse=True)
        return torch.rand(int(labels.max()) + 1, generator=self.generator)[labels].argsort()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def _set_learning_rate(self, progress: float) -> float:
        low = self.config.final_lr_fraction
        rate = self.config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)
        self.optimiser.param_groups[0]["lr"] = rate
        return rate

    def _validate(self) -> dict[str, Any]:
        val, names = self.data.is_val, [f"val_drop_{steps}" for steps in DROP_STEPS]
        if not bool(val.any()):
            return dict.fromkeys(["val_mae", "val_spearman", *names]) | {"val_polymorphic": 0}
        latents, features = self.data.latents[val].to(self.device), self.data.composition_features[val].to(self.device)
        energies = self.data.energies[val].double().numpy()
        predictions = predict_energies(self.surrogate, latents, features).cpu().double().numpy()
        rho, polymorphic = within_composition_spearman(energies, predictions, self.data.groups[val].numpy())
        every = max(1, len(latents) // DROP_SAMPLE)
        drops = self._drops(latents[::every][:DROP_SAMPLE], features[::every][:DROP_SAMPLE])
        return {
            "val_mae": float(np.abs(predictions - energies).mean()),
            "val_spearman": None if math.isnan(rho) else rho,
            "val_polymorphic": polymorphic,
            **dict(zip(names, drops, strict=True)),
        }

    def _drops(self, latents: Float[Tensor, "n d"], features: Float[Tensor, "n 103"]) -> list[float]:
        """How far descent lowers the predicted energy after each of DROP_STEPS, in normalised units."""
        at, energies = self.surrogate.normalise(latents), []
        with self._autocast():
            for _ in range(DROP_STEPS[-1] + 1):
                at, energy = self.surrogate.descent_step(at, features, self.config.step_size)
                energies.append(float(energy.mean()))
        return [energies[0] - energies[steps] for steps in DROP_STEPS]

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        tensors = {f"model.{name}": t for name, t in self.surrogate.state_dict().items()}
        for prefix, optimiser in (("adam", self.optimiser), ("alpha_adam", self.alpha_optimiser)):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"{prefix}.{index}.{name}": t for name, t in state.items()}
        tensors |= {"log_alpha": self.log_alpha, "generator": self.generator.get_state()}
        header = {
            "kind": CHECKPOINT_KIND,
            "version": CHECKPOINT_VERSION,
            "config": asdict(self.config),
            "data": self.data.fingerprint(),
            "history": [asdict(record) for record in self.history],
        }
        write_tensors(path, tensors, header)

    def load(self, path: Path) -> None:
        """Take up the state of a checkpoint; more or fewer epochs may be asked for than before.

        Raises:
            WeightsError: the checkpoint is missing, damaged or of another version.
            ConfigError: it was made with other settings.
            DataError: it was made with other data.
        """
        tensors, header = read_tensors(path, CHECKPOINT_KIND, CHECKPOINT_VERSION)
        with must_fit(path):
            stored, data = asdict(SurrogateConfig(**header["config"])), header["data"]
        mine = asdict(self.config)
        changed = [name for name in mine if name != "epochs" and mine[name] != stored[name]]
        if changed:
            raise ConfigError(f"{path} was made with another {', '.join(changed)}; use the same or another folder.")
        if data != self.data.fingerprint():
            raise DataError(f"{path} was made with other data; use another folder for these.")
        with must_fit(path):
            self._restore(tensors, header)

    def _restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        self.surrogate.load_state_dict(
            {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}
        )
        for prefix, optimiser in (("adam", self.optimiser), ("alpha_adam", self.alpha_optimiser)):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(prefix + "."):
                    _, index, key = name.split(".")
                    state.setdefault(int(index), {})[key] = tensor
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        with torch.no_grad():
            self.log_alpha.copy_(tensors["log_alpha"])
        self.generator.set_state(tensors["generator"])
        self.history = [EpochRecord(**record) for record in header["history"]]


def train_surrogate(
    data: SurrogateData,
    out: Path | str,
    *,
    config: SurrogateConfig | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> SurrogateTrainer:
    """Train, or go on training, in a folder.

    The folder receives `config.json`, `metrics.csv` (a row an epoch), `last.safetensors`, `best.safetensors` (lowest
    MAE on unseen compositions; the last one where there is no validation) and the checkpoint. If it already holds a
    checkpoint, training goes on from there.

    Args:
        seed: of the initial weights, the order of batches and the noise.
        on_epoch: called with the figures of each epoch.

    Raises:
        ConfigError, DataError: the folder's checkpoint was made with other settings or data.
        WeightsError: the folder's checkpoint is damaged.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = SurrogateTrainer(data, config or SurrogateConfig(), seed=seed, device=device)
    if (folder / CHECKPOINT).exists():
        trainer.load(folder / CHECKPOINT)
    settings = {"config": asdict(trainer.config), "seed": seed, "data": data.fingerprint()}
    write_whole(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    while len(trainer.history) < trainer.config.epochs:
        record = trainer.run_epoch()
        metadata = settings | {"metrics": asdict(record)}
        earlier = [r.val_mae for r in trainer.history[:-1] if r.val_mae is not None]
        if record.val_mae is None or record.val_mae < min(earlier, default=math.inf):
            save_surrogate(trainer.surrogate, folder / "best.safetensors", metadata=metadata)
        save_surrogate(trainer.surrogate, folder / "last.safetensors", metadata=metadata)
        trainer.save(folder / CHECKPOINT)
        _write_metrics(folder / "metrics.csv", trainer.history)
        if on_epoch is not None:
            on_epoch(record)
    return trainer


def _write_metrics(path: Path, history: list[EpochRecord]) -> None:
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRecord)])
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    write_whole(path, text.getvalue())
