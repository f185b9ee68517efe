"""A compact library of the training crystals' latents, searched for chemically similar crystals of a stoichiometry.

Similarity is that of the paired elements (`lcoms.templates.similarity`); elements of equal counts are paired in the
order of their Mendeleev numbers. Crystals with the same space group, Wyckoff positions and cell count together.
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
from lcoms.templates.library_arrays import LibraryArrays
from lcoms.templates.stoichiometry import (
    INSTABILITY_STEP,
    StoichiometryClass,
    empty_class,
    families_by_stoichiometry,
    place_of_each,
    prototype_probabilities,
)


@dataclass(frozen=True, eq=False)
class LibraryTemplates:
    """Library entries for a composition, nearest first.

    Attributes:
        latents: (n, d) in float32.
        n_formula_units: (n,) formula units in the entry's cell.
        distances: (n,) chemical distance, without any penalty.
        indices: (n,) rows of the library.
        ids: the entries' ids.
        atomic_numbers: (k,) elements of the composition asked for, ascending; an element alone stands twice.
        replaces: (n, k) which element of the entry stands for each of them.
        same_counts: (n,) whether the entry has as many elements; false where a crystal of two stands for an element.
        prototype_probabilities: (n,) prototype probability of each entry's structure among all allowed entries.
        unseen: probability of none of these structures.
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
    """Crystals with their latents, small enough to ship with the weights, and the search among them."""

    def has(self, composition: Composition) -> bool:
        """Whether there is an entry of a composition, whatever its number of formula units."""
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
        """Entries of the same stoichiometry, chemically nearest first; ties go to the more stable, then to the earlier.

        What is unstable counts as more distant; where its energy is unknown, as little as it can be. For an element,
        entries with two elements one to one serve, too: diamond is zinc blende with one element.

        Args:
            n: at most so many; fewer where the library has no more.
            exclude: compositions whose entries are left out, whatever their number of formula units.
            max_per_composition: at most so many polymorphs of one composition.
            max_per_structure: at most so many of one structure, and then those come first whose structure has most of
                the weight: the second of a structure counts half, the third a third.
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
        """Space groups of the nearest latents among cells of the same counts, with weights that sum to one.

        Args:
            n: neighbours asked; each counts exp(-distance).
        """
        if (rows := self._cells.get(tuple(sorted(cell.counts)))) is None:
            return []
        distances = torch.linalg.norm(self.latents(rows) - latent, dim=1).numpy()
        near = np.argsort(distances, kind="stable")[:n]
        weights: dict[int, float] = {}
        for at in near:
            number = int(self.space_groups[rows[at]])
            weights[number] = weights.get(number, 0.0) + float(np.exp(distances[near[0]] - distances[at]))
        total = sum(weights.values())
        return sorted(((number, weight / total) for number, weight in weights.items()), key=lambda pair: -pair[1])

    @cached_property
    def _cells(self) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """Entries by the counts in their cells, ascending."""
        cells: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(self)):
            counts = np.sort(self.counts[self.offsets[row] : self.offsets[row + 1]])
            cells.setdefault(tuple(counts.tolist()), []).append(row)
        return {counts: np.array(rows) for counts, rows in cells.items()}

    def classes(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Of each stoichiometry: the elements, the structures and the energies above the hull (eV/atom) of its entries.

        Entries whose Wyckoff pattern is unknown are left out.
        """
        for members in self._classes.values():
            known = self.patterns[members.indices] >= 0
            hull = INSTABILITY_STEP * self.instability[members.indices].astype(np.float64)
            yield members.elements[known], self._structures(members)[known], hull[known]

    def _structures(self, members: StoichiometryClass) -> NDArray[np.int64]:
        """One number for each structure of a class: space group, Wyckoff pattern, formula units.

        An entry whose pattern is unknown is alone with its space group and cell.
        """
        group, pattern = self.space_groups[members.indices], self.patterns[members.indices]
        n_elements = np.diff(self.offsets)[members.indices]
        keys = np.stack([group, pattern, members.n_formula_units, n_elements], axis=1)
        return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1))

    def _members(self, target: Composition) -> StoichiometryClass:
        """Entries that can stand for a composition; where it is an element, all as if of two elements."""
        own = self._classes.get(target.stoichiometry, empty_class(len(target.counts)))
        if len(target.counts) > 1:
            return own
        return own.doubled_with(self._classes.get((1, 1), empty_class(2)))

    @cached_property
    def _classes(self) -> dict[tuple[int, ...], StoichiometryClass]:
        """Entries by stoichiometry."""
        return families_by_stoichiometry(self.offsets, self.atomic_numbers, self.counts)
