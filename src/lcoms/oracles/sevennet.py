"""SevenNet as an oracle: weights from the `sevenn` package, our own network, many crystals at once."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.installed import weights_file
from lcoms.oracles.limits import CLOSEST, MOST_IMAGES, TOO_CLOSE, TOO_DENSE
from lcoms.oracles.provenance import of_file, of_package
from lcoms.oracles.sevennet_network import CUTOFF, SevenNet
from lcoms.oracles.sevennet_orbits import Orbits, join, orbits_of
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.lattice import plane_spacings, shortest_distance
from lcoms.structure.neighbors import neighbor_list

WEIGHTS = {"l3i5": "pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth"}
MAX_NEIGHBORS = 1000  # of an atom, estimated from the density of the cell
MAX_EDGES = 2500  # computed at once with slopes, unless a single crystal has more
MAX_EDGES_ALONE = 3_000  # the same for energies alone, before those that the symmetry makes equal are left out


class SevenNetOracle(EnergyOracle):
    """SevenNet-l3i5 (Park et al., 2024) on the CPU.

    Energies are total energies of the Materials Project's GGA and GGA+U calculations without corrections. It uses as
    many threads as torch does.

    Args:
        weights: "l3i5".

    Raises:
        OracleError: the weights are unknown, or the package sevenn is not installed.
    """

    batch_size = 8
    cutoff = CUTOFF

    def __init__(self, weights: str = "l3i5") -> None:
        if weights not in WEIGHTS:
            raise OracleError(f"SevenNet has weights {' and '.join(WEIGHTS)} here, not {weights!r}.")
        self.name = f"sevennet:{weights}"
        path = weights_file("SevenNet", "sevenn", WEIGHTS[weights], since="0.13.0")
        self.provenance = (of_package("sevenn"), of_file(path))
        content = _load(path)
        self._network = SevenNet(content["model_state_dict"])
        self._species: dict[int, int] = dict(content["config"]["_type_map"])

    def check(self, compositions: Iterable[Composition]) -> None:
        """Check that all elements are among the 89 that SevenNet knows.

        Raises:
            OracleError: names those that are not.
        """
        every = {z for composition in compositions for z in composition.atomic_numbers}
        unknown = sorted(every - self._species.keys())
        if unknown:
            names = ", ".join(SYMBOLS[z] for z in unknown)
            raise OracleError(f"SevenNet does not know {names}; leave these out.")

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return energies, forces and stresses; a crystal that cannot be handled gets a status."""
        results = self._refused(crystals)
        for numbers in _chunks(crystals, results, MAX_EDGES):
            batch = CrystalBatch.from_crystals([crystals[n] for n in numbers], torch.float64)
            energies, center, neighbor, vectors = self._energies(batch)
            [slopes] = torch.autograd.grad(energies.sum(), vectors)
            forces = torch.zeros(len(batch.atomic_numbers), 3, dtype=torch.float64)
            forces.index_add_(0, center, slopes).index_add_(0, neighbor, -slopes)
            virials = vectors.detach()[:, :, None] * slopes[:, None, :]
            owner, totals = batch.crystal_idx[center], energies.tolist()
            strains = torch.zeros(len(numbers), 3, 3, dtype=torch.float64).index_add_(0, owner, virials)
            for place, number in enumerate(numbers):
                mine = (batch.crystal_idx == place).numpy()
                stress = strains[place].numpy() / crystals[number].volume
                found = Evaluation(totals[place], forces.numpy()[mine], (stress + stress.T) / 2)
                results[number] = found if found.finite else _not_finite(crystals[number])
        return [results[n] for n in range(len(crystals))]

    def energies(self, crystals: Sequence[Crystal]) -> list[float]:
        """Return only the energies, several times faster; NaN for a crystal that cannot be handled."""
        refused, found = self._refused(crystals), [float("nan")] * len(crystals)
        for numbers in _chunks(crystals, refused, MAX_EDGES_ALONE):
            parts = self._orbits([crystals[number] for number in numbers])
            orbits, sizes = join(parts), torch.tensor([len(part.atoms) for part in parts])
            numbers_of = np.concatenate([crystals[number].atomic_numbers for number in numbers])
            species = torch.tensor([self._species[z] for z in numbers_of[orbits.atoms.numpy()].tolist()])
            edges = orbits.center, orbits.neighbor, orbits.vectors
            with torch.no_grad():
                atoms = self._network.atom_energies(species, *edges, orbits) * orbits.counts
            owner = torch.repeat_interleave(torch.arange(len(numbers)), sizes)
            totals = atoms.new_zeros(len(numbers)).index_add_(0, owner, atoms)
            for number, energy in zip(numbers, totals.tolist(), strict=True):
                found[number] = energy if np.isfinite(energy) else float("nan")
        return found

    @staticmethod
    def _orbits(crystals: Sequence[Crystal]) -> list[Orbits]:
        """Return the independent atoms and edges of each crystal."""
        batch = CrystalBatch.from_crystals(crystals, torch.float64)
        edges = neighbor_list(batch, cutoff=CUTOFF)
        near = edges.vectors(batch).norm(dim=-1) < CUTOFF  # an isolated atom gets its nearest neighbour, however far
        center, neighbor, images = (x[near].numpy() for x in (edges.target, edges.source, edges.edge_images))
        ends = np.cumsum([crystal.n_atoms for crystal in crystals])
        starts = np.searchsorted(center, [0, *ends])
        parts = []
        for at, (crystal, end) in enumerate(zip(crystals, ends.tolist(), strict=True)):
            mine, first = slice(starts[at], starts[at + 1]), end - crystal.n_atoms
            parts.append(orbits_of(crystal, center[mine] - first, neighbor[mine] - first, images[mine]))
        return parts

    def _energies(self, batch: CrystalBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the energy of each crystal; center, neighbour and vector of each edge."""
        edges = neighbor_list(batch, cutoff=CUTOFF)
        vectors = edges.vectors(batch)
        near = vectors.norm(dim=-1) < CUTOFF  # an isolated atom gets its nearest neighbour, however far
        center, neighbor, vectors = edges.target[near], edges.source[near], vectors[near].requires_grad_(True)
        species = torch.tensor([self._species[z] for z in batch.atomic_numbers.tolist()])
        atoms = self._network.atom_energies(species, center, neighbor, vectors.float())
        total = torch.zeros(batch.n_crystals, dtype=torch.float64).index_add(0, batch.crystal_idx, atoms)
        return total, center, neighbor, vectors

    def _refused(self, crystals: Sequence[Crystal]) -> dict[int, Evaluation]:
        """Return the records of crystals that are not computed, by index."""
        refused = {}
        for number, crystal in enumerate(crystals):
            reason = self._why_not(crystal)
            if reason:
                refused[number] = Evaluation.failed(reason, crystal.n_atoms)
        return refused

    def _why_not(self, crystal: Crystal) -> str:
        unknown = sorted(set(crystal.atomic_numbers.tolist()) - self._species.keys())
        if unknown:
            return f"SevenNet does not know {', '.join(SYMBOLS[z] for z in unknown)}."
        reach = CUTOFF / plane_spacings(crystal.lattice)
        if _n_neighbors(crystal) > MAX_NEIGHBORS or (2 * reach + 1).prod() * crystal.n_atoms > MOST_IMAGES:
            return TOO_DENSE
        if shortest_distance(crystal.lattice, crystal.frac_coords) < CLOSEST:
            return TOO_CLOSE
        return ""


def _n_neighbors(crystal: Crystal) -> float:
    """Return the mean number of atoms within the cutoff of a point."""
    return 4.2 * CUTOFF**3 * crystal.n_atoms / crystal.volume


def _chunks(crystals: Sequence[Crystal], without: dict[int, Evaluation], most: int) -> Iterator[list[int]]:
    """Yield the indices of crystals that are computed together."""
    chunk: list[int] = []
    n_edges = 0.0
    for number, crystal in enumerate(crystals):
        if number in without:
            continue
        size = crystal.n_atoms * _n_neighbors(crystal)
        if chunk and n_edges + size > most:
            yield chunk
            chunk, n_edges = [], 0.0
        chunk.append(number)
        n_edges += size
    if chunk:
        yield chunk


def _not_finite(crystal: Crystal) -> Evaluation:
    return Evaluation.failed("SevenNet gave numbers that are not finite.", crystal.n_atoms)


def _load(path: Path) -> dict[str, Any]:
    """Return a checkpoint, read without running any code that it may contain.

    It contains arrays in addition to tensors, for which NumPy's own constructors are allowed.
    """
    rebuild: Any = np.ndarray(0).__reduce__()[0]
    allowed: list[Any] = [(rebuild, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    allowed += [type(np.dtype(kind)) for kind in ("f4", "f8", "i8")]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise OracleError(f"{path}: these weights cannot be read; install sevenn 0.13.0.") from error
    return dict(content)
