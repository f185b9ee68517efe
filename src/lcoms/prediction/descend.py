"""Descent in latent space: from any start towards lower predicted energy at a fixed composition.

z <- z - eta dE(z, c)/dz in normalised latent space, plain gradient steps without momentum, line search or noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lcoms.core.errors import ConfigError
from lcoms.models.surrogate import ConservativeSurrogate

CHUNK = 1024


@dataclass(frozen=True, eq=False)
class DescentResult:
    """Where descent ended.

    Attributes:
        z: latents at the end.
        energies: predicted formation energies there, eV/atom.
        energy_path: predicted energies at the start and after each step, eV/atom.
        path: latents at the start and after each step, where they were asked for.
        steps: how many steps each sample took.
        stopped_early: whether it was stopped because the next step led too far from the data.
    """

    z: Float[Tensor, "n latent"]
    energies: Float[Tensor, " n"]
    energy_path: Float[Tensor, "n_steps_plus_1 n"]
    path: Float[Tensor, "n_steps_plus_1 n latent"] | None
    steps: Int[Tensor, " n"]
    stopped_early: Bool[Tensor, " n"]


def descend(
    surrogate: ConservativeSurrogate,
    z0: Float[Tensor, "n latent"],
    composition_features: Float[Tensor, "n 103"],
    *,
    steps: int = 50,
    step_size: float | None = None,
    keep_path: bool = False,
    reference: Float[Tensor, "n_data latent"] | None = None,
    max_distance: float | None = None,
) -> DescentResult:
    """Descend from many starts of many compositions at once; each follows its own gradient.

    A sample whose next step would lead further from the data than max_distance stays where it is from then on.
    One that starts beyond max_distance does not move at all.

    Args:
        z0: latents to start from, as the encoder gives them.
        step_size: in normalised latent space; None takes the one the surrogate was trained against.
        keep_path: also return the latents after every step.
        reference: latents of the data, for the stop by distance.
        max_distance: in normalised latent space, to the nearest of the reference; `typical_distance` gives one.

    Raises:
        ConfigError: a negative number of steps, or only one of reference and max_distance.
    """
    if steps < 0:
        raise ConfigError(f"descent needs 0 or more steps, not {steps}.")
    if (reference is None) != (max_distance is None):
        raise ConfigError("to stop descent by distance, give both the data's latents and the largest distance.")
    eta = surrogate.config.step_size if step_size is None else step_size
    with torch.inference_mode(False), torch.no_grad():
        z0 = z0.clone()
        features = composition_features.clone()
        at = surrogate.normalise(z0)
        data = None if reference is None else surrogate.normalise(reference)
        taken = torch.zeros(len(z0), dtype=torch.long, device=z0.device)
        active = torch.ones(len(z0), dtype=torch.bool, device=z0.device)
        path, energies = [z0], []
        for _ in range(steps):
            moved, energy = surrogate.descent_step(at, features, eta)
            energies.append(energy)
            if data is not None and max_distance is not None:
                active = active & (nearest_distance(moved, data) <= max_distance)
            at = torch.where(active[:, None], moved, at)
            taken += active
            if keep_path:
                path.append(surrogate.denormalise(at, z0))
        energies.append(surrogate.normalised_energy(at, features))
        energy_path = surrogate.in_ev(torch.stack(energies), features)
    return DescentResult(
        z=surrogate.denormalise(at, z0),
        energies=energy_path[-1],
        energy_path=energy_path,
        path=torch.stack(path) if keep_path else None,
        steps=taken,
        stopped_early=~active,
    )


def nearest_distance(
    points: Float[Tensor, "n latent"], data: Float[Tensor, "n_data latent"], *, skip_self: bool = False
) -> Float[Tensor, " n"]:
    """Euclidean distance of each point to the nearest datum.

    Args:
        skip_self: leave out one datum at distance zero, for points that are themselves among the data.
    """
    rank = 2 if skip_self else 1
    parts = [torch.cdist(some, data).topk(rank, dim=1, largest=False).values[:, -1] for some in points.split(CHUNK)]
    return torch.cat(parts) if parts else points.new_zeros(0)


def typical_distance(
    surrogate: ConservativeSurrogate,
    reference: Float[Tensor, "n_data latent"],
    *,
    quantile: float = 0.95,
    generator: torch.Generator | None = None,
    n_samples: int = 2048,
) -> float:
    """A quantile of the distances from data to their nearest neighbours in the data, in normalised latent space.

    Args:
        generator: draws the samples it is estimated from; None takes evenly spaced data.

    Raises:
        ConfigError: fewer than two data.
    """
    if len(reference) < 2:
        raise ConfigError("distances between data need at least two of them.")
    data = surrogate.normalise(reference)
    if generator is None:
        chosen = torch.linspace(0, len(data) - 1, min(n_samples, len(data))).long()
    else:
        chosen = torch.randperm(len(data), generator=generator)[:n_samples]
    return float(torch.quantile(nearest_distance(data[chosen], data, skip_self=True), quantile))
