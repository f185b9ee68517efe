"""Fit of a copy of the surrogate to energies of one composition, restrained to its predictions for the library."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.bounds import require
from lcoms.models.composition import element_fractions
from lcoms.models.conservative import adversarial_latents
from lcoms.models.surrogate import ConservativeSurrogate, predict_energies
from lcoms.prediction.bundle import WeightBundle
from lcoms.structure.crystal import Composition

LIBRARY_SAMPLE = 2048  # latents from which those of each step are drawn


@dataclass(frozen=True)
class RefitConfig:
    """Options for fitting the surrogate in a round.

    Attributes:
        steps: number of gradient steps.
        rate: learning rate of Adam.
        replay: number of library latents in each step for which the surrogate is restrained to its earlier predictions.
        replay_weight: their total weight relative to that of one known latent.
        adversary: number of known latents in each step from which the adversary starts.
    """

    steps: int = 100
    rate: float = 1e-4
    replay: int = 32
    replay_weight: float = 256.0
    adversary: int = 8

    def __post_init__(self) -> None:
        require(self, "fit", at_least_one=["replay", "adversary"], positive=["replay_weight"], not_negative=["steps"])


@dataclass(frozen=True, eq=False)
class Known:
    """Latents of one composition with energies by the energy model, eV/atom."""

    latents: Float[Tensor, "n latent"]
    energies: Float[Tensor, " n"]


def relative_error(surrogate: ConservativeSurrogate, known: Known, composition: Composition) -> float:
    """Return the mean absolute error of energies relative to their mean, eV/atom; NaN if nothing is known."""
    if not len(known.energies):
        return float("nan")
    features = element_fractions(composition).expand(len(known.energies), -1)
    said = predict_energies(surrogate, known.latents, features)
    return float(((said - said.mean()) - (known.energies - known.energies.mean())).abs().mean())


def refit(
    bundle: WeightBundle, known: Known, composition: Composition, config: RefitConfig, generator: torch.Generator
) -> ConservativeSurrogate:
    """Return a copy of the surrogate fitted to energy differences within one composition.

    The oracle's energy zero need not be that of the training data, so the mean of the surrogate's predictions is kept.
    """
    surrogate = deepcopy(bundle.surrogate)
    if not len(known.energies) or not config.steps:
        return surrogate
    n = len(known.energies)
    features = element_fractions(composition).expand(n, -1)
    said = predict_energies(surrogate, known.latents, features)
    wanted = known.energies - known.energies.mean() + said.mean()
    library = bundle.library
    rows = np.random.default_rng(int(torch.randint(2**31, (), generator=generator))).choice(
        len(library), min(len(library), LIBRARY_SAMPLE), replace=False
    )
    old_latents = library.latents(rows)
    old_features = element_fractions([library.composition(int(row)) for row in rows])
    old_energies = predict_energies(surrogate, old_latents, old_features)
    taught = _Rows.of(surrogate, known.latents, features, wanted)
    kept = _Rows.of(surrogate, old_latents, old_features, old_energies)
    surrogate.networks.requires_grad_(True)
    optimiser = torch.optim.Adam(surrogate.networks.parameters(), lr=config.rate, fused=True)
    for _ in range(config.steps):
        few = torch.randperm(n, generator=generator)[: config.adversary]
        some = torch.randint(len(rows), (config.replay,), generator=generator)
        with torch.enable_grad():
            loss = _refit_loss(surrogate, taught, few, kept.at(some), n / (n + config.replay_weight))
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
    return surrogate.requires_grad_(False).eval()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Normalised latents, element fractions and normalised energies."""

    z: Float[Tensor, "n latent"]
    features: Float[Tensor, "n 103"]
    targets: Float[Tensor, " n"]

    @classmethod
    def of(cls, surrogate: ConservativeSurrogate, latents: Tensor, features: Tensor, energies: Tensor) -> _Rows:
        """Return the normalised rows of encoder latents and energies in eV/atom."""
        return cls(surrogate.normalise(latents), features, surrogate.normalise_energies(energies, features))

    def at(self, places: Tensor) -> _Rows:
        return _Rows(self.z[places], self.features[places], self.targets[places])


def _refit_loss(
    surrogate: ConservativeSurrogate, taught: _Rows, few: Tensor, kept: _Rows, share: float
) -> Float[Tensor, ""]:
    """Return the loss of `conservative_losses` with alpha = 1, plus the squared error of the taught latents again.

    The adversary takes most of the time, so each step starts it from only a few of the taught latents. A mean over the
    taught latents has the weight `share`, one over the library latents the rest, however many of each are in the step.

    Args:
        few: indices of the taught latents from which the adversary starts.
        kept: latents of the library, with the earlier predictions of the surrogate.
    """
    n, config = len(taught.z), surrogate.config
    at, features = torch.cat([taught.z[few], kept.z]), torch.cat([taught.features[few], kept.features])
    z, c = torch.cat([taught.z, kept.z]), torch.cat([taught.features, kept.features])
    if config.conservatism == "off":
        of_taught, of_kept = surrogate.normalised_energy(z, c).split([n, len(kept.z)])
        over = torch.zeros(())
    else:
        lower = adversarial_latents(surrogate, at, features, steps=config.inner_steps, step_size=config.step_size)
        energies = surrogate.normalised_energy(torch.cat([z, lower]), torch.cat([c, features]))
        of_taught, of_kept, below, below_kept = energies.split([n, len(kept.z), len(few), len(kept.z)])
        over = share * (of_taught[few] - below).mean() + (1 - share) * (of_kept - below_kept).mean()
    wrong, moved = (of_taught - taught.targets).square().mean(), (of_kept - kept.targets).square().mean()
    return (1 + share) * wrong + (1 - share) * moved + over
