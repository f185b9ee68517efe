"""The losses of conservative objective models, for energies that are minimised.

Source: Trabucco et al., Conservative Objective Models (2021), with the opposite sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lcoms.models.surrogate import ConservativeSurrogate


@dataclass(frozen=True)
class ConservativeLosses:
    """Losses of one batch.

    Attributes:
        model: minimised over the network's weights.
        alpha: minimised over log alpha.
        squared_error, absolute_error: means, in normalised units, detached.
        overestimation: mean of E(z) - E(z-), the energy decrease by the adversary, in normalised units, detached.
    """

    model: Float[Tensor, ""]
    alpha: Float[Tensor, ""]
    squared_error: Float[Tensor, ""]
    absolute_error: Float[Tensor, ""]
    overestimation: Float[Tensor, ""]

    @classmethod
    def of(
        cls,
        energies: Float[Tensor, "members n"],
        lowered: Float[Tensor, " n"] | None,
        targets: Float[Tensor, " n"],
        log_alpha: Float[Tensor, ""],
        *,
        tau: float,
        absolute: float = 0.0,
    ) -> ConservativeLosses:
        """Return the losses from predicted energies, those lowered by the adversary, and targets, all normalised.

        Args:
            energies: of each network; each is fitted to the targets.
            lowered: mean over the networks; None: there is no adversary.
            absolute: weight of the mean absolute error.
        """
        error = energies - targets
        squared_error = error.square().mean()
        fit = squared_error + absolute * error.abs().mean()
        absolute_error = (energies.detach().mean(dim=0) - targets).abs().mean()
        if lowered is None:
            nothing = torch.zeros_like(targets[0])
            return cls(fit, nothing, squared_error.detach(), absolute_error, nothing)
        over = energies.mean(dim=0) - lowered
        alpha = log_alpha.exp()
        return cls(
            model=fit + alpha.detach() * over.mean(),
            alpha=(alpha * (tau - over.detach())).mean(),
            squared_error=squared_error.detach(),
            absolute_error=absolute_error,
            overestimation=over.detach().mean(),
        )


def adversarial_latents(
    surrogate: ConservativeSurrogate,
    normalised: Float[Tensor, "n latent"],
    composition_features: Float[Tensor, "n 103"],
    *,
    steps: int,
    step_size: float,
) -> Float[Tensor, "n latent"]:
    """Return the normalised latents z- to which descent leads from the data; no gradient passes through the steps."""
    for _ in range(steps):
        normalised, _ = surrogate.descent_step(normalised, composition_features, step_size)
    return normalised.detach()


def conservative_losses(
    surrogate: ConservativeSurrogate,
    normalised: Float[Tensor, "n latent"],
    composition_features: Float[Tensor, "n 103"],
    targets: Float[Tensor, " n"],
    log_alpha: Float[Tensor, ""],
) -> ConservativeLosses:
    """Return the losses of conservative objective models, for energies that are minimised.

    over = E(z, c) - E(z-, c); model: mean((y - E(z, c))^2 + alpha over); alpha: mean(alpha (tau - over)).
    Minimising the first raises the energy where descent leads, relative to the data. The gradient reaches the weights
    through both energies but not through z-. With conservatism off only the errors remain. Descent follows the mean
    of several networks, and so does the adversary; the errors are the means of theirs.

    Args:
        normalised: latents from `ConservativeSurrogate.normalise`.
        targets: energies from `ConservativeSurrogate.normalise_energies`.
    """
    config = surrogate.config
    if config.conservatism == "off":
        energies = surrogate.member_energies(normalised, composition_features)
        return ConservativeLosses.of(energies, None, targets, log_alpha, tau=config.tau, absolute=config.absolute)
    adversary = adversarial_latents(
        surrogate, normalised, composition_features, steps=config.inner_steps, step_size=config.step_size
    )
    both = surrogate.member_energies(torch.cat([normalised, adversary]), composition_features.repeat(2, 1))
    energies, lowered = both.chunk(2, dim=1)
    return ConservativeLosses.of(
        energies, lowered.mean(dim=0), targets, log_alpha, tau=config.tau, absolute=config.absolute
    )
