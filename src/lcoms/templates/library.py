"""A compact library of the training crystals' latents, searched for chemically similar crystals of a stoichiometry.

Crystals are compared by the similarity of their paired elements (`lcoms.templates.similarity`); elements of equal
counts are paired in the order of their Mendeleev numbers. Crystals with the same space group, Wyckoff positions and
number of formula units count as one structure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.structure.crystal import Composition
from lcoms.templates.heights import INSTABILITY_STEP
from lcoms.templates.library_arrays import LibraryArrays
from lcoms.templates.stoichiometry import (
    StoichiometryClass,
    empty_class,
    place_of_each,
    prototype_probabilities,
    stoichiometry_classes,
)


@dataclass(frozen=True, eq=False)
class LibraryTemplates:
    """Library entries for a composition, nearest first.

    Attributes:
        latents: (n, d) in float32.
        n_formula_units: (n,) formula units in the entry's cell.
        distances: (n,) chemical distance, without any penalty.
        indices: (n,) rows of the library.
        ids: ids of the entries.
        atomic_numbers: (k,) elements of the requested composition, ascending; a single element is listed twice.
        replaces: (n, k) element of the entry that each of them replaces.
        same_counts: (n,) whether the entry has as many elements; false where a binary represents an element.
        prototype_probabilities: (n,) prototype probability of each entry's structure among all allowed entries.
        unseen: probability that the structure is none of these.
    """

    latents: Float[Tensor, "n latent"]
    n_formula_units: NDArray[np.int64]
    distances: NDArray[np.float64]
    indices: NDArray[np.int64]
    ids: tuple[str, ...]
    atomic_numbers: NDArray[np.int64]
    replaces: NDArray[np.int64]
    same_counts: NDArray[np.bool_]
    prototype_probabilities: NDArray[np.float64]
    unseen: float

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, eq=False)
class LatentLibrary(LibraryArrays):
    """Crystals and their latents, small enough to ship with the weights, with a search for similar ones."""

    def has(self, composition: Composition) -> bool:
        """Return whether there is an entry of a composition, with any number of formula units."""
        members = self._classes.get(composition.reduced.stoichiometry)
        return members is not None and bool(members.holds(composition).any())

    def nearest(
        self,
        composition: Composition,
        n: int,
        *,
        exclude: Collection[Composition] = (),
        max_per_composition: int | None = None,
        max_per_structure: int | None = None,
        max_atoms: int | None = None,
    ) -> LibraryTemplates:
        """Return entries of the same stoichiometry, chemically nearest first; ties go to the more stable, then earlier.

        Unstable entries count as more distant; an unknown energy above the hull is taken at its lower bound. For an
        element, binary entries of ratio 1:1 are used as well: diamond is zinc blende with a single element.

        Args:
            n: largest number of entries; the library may have fewer.
            exclude: compositions whose entries are left out, with any number of formula units.
            max_per_composition: largest number of polymorphs of one composition.
            max_per_structure: largest number of entries of one structure; entries are then ordered by prototype
                probability, divided by 2 for the second entry of a structure and by 3 for the third.
            max_atoms: leave out entries with larger cells.
        """
        target = composition.reduced
        members = self._members(target)
        elements = members.in_order(target)
        distances = self.similarity.distances(members.elements, elements, len(target.counts))
        hull = INSTABILITY_STEP * self.instability[members.indices]
        cost = distances + self.similarity.hull * hull
        ranking = np.lexsort((hull, cost))
        allowed = np.ones(len(members.indices), dtype=bool)
        if max_atoms is not None:
            allowed &= members.n_formula_units * target.n_atoms <= max_atoms
        for other in exclude:
            if other.reduced.stoichiometry == target.stoichiometry:
                allowed &= ~members.holds(other)
        ranking = ranking[allowed[ranking]]
        structures = self._structures(members)
        probabilities, unseen = prototype_probabilities(cost, structures, ranking, self.similarity)
        if max_per_composition is not None:
            ranking = ranking[place_of_each(members.elements[ranking]) < max_per_composition]
        if max_per_structure is not None:
            place = place_of_each(structures[ranking][:, None])
            ranking, place = ranking[place < max_per_structure], place[place < max_per_structure]
            ranking = ranking[np.argsort(-probabilities[ranking] / (1 + place), kind="stable")]
        chosen = ranking[:n]
        indices = members.indices[chosen]
        back = np.argsort(elements, kind="stable")
        return LibraryTemplates(
            latents=self.latents(indices),
            n_formula_units=members.n_formula_units[chosen],
            distances=distances[chosen],
            indices=indices,
            ids=tuple(self.ids[i] for i in indices),
            atomic_numbers=elements[back],
            replaces=members.elements[chosen][:, back],
            same_counts=np.diff(self.offsets)[indices] == len(target.counts),
            prototype_probabilities=probabilities[chosen],
            unseen=unseen,
        )

    def space_groups_near(
        self, latent: Float[Tensor, " latent"], cell: Composition, *, n: int = 24
    ) -> list[tuple[int, float]]:
        """Return space groups of the nearest latents among cells of the same counts, with weights that sum to one.

        Args:
            n: number of neighbours; each has the weight exp(-distance).
        """
        rows, distances = self.entries_near(latent, cell, n=n)
        weights: dict[int, float] = {}
        for row, distance in zip(rows.tolist(), distances, strict=True):
            number = int(self.space_groups[row])
            weights[number] = weights.get(number, 0.0) + float(np.exp(distances[0] - distance))
        total = sum(weights.values())
        return sorted(((number, weight / total) for number, weight in weights.items()), key=lambda pair: -pair[1])

    def entries_near(
        self, latent: Float[Tensor, " latent"], cell: Composition, *, n: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows of the nearest latents among cells of the same counts, nearest first, and the distances."""
        if (rows := self._cells.get(tuple(sorted(cell.counts)))) is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        distances = torch.linalg.norm(self.latents(rows) - latent, dim=1).double().numpy()
        near = np.argsort(distances, kind="stable")[:n]
        return rows[near], distances[near]

    @cached_property
    def _cells(self) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """Rows by the ascending element counts of their cells."""
        cells: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(self)):
            counts = np.sort(self.counts[self.offsets[row] : self.offsets[row + 1]])
            cells.setdefault(tuple(counts.tolist()), []).append(row)
        return {counts: np.array(rows) for counts, rows in cells.items()}

    def classes(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Yield elements, structures and energies above the hull (eV/atom) of the entries of each stoichiometry.

        Entries whose Wyckoff sequence is unknown are left out.
        """
        for members in self._classes.values():
            known = self.wyckoff_sequences[members.indices] >= 0
            hull = INSTABILITY_STEP * self.instability[members.indices].astype(np.float64)
            yield members.elements[known], self._structures(members)[known], hull[known]

    def _structures(self, members: StoichiometryClass) -> NDArray[np.int64]:
        """Return one label per structure of a class: space group, Wyckoff sequence, formula units, number of elements.

        Entries with unknown sequences share a label if their other properties are equal.
        """
        group, sequence = self.space_groups[members.indices], self.wyckoff_sequences[members.indices]
        n_elements = np.diff(self.offsets)[members.indices]
        keys = np.stack([group, sequence, members.n_formula_units, n_elements], axis=1)
        return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1))

    def _members(self, target: Composition) -> StoichiometryClass:
        """Return entries that can represent a composition; for an element all are written as binaries."""
        own = self._classes.get(target.stoichiometry, empty_class(len(target.counts)))
        if len(target.counts) > 1:
            return own
        return own.doubled_with(self._classes.get((1, 1), empty_class(2)))

    @cached_property
    def _classes(self) -> dict[tuple[int, ...], StoichiometryClass]:
        """Entries grouped by stoichiometry."""
        return stoichiometry_classes(self.offsets, self.atomic_numbers, self.counts)
