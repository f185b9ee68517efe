"""Decoys: crystals that descent and decoding generate for known compositions, with energies from an oracle.

Tables of DFT crystals hold almost only minima, so a surrogate trained on them alone trusts any cell. Decoys are
generated as `lcoms predict` generates candidates, and teach it what bad ones look like. Their energies are anchored,

    E(decoy) = E_data(anchor) + E_oracle(decoy) - E_oracle(anchor)    (per atom),

with the lowest known crystal of the composition as anchor, so that oracle and data need not agree on the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lcoms.core.disk import write_whole
from lcoms.data.store import Store
from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.prediction.pipeline import Predictor
from lcoms.structure.crystal import Crystal

MAX_ABOVE = 1.0  # eV/atom above the anchor; energies beyond are equally bad


@dataclass(frozen=True, eq=False)
class Anchor:
    """The known crystal of lowest energy of a composition.

    Attributes:
        energy: formation energy in the data, eV/atom.
        split: train or val, of the composition.
    """

    crystal: Crystal
    energy: float
    split: str


@dataclass(frozen=True, eq=False)
class Decoy:
    """A decoded, symmetrised crystal and its anchored formation energy, eV/atom."""

    crystal: Crystal
    energy: float
    split: str


def choose_anchors(store: Store, rows: NDArray[np.int64], n: int, rng: np.random.Generator) -> list[Anchor]:
    """Return the crystals of lowest energy of `n` random compositions among the training and validation rows."""
    columns = store.columns("split", "formula", "formation_energy_per_atom")
    rows = rows[np.isin(columns["split"][rows], ("train", "val"))]
    energies = columns["formation_energy_per_atom"][rows]
    best: dict[str, int] = {}
    for at in np.argsort(energies, kind="stable"):
        if np.isfinite(energies[at]):
            best.setdefault(str(columns["formula"][rows[at]]), int(rows[at]))
    chosen = rng.permutation(np.array(list(best.values()), dtype=np.int64))[:n]
    return [
        Anchor(
            store[int(row)],
            float(columns["formation_energy_per_atom"][row]),
            str(columns["split"][row]),
        )
        for row in chosen
    ]


def make_decoys(anchors: Sequence[Anchor], predictor: Predictor, oracle: EnergyOracle) -> tuple[list[Decoy], int]:
    """Return decoys of all anchors, and the number lost: not decoded, atoms too close, or rejected by the oracle.

    Args:
        predictor: its first two stages generate the decoys, within space groups where its specification says so.
    """
    crystals, owners, lost = _decode(anchors, predictor)
    of_anchors = evaluate_all(oracle, [anchor.crystal for anchor in anchors])
    decoys = []
    for owner, crystal, found in zip(owners, crystals, evaluate_all(oracle, crystals), strict=True):
        anchor, known = anchors[owner], of_anchors[owner]
        if not (found.ok and known.ok):
            lost += 1
            continue
        above = found.energy / crystal.n_atoms - known.energy / anchor.crystal.n_atoms
        decoys.append(Decoy(crystal, anchor.energy + min(above, MAX_ABOVE), anchor.split))
    return decoys, lost


def write_decoys(path: Path, decoys: Sequence[Decoy], *, name: str = "decoy", source: str) -> None:
    """Write a Parquet table that `lcoms data ingest --keep-split` reads.

    Args:
        name: the IDs are this and a number.
        source: of the energies, the name of the energy model.
    """
    table = pa.table(
        {
            "material_id": [f"{name}-{i}" for i in range(len(decoys))],
            "source": [source] * len(decoys),
            "formula": [decoy.crystal.composition.reduced_formula for decoy in decoys],
            "numbers": [decoy.crystal.atomic_numbers.tolist() for decoy in decoys],
            "frac_coords": [decoy.crystal.frac_coords.ravel().tolist() for decoy in decoys],
            "lattice": [decoy.crystal.lattice.ravel().tolist() for decoy in decoys],
            "formation_energy_per_atom": [decoy.energy for decoy in decoys],
            "split": [decoy.split for decoy in decoys],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, memoryview(sink.getvalue()))


def _decode(anchors: Sequence[Anchor], predictor: Predictor) -> tuple[list[Crystal], list[int], int]:
    """Return decoded crystals, the index of each one's anchor, and the number of descents that gave no crystal."""
    crystals: list[Crystal] = []
    owners: list[int] = []
    lost = 0
    for owner, anchor in enumerate(anchors):
        found = predictor.decode(anchor.crystal.composition)
        crystals += [one.crystal for one in found.crystals]
        owners += [owner] * len(found.crystals)
        lost += found.n_invalid + found.n_too_close
    return crystals, owners, lost
