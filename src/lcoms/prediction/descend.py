"""Descent in latent space from any start towards lower predicted energy at a fixed composition.

z <- z - eta dE(z, c)/dz in normalised latent space: plain gradient steps without momentum, line search or noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.errors import ConfigError
from lcoms.models.surrogate import ConservativeSurrogate

CHUNK = 1024


@dataclass(frozen=True, eq=False)
class DescentResult:
    """Result of a descent.

    Attributes:
        z: final latents.
        energies: predicted formation energies of the final latents, eV/atom.
        energy_path: predicted energies at the start and after each step, eV/atom.
        path: latents at the start and after each step; None unless requested.
    """

    z: Float[Tensor, "n latent"]
    energies: Float[Tensor, " n"]
    energy_path: Float[Tensor, "n_steps_plus_1 n"]
    path: Float[Tensor, "n_steps_plus_1 n latent"] | None

    def cpu(self) -> DescentResult:
        """Return the result on the CPU."""
        path = None if self.path is None else self.path.cpu()
        return DescentResult(self.z.cpu(), self.energies.cpu(), self.energy_path.cpu(), path)


def descend(
    surrogate: ConservativeSurrogate,
    z0: Float[Tensor, "n latent"],
    composition_features: Float[Tensor, "n 103"],
    *,
    steps: int = 50,
    step_size: float | None = None,
    keep_path: bool = False,
) -> DescentResult:
    """Descend from many starts of many compositions at once, each along its own gradient.

    Args:
        z0: initial latents, as given by the encoder.
        step_size: in normalised latent space; None: the one the surrogate was trained against.
        keep_path: also return the latents after every step.

    Raises:
        ConfigError: the number of steps is negative.
    """
    if steps < 0:
        raise ConfigError(f"descent needs 0 or more steps, not {steps}.")
    eta = surrogate.config.step_size if step_size is None else step_size
    with torch.inference_mode(False), torch.no_grad():
        z0 = z0.clone()
        features = composition_features.clone()
        at = surrogate.normalise(z0)
        path, energies = [z0], []
        for _ in range(steps):
            at, energy = surrogate.descent_step(at, features, eta)
            energies.append(energy)
            if keep_path:
                path.append(surrogate.denormalise(at, z0))
        energies.append(surrogate.normalised_energy(at, features))
        energy_path = surrogate.in_ev(torch.stack(energies), features)
    return DescentResult(
        z=surrogate.denormalise(at, z0),
        energies=energy_path[-1],
        energy_path=energy_path,
        path=torch.stack(path) if keep_path else None,
    )


def nearest_distance(
    points: Float[Tensor, "n latent"], data: Float[Tensor, "n_data latent"], *, skip_self: bool = False
) -> Float[Tensor, " n"]:
    """Return the Euclidean distance of each point to the nearest data point.

    Args:
        skip_self: ignore one data point at distance zero, for points that are among the data.
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
    """Return a quantile of the nearest-neighbour distances within the data, in normalised latent space.

    Args:
        generator: draws the sample for the estimate; None takes evenly spaced data points.

    Raises:
        ConfigError: fewer than two data points.
    """
    if len(reference) < 2:
        raise ConfigError("distances between data need at least two of them.")
    data = surrogate.normalise(reference)
    if generator is None:
        chosen = torch.linspace(0, len(data) - 1, min(n_samples, len(data))).long()
    else:
        chosen = torch.randperm(len(data), generator=generator)[:n_samples]
    return float(torch.quantile(nearest_distance(data[chosen], data, skip_self=True), quantile))
