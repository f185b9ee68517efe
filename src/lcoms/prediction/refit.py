"""A copy of the surrogate is fitted to energies of one composition, and held to what it said of the library."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.core.bounds import require
from lcoms.models.composition import element_fractions
from lcoms.models.surrogate import ConservativeSurrogate, adversarial_latents, predict_energies
from lcoms.prediction.bundle import WeightBundle
from lcoms.structure.crystal import Composition

LIBRARY_SAMPLE = 2048  # latents that those of a step are drawn from


@dataclass(frozen=True)
class RefitConfig:
    """How the surrogate is fitted in a round.

    Attributes:
        steps: of gradient descent.
        rate: learning rate of Adam.
        replay: latents of the library in each step, on which the surrogate is held to what it said before.
        replay_weight: what they count together beside the known latents, each of which counts 1.
        adversary: known latents in each step that the adversary starts from.
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
    """Mean absolute error on energies from which their mean is taken, eV/atom; NaN where nothing is known."""
    if not len(known.energies):
        return float("nan")
    features = element_fractions(composition).expand(len(known.energies), -1)
    said = predict_energies(surrogate, known.latents, features)
    return float(((said - said.mean()) - (known.energies - known.energies.mean())).abs().mean())


def refit(
    bundle: WeightBundle, known: Known, composition: Composition, config: RefitConfig, generator: torch.Generator
) -> ConservativeSurrogate:
    """A copy of the surrogate fitted to differences of energies of one composition.

    The oracle's zero of energy need not be that of the training data, so the mean of what the surrogate says stays.
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
    surrogate.requires_grad_(True)
    optimiser = torch.optim.Adam(surrogate.parameters(), lr=config.rate, fused=True)
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
        """From latents as the encoder gives them and eV/atom."""
        return cls(surrogate.normalise(latents), features, surrogate.normalise_energies(energies, features))

    def at(self, places: Tensor) -> _Rows:
        return _Rows(self.z[places], self.features[places], self.targets[places])


def _refit_loss(
    surrogate: ConservativeSurrogate, taught: _Rows, few: Tensor, kept: _Rows, share: float
) -> Float[Tensor, ""]:
    """The loss of `conservative_losses` with alpha = 1, and once more the squared error of what is taught.

    Most of the time goes into the adversary, so only some of the taught latents have theirs in a step. A mean over the
    taught latents counts `share`, one over those of the library the rest, however many of each are in the step.

    Args:
        few: places of the taught latents that the adversary starts from.
        kept: latents of the library, with what the surrogate said of them.
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
