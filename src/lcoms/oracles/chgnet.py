"""CHGNet as an oracle: weights from the `chgnet` package, our own graphs and network, many crystals at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.installed import weights_file
from lcoms.oracles.provenance import of_file, of_package
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.operations import operations_of

if TYPE_CHECKING:
    from lcoms.oracles.chgnet_network import FastCHGNet
    from lcoms.oracles.chgnet_orbits import OrbitGraph

WEIGHTS = {
    "r2scan": "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
    "0.3.0": "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
}
HEAVIEST = 94
MAX_ROWS = 4_000  # bonds and angles computed at once, to fit into caches, unless a single crystal has more


class ChgnetOracle(EnergyOracle):
    """CHGNet (Deng et al., Nature Machine Intelligence 5, 1031, 2023) on the CPU.

    Energies are total energies on the scale of the Materials Project: of its r2SCAN calculations for "r2scan", of its
    GGA and GGA+U calculations with corrections for "0.3.0". It uses one thread.

    Args:
        weights: "r2scan" or "0.3.0".

    Raises:
        OracleError: the weights are unknown, or the package chgnet is not installed.
    """

    batch_size = 32
    quick = True

    def __init__(self, weights: str = "r2scan") -> None:
        if weights not in WEIGHTS:
            raise OracleError(f"CHGNet has weights {' and '.join(WEIGHTS)}, not {weights!r}.")
        self.name = f"chgnet:{weights}"
        from lcoms.oracles.chgnet_graph import BOND_CUTOFF

        self._network, self.cutoff = _load(weights), BOND_CUTOFF
        self.provenance = (of_package("chgnet"), of_file(_path(weights)))

    def check(self, compositions: Iterable[Composition]) -> None:
        """Check that all elements are among the 94 that CHGNet knows.

        Raises:
            OracleError: names those that are not.
        """
        unknown = sorted({z for composition in compositions for z in composition.atomic_numbers if z > HEAVIEST})
        if unknown:
            names = ", ".join(SYMBOLS[z] for z in unknown)
            raise OracleError(f"CHGNet covers elements up to {SYMBOLS[HEAVIEST]}, not {names}; leave these out.")

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return energies, forces and stresses; a crystal without a graph gets a status."""
        graphs = [_graph(crystal) for crystal in crystals]
        results = {
            number: Evaluation.failed(graph, crystals[number].n_atoms)
            for number, graph in enumerate(graphs)
            if isinstance(graph, str)
        }
        for chunk in _chunks(graphs):
            results |= self._compute(crystals, chunk)
        return [results[number] for number in range(len(crystals))]

    def energies(self, crystals: Sequence[Crystal]) -> list[float]:
        """Return only the energies, in half the time; NaN for a crystal without a graph."""
        found = [float("nan")] * len(crystals)
        for chunk in _chunks([_graph(crystal) for crystal in crystals]):
            with _one_thread():
                energies = self._network.energies([graph for _, graph in chunk]).tolist()
            for (number, _), energy in zip(chunk, energies, strict=True):
                found[number] = energy if np.isfinite(energy) else float("nan")
        return found

    def _compute(self, crystals: Sequence[Crystal], chunk: list[tuple[int, OrbitGraph]]) -> dict[int, Evaluation]:
        """Return the records of one batch, by index of the crystal."""
        with _one_thread():
            energies, slopes = self._network.energies_and_slopes([graph for _, graph in chunk])
        all_slopes, results, start = slopes.numpy(), {}, 0
        for (number, graph), energy in zip(chunk, energies.tolist(), strict=True):
            crystal, rows = crystals[number], all_slopes[start : start + len(graph.vectors)]
            start += len(graph.vectors)
            if not (np.isfinite(energy) and np.isfinite(rows).all()):
                results[number] = Evaluation.failed("CHGNet gave numbers that are not finite.", crystal.n_atoms)
                continue
            forces = np.zeros((crystal.n_atoms, 3))
            np.add.at(forces, graph.ends[0], rows)
            np.add.at(forces, graph.ends[1], -rows)
            stress = graph.vectors.T @ rows / crystal.volume
            forces, stress = operations_of(crystal).averaged(crystal.lattice, forces, stress)
            results[number] = Evaluation(energy, forces, (stress + stress.T) / 2)
        return results


def _graph(crystal: Crystal) -> OrbitGraph | str:
    """Return the graph of a crystal, or a sentence on why CHGNet cannot handle it."""
    from lcoms.oracles.chgnet_graph import bond_graph
    from lcoms.oracles.chgnet_orbits import orbit_graph

    if crystal.atomic_numbers.max() > HEAVIEST:
        return f"CHGNet does not cover elements beyond {SYMBOLS[HEAVIEST]}."
    graph = bond_graph(crystal)
    return graph if isinstance(graph, str) else orbit_graph(graph, operations_of(crystal))


def _chunks(graphs: Sequence[OrbitGraph | str]) -> Iterator[list[tuple[int, OrbitGraph]]]:
    """Yield the graphs that are computed together, each with its index."""
    chunk: list[tuple[int, OrbitGraph]] = []
    n_rows = 0
    for number, graph in enumerate(graphs):
        if isinstance(graph, str):
            continue
        if chunk and n_rows + graph.n_rows > MAX_ROWS:
            yield chunk
            chunk, n_rows = [], 0
        chunk.append((number, graph))
        n_rows += graph.n_rows
    if chunk:
        yield chunk


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread: more do not speed up small tensors, and cost minutes on a busy machine."""
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _load(weights: str) -> FastCHGNet:
    """Return the network with weights of the installed package, read without running any code they may contain."""
    import torch

    from lcoms.oracles.chgnet_network import FastCHGNet

    content = torch.load(_path(weights), map_location="cpu", weights_only=True)
    return FastCHGNet(content["model"]["state_dict"])


def _path(weights: str) -> Path:
    """Return the path of these weights in the installed package."""
    return weights_file("CHGNet", "chgnet", WEIGHTS[weights], since="0.4.2")
