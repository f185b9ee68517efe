"""Metrics of an epoch of the surrogate's training, including those on unseen compositions, and their file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.disk import write_whole
from lcoms.models.surrogate import ConservativeSurrogate, predict_energies
from lcoms.train.ranking import within_composition_spearman
from lcoms.train.surrogate_data import SurrogateData

DROP_STEPS = (1, 10, 50)
DROP_SAMPLE = 256  # latents from which the decrease is estimated


@dataclass(frozen=True)
class EpochRecord:
    """Metrics of one epoch; energies in eV/atom, squared errors and drops in normalised units (like tau).

    Attributes:
        overestimation: energy decrease by the adversary on training batches, to be compared with tau.
        skipped: batches skipped because a loss or gradient was not finite.
        val_mae, val_spearman: on unseen compositions; Spearman within compositions, over val_polymorphic of them.
        val_drop_1, val_drop_10, val_drop_50: predicted decrease after 1, 10 and 50 descent steps on validation latents.
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


def validation_figures(
    surrogate: ConservativeSurrogate, data: SurrogateData, descent: torch.autocast, device: torch.device
) -> dict[str, Any]:
    """Return the metrics of an `EpochRecord` on unseen compositions.

    Args:
        descent: precision of the descent in latents.
    """
    val, names = data.is_val, [f"val_drop_{steps}" for steps in DROP_STEPS]
    if not bool(val.any()):
        return dict.fromkeys(["val_mae", "val_spearman", *names]) | {"val_polymorphic": 0}
    latents, features = data.latents[val].to(device), data.composition_features[val].to(device)
    energies = data.energies[val].double().numpy()
    predictions = predict_energies(surrogate, latents, features).cpu().double().numpy()
    rho, polymorphic = within_composition_spearman(energies, predictions, data.groups[val].numpy())
    every = max(1, len(latents) // DROP_SAMPLE)
    with descent:
        drops = _drops(surrogate, latents[::every][:DROP_SAMPLE], features[::every][:DROP_SAMPLE])
    return {
        "val_mae": float(np.abs(predictions - energies).mean()),
        "val_spearman": None if math.isnan(rho) else rho,
        "val_polymorphic": polymorphic,
        **dict(zip(names, drops, strict=True)),
    }


def _drops(
    surrogate: ConservativeSurrogate, latents: Float[Tensor, "n d"], features: Float[Tensor, "n 103"]
) -> list[float]:
    """Return the decrease of the predicted energy after each of DROP_STEPS of descent, in normalised units."""
    at, energies = surrogate.normalise(latents), []
    for _ in range(DROP_STEPS[-1] + 1):
        at, energy = surrogate.descent_step(at, features, surrogate.config.step_size)
        energies.append(float(energy.mean()))
    return [energies[0] - energies[steps] for steps in DROP_STEPS]


def write_metrics(path: Path, history: Sequence[EpochRecord]) -> None:
    """Write a CSV table with one row per epoch.

    Raises:
        OSError: the file cannot be written.
    """
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRecord)])
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    write_whole(path, text.getvalue())
