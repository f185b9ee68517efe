"""Descent in lattice and coordinates with a graph network, the baseline for latent descent.

Plain gradient steps as in `lcoms.models.input_surrogate`, without momentum, line search or noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError
from lcoms.models.input_surrogate import descent_step
from lcoms.models.megnet import Megnet, all_bonded, is_computable
from lcoms.nn.distance_graph import distance_graph
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal


@dataclass(frozen=True, eq=False)
class CrystalDescent:
    """Results of a descent.

    Attributes:
        crystals: final crystals, in the order of the starts.
        energy_path: predicted formation energies at the start and after each step, eV/atom; NaN where an atom of the
            start has no neighbour.
        stopped_early: whether descent stopped because the next step led to a crystal with an atom without neighbours,
            or to a cell too dense or flat to evaluate.
    """

    crystals: list[Crystal]
    energy_path: Float[NDArray[np.float64], "n_steps_plus_1 n"]
    stopped_early: Bool[NDArray[np.bool_], " n"]

    @property
    def energies(self) -> Float[NDArray[np.float64], " n"]:
        """Predicted formation energies of the final crystals, eV/atom."""
        return self.energy_path[-1]


def descend_crystals(
    model: Megnet,
    crystals: Sequence[Crystal],
    *,
    steps: int = 50,
    step_size: float = 0.05,
    max_move: float = 0.2,
) -> CrystalDescent:
    """Descend from many crystals at once; each follows its own gradient, and keeps its composition.

    Args:
        step_size: in square angstrom, for energies in units of the training energies' standard deviation.
        max_move: largest move of an atom in one step, in angstrom.

    Raises:
        ConfigError: the network's energy is not smooth, there are no crystals, or the number of steps is negative.
    """
    if not model.config.smooth:
        raise ConfigError("descent needs an energy without steps; train the network with smooth=true.")
    if steps < 0 or not crystals:
        raise ConfigError(f"descent needs a crystal and 0 or more steps, not {len(crystals)} and {steps}.")
    energies, active = np.full((steps + 1, len(crystals)), np.nan), np.zeros(len(crystals), dtype=bool)
    for i, crystal in enumerate(crystals):
        active[i] = is_computable(crystal.lattice, crystal.n_atoms, model.config.cutoff)
    started = np.flatnonzero(active).tolist()
    if not started:
        return CrystalDescent(list(crystals), energies, ~active)
    at = CrystalBatch.from_crystals([crystals[i] for i in started], model.centres.dtype).to(model.centres.device)
    moving = _has_meaning(model, at)
    for step in range(steps):
        moved, energy = descent_step(model, at, step_size=step_size, max_move=max_move)
        energies[step, started] = _in_ev(model, energy)
        moving &= _has_meaning(model, moved)
        at = _chosen(moving, moved, at)
    with torch.no_grad():
        energies[steps, started] = _in_ev(model, model.normalised(distance_graph(at, model.config.cutoff)))
    lonely = ~all_bonded(distance_graph(at, model.config.cutoff))
    energies[:, [i for i, alone in zip(started, lonely.tolist(), strict=True) if alone]] = np.nan
    active[started] = moving.cpu().numpy()
    ended = list(crystals)
    for i, crystal in zip(started, at.to_crystals(), strict=True):
        ended[i] = crystal
    return CrystalDescent(ended, energies, ~active)


def _in_ev(model: Megnet, energy: torch.Tensor) -> NDArray[np.float64]:
    return (energy * model.energy_std + model.energy_mean).double().cpu().numpy()


def _has_meaning(model: Megnet, batch: CrystalBatch) -> torch.Tensor:
    """Return which crystals (n_crystals,) have cells that can be evaluated, and neighbours for all atoms."""
    cells = zip(batch.lattice.double().cpu().numpy(), batch.n_atoms.tolist(), strict=True)
    computable = [
        np.isfinite(cell).all() and is_computable(cell, n_atoms, model.config.cutoff) for cell, n_atoms in cells
    ]
    room = torch.tensor([bool(one) for one in computable], device=batch.lattice.device)
    # Cells that cannot be evaluated are replaced by large ones, in which no atom has a neighbour.
    lattice = torch.where(room[:, None, None], batch.lattice, 1e3 * torch.eye(3).to(batch.lattice))
    return room & all_bonded(distance_graph(batch.replace(lattice=lattice), model.config.cutoff))


def _chosen(first: torch.Tensor, one: CrystalBatch, other: CrystalBatch) -> CrystalBatch:
    """Return the crystals of one batch where `first` is true, else of the other."""
    return other.replace(
        lattice=torch.where(first[:, None, None], one.lattice, other.lattice),
        frac_coords=torch.where(first[other.crystal_idx, None], one.frac_coords, other.frac_coords),
    )
