"""The phases that define energies above the hull: chosen by the source's energies, evaluated by an oracle.

The crystal of lowest formation energy of each composition is considered, and chosen if it is on or near the hull
computed from the source's formation energies, so the source need not give energies above the hull. Elements are left
out: their references are in `oracles/references.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import DataError
from lcoms.core.journal import Journal
from lcoms.data.store import Store
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.hull import Phase
from lcoms.oracles.mixture import lowest_mixture
from lcoms.prediction.phases import PhaseTable
from lcoms.relax.result import RelaxConfig, RelaxResult
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal

NEAR = 0.005  # eV/atom above the hull of the source
LARGEST = 5.0  # eV/atom; formation energies beyond it are errors of the source
AS_GIVEN, RELAXED = "energies.jsonl", "relaxed.jsonl"
SAMPLE = 200  # crystals from which the mean effect of a relaxation is estimated
CHUNK = 64  # crystals between two progress reports
LIGHT = RelaxConfig(fmax=0.1, max_steps=60)

Elements = tuple[int, ...]
Tell = Callable[[int], None]


def choose_phases(store: Store, *, sources: Sequence[str] = (), near: float = NEAR) -> list[int]:
    """Return rows of the lowest crystals of compositions on or near the source's hull, small systems first.

    Args:
        sources: prefixes of the sources to use, whose formation energies must be on one scale; empty: all.
        near: eV/atom; largest energy above that hull.
    """
    rows, compositions, energies = _lowest(store, sources)
    heights = heights_above(compositions, energies)
    chosen = [at for at, height in enumerate(heights) if height <= near and len(compositions[at].counts) > 1]
    order = sorted(chosen, key=lambda at: (len(compositions[at].counts), store.n_atoms[rows[at]], rows[at]))
    return [rows[at] for at in order]


def heights_above(compositions: Sequence[Composition], energies: Sequence[float]) -> NDArray[np.float64]:
    """Return formation energies relative to the best mixture of others and the elements, eV/atom; negative if stable.

    Args:
        compositions: all different.
        energies: formation energies, eV/atom.
    """
    systems: dict[Elements, list[int]] = {}
    for at, composition in enumerate(compositions):
        systems.setdefault(composition.atomic_numbers, []).append(at)
    heights = np.full(len(compositions), np.nan)
    for system in sorted(systems, key=len):
        parts = [part for n in range(1, len(system) + 1) for part in combinations(system, n)]
        below = [at for part in parts for at in systems.get(part, ()) if part == system or heights[at] <= 0]
        for at in systems[system]:
            heights[at] = energies[at] - _mixture(at, below, compositions, energies)
    return heights


def evaluate_as_given(
    store: Store, rows: Sequence[int], oracle: EnergyOracle, work: Path, tell: Tell | None = None
) -> dict[str, float]:
    """Return energies (eV/atom) by id of crystals as relaxed by the source; an interrupted evaluation is continued.

    Raises:
        ConfigError: the folder holds energies by another model, or of another store.
    """
    ids = store.columns("material_id")["material_id"]
    header = {"oracle": oracle.name, "provenance": list(oracle.provenance), "store": store.fingerprint}
    what = "line of energies"
    with Journal[tuple[str, float]](work / AS_GIVEN, _encode, _decode, what=what, header=header) as journal:
        found = dict(journal.read())
        missing = [row for row in rows if ids[row] not in found]
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            crystals = [store[row] for row in part]
            for row, crystal, energy in zip(part, crystals, oracle.energies(crystals), strict=True):
                found[ids[row]] = energy / crystal.n_atoms
                if np.isfinite(energy):
                    journal.append((ids[row], energy / crystal.n_atoms))
            if tell is not None:
                tell(len(part))
    return {ids[row]: found[ids[row]] for row in rows if np.isfinite(found[ids[row]])}


def evaluate_relaxed(
    store: Store, rows: Sequence[int], oracle: str, work: Path, tell: Tell | None = None
) -> dict[str, float]:
    """Return energies (eV/atom) by id after a light relaxation, like that of candidates in a prediction."""
    ids = store.columns("material_id")["material_id"]

    def count(_: int, __: RelaxResult) -> None:
        if tell is not None:
            tell(1)

    crystals = [store[row] for row in rows]
    results = relax_crystals(crystals, oracle, LIGHT, processes=1, checkpoint=work / RELAXED, progress=count)
    energies = [(ids[row], one.energy_per_atom) for row, one in zip(rows, results, strict=True)]
    return {name: energy for name, energy in energies if np.isfinite(energy)}


def relaxed_phases(crystals: Sequence[Crystal], name: str, oracle: str) -> list[Phase]:
    """Return compounds as phases after the same light relaxation; elements and failures are left out.

    Args:
        name: id of all these phases, such as "literature".
    """
    compounds = [one for one in crystals if len(one.composition.atomic_numbers) > 1]
    results = relax_crystals(compounds, oracle, LIGHT, processes=1)
    return [
        Phase(crystal.composition.reduced, one.energy_per_atom, name)
        for crystal, one in zip(compounds, results, strict=True)
        if np.isfinite(one.energy_per_atom)
    ]


def mean_decrease(store: Store, rows: Sequence[int], oracle: EnergyOracle, work: Path) -> float:
    """Return the mean decrease of the energy by a light relaxation for a sample of the crystals, eV/atom.

    Raises:
        DataError: none of the sample has an energy both before and after a relaxation.
    """
    sample = sorted(np.random.default_rng(0).permutation(rows)[:SAMPLE].tolist())
    before = evaluate_as_given(store, sample, oracle, work)
    after = evaluate_relaxed(store, sample, oracle.name, work)
    decreases = [before[name] - after[name] for name in before if name in after]
    if not decreases:
        raise DataError(f"{oracle.name} gives no energy for any of {len(sample)} relaxed crystals; try another one.")
    return float(np.mean(decreases))


def make_table(
    store: Store,
    rows: Sequence[int],
    energies: Mapping[str, float],
    oracle: EnergyOracle,
    *,
    lowered: float = 0.0,
    further: Sequence[Phase] = (),
) -> PhaseTable:
    """Return the table of the phases that have an energy.

    Args:
        lowered: eV/atom subtracted from each energy to account for relaxation.
        further: phases from outside the store.
    """
    ids = store.columns("material_id")["material_id"]
    phases = [
        Phase(store[row].composition.reduced, energies[ids[row]] - lowered, str(ids[row]))
        for row in rows
        if ids[row] in energies
    ]
    metadata = {
        "store": store.fingerprint,
        "n_chosen": len(rows),
        "lowered": lowered,
        "provenance": list(oracle.provenance),
    }
    return PhaseTable.of([*phases, *further], oracle.name, metadata)


def _lowest(store: Store, sources: Sequence[str]) -> tuple[list[int], list[Composition], list[float]]:
    """Return row, composition and formation energy of the lowest crystal of each composition."""
    columns = store.columns("formation_energy_per_atom", "source")
    energies = columns["formation_energy_per_atom"]
    good = np.abs(energies) <= LARGEST
    if sources:
        good &= np.array([str(source).startswith(tuple(sources)) for source in columns["source"]])
    arrays = store.arrays()
    first: dict[Composition, int] = {}
    for row in sorted(np.nonzero(good)[0].tolist(), key=lambda row: (energies[row], row)):
        atoms = arrays.atomic_numbers[arrays.offsets[row] : arrays.offsets[row + 1]].tolist()
        first.setdefault(Composition.from_atoms(atoms).reduced, row)
    rows = list(first.values())
    return rows, list(first), energies[rows].tolist()


def _mixture(own: int, below: Sequence[int], compositions: Sequence[Composition], energies: Sequence[float]) -> float:
    """Return the lowest formation energy (eV/atom) of a mixture of other phases and elements."""
    others = [at for at in below if at != own]
    if not others:
        return 0.0
    elements = [Composition((z,), (1,)) for z in compositions[own].atomic_numbers]
    phases = [*(compositions[at] for at in others), *elements]
    return lowest_mixture(compositions[own], phases, [*(energies[at] for at in others), *(0.0 for _ in elements)])[0]


def _encode(entry: tuple[str, float]) -> Any:
    return {"id": entry[0], "energy_per_atom": entry[1]}


def _decode(content: Any) -> tuple[str, float]:
    return str(content["id"]), float(content["energy_per_atom"])
