"""The phases that ship with the package: the reference for energies above the hull unless the user gives others.

A file of a few hundred kilobytes holds compositions, ids and energies of crystals on or near the hull of the training
data, by the energy model named in it. `lcoms fit hull` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from statistics import pstdev
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.models.packed_file import read_packed, write_packed
from lcoms.models.surrogate_file import must_fit
from lcoms.models.weights import PHASES_FILE
from lcoms.oracles.energy_models import EnergyModels
from lcoms.oracles.hull import Hull, Part, Phase
from lcoms.oracles.references import load_references
from lcoms.oracles.registry import identity_of
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Composition
from lcoms.templates.exact import ExactTemplates

KIND = "lcoms-phases"
VERSION = 1


@dataclass(frozen=True, eq=False)
class PhaseTable:
    """Phases and their energies by one model.

    Attributes:
        oracle: name of the model.
        sizes: (n,) number of elements in each phase.
        atomic_numbers, counts: these elements and their atoms per formula unit, concatenated over the phases.
        energies: (n,) total energies, eV/atom.
        ids: (n,) ids in the source.
        metadata: source of the phases, how they were selected, and at which geometry the energies were computed.
    """

    oracle: str
    sizes: NDArray[np.uint8]
    atomic_numbers: NDArray[np.uint8]
    counts: NDArray[np.int16]
    energies: Float[NDArray[np.float32], " n"]
    ids: tuple[str, ...]
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, phases: Sequence[Phase], oracle: str, metadata: Mapping[str, Any]) -> PhaseTable:
        """Return a table of phases with ids."""
        units = [phase.composition.reduced for phase in phases]
        return cls(
            oracle=oracle,
            sizes=np.array([len(one.counts) for one in units], dtype=np.uint8),
            atomic_numbers=np.array([z for one in units for z in one.atomic_numbers], dtype=np.uint8),
            counts=np.array([n for one in units for n in one.counts], dtype=np.int16),
            energies=np.array([phase.energy_per_atom for phase in phases], dtype=np.float32),
            ids=tuple(phase.id for phase in phases),
            metadata=metadata,
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])

    def inside(self, composition: Composition) -> list[Phase]:
        """Return the phases that contain only elements of a composition."""
        if not len(self):
            return []
        strange = ~np.isin(self.atomic_numbers, composition.atomic_numbers)
        within = ~np.logical_or.reduceat(strange, self._starts[:-1])
        return [
            Phase(self._composition(row), float(self.energies[row]), self.ids[row])
            for row in np.nonzero(within)[0].tolist()
        ]

    def _composition(self, row: int) -> Composition:
        part = slice(*self._starts[row : row + 2])
        return Composition(tuple(self.atomic_numbers[part].tolist()), tuple(self.counts[part].tolist()))

    def save(self, folder: Path) -> None:
        """Write the table into a folder of weights.

        Raises:
            OSError: it cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "sizes": self.sizes,
            "atomic_numbers": self.atomic_numbers,
            "counts": self.counts,
            "energies": self.energies,
            "ids": np.frombuffer("\n".join(self.ids).encode(), np.uint8),
        }
        header = {"kind": KIND, "version": VERSION, "oracle": self.oracle, "metadata": dict(self.metadata)}
        write_packed(folder / PHASES_FILE, arrays, header)


def load_phases(folder: Path) -> PhaseTable | None:
    """Return the phases in a folder of weights; None if it has none.

    Raises:
        WeightsError: the file is damaged or of another version.
    """
    path = folder / PHASES_FILE
    if not path.is_file():
        return None
    arrays, header = read_packed(path, KIND, VERSION)
    with must_fit(path):
        ids = tuple(arrays.pop("ids").tobytes().decode().split("\n")) if len(arrays["sizes"]) else ()
        arrays.pop("ids", None)
        table = PhaseTable(oracle=str(header["oracle"]), ids=ids, metadata=dict(header["metadata"]), **dict(arrays))
        n, flat = len(table), int(table.sizes.sum(dtype=np.int64))
        fits = table.energies.shape == (n,) and len(ids) == n
        if not fits or not flat == len(table.atomic_numbers) == len(table.counts):
            raise ValueError("arrays of different lengths")
    return table


def shipped_hull(composition: Composition, table: PhaseTable | None, spec: PredictionSpec) -> Hull | None:
    """Return the hull of the phases without other elements, by the model that relaxes.

    None if nothing is relaxed, under pressure, or if there are no phases by that model: energies of another model have
    a different zero.
    """
    if table is None or spec.relaxation is None or spec.pressure:
        return None
    return hull_of(composition, table, spec.relaxation.oracle)


def hull_of(composition: Composition, table: PhaseTable, oracle: str) -> Hull | None:
    """Return the hull of the phases without other elements, by the given model; None if there are none by it."""
    references = load_references(oracle)
    if identity_of(oracle) != identity_of(table.oracle) or references is None:
        return None
    return Hull(table.inside(composition), references)


def hull_of_files(compositions: Iterable[Composition], oracle: str) -> Hull | None:
    """Return the hull of the phases that ship with the package for any compositions; None for another model."""
    with as_file(files("lcoms").joinpath("weights")) as folder:
        table = load_phases(Path(folder))
    references = load_references(oracle)
    if table is None or identity_of(oracle) != identity_of(table.oracle) or references is None:
        return None
    systems = {composition.atomic_numbers: composition for composition in compositions}
    return Hull({phase for one in systems.values() for phase in table.inside(one)}, references)


def with_spread(
    candidates: Sequence[Candidate], templates: ExactTemplates | None, energy_models: EnergyModels | None
) -> tuple[Candidate, ...]:
    """Return the candidates with the standard deviation of their heights over the energy models.

    Each further model refers to the same phases, evaluated in the unrelaxed geometry of their templates; if a phase has
    no template, no spread is given.
    """
    places = {candidate.hull.decomposition for candidate in candidates if candidate.hull is not None}
    if templates is None or energy_models is None or not energy_models.further or len(places) != 1:
        return tuple(candidates)
    below = _energies_below(places.pop(), templates, energy_models)
    return tuple(candidates) if below is None else tuple(_with_spread(one, below) for one in candidates)


def _with_spread(candidate: Candidate, below: Sequence[float]) -> Candidate:
    if candidate.hull is None or candidate.relaxed is None or not candidate.relaxed.further_energies:
        return candidate
    energies = zip(candidate.relaxed.further_energies, below, strict=True)
    heights = [candidate.hull.e_above_hull, *(energy - zero for energy, zero in energies)]
    if not np.isfinite(heights).all():
        return candidate
    return replace(candidate, hull=replace(candidate.hull, spread=pstdev(heights)))


def _energies_below(
    parts: tuple[Part, ...], templates: ExactTemplates, energy_models: EnergyModels
) -> tuple[float, ...] | None:
    """Return the energy (eV/atom) of a mixture of phases by each further model; None if a phase has no crystal."""
    total = np.zeros(len(energy_models.further))
    for part in parts:
        row = templates.row_of(part.id) if part.id else None
        if row is not None:
            crystal = templates[row].crystal
            total += part.share * np.array(energy_models.further_energies([crystal])[0]) / crystal.n_atoms
            continue
        tables = [load_references(model.name) for model in energy_models.further]
        element = part.composition.atomic_numbers
        if len(element) > 1 or not all(table and element[0] in table.energies for table in tables):
            return None
        total += part.share * np.array([table.energies[element[0]] for table in tables if table])
    return tuple(total.tolist())
