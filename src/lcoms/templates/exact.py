"""Exact templates: known crystals of any size in one small file, stored as the free parameters of their space groups.

A prototype is a space group with orbits, each of which has a place in a stoichiometry instead of an element; crystals
of a prototype differ in elements, free coordinates and cells. Entries are sorted by stoichiometry and prototype, so
that the entries of a stoichiometry are one range of rows. Columns are inflated on first access.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcoms.models.packed_file import PackedFile, write_packed
from lcoms.models.surrogate_file import must_fit
from lcoms.models.weights import TEMPLATES_FILE
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import ExactSites, crystal_of
from lcoms.structure.wyckoff import Orbits, orbit_sizes
from lcoms.templates.exact_codes import COORD_LEVELS, cell_sizes, decoded_cell, decoded_energies, starts
from lcoms.templates.stoichiometry import elements_in_order

KIND = "lcoms-exact-templates"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Template:
    """A known crystal.

    Attributes:
        id: identifier in its source.
        sites: space group, orbits, free coordinates and conventional cell.
        e_above_hull: eV/atom, from its source; NaN where unknown.
        formation_energy: eV/atom, from its source; NaN where unknown.
        structure: `structure_id` of the crystal, equal for crystals of the same structure.
    """

    id: str
    sites: ExactSites
    e_above_hull: float
    formation_energy: float
    structure: int

    @cached_property
    def crystal(self) -> Crystal:
        """The crystal in its primitive cell."""
        return crystal_of(self.sites)

    @cached_property
    def composition(self) -> Composition:
        """Contents of its primitive cell."""
        counts: Counter[int] = Counter()
        orbits = self.sites.orbits
        for (_, z), size in zip(orbits, orbit_sizes(self.sites.space_group, orbits), strict=True):
            counts[z] += size
        return Composition.from_counts(counts)


class _Starts(NamedTuple):
    """Offsets at which the parts of each prototype begin in the columns, and in the last row their end.

    Attributes:
        prototypes: offsets of the prototypes of each stoichiometry.
        coords, cells: offsets of the free coordinates and free cell parameters of all entries of a prototype.
    """

    prototypes: NDArray[np.int64]
    entries: NDArray[np.int64]
    orbits: NDArray[np.int64]
    elements: NDArray[np.int64]
    coords: NDArray[np.int64]
    cells: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ExactTemplates:
    """A library of exact templates.

    Attributes:
        arrays: columns by name; see `lcoms.templates.exact_build`.
        metadata: source of the crystals.
    """

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]

    def save(self, path: Path | str) -> None:
        """Write one safetensors file of deflated columns."""
        write_packed(Path(path), self.arrays, {"kind": KIND, "version": VERSION, "metadata": dict(self.metadata)})

    @classmethod
    def load(cls, path: Path | str) -> ExactTemplates:
        """Load a library; columns are inflated on first access.

        Raises:
            WeightsError: the file is missing, damaged or of another version.
        """
        file = PackedFile(Path(path), KIND, VERSION)
        with must_fit(path):
            templates = cls(file, dict(file.header["metadata"]))
            if templates._first.entries[-1] != len(file["hull"]):
                raise ValueError("columns of different crystals")
        return templates

    def __len__(self) -> int:
        return int(self._first.entries[-1])

    def __getitem__(self, row: int) -> Template:
        """Return one entry.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"there are {len(self)} templates; there is no number {row}.")
        return Template(
            self.ids[row],
            self._sites(row),
            float(decoded_energies(self.arrays["hull"][row])),
            float(decoded_energies(self.arrays["energies"][row])),
            int(self.arrays["structures"][row]),
        )

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.arrays["id_bytes"].tobytes().decode().split("\n")[:-1])

    @cached_property
    def element_volumes(self) -> NDArray[np.float64]:
        """Atomic volumes (104,) in cubic angstrom by atomic number; cells of one structure scale as their sums."""
        return self.arrays["element_volumes"].astype(np.float64)

    def row_of(self, name: str) -> int | None:
        """Return the row of an id; None where there is no such entry."""
        return self._rows.get(name)

    def rows(self, stoichiometry: tuple[int, ...]) -> range:
        """Return the rows of a stoichiometry, with any number of formula units."""
        prototypes = self._prototypes(stoichiometry)
        return range(int(self._first.entries[prototypes.start]), int(self._first.entries[prototypes.stop]))

    def prototypes(self, stoichiometry: tuple[int, ...]) -> Iterator[tuple[range, int, Orbits]]:
        """Yield rows, space group, and letter and place of each orbit for all prototypes of a stoichiometry."""
        for prototype in self._prototypes(stoichiometry):
            rows = range(*self._first.entries[prototype : prototype + 2].tolist())
            yield rows, int(self.arrays["groups"][prototype]), self._orbits(prototype)

    def elements(self, rows: range) -> NDArray[np.int64]:
        """Return the elements (n, k) of a range of entries of one stoichiometry, in the order of their places."""
        if not rows:
            return np.zeros((0, 0), dtype=np.int64)
        k = int(self._n_elements[self._prototype(rows.start)])
        first = int(self._first.elements[self._prototype(rows.start)])
        first += k * (rows.start - int(self._first.entries[self._prototype(rows.start)]))
        return self.arrays["elements"][first : first + k * len(rows)].astype(np.int64).reshape(-1, k)

    def n_atoms(self, rows: range) -> NDArray[np.int64]:
        """Return the numbers of atoms in the primitive cells of a range of entries."""
        return np.asarray(self.arrays["n_atoms"][self._prototype(np.arange(rows.start, rows.stop))], dtype=np.int64)

    def of_composition(self, composition: Composition) -> list[int]:
        """Return the rows of a composition, with any number of formula units."""
        rows = self.rows(composition.reduced.stoichiometry)
        same = (self.elements(rows) == elements_in_order(composition.reduced)).all(axis=1) if rows else []
        return [rows[at] for at in np.flatnonzero(same)]

    def on_hull(self) -> list[int]:
        """Return the rows of entries that are on the hull according to their source."""
        heights = decoded_energies(self.arrays["hull"])
        return [int(row) for row in np.flatnonzero(heights <= 0.0)]

    def _sites(self, row: int) -> ExactSites:
        prototype = int(self._prototype(row))
        number = int(self.arrays["groups"][prototype])
        elements = self.elements(range(row, row + 1))[0]
        since = row - int(self._first.entries[prototype])
        n_free = int(self.arrays["n_free"][prototype])
        first = int(self._first.coords[prototype]) + since * n_free
        codes = _joined(self.arrays["coords_high"], self.arrays["coords_low"], first, n_free)
        n_cell = int(self._n_cell[prototype])
        first = int(self._first.cells[prototype]) + since * n_cell
        cell = _joined(self.arrays["cells_high"], self.arrays["cells_low"], first, n_cell)
        return ExactSites(
            number,
            tuple((letter, int(elements[place])) for letter, place in self._orbits(prototype)),
            codes / COORD_LEVELS,
            *decoded_cell(number, cell),
        )

    def _orbits(self, prototype: int) -> Orbits:
        """Return letter and place of each orbit."""
        orbits = slice(*self._first.orbits[prototype : prototype + 2].tolist())
        letters = self.arrays["letters"][orbits].tobytes().decode()
        return tuple(zip(letters, self.arrays["places"][orbits].tolist(), strict=True))

    def _prototype(self, rows: Any) -> Any:
        return np.searchsorted(self._first.entries, rows, side="right") - 1

    def _prototypes(self, stoichiometry: tuple[int, ...]) -> range:
        place = self._stoichiometries.get(" ".join(map(str, stoichiometry)))
        if place is None:
            return range(0)
        return range(int(self._first.prototypes[place]), int(self._first.prototypes[place + 1]))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _stoichiometries(self) -> dict[str, int]:
        lines = self.arrays["stoichiometries"].tobytes().decode().split("\n")[:-1]
        return {line: place for place, line in enumerate(lines)}

    @cached_property
    def _n_elements(self) -> NDArray[np.int64]:
        """Number of elements of each prototype."""
        counts = np.array([line.count(" ") + 1 for line in self._stoichiometries], dtype=np.int64)
        return np.repeat(counts, self.arrays["n_prototypes"])

    @cached_property
    def _n_cell(self) -> NDArray[np.int64]:
        """Number of free cell parameters of each prototype."""
        return cell_sizes(self.arrays["groups"])

    @cached_property
    def _first(self) -> _Starts:
        a, n_entries = self.arrays, self.arrays["n_entries"]
        return _Starts(
            prototypes=starts(a["n_prototypes"]),
            entries=starts(n_entries),
            orbits=starts(a["n_orbits"]),
            elements=starts(self._n_elements * n_entries),
            coords=starts(a["n_free"].astype(np.int64) * n_entries),
            cells=starts(self._n_cell * n_entries),
        )


def _joined(high: NDArray[np.uint8], low: NDArray[np.uint8], first: int, n: int) -> NDArray[np.int64]:
    part = slice(first, first + n)
    return high[part].astype(np.int64) * 256 + low[part]


@lru_cache(maxsize=2)
def load_templates(folder: Path) -> ExactTemplates | None:
    """Return the exact templates in a folder of weights; None where there are none."""
    path = folder / TEMPLATES_FILE
    return ExactTemplates.load(path) if path.is_file() else None
