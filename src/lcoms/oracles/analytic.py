"""A closed-form pair energy with known equilibrium distances: fast, for all elements, without further packages.

Every pair of atoms at distance r has the energy D ((1 - exp(-a (r / r0 - 1)))^2 - 1) s(r / r0): a Morse well of depth D
at r0 (Morse 1929, doi:10.1103/PhysRev.34.57), which a smooth step s brings to zero between SWITCH_START and SWITCH_END.
The equilibrium distance of a metal and a nonmetal (on either side of BOUNDARY on Pauling's scale) is the sum of their
sizes; that of all other pairs is sqrt(2) times the sum. Hence

* an element in face-centred cubic with neighbours at r0 has exactly -6 D per atom; body-centred cubic is lower, since
  its second neighbours are in the well too;
* rock salt AB of equal sizes has all its pairs at their minima: the lattice constant is 2 r0 of A and B, and the energy
  of a formula unit is exactly -6 (D_AB + D_AA + D_BB).

The wells are invented: energies have no meaning for real materials.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS, covalent_radius, electronegativity
from lcoms.structure.neighbors import neighbor_list

BOUNDARY = 2.0  # Pauling electronegativity: metals are below, nonmetals above
SIZE_OFFSET, SIZE_SLOPE = 1.0, 0.35  # angstrom, and a factor on the covalent radius
BASE_DEPTH, BOND_DEPTH = 0.1, 0.4  # eV, and eV per unit of electronegativity
STIFFNESS = 6.0  # a
SWITCH_START, SWITCH_END = 1.15, 1.4
LEAST_VOLUME = 0.5  # cubic angstrom/atom; denser crystals have too many pairs to be computed
LEAST_DISTANCE = 0.05  # angstrom

_NUMBERS = range(len(SYMBOLS))
SIZES = np.array([0.0] + [SIZE_OFFSET + SIZE_SLOPE * covalent_radius(z) for z in _NUMBERS[1:]])
CHI = np.array([0.0] + [electronegativity(z) for z in _NUMBERS[1:]])


def best_distance(first: int | NDArray[np.int64], second: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance in angstrom at the bottom of the well of two elements, given by atomic number."""
    bonded = (CHI[first] > BOUNDARY) != (CHI[second] > BOUNDARY)
    return np.asarray((SIZES[first] + SIZES[second]) * np.where(bonded, 1.0, np.sqrt(2.0)))


def depth(first: int | NDArray[np.int64], second: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the depth in eV, positive, of the well of two elements."""
    bonded = (CHI[first] > BOUNDARY) != (CHI[second] > BOUNDARY)
    return np.asarray(BASE_DEPTH + np.where(bonded, BOND_DEPTH * np.abs(CHI[first] - CHI[second]), 0.0))


class AnalyticOracle(EnergyOracle):
    """The pair energy of this module."""

    name = "analytic"
    batch_size = 64

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return energies, forces and stresses, all from one neighbour list."""
        results = [Evaluation.failed(_too_dense(crystal), crystal.n_atoms) for crystal in crystals]
        usable = [i for i, crystal in enumerate(crystals) if not _too_dense(crystal)]
        for i, result in zip(usable, _evaluate([crystals[i] for i in usable]), strict=True):
            results[i] = result
        return results

    def check(self, compositions: Iterable[Composition]) -> None:
        """Accept every composition: all elements have a size and a well."""


def _too_dense(crystal: Crystal) -> str:
    per_atom = crystal.volume / crystal.n_atoms
    return f"the cell has only {per_atom:.2g} cubic angstrom per atom." if per_atom < LEAST_VOLUME else ""


def _evaluate(crystals: list[Crystal]) -> list[Evaluation]:
    if not crystals:
        return []
    batch = CrystalBatch.from_crystals(crystals, dtype=torch.float64)
    z = batch.atomic_numbers.numpy()
    reach = max(float(best_distance(c.atomic_numbers[:, None], c.atomic_numbers).max()) for c in crystals)
    edges = neighbor_list(batch, cutoff=SWITCH_END * reach)
    target, source = edges.target.numpy(), edges.source.numpy()
    vectors = edges.vectors(batch).numpy()  # from target to source
    distances = np.linalg.norm(vectors, axis=1)
    energies, slopes = _pair(np.maximum(distances, LEAST_DISTANCE), z[target], z[source])
    pulls = (slopes / np.maximum(distances, LEAST_DISTANCE))[:, None] * vectors  # force of the source on the target
    crystal_idx = batch.crystal_idx.numpy()
    owner, n = crystal_idx[target], batch.n_crystals
    total = 0.5 * np.bincount(owner, energies, minlength=n)
    forces = np.stack([np.bincount(target, pulls[:, k], minlength=len(z)) for k in range(3)], axis=1)
    closest = np.full(n, np.inf)
    np.minimum.at(closest, owner, distances)
    stress = np.zeros((n, 3, 3))
    np.add.at(stress, owner, 0.5 * vectors[:, :, None] * pulls[:, None, :])
    results = []
    for i, crystal in enumerate(crystals):
        if closest[i] < LEAST_DISTANCE:
            results.append(Evaluation.failed("two atoms are at the same position.", crystal.n_atoms))
        else:
            results.append(Evaluation(float(total[i]), forces[crystal_idx == i], stress[i] / crystal.volume))
    return results


def _pair(
    r: Float[NDArray[np.float64], " n"], first: Int[NDArray[np.int64], " n"], second: Int[NDArray[np.int64], " n"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energy (n,) in eV of pairs at distances r, and its slope (n,) in eV/angstrom."""
    r0, well = best_distance(first, second), depth(first, second)
    x = r / r0
    decay = np.exp(-STIFFNESS * (x - 1))
    morse, morse_slope = (1 - decay) ** 2 - 1, 2 * STIFFNESS * (1 - decay) * decay
    t = np.clip((x - SWITCH_START) / (SWITCH_END - SWITCH_START), 0.0, 1.0)
    step = 1 - t**3 * (10 - 15 * t + 6 * t**2)  # its first two derivatives vanish at both ends
    step_slope = -30 * t**2 * (1 - t) ** 2 / (SWITCH_END - SWITCH_START)
    return well * morse * step, well * (morse_slope * step + morse * step_slope) / r0
